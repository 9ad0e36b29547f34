//! The two directories of ours: state, which must survive, and runtime, where the sockets are. Who says where they
//! are, and that they exist. Not what is in them.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Where state is unless something else says so.
const STATE: &str = "/var/lib/imds-agent";

/// Where the sockets are unless something else says so.
const RUNTIME: &str = "/run/imds-agent";

/// State is nobody else's: positions tell which files exist, dead letters hold log data.
const STATE_MODE: u32 = 0o700;

/// The sockets in it have modes of their own; all may look for them.
const RUNTIME_MODE: u32 = 0o755;

/// Where things are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directories {
    /// What must survive a restart.
    pub state: PathBuf,
    /// The sockets.
    pub runtime: PathBuf,
}

/// A directory that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the {kind} directory {path} can't be created; create it for this user, or name another one in {variable}")]
pub struct Error {
    /// `state` or `runtime`.
    pub kind: &'static str,
    /// Its path.
    pub path: PathBuf,
    /// The variable that names another.
    pub variable: &'static str,
    /// The system's answer.
    pub source: io::Error,
}

impl Directories {
    /// For the daemon: `IMDS_AGENT_STATE_DIR` and `IMDS_AGENT_RUNTIME_DIR`, then systemd's `STATE_DIRECTORY` and
    /// `RUNTIME_DIRECTORY`, then the defaults.
    #[must_use]
    pub fn of_daemon() -> Self {
        Self::decide(|name| std::env::var_os(name), true)
    }

    /// For every other command: without systemd's, since a client that runs inside another unit must not look in that
    /// unit's directories.
    #[must_use]
    pub fn of_client() -> Self {
        Self::decide(|name| std::env::var_os(name), false)
    }

    /// Creates those that do not exist.
    ///
    /// # Errors
    /// Names the directory, the system's answer and the cure.
    pub fn create(&self) -> Result<(), Error> {
        let failed = |kind, path: &Path, variable| {
            let path = path.to_owned();
            move |source| Error { kind, path, variable, source }
        };
        create(&self.state, STATE_MODE).map_err(failed("state", &self.state, "IMDS_AGENT_STATE_DIR"))?;
        create(&self.runtime, RUNTIME_MODE).map_err(failed("runtime", &self.runtime, "IMDS_AGENT_RUNTIME_DIR"))
    }

    fn decide(variable: impl Fn(&str) -> Option<OsString>, systemd: bool) -> Self {
        let choose = |ours: &str, systemds: &str, default: &str| {
            let set = |name: &str| variable(name).filter(|value| !value.is_empty());
            set(ours)
                .map(PathBuf::from)
                .or_else(|| set(systemds).filter(|_| systemd).map(first_of))
                .unwrap_or_else(|| default.into())
        };
        Self {
            state: choose("IMDS_AGENT_STATE_DIR", "STATE_DIRECTORY", STATE),
            runtime: choose("IMDS_AGENT_RUNTIME_DIR", "RUNTIME_DIRECTORY", RUNTIME),
        }
    }
}

/// systemd separates several directories by colons (systemd.exec(5)); the first is the unit's main one.
fn first_of(list: OsString) -> PathBuf {
    match list.to_str() {
        Some(text) => text.split(':').next().unwrap_or(text).into(),
        None => list.into(),
    }
}

fn create(path: &Path, mode: u32) -> io::Result<()> {
    // An existing directory keeps its mode: whoever made it meant it.
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn decide(variables: &[(&str, &str)], systemd: bool) -> (String, String) {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        let directories = Directories::decide(find, systemd);
        (directories.state.display().to_string(), directories.runtime.display().to_string())
    }

    #[test]
    fn ours_come_before_systemds_and_systemds_before_the_defaults() {
        let systemds = [("STATE_DIRECTORY", "/s/a:/s/b"), ("RUNTIME_DIRECTORY", "/r")];
        assert_eq!(decide(&systemds, true), ("/s/a".into(), "/r".into()));
        let both = [systemds[0], systemds[1], ("IMDS_AGENT_STATE_DIR", "/own"), ("IMDS_AGENT_RUNTIME_DIR", "")];
        assert_eq!(decide(&both, true), ("/own".into(), "/r".into()));
        assert_eq!(decide(&[], true), (STATE.into(), RUNTIME.into()));
    }

    #[test]
    fn a_client_in_another_unit_does_not_look_in_that_units_directories() {
        let systemds = [("STATE_DIRECTORY", "/s"), ("RUNTIME_DIRECTORY", "/r")];
        assert_eq!(decide(&systemds, false), (STATE.into(), RUNTIME.into()));
    }

    #[test]
    fn missing_directories_are_created_and_existing_ones_left_as_they_are() {
        let root = tempfile::tempdir().unwrap();
        let directories = Directories { state: root.path().join("a/state"), runtime: root.path().to_owned() };
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        directories.create().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directories.state), mode(root.path())), (0o700, 0o711));
    }

    #[test]
    fn a_directory_that_cannot_be_created_is_named_with_the_cure() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("file"), "").unwrap();
        let directories = Directories { state: root.path().join("file/state"), runtime: root.path().to_owned() };
        let text = crate::fault::chain(&directories.create().expect_err("a file is in the way"));
        assert!(text.contains("file/state") && text.contains("IMDS_AGENT_STATE_DIR"), "{text}");
        assert!(text.contains("Not a directory"), "{text}");
    }
}
