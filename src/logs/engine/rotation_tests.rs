//! Rotation in every way, while the agent runs, while it is stopped, and killed between: every line exactly once, or a
//! counted gap where the bytes really are gone. Real files, answers by hand; nothing here waits.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::tests::{Bench, open};
use super::*;
use crate::logs::checkpoint::Record;
use crate::logs::disk::faults::{self, Condition};
use crate::logs::source::feed::Feed;
use crate::logs::{SourceState, StartAt};

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.logs.path().join(name)
    }

    /// Begins anew with other settings.
    fn restart(&mut self) {
        self.engine = open(&self.settings, self.state.path(), Quarantine::new());
    }

    fn lost(&self) -> u64 {
        self.snapshot().ledger.bytes.dropped.get("gap").copied().unwrap_or_default()
    }

    fn warns_of(&self, code: &str) -> bool {
        self.snapshot().warnings.iter().any(|warning| warning.code == code)
    }

    fn spills(&self) -> usize {
        fs::read_dir(self.state.path().join("spool/files")).map_or(0, Iterator::count)
    }

    fn open_files(&self) -> usize {
        self.engine.feeds.files().filter(|(_, file)| file.file().is_some()).count()
    }
}

/// What the agent does while a file is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agent {
    /// It looks on.
    Runs,
    /// It was stopped in order, all it had read being delivered, and is started afterwards.
    Stopped,
    /// It was killed with what it had read on its way, and is started afterwards.
    Killed,
}

const ALWAYS: [Agent; 3] = [Agent::Runs, Agent::Stopped, Agent::Killed];
const AWAY: [Agent; 2] = [Agent::Stopped, Agent::Killed];

/// One case of the matrix: a log with two lines delivered and two more that are not, and what happens to it.
struct Case {
    bench: Bench,
    expected: Vec<String>,
    next: usize,
}

impl Case {
    fn new(pattern: &str) -> Self {
        let mut bench = Bench::new();
        bench.settings.files[0].include = vec![bench.path(pattern).display().to_string()];
        bench.restart();
        Self { bench, expected: Vec::new(), next: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bench.path(name)
    }

    /// Appends lines that all differ.
    fn write(&mut self, name: &str, count: usize) {
        for _ in 0..count {
            let line = format!("line {} of {name}", self.next);
            self.next += 1;
            self.bench.append(name, &format!("{line}\n"));
            self.expected.push(line);
        }
    }

    /// Two lines are delivered and two more written; the agent is away from here on, or not.
    fn begin(&mut self, name: &str, agent: Agent) {
        self.write(name, 2);
        self.bench.deliver_all();
        self.write(name, 2);
        match agent {
            Agent::Runs | Agent::Stopped => {}
            // What was read is on its way, and will never be answered.
            Agent::Killed => self.bench.put(),
        }
    }

    /// Two lines are written to a new file, seen, and on their way.
    fn begin_again(&mut self, name: &str) {
        self.write(name, 2);
        self.bench.go(SURVEY_INTERVAL);
        self.bench.put();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("renames");
    }

    fn copy(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).expect("copies");
    }

    fn truncate(&self, name: &str) {
        File::create(self.path(name)).expect("truncates");
    }

    /// As `gzip` does: another file beside it, then the plain one is removed.
    fn compress(&self, name: &str) {
        fs::write(self.path(&format!("{name}.gz")), self.packed(name)).expect("writable");
        fs::remove_file(self.path(name)).expect("removes");
    }

    /// What a file is when it is compressed.
    fn packed(&self, name: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&fs::read(self.path(name)).expect("readable")).expect("packs");
        encoder.finish().expect("packs")
    }

    /// The agent has looked around twice, and written that down; too soon after each other for giving up to wait.
    fn be_looked_at(&mut self, name: &str) {
        for _ in 0..2 {
            self.write(name, 1);
            self.bench.pass(SURVEY_INTERVAL);
            self.bench.put();
            while !self.bench.puts.is_empty() {
                self.bench.answer(Ok(crate::logs::sink::Accepted::default()));
            }
        }
    }

    /// The agent looks around, and what it reads is on its way; several times, so long apart that nothing is waited for.
    fn look_around(&mut self) {
        for _ in 0..5 {
            self.bench.pass(Duration::from_secs(20));
            self.bench.put();
        }
    }

    /// The agent goes on, or comes back; every line has to arrive exactly once.
    fn assert_complete(&mut self, agent: Agent) {
        self.finish(agent);
        let mut delivered = self.bench.delivered.clone();
        delivered.sort();
        self.expected.sort();
        assert_eq!(delivered, self.expected, "{agent:?}");
        assert_eq!(self.bench.lost(), 0, "{agent:?}");
    }

    fn finish(&mut self, agent: Agent) {
        if agent != Agent::Runs {
            self.bench.kill_and_restart();
        }
        self.bench.deliver_all();
        self.bench.deliver_all();
        // And once more from the checkpoint: nothing may come again.
        let before = self.bench.delivered.len();
        self.bench.kill_and_restart();
        self.bench.deliver_all();
        assert_eq!(self.bench.delivered.len(), before, "{agent:?}: {:?}", &self.bench.delivered[before..]);
    }
}

/// Births are told apart by the ticks of the kernel's clock, some milliseconds. A file's own may be finer than these, and
/// so lie behind the tick that comes next.
fn wait_until_older_than_now(path: &Path) {
    let born = fs::metadata(path).and_then(|metadata| metadata.created()).expect("births are known here");
    while survey::file_time() <= born {
        std::thread::yield_now();
    }
}

