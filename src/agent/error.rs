//! Why the daemon does not start. Not what goes wrong later: that is in the report.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use super::{DirectoryError, EnvironmentError, LockError};
use crate::{door, imds};

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The environment says what can't be used.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// IMDS can't be asked where the configuration says.
    #[error("the instance metadata service can't be asked as configured")]
    Imds(#[source] imds::Error),
    /// A directory can't be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The state belongs to another daemon.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A socket can't be opened.
    #[error(transparent)]
    Door(#[from] door::Error),
    /// The spool can't be used.
    #[error("the spool in the state directory {path} can't be used; let this user read and write all of it")]
    Spool {
        /// The state directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl Error {
    /// Whether it is for want of a right: another user could do it.
    #[must_use]
    pub fn is_denial(&self) -> bool {
        let source = match self {
            Self::Directory(error) => Some(&error.source),
            Self::Lock(LockError::Io { source, .. })
            | Self::Door(door::Error::Io { source, .. })
            | Self::Spool { source, .. } => Some(source),
            _ => None,
        };
        source.is_some_and(|source| source.kind() == ErrorKind::PermissionDenied)
    }

    /// Whether it is cured by another configuration or environment.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Environment(_) | Self::Imds(_))
    }

    /// What cures it, if the message does not say so itself.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Imds(error) => error.hint(),
            Self::Environment(error) => error.hint(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(kind: ErrorKind) -> Error {
        DirectoryError {
            kind: "state",
            path: "/var/lib/imds-agent".into(),
            variable: "IMDS_AGENT_STATE_DIR",
            source: kind.into(),
        }
        .into()
    }

    #[test]
    fn only_a_missing_right_is_a_denial() {
        assert!(directory(ErrorKind::PermissionDenied).is_denial());
        assert!(!directory(ErrorKind::ReadOnlyFilesystem).is_denial());
    }
}
