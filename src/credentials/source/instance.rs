//! The instance's own role, from IMDS. Not IMDS's protocol.

use super::{Fetched, Fetching, Source};
use crate::imds::{ImdsClient, RoleCredentials};

/// Asks IMDS for the role's name and then for its credentials.
#[derive(Debug)]
pub(in crate::credentials) struct Instance {
    pub(in crate::credentials) imds: ImdsClient,
    /// Why here.
    pub(in crate::credentials) why: String,
}

impl Source for Instance {
    fn describe(&self) -> String {
        format!("instance (its role, from IMDS at {}; {})", self.imds.snapshot().endpoint, self.why)
    }

    /// The role's name is read each time, since it can change while the instance runs (FACTS, role credentials).
    fn fetch(&self) -> Fetching<'_> {
        Box::pin(async move {
            let role = self.imds.role_name().await?;
            let RoleCredentials { credentials, expiration } = self.imds.role_credentials(&role).await?;
            Ok(Fetched::new(role, credentials, Some(expiration)))
        })
    }
}
