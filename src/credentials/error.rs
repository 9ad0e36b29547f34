//! Why there are no credentials, or no new ones. Every one of these is tried again by the refresh policy.

use std::time::Duration;

use jiff::Timestamp;

use super::refusal::Refusal;
use crate::aws::certificate_hint;
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
    /// Nothing has been fetched yet, and nothing has failed.
    #[error("the first fetch of these credentials is still under way")]
    NotYet,
    /// There were some, and they are no longer good.
    #[error("the credentials expired at {at}, and no others could be had{}", because(reason.as_deref()))]
    Expired {
        /// Their end.
        at: Timestamp,
        /// What the last fetch failed with, if one has failed since.
        reason: Option<Box<Error>>,
    },
    /// There is nothing to assume a role with.
    #[error("there are no base credentials to assume the role with: {0}")]
    Base(Box<Error>),
    /// A name with holes that can't be filled yet.
    #[error("waiting for {}, which {what} needs", braced(names))]
    Waiting {
        /// What can't be said without: `role_arn of role app`.
        what: String,
        /// The names that nobody told so far.
        names: Vec<String>,
    },
    /// What came of filling a name's holes is nothing that STS takes.
    #[error("{what} is {value:?}, {reason}")]
    Filled {
        /// The key and the role: `role_arn of role app`.
        what: String,
        /// With its holes filled.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The environment says what can't be used, or does not say what is needed.
    #[error("{variable} {reason}")]
    Variable {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it; no secret is quoted.
        reason: String,
        /// What cures it.
        cure: String,
    },
    /// The endpoint that a variable names gave none.
    #[error("{address} ({variable}) {reason}")]
    Endpoint {
        /// Where was asked.
        address: String,
        /// The variable that says so.
        variable: &'static str,
        /// What it did.
        reason: String,
        /// What cures it.
        cure: String,
    },
    /// STS refused.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// STS could not be asked.
    #[error("can't ask STS in {region} ({action}): {reason}")]
    Unreachable {
        /// Whose STS.
        region: String,
        /// What for.
        action: &'static str,
        /// Why not.
        reason: String,
    },
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

fn braced(names: &[String]) -> String {
    names.iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(" and ")
}

impl Error {
    /// Whether AWS denied, which takes a person to change.
    pub(super) fn is_denial(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.is_denial())
    }

    /// What cures it, when that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Imds(error) => error.hint(),
            Self::AlreadyExpired { .. } => Some(
                "check the machine's clock (timedatectl), and whether IMDS still rotates the role's credentials"
                    .to_owned(),
            ),
            Self::Waited { reason, .. } | Self::Expired { reason, .. } => {
                reason.as_ref().and_then(|reason| reason.hint())
            }
            Self::Base(error) => error.hint(),
            Self::Waiting { .. } => Some(
                "the metadata service tells it, or not: see imds in `imds-agent status`; or give the name a fallback: \
                 {NAME|fallback}"
                    .to_owned(),
            ),
            Self::Filled { .. } => Some("change the key in its [[role]] table, or what fills its braces".to_owned()),
            Self::Variable { cure, .. } | Self::Endpoint { cure, .. } => Some(cure.clone()),
            Self::Refused(refusal) => refusal.hint(),
            Self::Unreachable { region, reason, .. } => {
                let route = || {
                    format!(
                        "let this host reach sts.{region}.amazonaws.com: route, DNS, HTTPS_PROXY, or the VPC endpoint \
                         com.amazonaws.{region}.sts"
                    )
                };
                Some(certificate_hint(reason).map_or_else(route, str::to_owned))
            }
            Self::TimedOut { .. } | Self::Crashed | Self::NotYet => None,
        }
    }
}
