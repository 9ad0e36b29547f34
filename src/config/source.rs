//! Which files make up the configuration, and their text: the main file and `conf.d/*.toml` beside it, each a regular
//! file of sane size that nobody but root can write when a privileged process reads it. Not what the text means.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

/// The largest file that is read: a thousand times what a large configuration needs, and still nothing to parse.
const LARGEST_FILE: u64 = 1 << 20;

/// Permission bits that let others than the owner write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The bit that keeps what is in a directory from being replaced by those who don't own it.
const STICKY: u32 = 0o1000;

/// A file of the configuration and what it holds.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// What was read; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// Where the first byte is that is not UTF-8.
    pub(super) invalid_at: Option<usize>,
}

impl Source {
    /// A file with this text.
    #[must_use]
    pub fn new(path: PathBuf, text: String) -> Self {
        Self { path, text, invalid_at: None }
    }
}

/// Where files that the configuration names are read from.
#[derive(Debug)]
pub(super) enum Attached {
    /// From the disk, where nobody but this user may be able to write them, if that matters.
    Disk(Option<u32>),
    /// From what was kept with the configuration.
    Kept(Vec<Source>),
}

impl Attached {
    /// The file at `path`.
    pub(super) fn read(&self, path: &Path) -> Result<Source, Error> {
        match self {
            Self::Disk(trusted) => {
                read(path, *trusted).map_err(|error| Error { hint: error.hint_of_attached(), ..error })
            }
            Self::Kept(files) => files
                .iter()
                .find(|file| file.path == path)
                .cloned()
                .ok_or_else(|| Error::new(path, "was not kept with the configuration")),
        }
    }
}

/// A file or directory of the configuration that can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Error {
    pub(super) path: PathBuf,
    reason: String,
    pub(super) hint: Option<String>,
}

impl Error {
    /// The cure, if the file is no configuration but one that it names.
    fn hint_of_attached(&self) -> Option<String> {
        self.hint.clone().filter(|hint| !hint.contains("config init"))
    }

    fn new(path: &Path, reason: impl Into<String>) -> Self {
        Self { path: path.to_owned(), reason: reason.into(), hint: None }
    }

    fn io(path: &Path, verb: &str, error: &io::Error) -> Self {
        let shown = path.display();
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                Some(format!("`namei -l {shown}` shows who may read it, and what is in the way"))
            }
            io::ErrorKind::NotFound => {
                Some(format!("`imds-agent config init --output {shown}` writes one to start from"))
            }
            _ => None,
        };
        Self { hint, ..Self::new(path, format!("can't be {verb}: {}", meaning(error))) }
    }
}

/// Reads the main file and its drop-ins. `required` says whether the main file must exist; `trusted` is the user who
/// alone may be able to write them, if that matters.
pub(super) fn read_all(main: &Path, required: bool, trusted: Option<u32>) -> Vec<Result<Source, Error>> {
    let mut results = Vec::new();
    // Neither a link that leads nowhere nor a directory that can't be searched is a file that nobody wrote.
    if required || !is_absent(main) {
        results.push(read(main, trusted));
    }
    match drop_ins(&main.with_file_name("conf.d"), trusted) {
        Ok(paths) => results.extend(paths.iter().map(|path| read(path, trusted))),
        Err(error) => results.push(Err(error)),
    }
    results
}

/// The drop-ins in `directory`, in the order of their names; none when it does not exist.
fn drop_ins(directory: &Path, trusted: Option<u32>) -> Result<Vec<PathBuf>, Error> {
    if is_absent(directory) {
        return Ok(Vec::new());
    }
    let entries = directory.read_dir().map_err(|error| Error::io(directory, "listed", &error))?;
    refuse_writable_directory(directory_of(directory), trusted)?;
    refuse_writable_directory(directory, trusted)?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| Error::io(directory, "listed", &error))?.path();
        // As the shell's `*.toml`: no hidden files, which editors leave behind.
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Whether there is nothing of this name, and no doubt about it.
fn is_absent(path: &Path) -> bool {
    let absent = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
    path.symlink_metadata().is_err_and(|error| absent.contains(&error.kind()))
}

fn read(path: &Path, trusted: Option<u32>) -> Result<Source, Error> {
    // NONBLOCK: opening a FIFO must not wait for its writer.
    let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY).bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| Error::io(path, "read", &error))?;
    let metadata = file.metadata().map_err(|error| Error::io(path, "read", &error))?;
    if !metadata.is_file() {
        return Err(Error::new(path, format!("is {}, not a regular file", kind(&metadata))));
    }
    refuse_writable(path, "it", &metadata, trusted, false)?;
    refuse_writable_directory(directory_of(path), trusted)?;
    if let Ok(target) = path.canonicalize()
        && target != path
    {
        refuse_writable_directory(directory_of(&target), trusted)?;
    }
    let bytes = read_capped(&file).map_err(|error| Error::io(path, "read", &error))?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(Error::new(path, "is larger than 1 MiB, which no configuration is"));
    }
    let invalid_at = std::str::from_utf8(&bytes).err().map(|error| error.valid_up_to());
    let text = String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Ok(Source { path: path.to_owned(), text, invalid_at })
}

/// One byte more than allowed, so that "too large" shows.
fn read_capped(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn refuse_writable_directory(directory: &Path, trusted: Option<u32>) -> Result<(), Error> {
    let metadata = directory.metadata().map_err(|error| Error::io(directory, "examined", &error))?;
    // In a sticky directory others can add files, which then are theirs and refused, but not replace ours.
    let sticky = metadata.mode() & STICKY != 0;
    refuse_writable(directory, "this directory of the configuration", &metadata, trusted, sticky)
}

/// Whoever can write the configuration decides what a privileged daemon reads and ships.
fn refuse_writable(
    path: &Path,
    what: &str,
    metadata: &Metadata,
    trusted: Option<u32>,
    sticky: bool,
) -> Result<(), Error> {
    let Some(trusted) = trusted else {
        return Ok(());
    };
    let shown = path.display();
    let (reason, cure) = if metadata.uid() != trusted {
        let owner = metadata.uid();
        (format!("uid {owner} owns {what}"), format!("chown root:root {shown}"))
    } else if metadata.mode() & WRITABLE_BY_OTHERS != 0 && !sticky {
        let mode = metadata.mode() & 0o7777;
        (format!("{what} has mode {mode:04o}"), format!("chmod go-w {shown}"))
    } else {
        return Ok(());
    };
    let reason = format!(
        "others than root can write the configuration ({reason}); root, or a user with capabilities, does not use it"
    );
    Err(Error { hint: Some(format!("cure: {cure}")), ..Error::new(path, reason) })
}

fn kind(metadata: &Metadata) -> &'static str {
    if metadata.is_dir() { "a directory" } else { "a device, pipe or socket" }
}

/// What an errno means, in the words a person would use.
fn meaning(error: &io::Error) -> String {
    if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
        return "its symbolic links lead in a circle (ELOOP)".to_owned();
    }
    match error.kind() {
        io::ErrorKind::NotFound => "no such file (ENOENT)".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied (EACCES)".to_owned(),
        io::ErrorKind::NotADirectory => "a part of the path is not a directory (ENOTDIR)".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory (EISDIR)".to_owned(),
        _ => error.to_string(),
    }
}
