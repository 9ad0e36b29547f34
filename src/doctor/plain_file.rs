//! Reading a file that may be another user's: a regular one, through no link below the directory that it is looked for
//! in, and no more of it than such files have. Nothing of it is ever printed. Not what is in it.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

/// More than any file with settings has; what is behind it is not looked at.
const LONGEST: u64 = 1 << 20;

/// Why a file was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is not there.
    Absent,
    /// This user may not.
    NotAllowed,
    /// It is no regular file, or reached through a link.
    NotPlain,
}

impl From<Errno> for Unread {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::Absent,
            Errno::ACCESS | Errno::PERM => Self::NotAllowed,
            // Links are LOOP and NOTDIR.
            _ => Self::NotPlain,
        }
    }
}

/// The text of the file at `below` in the directory `base`.
///
/// # Errors
/// When there is none that may be read.
pub(super) fn read(base: &Path, below: &Path) -> Result<String, Unread> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here: OwnedFd = openat(CWD, base, directory, Mode::empty())?;
    let mut names = below.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    let last = names.next_back().ok_or(Unread::NotPlain)?;
    for name in names {
        here = openat(&here, name, directory | OFlags::NOFOLLOW, Mode::empty())?;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(&here, last, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(Unread::NotPlain);
    }
    let mut bytes = Vec::new();
    File::from(file).take(LONGEST).read_to_end(&mut bytes).map_err(|_| Unread::NotPlain)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The text of the file at `path`, whose directory is taken as it is.
///
/// # Errors
/// When there is none that may be read.
pub(super) fn read_at(path: &Path) -> Result<String, Unread> {
    match (path.parent(), path.file_name()) {
        (Some(base), Some(name)) => read(base, Path::new(name)),
        _ => Err(Unread::NotPlain),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn plain_files_are_read_and_others_and_what_links_lead_to_are_not() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        std::fs::create_dir(at(".aws")).unwrap();
        std::fs::write(at(".aws/credentials"), "text").unwrap();
        symlink(".aws/credentials", at("link")).unwrap();
        symlink(".aws", at("linked")).unwrap();
        let fifo = std::process::Command::new("mkfifo").arg(at("fifo")).status().unwrap();
        assert!(fifo.success());
        let read = |below: &str| read(home.path(), Path::new(below));
        assert_eq!(read(".aws/credentials").as_deref(), Ok("text"));
        for other in ["link", "linked/credentials", ".aws", "fifo"] {
            assert_eq!(read(other), Err(Unread::NotPlain), "{other}");
        }
        assert_eq!(read(".aws/config"), Err(Unread::Absent));
        assert_eq!(read_at(&at(".aws/credentials")).as_deref(), Ok("text"));
    }

    #[test]
    fn no_more_is_read_than_such_files_have() {
        let home = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(home.path().join("huge")).unwrap();
        file.set_len(1 << 33).unwrap();
        assert_eq!(read_at(&home.path().join("huge")).unwrap().len() as u64, LONGEST);
    }
}
