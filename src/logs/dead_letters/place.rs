//! Where dead letters and those that are to be sent again stand in the state directory, and who may touch them when. Not
//! what is in them.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Gid, Uid};

/// The file's name in the state directory; the old one has `.old` behind it.
const FILE_NAME: &str = "dead-letters.jsonl";

/// Letters hold log data.
const MODE: u32 = 0o600;

/// The paths of all that concerns dead letters.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The state directory.
    directory: PathBuf,
}

impl Place {
    pub(super) fn of(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The letters.
    pub(super) fn letters(&self) -> PathBuf {
        self.directory.join(FILE_NAME)
    }

    /// The letters before those.
    pub(super) fn old(&self) -> PathBuf {
        self.directory.join("dead-letters.jsonl.old")
    }

    /// What will be left of the letters when a move is over.
    pub(super) fn rest(&self) -> PathBuf {
        self.directory.join("dead-letters.rest")
    }

    /// Where a move gathers what is to be sent again.
    pub(super) fn gathering(&self) -> PathBuf {
        self.directory.join("resend.gathering")
    }

    /// The same, once it is decided: from here on the move only goes forward.
    pub(super) fn decided(&self) -> PathBuf {
        self.directory.join("resend.decided")
    }

    /// What is to be sent again: one directory a move, in it one file a stream.
    pub(super) fn resend(&self) -> PathBuf {
        resend_directory(&self.directory)
    }

    /// Creates a file that the daemon can use, whoever we are: what is in the state directory belongs to its owner.
    pub(super) fn create(&self, path: &Path) -> io::Result<File> {
        let file = OpenOptions::new().create(true).truncate(true).write(true).mode(MODE).open(path)?;
        self.hand_over(&file)?;
        Ok(file)
    }

    /// Creates a directory that the daemon can use.
    pub(super) fn create_directory(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        self.hand_over(&File::open(path)?)
    }

    fn hand_over(&self, file: &File) -> io::Result<()> {
        let (owner, ours) = (fs::metadata(&self.directory)?, file.metadata()?);
        if (owner.uid(), owner.gid()) != (ours.uid(), ours.gid()) {
            rustix::fs::fchown(file, Some(Uid::from_raw(owner.uid())), Some(Gid::from_raw(owner.gid())))?;
        }
        Ok(())
    }

    /// One at a time: the daemon that appends, or a command that moves. Ends with the returned file. Nobody waits here.
    ///
    /// # Errors
    /// When somebody else is at it.
    pub(super) fn lock(&self) -> io::Result<File> {
        let path = self.directory.join("dead-letters.lock");
        let file = match OpenOptions::new().write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create(&path)?,
            opened => opened?,
        };
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(io::Error::new(io::ErrorKind::WouldBlock, "they are being moved")),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Ends a move that was broken off: one that was decided goes on to its end, another one never was. Under the lock.
    pub(super) fn recover(&self) -> io::Result<()> {
        if !self.decided().exists() {
            remove_directory(&self.gathering())?;
            return remove(&self.rest());
        }
        if self.rest().exists() {
            // Before the rest takes their place: what it holds of them is in it.
            remove(&self.old())?;
            fs::rename(self.rest(), self.letters())?;
            sync_directory(&self.directory)?;
        }
        self.create_directory(&self.resend())?;
        fs::rename(self.decided(), self.next_move())?;
        sync_directory(&self.resend())?;
        sync_directory(&self.directory)
    }

    /// The name for the next move: behind all that are there. By the clock, so that none is ever used again: a checkpoint
    /// from before a power loss may know a move that is over, and another one of its name would count as sent.
    fn next_move(&self) -> PathBuf {
        let numbers = fs::read_dir(self.resend()).into_iter().flatten().flatten();
        let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let behind = numbers.max().map_or(0, |last| last + 1);
        self.resend().join(behind.max(u64::try_from(now).unwrap_or_default()).to_string())
    }
}

/// Where the daemon finds what is to be sent again.
pub(super) fn resend_directory(directory: &Path) -> PathBuf {
    directory.join("resend")
}

fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(unless_absent)
}

fn remove_directory(path: &Path) -> io::Result<()> {
    fs::remove_dir_all(path).or_else(unless_absent)
}

fn unless_absent(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Makes renames in a directory durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
