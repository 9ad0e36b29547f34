//! What the engine is told, and what it wants done: the words between it and its shell. Not what follows from them.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::logs::creation::Created;
use crate::logs::delivery::destination::Ticket;
use crate::logs::sink::{Accepted, Failure};
use crate::logs::source::journal::child::Output;
use crate::logs::source::journal::reader::{Order, ReaderId};
use crate::logs::source::watch::RawChange;
use crate::logs::{GroupSettings, Settings};
use crate::template::Names;

/// What happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// The kernel told of changes.
    Changed(Vec<RawChange>),
    /// The kernel could not tell of all changes.
    Overflow,
    /// A put was answered.
    Answer {
        /// Which stream.
        stream: usize,
        /// Which request.
        ticket: Ticket,
        /// What became of it.
        result: Result<Accepted, Failure>,
    },
    /// A stream was created, or not.
    Created {
        /// Which stream.
        stream: usize,
        /// Or why not.
        result: Result<Created, Failure>,
    },
    /// A group was compared with what was asked for, or not.
    Checked {
        /// Which group.
        log_group: Arc<str>,
        /// What differs and can't be changed, or why that is not known.
        result: Result<Option<String>, Failure>,
    },
    /// A journalctl wrote something, or ended.
    Journal {
        /// Which one.
        reader: ReaderId,
        /// What it wrote.
        output: Output,
    },
    /// There may be more in the spool.
    Spooled,
    /// More names are known.
    Names(Names),
    /// Another configuration.
    Settings {
        /// What it says.
        settings: Arc<Settings>,
        /// Whether everything goes to another account or region.
        elsewhere: bool,
    },
    /// Nothing is to be read any more; what was read is to be sent.
    Stop,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Action {
    /// Put a batch.
    Put {
        /// Which stream.
        stream: usize,
        /// For the answer.
        ticket: Ticket,
        /// The group's name.
        log_group: Arc<str>,
        /// The stream's name.
        log_stream: Arc<str>,
        /// The request's body.
        body: Bytes,
        /// Whether it is to be packed.
        packed: bool,
    },
    /// Create a stream, and its group if need be.
    Create {
        /// Which stream.
        stream: usize,
        /// The group's name.
        log_group: Arc<str>,
        /// The stream's name.
        log_stream: Arc<str>,
        /// Whether it is known that there is no such group.
        without_group: bool,
        /// How a group is made.
        settings: GroupSettings,
    },
    /// Compare a group with what was asked for, without hurry, and set its retention if it differs.
    CheckGroup {
        /// The group's name.
        log_group: Arc<str>,
        /// What it should be like.
        settings: GroupSettings,
    },
    /// Start, read or end a journalctl.
    Journal(Order),
    /// Sync the checkpoint.
    Sync(File),
}

/// What a step leads to.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// What is to be done.
    pub(crate) actions: Vec<Action>,
    /// When to step again although nothing happened, by the boot-time clock; zero for at once.
    pub(crate) wake_at: Duration,
    /// After [`Event::Stop`]: whether all that could be sent was answered.
    pub(crate) drained: bool,
}
