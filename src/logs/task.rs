//! What the shipper is told to do, and what it shows of that: the words between it and who owns it. Not the doing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::sink::Sink;
use super::{Settings, Snapshot};
use crate::template::Names;

/// What is to be shipped, where to, and under which names.
#[derive(Clone)]
pub(super) struct Task {
    pub(super) settings: Arc<Settings>,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) names: watch::Receiver<Names>,
    /// Grows with each change.
    pub(super) revision: u64,
}

/// What was shown last.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) snapshot: Snapshot,
    /// When, by the boot-time clock.
    pub(super) at: Duration,
    /// Up to which revision of the task it had heard.
    pub(super) revision: u64,
}
