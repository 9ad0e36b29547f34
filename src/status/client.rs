//! The command's end of the status socket: connect, read within bounds, check. Not what is made of the answer.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{GROUP, SOCKET_NAME};

/// How long the daemon may take. It answers in milliseconds; this is for one that hangs.
const DEADLINE: Duration = Duration::from_secs(5);

/// The longest answer that is read: over 20,000 sources' worth.
const LONGEST_ANSWER: u64 = 32 << 20;

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No daemon is there.
    #[error("no imds-agent is running: nobody answers at {path}")]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It is there, and this user may not ask it.
    #[error("not allowed to ask the daemon at {path}")]
    NotAllowed {
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It is there, and does not answer.
    #[error("the daemon at {path} did not answer within {} s", DEADLINE.as_secs())]
    Silent {
        /// The socket.
        path: PathBuf,
    },
    /// What it says is not a status.
    #[error("what answers at {path} sends no status: {reason}")]
    Garbage {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// What cures it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unreachable { .. } => "systemctl start imds-agent; if it runs with another runtime directory, set \
                                         IMDS_AGENT_RUNTIME_DIR to that"
                .to_owned(),
            Self::NotAllowed { .. } => format!("run it as root, or join the group: usermod -aG {GROUP} USER"),
            Self::Silent { .. } => {
                "journalctl -u imds-agent -n 50 shows what it did last; systemctl restart imds-agent \
                                    loses no log line"
                    .to_owned()
            }
            Self::Garbage { .. } => {
                "the daemon and this command may be of different versions: imds-agent status --json".to_owned()
            }
        }
    }
}

/// The running daemon's status as JSON, as it sent it.
///
/// # Errors
/// When no daemon answers in time, this user may not ask, or the answer is no JSON.
pub fn fetch(runtime_dir: &Path) -> Result<String, Error> {
    let path = runtime_dir.join(SOCKET_NAME);
    let stream = UnixStream::connect(&path).map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => Error::NotAllowed { path: path.clone(), source },
        _ => Error::Unreachable { path: path.clone(), source },
    })?;
    let text = read_within(&stream, Instant::now() + DEADLINE).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Silent { path: path.clone() },
        _ => Error::Garbage { path: path.clone(), reason: error.to_string() },
    })?;
    match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Error::Garbage { path, reason: error.to_string() }),
    }
}

/// All that a daemon of ours answers on `stream` until it ends the connection.
///
/// # Errors
/// When that has not happened at `deadline`, or is longer than any answer of ours, or no text.
pub fn read_within(mut stream: &UnixStream, deadline: Instant) -> io::Result<String> {
    let mut answer = Vec::new();
    let mut piece = [0; 16 << 10];
    loop {
        // Zero would mean no limit.
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece)? {
            0 => return String::from_utf8(answer).map_err(io::Error::other),
            n => answer.extend_from_slice(&piece[..n]),
        }
        if answer.len() as u64 > LONGEST_ANSWER {
            return Err(io::Error::other(format!("it is longer than {} MiB", LONGEST_ANSWER >> 20)));
        }
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A runtime directory in which a daemon answers one connection with `answer`.
    fn answering(answer: &'static [u8]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join(SOCKET_NAME)).unwrap();
        std::thread::spawn(move || listener.accept().unwrap().0.write_all(answer).unwrap());
        directory
    }

    #[test]
    fn the_answer_is_handed_on_as_it_came() {
        let directory = answering(b"{\n  \"schema\": 1, \"added\": [1]\n}\n");
        assert_eq!(fetch(directory.path()).unwrap(), "{\n  \"schema\": 1, \"added\": [1]\n}\n");
    }

    #[test]
    fn no_socket_and_a_deserted_one_are_both_unreachable() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(fetch(directory.path()), Err(Error::Unreachable { .. })));
        drop(UnixListener::bind(directory.path().join(SOCKET_NAME)).unwrap());
        assert!(matches!(fetch(directory.path()), Err(Error::Unreachable { .. })));
    }

    #[test]
    fn an_answer_that_was_cut_off_is_not_a_status() {
        let directory = answering(b"{\"schema\": 1, ");
        assert!(matches!(fetch(directory.path()), Err(Error::Garbage { .. })));
    }

    #[test]
    fn a_daemon_that_never_answers_is_given_up_at_the_deadline() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let error = read_within(&ours, Instant::now() + Duration::from_millis(20)).expect_err("nobody answers");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