/// A log `app.log`, followed by name or by a pattern that means its rotated names, too.
const PATTERNS: [&str; 2] = ["app.log", "app.log*"];

#[test]
fn renamed_once_and_made_anew() {
    for pattern in PATTERNS {
        for agent in ALWAYS {
            let mut case = Case::new(pattern);
            case.begin("app.log", agent);
            case.rename("app.log", "app.log.1");
            case.write("app.log", 2);
            case.assert_complete(agent);
        }
    }
}

#[test]
fn renamed_several_times_between_two_looks() {
    for pattern in PATTERNS {
        for agent in ALWAYS {
            let mut case = Case::new(pattern);
            case.begin("app.log", agent);
            for _ in 0..3 {
                for generation in (1..4).rev() {
                    let name = format!("app.log.{generation}");
                    if case.path(&name).exists() {
                        case.rename(&name, &format!("app.log.{}", generation + 1));
                    }
                }
                case.rename("app.log", "app.log.1");
                case.write("app.log", 2);
            }
            case.assert_complete(agent);
        }
    }
}

#[test]
fn renamed_to_a_dated_name() {
    for agent in ALWAYS {
        let mut case = Case::new("app.log");
        case.begin("app.log", agent);
        case.rename("app.log", "app.log-20261121");
        case.write("app.log", 2);
        case.assert_complete(agent);
    }
}

#[test]
fn renamed_to_a_name_with_the_date_before_the_extension_and_compressed() {
    for pattern in ["app.log", "*.log"] {
        for agent in ALWAYS {
            for dated in ["app-20261121.log", "app.2026-11-21.0.log"] {
                let mut case = Case::new(pattern);
                case.begin("app.log", agent);
                case.rename("app.log", dated);
                case.compress(dated);
                case.write("app.log", 2);
                case.assert_complete(agent);
            }
        }
    }
}

#[test]
fn copied_to_a_name_with_the_date_before_the_extension_and_truncated() {
    for pattern in ["app.log", "*.log"] {
        for agent in ALWAYS {
            let mut case = Case::new(pattern);
            case.begin("app.log", agent);
            case.copy("app.log", "app-20261121.log");
            case.truncate("app.log");
            case.write("app.log", 1);
            case.assert_complete(agent);
        }
    }
}

#[test]
fn what_nobody_knows_and_no_pattern_means_is_not_read_for_a_date_in_its_name() {
    let mut case = Case::new("app.log");
    case.begin("app.log", Agent::Runs);
    case.bench.deliver_all();
    case.bench.append("app-20261121.log", "of something else\n");
    case.assert_complete(Agent::Runs);
}

#[test]
fn generations_that_nobody_saw_are_read_in_the_order_in_which_they_were_written() {
    for pattern in ["app.log", "*.log"] {
        for agent in AWAY {
            let mut case = Case::new(pattern);
            case.begin("app.log", agent);
            for last in 1..=5_u32 {
                wait_until_older_than_now(&case.path("app.log"));
                for number in (1..last).rev() {
                    case.rename(&format!("app.log.{number}"), &format!("app.log.{}", number + 1));
                }
                case.rename("app.log", "app.log.1");
                case.write("app.log", 2);
            }
            let expected = case.expected.clone();
            case.finish(agent);
            assert_eq!(case.bench.delivered, expected, "{pattern} {agent:?}");
        }
    }
}

#[test]
fn a_generation_that_fills_more_than_a_batch_is_read_to_its_end_before_the_next_one() {
    let mut case = Case::new("app.log");
    case.begin("app.log", Agent::Stopped);
    let long = "x".repeat(200);
    for (line, rotated) in [("older", "app.log.2"), ("newer", "app.log.1")] {
        case.bench.append("app.log", &format!("{long} {line}\n").repeat(12_000));
        wait_until_older_than_now(&case.path("app.log"));
        case.rename("app.log", rotated);
    }
    case.bench.kill_and_restart();
    case.bench.deliver_all();
    let delivered = &case.bench.delivered[4..];
    assert_eq!(delivered.len(), 24_000);
    assert!(delivered[..12_000].iter().all(|line| line.ends_with("older")));
}

#[test]
fn renamed_to_a_name_without_its_own_in_front() {
    for agent in ALWAYS {
        let mut case = Case::new("app.log");
        case.begin("app.log", agent);
        case.rename("app.log", "old-app");
        case.write("app.log", 2);
        case.assert_complete(agent);
    }
}

#[test]
fn renamed_to_a_name_that_sorts_before_its_own_and_that_the_pattern_means() {
    for agent in ALWAYS {
        let mut case = Case::new("*.log");
        case.begin("b.log", agent);
        case.rename("b.log", "a.log");
        case.write("a.log", 1);
        case.write("b.log", 2);
        case.assert_complete(agent);
    }
}

#[test]
fn a_new_file_each_day() {
    for agent in ALWAYS {
        let mut case = Case::new("app-*.log");
        case.begin("app-20261121.log", agent);
        case.write("app-20261122.log", 2);
        case.write("app-20261121.log", 1);
        case.assert_complete(agent);
    }
}

#[test]
fn copied_and_truncated() {
    for pattern in PATTERNS {
        for agent in ALWAYS {
            let mut case = Case::new(pattern);
            case.begin("app.log", agent);
            case.copy("app.log", "app.log.1");
            case.truncate("app.log");
            case.write("app.log", 1);
            case.assert_complete(agent);
        }
    }
}

