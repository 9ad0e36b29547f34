//! Stdin as a source of the demo: its lines go through a socket of the demo's own daemon by the code of `logs send`, and
//! are counted as they are read. Not the comparison with what arrived.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::thread::JoinHandle;

use bytes::Bytes;
use rustix::fs::{FileType, fstat, major, minor};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::LOG_GROUP;
use super::proof::{Writing, Written};
use super::screen::tally;
use crate::caller::{Rule, Rules};
use crate::cli::logs::send::{AHEAD, read_stdin};
use crate::fault::chain;
use crate::logs::{Destination, SocketKind, SocketSettings, Syntax, Target, framing, send};
use crate::status::Report;

/// The log stream of what comes from stdin.
pub(super) const STREAM: &str = "stdin";

/// What the report calls it: the demo has no other socket.
const KIND: &str = "socket";

/// The device number of /dev/null (Linux, `Documentation/admin-guide/devices.txt`).
const NULL: (u32, u32) = (1, 3);

/// Stdin, being read.
pub(super) struct Stdin {
    stop: CancellationToken,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// What was read, once that is over and all of it is on the daemon's disk.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) written: Written,
    /// Why it is not all.
    pub(super) fault: Option<String>,
}

impl Outcome {
    /// Whether the daemon is done with it, by its report.
    pub(super) fn is_through(&self, report: &Report) -> bool {
        let events = tally(report, KIND);
        let settled = events.delivered + events.dropped.values().sum::<u64>();
        self.fault.is_some() || (settled >= self.written.digest.lines + self.written.empty && events.pending == 0)
    }
}

/// Whether somebody gave us a stdin: not a terminal, where nobody knows that we wait, and not /dev/null.
pub(super) fn is_given() -> bool {
    let stdin = io::stdin();
    let Ok(stat) = fstat(&stdin) else { return false };
    let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    let is_null = is_device && (major(stat.st_rdev), minor(stat.st_rdev)) == NULL;
    !is_null && !stdin.is_terminal()
}

/// The socket for it, which lets in who runs the demo.
pub(super) fn settings(target: Target) -> SocketSettings {
    let user = rustix::process::geteuid().as_raw().to_string();
    SocketSettings {
        path: "stdin.sock".to_owned(),
        kind: SocketKind::Stream,
        syntax: Syntax::Line,
        allow: Rules(vec![Rule { user: Some(user), ..Rule::default() }]),
        target,
        framing: framing::Settings::default(),
    }
}

impl Stdin {
    /// Reads it, and sends it through the daemon in `runtime_dir`, which is there.
    pub(super) fn start(runtime_dir: PathBuf) -> Self {
        let (stop, (tell, outcome)) = (CancellationToken::new(), watch::channel(None));
        let stopped = stop.clone();
        tokio::spawn(async move { tell.send_replace(Some(pass_on(runtime_dir, stopped).await)) });
        Self { stop, outcome }
    }

    /// Reads no more; what was read is still sent.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// `None` while it is read or sent.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.outcome.borrow().clone()
    }
}

async fn pass_on(runtime_dir: PathBuf, stop: CancellationToken) -> Outcome {
    let (pieces, input) = mpsc::channel(AHEAD);
    // At a stop it is left behind, and ends with the process: nobody can wake it from its waiting for stdin.
    let reader = std::thread::spawn(move || read_stdin(&pieces));
    let (counted, lines) = mpsc::channel(1);
    let destination = Destination { log_group: LOG_GROUP.to_owned(), log_stream: None };
    // What is waited for shows on the screen, as what is pending.
    let mut progress = |_: &str| {};
    let sending = send(&runtime_dir, None, &destination, lines, &mut progress);
    let ((written, unread), sent) = tokio::join!(count(input, counted, &stop, reader), sending);
    Outcome { written, fault: sent.err().map(|error| chain(&error)).or(unread) }
}

/// Hands on what comes in, and counts it; also says why reading ended before its time.
async fn count(
    mut input: mpsc::Receiver<Bytes>,
    counted: mpsc::Sender<Bytes>,
    stop: &CancellationToken,
    reader: JoinHandle<io::Result<()>>,
) -> (Written, Option<String>) {
    let mut writing = Writing::default();
    let mut unread = None;
    loop {
        let piece = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            piece = input.recv() => piece,
        };
        let Some(piece) = piece else {
            // It has let go of the channel, so it is at its end.
            unread = reader.join().ok().and_then(Result::err).map(|error| format!("stdin can't be read: {error}"));
            break;
        };
        writing.take_piece(&piece);
        if counted.send(piece).await.is_err() {
            break;
        }
    }
    if writing.is_within_line() {
        writing.take_piece(b"\n");
        // Who does not take it any more says why.
        let _ = counted.send(Bytes::from_static(b"\n")).await;
    }
    (writing.finish(), unread)
}
