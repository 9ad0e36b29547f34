//! The emulator's own wall clock, which tests move, and the formats in which the protocols write time. Not for waiting.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Milliseconds since the epoch, as CloudWatch Logs counts.
pub(super) type Millis = i64;

/// The machine's clock plus an offset.
#[derive(Debug, Default)]
pub(super) struct Clock {
    offset: AtomicI64,
}

impl Clock {
    /// The emulator's time.
    pub(super) fn now(&self) -> Millis {
        Timestamp::now().as_millisecond().saturating_add(self.offset.load(Ordering::Relaxed))
    }

    /// Sets how far the emulator's clock is ahead of the machine's (negative: behind).
    pub(super) fn set_skew(&self, seconds: i64) {
        self.offset.store(seconds.saturating_mul(1000), Ordering::Relaxed);
    }

    /// How far the emulator's clock is ahead, in seconds.
    pub(super) fn skew(&self) -> i64 {
        self.offset.load(Ordering::Relaxed) / 1000
    }
}

fn timestamp(at: Millis) -> Timestamp {
    Timestamp::from_millisecond(at).unwrap_or_default()
}

/// `2026-11-22T12:00:00Z`, as credential documents have it: whole seconds.
pub(super) fn iso(at: Millis) -> String {
    timestamp(at).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `20261122T120000Z`, as `SigV4` has it.
pub(super) fn basic(at: Millis) -> String {
    timestamp(at).strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The inverse of [`basic`].
pub(super) fn parse_basic(text: &str) -> Option<Millis> {
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

/// `Sun, 22 Nov 2026 12:00:00 GMT`, as HTTP headers have it (RFC 9110 §5.6.7).
pub(super) fn http_date(at: Millis) -> String {
    timestamp(at).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formats_are_the_protocols_own() {
        let noon = 1_795_348_800_000;
        assert_eq!(iso(noon), "2026-11-22T12:00:00Z");
        assert_eq!(basic(noon), "20261122T120000Z");
        assert_eq!(http_date(noon), "Sun, 22 Nov 2026 12:00:00 GMT");
        assert_eq!(parse_basic("20261122T120000Z"), Some(noon));
        assert_eq!(parse_basic("2026-11-22"), None);
    }
}
