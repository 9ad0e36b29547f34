//! When a failed put is tried again.
//!
//! | failure | state | wait before the next try | batch |
//! |---|---|---|---|
//! | throttled | throttled | full jitter 1 → 60 s, at least what AWS asks for; the linger doubles, 5 → 30 s | kept |
//! | 5xx | backing off | full jitter 0.2 → 30 s | kept |
//! | no connection, no answer | unreachable | full jitter 0.2 → 30 s | kept |
//! | no credentials, no region | no credentials | full jitter 0.2 → 2 s: asking our own cache costs nothing | kept |
//! | credentials rejected | no credentials | 0.2 → 5 s: a refresh was asked for, and answers in that time | kept |
//! | denied | denied | 60 s: permissions change when a person changes them | kept |
//! | a quota on log groups is used up | backing off | 60 s: no retry frees it, a person raises it | kept |
//! | group or stream missing | | none: created, then sent again | kept |
//! | invalid events | | none: halved until the poison event is alone, which becomes a dead letter | kept |
//! | clock skew | backing off | full jitter 0.2 → 30 s: the clock was corrected from that very answer | kept |
//! | refused for another reason | backing off | full jitter 1 → 60 s | kept |
//!
//! A kept batch whose wait is long is given back to its source when memory is short. It is never given up: the source is the buffer, and CloudWatch says when an event is too old.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::logs::DestinationState;
use crate::logs::sink::{Failure, Kind};

const THROTTLED: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
const NETWORK: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
const CREDENTIALS_MISSING: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
const CREDENTIALS_REJECTED: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
const DENIED: Duration = Duration::from_mins(1);

/// No retry is sooner than this: full jitter may be zero.
const SOONEST: Duration = Duration::from_millis(50);

/// A batch whose retry is further away than this may be given back to its source, to take no memory meanwhile.
pub(crate) const LONG_WAIT: Duration = Duration::from_secs(5);

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Wait, in this state, then try again.
    Wait {
        /// How the destination is shown meanwhile.
        state: DestinationState,
        /// For how long.
        wait: Duration,
    },
    /// Create what is missing, then try again.
    Create,
    /// Find the poison event.
    Bisect,
}

/// Decides about a put's failure; `attempt` counts the failures in a row, from 1.
pub(crate) fn verdict(failure: &Failure, attempt: u32) -> Verdict {
    let (state, wait) = match failure.kind {
        Kind::Throttled => (DestinationState::Throttled, THROTTLED.full_jitter(attempt)),
        Kind::Unavailable | Kind::ClockSkew => (DestinationState::BackingOff, NETWORK.full_jitter(attempt)),
        Kind::Unreachable => (DestinationState::Unreachable, NETWORK.full_jitter(attempt)),
        Kind::NoCredentials => (DestinationState::NoCredentials, CREDENTIALS_MISSING.full_jitter(attempt)),
        Kind::CredentialsRejected => (DestinationState::NoCredentials, CREDENTIALS_REJECTED.full_jitter(attempt)),
        Kind::Denied => (DestinationState::Denied, DENIED),
        Kind::LimitReached => (DestinationState::BackingOff, DENIED),
        Kind::Refused | Kind::AlreadyExists => (DestinationState::BackingOff, THROTTLED.full_jitter(attempt)),
        Kind::NotFound | Kind::GroupNotFound => return Verdict::Create,
        Kind::InvalidEvents => return Verdict::Bisect,
    };
    Verdict::Wait { state, wait: wait.max(SOONEST).max(failure.retry_after.unwrap_or_default()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(kind: Kind, attempt: u32) -> Duration {
        let failure = Failure { kind, message: String::new(), hint: None, retry_after: None };
        match verdict(&failure, attempt) {
            Verdict::Wait { wait, .. } => wait,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_failure_waits_longer_than_its_cap_or_shorter_than_a_moment() {
        let caps = [
            (Kind::Throttled, 60),
            (Kind::Unavailable, 30),
            (Kind::Unreachable, 30),
            (Kind::NoCredentials, 2),
            (Kind::CredentialsRejected, 5),
            (Kind::ClockSkew, 30),
            (Kind::Refused, 60),
        ];
        for (kind, cap) in caps {
            for attempt in [1, 2, 10, 40, u32::MAX] {
                let wait = waits(kind, attempt);
                assert!(wait >= SOONEST && wait <= Duration::from_secs(cap), "{kind:?} {attempt} {wait:?}");
            }
        }
    }

    #[test]
    fn what_only_a_person_cures_is_probed_once_a_minute() {
        assert_eq!(waits(Kind::LimitReached, 1), Duration::from_mins(1));
        assert_eq!(waits(Kind::Denied, 1), Duration::from_mins(1));
    }

    #[test]
    fn what_aws_asks_for_is_waited_at_least() {
        let failure = Failure {
            kind: Kind::Throttled,
            message: String::new(),
            hint: None,
            retry_after: Some(Duration::from_secs(95)),
        };
        let expected = Verdict::Wait { state: DestinationState::Throttled, wait: Duration::from_secs(95) };
        assert_eq!(verdict(&failure, 1), expected);
    }
}
