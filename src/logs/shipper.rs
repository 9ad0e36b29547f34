//! skeleton

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::sink::Sink;
use super::{Settings, Snapshot};
use crate::clock::Clock;
use crate::heartbeat::Heartbeat;
use crate::template::Names;

/// Where the shipper keeps what must survive.
#[derive(Clone, Debug)]
pub struct Place {
    /// The state directory.
    pub state_dir: PathBuf,
}

/// Ships logs; clones share it, so that one can run and another report.
#[derive(Clone)]
pub struct LogShipper {}

impl LogShipper {
    /// A shipper that has not started. `names` fills in as IMDS answers.
    #[must_use]
    pub fn new(
        _settings: Settings,
        _place: Place,
        _sink: Arc<dyn Sink>,
        _names: watch::Receiver<Names>,
        _clock: Clock,
    ) -> Self {
        unimplemented!("skeleton")
    }

    /// Ships until `stop`, then drains once, bounded by `drain`, and leaves the checkpoint behind. After a panic it may be run again.
    pub async fn run(&self, _stop: CancellationToken, _drain: std::time::Duration, _heartbeat: Heartbeat) {
        unimplemented!("skeleton")
    }

    /// What `status` shows.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        unimplemented!("skeleton")
    }
}
