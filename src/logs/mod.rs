//! Lines of files become events in CloudWatch Logs, at least once and in order; the source is the buffer, so what is
//! kept is positions. Not the place for credentials: the agent hands in an SDK configuration that carries a provider.

mod batch;
mod checkpoint;
mod coverage;
mod creation;
pub mod dead_letters;
mod delivery;
mod disk;
mod engine;
pub mod framing;
mod gaps;
mod hearing;
mod ledger;
mod renewal;
mod report;
mod settings;
mod shipper;
pub mod sink;
mod source;
mod spool;
mod task;

pub use ledger::DROP_REASONS;
pub use report::{
    DeadLettersSnapshot, DestinationSnapshot, DestinationState, Ledger, Snapshot, SourceSnapshot, SourceState,
    SpoolSnapshot, Tally,
};
pub use settings::{
    AUDIT, BACKFILL_LIMIT, Compression, FileSettings, GroupSettings, JournalFormat, JournalSettings,
    LONGEST_GROUP_NAME, LONGEST_STREAM_NAME, LogClass, RETENTION_DAYS, Settings, SocketKind, SocketSettings, StartAt,
    Syntax, Target,
};
pub use shipper::{LogShipper, Place};
pub(crate) use source::discover::{Finder, Walk};
pub(crate) use source::open::open_regular;
pub use source::socket::{Destination, Door, DoorSocket, Purpose, Receiver, SEND_SOCKET, SendError, send};
pub use spool::Spool;