#[test]
fn copied_truncated_and_grown_past_the_position() {
    for pattern in PATTERNS {
        for agent in ALWAYS {
            let mut case = Case::new(pattern);
            case.begin("app.log", agent);
            case.copy("app.log", "app.log.1");
            case.truncate("app.log");
            case.write("app.log", 20);
            case.assert_complete(agent);
        }
    }
}

#[test]
fn copied_truncated_and_the_copy_compressed() {
    for pattern in PATTERNS {
        for agent in ALWAYS {
            let mut case = Case::new(pattern);
            case.begin("app.log", agent);
            case.copy("app.log", "app.log.1");
            case.truncate("app.log");
            case.compress("app.log.1");
            case.write("app.log", 20);
            case.assert_complete(agent);
        }
    }
}

#[test]
fn renamed_and_compressed_at_once() {
    for pattern in PATTERNS {
        for agent in ALWAYS {
            let mut case = Case::new(pattern);
            case.begin("app.log", agent);
            case.rename("app.log", "app.log.1");
            case.compress("app.log.1");
            case.write("app.log", 2);
            case.assert_complete(agent);
        }
    }
}

#[test]
fn written_to_by_who_had_it_open_after_it_was_compressed() {
    for pattern in PATTERNS {
        let mut case = Case::new(pattern);
        // More than what a file is recognised by at its beginning.
        case.write("app.log", 100);
        case.begin("app.log", Agent::Runs);
        let mut writer = OpenOptions::new().append(true).open(case.path("app.log")).expect("there");
        case.rename("app.log", "app.log.1");
        case.compress("app.log.1");
        writer.write_all(b"late\n").expect("still open");
        case.expected.push("late".to_owned());
        case.write("app.log", 2);
        // What is only just born when the agent is killed may come twice: nobody has it open then.
        wait_until_older_than_now(&case.path("app.log.1.gz"));
        case.assert_complete(Agent::Runs);
    }
}

/// Examined before its rest is looked at.
#[test]
fn written_to_by_who_had_it_open_just_before_it_was_compressed() {
    for pattern in PATTERNS {
        let mut case = Case::new(pattern);
        case.begin("app.log", Agent::Runs);
        case.rename("app.log", "app.log.1");
        case.bench.go(SURVEY_INTERVAL);
        case.write("app.log.1", 1);
        case.compress("app.log.1");
        case.bench.events.push(Event::Overflow);
        case.bench.go(Duration::from_millis(300));
        case.assert_complete(Agent::Runs);
    }
}

#[test]
fn compressed_at_the_next_rotation() {
    for pattern in PATTERNS {
        for agent in ALWAYS {
            let mut case = Case::new(pattern);
            case.write("app.log", 2);
            case.bench.deliver_all();
            case.rename("app.log", "app.log.1");
            case.begin("app.log", agent);
            case.rename("app.log.1", "app.log.2");
            case.compress("app.log.2");
            case.rename("app.log", "app.log.1");
            case.write("app.log", 2);
            case.assert_complete(agent);
        }
    }
}

#[test]
fn compressed_bit_by_bit_while_somebody_looks() {
    for pattern in PATTERNS {
        for agent in ALWAYS {
            let mut case = Case::new(pattern);
            case.begin("app.log", agent);
            case.rename("app.log", "app.log.1");
            case.write("app.log", 1);
            let packed = case.packed("app.log.1");
            if agent != Agent::Runs {
                case.bench.kill_and_restart();
            }
            for length in [0, 5, 30, packed.len() - 1, packed.len()] {
                fs::write(case.path("app.log.1.gz"), &packed[..length]).expect("writable");
                case.bench.deliver_all();
            }
            fs::remove_file(case.path("app.log.1")).expect("removes");
            case.assert_complete(agent);
        }
    }
}

/// The checkpoint has to know what is read in it, not the packed bytes: those are of no use after the kill.
#[test]
fn compressed_and_killed_when_reading_that_had_just_begun() {
    for pattern in PATTERNS {
        for steps in 1..8 {
            let mut case = Case::new(pattern);
            case.begin("app.log", Agent::Killed);
            case.rename("app.log", "app.log.1");
            case.compress("app.log.1");
            case.write("app.log", 2);
            case.bench.kill_and_restart();
            for _ in 0..steps {
                case.bench.engine.step(Vec::new(), case.bench.now);
            }
            case.assert_complete(Agent::Killed);
        }
    }
}

/// Killed at any moment, with the compressed file deleted before it is back, it has to know how much is lost.
#[test]
fn compressed_and_known_in_its_whole_size_while_that_is_read() {
    let mut case = Case::new("app.log");
    case.begin("app.log", Agent::Killed);
    let size = fs::metadata(case.path("app.log")).expect("there").len();
    case.rename("app.log", "app.log.1");
    case.compress("app.log.1");
    case.write("app.log", 1);
    case.bench.kill_and_restart();
    let mut seen = 0;
    for _ in 0..8 {
        case.bench.engine.step(Vec::new(), case.bench.now);
        let files: Vec<_> = case.bench.engine.feeds.files().collect();
        let archives = files.iter().filter(|(_, file)| file.archive.is_some());
        for id in archives.map(|(feed, _)| feed.id).collect::<Vec<_>>() {
            let state = case.bench.engine.feeds.get_mut(id).and_then(Feed::state);
            let Some(Record::File(state)) = state else { panic!("a file") };
            assert_eq!(state.size, size);
            seen += 1;
        }
    }
    assert!(seen > 1, "it was read in steps");
    case.assert_complete(Agent::Runs);
}

