//! What must be true of the journal when all is over: each entry arrived, or the stream and the accounts say that it is
//! missing; no more is repeated than was in flight; nothing is told to be missing that is not. Not what happened on the
//! way.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::cloud::Put;
use super::{Asks, Torture, UNITS};
use crate::logs::{Snapshot, Tally};

/// An entry by its table and its number.
type Wanted = (usize, usize);

impl Torture<'_> {
    /// At every moment: read = delivered + pending + dropped, and the buffers have their ceiling.
    pub(super) fn assert_balanced(&self) {
        let Some(engine) = &self.engine else { return };
        let snapshot = engine.snapshot(self.now);
        let balanced =
            |tally: &Tally| tally.read == tally.delivered + tally.pending + tally.dropped.values().sum::<u64>();
        for ledger in snapshot.sources.iter().map(|source| &source.ledger).chain([&snapshot.ledger]) {
            assert!(balanced(&ledger.events) && balanced(&ledger.bytes), "{ledger:?}");
        }
        assert!(snapshot.buffers_bytes <= self.settings.memory_limit, "{} bytes held", snapshot.buffers_bytes);
    }

    /// A request was taken: what it says is missing is said.
    pub(super) fn note_told(&mut self, put: &Put) {
        for (_, text) in &put.events {
            let gap = text.strip_prefix("[imds-agent: gap: ").map(|rest| rest.split_whitespace().next());
            if let Some(count) = gap {
                self.told += count.and_then(|count| count.parse().ok()).unwrap_or(0);
            }
        }
    }

    /// When everything has been answered and nothing more comes.
    pub(super) fn judge(&self, snapshot: &Snapshot) {
        let mut arrived: BTreeMap<Wanted, u64> = BTreeMap::new();
        for stored in self.cloud.stored.iter().filter(|stored| !stored.text.starts_with('[')) {
            let wanted = self.wanted(&stored.log_stream, &stored.text);
            let entry = &self.journal.entries[wanted.1];
            assert_eq!(stored.at, i64::try_from(entry.cursor.realtime / 1000).expect("a time"), "its own time");
            let times = arrived.entry(wanted).or_default();
            *times += 1;
            if *times > 1 {
                self.tell(|| format!("{wanted:?} went to {} in life {} again", stored.log_stream, stored.life));
            }
        }
        let letters = self.dead_letters();
        let settled: BTreeSet<Wanted> = arrived.keys().copied().chain(letters).collect();
        let again = arrived.values().map(|count| count - 1).sum::<u64>();
        assert!(again <= self.cloud.unheard as u64, "{again} arrived again, {} may", self.cloud.unheard);
        let gaps = self.judge_gaps(snapshot, &settled);
        let (events, settled) = (&snapshot.ledger.events, settled.len() as u64);
        assert_eq!(events.pending, 0, "all is settled: {:#?}", snapshot.sources);
        // What arrived unheard and was vacuumed then is a gap, or nothing, as far as the agent can know.
        let unheard = if self.journal.vacuumed > 0 { self.cloud.unheard as u64 } else { 0 };
        let counted = events.read - gaps;
        assert!(
            (settled.saturating_sub(unheard)..=settled).contains(&counted),
            "{counted} of {settled} are counted: {events:?}"
        );
    }

    /// What did not arrive was vacuumed, counted and told; returns how many events are counted as missing.
    fn judge_gaps(&self, snapshot: &Snapshot, settled: &BTreeSet<Wanted>) -> u64 {
        let all =
            (0..self.asks.len()).flat_map(|table| (0..self.journal.entries.len()).map(move |place| (table, place)));
        let not_there = all.filter(|wanted| !settled.contains(wanted));
        let (missing, others): (Vec<Wanted>, Vec<Wanted>) = not_there.partition(|wanted| self.asks_for(*wanted));
        if let Some((table, place)) = missing.iter().find(|(_, place)| *place >= self.journal.vacuumed) {
            panic!("table {table} lost {:.200}", format!("{:?}", self.journal.entries[*place]));
        }
        let known = missing.iter().filter(|wanted| !self.excused.contains(*wanted)).count() as u64;
        let gaps = snapshot.ledger.events.dropped.get("gap").copied().unwrap_or(0);
        // Across two series of numbers nobody knows how many.
        let is_exact = !self.is_split
            && self.journal.is_numbered_through()
            && self.asks.iter().all(|asks| *asks == Asks::Everything);
        if is_exact {
            // Our own are numbered like all, and nobody knows any more that they were ours.
            let own = others.iter().filter(|(_, place)| *place < self.journal.vacuumed).count();
            let most = (missing.len() + own + self.cloud.unheard) as u64;
            assert!((known..=most).contains(&gaps), "{known} to {most} are missing, {gaps} counted: {missing:?}");
        } else {
            assert!(gaps > 0 || known == 0, "{known} are missing, none is counted: {missing:?}");
        }
        assert!(gaps == 0 || self.journal.vacuumed > 0, "{gaps} are counted, and nothing was vacuumed");
        assert!(self.told >= gaps, "{gaps} are counted, and {} told", self.told);
        gaps
    }

    fn asks_for(&self, (table, place): Wanted) -> bool {
        let unit = self.journal.entries[place].unit;
        match self.asks[table] {
            Asks::Everything => unit.is_some(),
            Asks::OneUnit => unit == Some(UNITS[0]),
            Asks::SomeUnits => unit.is_some_and(|unit| unit != UNITS[2]),
        }
    }

    /// Which entry stands in a stream: one that its table asks for.
    fn wanted(&self, log_stream: &str, text: &str) -> Wanted {
        let table = table_of(log_stream);
        let place = text.split(' ').nth(1).and_then(|place| place.parse().ok());
        let place: usize = place.unwrap_or_else(|| panic!("nobody wrote {text:.100}"));
        let entry = &self.journal.entries[place];
        assert!(self.asks_for((table, place)) && entry.text == text, "{text:.40} does not belong to {log_stream}");
        let unit = log_stream.split(" of ").nth(1);
        assert!(unit.is_none() || unit == entry.unit, "{text:.40} does not belong to {log_stream}");
        (table, place)
    }

    fn dead_letters(&self) -> Vec<Wanted> {
        let text = std::fs::read_to_string(self.state.path().join("dead-letters.jsonl")).unwrap_or_default();
        let letters = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a letter"));
        let said = letters.map(|letter| {
            let words = [&letter["log_stream"], &letter["event"]["message"]]
                .map(|word| word.as_str().expect("text").to_owned());
            self.wanted(&words[0], &words[1])
        });
        said.collect()
    }
}

fn table_of(log_stream: &str) -> usize {
    log_stream.split(' ').next().and_then(|table| table.parse().ok()).expect("a stream of a table")
}
