//! Everything that can go wrong, at once: the engine on real files, with a clock that jumps, a CloudWatch with weather,
//! a disk that fails, rotations of every kind, senders to a socket, dead letters sent again, tables that change, and kills
//! at any step. What happens is drawn from a seed, so that a failure can be repeated. Not real processes: `tests/integration/torture.rs` kills those.

mod cloud;
mod inodes;
mod journal;
mod life;
mod logs;
mod records;
mod reload;
mod seeds;
mod senders;
mod verdict;

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use self::cloud::{Cloud, failure};
use self::inodes::Inodes;
use self::logs::Logs;
use self::records::Shape;
use self::senders::Senders;
use super::*;
use crate::logs::creation::Created;
use crate::logs::dead_letters::{Selection, resend};
use crate::logs::disk::faults::{self, Condition};
use crate::logs::sink::Kind;
use crate::logs::{Compression, FileSettings, Target};
use crate::template::Template;

/// How much happens in one life of a host.
const HAPPENINGS: std::ops::Range<usize> = 30..300;

/// Small, so that memory is short at times.
const MEMORY_LIMIT: u64 = 1 << 20;

/// A spool with little more room than an archive needs for being read.
const SMALL_SPOOL: u64 = 6 << 20;

/// Longer than the longest wait, a minute, in surveys.
const QUIET_ROUNDS: usize = 8;

/// Rounds after which something will never end.
const MOST_ROUNDS: usize = 2_000;

/// When it begins: a day like any, and the same each time.
const BEGINNING: Timestamp = Timestamp::constant(1_800_000_000, 0);

/// One host's life.
struct Torture<'a> {
    random: Rng,
    directory: TempDir,
    state: TempDir,
    settings: Settings,
    /// The table of the logs, while the configuration is without it.
    away: Option<FileSettings>,
    ears: Option<Ears>,
    /// Away between a kill and the next start.
    engine: Option<Engine>,
    /// How often it was started.
    life: usize,
    now: Moment,
    logs: Logs,
    senders: Senders,
    cloud: Cloud,
    creating: Vec<usize>,
    /// The checkpoint's length, and what CloudWatch had confirmed, since it was synced.
    unsynced: Vec<(u64, usize)>,
    /// What CloudWatch had confirmed, and the ledger had, when this life began.
    began_at: (usize, usize),
    /// What CloudWatch had confirmed of what the checkpoint has.
    written: usize,
    /// The lives in which a reload gave files another stream.
    renamed: BTreeSet<usize>,
    seconds_set_back: BTreeMap<usize, i64>,
    /// How many dead letters were sent again: each is a record of another source.
    resent: u64,
    /// What they said: they arrive with the times that they had.
    resent_texts: BTreeSet<String>,
    /// Whether the ledger may have forgotten what it had, and nobody can read again.
    lost_power: bool,
    /// What may arrive again, beside what was never confirmed: it was confirmed, and could not be written down.
    forgotten: usize,
    story: &'a Mutex<Vec<String>>,
}

impl<'a> Torture<'a> {
    fn new(seed: u64, story: &'a Mutex<Vec<String>>) -> Self {
        let mut random = Rng::with_seed(seed);
        // Syncing takes no time there, and nobody else's files decide which inodes are used again.
        let memory = Path::new("/dev/shm").is_dir();
        let in_memory = || if memory { tempfile::tempdir_in("/dev/shm") } else { tempfile::tempdir() };
        let (directory, state, parked) = (in_memory(), in_memory(), in_memory());
        let (directory, state) = (directory.expect("a directory"), state.expect("a directory"));
        // The jitter of retries.
        fastrand::seed(seed);
        let shape = Shape::draw(&mut random);
        let mut settings = super::tests::settings(directory.path(), "{file_name}");
        shape.apply(&mut settings.files[0]);
        settings.memory_limit = MEMORY_LIMIT;
        settings.sockets = vec![senders::table(target("socket"))];
        settings.spool_limit = if random.u8(..4) == 0 { SMALL_SPOOL } else { settings.spool_limit };
        draw_changes(&mut settings, &mut random);
        let inodes = Inodes::new(parked.expect("a directory"), random.fork());
        let logs = Logs::new(directory.path(), random.usize(1..5), shape, inodes);
        let senders = Senders::new(state.path(), settings.spool_limit);
        let now = Moment { boot: Duration::from_secs(1000), wall: BEGINNING };
        Self {
            random,
            directory,
            state,
            settings,
            away: None,
            ears: None,
            engine: None,
            life: 0,
            now,
            logs,
            senders,
            cloud: Cloud::new(),
            creating: Vec::new(),
            unsynced: Vec::new(),
            began_at: (0, 0),
            written: 0,
            resent: 0,
            renamed: BTreeSet::new(),
            seconds_set_back: BTreeMap::new(),
            resent_texts: BTreeSet::new(),
            lost_power: false,
            forgotten: 0,
            story,
        }
    }

