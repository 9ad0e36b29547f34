//! The same for the journal: tables of every kind, journalctls that fail and end, a journal that is vacuumed while it is
//! read, reboots, kills, weather, reloads. A torture of its own, so that its seeds tell other stories than the files'.
//! Not real journals: `tests/machine/test_journal.py` has one.

mod system;
mod verdict;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use jiff::SignedDuration;
use tempfile::TempDir;

use self::system::{Journal, UNITS};
use super::cloud::{Cloud, failure};
use super::seeds::each_seed;
use super::{BEGINNING, HAPPENINGS, MEMORY_LIMIT, MOST_ROUNDS, QUIET_ROUNDS, target};
use crate::logs::creation::Created;
use crate::logs::delivery::destination::Moment;
use crate::logs::engine::{Action, Engine, Event, Quarantine, SURVEY_INTERVAL, Step};
use crate::logs::framing::Pattern;
use crate::logs::sink::Kind;
use crate::logs::source::journal::child::Output;
use crate::logs::source::journal::reader::Order;
use crate::logs::{JournalSettings, Settings, StartAt};

/// Some seconds.
const SEEDS: u64 = 250;

/// What tests/slow.sh runs.
const MANY_SEEDS: u64 = 5_000;

/// What a table asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    Everything,
    OneUnit,
    /// Units by a pattern, which journalctl is not told of.
    SomeUnits,
}

/// One host's life.
struct Torture<'a> {
    random: Rng,
    state: TempDir,
    settings: Settings,
    asks: Vec<Asks>,
    /// Tables that the configuration is without.
    away: BTreeSet<usize>,
    /// Away between a kill and the next start.
    engine: Option<Engine>,
    life: usize,
    now: Moment,
    journal: Journal,
    cloud: Cloud,
    creating: Vec<usize>,
    /// What each table may miss without anybody knowing: by table, and number of the entry.
    excused: BTreeSet<(usize, usize)>,
    /// Whether there is a stream for each unit. It stays so: where that changes, units that were ahead of the last one
    /// are read again from there.
    is_split: bool,
    /// How many events the streams were told to miss.
    told: u64,
    story: &'a Mutex<Vec<String>>,
}

#[test]
fn no_entry_is_lost_repeated_or_miscounted_whatever_happens() {
    each_seed(SEEDS, live);
}

#[test]
#[ignore = "takes minutes: run by tests/slow.sh"]
fn no_entry_is_lost_repeated_or_miscounted_whatever_happens_long() {
    each_seed(MANY_SEEDS, live);
}

fn live(seed: u64, story: &Mutex<Vec<String>>) {
    Torture::new(seed, story).run();
}

impl<'a> Torture<'a> {
    fn new(seed: u64, story: &'a Mutex<Vec<String>>) -> Self {
        let mut random = Rng::with_seed(seed);
        // The jitter of retries.
        fastrand::seed(seed);
        let draw = |_| [Asks::Everything, Asks::OneUnit, Asks::SomeUnits][random.usize(..3)];
        let mut asks: Vec<Asks> = (0..2).map(draw).collect();
        asks.dedup();
        let is_split = random.bool();
        let now = Moment { boot: Duration::from_secs(1000), wall: BEGINNING };
        let mut torture = Self {
            random,
            state: tempfile::tempdir().expect("a directory"),
            settings: Settings { memory_limit: MEMORY_LIMIT, ..Settings::default() },
            asks,
            away: BTreeSet::new(),
            engine: None,
            life: 0,
            now,
            journal: Journal::new(),
            cloud: Cloud::new(),
            creating: Vec::new(),
            excused: BTreeSet::new(),
            is_split,
            told: 0,
            story,
        };
        torture.draw_tables();
        torture
    }

    fn run(mut self) {
        self.tell(|| format!("{:?}", self.asks));
        self.start();
        for _ in 0..self.random.usize(HAPPENINGS) {
            self.happen();
        }
        self.calm_down();
        let snapshot = self.engine.as_ref().expect("running").snapshot(self.now);
        self.judge(&snapshot);
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        self.story.lock().expect("one thread").push(format!("{:?} {}", self.now.boot, what()));
    }