/// However far the agent has come with the compressed file.
#[test]
fn compressed_and_renamed_again_while_that_is_read() {
    for pattern in PATTERNS {
        for steps in 1..8 {
            let mut case = Case::new(pattern);
            case.begin("app.log", Agent::Stopped);
            case.rename("app.log", "app.log.1");
            case.compress("app.log.1");
            case.write("app.log", 2);
            case.bench.restart();
            for _ in 0..steps {
                case.bench.engine.step(Vec::new(), case.bench.now);
            }
            case.rename("app.log.1.gz", "app.log.2.gz");
            case.rename("app.log", "app.log.1");
            case.write("app.log", 1);
            case.assert_complete(Agent::Runs);
        }
    }
}

/// However far the agent had come with the compressed file: what of it is known has to be found again under its next name.
#[test]
fn compressed_unseen_and_killed_while_that_is_read_and_renamed_again_before_the_restart() {
    for pattern in PATTERNS {
        for (steps, renamed) in (1..12).flat_map(|steps| [(steps, true), (steps, false)]) {
            let mut case = Case::new(pattern);
            case.write("app.log", 2);
            case.bench.deliver_all();
            case.rename("app.log", "app.log.1");
            // Its successor is made and packed before anybody sees it.
            case.write("app.log", 3);
            case.rename("app.log.1", "app.log.2");
            case.rename("app.log", "app.log.1");
            case.compress("app.log.1");
            case.write("app.log", 1);
            case.bench.pass(SURVEY_INTERVAL);
            for _ in 0..steps {
                case.bench.engine.step(Vec::new(), case.bench.now);
                case.bench.pass(Duration::from_millis(500));
            }
            if renamed {
                case.rename("app.log.2", "app.log.3");
                case.rename("app.log.1.gz", "app.log.2.gz");
                case.rename("app.log", "app.log.1");
                case.write("app.log", 1);
            }
            case.assert_complete(Agent::Killed);
        }
    }
}

#[test]
fn compressed_unseen_and_found_when_what_it_was_packed_from_is_there_still() {
    for pattern in PATTERNS {
        let mut case = Case::new(pattern);
        case.write("app.log", 2);
        case.bench.deliver_all();
        case.rename("app.log", "app.log.3");
        case.write("app.log", 2);
        case.rename("app.log", "app.log.2");
        case.write("app.log", 1);
        fs::write(case.path("app.log.2.gz"), case.packed("app.log.2")).expect("writable");
        case.bench.kill_and_restart();
        case.look_around();
        fs::remove_file(case.path("app.log.2")).expect("removes");
        case.assert_complete(Agent::Runs);
    }
}

/// One is examined at a time: the other one waits when its table goes.
#[test]
fn compressed_and_not_examined_yet_when_its_table_is_taken_away_and_given_back() {
    let mut case = Case::new("app.log");
    case.write("app.log", 2);
    case.bench.put();
    case.rename("app.log", "app.log.1");
    case.begin_again("app.log");
    case.rename("app.log.1", "app.log.2");
    case.rename("app.log", "app.log.1");
    case.compress("app.log.1");
    case.compress("app.log.2");
    case.bench.kill_and_restart();
    case.bench.pass(SURVEY_INTERVAL);
    case.bench.engine.step(Vec::new(), case.bench.now);
    let tables = std::mem::take(&mut case.bench.settings.files);
    case.bench.reload();
    case.bench.settings.files = tables;
    case.bench.reload();
    case.assert_complete(Agent::Runs);
}

/// What stands at the path by then is another one, which has to be read as well.
#[test]
fn compressed_unseen_and_renamed_while_that_is_examined_and_the_next_one_takes_its_name() {
    for pattern in PATTERNS {
        for steps in 1..4 {
            let mut case = Case::new(pattern);
            case.begin("app.log", Agent::Stopped);
            // More than one look at it sees.
            case.write("app.log.1", 100);
            case.compress("app.log.1");
            case.bench.kill_and_restart();
            for _ in 0..steps {
                case.bench.engine.step(Vec::new(), case.bench.now);
            }
            case.rename("app.log.1.gz", "app.log.2.gz");
            case.write("app.log.1", 2);
            case.compress("app.log.1");
            case.assert_complete(Agent::Runs);
        }
    }
}

/// What waits to be examined is found by the next look as well: it waits twice then.
#[test]
fn compressed_unseen_and_not_examined_yet_when_a_reload_changes_its_table() {
    for pattern in PATTERNS {
        let mut case = Case::new(pattern);
        case.begin("app.log", Agent::Stopped);
        for name in ["app.log.2", "app.log.1"] {
            case.write(name, 2);
            case.compress(name);
        }
        case.bench.kill_and_restart();
        case.bench.engine.step(Vec::new(), case.bench.now);
        case.bench.settings.files[0].backfill_limit += 1;
        case.bench.reload();
        case.assert_complete(Agent::Runs);
    }
}

/// The plain one is then a copy of which nothing is missing; it is the compressed one that is to be finished.
#[test]
fn compressed_unseen_and_read_from_that_before_it_was_clear_what_the_plain_one_is() {
    let mut case = Case::new("app.log*");
    case.write("app.log", 100);
    case.bench.deliver_all();
    case.write("app.log.1", 2);
    fs::write(case.path("app.log.1.gz"), case.packed("app.log.1")).expect("writable");
    case.bench.go(SURVEY_INTERVAL);
    case.bench.put();
    fs::remove_file(case.path("app.log.1")).expect("removes");
    case.assert_complete(Agent::Killed);
}