    fn run(mut self) {
        self.tell(|| format!("{:?}", self.logs.shape()));
        self.start();
        for _ in 0..self.random.usize(HAPPENINGS) {
            self.happen();
        }
        self.calm_down();
        self.logs.give_up_partials();
        let snapshot = self.engine.as_ref().expect("running").snapshot(self.now);
        self.judge(&snapshot);
        drop(self.directory);
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        self.story.lock().expect("one thread").push(format!("{:?} {}", self.now.boot, what()));
    }

    /// One thing happens.
    fn happen(&mut self) {
        let log = self.random.usize(..self.logs.count());
        match self.random.u8(..100) {
            0..24 => self.logs.write(log, self.now.wall, &mut self.random),
            24..28 => self.send(),
            28 => self.logs.pack(log, &mut self.random),
            29 => self.resend(),
            30..50 => self.pass_and_step(),
            50..70 => self.answer_one(),
            70..74 => self.hear_of_changes(),
            74..78 => {
                let change = self.cloud.change_weather(&mut self.random);
                self.tell(|| change);
            }
            78..83 => {
                self.tell(|| format!("rotate {log}"));
                self.logs.rotate(log, self.now.boot, self.engine.as_ref(), &mut self.random);
                if self.random.u8(..3) == 0 {
                    self.tell(|| format!("pack one of {log}"));
                    self.logs.pack(log, &mut self.random);
                }
            }
            83..85 => self.logs.write_late(self.now.boot, self.now.wall, &mut self.random),
            85..87 => {
                self.tell(|| format!("truncate {log}"));
                let copy = self.random.bool();
                self.logs.truncate(log, copy, self.engine.as_ref(), &mut self.random);
            }
            87..89 => {
                self.tell(|| format!("delete {log}"));
                self.logs.delete(log, self.now.boot, self.engine.as_ref(), &mut self.random);
            }
            89..92 => self.change_disk(),
            92..93 => self.jump(),
            93..94 => self.reload(),
            94..97 => self.kill(),
            97..98 => self.lose_power(),
            _ if self.engine.is_some() => self.restart_in_order(),
            _ => self.start(),
        }
    }

    fn send(&mut self) {
        if self.settings.sockets.is_empty() {
            return;
        }
        self.senders.send(&mut self.random);
        self.step(vec![Event::Spooled]);
    }

    /// A person wants the dead letters to be sent again.
    fn resend(&mut self) {
        self.resent_texts.extend(self.dead_letters());
        let moved = resend(self.state.path(), &Selection::default(), self.now.wall);
        self.tell(|| format!("dead letters: {moved:?}"));
        self.resent += moved.map_or(0, |moved| moved.events as u64);
    }

    fn change_disk(&mut self) {
        let mut condition = Condition::default();
        match self.random.u8(..4) {
            0 => condition.full = Some(self.random.fork()),
            1 => condition.unsyncable = true,
            _ => {}
        }
        self.tell(|| format!("disk: {condition:?}"));
        faults::set(condition);
    }