    /// One thing happens.
    fn happen(&mut self) {
        if self.engine.is_none() && self.random.u8(..4) == 0 {
            self.start();
        }
        match self.random.u8(..100) {
            0..16 => {
                self.journal.write(self.now.wall, &mut self.random);
                self.tell(|| self.journal.describe());
            }
            16..54 => drop(self.journal_speaks(true)),
            54..68 => self.pass_and_step(),
            68..86 => self.answer_one(),
            86..89 => {
                let change = self.cloud.change_weather(&mut self.random);
                self.tell(|| change);
            }
            89..92 => self.vacuum(),
            92..93 => self.jump(),
            93..95 => self.reload(),
            95..97 => self.kill(),
            97..98 => {
                self.kill();
                // Nothing tells then what of one unit stands before what of another: it may be read twice.
                let anew = !self.is_split && self.random.u8(..3) == 0;
                self.journal.reboot(anew);
                self.tell(|| self.journal.describe());
            }
            _ => self.restart_in_order(),
        }
    }

    /// The tables as they are to be now: what they ask for stays, where it goes and how it is cut may change.
    fn draw_tables(&mut self) {
        let (random, is_split) = (&mut self.random, self.is_split);
        let mut table = |index: usize, asks: Asks| {
            let units = match asks {
                Asks::Everything => Vec::new(),
                Asks::OneUnit => vec![UNITS[0].to_owned()],
                Asks::SomeUnits => vec!["[ab].*".to_owned()],
            };
            let unit = if is_split { " of {unit}" } else { "" };
            let log_stream = &format!("{index}{}{unit}", ["", " again"][random.usize(..2)]);
            let mut table =
                JournalSettings { units, start_at: StartAt::Beginning, ..JournalSettings::new(target(log_stream)) };
            if random.bool() {
                table.framing.drop.push(Pattern::parse("never").expect("a pattern"));
            }
            table
        };
        let there = self.asks.iter().copied().enumerate().filter(|(index, _)| !self.away.contains(index));
        self.settings.journals = there.map(|(index, asks)| table(index, asks)).collect();
        self.settings.flush_interval = Duration::from_secs(self.random.u64(1..10));
    }

    /// Where the tables go now.
    fn names(&self) -> String {
        let names = self.settings.journals.iter().map(|table| table.target.log_stream.text());
        names.collect::<Vec<_>>().join(", ")
    }

    fn start(&mut self) {
        let opened = Engine::open(self.settings.clone(), self.state.path(), None, Arc::default(), Quarantine::new());
        self.tell(|| format!("start: {}", self.names()));
        self.engine = Some(opened.expect("opens"));
        self.life += 1;
    }

    fn kill(&mut self) {
        if self.engine.take().is_none() {
            return self.start();
        }
        self.tell(|| "kill".to_owned());
        self.end();
    }

    fn end(&mut self) {
        self.engine = None;
        self.journal.killed();
        self.cloud.forget_flying(self.life, &mut self.random);
        self.creating.clear();
    }

    /// A stop, with or without time to drain, and another start at once.
    fn restart_in_order(&mut self) {
        self.tell(|| "restart in order".to_owned());
        self.step(vec![Event::Stop]);
        for _ in 0..self.random.usize(..10) {
            self.journal_speaks(true);
            self.answer_one();
        }
        self.end();
        self.draw_tables();
        self.start();
    }

    fn reload(&mut self) {
        if self.random.bool() {
            let index = self.random.usize(..self.asks.len());
            if !self.away.remove(&index) {
                self.away.insert(index);
            }
        }
        self.apply();
    }

    fn apply(&mut self) {
        self.draw_tables();
        self.tell(|| format!("reload: {}", self.names()));
        let settings = Arc::new(self.settings.clone());
        self.step(vec![Event::Settings { settings, elsewhere: false }]);
    }

    /// The oldest entries go. What a table has no place before yet, it can't miss; nor does anybody know what was there
    /// where journalctl passes over what is not asked for.
    fn vacuum(&mut self) {
        let before = self.journal.vacuumed;
        self.journal.vacuum(&mut self.random);
        let excused = |table: &usize| {
            let is_narrowed = self.is_split || self.asks[*table] == Asks::OneUnit;
            (is_narrowed && self.engine.is_some()) || !self.is_known(*table)
        };
        for table in (0..self.asks.len()).filter(excused).collect::<Vec<_>>() {
            self.excused.extend((before..self.journal.vacuumed).map(|place| (table, place)));
        }
        self.tell(|| format!("vacuumed; {}", self.journal.describe()));
    }

    /// Whether the checkpoint has a place in the journal for a table.
    fn is_known(&self, table: usize) -> bool {
        let checkpoint = std::fs::read_to_string(self.state.path().join("checkpoint")).unwrap_or_default();
        let goes = format!("\"g {table}");
        checkpoint.lines().any(|line| line.contains(&goes) && line.contains("\"tip\":\"s="))
    }

