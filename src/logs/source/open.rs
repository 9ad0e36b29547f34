//! Opening a file that somebody else may be rearranging: regular files only, without blocking, and a symbolic link in
//! any component is followed only if root owns it, since the agent may read what the link's owner may not.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, open, openat, readlinkat};
use rustix::io::Errno;

use crate::fault::shell_word;

/// As many links as the kernel follows (`path_resolution(7)`).
const MOST_LINKS: usize = 40;

/// Why a file was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenError {
    /// The system said no.
    #[error("{}", io_meaning(*.0))]
    System(Errno),
    /// A link that somebody else could point anywhere.
    #[error("'{link}' is a symbolic link that root does not own")]
    ForeignLink {
        /// The component.
        link: String,
    },
    /// A name that somebody else than the file's owner may have given it.
    #[error("it has several names, and others than its owner may make names here")]
    ForeignName,
    /// A device, a FIFO, a socket or a directory.
    #[error("not a regular file")]
    NotRegular,
}

impl OpenError {
    /// Whether it is simply not there.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::System(Errno::NOENT | Errno::NOTDIR))
    }

    /// What cures it.
    pub(crate) fn hint(&self, path: &Path) -> Option<String> {
        let path = shell_word(&path.to_string_lossy());
        match self {
            Self::System(Errno::ACCESS | Errno::PERM) => Some(format!(
                "let the service's user read it, e.g. `setfacl -m u:imds-agent:r {path}`, and enter its directories"
            )),
            Self::System(Errno::MFILE | Errno::NFILE) => Some("raise LimitNOFILE= of the service".to_owned()),
            Self::System(_) => None,
            Self::ForeignLink { .. } => Some(format!(
                "name the link's target in `include`, or make root the owner of each link: `namei -o {path}` shows them"
            )),
            Self::ForeignName => Some(format!(
                "let only the file's owner or root write its directory, or remove its other names: `find / -xdev -samefile {path}` shows them"
            )),
            Self::NotRegular => Some("name it in `exclude`; only regular files are followed".to_owned()),
        }
    }
}

fn io_meaning(errno: Errno) -> String {
    std::io::Error::from(errno).to_string()
}

/// Opens the regular file at `path` (absolute) for reading.
///
/// # Errors
/// When it is not there, not regular, not ours to read, or reached through a link that root does not own.
pub(crate) fn open_regular(path: &Path) -> Result<File, OpenError> {
    let mut ahead: VecDeque<OsString> = components(path);
    let mut directory = root()?;
    let mut links = 0;
    while let Some(name) = ahead.pop_front() {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let here = openat(&directory, &name, flags, Mode::empty()).map_err(OpenError::System)?;
        let stat = fstat(&here).map_err(OpenError::System)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                links += 1;
                let target = follow(&here, stat.st_uid, &name, links)?;
                if target.is_absolute() {
                    directory = root()?;
                }
                for component in components(&target).into_iter().rev() {
                    ahead.push_front(component);
                }
            }
            FileType::Directory => directory = here,
            FileType::RegularFile if ahead.is_empty() => return open_for_reading(&directory, &name),
            FileType::RegularFile => return Err(OpenError::System(Errno::NOTDIR)),
            _ => return Err(OpenError::NotRegular),
        }
    }
    Err(OpenError::NotRegular)
}

fn root() -> Result<OwnedFd, OpenError> {
    open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(OpenError::System)
}

/// Where a link leads, if it may be followed. It is read through its own descriptor, so it can't be swapped meanwhile.
fn follow(link: &OwnedFd, owner: u32, name: &OsStr, links: usize) -> Result<std::path::PathBuf, OpenError> {
    if owner != 0 {
        return Err(OpenError::ForeignLink { link: name.to_string_lossy().into_owned() });
    }
    if links > MOST_LINKS {
        return Err(OpenError::System(Errno::LOOP));
    }
    let target = readlinkat(link, "", Vec::new()).map_err(OpenError::System)?;
    Ok(OsString::from_vec(target.into_bytes()).into())
}

/// Opens the last component; what was swapped in since is refused.
fn open_for_reading(directory: &OwnedFd, name: &OsStr) -> Result<File, OpenError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(directory, name, flags, Mode::empty()).map_err(OpenError::System)?;
    let stat = fstat(&file).map_err(OpenError::System)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if stat.st_nlink > 1 && !vouches(directory, stat.st_uid)? => Err(OpenError::ForeignName),
        FileType::RegularFile => Ok(File::from(file)),
        _ => Err(OpenError::NotRegular),
    }
}

