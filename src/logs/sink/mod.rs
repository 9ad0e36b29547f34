//! Where batches go: the contract, and how a failure is classified. CloudWatch Logs is the one that ships; tests of the
//! engine have another. Not the decision what to do about a failure (`delivery::retry`).

mod cloudwatch;
mod compression;
mod words;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use super::GroupSettings;
use crate::fault::Warning;
pub use cloudwatch::CloudWatch;
pub(crate) use compression::LEAST_GAIN;

/// An answer that is on its way.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send>>;

/// What CloudWatch accepted of a batch. The indices are those of `rejectedLogEventsInfo`; an event counted by two of
/// them is rejected once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Events before this index are older than 14 days (exclusive).
    pub too_old_end: Option<usize>,
    /// Events before this index are older than the group's retention (exclusive).
    pub expired_end: Option<usize>,
    /// Events from this index on are more than two hours ahead (inclusive).
    pub too_new_start: Option<usize>,
}

/// What kind of failure it is: all that deciding needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Too many requests.
    Throttled,
    /// AWS has a fault of its own.
    Unavailable,
    /// No connection, or no answer in time.
    Unreachable,
    /// There are no credentials, or no region, to sign with.
    NoCredentials,
    /// The credentials that signed it are expired or unknown.
    CredentialsRejected,
    /// A permission is missing.
    Denied,
    /// The group or the stream does not exist.
    NotFound,
    /// The group does not exist, as AWS's words say.
    GroupNotFound,
    /// It exists already.
    AlreadyExists,
    /// Something about the events is wrong.
    InvalidEvents,
    /// A quota on what there may be is used up.
    LimitReached,
    /// The machine's clock is off.
    ClockSkew,
    /// Anything else that AWS refuses.
    Refused,
}

/// A group as it is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// How many days it keeps its events; `None` for ever.
    pub retention_in_days: Option<u16>,
    /// Its class, in AWS's word.
    pub log_class: Option<String>,
    /// The ARN of its KMS key.
    pub kms_key_id: Option<String>,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind.
    pub kind: Kind,
    /// The operation, the thing and the reason.
    pub message: String,
    /// What cures it, when that is known.
    pub hint: Option<String>,
    /// How long AWS wants us to wait at least, in bounds.
    pub retry_after: Option<Duration>,
}

/// Takes batches.
///
/// An implementer answers each call once, keeps nothing of a batch it did not accept, and never retries by itself: the
/// delivery decides that. (A body that is refused because it is packed may be sent once more as it is: that is another
/// request.) A dropped answer may or may not have had its effect.
pub trait Sink: Send + Sync + 'static {
    /// Puts the events of `body`, a whole `PutLogEvents` request, into a stream; `packed` as gzip, if that is possible.
    fn put(&self, log_group: &str, log_stream: &str, body: Bytes, packed: bool) -> Answer<Accepted>;

    /// Creates a group; its retention is set by another call.
    fn create_group(&self, log_group: &str, settings: &GroupSettings) -> Answer<()>;

    /// Creates a stream.
    fn create_stream(&self, log_group: &str, log_stream: &str) -> Answer<()>;

    /// What a group is like; `None` when there is none of that name.
    fn group(&self, log_group: &str) -> Answer<Option<Group>>;

    /// Sets how many days a group keeps its events.
    fn set_retention(&self, log_group: &str, days: u16) -> Answer<()>;

    /// What a person should know of it, beside what single calls answer.
    fn warnings(&self) -> Vec<Warning> {
        Vec::new()
    }
}
