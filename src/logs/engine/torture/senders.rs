//! Programs that write to a socket, as far as the engine sees them: the spool and who writes it, and what they were told
//! of each line. Not the sockets.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fastrand::Rng;

use super::super::Engine;
use crate::caller::Rules;
use crate::logs::framing::recorded::encode;
use crate::logs::spool::{Append, Key, Listed, Spool, Writer};
use crate::logs::{SocketKind, SocketSettings, Syntax, Target, framing};

/// The socket's name.
const SOCKET: &str = "app.sock";

/// What was promised of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    /// Its sender was told that it is durable.
    Durable,
    /// It was taken; a power loss may take it back.
    Taken,
    /// It was refused when part of the work was done, or a power loss took it back, or not.
    None,
}

/// The spool, its writer, and all lines that were sent.
#[derive(Debug)]
pub(super) struct Senders {
    state: PathBuf,
    spool: Spool,
    writer: Writer,
    lines: Vec<(String, Promise)>,
    /// How long each segment was when it was synced last.
    synced: BTreeMap<u64, u64>,
    /// How many segments a power loss has cut, perhaps inside a record: that is found, and counted.
    pub(super) torn: u64,
}

/// The table of the socket.
pub(super) fn table(target: Target) -> SocketSettings {
    SocketSettings {
        path: SOCKET.to_owned(),
        kind: SocketKind::default(),
        syntax: Syntax::default(),
        allow: Rules::default(),
        target,
        framing: framing::Settings::default(),
    }
}

impl Senders {
    pub(super) fn new(state: &Path, limit: u64) -> Self {
        let spool = Spool::open(state, limit).expect("opens");
        let writer = Writer::new(spool.clone());
        Self { state: state.to_owned(), spool, writer, lines: Vec::new(), synced: BTreeMap::new(), torn: 0 }
    }

    /// The agent's process is another one now.
    pub(super) fn restart(&mut self) {
        self.spool = Spool::open(&self.state, self.spool.budget().limit()).expect("opens");
        self.writer = Writer::new(self.spool.clone());
    }

    pub(super) fn attach(&self, engine: &mut Engine) {
        engine.attach_spool(self.spool.clone(), &self.state);
    }

    /// Some caller sends some lines.
    pub(super) fn send(&mut self, random: &mut Rng) {
        let mut texts = Vec::new();
        let mut records = Vec::new();
        for _ in 0..random.usize(1..20) {
            let text = format!("sent {} {}", self.lines.len() + texts.len(), "x".repeat(random.usize(..200)));
            encode(&mut records, None, text.as_bytes());
            texts.push(text);
        }
        let named_stream = random.bool().then(|| format!("named {}", random.u8(..2)));
        let key = Arc::new(Key {
            source: self.state.join(SOCKET).display().to_string(),
            uid: random.u32(..2),
            log_group: "g".to_owned(),
            log_stream: "socket".to_owned(),
            named_stream,
            long_line: None,
            as_they_came: true,
        });
        let append = Append { key, records, durable: random.bool(), last: random.u8(..8) == 0 };
        let result = self.writer.write(std::slice::from_ref(&append)).remove(0);
        let promise = match result {
            Ok(()) if append.durable => Promise::Durable,
            Ok(()) => Promise::Taken,
            Err(_) => Promise::None,
        };
        self.lines.extend(texts.into_iter().map(|text| (text, promise)));
        if promise == Promise::Durable {
            // One sync makes all durable that was written before.
            self.keep(Promise::Taken, Promise::Durable);
            self.synced = self.spool.segments().iter().map(|listed| (listed.number, listed.length)).collect();
        }
    }

    fn keep(&mut self, before: Promise, after: Promise) {
        self.lines.iter_mut().filter(|(_, promise)| *promise == before).for_each(|(_, promise)| *promise = after);
    }

    /// What was not synced may be gone, from some byte of each segment on.
    pub(super) fn lose_power(&mut self, random: &mut Rng) {
        self.keep(Promise::Taken, Promise::None);
        for Listed { number, length, .. } in self.spool.segments() {
            let kept = random.u64(self.synced.get(&number).copied().unwrap_or(0).min(length)..=length);
            let path = self.state.join(format!("spool/{number:020}.segment"));
            let file = OpenOptions::new().write(true).open(path).expect("a segment");
            file.set_len(kept).expect("a file of ours");
            self.torn += u64::from(kept < length);
        }
    }

    /// Every line that may have arrived, and whether it has to.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&str, bool)> {
        self.lines.iter().map(|(text, promise)| (text.as_str(), *promise != Promise::None))
    }

    /// How much is in the spool still.
    pub(super) fn segments(&self) -> usize {
        self.spool.segments().len()
    }
}