/// Whether only root and `owner` can have made a name in `directory`. Where the kernel does not protect hard links
/// (`fs.protected_hardlinks`), who may write a directory may put any file of its file system there, /etc/shadow say.
fn vouches(directory: &OwnedFd, owner: u32) -> Result<bool, OpenError> {
    let stat = fstat(directory).map_err(OpenError::System)?;
    let others_write = stat.st_mode & (Mode::WGRP | Mode::WOTH).bits() != 0;
    Ok(!others_write && (stat.st_uid == 0 || stat.st_uid == owner))
}

fn components(path: &Path) -> VecDeque<OsString> {
    let named = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    named.collect()
}

/// Whether the component at `path` may be entered while looking for files: what is no link, or root's.
pub(crate) fn may_follow(path: &Path) -> bool {
    match rustix::fs::statat(rustix::fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode) != FileType::Symlink || stat.st_uid == 0,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    fn read(path: &Path) -> Result<String, OpenError> {
        let mut text = String::new();
        open_regular(path)?.read_to_string(&mut text).expect("readable");
        Ok(text)
    }

    /// Whether a link that this test makes is root's.
    fn we_are_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    #[test]
    fn a_regular_file_opens() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("log"), "hello").expect("writable");
        assert_eq!(read(&directory.path().join("log")), Ok("hello".to_owned()));
    }

    #[test]
    fn a_missing_file_is_absent() {
        let error = open_regular(Path::new("/nowhere/at/all")).expect_err("is not there");
        assert!(error.is_absent());
    }

    #[test]
    fn a_fifo_is_refused_without_waiting_for_a_writer() {
        let directory = tempfile::tempdir().expect("a directory");
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).expect("makes a FIFO");
        assert_eq!(read(&fifo), Err(OpenError::NotRegular));
        assert_eq!(read(Path::new("/dev/null")), Err(OpenError::NotRegular));
    }

    #[test]
    fn a_link_is_followed_in_any_component_if_root_owns_it_and_only_then() {
        let directory = tempfile::tempdir().expect("a directory");
        let real = directory.path().join("real");
        std::fs::create_dir(&real).expect("makes");
        std::fs::write(real.join("log"), "hello").expect("writable");
        symlink("real", directory.path().join("linked")).expect("links");
        symlink(real.join("log"), directory.path().join("log")).expect("links");
        for path in ["linked/log", "log"].map(|path| directory.path().join(path)) {
            if we_are_root() {
                assert_eq!(read(&path), Ok("hello".to_owned()));
                let link = if path.ends_with("linked/log") { path.parent().expect("has one") } else { &path };
                std::os::unix::fs::lchown(link, Some(65534), None).expect("gives away");
            }
            assert!(matches!(read(&path), Err(OpenError::ForeignLink { .. })), "{}", path.display());
        }
    }

    #[test]
    fn a_file_with_a_second_name_is_opened_only_where_none_but_its_owner_can_have_made_it() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a directory");
        let (log, other) = (directory.path().join("log"), directory.path().join("other"));
        std::fs::write(&log, "hello").expect("writable");
        std::fs::hard_link(&log, &other).expect("links");
        let allow = |mode| {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(directory.path(), permissions).expect("ours");
        };
        allow(0o755);
        assert_eq!(read(&log), Ok("hello".to_owned()));
        allow(0o777);
        assert_eq!(read(&log), Err(OpenError::ForeignName));
        if we_are_root() {
            allow(0o755);
            std::os::unix::fs::chown(directory.path(), Some(65534), None).expect("gives away");
            assert_eq!(read(&log), Err(OpenError::ForeignName));
        }
        std::fs::remove_file(&other).expect("removes");
        assert_eq!(read(&log), Ok("hello".to_owned()));
    }

    #[test]
    fn a_circle_of_links_ends() {
        let directory = tempfile::tempdir().expect("a directory");
        symlink("b", directory.path().join("a")).expect("links");
        symlink("a", directory.path().join("b")).expect("links");
        let expected =
            if we_are_root() { OpenError::System(Errno::LOOP) } else { OpenError::ForeignLink { link: "a".into() } };
        assert_eq!(read(&directory.path().join("a")), Err(expected));
    }
}
