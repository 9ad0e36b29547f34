//! What must be true when all is over: nothing lost, no more repeated than was in flight, the ledger true, the order
//! kept. Not what happened on the way.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Torture;
use super::logs::Line;
use crate::logs::{Snapshot, Tally};

/// In seconds: from here on times of reading begin anew, rather than be refused as too new.
const TOO_FAR_BACK: i64 = 90 * 60;

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
        let wanted = |line: &&Line| !line.record.is_noise && !line.excused;
        let arrived = |text: &str| settled.contains(text);
        let lost: Vec<_> = self.logs.lines.iter().filter(wanted).filter(|line| !arrived(&line.record.text)).collect();
        assert!(lost.is_empty(), "{} lines lost, the first: {}", lost.len(), self.logs.describe(lost[0]));
        let unsent: Vec<_> = self.senders.lines().filter(|(text, promised)| *promised && !arrived(text)).collect();
        assert!(unsent.is_empty(), "{} lines of senders lost, the first: {:?}", unsent.len(), unsent[0]);
        let sent = self.logs.lines.iter().filter(|line| !line.record.is_noise).map(|line| line.record.text.as_str());
        let written: BTreeSet<&str> = sent.chain(self.senders.lines().map(|(text, _)| text)).collect();
        let strange: Vec<_> = settled.difference(&written).collect();
        assert!(strange.is_empty(), "nobody wrote {strange:.200?}");
        let again = self.cloud.stored.len() - delivered.len();
        self.tell_of_repeats();
        assert!(again <= self.allowed_again(), "{again} arrived again, {} may", self.allowed_again());
        // A power loss may tear what was delivered, or is a dead letter, off the checkpoint, and not its account: then it
        // counts each time.
        let twice = self.cloud.stored.len() + letters.len() - settled.len();
        let counted_again = if self.lost_power { twice as u64 } else { 0 };
        self.judge_ledger(snapshot, settled.len() as u64 + counted_again);
        self.judge_gaps(snapshot, &self.logs.noted_and(|text| !settled.contains(text)));
        assert_eq!(self.senders.segments(), 0, "what is delivered leaves the spool");
        self.judge_order();
    }

    /// For the story of a failure: what arrived again, where it stood, and in which lives it was sent.
    fn tell_of_repeats(&self) {
        let lines: BTreeMap<&str, &Line> = self.logs.lines.iter().map(|line| (&*line.record.text, line)).collect();
        let mut seen = BTreeMap::new();
        for stored in &self.cloud.stored {
            if let Some(before) = seen.insert(stored.text.as_str(), stored.life) {
                let (log_stream, life) = (&stored.log_stream, stored.life);
                let place = lines.get(&*stored.text).map(|line| self.logs.describe(line)).unwrap_or_default();
                self.tell(|| {
                    format!("{:.20} went to {log_stream} in life {before} and in {life}: {place}", stored.text)
                });
            }
        }
    }

    fn judge_ledger(&self, snapshot: &Snapshot, settled: u64) {
        let events = &snapshot.ledger.events;
        let empty = events.dropped.get("empty").copied().unwrap_or(0);
        let gaps = events.dropped.get("gap").copied().unwrap_or(0);
        assert_eq!(events.pending, 0, "all is settled: {:#?}", snapshot.sources);
        let torn = self.senders.torn;
        assert!(gaps <= torn, "{gaps} records are gaps, {torn} segments were torn: {:#?}", snapshot.sources);
        let filtered = events.dropped.get("filtered").copied().unwrap_or(0);
        let (counted, settled) = (events.read - empty - filtered - gaps, settled + self.resent);
        if self.logs.destroyed || self.lost_power {
            assert!(counted <= settled, "the ledger has {counted} records, and only {settled} were settled");
        } else {
            let noise = self.logs.lines.iter().filter(|line| line.record.is_noise).count() as u64;
            let expected = (settled, self.logs.empty_lines, noise);
            assert_eq!((counted, empty, filtered), expected, "records, empty lines, noise: {events:?}");
        }
    }

    /// What was destroyed, and had been seen, is counted.
    fn judge_gaps(&self, snapshot: &Snapshot, lost: &[&Line]) {
        let gaps = snapshot.ledger.bytes.dropped.get("gap").copied().unwrap_or(0);
        let bytes: u64 = lost.iter().map(|line| line.length()).sum();
        // A power loss takes back accounts, too.
        assert!(
            gaps >= bytes || self.lost_power,
            "{bytes} bytes are known to be lost, and {gaps} counted as gaps; {}; undecided: {:?}",
            self.logs.describe(lost[0]),
            self.engine.as_ref().map(|engine| (&engine.files.unsettled, &engine.files.known)),
        );
    }

    /// Within one content, of what arrived once, in one life and in one stream, CloudWatch shows the order of the file;
    /// and what has a time of its own at that time. Not where a reload gave the file another stream: what waits in vain
    /// in the former one comes to the new one behind what was read later; nor where the clock was set back so far that
    /// CloudWatch would refuse what went on behind it.
    fn judge_order(&self) {
        let mut arrivals: BTreeMap<&str, usize> = BTreeMap::new();
        for stored in &self.cloud.stored {
            *arrivals.entry(&stored.text).or_default() += 1;
        }
        let lines = self.logs.lines.iter().enumerate();
        let numbers: BTreeMap<&str, usize> = lines.map(|(number, line)| (line.record.text.as_str(), number)).collect();
        let once = |text: &str| arrivals[text] == 1 && !self.resent_texts.contains(text);
        let mut shown: Vec<_> = self.cloud.stored.iter().filter(|stored| once(&stored.text)).collect();
        shown.sort_by_key(|stored| stored.at);
        let mut last: BTreeMap<(usize, usize, &str), (usize, i64)> = BTreeMap::new();
        for stored in shown {
            let Some(&number) = numbers.get(stored.text.as_str()) else { continue };
            if let Some(at) = self.logs.lines[number].record.at {
                assert_eq!(stored.at, at, "{:.60}", stored.text);
                continue;
            }
            let set_back = self.seconds_set_back.get(&stored.life).copied().unwrap_or_default();
            if self.renamed.contains(&stored.life) || set_back >= TOO_FAR_BACK {
                continue;
            }
            let this = (number, stored.at);
            let before = last.insert((stored.life, self.logs.lines[number].content, &*stored.log_stream), this);
            assert!(before < Some(this), "{before:?} is shown before {this:?} in {}", stored.log_stream);
        }
    }

    pub(super) fn dead_letters(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.state.path().join("dead-letters.jsonl")).unwrap_or_default();
        let message = |line: &str| {
            let letter: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no dead letter: {line:.300}"));
            letter["event"]["message"].as_str().expect("text").to_owned()
        };
        text.lines().map(message).collect()
    }
}