    /// The wall clock is set, forwards or backwards; seldom so far back that times of reading can't go on.
    fn jump(&mut self) {
        let furthest = if self.random.u8(..4) == 0 { 40 } else { 1 };
        let seconds = self.random.i64(-furthest * 3600..40 * 3600);
        self.tell(|| format!("the clock jumps by {seconds} s"));
        *self.seconds_set_back.entry(self.life).or_default() -= seconds.min(0);
        self.now.wall += SignedDuration::from_secs(seconds);
    }

    fn pass(&mut self, time: Duration) {
        self.now.boot += time;
        self.now.wall += SignedDuration::try_from(time).expect("short");
    }

    fn pass_and_step(&mut self) {
        let millis = match self.random.u8(..3) {
            0 => self.random.u64(..20),
            1 => self.random.u64(..1_000),
            _ => self.random.u64(..20_000),
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
                Action::CheckGroup { .. } | Action::Journal(_) => {}
                Action::Sync(_) => self.unsynced.clear(),
            }
        }
        self.take_note();
        Some(step)
    }

    /// What the agent and its checkpoint know now.
    fn take_note(&mut self) {
        let Some(engine) = &self.engine else { return };
        let stands = engine.books.stands();
        self.logs.note(engine, stands);
        if stands {
            // What is confirmed of a batch counts when all of it is.
            let (heard, settled) = self.began_at;
            self.written = heard + self.settled() - settled;
        }
        let length = std::fs::metadata(self.state.path().join("checkpoint")).map_or(0, |metadata| metadata.len());
        if self.unsynced.last().is_some_and(|(before, _)| *before > length) {
            self.unsynced.clear();
        }
        self.unsynced.push((length, self.written));
        self.assert_balanced(&engine.snapshot(self.now));
    }

    /// How many events the ledger has that CloudWatch confirmed, or rejected one by one.
    fn settled(&self) -> usize {
        let Some(engine) = &self.engine else { return 0 };
        let events = engine.snapshot(self.now).ledger.events;
        let rejected = ["too_old", "too_new", "expired"].map(|reason| events.dropped.get(reason).copied().unwrap_or(0));
        usize::try_from(events.delivered + rejected.iter().sum::<u64>()).expect("a few")
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
            self.step(vec![Event::Answer { stream: put.stream, ticket: put.ticket, result }]);
        }
    }

    /// The kernel tells of changes, where it does.
    fn hear_of_changes(&mut self) {
        let Some(ears) = &mut self.ears else { return };
        let told = ears.told();
        // Also where there is none: others' directories come and go beside ours, and must not tell another story.
        self.step(vec![Event::Changed(told)]);
    }

    /// All trouble ends, and everything is delivered.
    fn calm_down(&mut self) {
        self.tell(|| "calm".to_owned());
        faults::set(Condition::default());
        self.logs.calm_down(&mut self.random);
        self.cloud.calm_down();
        self.restore_tables();
        if self.engine.is_none() {
            self.start();
        }
        let mut quiet = 0;
        for _ in 0..MOST_ROUNDS {
            self.pass(SURVEY_INTERVAL);
            let mut busy = false;
            while self.step(Vec::new()).is_some_and(|step| step.wake_at <= self.now.boot) || self.is_waited_for() {
                busy = true;
                self.answer_one();
            }
            quiet = if busy { 0 } else { quiet + 1 };
            if quiet == QUIET_ROUNDS {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn is_waited_for(&self) -> bool {
        !self.creating.is_empty() || !self.cloud.flying.is_empty()
    }

    /// How many events may arrive a second time.
    fn allowed_again(&self) -> usize {
        self.cloud.unheard + self.forgotten
    }
}

fn target(log_stream: &str) -> Target {
    let name = |text| Template::parse(text, &[]).expect("a name");
    Target::new(name("g"), name(log_stream))
}

/// What a reload may change, or a restart.
fn draw_changes(settings: &mut Settings, random: &mut Rng) {
    let log_stream = ["all", "{file_name}", "{file_name}", "of {file_name}"][random.usize(..4)];
    settings.files.iter_mut().for_each(|table| table.target = target(log_stream));
    settings.compression = if random.bool() { Compression::Gzip } else { Compression::None };
    settings.flush_interval = Duration::from_secs(random.u64(1..10));
}
