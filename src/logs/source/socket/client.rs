//! The command's side of `imds-agent logs send`: lines go to the daemon, and count when it says that they are durable. What
//! it did not say that of is sent again to the next daemon. Not where the lines come from, and nothing is printed.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use super::protocol::{Destination, Reply, SEND_SOCKET};

/// So many bytes are kept because they may have to be sent again: more than one event takes, so that the daemon always has
/// a whole one to acknowledge.
const WINDOW: usize = 4 << 20;

/// How long a daemon that went away is waited for: a restart takes a second or two, an upgrade of a package longer.
const AWAY: Duration = Duration::from_mins(1);

/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(200);

/// How often it is asked again about what it does not know yet.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Why lines could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No daemon is there.
    #[error("no daemon answers at {path}")]
    Unreachable {
        /// Its socket.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The daemon went away and did not come back.
    #[error(
        "the daemon at {path} went away and did not come back; the first {durable} bytes are durable, the rest is not"
    )]
    Gone {
        /// Its socket.
        path: PathBuf,
        /// How many bytes are safe.
        durable: u64,
    },
    /// The daemon says no.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
        /// What cures it.
        hint: String,
    },
    /// What is there is no daemon of ours.
    #[error("what answers at {path} is no imds-agent of this version")]
    Garbage {
        /// Its socket.
        path: PathBuf,
    },
}

/// How a connection ended.
enum End {
    /// All is durable.
    Done,
    /// The daemon went away.
    Lost,
    /// It does not know yet.
    Later,
}

/// What is to be sent, and how far that is.
struct Sender<'p> {
    path: PathBuf,
    greeting: Vec<u8>,
    input: mpsc::Receiver<Bytes>,
    ended: bool,
    /// What is not durable yet.
    window: Vec<u8>,
    durable: u64,
    progress: &'p mut (dyn FnMut(&str) + Send),
}

/// Sends the bytes of `input`, which are lines, through the daemon in `runtime_dir`, until all of them are durable.
/// `progress` is told what is waited for. `witness` is a socket that the daemon has in any case.
///
/// # Errors
/// When there is no daemon, or it says no, or it goes away for too long.
pub async fn send(
    runtime_dir: &Path,
    witness: Option<PathBuf>,
    destination: &Destination,
    input: mpsc::Receiver<Bytes>,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<(), SendError> {
    let path = runtime_dir.join(SEND_SOCKET);
    // Plain data: serialising to memory can't fail.
    let mut greeting = serde_json::to_vec(destination).unwrap_or_default();
    greeting.push(b'\n');
    let mut stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(source) if is_closed(&source) && witness.is_some_and(|witness| is_served(&witness)) => {
            return Err(SendError::undeclared(&destination.log_group));
        }
        Err(source) => return Err(SendError::Unreachable { path, source }),
    };
    let mut sender = Sender { path, greeting, input, ended: false, window: Vec::new(), durable: 0, progress };
    loop {
        match sender.converse(stream).await? {
            End::Done => return Ok(()),
            End::Lost => (sender.progress)("the daemon went away, waiting for it"),
            End::Later => sleep(ASK_AGAIN).await,
        }
        stream = sender.reconnect().await?;
    }
}

impl SendError {
    fn undeclared(group: &str) -> Self {
        Self::Refused {
            reason: format!(
                "the configuration has no [[logs.socket]], so it declares no log group, not '{group}' either"
            ),
            hint: format!("add [[logs.socket]] with log_group = \"{group}\", then: systemctl reload imds-agent"),
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Whether somebody listens at `path`, who perhaps would not talk to us.
fn is_served(path: &Path) -> bool {
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

impl Sender<'_> {
    async fn reconnect(&mut self) -> Result<UnixStream, SendError> {
        let deadline = Instant::now() + AWAY;
        while Instant::now() < deadline {
            if let Ok(Ok(stream)) = timeout_at(deadline, UnixStream::connect(&self.path)).await {
                return Ok(stream);
            }
            sleep(LOOK).await;
        }
        Err(SendError::Gone { path: self.path.clone(), durable: self.durable })
    }

    /// One connection: until all is durable, or it breaks.
    async fn converse(&mut self, stream: UnixStream) -> Result<End, SendError> {
        let (read, mut write) = stream.into_split();
        let mut replies = BufReader::new(read).lines();
        if write.write_all(&self.greeting).await.is_err() {
            return Ok(End::Lost);
        }
        match self.next(&mut replies).await? {
            None => return Ok(End::Lost),
            Some(Reply::Accepted) => {}
            Some(Reply::Refused { reason, hint }) => return Err(SendError::Refused { reason, hint }),
            Some(Reply::Wait { reason }) => {
                (self.progress)(&reason);
                return Ok(End::Later);
            }
            Some(Reply::Durable { .. }) => return Err(SendError::Garbage { path: self.path.clone() }),
        }
        self.exchange(&mut replies, write).await
    }

    async fn exchange(
        &mut self,
        replies: &mut Lines<BufReader<OwnedReadHalf>>,
        write: OwnedWriteHalf,
    ) -> Result<End, SendError> {
        // How much of the window was sent on this connection, and how much the daemon has of it.
        let (mut sent, mut acknowledged, mut write) = (0, 0, Some(write));
        loop {
            if self.ended && sent == self.window.len() {
                if self.window.is_empty() {
                    return Ok(End::Done);
                }
                // Closing this half says that no more will come.
                write = None;
            }
            let room = self.window.len() < WINDOW && !self.ended;
            tokio::select! {
                reply = replies.next_line() => match self.understand(reply)? {
                    None => return Ok(End::Lost),
                    Some(Reply::Durable { bytes }) => {
                        let more = usize::try_from(bytes.saturating_sub(acknowledged)).unwrap_or(usize::MAX).min(sent);
                        self.window.drain(..more);
                        (sent, acknowledged) = (sent - more, bytes);
                        self.durable += more as u64;
                        if self.ended && self.window.is_empty() {
                            return Ok(End::Done);
                        }
                    }
                    Some(Reply::Wait { reason }) => (self.progress)(&reason),
                    Some(Reply::Refused { reason, hint }) => return Err(SendError::Refused { reason, hint }),
                    Some(Reply::Accepted) => {}
                },
                written = written(write.as_mut(), &self.window[sent..]) => match written {
                    Ok(count) => sent += count,
                    Err(_) => return Ok(End::Lost),
                },
                more = self.input.recv(), if room => match more {
                    Some(bytes) => self.window.extend_from_slice(&bytes),
                    None => self.ended = true,
                },
            }
        }
    }

    async fn next(&mut self, replies: &mut Lines<BufReader<OwnedReadHalf>>) -> Result<Option<Reply>, SendError> {
        let line = replies.next_line().await;
        self.understand(line)
    }

    /// `None` when the daemon went away.
    fn understand(&self, line: io::Result<Option<String>>) -> Result<Option<Reply>, SendError> {
        let Ok(Some(line)) = line else { return Ok(None) };
        serde_json::from_str(&line).map(Some).map_err(|_| SendError::Garbage { path: self.path.clone() })
    }
}

/// Writes some of `bytes`; never returns when there are none.
async fn written(write: Option<&mut OwnedWriteHalf>, bytes: &[u8]) -> io::Result<usize> {
    match write {
        Some(write) if !bytes.is_empty() => write.write(bytes).await,
        _ => std::future::pending().await,
    }
}
