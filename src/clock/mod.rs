//! What time it is: the wall clock corrected by the skew that servers' `Date` headers showed, for expiry and signing,
//! the boot-time clock, which counts suspend, for intervals, and the time spent computing. Not for sleeping: that is
//! tokio's.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// Below this, a difference is the header's one-second resolution plus the network, not skew.
const SKEW_NOISE: SignedDuration = SignedDuration::from_secs(2);

/// The last whole second that a timestamp can hold, 9999-12-30T22:00:00Z: so that it can be said in every zone.
const LAST: Timestamp = Timestamp::constant(253_402_207_200, 0);

/// The corrected wall clock; clones share the correction.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    skew_millis: Arc<AtomicI64>,
    /// Where a test has stopped the clock, in milliseconds since the epoch; 0 = it runs.
    stopped_at: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The machine's clock, not corrected yet.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still until [`Clock::advance`] moves it; for tests of what depends on time.
    #[must_use]
    pub fn stopped(at: Timestamp) -> Self {
        Self { skew_millis: Arc::default(), stopped_at: Some(Arc::new(AtomicI64::new(at.as_millisecond()))) }
    }

    /// Moves a stopped clock.
    pub fn advance(&self, by: Duration) {
        if let Some(stopped) = &self.stopped_at {
            stopped.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
        }
    }

    /// The corrected time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let now = self.machine_now();
        now.checked_add(self.skew()).unwrap_or(now)
    }

    /// The corrected time as the SDKs want it.
    #[must_use]
    pub fn system_time(&self) -> SystemTime {
        self.now().into()
    }

    /// How far the machine's clock is behind the servers'; negative when it is ahead.
    #[must_use]
    pub fn skew(&self) -> SignedDuration {
        SignedDuration::from_millis(self.skew_millis.load(Ordering::Relaxed))
    }

    /// Learns from an HTTP `Date` header (RFC 9110 §5.6.7, e.g. `Sun, 22 Nov 2026 02:01:06 GMT`); an unreadable one is ignored.
    pub fn observe_date(&self, date: &str) {
        let Ok(server) = jiff::fmt::rfc2822::parse(date) else {
            return;
        };
        // The header has whole seconds: on average the server's clock was half a second further.
        let server = server.timestamp() + SignedDuration::from_millis(500);
        let difference = server.duration_since(self.machine_now());
        if (difference - self.skew()).abs() < SKEW_NOISE {
            // The same skew by other noise: if each answer moved the clock, what comes later would get an earlier time.
            return;
        }
        let skew = if difference.abs() < SKEW_NOISE { SignedDuration::ZERO } else { difference };
        self.skew_millis.store(i64::try_from(skew.as_millis()).unwrap_or(0), Ordering::Relaxed);
    }

    fn machine_now(&self) -> Timestamp {
        match &self.stopped_at {
            Some(stopped) => Timestamp::from_millisecond(stopped.load(Ordering::Relaxed)).unwrap_or_default(),
            None => Timestamp::now(),
        }
    }
}

/// When something expires, as the documents of metadata services and credential endpoints say it. Who means "never" writes
/// the year's last day, 9999-12-31T23:59:59Z: what lies behind the last timestamp is that one.
#[must_use]
pub fn expiration(text: &str) -> Option<Timestamp> {
    let beyond = || {
        let pieces = Pieces::parse(text).ok()?;
        let is_late = pieces.date() >= TimeZone::UTC.to_datetime(LAST).date();
        (is_late && pieces.time().is_some() && pieces.offset().is_some()).then_some(LAST)
    };
    text.parse().ok().or_else(beyond)
}

/// The same of seconds since the epoch.
#[must_use]
pub fn expiration_of(seconds: i64) -> Option<Timestamp> {
    Timestamp::from_second(seconds.min(LAST.as_second())).ok()
}

/// Time since boot, suspend included (`CLOCK_BOOTTIME`).
#[must_use]
pub fn boot_time() -> Duration {
    read(ClockId::Boottime)
}

/// How long the process has been computing, in all its threads (`CLOCK_PROCESS_CPUTIME_ID`).
#[must_use]
pub fn cpu_time() -> Duration {
    read(ClockId::ProcessCPUTime)
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().expect("a timestamp")
    }

    #[test]
    fn a_date_that_agrees_changes_nothing() {
        let clock = Clock::stopped(noon());
        clock.observe_date("Sun, 22 Nov 2026 12:00:01 GMT");
        assert_eq!(clock.skew(), SignedDuration::ZERO);
    }

    #[test]
    fn a_date_that_differs_corrects_the_clock_both_ways() {
        let clock = Clock::stopped(noon());
        clock.observe_date("Sun, 22 Nov 2026 12:10:00 GMT");
        assert_eq!(clock.now().duration_since(noon()), SignedDuration::from_millis(600_500));
        clock.observe_date("Sun, 22 Nov 2026 11:50:00 GMT");
        assert_eq!(clock.now().duration_since(noon()), SignedDuration::from_millis(-599_500));
    }

    #[test]
    fn what_is_known_of_a_clock_that_is_off_does_not_waver_with_every_answer() {
        let clock = Clock::stopped(noon());
        clock.observe_date("Sun, 22 Nov 2026 12:10:00 GMT");
        for date in ["Sun, 22 Nov 2026 12:09:59 GMT", "Sun, 22 Nov 2026 12:10:01 GMT"] {
            clock.observe_date(date);
            assert_eq!(clock.skew(), SignedDuration::from_millis(600_500));
        }
        clock.observe_date("Sun, 22 Nov 2026 12:00:01 GMT");
        assert_eq!(clock.skew(), SignedDuration::ZERO, "the machine's clock was set right");
    }

    #[test]
    fn what_never_expires_does_so_at_the_last_second_there_is() {
        for never in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999999+00:00", "9999-12-30T22:00:01Z"] {
            assert_eq!(expiration(never), Some(LAST), "{never}");
        }
        assert_eq!(expiration("2026-11-22T12:00:00Z"), Some(noon()));
        assert_eq!(expiration("9999-12-30T00:00:00Z").map(|end| end < LAST), Some(true), "as it was issued");
        for wrong in ["", "never", "9999-12-31", "9999-12-31T23:59:59", "2026-13-01T00:00:00Z", "99999-01-01T00:00:00Z"]
        {
            assert_eq!(expiration(wrong), None, "{wrong}");
        }
        assert_eq!((expiration_of(i64::MAX), expiration_of(0)), (Some(LAST), Some(Timestamp::UNIX_EPOCH)));
    }

    #[test]
    fn an_unreadable_date_is_ignored() {
        let clock = Clock::stopped(noon());
        clock.observe_date("yesterday");
        assert_eq!(clock.skew(), SignedDuration::ZERO);
    }
}
