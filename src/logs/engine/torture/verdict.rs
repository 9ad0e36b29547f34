//! What must be true when all is over: nothing lost, no more repeated than was in flight, the ledger true, the order
//! kept. Not what happened on the way.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Torture;
use crate::logs::{Snapshot, Tally};

impl Torture<'_> {
    /// At every moment: read = delivered + pending + dropped, and the buffers have their ceiling.
    pub(super) fn assert_balanced(&self, snapshot: &Snapshot) {
        let balanced =
            |tally: &Tally| tally.read == tally.delivered + tally.pending + tally.dropped.values().sum::<u64>();
        for ledger in snapshot.sources.iter().map(|source| &source.ledger).chain([&snapshot.ledger]) {
            assert!(balanced(&ledger.events) && balanced(&ledger.bytes), "{ledger:?}");
        }
        assert!(snapshot.buffers_bytes <= self.settings.memory_limit, "{} bytes held", snapshot.buffers_bytes);
    }

    /// When everything has been answered and nothing more comes.
    pub(super) fn judge(&self, snapshot: &Snapshot) {
        self.assert_balanced(snapshot);
        let letters = self.dead_letters();
        let delivered: BTreeSet<&str> = self.cloud.stored.iter().map(|stored| stored.text.as_str()).collect();
        let settled: BTreeSet<&str> = delivered.iter().copied().chain(letters.iter().map(String::as_str)).collect();
        let lost: Vec<_> =
            self.logs.lines.iter().filter(|line| !line.excused && !settled.contains(line.text.as_str())).collect();
        assert!(lost.is_empty(), "{} lines lost, the first: {:?}", lost.len(), lost[0]);
        let written: BTreeSet<&str> = self.logs.lines.iter().map(|line| line.text.as_str()).collect();
        let strange: Vec<_> = settled.difference(&written).collect();
        assert!(strange.is_empty(), "nobody wrote {strange:.200?}");
        let again = self.cloud.stored.len() - delivered.len();
        self.tell_of_repeats();
        assert!(again <= self.allowed_again(), "{again} arrived again, {} may", self.allowed_again());
        self.judge_ledger(snapshot, settled.len() as u64);
        self.judge_order();
    }

    /// For the story of a failure: what arrived again, and in which lives it was sent.
    fn tell_of_repeats(&self) {
        let mut seen = BTreeMap::new();
        for stored in &self.cloud.stored {
            if let Some(before) = seen.insert(stored.text.as_str(), stored.life) {
                let (log_stream, life) = (&stored.log_stream, stored.life);
                self.tell(|| format!("{:.20} went to {log_stream} in life {before} and in {life}", stored.text));
            }
        }
    }

    fn judge_ledger(&self, snapshot: &Snapshot, settled: u64) {
        let events = &snapshot.ledger.events;
        let empty = events.dropped.get("empty").copied().unwrap_or(0);
        let gaps = events.dropped.get("gap").copied().unwrap_or(0);
        assert_eq!((events.pending, gaps), (0, 0), "all is settled: {:#?}", snapshot.sources);
        let counted = events.read - empty;
        if self.logs.destroyed {
            assert!(counted <= settled, "the ledger has {counted} records, and only {settled} were settled");
        } else {
            assert_eq!((counted, empty), (settled, self.logs.empty_lines), "records and empty lines: {events:?}");
        }
    }

    /// Within one content, of what arrived once, in one life and in one stream, CloudWatch shows the order of the file.
    fn judge_order(&self) {
        let mut arrivals: BTreeMap<&str, usize> = BTreeMap::new();
        for stored in &self.cloud.stored {
            *arrivals.entry(&stored.text).or_default() += 1;
        }
        let numbers: BTreeMap<&str, usize> =
            self.logs.lines.iter().enumerate().map(|(number, line)| (line.text.as_str(), number)).collect();
        let mut shown: Vec<_> = self.cloud.stored.iter().filter(|stored| arrivals[stored.text.as_str()] == 1).collect();
        shown.sort_by_key(|stored| stored.at);
        let mut last: BTreeMap<(usize, usize, &str), usize> = BTreeMap::new();
        for stored in shown {
            let number = numbers[stored.text.as_str()];
            let before = last.insert((stored.life, self.logs.lines[number].content, &*stored.log_stream), number);
            assert!(before < Some(number), "{before:?} is shown before {number} in {}", stored.log_stream);
        }
    }

    fn dead_letters(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.state.path().join("dead-letters.jsonl")).unwrap_or_default();
        let message = |line: &str| {
            let letter: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no dead letter: {line:.300}"));
            letter["event"]["message"].as_str().expect("text").to_owned()
        };
        text.lines().map(message).collect()
    }
}
