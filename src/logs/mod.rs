//! Lines of files become events in CloudWatch Logs, at least once and in order; the source is the buffer, so what is
//! kept is positions. Not the place for credentials: the agent hands in an SDK configuration that carries a provider.

mod report;
mod settings;

pub use report::{DestinationSnapshot, DestinationState, Ledger, Snapshot, SourceSnapshot, SourceState, Tally};
pub use settings::{FileSettings, LONGEST_GROUP_NAME, LONGEST_STREAM_NAME, RETENTION_DAYS, Settings, StartAt};

mod shipper;
pub mod sink;

pub use shipper::{LogShipper, Place};
