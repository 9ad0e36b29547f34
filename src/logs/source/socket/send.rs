//! The daemon's side of `imds-agent logs send`: a caller says where to, and is told how much of what it sends is durable.
//! Not what the command does.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::intake::{Intake, store};
use super::protocol::{Destination, LONGEST_LINE, Reply};
use super::receiver::Inner;
use super::stream::{place_for, receive};
use crate::caller::{Accounts, Caller};
use crate::logs::Syntax;
use crate::logs::spool::Key;

/// How long a caller may take to say where to, and to read an answer: it is on this host.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves one caller until its end or `stop`.
pub(super) async fn serve(inner: Arc<Inner>, mut stream: UnixStream, caller: Caller, stop: CancellationToken) {
    let mut rest = Vec::new();
    let Ok(Some(destination)) = timeout(PATIENCE, greeting(&stream, &mut rest, &stop)).await else { return };
    let admitted = inner.tables().admit(&destination, &caller, &Accounts::of_system());
    let reply = admitted.as_ref().err().cloned().unwrap_or(Reply::Accepted);
    let told = say(&mut stream, &reply).await;
    if let (Ok(key), true) = (admitted, told) {
        take_lines(&inner, stream, &Arc::new(key), &rest, &stop).await;
    }
}

/// The first line; what came behind it is left in `rest`.
async fn greeting(stream: &UnixStream, rest: &mut Vec<u8>, stop: &CancellationToken) -> Option<Destination> {
    let mut buffer = Vec::new();
    loop {
        let count = receive(stream, &mut buffer, stop).await?;
        rest.extend_from_slice(&buffer[..count]);
        if let Some(end) = memchr::memchr(b'\n', rest) {
            let line: Vec<u8> = rest.drain(..=end).collect();
            return serde_json::from_slice(&line).ok();
        }
        if rest.len() > LONGEST_LINE {
            return None;
        }
    }
}

async fn take_lines(inner: &Inner, mut stream: UnixStream, key: &Arc<Key>, rest: &[u8], stop: &CancellationToken) {
    let framing = inner.tables().of(key).map(|table| table.framing.clone()).unwrap_or_default();
    let mut intake = Intake::new(Syntax::Line, framing, true);
    intake.push(rest);
    let (mut large, mut buffer, mut complete) = (None, Vec::new(), false);
    loop {
        for append in intake.take(key, complete, inner.now()) {
            let mut wait = Some(());
            let waiting = |reason: &str| {
                if wait.take().is_some() {
                    // Who does not read it learns it from the end of the connection.
                    let _ = stream.try_write(&Reply::Wait { reason: reason.to_owned() }.to_line());
                }
            };
            if !store(&inner.inbox, append, stop, waiting).await {
                // What is not acknowledged is sent again, to the next daemon.
                return;
            }
        }
        if !say(&mut stream, &Reply::Durable { bytes: intake.handed_out() }).await || complete {
            return;
        }
        large = place_for(large, intake.waiting(), &inner.large, stop).await;
        match receive(&stream, &mut buffer, stop).await {
            Some(count) => intake.push(&buffer[..count]),
            // Half a line at a stop belongs to the next daemon, too.
            None if stop.is_cancelled() => return,
            None => complete = true,
        }
    }
}

/// Whether it could be said.
async fn say(stream: &mut UnixStream, reply: &Reply) -> bool {
    matches!(timeout(PATIENCE, stream.write_all(&reply.to_line())).await, Ok(Ok(())))
}
