//! How every SDK client of ours is built: retries off (each room decides), no identity cache (ours is the cache), our
//! clock for signing, our HTTP client for proxy and CA bundle, and AWS's own environment variables. Not the calls.

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::SdkConfig;

use crate::clock::Clock;

/// What the environment says about AWS's endpoints, proxies and certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {}

/// A setting of the environment that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("skeleton")]
pub struct Error {}

impl Environment {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// When a variable's value can't be used; the error names both.
    pub fn from_process() -> Result<Self, Error> {
        unimplemented!("skeleton")
    }

    /// The configuration for all SDK clients in `region`. Per-service endpoint overrides travel in it.
    ///
    /// # Errors
    /// When the CA bundle can't be read.
    pub fn sdk_config(
        &self,
        _region: &str,
        _provider: SharedCredentialsProvider,
        _clock: &Clock,
    ) -> Result<SdkConfig, Error> {
        unimplemented!("skeleton")
    }
}
