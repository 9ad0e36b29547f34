//! The system's journal and its journalctls, as far as the engine sees them: what was written, what was vacuumed away,
//! and what each reader says next. Not the processes.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use fastrand::Rng;
use jiff::Timestamp;

use crate::logs::engine::Event;
use crate::logs::source::journal::child::Output;
use crate::logs::source::journal::cursor::Cursor;
use crate::logs::source::journal::reader::{Order, ReaderId};

/// The units that write.
pub(super) const UNITS: [&str; 3] = ["a.service", "b.service", "c.service"];

/// What one reads at once from a pipe, in bytes.
const A_PIPEFUL: usize = 64 * 1024;

/// One entry, as it was written.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) cursor: Cursor,
    /// No unit where the agent wrote it itself.
    pub(super) unit: Option<&'static str>,
    pub(super) text: String,
}

/// A journalctl.
#[derive(Debug)]
struct Running {
    arguments: Vec<String>,
    /// Which entry it looks at next.
    next: usize,
    /// How many it still has to say, where that was asked for.
    lines: usize,
    /// Told to read, and has not answered.
    asked: bool,
}

/// The journal.
#[derive(Debug)]
pub(super) struct Journal {
    /// All that was ever written, in order.
    pub(super) entries: Vec<Entry>,
    /// How many of them are not there any more.
    pub(super) vacuumed: usize,
    /// Where each series of numbers began.
    series: BTreeMap<u128, usize>,
    boot: u128,
    booted_at: usize,
    readers: BTreeMap<ReaderId, Running>,
    own: String,
}

impl Running {
    fn says(&self, argument: &str) -> bool {
        self.arguments.iter().any(|said| said == argument)
    }

    /// Whether it is asked for this entry.
    fn wants(&self, entry: &Entry) -> bool {
        let boot = self.arguments.iter().find_map(|argument| argument.strip_prefix("_BOOT_ID="));
        let mut units = self.arguments.iter().filter_map(|argument| argument.strip_prefix("--unit=")).peekable();
        let is_of_unit = units.peek().is_none() || units.any(|unit| Some(unit) == entry.unit);
        is_of_unit && boot.is_none_or(|boot| format!("{:032x}", entry.cursor.boot) == boot)
    }
}

impl Journal {
    pub(super) fn new() -> Self {
        let own = std::env::current_exe().expect("this test").display().to_string();
        let series = [(1, 0)].into();
        Self { entries: Vec::new(), vacuumed: 0, series, boot: 1, booted_at: 0, readers: BTreeMap::new(), own }
    }

    /// Some entries are written, some of them by the agent itself, and some long.
    pub(super) fn write(&mut self, now: Timestamp, random: &mut Rng) {
        for _ in 0..random.usize(1..20) {
            let place = self.entries.len();
            let (series, began) = self.series.iter().next_back().map(|(series, began)| (*series, *began)).expect("one");
            // journalctl goes by it where the numbers begin anew, so it is not set back between two entries.
            let before = self.entries.last().map_or(0, |entry| entry.cursor.realtime);
            let realtime = u64::try_from(now.as_microsecond()).expect("a late day").max(before + 1);
            let monotonic = (place - self.booted_at) as u64;
            let number = (place - began + 1) as u64;
            let cursor = Cursor { series, number, boot: self.boot, monotonic, realtime, content: place as u64 };
            let unit = (random.u8(..12) > 0).then(|| UNITS[random.usize(..UNITS.len())]);
            let length = if random.u8(..8) == 0 { random.usize(..20_000) } else { random.usize(..200) };
            let text = format!("entry {place} {}", "x".repeat(length));
            self.entries.push(Entry { cursor, unit, text });
        }
    }

    /// The oldest are thrown away, seldom all.
    pub(super) fn vacuum(&mut self, random: &mut Rng) {
        let there = self.entries.len() - self.vacuumed;
        let least = usize::from(random.u8(..8) > 0).min(there);
        self.vacuumed += random.usize(..=there - least);
    }

    /// The host starts again; perhaps journald begins to count anew, too.
    pub(super) fn reboot(&mut self, anew: bool) {
        (self.boot, self.booted_at) = (self.boot + 1, self.entries.len());
        if anew {
            self.series.insert(self.boot, self.entries.len());
        }
    }