#[test]
fn compressed_by_one_that_pauses_after_the_first_bytes() {
    for pattern in PATTERNS {
        for agent in ALWAYS {
            let mut case = Case::new(pattern);
            case.begin("app.log", agent);
            case.rename("app.log", "app.log.1");
            case.write("app.log", 1);
            let packed = case.packed("app.log.1");
            fs::write(case.path("app.log.1.gz"), &packed[..1]).expect("writable");
            case.look_around();
            case.bench.deliver_all();
            fs::write(case.path("app.log.1.gz"), &packed).expect("writable");
            fs::remove_file(case.path("app.log.1")).expect("removes");
            case.assert_complete(agent);
        }
    }
}

#[test]
fn compressed_and_padded_later() {
    for pattern in PATTERNS {
        let mut case = Case::new(pattern);
        case.begin("app.log", Agent::Runs);
        case.rename("app.log", "app.log.1");
        case.compress("app.log.1");
        case.write("app.log", 1);
        case.bench.deliver_all();
        case.look_around();
        case.bench.append("app.log.1.gz", &"\0\n".repeat(256));
        case.look_around();
        case.assert_complete(Agent::Runs);
    }
}

#[test]
fn first_seen_under_a_rotated_name_and_compressed_under_the_next_one() {
    for agent in ALWAYS {
        let mut case = Case::new("app.log*");
        case.write("app.log", 1);
        case.write("app.log.1", 2);
        case.bench.deliver_all();
        case.rename("app.log.1", "app.log.2");
        case.compress("app.log.2");
        case.rename("app.log", "app.log.1");
        case.write("app.log", 1);
        case.assert_complete(agent);
    }
}

#[test]
fn compressed_unseen_and_whole_only_after_a_kill() {
    let mut case = Case::new("app.log");
    case.begin("app.log", Agent::Stopped);
    case.rename("app.log", "app.log.2");
    case.write("app.log", 3);
    let packed = case.packed("app.log");
    fs::remove_file(case.path("app.log")).expect("removes");
    fs::write(case.path("app.log.1.gz"), &packed[..30]).expect("writable");
    wait_until_older_than_now(&case.path("app.log.1.gz"));
    case.bench.kill_and_restart();
    case.be_looked_at("app.log");
    case.bench.append_bytes("app.log.1.gz", &packed[30..]);
    case.assert_complete(Agent::Killed);
}

#[test]
fn compressed_unseen_and_looked_at_when_much_of_it_is_written() {
    for pattern in PATTERNS {
        for agent in AWAY {
            let mut case = Case::new(pattern);
            case.begin("app.log", agent);
            case.rename("app.log", "app.log.2");
            case.write("app.log", 300);
            case.rename("app.log", "app.log.1");
            case.write("app.log", 1);
            let packed = case.packed("app.log.1");
            fs::remove_file(case.path("app.log.1")).expect("removes");
            fs::write(case.path("app.log.1.gz"), &packed[..packed.len() / 2]).expect("writable");
            case.bench.kill_and_restart();
            case.look_around();
            fs::write(case.path("app.log.1.gz"), &packed).expect("writable");
            case.assert_complete(Agent::Runs);
        }
    }
}

#[test]
fn copied_over_the_copy_before_and_truncated() {
    for pattern in PATTERNS {
        for agent in ALWAYS {
            let mut case = Case::new(pattern);
            case.begin("app.log", Agent::Runs);
            case.copy("app.log", "app.log.1");
            case.truncate("app.log");
            case.begin("app.log", agent);
            case.copy("app.log", "app.log.1");
            case.truncate("app.log");
            case.write("app.log", 1);
            case.assert_complete(agent);
        }
    }
}

/// The empty one is followed, and grows.
#[test]
fn copied_over_an_empty_copy_and_truncated() {
    for pattern in PATTERNS {
        for agent in ALWAYS {
            let mut case = Case::new(pattern);
            case.begin("app.log", agent);
            case.truncate("app.log.1");
            case.bench.go(SURVEY_INTERVAL);
            case.bench.put();
            case.copy("app.log", "app.log.1");
            case.truncate("app.log");
            case.write("app.log", 1);
            case.assert_complete(agent);
        }
    }
}

/// What nobody will ever finish is not waited for.
#[test]
fn deleted_with_bytes_unread_beside_what_was_never_finished_is_a_counted_gap() {
    for pattern in PATTERNS {
        let mut case = Case::new(pattern);
        case.begin("app.log", Agent::Killed);
        let unsent = fs::metadata(case.path("app.log")).expect("is there").len() / 2;
        fs::remove_file(case.path("app.log")).expect("removes");
        case.bench.append("app.log.1.gz", "\u{1f}");
        case.bench.kill_and_restart();
        case.look_around();
        case.bench.deliver_all();
        assert_eq!(case.bench.lost(), unsent, "{pattern}");
    }
}

#[test]
fn deleted_with_bytes_unread_while_the_agent_runs() {
    let mut case = Case::new("app.log");
    case.begin("app.log", Agent::Runs);
    fs::remove_file(case.path("app.log")).expect("removes");
    case.write("app.log", 2);
    case.assert_complete(Agent::Runs);
}

#[test]
fn deleted_with_bytes_unsent_and_killed_once_they_were_copied() {
    let mut case = Case::new("app.log");
    case.begin("app.log", Agent::Killed);
    fs::remove_file(case.path("app.log")).expect("removes");
    // The agent notices, and copies what it can't send now.
    for _ in 0..3 {
        case.bench.go(SURVEY_INTERVAL);
    }
    assert!(case.bench.spills() > 0);
    case.write("app.log", 2);
    case.assert_complete(Agent::Killed);
    assert_eq!(case.bench.spills(), 0);
}

