//! The instance metadata service, version 2: tokens, requests, and the documents the agent reads. Not the place for
//! what is done with credentials (that is `credentials`), nor for the look-alike that the agent serves.

mod budget;
mod client;
mod documents;
mod environment;
mod error;
mod exchange;
mod retry;
#[cfg(test)]
mod tests;
mod token;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::client::ImdsClient;
pub use self::documents::{IamInfo, IdentityDocument};
pub use self::environment::Environment;
pub use self::error::{Error, Problem};
use crate::fault::Fault;

/// Which address family the metadata service is asked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointMode {
    /// `169.254.169.254`.
    #[default]
    Ipv4,
    /// `fd00:ec2::254`.
    Ipv6,
    /// IPv4 first, then IPv6; the one that answered is kept.
    Auto,
}

/// The `[imds]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where to ask, if not at the mode's own address.
    pub endpoint: Option<String>,
    /// Which address family.
    pub endpoint_mode: EndpointMode,
    /// How long tokens live: 1 s to 6 h, as IMDS allows.
    pub token_ttl: Duration,
    /// Whether to ask without a token where the service has no version 2.
    pub v1_fallback: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            endpoint: None,
            endpoint_mode: EndpointMode::default(),
            // The longest IMDS grants: fewest requests.
            token_ttl: Duration::from_secs(21_600),
            v1_fallback: false,
        }
    }
}

/// How the metadata service is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing was asked yet.
    #[default]
    Starting,
    /// The last operation succeeded.
    Running,
    /// Switched off, by `AWS_EC2_METADATA_DISABLED` or on the instance.
    Off,
    /// It connects and never answers: the hop limit, or a firewall.
    Blocked,
    /// Nothing listens there, or there is no route.
    Absent,
    /// It asks us to slow down.
    Throttled,
    /// Something else answers at that address.
    NotImds,
    /// It answers, with faults.
    Failing,
}

/// What `status` shows of the metadata service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// How it is doing.
    pub state: State,
    /// Where it is asked.
    pub endpoint: String,
    /// `v2`, or `v1` where the fallback was configured and taken.
    pub version: String,
    /// When the token in use ends.
    pub token_expires_at: Option<Timestamp>,
    /// Requests sent since the daemon started, tokens included.
    pub requests: u64,
    /// Those that failed.
    pub failures: u64,
    /// The last failure, while it lasts.
    pub last_error: Option<Fault>,
}
