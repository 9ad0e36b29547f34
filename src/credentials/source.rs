//! Where a role's credentials come from. Not when they are fetched (`refresh`), nor who gets them (`cache`).

use std::fmt;
use std::pin::Pin;

use aws_credential_types::Credentials;
use jiff::Timestamp;

use super::Error;
use crate::imds::{ImdsClient, RoleCredentials};

/// What a fetch brought.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Whose they are; it may be another role than last time.
    pub role: String,
    /// The keys.
    pub credentials: Credentials,
    /// When they expire, exactly as issued.
    pub expiration: Timestamp,
}

/// A fetch under way.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Fetched, Error>> + Send + 'a>>;

/// Where credentials come from.
///
/// An implementation asks anew each time: it must neither cache, nor extend an expiration, nor fall back to something
/// older when it fails. It need not retry beyond what one answer takes, nor check whether what it got has expired; the
/// cache does that. It may be cancelled, and is never asked twice at once.
pub trait Source: fmt::Debug + Send + Sync {
    /// What `status` says of it: `instance (…)`.
    fn describe(&self) -> String;

    /// Fetches once.
    fn fetch(&self) -> Fetching<'_>;
}

/// The instance's own role, from IMDS.
#[derive(Debug)]
pub(super) struct Instance(pub(super) ImdsClient);

impl Source for Instance {
    fn describe(&self) -> String {
        format!("instance (its role, from IMDS at {})", self.0.snapshot().endpoint)
    }

    /// The role's name is read each time, since it can change while the instance runs (FACTS, role credentials).
    fn fetch(&self) -> Fetching<'_> {
        Box::pin(async move {
            let role = self.0.role_name().await?;
            let RoleCredentials { credentials, expiration } = self.0.role_credentials(&role).await?;
            Ok(Fetched { role, credentials, expiration })
        })
    }
}