#[test]
fn a_copy_that_can_not_be_synced_does_not_count_and_is_made_anew() {
    let mut case = Case::new("app.log");
    case.begin("app.log", Agent::Killed);
    fs::remove_file(case.path("app.log")).expect("removes");
    faults::set(Condition { unsyncable: true, ..Condition::default() });
    for _ in 0..3 {
        case.bench.go(SURVEY_INTERVAL);
    }
    assert!(case.bench.warns_of("deleted_file_not_kept"));
    faults::set(Condition::default());
    for _ in 0..3 {
        case.bench.go(SURVEY_INTERVAL);
    }
    case.write("app.log", 2);
    case.assert_complete(Agent::Killed);
}

#[test]
fn deleted_with_bytes_unread_while_the_agent_was_away_is_a_counted_gap() {
    for agent in AWAY {
        let mut case = Case::new("app.log");
        case.begin("app.log", Agent::Killed);
        if agent == Agent::Stopped {
            case.bench.engine.step(vec![Event::Stop], case.bench.now);
        }
        fs::remove_file(case.path("app.log")).expect("removes");
        let lines = case.expected.split_off(2);
        case.write("app.log", 2);
        case.bench.kill_and_restart();
        case.bench.deliver_all();
        assert!(case.bench.warns_of("file_lost"));
        case.finish(Agent::Runs);
        case.bench.leave_out_gaps();
        case.bench.delivered.sort();
        assert_eq!(case.bench.delivered, case.expected);
        let lost: usize = lines.iter().map(|line| line.len() + 1).sum();
        assert_eq!(case.bench.lost(), lost as u64, "{agent:?}");
    }
}

#[test]
fn deleted_once_all_was_delivered_is_no_gap() {
    let mut case = Case::new("app.log");
    case.write("app.log", 2);
    case.bench.deliver_all();
    fs::remove_file(case.path("app.log")).expect("removes");
    case.assert_complete(Agent::Stopped);
}

#[test]
fn truncated_without_a_copy_with_bytes_unread_is_a_counted_gap() {
    for agent in ALWAYS {
        let mut case = Case::new("app.log");
        case.write("app.log", 2);
        case.bench.deliver_all();
        case.bench.append("app.log", "unread");
        case.bench.deliver_all();
        case.truncate("app.log");
        case.write("app.log", 1);
        case.finish(agent);
        case.bench.leave_out_gaps();
        case.bench.delivered.sort();
        assert_eq!((&case.bench.delivered, case.bench.lost()), (&case.expected, 6), "{agent:?}");
    }
}

#[test]
fn truncated_with_bytes_on_their_way_at_a_kill_is_a_counted_gap() {
    let mut case = Case::new("app.log");
    case.begin("app.log", Agent::Killed);
    case.truncate("app.log");
    let lines = case.expected.split_off(2);
    case.write("app.log", 1);
    case.bench.go(SURVEY_INTERVAL);
    case.finish(Agent::Killed);
    case.bench.leave_out_gaps();
    case.bench.delivered.sort();
    let lost: usize = lines.iter().map(|line| line.len() + 1).sum();
    assert_eq!((&case.bench.delivered, case.bench.lost()), (&case.expected, lost as u64));
}

/// Cut, written to and gone from its place before the agent looked: its descriptor is the only way to the new lines.
#[test]
fn truncated_written_to_and_deleted_between_two_looks() {
    for pattern in PATTERNS {
        for made_anew in [false, true] {
            let mut case = Case::new(pattern);
            case.write("app.log", 3);
            case.bench.deliver_all();
            case.truncate("app.log");
            case.write("app.log", 1);
            fs::remove_file(case.path("app.log")).expect("removes");
            if made_anew {
                case.write("app.log", 2);
            }
            case.assert_complete(Agent::Runs);
        }
    }
}

#[test]
fn truncated_written_to_and_deleted_before_a_reload() {
    for pattern in PATTERNS {
        let mut case = Case::new(pattern);
        case.write("app.log", 3);
        case.bench.deliver_all();
        case.truncate("app.log");
        case.write("app.log", 1);
        fs::remove_file(case.path("app.log")).expect("removes");
        case.bench.reload();
        case.assert_complete(Agent::Runs);
    }
}

#[test]
fn truncated_written_to_and_renamed_between_two_looks() {
    for pattern in PATTERNS {
        for agent in ALWAYS {
            for made_anew in [false, true] {
                let mut case = Case::new(pattern);
                case.write("app.log", 3);
                wait_until_older_than_now(&case.path("app.log"));
                case.be_looked_at("app.log");
                case.truncate("app.log");
                case.write("app.log", 1);
                case.rename("app.log", "app.log.1");
                if made_anew {
                    case.write("app.log", 2);
                }
                case.assert_complete(agent);
            }
        }
    }
}

#[test]
fn rotated_twice_while_the_agent_was_away_with_a_generation_that_nobody_saw() {
    for pattern in PATTERNS {
        for agent in AWAY {
            let mut case = Case::new(pattern);
            case.begin("app.log", agent);
            case.rename("app.log", "app.log.1");
            case.write("app.log", 3);
            case.rename("app.log.1", "app.log.2");
            case.rename("app.log", "app.log.1");
            case.write("app.log", 2);
            case.assert_complete(agent);
        }
    }
}

#[test]
fn rotated_twice_while_the_agent_was_away_and_both_compressed() {
    for pattern in PATTERNS {
        for agent in AWAY {
            let mut case = Case::new(pattern);
            case.begin("app.log", agent);
            case.rename("app.log", "app.log.1");
            case.write("app.log", 3);
            case.rename("app.log.1", "app.log.2");
            case.compress("app.log.2");
            case.rename("app.log", "app.log.1");
            case.compress("app.log.1");
            case.write("app.log", 2);
            case.assert_complete(agent);
        }
    }
}