    /// Whether all that was ever written has one series of numbers.
    pub(super) fn is_numbered_through(&self) -> bool {
        self.series.len() == 1
    }

    /// Does as it is told.
    pub(super) fn obey(&mut self, order: Order) {
        match order {
            Order::Start { reader, arguments } => {
                let from = arguments.iter().find_map(|argument| argument.strip_prefix("--cursor="));
                let lines = if arguments.contains(&"--lines=1".to_owned()) { 1 } else { usize::MAX };
                let next = match from {
                    Some(from) => self.place(&from.parse().expect("a cursor")),
                    None if lines == 1 => self.entries.len().saturating_sub(1),
                    None => 0,
                };
                self.readers.insert(reader, Running { arguments, next, lines, asked: true });
            }
            Order::Read(reader) => self.readers.get_mut(&reader).expect("it was not stopped").asked = true,
            Order::Stop(reader) => drop(self.readers.remove(&reader)),
        }
    }

    /// Where the entry at a cursor stands, or stood.
    fn place(&self, cursor: &Cursor) -> usize {
        let began = self.series[&cursor.series];
        (began + usize::try_from(cursor.number).expect("a few")).saturating_sub(1)
    }

    /// The agent is gone, and its children with it.
    pub(super) fn killed(&mut self) {
        self.readers.clear();
    }

    /// One of those who are asked says something, if they have anything to say; in trouble it may fail.
    pub(super) fn speak(&mut self, trouble: bool, random: &mut Rng) -> Option<Event> {
        let mut asked: VecDeque<ReaderId> =
            self.readers.iter().filter(|(_, running)| running.asked).map(|(reader, _)| *reader).collect();
        asked.rotate_left(random.usize(..asked.len().max(1)));
        asked.into_iter().find_map(|reader| {
            // One that ended well had said all.
            let output = match random.u8(..40) {
                0 if trouble => Output::Failed("killed".to_owned()),
                1 if trouble && self.readers[&reader].says("--follow") => Output::End,
                _ => self.output(reader, random)?,
            };
            self.readers.get_mut(&reader)?.asked = false;
            Some(Event::Journal { reader, output })
        })
    }

    /// What a journalctl writes next; nothing from one that follows and has nothing. What was vacuumed before it came
    /// there it passes over, as the real one does.
    fn output(&mut self, reader: ReaderId, random: &mut Rng) -> Option<Output> {
        let running = self.readers.get_mut(&reader)?;
        let most = random.usize(1..30).min(running.lines);
        let mut text = String::new();
        running.next = running.next.max(self.vacuumed);
        for _ in 0..most {
            if text.len() > A_PIPEFUL {
                break;
            }
            let behind = self.entries.iter().enumerate().skip(running.next);
            let Some((place, entry)) = behind.into_iter().find(|(_, entry)| running.wants(entry)) else { break };
            (running.next, running.lines) = (place + 1, running.lines - 1);
            let by = entry.unit.map_or_else(|| format!("_EXE={}", self.own), |unit| format!("_SYSTEMD_UNIT={unit}"));
            let (cursor, time) = (entry.cursor, entry.cursor.realtime);
            write!(text, "__CURSOR={cursor}\n__REALTIME_TIMESTAMP={time}\n{by}\nMESSAGE={}\n\n", entry.text)
                .expect("text takes all");
        }
        match text.is_empty() {
            true if running.says("--follow") => None,
            true => Some(Output::End),
            false => Some(Output::Bytes(text.into())),
        }
    }

    /// A reader, for the story.
    pub(super) fn describe_reader(&self, reader: ReaderId) -> String {
        self.readers.get(&reader).map_or_else(String::new, |Running { arguments, next, .. }| {
            let told = arguments.iter().filter(|argument| {
                ["--lines", "--foll", "--unit", "--curs"].contains(&&argument[..6.min(argument.len())])
            });
            format!(
                "reader {reader} at {next}: {}",
                told.map(|argument| &argument[..10.min(argument.len())]).collect::<Vec<_>>().join(" ")
            )
        })
    }

    /// How it stands, for the story.
    pub(super) fn describe(&self) -> String {
        format!("journal: {} to {}, boot {}", self.vacuumed, self.entries.len(), self.boot)
    }
}
