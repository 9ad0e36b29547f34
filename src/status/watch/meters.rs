//! Rates: what counters grew by between two looks. Not the counters' meaning.

use std::collections::HashMap;
use std::time::Duration;

use super::figures::Curve;
use crate::status::Report;

/// A busy stream sends every five seconds (`flush_interval`): over fewer looks its rate would jump.
const SMOOTHED: usize = 10;

/// Seconds that events may wait without anything being wrong: twice what a busy stream lingers (`flush_interval`).
const ORDINARY_LAG: f32 = 10.0;

/// An event a second.
const ORDINARY_RATE: f32 = 1.0;

/// One source's or destination's figures over time: what is read of a source, what a destination accepts.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter {
    events: u64,
    bytes: u64,
    at: Duration,
    pub(super) events_per_second: f64,
    pub(super) bytes_per_second: f64,
    rates: Curve,
    lags: Curve,
}

impl Meter {
    fn first(events: u64, bytes: u64, at: Duration) -> Self {
        Self { events, bytes, at, ..Self::default() }
    }

    /// What arrives comes in batches: its rate is a mean.
    pub(super) fn mean_events_per_second(&self) -> f64 {
        self.rates.mean(SMOOTHED)
    }

    pub(super) fn rates(&self, width: usize, unicode: bool) -> String {
        self.rates.drawn(width, unicode, ORDINARY_RATE)
    }

    pub(super) fn lags(&self, width: usize, unicode: bool) -> String {
        self.lags.drawn(width, unicode, ORDINARY_LAG)
    }

    fn look(&mut self, events: u64, bytes: u64, lag: f64, at: Duration) {
        let elapsed = at.saturating_sub(self.at).as_secs_f64();
        self.lags.add(lag);
        if elapsed > 0.0 {
            self.events_per_second = grown(self.events, events) / elapsed;
            self.bytes_per_second = grown(self.bytes, bytes) / elapsed;
            self.rates.add(self.events_per_second);
            *self = Self { events, bytes, at, ..std::mem::take(self) };
        }
    }
}

fn grown(from: u64, to: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate for the eye")]
    let grown = to.saturating_sub(from) as f64;
    grown
}

/// All meters of one daemon.
#[derive(Debug, Default)]
pub(super) struct Meters {
    pid: u32,
    total: Meter,
    sources: HashMap<String, Meter>,
    destinations: HashMap<String, Meter>,
}

impl Meters {
    /// Another daemon's counters begin anew, and what is no longer reported is forgotten.
    pub(super) fn look(&mut self, report: &Report, at: Duration) {
        let is_same = self.pid == report.pid;
        let mut before = if is_same { std::mem::take(self) } else { Self::default() };
        self.pid = report.pid;
        let logs = &report.logs;
        let (events, bytes) = (logs.ledger.events.read, logs.ledger.bytes.read);
        self.total = if is_same { before.total } else { Meter::first(events, bytes, at) };
        self.total.look(events, bytes, 0.0, at);
        self.sources = logs
            .sources
            .iter()
            .map(|source| {
                let (events, bytes) = (source.ledger.events.read, source.ledger.bytes.read);
                next(&mut before.sources, source_key(source), events, bytes, source.lag_seconds, at)
            })
            .collect();
        self.destinations = logs
            .destinations
            .iter()
            .map(|to| {
                let (events, bytes) = (to.ledger.events.delivered, to.ledger.bytes.delivered);
                next(&mut before.destinations, destination_key(to), events, bytes, to.lag_seconds, at)
            })
            .collect();
    }

    pub(super) fn total(&self) -> &Meter {
        &self.total
    }

    pub(super) fn source(&self, key: &str) -> Option<&Meter> {
        self.sources.get(key)
    }

    pub(super) fn destination(&self, key: &str) -> Option<&Meter> {
        self.destinations.get(key)
    }
}

fn next(
    before: &mut HashMap<String, Meter>,
    key: String,
    events: u64,
    bytes: u64,
    lag: f64,
    at: Duration,
) -> (String, Meter) {
    let mut meter = before.remove(&key).unwrap_or_else(|| Meter::first(events, bytes, at));
    meter.look(events, bytes, lag, at);
    (key, meter)
}

/// What tells a source from the others.
pub(super) fn source_key(source: &crate::logs::SourceSnapshot) -> String {
    format!("{} {}", source.kind, source.name)
}

/// What tells a destination from the others.
pub(super) fn destination_key(to: &crate::logs::DestinationSnapshot) -> String {
    format!("{} {}", to.log_group, to.log_stream)
}

#[cfg(test)]
mod tests {
    use super::super::super::report::tests::sample;
    use super::*;

    #[test]
    fn a_sources_rate_is_what_was_read_between_two_looks() {
        let mut report = sample();
        let mut meters = Meters::default();
        let key = source_key(&report.logs.sources[0]);
        meters.look(&report, Duration::from_secs(1));
        assert!(meters.source(&key).unwrap().events_per_second.abs() < 0.1, "one look is no rate");
        report.logs.sources[0].ledger.events.read += 300;
        report.logs.sources[0].ledger.bytes.read += 6_000;
        meters.look(&report, Duration::from_secs(3));
        let meter = meters.source(&key).unwrap();
        assert!((meter.events_per_second - 150.0).abs() < 0.1 && (meter.bytes_per_second - 3_000.0).abs() < 0.1);
    }

    #[test]
    fn another_daemons_counters_begin_anew_and_what_is_gone_is_forgotten() {
        let mut report = sample();
        let mut meters = Meters::default();
        meters.look(&report, Duration::from_secs(1));
        report.pid += 1;
        report.logs.ledger.events.read += 1_000_000;
        let gone = report.logs.sources.pop().unwrap();
        meters.look(&report, Duration::from_secs(2));
        assert!(meters.total().events_per_second.abs() < 0.1);
        assert!(meters.source(&source_key(&gone)).is_none());
    }
}