#[test]
fn made_and_rotated_before_anybody_saw_it() {
    for agent in ALWAYS {
        let mut case = Case::new("*.log");
        case.begin("a.log", agent);
        case.write("b.log", 2);
        case.rename("b.log", "b.log.1");
        case.write("b.log", 1);
        case.assert_complete(agent);
    }
}

#[test]
fn what_was_rotated_before_the_agent_came_is_not_read() {
    let mut case = Case::new("app.log");
    case.bench.append("app.log.1", "old\n");
    wait_until_older_than_now(&case.path("app.log.1"));
    case.write("app.log", 2);
    case.bench.deliver_all();
    case.bench.kill_and_restart();
    case.assert_complete(Agent::Stopped);
}

#[test]
fn made_and_rotated_unseen_to_the_place_of_an_old_file_that_was_decided_about() {
    let mut case = Case::new("app.log");
    case.bench.append("app.log.1", "old\n");
    wait_until_older_than_now(&case.path("app.log.1"));
    case.write("app.log", 2);
    case.bench.deliver_all();
    // What is followed is looked for, also in the old file: that is no copy of it, and of no interest.
    fs::remove_file(case.path("app.log")).expect("removes");
    case.bench.kill_and_restart();
    case.bench.deliver_all();
    case.write("app.log", 2);
    case.rename("app.log.1", "app.log.2");
    case.rename("app.log", "app.log.1");
    case.write("app.log", 2);
    case.assert_complete(Agent::Runs);
}

#[test]
fn renamed_while_a_look_around_is_on_and_never_seen_at_its_place() {
    let mut case = Case::new("a/*.log");
    for directory in ["a", "b"] {
        fs::create_dir(case.path(directory)).expect("makes");
    }
    let behind = case.path("b/*.log").display().to_string();
    case.bench.settings.files[0].include.push(behind);
    case.bench.restart();
    case.write("a/first.log", 2);
    case.bench.deliver_all();
    // More than one step looks at, behind the directory that matters.
    for number in 0..5000 {
        File::create(case.path(&format!("b/{number}"))).expect("makes");
    }
    case.write("a/app.log", 2);
    wait_until_older_than_now(&case.path("a/app.log"));
    case.bench.pass(Duration::from_hours(1));
    assert!(case.bench.engine.survey(case.bench.now), "the look is not over");
    case.rename("a/app.log", "a/app.log.1");
    case.bench.deliver_all();
    case.bench.pass(Duration::from_hours(1));
    case.assert_complete(Agent::Runs);
}

#[test]
fn a_file_with_several_names_is_read_once_and_under_its_own() {
    let mut case = Case::new("*.log");
    case.write("real.log", 2);
    wait_until_older_than_now(&case.path("real.log"));
    std::os::unix::fs::symlink("real.log", case.path("current.log")).expect("links");
    fs::hard_link(case.path("real.log"), case.path("zweiter.log")).expect("links");
    case.bench.deliver_all();
    for _ in 0..2 {
        case.write("real.log", 1);
        case.bench.deliver_all();
        case.bench.kill_and_restart();
    }
    let sources: Vec<_> = case.bench.snapshot().sources.into_iter().map(|source| source.name).collect();
    assert!(sources.iter().all(|name| name.ends_with("real.log")), "{sources:?}");
    fs::remove_file(case.path("real.log")).expect("removes");
    case.write("zweiter.log", 2);
    case.assert_complete(Agent::Runs);
}

#[test]
fn a_link_that_leads_to_the_next_file_repeats_neither() {
    for agent in ALWAYS {
        let mut case = Case::new("*.log");
        std::os::unix::fs::symlink("a.log", case.path("current.log")).expect("links");
        case.begin("a.log", agent);
        case.write("b.log", 2);
        fs::remove_file(case.path("current.log")).expect("removes");
        std::os::unix::fs::symlink("b.log", case.path("current.log")).expect("links");
        case.assert_complete(agent);
    }
}

#[test]
fn an_inode_used_again_by_another_file_is_another_file() {
    for agent in ALWAYS {
        let mut case = Case::new("*.log");
        case.write("a.log", 2);
        case.bench.deliver_all();
        let inode = fs::metadata(case.path("a.log")).expect("is there").ino();
        // The same inode with other content, which a file system hands out again at once: here by force.
        case.rename("a.log", "b.log");
        case.truncate("b.log");
        case.write("b.log", 30);
        assert_eq!(fs::metadata(case.path("b.log")).expect("is there").ino(), inode);
        case.assert_complete(agent);
    }
}

#[test]
fn a_reload_goes_on_with_what_was_deleted() {
    let mut case = Case::new("app.log");
    case.begin("app.log", Agent::Killed);
    fs::remove_file(case.path("app.log")).expect("removes");
    case.write("app.log", 2);
    case.bench.reload();
    case.assert_complete(Agent::Runs);
}

#[test]
fn a_compressed_file_larger_than_a_stretch_is_read_to_its_end_with_little_of_the_spool() {
    let mut case = Case::new("app.log");
    case.bench.engine.budget = Budget::open(&case.bench.state.path().join("spool"), 5 << 20).expect("opens");
    case.write("app.log", 1);
    case.bench.deliver_all();
    let line = "x".repeat(500);
    let mut file = OpenOptions::new().append(true).open(case.path("app.log")).expect("opens");
    for _ in 0..40_000 {
        writeln!(file, "{line}").expect("writes");
    }
    drop(file);
    case.rename("app.log", "app.log.1");
    case.compress("app.log.1");
    case.bench.kill_and_restart();
    case.bench.engine.budget = Budget::open(&case.bench.state.path().join("spool"), 5 << 20).expect("opens");
    for _ in 0..30 {
        case.bench.deliver_all();
    }
    assert_eq!((case.bench.delivered.len(), case.bench.lost()), (40_001, 0));
    assert_eq!(case.bench.engine.budget.used(), 0);
}

