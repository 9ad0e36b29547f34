//! What a visit is given: the configuration, what the environment says, and where things are.

use std::path::PathBuf;

use crate::clock::Clock;
use crate::config::{self, Loaded};
use crate::{aws, credentials, imds};

/// What a visit is given.
pub struct Ground {
    /// The file that was asked for, if not the default one.
    pub config_path: Option<PathBuf>,
    /// The configuration, or all that is wrong with it.
    pub config: Result<Loaded, config::Errors>,
    /// What the environment says about the metadata service.
    pub imds: imds::Environment,
    /// What it says about where credentials come from.
    pub credentials: credentials::Environment,
    /// What it says about AWS's endpoints, proxies and certificates.
    pub aws: aws::Environment,
    /// `AWS_REGION`, else `AWS_DEFAULT_REGION`.
    pub region: Option<String>,
    /// Where the daemon's state is.
    pub state_dir: PathBuf,
    /// Where the daemon's sockets are.
    pub runtime_dir: PathBuf,
    /// The corrected clock.
    pub clock: Clock,
    /// How far back records of past failures count (`--since`).
    pub since: std::time::Duration,
    /// The variables of these that the service's environment says, and this one does not.
    pub of_service: Vec<String>,
}
