//! One daemon a state directory: two would ship every line twice. Not the check for the sockets, which is theirs.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

/// Held as long as it lives; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct InstanceLock {
    _file: File,
}

/// Why the state directory isn't ours.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another daemon works with it.
    #[error("another imds-agent ({holder}) works with the state in {directory}; stop it, or set IMDS_AGENT_STATE_DIR to a directory of this one's own", directory = directory.display())]
    Taken {
        /// The state directory.
        directory: PathBuf,
        /// `pid 812`, or that it is not known.
        holder: String,
    },
    /// The system said no.
    #[error("the lock {path} can't be taken; the state directory must be writable for this user, or set IMDS_AGENT_STATE_DIR to one that is", path = path.display())]
    Io {
        /// The lock's file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl InstanceLock {
    /// Takes the lock of `state_dir`.
    ///
    /// # Errors
    /// When another process holds it (the error names its pid), or the system says no.
    pub(super) fn take(state_dir: &Path) -> Result<Self, Error> {
        let path = state_dir.join("lock");
        let failed = |source| Error::Io { path: path.clone(), source };
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(Error::Taken { directory: state_dir.to_owned(), holder: holder(&mut file) });
            }
            Err(error) => return Err(failed(error.into())),
        }
        // The pid is for people; a full disk must not keep the daemon from starting.
        let _ = write_pid(&mut file);
        Ok(Self { _file: file })
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    // A pid and its line end; whatever else stands there is not ours.
    let pid = file.take(16).read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok());
    pid.map_or_else(|| "its pid is not known".to_owned(), |pid| format!("pid {pid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_is_told_the_firsts_pid() {
        let directory = tempfile::tempdir().unwrap();
        let _first = InstanceLock::take(directory.path()).unwrap();
        let error = InstanceLock::take(directory.path()).expect_err("it is taken");
        assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
    }

    #[test]
    fn a_lock_that_was_let_go_is_free_though_its_file_is_still_there() {
        let directory = tempfile::tempdir().unwrap();
        drop(InstanceLock::take(directory.path()).unwrap());
        std::fs::write(directory.path().join("lock"), "4294967295 and more").unwrap();
        drop(InstanceLock::take(directory.path()).unwrap());
        let text = std::fs::read_to_string(directory.path().join("lock")).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_link_planted_in_its_place_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let victim = directory.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, directory.path().join("lock")).unwrap();
        assert!(matches!(InstanceLock::take(directory.path()), Err(Error::Io { .. })));
        assert_eq!(std::fs::read_to_string(victim).unwrap(), "precious");
    }
}