    /// The wall clock is set.
    fn jump(&mut self) {
        let seconds = self.random.i64(-3600..3600);
        self.tell(|| format!("the clock jumps by {seconds} s"));
        self.now.wall += SignedDuration::from_secs(seconds);
    }

    fn pass(&mut self, time: Duration) {
        self.now.boot += time;
        self.now.wall += SignedDuration::try_from(time).expect("short");
    }

    fn pass_and_step(&mut self) {
        let millis = match self.random.u8(..4) {
            0 => self.random.u64(..20),
            1 => self.random.u64(..1_000),
            2 => self.random.u64(..20_000),
            _ => self.random.u64(..90_000),
        };
        self.pass(Duration::from_millis(millis));
        self.step(Vec::new());
    }

    /// Steps once, and does what is to be done.
    fn step(&mut self, events: Vec<Event>) -> Option<Step> {
        let engine = self.engine.as_mut()?;
        let mut step = engine.step(events, self.now);
        for action in step.actions.drain(..) {
            match action {
                Action::Put { stream, ticket, log_stream, body, .. } => {
                    let first = self.cloud.receive(stream, ticket, log_stream.clone(), &body);
                    self.tell(|| format!("put {ticket} to {log_stream} in life {}: {first:?} first", self.life));
                }
                Action::Create { stream, .. } => self.creating.push(stream),
                Action::Journal(order) => {
                    let (started, text) = match &order {
                        Order::Start { reader, .. } => (Some(*reader), String::new()),
                        Order::Read(reader) => (None, format!("reader {reader} reads on")),
                        Order::Stop(reader) => (None, format!("stop reader {reader}")),
                    };
                    self.journal.obey(order);
                    let text = started.map_or(text, |reader| self.journal.describe_reader(reader));
                    self.tell(|| text);
                }
                Action::CheckGroup { .. } | Action::Sync(_) => {}
            }
        }
        self.assert_balanced();
        Some(step)
    }

    /// Whether a journalctl had something to say.
    fn journal_speaks(&mut self, trouble: bool) -> bool {
        let said = if self.engine.is_some() { self.journal.speak(trouble, &mut self.random) } else { None };
        let spoke = said.is_some();
        if let Some(said) = said {
            let Event::Journal { reader, output } = &said else { unreachable!("it is of the journal") };
            let output = match output {
                Output::Bytes(_) => "read".to_owned(),
                other => format!("{other:?}"),
            };
            self.tell(|| format!("{output}: {}", self.journal.describe_reader(*reader)));
            self.step(vec![said]);
        }
        spoke
    }

    /// Some request on its way is answered, or some creation.
    fn answer_one(&mut self) {
        if self.engine.is_none() {
            return;
        }
        if !self.creating.is_empty() {
            let stream = self.creating.swap_remove(self.random.usize(..self.creating.len()));
            let result = if self.random.u8(..4) == 0 { Err(failure(Kind::Throttled)) } else { Ok(Created::default()) };
            self.step(vec![Event::Created { stream, result }]);
        } else if let Some(put) = self.cloud.take(&mut self.random) {
            let result = self.cloud.answer(&put, self.life, &mut self.random);
            self.tell(|| format!("answer {} {:?}", put.ticket, result.as_ref().map_err(|failure| failure.kind)));
            if result.is_ok() {
                self.note_told(&put);
            }
            self.step(vec![Event::Answer { stream: put.stream, ticket: put.ticket, result }]);
        }
    }

    /// All trouble ends, and everything is delivered.
    fn calm_down(&mut self) {
        self.tell(|| "calm".to_owned());
        self.cloud.calm_down();
        if self.engine.is_none() {
            self.start();
        }
        self.away.clear();
        self.apply();
        let mut quiet = 0;
        for _ in 0..MOST_ROUNDS {
            self.pass(SURVEY_INTERVAL);
            let mut busy = false;
            while self.journal_speaks(false)
                || self.step(Vec::new()).is_some_and(|step| step.wake_at <= self.now.boot)
                || !self.creating.is_empty()
                || !self.cloud.flying.is_empty()
            {
                // To look whether something came is no business.
                busy |= !self.creating.is_empty() || !self.cloud.flying.is_empty();
                self.answer_one();
            }
            quiet = if busy { 0 } else { quiet + 1 };
            if quiet == QUIET_ROUNDS {
                return;
            }
        }
        panic!("it never comes to rest");
    }
}