#[test]
fn more_files_than_may_be_open_are_all_delivered_and_idle_ones_are_closed() {
    let mut case = Case::new("*.log");
    for index in 0..700 {
        case.write(&format!("{index}.log"), 1);
    }
    case.bench.deliver_all();
    assert!(case.bench.open_files() < 600, "{}", case.bench.open_files());
    for index in 0..700 {
        case.write(&format!("{index}.log"), 1);
        if index % 7 == 0 {
            case.rename(&format!("{index}.log"), &format!("{index}.log.1"));
            case.write(&format!("{index}.log"), 1);
        }
    }
    case.assert_complete(Agent::Runs);
    assert!(case.bench.open_files() < 600, "{}", case.bench.open_files());
}

#[test]
fn more_files_than_may_be_open_do_not_wait_for_the_next_look_around() {
    let mut case = Case::new("*.log");
    for index in 0..700 {
        case.write(&format!("{index}.log"), 1);
    }
    let patience = SURVEY_INTERVAL / 2;
    let pause = Duration::from_millis(300);
    let mut waited = Duration::ZERO;
    while case.bench.delivered.len() < 700 && waited < patience {
        case.bench.pass(pause);
        case.bench.put();
        while !case.bench.puts.is_empty() {
            case.bench.answer(Ok(crate::logs::sink::Accepted::default()));
        }
        waited += pause;
    }
    assert_eq!(case.bench.delivered.len(), 700);
}

#[test]
fn of_an_old_large_file_only_the_end_is_read_and_the_rest_is_counted() {
    let mut bench = Bench::new();
    bench.settings.files[0].start_at = StartAt::Beginning;
    bench.settings.files[0].backfill_limit = 10;
    bench.append("a.log", "one\ntwo\nthree\nfour\n");
    bench.restart();
    bench.deliver_all();
    bench.leave_out_gaps();
    assert_eq!((bench.delivered.as_slice(), bench.lost()), (["four".to_owned()].as_slice(), 14));
    assert!(bench.warns_of("backfill_limited"));
    bench.append("b.log", "a new file has no limit\n");
    bench.deliver_all();
    bench.leave_out_gaps();
    assert_eq!(bench.delivered.len(), 2);
    bench.kill_and_restart();
    bench.deliver_all();
    bench.leave_out_gaps();
    assert_eq!((bench.delivered.len(), bench.lost()), (2, 14));
}

#[test]
fn what_a_wildcard_names_and_is_no_file_is_a_warning_and_no_source() {
    let mut bench = Bench::new();
    std::os::unix::fs::symlink("b.log", bench.path("a.log")).expect("links");
    std::os::unix::fs::lchown(bench.path("a.log"), Some(65534), None).unwrap_or_default();
    let fifo = bench.path("c.log");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).expect("makes");
    bench.append("b.log", "one\n");
    bench.deliver_all();
    assert_eq!(bench.delivered, ["one"]);
    let snapshot = bench.snapshot();
    assert!(snapshot.sources.iter().all(|source| source.state == SourceState::Running), "{:?}", snapshot.sources);
    assert!(bench.warns_of("files_passed_over"));
    fs::remove_file(&fifo).expect("removes");
    fs::remove_file(bench.path("a.log")).expect("removes");
    bench.go(SURVEY_INTERVAL);
    assert!(!bench.warns_of("files_passed_over"));
}

#[test]
fn a_permission_granted_later_is_picked_up() {
    use std::os::unix::fs::PermissionsExt;
    if rustix::process::geteuid().is_root() {
        // Root reads whatever its mode is.
        return;
    }
    let mut bench = Bench::new();
    bench.append("a.log", "one\n");
    let path = bench.path("a.log");
    let allow = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
    allow(0o000);
    bench.go(SURVEY_INTERVAL);
    allow(0o644);
    bench.deliver_all();
    assert_eq!(bench.delivered, ["one"]);
}

#[test]
fn a_file_that_grows_without_a_hint_is_polled_where_nobody_tells() {
    let mut bench = Bench::new();
    bench.append("a.log", "one\n");
    bench.deliver_all();
    bench.append("a.log", "two\n");
    bench.go(Duration::from_secs(2));
    bench.go(Duration::from_secs(1));
    assert_eq!(bench.puts.len(), 1);
}

#[test]
fn lines_that_came_just_before_a_file_was_packed_and_the_agent_killed_are_read_from_the_archive() {
    let mut case = Case::new("app.log*");
    case.bench.append("app.log", "");
    // It is known to be empty, and that it grew is not written down before the next second.
    case.bench.go(SURVEY_INTERVAL);
    case.write("app.log", 3);
    case.rename("app.log", "app.log.1");
    fs::write(case.path("app.log.1.gz"), case.packed("app.log.1")).expect("writable");
    // Another table is a reason to look around at once.
    case.bench.settings.files[0].exclude = vec!["*.swp".to_owned()];
    case.bench.reload();
    case.bench.kill_and_restart();
    fs::remove_file(case.path("app.log.1")).expect("removes");
    case.bench.deliver_all();
    assert_eq!(case.bench.delivered, case.expected);
}
