//! Where batches go. skeleton

use std::sync::Arc;

/// skeleton
pub trait Sink: Send + Sync {}

/// CloudWatch Logs through the SDK.
pub struct CloudWatch {}

impl CloudWatch {
    /// A sink whose SDK configuration may still be unknown (the region may have to come from IMDS): until `sdk` holds
    /// one, every put fails with "no region yet". `rejected` is told the access key id that AWS called expired or invalid.
    #[must_use]
    pub fn new(
        _sdk: tokio::sync::watch::Receiver<Option<aws_types::SdkConfig>>,
        _clock: crate::clock::Clock,
        _rejected: Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Self {
        unimplemented!("skeleton")
    }
}

impl Sink for CloudWatch {}
