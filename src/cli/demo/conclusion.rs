//! What the demo says at its end: what the emulator holds of each source, and whether everything arrived. Not the
//! comparing itself.

use std::fmt::Write as _;

use super::LOG_GROUP;
use super::journal;
use super::proof::{Arrived, Text, Written};
use super::screen::{Cast, print, tally};
use super::stdin::{self, Outcome};
use crate::emulator::Emulator;
use crate::status::{Report, count};

/// The sentences, and what they come to.
pub(super) struct Conclusion {
    text: String,
    all: bool,
    /// Whether some line is not in its place, which is no fault.
    is_loose: bool,
}

impl Conclusion {
    /// `last` is what the daemon said after its stop, in which it sends what was read. `stdin` is `None` when that was cut
    /// off.
    pub(super) fn of(emulator: &Emulator, cast: &Cast, stdin: Option<&Outcome>, last: &Report) -> Self {
        let mut conclusion = Self { text: String::from("\nThe emulator holds\n"), all: true, is_loose: false };
        for text in &cast.texts {
            conclusion.add_file(emulator, text, last);
        }
        if matches!(cast.journal, Some(Ok(_))) {
            conclusion.add_journal(emulator, last);
        }
        if cast.stdin {
            conclusion.add_stdin(emulator, stdin);
        }
        conclusion
    }

    /// Says it; `false` when something did not arrive.
    pub(super) fn say(mut self) -> bool {
        let conclusion = match (self.all, self.is_loose) {
            (true, false) => "every line arrived, once and in order",
            (true, true) => "every line arrived, once",
            (false, _) => "not every line arrived",
        };
        self.line(conclusion);
        print(&self.text);
        self.all
    }

    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "{line}");
    }

    fn add_file(&mut self, emulator: &Emulator, file: &Text, report: &Report) {
        let name = file.path.to_string_lossy();
        let source = report.logs.sources.iter().find(|source| *source.name == *name);
        let stream = source.and_then(|source| source.log_stream.clone()).unwrap_or_default();
        let delivered = source.map_or(0, |source| source.position);
        match file.written(delivered) {
            Ok(written) => {
                self.compare(emulator, &stream, &written);
                self.all &= file.complete_bytes.is_none_or(|end| delivered >= end);
            }
            Err(error) => {
                self.line(&format!("  '{name}' can't be read again: {error}"));
                self.all = false;
            }
        }
    }

    fn add_stdin(&mut self, emulator: &Emulator, outcome: Option<&Outcome>) {
        let Some(outcome) = outcome else {
            self.line("  not all of stdin: it was still on its way");
            self.all = false;
            return;
        };
        self.compare(emulator, stdin::STREAM, &outcome.written);
        if let Some(fault) = &outcome.fault {
            self.line(&format!("    {fault}"));
            self.all = false;
        }
    }

    /// What was written against what arrived, by their checksums.
    fn compare(&mut self, emulator: &Emulator, stream: &str, written: &Written) {
        let arrived = Arrived::at(emulator, stream);
        self.line(&format!("  {LOG_GROUP} {stream}: {} events", count(arrived.events)));
        // The parts of a line that is longer than an event have a segment of the spool for themselves, so that nothing of
        // the same sender comes between them; what was sent beside it may come before or after.
        let is_same = written.digest == arrived.digest;
        let is_loose =
            !is_same && stream == stdin::STREAM && arrived.is_split && written.digest.has_lines_of(&arrived.digest);
        let order = match (is_same, is_loose) {
            (true, _) => "in order",
            (false, true) => "in order but for those that are longer than an event",
            (false, false) => "or not in order",
        };
        self.line(&format!("    {}", verdict(written, &arrived, order)));
        self.all &= is_same || is_loose;
        self.is_loose |= is_loose;
    }

    /// Nobody but the agent knows what stood in the journal: its ledger must add up, and agree with the emulator.
    fn add_journal(&mut self, emulator: &Emulator, last: &Report) {
        let events = tally(last, "journal");
        let arrived = Arrived::at(emulator, journal::STREAM);
        let (dropped, empty) = (events.dropped.values().sum::<u64>(), events.dropped.get("empty").copied());
        self.line(&format!("  {LOG_GROUP} {}: {} events", journal::STREAM, count(arrived.events)));
        self.line(&format!(
            "    {} of the journal's entries: read {} = delivered {} + pending {} + dropped {}{}",
            count(arrived.digest.lines),
            count(events.read),
            count(events.delivered),
            count(events.pending),
            count(dropped),
            if empty.is_some() { " (empty messages among them)" } else { "" }
        ));
        for fault in last.logs.sources.iter().filter(|source| source.kind == "journal") {
            if let Some(fault) = &fault.last_error {
                self.line(&format!("    {}", fault.message));
            }
        }
        let nothing_lost = dropped == empty.unwrap_or_default() && events.pending == 0;
        self.all &= nothing_lost && arrived.digest.lines == events.delivered;
    }
}

fn verdict(written: &Written, arrived: &Arrived, order: &str) -> String {
    let empty = match written.empty {
        0 => String::new(),
        empty => format!(" ({} empty lines are not sent: CloudWatch takes no empty message)", count(empty)),
    };
    format!("{} of {} lines, {order}{empty}", count(arrived.digest.lines), count(written.digest.lines))
}
