//! From what one connection sends to records in the spool: messages are told apart, get their times, and are handed in;
//! while there is no room, their sender waits. Not the socket itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::inbox::Inbox;
use super::messages::Messages;
use super::syslog;
use crate::logs::Syntax;
use crate::logs::framing::Settings;
use crate::logs::framing::recorded::encode_part;
use crate::logs::spool::{Append, Key};

/// How long a sender waits before it is seen whether there is room now: CloudWatch's answers make it.
const ROOM_PAUSE: Duration = Duration::from_millis(250);

/// Numbers very long lines.
static LONG_LINES: AtomicU64 = AtomicU64::new(1);

/// What one sender sends.
#[derive(Debug)]
pub(super) struct Intake {
    syntax: Syntax,
    framing: Settings,
    durable: bool,
    messages: Messages,
    received: u64,
    zone: TimeZone,
    /// The very long message whose parts come now: its key and its time.
    long: Option<(Arc<Key>, Timestamp)>,
}

impl Intake {
    /// Takes `syntax`, of which becomes what `framing` says; what is stored has to be `durable` before it counts.
    pub(super) fn new(syntax: Syntax, framing: Settings, durable: bool) -> Self {
        let (messages, zone) = (Messages::new(syntax, framing.clone()), TimeZone::system());
        Self { syntax, framing, durable, messages, received: 0, zone, long: None }
    }

    /// Takes what was received.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.received += bytes.len() as u64;
        self.messages.push(bytes);
    }

    /// How many bytes wait for the rest of their message.
    pub(super) fn waiting(&self) -> usize {
        self.messages.waiting()
    }

    /// How many bytes were handed out, from the first on.
    pub(super) fn handed_out(&self) -> u64 {
        self.received - self.messages.waiting() as u64
    }

    /// What is whole, to be handed in, in this order; with `complete` also what will not be. They came at `now`.
    pub(super) fn take(&mut self, key: &Arc<Key>, complete: bool, now: Timestamp) -> Vec<Append> {
        let mut appends: Vec<Append> = Vec::new();
        while let Some(message) = self.messages.next(complete) {
            let (text, is_rest, is_continued) = (message.text, message.is_rest, message.is_continued);
            let time = match &self.long {
                Some((_, time)) if is_rest => *time,
                _ => syslog::time_of(self.syntax, text, &self.zone, now).unwrap_or(now),
            };
            let long = if is_rest || is_continued { Some(long_key(key, self.long.take())) } else { None };
            let key = long.as_ref().unwrap_or(key);
            if appends.last().is_none_or(|append| append.key != *key) {
                let (durable, last) = (self.durable, false);
                appends.push(Append { key: key.clone(), records: Vec::new(), durable, last });
            }
            let Some(append) = appends.last_mut() else { break };
            encode_part(&mut append.records, &self.framing, Some(time), text, is_continued);
            append.last = is_rest && !is_continued;
            self.long = long.filter(|_| is_continued).map(|key| (key, time));
        }
        self.messages.shrink();
        appends
    }

    /// What waits, as a part of a message whose rest is not waited for.
    pub(super) fn take_part(&mut self, key: &Arc<Key>, now: Timestamp) -> Append {
        let message = self.messages.part();
        let time = match &self.long {
            Some((_, time)) => *time,
            None => syslog::time_of(self.syntax, message.text, &self.zone, now).unwrap_or(now),
        };
        let key = long_key(key, self.long.take());
        let mut records = Vec::new();
        encode_part(&mut records, &self.framing, Some(time), message.text, true);
        self.long = Some((key.clone(), time));
        self.messages.shrink();
        Append { key, records, durable: self.durable, last: false }
    }
}

/// The key of the very long message that goes on, or of one that begins: for its own segments, so that nothing comes
/// between its parts.
fn long_key(key: &Key, known: Option<(Arc<Key>, Timestamp)>) -> Arc<Key> {
    known.map_or_else(
        || Arc::new(Key { long_line: Some(LONG_LINES.fetch_add(1, Ordering::Relaxed)), ..key.clone() }),
        |(key, _)| key,
    )
}

/// Hands `append` in, and waits while there is no room, which `waiting` is told. `false` when `stop` came before.
pub(super) async fn store(
    inbox: &Inbox,
    mut append: Append,
    stop: &CancellationToken,
    mut waiting: impl FnMut(&str) + Send,
) -> bool {
    loop {
        let refused = match inbox.hand_in(append).await {
            Ok(()) => return true,
            Err((refused, returned)) => {
                let Some(returned) = returned else { return false };
                append = returned;
                refused.to_string()
            }
        };
        inbox.spool().note_refusal(&refused);
        waiting(&refused);
        tokio::select! {
            () = stop.cancelled() => {
                // Once more, since room may have come; what finds none now is lost with its sender's connection.
                return inbox.hand_in(append).await.is_ok();
            }
            () = sleep(ROOM_PAUSE) => {}
        }
    }
}
