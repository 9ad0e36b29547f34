//! Proof that a task of ours makes progress. A task beats each time round its loop; the agent reads the beats and
//! feeds systemd's watchdog only while all of them are recent. Not for waiting on AWS or on a disk: a task that waits
//! for those keeps beating while it waits, [`Heartbeat::beat_while`].

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use crate::clock::boot_time;

/// How long a loop of ours may sleep between two beats. A third of the shortest sensible `WatchdogSec=` (30 s).
pub const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// CPU time that no piece of blocking work needs: a step of ours takes milliseconds, and a look at a million files some
/// seconds. Work that has used so much and has not ended goes round in a circle.
const MOST_CPU_TIME: Duration = Duration::from_secs(30);

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

    /// Waits for work that blocks elsewhere, on a disk perhaps, and beats meanwhile, however long it takes. A disk costs
    /// no CPU time: once `cpu_time`, the process's, has grown by what no such work needs, it beats no more.
    pub async fn beat_while<T>(&self, work: impl Future<Output = T>, cpu_time: impl Fn() -> Duration) -> T {
        let (mut work, begun) = (pin!(work), cpu_time());
        loop {
            if cpu_time().saturating_sub(begun) < MOST_CPU_TIME {
                self.beat();
            }
            if let Ok(output) = timeout(LONGEST_SLEEP / 2, &mut work).await {
                return output;
            }
        }
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_beats_while_a_disk_is_slow_and_not_while_work_goes_round_in_a_circle() {
        let (heartbeat, used) = (Heartbeat::new(), Cell::new(Duration::from_secs(100)));
        let has_beaten = async || {
            heartbeat.0.store(0, Ordering::Relaxed);
            sleep(LONGEST_SLEEP).await;
            heartbeat.0.load(Ordering::Relaxed) > 0
        };
        let looking = async {
            sleep(Duration::from_hours(1)).await;
            let slow_disk = has_beaten().await;
            used.set(used.get() + MOST_CPU_TIME);
            (slow_disk, has_beaten().await)
        };
        let stuck = heartbeat.beat_while(std::future::pending::<()>(), || used.get());
        tokio::select! {
            () = stuck => unreachable!("it is pending"),
            seen = looking => assert_eq!(seen, (true, false)),
        }
    }

    #[tokio::test]
    async fn what_the_work_returns_is_returned() {
        assert_eq!(Heartbeat::new().beat_while(async { 7 }, || Duration::ZERO).await, 7);
    }
}
