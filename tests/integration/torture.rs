//! Everything that can go wrong, at once, with real processes: SIGKILL, restarts and reloads, rotations, a disk that
//! fills up, a CloudWatch that throttles, denies and loses replies, credentials that expire, a metadata service that is
//! off, a clock that jumps. What happens is drawn from a seed. Not the thousands of seeds that need no process: those
//! are `logs/engine/torture`'s.

mod disk;

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Agent, Change, Denial, Effect, Emulator, Fates, Fault, Host, append, fates, numbered};
use disk::SmallDisk;

/// Enough for each kind of trouble to be seen, within half a minute.
const SEEDS: u64 = 8;

/// What tests/slow.sh runs, so many at a time: most of the time everybody waits.
const MANY_SEEDS: u64 = 200;
const SIDE_BY_SIDE: u64 = 4;

/// How much happens to one host.
const HAPPENINGS: std::ops::Range<usize> = 10..40;

/// Between two happenings: long enough for lines to be read, sent and answered, short enough to hit each of these.
const PAUSE_MS: std::ops::Range<u64> = 0..200;

/// Logs of one host, each with a stream of its own.
const LOGS: usize = 3;

/// Room for the numbers of one log's lines.
const NUMBERS: usize = 1_000_000;

/// Batches side by side on one stream, at most.
const MOST_IN_FLIGHT: usize = 8;

/// After the end of all trouble: the longest retry that a restart does not forget, and a loaded machine.
const CALM_WITHIN: Duration = Duration::from_mins(2);

const GROUP: &str = "/test/torture";

#[test]
fn no_line_is_lost_or_miscounted_whatever_happens_to_the_process() {
    torture(0..number("IMDS_AGENT_TORTURE_SEEDS").unwrap_or(SEEDS));
}

