//! How long to wait before trying again: exponential, capped, with full jitter, and an exponent that saturates
//! (one that overflows stops retrying for good). Not a retry policy: which failures are retried is each room's table.

use std::time::Duration;

/// A schedule of waits, valid by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
}

impl Backoff {
    /// Waits of up to `base`, 2 × `base`, 4 × `base`… and never more than `cap`.
    ///
    /// # Panics
    /// When `base` is zero or above `cap`; use it in constants, where that is a compile error.
    #[must_use]
    pub const fn new(base: Duration, cap: Duration) -> Self {
        assert!(!base.is_zero() && base.as_nanos() <= cap.as_nanos(), "a backoff needs 0 < base <= cap");
        Self { base, cap }
    }

    /// The longest wait before attempt `attempt + 1`, where the first attempt that failed is number 1.
    #[must_use]
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// A wait between nothing and the ceiling, evenly spread ("full jitter").
    #[must_use]
    pub fn full_jitter(&self, attempt: u32) -> Duration {
        self.ceiling(attempt).mul_f64(fastrand::f64())
    }

    /// A wait between half the ceiling and the ceiling, for loops that must not spin.
    #[must_use]
    pub fn half_jitter(&self, attempt: u32) -> Duration {
        self.ceiling(attempt).mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

    #[test]
    fn ceilings_double_up_to_the_cap() {
        let ceilings: Vec<_> = (1..=6).map(|attempt| SCHEDULE.ceiling(attempt).as_millis()).collect();
        assert_eq!(ceilings, [100, 200, 400, 800, 1600, 2000]);
    }

    #[test]
    fn the_exponent_saturates_instead_of_overflowing() {
        for attempt in [31, 32, 33, 64, u32::MAX] {
            assert_eq!(SCHEDULE.ceiling(attempt), Duration::from_secs(2));
        }
    }

    #[test]
    fn jitter_stays_below_the_ceiling() {
        for attempt in 1..100 {
            assert!(SCHEDULE.full_jitter(attempt) <= SCHEDULE.ceiling(attempt));
            let half = SCHEDULE.half_jitter(attempt);
            assert!(half >= SCHEDULE.ceiling(attempt) / 2 && half <= SCHEDULE.ceiling(attempt));
        }
    }
}
