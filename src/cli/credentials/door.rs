//! The command's end of the credentials socket: one request of HTTP/1.1, one answer, within a deadline. Not a client for
//! any other server, and not what is made of the answer.
//!
//! | the daemon answers | the command |
//! |---|---|
//! | 200 | goes on with the body |
//! | 403 | ends with 77 and the daemon's reason: it alone knows whom it took the caller for |
//! | 503 | with time left asks again, else ends with 1, the reason and its cure |
//! | anything else | ends with 1 and the daemon's reason |
//! | nothing, and ends the connection | asks again: it restarts, or this user has too many connections |
//! | nothing at all | ends with 69 |

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::agent::Directories;
use crate::cli::exit::{FAILED, NOT_ALLOWED, UNREACHABLE, complain};
use crate::status::read_within;

/// The socket's name in the runtime directory.
const SOCKET_NAME: &str = "credentials.sock";

/// How long the daemon may take, beyond what it was asked to wait. It answers in microseconds; this is for one that hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two attempts while something is waited for: nothing that is waited for takes less.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What takes no longer than this is no news: a restart, the first fetch.
const QUIET: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum Error {
    #[error("no imds-agent is running: nobody answers at {path}")]
    Unreachable { path: PathBuf, source: io::Error },
    #[error("not allowed to reach the daemon at {path}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the daemon at {path} did not answer within {seconds} s")]
    Silent { path: PathBuf, seconds: u64 },
    #[error("what answers at {path} is no imds-agent of this version: {reason}")]
    Garbage { path: PathBuf, reason: String },
    #[error("{message}")]
    Refused { status: u16, message: String, hint: Option<String> },
}

/// How the daemon says no.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    message: String,
    hint: Option<String>,
}

impl Error {
    /// What the command ends with.
    pub(in crate::cli) fn code(&self) -> u8 {
        match self {
            Self::Unreachable { .. } | Self::Silent { .. } => UNREACHABLE,
            Self::Unreadable { .. } | Self::Refused { status: 403, .. } => NOT_ALLOWED,
            Self::Garbage { .. } | Self::Refused { .. } => FAILED,
        }
    }

    /// What cures it.
    pub(in crate::cli) fn hint(&self) -> Option<&str> {
        match self {
            Self::Unreachable { .. } => Some(
                "systemctl start imds-agent; if it runs with another runtime directory, set IMDS_AGENT_RUNTIME_DIR to \
                 that; while a machine boots, --wait 30s waits for it",
            ),
            Self::Unreadable { .. } => Some("all users may look into /run/imds-agent as it is installed (mode 0755)"),
            Self::Silent { .. } => Some("journalctl -u imds-agent -n 50 shows what it did last"),
            Self::Garbage { .. } => Some("systemctl restart imds-agent starts the version that is installed"),
            Self::Refused { hint, .. } => hint.as_deref(),
        }
    }

    /// Whether time may cure it.
    fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Refused { status: 503, .. })
    }
}

/// The daemon's socket.
pub(in crate::cli) struct Door {
    path: PathBuf,
}

impl Door {
    /// Where the daemon of this system has it.
    pub(in crate::cli) fn of_system() -> Self {
        Self::below(&Directories::of_client().runtime)
    }

    fn below(runtime: &Path) -> Self {
        Self { path: runtime.join(SOCKET_NAME) }
    }

    /// Asks until there is an answer that time does not better, at most for `wait`. `target` gets how many seconds the
    /// daemon may wait itself.
    pub(in crate::cli) fn get_within(&self, wait: Duration, target: impl Fn(u64) -> String) -> Result<String, Error> {
        let begun = Instant::now();
        let mut is_said = false;
        loop {
            let left = wait.saturating_sub(begun.elapsed());
            // What takes longer is said, and for that the first answer is needed.
            let step = if is_said { left } else { left.min(QUIET) };
            match self.ask("GET", &target(seconds_of(step)), step) {
                Err(error) if error.may_pass() && left > LOOK_EVERY => {
                    if !is_said && begun.elapsed() >= QUIET {
                        complain(&format!("imds-agent: {error}; waiting for {} s at most", seconds_of(left)));
                        is_said = true;
                    }
                    std::thread::sleep(LOOK_EVERY);
                }
                done => return done,
            }
        }
    }

    /// One request, which the daemon may take `wait` longer for than it needs.
    pub(in crate::cli) fn ask(&self, method: &str, target: &str, wait: Duration) -> Result<String, Error> {
        let patience = PATIENCE + wait;
        let deadline = Instant::now() + patience;
        let mut answer = self.converse(method, target, deadline);
        while answer.as_ref().is_err_and(is_lost) && Instant::now() + LOOK_EVERY < deadline {
            std::thread::sleep(LOOK_EVERY);
            answer = self.converse(method, target, deadline);
        }
        let path = self.path.clone();
        let answer = answer.map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Silent { path, seconds: patience.as_secs() },
            io::ErrorKind::PermissionDenied => Error::Unreadable { path, source },
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::Unreachable { path, source },
            _ if is_lost(&source) => Error::Unreachable { path, source },
            _ => Error::Garbage { path, reason: source.to_string() },
        })?;
        self.judged(&answer)
    }

    /// Connects, asks, and reads to the end.
    fn converse(&self, method: &str, target: &str, deadline: Instant) -> io::Result<String> {
        let mut stream = UnixStream::connect(&self.path)?;
        // A server wants a name; on a unix socket it is of no use.
        let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        match read_within(&stream, deadline)? {
            answer if answer.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            answer => Ok(answer),
        }
    }

    /// The body of an answer that says yes.
    fn judged(&self, answer: &str) -> Result<String, Error> {
        let (status, body) = parsed(answer).ok_or_else(|| self.garbage("it does not speak HTTP".to_owned()))?;
        if status == 200 {
            return Ok(body.to_owned());
        }
        match serde_json::from_str(body) {
            Ok(Refusal { message, hint }) => Err(Error::Refused { status, message: printable(&message), hint }),
            Err(_) => Err(self.garbage(format!("it says {status} without a reason"))),
        }
    }

    pub(in crate::cli) fn garbage(&self, reason: String) -> Error {
        Error::Garbage { path: self.path.clone(), reason }
    }
}

