//! Why there are no credentials, or no new ones. Every one of these is tried again by the refresh policy.

use std::time::Duration;

use jiff::Timestamp;

use crate::imds;

/// Why there are no credentials, or no new ones.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// IMDS has none, or can't be asked.
    #[error(transparent)]
    Imds(#[from] imds::Error),
    /// What was issued had expired already.
    #[error("the credentials issued for role {role} expired at {expiration}, which is past (it is {now})")]
    AlreadyExpired {
        /// The role.
        role: String,
        /// Their end.
        expiration: Timestamp,
        /// The corrected time.
        now: Timestamp,
    },
    /// The source took too long.
    #[error("the source of credentials did not answer within {} s", after.as_secs())]
    TimedOut {
        /// How long it was given.
        after: Duration,
    },
    /// A bug of ours; the fetch is tried again like any other.
    #[error("fetching credentials crashed")]
    Crashed,
    /// A caller's own deadline passed.
    #[error("no credentials after {:.0} s{}", after.as_secs_f64().ceil(), because(reason.as_deref()))]
    Waited {
        /// How long it waited.
        after: Duration,
        /// What the last fetch failed with; `None` while the first is still under way.
        reason: Option<Box<Error>>,
    },
}

fn because(reason: Option<&Error>) -> String {
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}

impl Error {
    /// What cures it, when that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Imds(error) => error.hint(),
            Self::AlreadyExpired { .. } => Some(
                "check the machine's clock (timedatectl), and whether IMDS still rotates the role's credentials"
                    .to_owned(),
            ),
            Self::Waited { reason, .. } => reason.as_ref().and_then(|reason| reason.hint()),
            Self::TimedOut { .. } | Self::Crashed => None,
        }
    }
}
