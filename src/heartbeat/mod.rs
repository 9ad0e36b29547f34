//! Proof that a task of ours makes progress. A task beats each time round its loop; the agent reads the beats and
//! feeds systemd's watchdog only while all of them are recent. Not for waiting on AWS or on a disk: a task that waits
//! for those keeps beating while it waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::boot_time;

/// How long a loop of ours may sleep between two beats. A third of the shortest sensible `WatchdogSec=` (30 s).
pub const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// One task's pulse; clones share it.
#[derive(Clone, Debug)]
pub struct Heartbeat(Arc<AtomicU64>);

impl Heartbeat {
    /// A pulse that has just beaten.
    #[must_use]
    pub fn new() -> Self {
        let pulse = Self(Arc::new(AtomicU64::new(0)));
        pulse.beat();
        pulse
    }

    /// Says "I am here".
    pub fn beat(&self) {
        self.0.store(millis(boot_time()), Ordering::Relaxed);
    }

    /// How long ago the last beat was.
    #[must_use]
    pub fn age(&self) -> Duration {
        Duration::from_millis(millis(boot_time()).saturating_sub(self.0.load(Ordering::Relaxed)))
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self::new()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
