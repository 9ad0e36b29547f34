//! Where batches go: the contract, and how a failure is classified. CloudWatch Logs is the one that ships; tests of the
//! engine have another. Not the decision what to do about a failure (`delivery::retry`).

mod cloudwatch;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

pub use cloudwatch::CloudWatch;

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
    /// It exists already.
    AlreadyExists,
    /// Something about the events is wrong.
    InvalidEvents,
    /// The machine's clock is off.
    ClockSkew,
    /// Anything else that AWS refuses.
    Refused,
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
    /// How long AWS wants us to wait at least.
    pub retry_after: Option<Duration>,
}

/// Takes batches.
///
/// An implementer answers each call once, keeps nothing of a batch it did not accept, and never retries by itself: the
/// delivery decides that. A dropped answer may or may not have had its effect.
pub trait Sink: Send + Sync + 'static {
    /// Puts the events of `body`, a whole `PutLogEvents` request, into a stream.
    fn put(&self, log_group: &str, log_stream: &str, body: Bytes) -> Answer<Accepted>;

    /// Creates a group.
    fn create_group(&self, log_group: &str) -> Answer<()>;

    /// Creates a stream.
    fn create_stream(&self, log_group: &str, log_stream: &str) -> Answer<()>;

    /// How many days a group keeps its events; `None` for ever.
    fn retention(&self, log_group: &str) -> Answer<Option<u16>>;

    /// Sets how many days a group keeps its events.
    fn set_retention(&self, log_group: &str, days: u16) -> Answer<()>;
}