/// In whole seconds: a moment is one.
fn seconds_of(time: Duration) -> u64 {
    u64::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
}

/// Whether the daemon was there, and went away before it said a word.
fn is_lost(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// The status and the body of an answer whose end is that of its connection.
fn parsed(answer: &str) -> Option<(u16, &str)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, body))
}

/// Without what could play tricks on a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::net::UnixListener;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A daemon that answers each connection with the next of `answers`, and what it was asked.
    fn answering(answers: &[&str]) -> (tempfile::TempDir, Door, Arc<Mutex<Vec<String>>>) {
        let directory = tempfile::tempdir().unwrap();
        let door = Door::below(directory.path());
        let listener = UnixListener::bind(&door.path).unwrap();
        let answers: Vec<String> = answers.iter().map(|&answer| answer.to_owned()).collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        std::thread::spawn(move || {
            for answer in answers {
                let mut stream = listener.accept().unwrap().0;
                let mut question = String::new();
                let mut lines = BufReader::new(&stream);
                while !question.ends_with("\r\n\r\n") {
                    lines.read_line(&mut question).unwrap();
                }
                heard.lock().unwrap().push(question);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        (directory, door, asked)
    }

    const YES: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{}";
    const NOT_YET: &str = "HTTP/1.1 503 Service Unavailable\r\n\r\n\
                           {\"Code\":\"NotReady\",\"Message\":\"no role\",\"Hint\":\"attach one\"}";

    #[test]
    fn the_body_of_an_answer_is_handed_on() {
        let (_directory, door, asked) = answering(&[YES]);
        assert_eq!(door.ask("GET", "/role/app", Duration::ZERO).unwrap(), "{}");
        assert!(asked.lock().unwrap()[0].starts_with("GET /role/app HTTP/1.1\r\nHost: localhost\r\n"));
    }

    #[test]
    fn a_refusal_ends_with_the_daemons_reason_and_cure() {
        let denied =
            "HTTP/1.1 403 Forbidden\r\n\r\n{\"Code\":\"AccessDenied\",\"Message\":\"uid 7 \\u001b[31m may not\"}";
        for (answer, code, text, hint) in
            [(denied, NOT_ALLOWED, "uid 7 [31m may not", None), (NOT_YET, FAILED, "no role", Some("attach one"))]
        {
            let (_directory, door, _) = answering(&[answer]);
            let error = door.ask("GET", "/base", Duration::ZERO).expect_err("a refusal");
            assert_eq!((error.code(), error.to_string().as_str(), error.hint()), (code, text, hint));
        }
    }

    #[test]
    fn without_a_daemon_it_is_unreachable_and_one_that_hangs_up_is_asked_again() {
        let directory = tempfile::tempdir().unwrap();
        let error = Door::below(directory.path()).ask("GET", "/base", Duration::ZERO).expect_err("nobody is there");
        assert_eq!(error.code(), UNREACHABLE);
        assert!(error.hint().is_some_and(|hint| hint.contains("systemctl start imds-agent")));
        let (_directory, door, _) = answering(&["", "", YES]);
        assert_eq!(door.ask("GET", "/base", Duration::ZERO).unwrap(), "{}");
        let (_directory, door, _) = answering(&["", ""]);
        assert_eq!(door.ask("GET", "/base", Duration::ZERO).expect_err("it is gone").code(), UNREACHABLE);
    }

    #[test]
    fn what_is_not_ready_is_asked_again_while_there_is_time_and_what_is_denied_is_not() {
        let (_directory, door, asked) = answering(&[NOT_YET, NOT_YET, YES]);
        door.get_within(Duration::from_mins(1), |seconds| format!("/base?wait={seconds}")).unwrap();
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 3);
        assert!(asked[0].starts_with("GET /base?wait=1 HTTP/1.1"), "{}", asked[0]);
        let (_directory, door, _) = answering(&["HTTP/1.1 403 Forbidden\r\n\r\n{\"Message\":\"no\"}"]);
        assert_eq!(
            door.get_within(Duration::from_mins(1), |_| "/base".to_owned()).expect_err("no").code(),
            NOT_ALLOWED
        );
    }

    #[test]
    fn what_is_no_daemon_of_ours_is_said_to_be_none() {
        for answer in ["SSH-2.0-x\r\n", "HTTP/1.1 500 Oh\r\n\r\nno", "HTTP/1.1 2"] {
            let (_directory, door, _) = answering(&[answer]);
            assert!(matches!(door.ask("GET", "/base", Duration::ZERO), Err(Error::Garbage { .. })), "{answer}");
        }
    }
}
