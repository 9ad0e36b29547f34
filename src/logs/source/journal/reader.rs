//! One journalctl as the engine sees it: what it was started for, and what it wrote so far. Not the process, which is
//! [`super::child`]'s, nor what is done with an entry.

use std::time::Duration;

use bytes::{Buf, Bytes};

use super::child::Output;
use super::cursor::Cursor;
use super::export::Decoder;
use crate::logs::batch::FileId;

/// Names one reader.
pub(crate) type ReaderId = u64;

/// What is to be done with a journalctl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Start one, and read from it.
    Start {
        /// Its name from now on.
        reader: ReaderId,
        /// Its arguments.
        arguments: Vec<String>,
    },
    /// Read from it again.
    Read(ReaderId),
    /// End it.
    Stop(ReaderId),
}

/// What a reader is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To learn where the journal ends.
    Newest,
    /// To learn whether the entry is still there, for a table, or for one of its feeds.
    At(Cursor, Option<FileId>),
    /// To read all that a table asks for, up to now.
    All,
    /// To read it as it comes.
    Follow,
    /// To bring one feed what it missed.
    Help(FileId),
}

/// One reader.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) id: ReaderId,
    /// The table it reads for.
    pub(crate) table: usize,
    pub(crate) purpose: Purpose,
    /// Whether it brings entries to several feeds, none of which is to wait for another.
    pub(crate) is_shared: bool,
    pub(crate) decoder: Decoder,
    chunk: Bytes,
    /// Where the entry stands that the decoder holds, and that nobody has taken yet.
    pub(crate) cursor: Option<Cursor>,
    /// Since when that entry finds no room, by the boot-time clock.
    pub(crate) held_since: Option<Duration>,
    /// Whether it was told to read, and has not answered.
    asked: bool,
    end: Option<Result<(), String>>,
    /// The first entry there was, where that is the question.
    pub(crate) first: Option<Cursor>,
    /// Whether every entry there is comes by: then a hole in their numbers shows.
    pub(crate) takes_all: bool,
    /// Behind which entry it reads.
    pub(crate) behind: Option<Cursor>,
}

impl Reader {
    /// One that is just being started.
    pub(crate) fn new(id: ReaderId, table: usize, purpose: Purpose, is_shared: bool) -> Self {
        Self {
            id,
            table,
            purpose,
            is_shared,
            decoder: Decoder::default(),
            chunk: Bytes::new(),
            cursor: None,
            held_since: None,
            asked: true,
            end: None,
            first: None,
            takes_all: false,
            behind: None,
        }
    }

    /// The entry before a hole in the numbers, and the one behind it, if that is what has come.
    pub(crate) fn hole(&self) -> Option<(Cursor, Cursor)> {
        let (last, next) = (self.behind?, self.cursor?);
        (self.takes_all && last.entries_until(&next)? > 0).then_some((last, next))
    }

    /// The entry has found its place: what follows is the next one.
    pub(crate) fn placed(&mut self) {
        self.held_since = None;
        self.behind = self.cursor.or(self.behind);
    }

    /// It wrote something, or ended.
    pub(crate) fn receive(&mut self, output: Output) {
        self.asked = false;
        match output {
            Output::Bytes(bytes) => self.chunk = bytes,
            Output::End => self.end = Some(Ok(())),
            Output::Failed(reason) => self.end = Some(Err(reason)),
        }
    }

    /// Goes on to the next entry, if that is here.
    pub(crate) fn next(&mut self) -> bool {
        let (taken, complete) = self.decoder.read(&self.chunk);
        self.chunk.advance(taken);
        self.cursor = if complete { self.decoder.entry().cursor() } else { None };
        complete
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<Result<(), String>> {
        self.end.take()
    }

    /// Whether it is to be told to read on; asked once, it counts as told.
    pub(crate) fn wants_order(&mut self) -> bool {
        !std::mem::replace(&mut self.asked, true)
    }

    /// The memory it takes, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.chunk.len() + self.decoder.memory()
    }
}
