//! Role credentials: the base ones, from where this host has them, and those of the roles that are assumed with them;
//! fetched, kept fresh before they expire, handed out from a cache each that never waits for the network while it holds
//! valid ones. Not who is calling (that is found out at the doors) nor IMDS's protocol.

mod assume;
mod book;
mod budget;
mod cache;
mod confirm;
mod error;
mod refresh;
mod refusal;
pub mod request;
mod roles;
#[cfg(test)]
mod roles_tests;
mod settings;
mod source;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::assume::{Stage, Trials};
pub use self::cache::{CredentialCache, Issued};
pub use self::error::Error;
pub use self::refresh::Pace;
pub use self::refusal::Refusal;
pub use self::roles::{BASE, Role, Roles};
pub use self::settings::{RoleSettings, Settings, SourceKind};
pub use self::source::{Environment, Fetched, Fetching, Source, base_source};
use crate::fault::Fault;

/// In which state a role's credentials are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// There have been none yet.
    #[default]
    Absent,
    /// Valid, and not due for refresh.
    Fresh,
    /// A fetch is under way.
    Refreshing,
    /// Valid, but the last refresh failed.
    Stale,
    /// No longer valid, and no others could be had.
    Expired,
}

/// What `status` shows of one role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The role's name: the instance role's, once known, for the base role.
    pub role: String,
    /// Its state.
    pub state: State,
    /// Where the credentials come from, and why there: `instance (…)`.
    pub source: String,
    /// Who they are, as STS confirmed.
    pub arn: Option<String>,
    /// The access key id's last four characters.
    pub key_id_suffix: Option<String>,
    /// When they expire, exactly as issued.
    pub expiration: Option<Timestamp>,
    /// When the next fetch is due.
    pub next_refresh: Option<Timestamp>,
    /// Fetches that brought credentials.
    pub refreshes: u64,
    /// Fetches that failed.
    pub failures: u64,
    /// How often they were handed out, to ourselves included.
    pub served: u64,
    /// How often they were refused to a caller.
    pub denied: u64,
    /// The last failure, while it lasts.
    pub last_error: Option<Fault>,
    /// Why STS could not say yet who the credentials are: a warning, not a failure of theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Fault>,
}
