//! What was dropped from a stream and is not yet said there: the stream itself tells its reader where something is
//! missing. Part of a source's account, so that it survives a restart. Pure. Not the dropping, nor the sending.
//!
//! A gap is said once: it leaves the account when CloudWatch took the event that says it, or refused that event for good.
//! What is dropped while the event is on its way is another gap.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ledger::{Count, Reason};

/// Which stream something is missing from: group and name.
pub(crate) type Where = (Arc<str>, Arc<str>);

/// Records of one source that were dropped from one stream for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gap {
    /// The stream.
    pub(crate) place: Where,
    /// Why.
    pub(crate) reason: Reason,
    /// How many records, if that is known, and bytes.
    pub(crate) count: Count,
    /// The time of the first.
    from: Timestamp,
    /// The time of the last.
    to: Timestamp,
    /// Since when it waits to be said, by the boot-time clock.
    #[serde(skip)]
    since: Duration,
    /// Whether the event that says it is on its way.
    #[serde(skip)]
    on_its_way: bool,
}

impl Gap {
    /// The event that says it.
    pub(crate) fn text(&self, source: &str) -> String {
        let count = match self.count {
            Count { events: 0, bytes: 0 } => "an unknown number of lines".to_owned(),
            Count { events: 0, bytes } => format!("{bytes} bytes"),
            Count { events: 1, bytes } => format!("1 event, {bytes} bytes"),
            Count { events, bytes } => format!("{events} events, {bytes} bytes"),
        };
        let reason = self.reason.word();
        let (from, to) = (self.from, self.to);
        format!("[imds-agent: gap: {count} of {source} dropped ({reason}), {from:.0} to {to:.0}]")
    }
}

/// The gaps of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Gaps(Vec<Gap>);

impl Gaps {
    /// Whether all was said.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Something is missing at `place`; its records were of `from` to `to`.
    pub(crate) fn add(
        &mut self,
        place: &Where,
        reason: Reason,
        count: Count,
        (from, to): (Timestamp, Timestamp),
        now: Duration,
    ) {
        let same = |gap: &&mut Gap| gap.place == *place && gap.reason == reason && !gap.on_its_way;
        if let Some(gap) = self.0.iter_mut().find(same) {
            gap.count.add(count);
            (gap.from, gap.to) = (gap.from.min(from), gap.to.max(to));
            return;
        }
        let place = place.clone();
        self.0.push(Gap { place, reason, count, from, to, since: now, on_its_way: false });
    }

    /// When the next gap is to be said: `patience` after it began, so that what follows is said with it.
    pub(crate) fn due_at(&self, patience: Duration) -> Option<Duration> {
        self.waiting().map(|gap| gap.since + patience).min()
    }

    /// Gaps that wait, one for each place and reason: of those on their way there is at most one each.
    fn waiting(&self) -> impl Iterator<Item = &Gap> {
        self.0.iter().filter(|gap| !gap.on_its_way && !self.is_said_now(gap))
    }

    fn is_said_now(&self, gap: &Gap) -> bool {
        self.0.iter().any(|other| other.on_its_way && other.place == gap.place && other.reason == gap.reason)
    }

    /// What is to be said now; it is on its way from here on.
    pub(crate) fn take_due(&mut self, patience: Duration, now: Duration) -> Vec<Gap> {
        let due: Vec<Gap> = self.waiting().filter(|gap| gap.since + patience <= now).cloned().collect();
        for gap in &mut self.0 {
            gap.on_its_way |= due.contains(gap);
        }
        due
    }

    /// What was said at `place` for `reason` arrived, or never will.
    pub(crate) fn said(&mut self, place: &Where, reason: Reason) {
        self.0.retain(|gap| !(gap.on_its_way && gap.place == *place && gap.reason == reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_334_400 + second).expect("a time")
    }

    fn place(stream: &str) -> Where {
        ("g".into(), stream.into())
    }

    fn lose(gaps: &mut Gaps, stream: &str, second: i64) {
        let count = Count { events: 1, bytes: 10 };
        let now = Duration::from_secs(u64::try_from(second).expect("positive"));
        gaps.add(&place(stream), Reason::TooOld, count, (at(second), at(second)), now);
    }

    #[test]
    fn what_is_dropped_in_a_row_is_said_together_with_count_reason_and_times() {
        let mut gaps = Gaps::default();
        for second in 0..3 {
            lose(&mut gaps, "s", second);
        }
        assert_eq!(gaps.due_at(PATIENCE), Some(PATIENCE));
        assert_eq!(gaps.take_due(PATIENCE, Duration::from_secs(4)), []);
        let due = gaps.take_due(PATIENCE, PATIENCE);
        assert_eq!(
            due[0].text("/var/log/x"),
            "[imds-agent: gap: 3 events, 30 bytes of /var/log/x dropped (too_old), 2026-11-22T08:00:00Z to \
             2026-11-22T08:00:02Z]"
        );
        assert_eq!((due.len(), gaps.take_due(PATIENCE, PATIENCE * 9).len()), (1, 0));
        gaps.said(&place("s"), Reason::TooOld);
        assert!(gaps.is_empty());
    }

    #[test]
    fn what_is_dropped_meanwhile_is_another_gap_said_after_the_first() {
        let mut gaps = Gaps::default();
        lose(&mut gaps, "s", 0);
        gaps.take_due(PATIENCE, PATIENCE);
        lose(&mut gaps, "s", 6);
        lose(&mut gaps, "other", 6);
        let due = gaps.take_due(PATIENCE, PATIENCE * 9);
        assert_eq!(due.iter().map(|gap| &*gap.place.1).collect::<Vec<_>>(), ["other"]);
        assert_eq!(gaps.due_at(PATIENCE), None, "an answer is waited for");
        gaps.said(&place("s"), Reason::TooOld);
        assert_eq!(gaps.take_due(PATIENCE, PATIENCE * 9).len(), 1);
    }

    #[test]
    fn after_a_restart_what_was_on_its_way_is_said_again() {
        let mut gaps = Gaps::default();
        lose(&mut gaps, "s", 0);
        gaps.take_due(PATIENCE, PATIENCE);
        let kept = serde_json::to_string(&gaps).expect("plain data");
        let mut revived: Gaps = serde_json::from_str(&kept).expect("as written");
        assert_eq!(revived.take_due(PATIENCE, PATIENCE).len(), 1);
    }
}