#[test]
#[ignore = "takes minutes: run by tests/slow.sh"]
fn no_line_is_lost_or_miscounted_whatever_happens_to_the_process_long() {
    let count = number("IMDS_AGENT_TORTURE_SEEDS").unwrap_or(MANY_SEEDS);
    std::thread::scope(|scope| {
        let share = |index| (index * count / SIDE_BY_SIDE)..((index + 1) * count / SIDE_BY_SIDE);
        for seeds in (0..SIDE_BY_SIDE).map(share) {
            scope.spawn(|| torture(seeds));
        }
    });
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

fn torture(seeds: std::ops::Range<u64>) {
    let seeds = number("IMDS_AGENT_TORTURE_SEED").map_or(seeds, |seed| seed..seed + 1);
    for seed in seeds {
        let mut torture = Torture::new(seed);
        let outcome = catch_unwind(AssertUnwindSafe(|| torture.run()));
        assert!(
            outcome.is_ok(),
            "torture failed, as said above; repeat it, as far as the machine's own timing allows, with \
             IMDS_AGENT_TORTURE_SEED={seed} cargo test --test integration torture\n{}",
            torture.story
        );
    }
}

/// One host's life.
struct Torture {
    random: Rng,
    host: Host,
    emulator: Emulator,
    disk: Option<SmallDisk>,
    agent: Option<Agent>,
    /// Each log's lines.
    written: Vec<Vec<String>>,
    /// Ends of lives, each of which may repeat what was in flight.
    ends: usize,
    /// Requests whose replies were lost on purpose, at most.
    lost_replies: usize,
    /// Whether a life ended that could not write its checkpoint: then more may arrive again.
    forgetful: bool,
    story: String,
}

impl Torture {
    fn new(seed: u64) -> Self {
        let emulator = Emulator::start();
        let host = Host::new(&emulator.url());
        host.configure(&format!(
            "[logs]\nlog_group = \"{GROUP}\"\nlog_stream = \"{{file_name}}\"\nflush_interval = \"250ms\"\n\n\
             [[logs.file]]\ninclude = [\"{}/*.log\"]\nstart_at = \"beginning\"\n",
            host.path("logs").display()
        ));
        let disk = SmallDisk::at(&host.path("state"));
        let random = Rng::with_seed(seed);
        Self {
            random,
            host,
            emulator,
            disk,
            agent: None,
            written: vec![Vec::new(); LOGS],
            ends: 0,
            lost_replies: 0,
            forgetful: false,
            story: String::new(),
        }
    }

    fn run(&mut self) {
        for _ in 0..self.random.usize(HAPPENINGS) {
            self.happen();
            std::thread::sleep(Duration::from_millis(self.random.u64(PAUSE_MS)));
        }
        self.calm_down();
        self.judge();
    }

    fn tell(&mut self, what: &str) {
        let _ = writeln!(self.story, "{what}");
    }

    fn happen(&mut self) {
        match self.random.u8(..20) {
            0..7 => self.write(),
            7..9 => self.rotate(),
            9..12 => self.end(),
            12..15 => self.break_cloud(),
            15 => self.emulator.clear_faults(),
            16 => self.trouble_credentials(),
            17 => self.jump(),
            18 => self.fill_disk(),
            _ => self.free_disk(),
        }
        if self.agent.is_none() && self.random.bool() {
            self.start();
        }
        if let Some(agent) = &self.agent {
            agent.report().assert_ledger_adds_up();
        }
    }

    fn write(&mut self) {
        let log = self.random.usize(..LOGS);
        let count = if self.random.u8(..6) == 0 { 3_000 } else { self.random.usize(1..300) };
        self.tell(&format!("{count} lines to {log}"));
        let lines = numbered(log * NUMBERS + self.written[log].len(), count, 200);
        append(&self.host.log(&format!("{log}.log")), &lines);
        self.written[log].extend(lines);
    }

    /// Renames a log and those before it; none is ever deleted, so none may be lost.
    fn rotate(&mut self) {
        let log = self.random.usize(..LOGS);
        let path = |number: usize| match number {
            0 => self.host.log(&format!("{log}.log")),
            number => self.host.log(&format!("{log}.log.{number}")),
        };
        // What was never seen at its place is not known to be this log's.
        let seen = |report: &crate::harness::Report| report.source(&format!("{log}.log")).is_some();
        let known = self.agent.as_ref().is_some_and(|agent| seen(&agent.report()));
        if !path(0).exists() || !known {
            return;
        }
        let last = (1..=HAPPENINGS.end).find(|number| !path(*number).exists()).expect("a free number");
        for number in (0..last).rev() {
            std::fs::rename(path(number), path(number + 1)).expect("our own files");
        }
        self.tell(&format!("rotated {log}"));
    }

    fn start(&mut self) {
        self.free_disk();
        self.tell("start");
        self.agent = Some(self.host.start());
    }

    /// The life of the process ends, or its configuration is read again.
    fn end(&mut self) {
        let Some(agent) = self.agent.take() else { return self.start() };
        self.ends += 1;
        self.forgetful |= self.disk.as_ref().is_some_and(SmallDisk::was_full);
        match self.random.u8(..4) {
            0 => {
                self.tell("stop");
                agent.stop_in_order();
            }
            1 => {
                self.tell("reload");
                agent.signal(Signal::HUP);
                self.agent = Some(agent);
            }
            _ => {
                self.tell("kill");
                agent.kill();
            }
        }
    }

    fn break_cloud(&mut self) {
        let times = self.random.u64(1..6);
        let effect = match self.random.u8(..7) {
            0 => Effect::Throttle { retry_after_ms: None },
            1 => Effect::Deny(Denial::default()),
            2 => Effect::Expired,
            3 => Effect::Close,
            4 => Effect::Error { status: 503, code: "ServiceUnavailableException".into(), message: String::new() },
            5 => Effect::Delay { ms: self.random.u64(..400) },
            _ => {
                self.lost_replies += usize::try_from(times).expect("a few");
                Effect::LostReply
            }
        };
        let mut fault = Fault::on("logs:PutLogEvents", effect).times(times);
        if self.random.bool() {
            fault = fault.group(GROUP).stream(&format!("{}.log", self.random.usize(..LOGS)));
        }
        self.tell(&format!("{fault:?}"));
        self.emulator.set_fault(fault);
    }

    fn trouble_credentials(&mut self) {
        let what = self.random.u8(..6);
        self.tell(&format!("trouble {what} of credentials"));
        match what {
            0 => self.emulator.expire_credentials(),
            1 => self.emulator.revoke_credentials(),
            2 => self.emulator.rotate_credentials(),
            3 => self.emulator.forget_tokens(),
            on => self.emulator.change(&Change { imds_off: Some(on == 4), ..Change::default() }),
        }
    }

    /// The world's clock differs from the machine's.
    fn jump(&mut self) {
        let seconds = self.random.i64(-4 * 3600..4 * 3600);
        self.tell(&format!("the clock jumps to {seconds} s from the machine's"));
        self.emulator.change(&Change { clock_skew_seconds: Some(seconds), ..Change::default() });
    }

    fn fill_disk(&mut self) {
        if let Some(disk) = &mut self.disk {
            disk.fill();
            self.tell("the state directory is full");
        }
    }

    fn free_disk(&mut self) {
        if let Some(disk) = &mut self.disk {
            disk.free();
        }
    }

    /// All trouble ends, and everything is settled.
    fn calm_down(&mut self) {
        self.tell("calm");
        self.emulator.clear_faults();
        self.emulator.rotate_credentials();
        let calm = Change { imds_off: Some(false), clock_skew_seconds: Some(0), ..Change::default() };
        self.emulator.change(&calm);
        // What waits for a minute by its own rules begins anew.
        if let Some(agent) = self.agent.take() {
            self.ends += 1;
            self.forgetful |= self.disk.as_ref().is_some_and(SmallDisk::was_full);
            agent.kill();
        }
        self.start();
        let count = self.written.iter().map(Vec::len).sum::<usize>() as u64;
        let agent = self.agent.as_ref().expect("just started");
        let report = agent.wait_within(CALM_WITHIN, "everything is settled", |report| {
            let events = report.events();
            events.read >= count && events.pending == 0
        });
        report.assert_ledger_adds_up();
        assert_eq!(report.events().read, count, "the ledger goes on over restarts:\n{report:#}");
    }

    fn judge(&self) {
        let letters = self.dead_letters();
        let mut fates_of_all = BTreeMap::new();
        let mut again = 0;
        let mut most = self.lost_replies + self.ends * MOST_IN_FLIGHT;
        let mut largest = 1;
        for (log, written) in self.written.iter().enumerate() {
            let stream = format!("{log}.log");
            let mut arrived = self.emulator.lines(GROUP, &stream);
            // The agent's own words for what went into the dead letters.
            arrived.retain(|line| !line.starts_with("[imds-agent: gap: "));
            let arrived_or_dead: Vec<String> = {
                let there: HashSet<&String> = arrived.iter().collect();
                let dead = letters.iter().filter(|line| !there.contains(line) && written.contains(line));
                arrived.iter().chain(dead).cloned().collect()
            };
            let fates = fates(&arrived_or_dead, written);
            again += fates.again;
            largest = largest.max(self.emulator.largest_put(GROUP, &stream));
            fates_of_all.insert(stream, Fates { again: 0, out_of_order: 0, ..fates });
        }
        most *= largest;
        assert!(fates_of_all.values().all(|fates| *fates == Fates::default()), "{fates_of_all:?}");
        assert!(self.forgetful || again <= most, "{again} lines arrived again; {most} can have been in flight");
    }

    fn dead_letters(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.host.path("state/dead-letters.jsonl")).unwrap_or_default();
        let message = |line: &str| {
            let letter: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no dead letter: {line:.300}"));
            letter["event"]["message"].as_str().expect("text").to_owned()
        };
        text.lines().map(message).collect()
    }
}
