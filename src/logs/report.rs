//! What `status` shows of the logs: the ledger, each source, each destination. Plain data, handed out by the shipper. Names
//! are shared with what they are of: there may be ten thousand, and copies of all this live side by side.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Warning};

/// Why a record was not delivered. The words are those of `status`.
type Reason = String;

/// One side of the ledger: **read = delivered + pending + dropped**, always.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// What was read from the source.
    pub read: u64,
    /// What CloudWatch accepted.
    pub delivered: u64,
    /// What is on its way.
    pub pending: u64,
    /// What was given up, by reason.
    pub dropped: BTreeMap<Reason, u64>,
}

/// The ledger in records and in the source's bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Framed records: a line is one, however many parts it was split into.
    pub events: Tally,
    /// The source's bytes, line ends included.
    pub bytes: Tally,
}

/// How a source is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// Read as it grows.
    Running,
    /// Its stream's name needs something of IMDS that is not known yet.
    Waiting,
    /// It can't be read; `last_error` says why.
    Failed,
    /// It is gone from its place, and read to its end.
    Finished,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceSnapshot {
    /// `file`, `journal` or `socket`; `audit` for the agent's own record of who was given which credentials; `finished`
    /// for the sum of many that are done.
    pub kind: Cow<'static, str>,
    /// Its path; of the journal, the unit, or what is asked for.
    pub name: Arc<str>,
    /// How it is doing.
    pub state: SourceState,
    /// Where it goes, once the names are known: `GROUP` and `STREAM`.
    pub log_group: Option<Arc<str>>,
    /// See `log_group`.
    pub log_stream: Option<Arc<str>>,
    /// Everything before this byte is delivered or dropped: of the file, or of the records that were made of the
    /// journal's entries, since this began.
    pub position: u64,
    /// The file's size, when it was last looked at.
    pub size: u64,
    /// For how long undelivered data has been standing there.
    pub lag_seconds: f64,
    /// Lines that held bytes that are not UTF-8, and were delivered with replacement characters.
    pub invalid_utf8: u64,
    /// Records whose time was looked for and not found; they got the time of reading.
    pub unparsed_timestamps: u64,
    /// Its ledger.
    pub ledger: Ledger,
    /// The last failure, while it lasts.
    pub last_error: Option<Box<Fault>>,
}

/// How a destination is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DestinationState {
    /// It accepts what we send.
    Running,
    /// CloudWatch asks us to slow down.
    Throttled,
    /// A permission is missing; `last_error` says which.
    Denied,
    /// No connection, or no answer.
    Unreachable,
    /// There are no credentials to sign with.
    NoCredentials,
    /// It fails in another way, and is tried again.
    BackingOff,
}

impl fmt::Display for DestinationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Throttled => "throttled",
            Self::Denied => "denied",
            Self::Unreachable => "unreachable",
            Self::NoCredentials => "no_credentials",
            Self::BackingOff => "backing_off",
        })
    }
}

/// One log stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DestinationSnapshot {
    /// Its group.
    pub log_group: Arc<str>,
    /// Its name.
    pub log_stream: Arc<str>,
    /// How it is doing.
    pub state: DestinationState,
    /// Requests on their way.
    pub in_flight: u64,
    /// The time of the newest event that was accepted.
    pub delivered_until: Option<Timestamp>,
    /// The time of the oldest event that was read and not accepted yet.
    pub oldest_pending_at: Option<Timestamp>,
    /// How old that oldest event is; 0 when all that was read is accepted.
    #[serde(default)]
    pub lag_seconds: f64,
    /// What was read for it since the start, and what became of that.
    #[serde(default)]
    pub ledger: Ledger,
    /// `PutLogEvents` calls, retries included.
    pub put_calls: u64,
    /// How many of them were throttled.
    pub throttles: u64,
    /// How many of them were a second or later try.
    pub retries: u64,
    /// The last failure, while it lasts.
    pub last_error: Option<Box<Fault>>,
}

/// The dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLettersSnapshot {
    /// The file they are in.
    pub path: String,
    /// How many there are.
    pub events: u64,
    /// The bytes they take.
    pub bytes: u64,
    /// How many were rolled off, because there were too many.
    pub rolled_off: u64,
}

/// How full the spool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolSnapshot {
    /// What it holds, in bytes.
    pub bytes: u64,
    /// What it may hold, in bytes.
    pub limit_bytes: u64,
    /// What was damaged, is kept in its quarantine, and counts for `bytes`.
    #[serde(default)]
    pub quarantined_bytes: u64,
}

/// What `status` shows of the logs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The sum over all sources.
    pub ledger: Ledger,
    /// Each source.
    pub sources: Vec<SourceSnapshot>,
    /// Each destination.
    pub destinations: Vec<DestinationSnapshot>,
    /// The dead letters.
    #[serde(default)]
    pub dead_letters: DeadLettersSnapshot,
    /// What sockets received and CloudWatch did not take yet.
    #[serde(default)]
    pub spool: SpoolSnapshot,
    /// Bytes in buffers.
    #[serde(default, skip_serializing)]
    pub buffers_bytes: u64,
    /// Things a person should know.
    #[serde(default, skip_serializing)]
    pub warnings: Vec<Warning>,
}
