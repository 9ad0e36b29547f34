//! How the engine behaves, with real files and answers given by hand; nothing here waits.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::logs::creation::Created;
use crate::logs::dead_letters;
use crate::logs::sink::{Accepted, Failure, Kind};
use crate::logs::{Compression, FileSettings, SourceState, StartAt, Tally, Target};
use crate::template::Template;

/// An engine over a directory of logs, a clock that a test moves, and a CloudWatch that accepts what it is told to.
pub(super) struct Bench {
    pub(super) logs: TempDir,
    pub(super) state: TempDir,
    pub(super) engine: Engine,
    pub(super) settings: Settings,
    pub(super) now: Moment,
    pub(super) puts: VecDeque<(usize, Ticket, Vec<String>)>,
    pub(super) created: Vec<usize>,
    pub(super) delivered: Vec<String>,
    /// What the engine is told next.
    pub(super) events: Vec<Event>,
}

pub(super) fn settings(logs: &Path, log_stream: &str) -> Settings {
    let name = |text| Template::parse(text, &[]).expect("a name");
    let table = FileSettings::new(vec![format!("{}/*.log", logs.display())], Target::new(name("g"), name(log_stream)));
    Settings { files: vec![table], ..Settings::default() }
}

pub(super) fn open(settings: &Settings, state: &Path, quarantine: Quarantine) -> Engine {
    Engine::open(settings.clone(), state, None, Arc::default(), quarantine).expect("opens")
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with_stream("{file_name}")
    }

    pub(super) fn with_stream(log_stream: &str) -> Self {
        let logs = tempfile::tempdir().expect("a directory");
        let state = tempfile::tempdir().expect("a directory");
        let settings = settings(logs.path(), log_stream);
        let engine = open(&settings, state.path(), Quarantine::new());
        let now = Moment { boot: Duration::from_secs(1000), wall: Timestamp::now() };
        let (puts, created, delivered, events) = (VecDeque::new(), Vec::new(), Vec::new(), Vec::new());
        Self { logs, state, engine, settings, now, puts, created, delivered, events }
    }

    pub(super) fn append(&self, name: &str, text: &str) {
        self.append_bytes(name, text.as_bytes());
    }

    pub(super) fn append_bytes(&self, name: &str, bytes: &[u8]) {
        let path = self.logs.path().join(name);
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("opens");
        file.write_all(bytes).expect("writes");
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now.boot += time;
        self.now.wall += SignedDuration::try_from(time).expect("short");
    }

    /// Lets time pass and the engine look and act; what it puts waits for an answer.
    pub(super) fn go(&mut self, time: Duration) {
        self.pass(time);
        let mut events = std::mem::take(&mut self.events);
        loop {
            let step = self.engine.step(std::mem::take(&mut events), self.now);
            for action in step.actions {
                match action {
                    Action::Put { stream, ticket, body, .. } => {
                        self.puts.push_back((stream, ticket, messages(&body)));
                    }
                    Action::Create { stream, .. } => {
                        self.created.push(stream);
                        events.push(Event::Created { stream, result: Ok(Created::default()) });
                    }
                    Action::CheckGroup { .. } | Action::Journal(_) | Action::Sync(_) => {}
                }
            }
            if events.is_empty() && step.wake_at > self.now.boot {
                return;
            }
        }
    }

    /// Reads what is there, and puts it once it has lingered.
    pub(super) fn put(&mut self) {
        self.go(Duration::from_secs(1));
        self.go(Duration::from_secs(1));
    }

    /// Leaves the events of our own out that say what is missing.
    pub(super) fn leave_out_gaps(&mut self) {
        self.delivered.retain(|message| !message.starts_with("[imds-agent: gap"));
    }

    /// Answers the oldest put.
    pub(super) fn answer(&mut self, result: Result<Accepted, Failure>) {
        let (stream, ticket, events) = self.puts.pop_front().expect("a put");
        if result.is_ok() {
            self.delivered.extend(events);
        }
        let step = self.engine.step(vec![Event::Answer { stream, ticket, result }], self.now);
        for action in step.actions {
            match action {
                Action::Put { stream, ticket, body, .. } => self.puts.push_back((stream, ticket, messages(&body))),
                Action::Create { stream, .. } => {
                    self.created.push(stream);
                    let created = Event::Created { stream, result: Ok(Created::default()) };
                    for action in self.engine.step(vec![created], self.now).actions {
                        let Action::Put { stream, ticket, body, .. } = action else { continue };
                        self.puts.push_back((stream, ticket, messages(&body)));
                    }
                }
                Action::CheckGroup { .. } | Action::Journal(_) | Action::Sync(_) => {}
            }
        }
    }

    /// Surveys, and accepts everything until nothing comes any more.
    pub(super) fn deliver_all(&mut self) {
        for _ in 0..4 {
            self.go(SURVEY_INTERVAL);
            while !self.puts.is_empty() {
                self.answer(Ok(Accepted::default()));
                self.go(Duration::from_millis(300));
            }
        }
        self.assert_balanced();
    }

    /// The settings are what counts from now on, while everything goes on.
    pub(super) fn reload(&mut self) {
        let settings = Arc::new(self.settings.clone());
        self.events.push(Event::Settings { settings, elsewhere: false });
        self.go(Duration::ZERO);
    }

    /// What SIGKILL leaves: the files.
    pub(super) fn kill_and_restart(&mut self) {
        self.puts.clear();
        self.engine = open(&self.settings, self.state.path(), Quarantine::new());
    }

    /// Makes every file older than the checkpoint's last write, as after a long run.
    pub(super) fn outdate_everything(&self) {
        let checkpoint = OpenOptions::new().append(true).open(self.state.path().join("checkpoint")).expect("opens");
        let later = std::time::SystemTime::now() + Duration::from_hours(1);
        checkpoint.set_modified(later).expect("a file of ours");
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.engine.snapshot(self.now)
    }

    pub(super) fn dropped(&self, reason: &str) -> u64 {
        self.snapshot().ledger.events.dropped.get(reason).copied().unwrap_or_default()
    }

    pub(super) fn assert_balanced(&self) {
        let snapshot = self.snapshot();
        let balanced =
            |tally: &Tally| tally.read == tally.delivered + tally.pending + tally.dropped.values().sum::<u64>();
        let ledgers = snapshot.sources.iter().map(|source| &source.ledger).chain([&snapshot.ledger]);
        for ledger in ledgers {
            assert!(balanced(&ledger.events) && balanced(&ledger.bytes), "{ledger:?}");
        }
    }

    pub(super) fn dead_letters(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.state.path().join("dead-letters.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

fn messages(body: &[u8]) -> Vec<String> {
    let request: Value = serde_json::from_slice(body).expect("JSON");
    let events = request["logEvents"].as_array().expect("events");
    events.iter().map(|event| event["message"].as_str().expect("text").to_owned()).collect()
}

fn failure(kind: Kind) -> Failure {
    Failure { kind, message: format!("{kind:?}"), hint: None, retry_after: None }
}

#[test]
fn lines_arrive_once_and_in_order_and_the_ledger_says_so() {
    let mut bench = Bench::new();
    bench.append("a.log", "one\n\ntwo\r\nthr");
    bench.deliver_all();
    bench.append("a.log", "ee\n");
    bench.deliver_all();
    assert_eq!(bench.delivered, ["one", "two", "three"]);
    let ledger = bench.snapshot().ledger;
    assert_eq!((ledger.events.read, ledger.events.delivered, bench.dropped("empty")), (4, 3, 1));
    assert_eq!(ledger.bytes.read, 16);
}

#[test]
fn the_checkpoint_moves_only_after_the_answer() {
    let mut bench = Bench::new();
    bench.append("a.log", "one\n");
    bench.put();
    assert_eq!(bench.puts.len(), 1);
    bench.kill_and_restart();
    bench.deliver_all();
    assert_eq!(bench.delivered, ["one"]);
    bench.kill_and_restart();
    bench.deliver_all();
    assert_eq!(bench.delivered, ["one"]);
    assert_eq!(bench.snapshot().ledger.events.delivered, 1);
}

#[test]
fn a_renamed_file_is_read_to_its_end_and_the_new_one_from_its_beginning() {
    let mut bench = Bench::new();
    bench.append("a.log", "one\n");
    bench.deliver_all();
    bench.append("a.log", "two\n");
    fs::rename(bench.logs.path().join("a.log"), bench.logs.path().join("a.log.1")).expect("renames");
    bench.append("a.log", "three\n");
    bench.deliver_all();
    bench.delivered.sort();
    assert_eq!(bench.delivered, ["one", "three", "two"]);
    assert_eq!(bench.snapshot().sources.len(), 1);
}

#[test]
fn a_last_line_without_an_end_is_delivered_when_its_file_was_left() {
    let mut bench = Bench::new();
    bench.append("a.log", "one\npartial");
    bench.deliver_all();
    assert_eq!(bench.delivered, ["one"]);
    fs::rename(bench.logs.path().join("a.log"), bench.logs.path().join("a.log.1")).expect("renames");
    bench.deliver_all();
    assert_eq!(bench.delivered, ["one", "partial"]);
}

#[test]
fn a_deleted_file_is_read_to_its_end() {
    let mut bench = Bench::new();
    bench.append("a.log", "one\n");
    bench.deliver_all();
    let mut writer = OpenOptions::new().append(true).open(bench.logs.path().join("a.log")).expect("opens");
    fs::remove_file(bench.logs.path().join("a.log")).expect("removes");
    writer.write_all(b"two\n").expect("writes");
    bench.deliver_all();
    assert_eq!(bench.delivered, ["one", "two"]);
    assert_eq!(bench.snapshot().sources[0].state, SourceState::Finished);
}

#[test]
fn a_truncated_file_is_read_from_its_beginning_even_if_it_grew_past_the_position() {
    let mut bench = Bench::new();
    bench.append("a.log", "one\ntwo\n");
    bench.deliver_all();
    File::create(bench.logs.path().join("a.log")).expect("truncates");
    bench.append("a.log", "drei\nvier\nfünf\n");
    bench.deliver_all();
    assert_eq!(bench.delivered, ["one", "two", "drei", "vier", "fünf"]);
}

#[test]
fn what_was_cut_off_before_it_was_read_is_a_counted_gap() {
    let mut bench = Bench::new();
    bench.append("a.log", "one\n");
    bench.go(Duration::from_secs(1));
    bench.append("a.log", "partial");
    bench.deliver_all();
    File::create(bench.logs.path().join("a.log")).expect("truncates");
    bench.deliver_all();
    assert_eq!(bench.snapshot().ledger.bytes.dropped.get("gap"), Some(&7));
}

#[test]
fn a_file_renamed_while_we_were_stopped_is_finished_from_its_position() {
    let mut bench = Bench::new();
    bench.append("a.log", "one\n");
    bench.deliver_all();
    bench.append("a.log", "two\n");
    fs::rename(bench.logs.path().join("a.log"), bench.logs.path().join("a.log.1")).expect("renames");
    bench.append("a.log", "three\n");
    bench.kill_and_restart();
    bench.deliver_all();
    bench.delivered.sort();
    assert_eq!(bench.delivered, ["one", "three", "two"]);
}

#[test]
fn a_file_that_appeared_while_we_were_stopped_is_read_from_its_beginning() {
    let mut bench = Bench::new();
    bench.append("a.log", "one\n");
    bench.deliver_all();
    bench.append("b.log", "two\n");
    bench.kill_and_restart();
    bench.deliver_all();
    assert_eq!(bench.delivered, ["one", "two"]);
}

#[test]
fn a_file_truncated_while_we_were_stopped_is_read_from_its_beginning_however_old_it_is() {
    let mut bench = Bench::new();
    bench.append("a.log", "one\ntwo\n");
    bench.deliver_all();
    File::create(bench.logs.path().join("a.log")).expect("truncates");
    bench.append("a.log", "drei\nvier\nfünf\n");
    bench.outdate_everything();
    bench.kill_and_restart();
    bench.deliver_all();
    assert_eq!(bench.delivered, ["one", "two", "drei", "vier", "fünf"]);
}

#[test]
fn a_file_truncated_just_before_a_kill_is_read_from_its_beginning() {
    let mut bench = Bench::new();
    bench.append("a.log", "one\ntwo\n");
    bench.deliver_all();
    File::create(bench.logs.path().join("a.log")).expect("truncates");
    bench.append("a.log", "drei\nvier\nfünf\n");
    bench.go(SURVEY_INTERVAL);
    bench.outdate_everything();
    bench.kill_and_restart();
    bench.deliver_all();
    assert_eq!(bench.delivered, ["one", "two", "drei", "vier", "fünf"]);
}

#[test]
fn an_old_file_that_was_never_followed_is_read_from_its_end() {
    let mut bench = Bench::new();
    bench.append("a.log", "one\n");
    bench.deliver_all();
    bench.append("b.log", "old\n");
    bench.outdate_everything();
    bench.kill_and_restart();
    bench.deliver_all();
    bench.append("b.log", "new\n");
    bench.deliver_all();
    assert_eq!(bench.delivered, ["one", "new"]);
}

#[test]
fn start_at_end_skips_what_was_there_and_nothing_that_comes() {
    let mut bench = Bench::new();
    bench.settings.files[0].start_at = StartAt::End;
    bench.engine = open(&bench.settings, bench.state.path(), Quarantine::new());
    bench.append("a.log", "old\n");
    bench.deliver_all();
    bench.append("a.log", "new\n");
    bench.append("b.log", "later\n");
    bench.deliver_all();
    bench.delivered.sort();
    assert_eq!(bench.delivered, ["later", "new"]);
}

#[test]
fn a_missing_stream_is_created_and_nothing_is_lost() {
    let mut bench = Bench::new();
    bench.append("a.log", "one\n");
    bench.put();
    bench.answer(Err(failure(Kind::NotFound)));
    assert_eq!(bench.created.len(), 1);
    bench.deliver_all();
    assert_eq!(bench.delivered, ["one"]);
}

#[test]
fn a_denied_stream_holds_its_data_and_never_delays_the_others() {
    let mut bench = Bench::new();
    for name in ["a.log", "b.log"] {
        bench.append(name, &format!("{name}\n"));
    }
    bench.put();
    bench.answer(Err(failure(Kind::Denied)));
    bench.answer(Ok(Accepted::default()));
    bench.append("a.log", "more\n");
    bench.append("b.log", "more\n");
    bench.go(SURVEY_INTERVAL);
    bench.go(Duration::from_secs(1));
    assert_eq!(bench.puts.len(), 1);
    bench.answer(Ok(Accepted::default()));
    assert_eq!(bench.delivered, ["b.log", "more"]);
    assert_eq!(bench.snapshot().ledger.events.pending, 1);
    bench.assert_balanced();
    for _ in 0..7 {
        bench.go(SURVEY_INTERVAL);
    }
    bench.go(Duration::from_secs(1));
    bench.answer(Ok(Accepted::default()));
    bench.deliver_all();
    assert_eq!(bench.delivered, ["b.log", "more", "a.log", "more"]);
}

#[test]
fn what_cloudwatch_refuses_becomes_a_dead_letter_before_the_checkpoint_moves() {
    let mut bench = Bench::new();
    bench.append("a.log", "old\nold too\ngood\n");
    bench.put();
    bench.answer(Ok(Accepted { too_old_end: Some(2), ..Accepted::default() }));
    bench.assert_balanced();
    let letters = bench.dead_letters();
    assert_eq!(letters.iter().map(|letter| &letter["event"]["message"]).collect::<Vec<_>>(), ["old", "old too"]);
    assert_eq!((bench.dropped("too_old"), bench.snapshot().ledger.events.delivered), (2, 1));
}

#[test]
fn only_the_poison_event_becomes_a_dead_letter() {
    let mut bench = Bench::new();
    bench.append("a.log", "a\nb\npoison\nc\n");
    bench.put();
    while let Some((_, _, messages)) = bench.puts.front() {
        let poisoned = messages.contains(&"poison".to_owned());
        bench.answer(if poisoned { Err(failure(Kind::InvalidEvents)) } else { Ok(Accepted::default()) });
    }
    assert_eq!(bench.delivered, ["a", "b", "c"]);
    assert_eq!(bench.dead_letters()[0]["event"]["message"], "poison");
    assert_eq!(bench.dropped("invalid"), 1);
    bench.assert_balanced();
}

#[test]
fn a_dead_letter_that_can_not_be_written_holds_the_checkpoint() {
    let mut bench = Bench::new();
    fs::create_dir(bench.state.path().join("dead-letters.jsonl")).expect("blocks the file");
    bench.append("a.log", "old\n");
    bench.put();
    bench.answer(Ok(Accepted { too_old_end: Some(1), ..Accepted::default() }));
    assert_eq!(bench.snapshot().sources[0].position, 0);
    assert!(bench.snapshot().warnings.iter().any(|warning| warning.code == "dead_letters_unwritable"));
    fs::remove_dir(bench.state.path().join("dead-letters.jsonl")).expect("unblocks");
    bench.go(TICK);
    assert_eq!((bench.snapshot().sources[0].position, bench.dropped("too_old")), (4, 1));
}

#[test]
fn a_quarantined_record_is_passed_over_and_its_neighbours_are_delivered() {
    let mut bench = Bench::new();
    bench.append("a.log", "one\nevil\ntwo\n");
    bench.engine = open(&bench.settings, bench.state.path(), Quarantine::from([(1, 4)]));
    bench.deliver_all();
    assert_eq!(bench.delivered[..2], ["one", "two"]);
    assert!(bench.delivered[2].contains("1 event, 5 bytes of /"), "the stream says it: {:?}", bench.delivered);
    assert_eq!(bench.dead_letters()[0]["event"]["message"], "evil");
}

#[test]
fn a_name_that_is_not_known_yet_makes_its_file_wait_and_then_it_flows() {
    let mut bench = Bench::with_stream("{instance_id}/{file_name}");
    bench.append("a.log", "one\n");
    bench.go(SURVEY_INTERVAL);
    let source = &bench.snapshot().sources[0];
    assert_eq!(source.state, SourceState::Waiting);
    assert!(source.last_error.as_ref().expect("says why").message.contains("{instance_id}"));
    let names = Names::from_iter([("instance_id".to_owned(), "i-1".to_owned())]);
    bench.engine.step(vec![Event::Names(names)], bench.now);
    bench.deliver_all();
    assert_eq!(bench.delivered, ["one"]);
    assert_eq!(bench.snapshot().destinations[0].log_stream.as_ref(), "i-1/a.log");
}

#[test]
fn state_of_another_instance_is_set_aside_and_its_files_are_new_to_us() {
    let mut bench = Bench::new();
    let names = |id: &str| Event::Names(Names::from_iter([("instance_id".to_owned(), id.to_owned())]));
    bench.append("a.log", "one\n");
    bench.engine.step(vec![names("i-old")], bench.now);
    bench.deliver_all();
    bench.kill_and_restart();
    bench.engine.step(vec![names("i-new")], bench.now);
    bench.deliver_all();
    assert_eq!(bench.delivered, ["one", "one"]);
    assert!(bench.state.path().join("checkpoint.of-i-old").exists());
    assert!(bench.snapshot().warnings.iter().any(|warning| warning.code == "state_set_aside"));
}

#[test]
fn several_files_of_one_stream_share_its_batches() {
    let mut bench = Bench::with_stream("all");
    bench.append("a.log", "a\n");
    bench.append("b.log", "b\n");
    bench.deliver_all();
    bench.delivered.sort();
    assert_eq!(bench.delivered, ["a", "b"]);
    assert_eq!((bench.snapshot().destinations.len(), bench.snapshot().sources.len()), (1, 2));
}

#[test]
fn buffers_stay_below_their_limit_whatever_waits() {
    for compression in [Compression::None, Compression::Gzip] {
        let mut bench = crowded(compression);
        for _ in 0..20 {
            bench.go(Duration::from_secs(1));
            answer_below_limit(&mut bench);
        }
        bench.deliver_all();
        assert_eq!(bench.delivered.len(), 200_000);
    }
}

#[test]
fn buffers_stay_below_their_limit_also_when_bodies_are_packed_from_now_on() {
    let mut bench = crowded(Compression::None);
    bench.go(Duration::from_secs(1));
    while bench.snapshot().buffers_bytes < bench.settings.memory_limit / 2 {
        bench.answer(Ok(Accepted::default()));
    }
    bench.settings.compression = Compression::Gzip;
    bench.reload();
    answer_below_limit(&mut bench);
    bench.deliver_all();
    assert_eq!(bench.delivered.len(), 200_000);
}

/// Twenty files with more in each than there is memory for.
fn crowded(compression: Compression) -> Bench {
    let mut bench = Bench::new();
    (bench.settings.memory_limit, bench.settings.compression) = (4 << 20, compression);
    bench.engine = open(&bench.settings, bench.state.path(), Quarantine::new());
    let line = format!("{}\n", "x".repeat(199));
    for index in 0..20 {
        bench.append(&format!("{index}.log"), &line.repeat(10_000));
    }
    bench
}

/// Accepts all that was put, and what follows on that.
fn answer_below_limit(bench: &mut Bench) {
    let assert_below = |bench: &Bench| {
        let (held, limit) = (bench.snapshot().buffers_bytes, bench.settings.memory_limit);
        assert!(held <= limit, "{held} bytes, {limit} may be held");
    };
    assert_below(bench);
    while !bench.puts.is_empty() {
        bench.answer(Ok(Accepted::default()));
        assert_below(bench);
    }
}

#[test]
fn stopping_sends_what_was_read_and_reads_no_more() {
    let mut bench = Bench::new();
    bench.append("a.log", "one\n");
    bench.go(Duration::from_millis(10));
    let step = bench.engine.step(vec![Event::Stop], bench.now);
    assert!(!step.drained);
    assert!(matches!(step.actions[..], [Action::Put { .. }]));
    let Some(Action::Put { stream, ticket, .. }) = step.actions.into_iter().next() else { panic!("a put") };
    bench.append("a.log", "two\n");
    let answer = Event::Answer { stream, ticket, result: Ok(Accepted::default()) };
    assert!(bench.engine.step(vec![answer], bench.now).drained);
    assert_eq!(bench.snapshot().ledger.events.delivered, 1);
}

#[test]
fn what_was_dropped_is_said_in_the_stream_once() {
    let mut bench = Bench::new();
    bench.append("a.log", "old\nold too\ngood\n");
    bench.put();
    bench.answer(Ok(Accepted { too_old_end: Some(2), ..Accepted::default() }));
    bench.delivered.clear();
    bench.deliver_all();
    let [said] = &bench.delivered[..] else { panic!("one event: {:?}", bench.delivered) };
    assert!(said.starts_with("[imds-agent: gap: 2 events, 12 bytes of /"), "{said}");
    assert!(said.contains("a.log dropped (too_old), "), "{said}");
    let events = bench.snapshot().ledger.events;
    assert_eq!((events.read, events.delivered, bench.dropped("too_old")), (3, 1, 2), "it is nobody's record");
    bench.kill_and_restart();
    bench.deliver_all();
    assert_eq!(bench.delivered.len(), 1);
}

#[test]
fn a_gap_is_said_again_after_a_kill_that_came_before_the_answer() {
    let mut bench = Bench::new();
    bench.append("a.log", "one\n");
    bench.go(Duration::from_secs(1));
    bench.append("a.log", "partial");
    bench.deliver_all();
    File::create(bench.logs.path().join("a.log")).expect("truncates");
    // A copy of what was cut off is looked for first.
    for _ in 0..9 {
        if bench.puts.is_empty() {
            bench.go(SURVEY_INTERVAL);
        }
    }
    assert_eq!(bench.puts.len(), 1, "it is on its way");
    bench.kill_and_restart();
    bench.deliver_all();
    assert_eq!(bench.delivered.len(), 2);
    assert!(bench.delivered[1].starts_with("[imds-agent: gap: 7 bytes of /"), "{:?}", bench.delivered);
}

#[test]
fn a_gap_that_cloudwatch_refuses_is_not_said_again_and_is_no_dead_letter() {
    let mut bench = Bench::new();
    bench.append("a.log", "old\n");
    bench.put();
    bench.answer(Ok(Accepted { too_old_end: Some(1), ..Accepted::default() }));
    bench.go(Duration::from_secs(5));
    bench.answer(Ok(Accepted { too_old_end: Some(1), ..Accepted::default() }));
    bench.go(Duration::from_mins(1));
    assert_eq!((bench.puts.len(), bench.dead_letters().len()), (0, 1));
}

#[test]
fn a_destination_shows_its_ledger_and_how_far_behind_it_is() {
    let mut bench = Bench::new();
    bench.append("a.log", "one\n\ntwo\n");
    bench.put();
    bench.pass(Duration::from_secs(3));
    let place = &bench.snapshot().destinations[0];
    assert_eq!((place.ledger.events.read, place.ledger.events.pending), (3, 3));
    assert!(place.lag_seconds >= 3.0, "{}", place.lag_seconds);
    bench.answer(Ok(Accepted::default()));
    let place = &bench.snapshot().destinations[0];
    assert_eq!((place.ledger.events.delivered, place.ledger.events.dropped["empty"]), (2, 1));
    assert_eq!((place.ledger.bytes.read, place.ledger.bytes.pending), (9, 0));
    assert!(place.lag_seconds.abs() < f64::EPSILON);
}

/// Two letters of different times in the dead letters, moved to be sent again.
fn with_letters_to_send_again() -> Bench {
    let mut bench = Bench::new();
    bench.append("a.log", "one\ntwo\nthree\n");
    bench.put();
    bench.answer(Ok(Accepted { too_new_start: Some(1), ..Accepted::default() }));
    let moved = dead_letters::resend(bench.state.path(), &dead_letters::Selection::default(), bench.now.wall);
    assert_eq!(moved.expect("moves").events, 2);
    bench
}

#[test]
fn letters_that_are_sent_again_are_a_source_of_their_own_and_gone_when_they_arrived() {
    let mut bench = with_letters_to_send_again();
    bench.deliver_all();
    bench.leave_out_gaps();
    assert_eq!(bench.delivered, ["one", "two", "three", "two", "three"]);
    let snapshot = bench.snapshot();
    let source = snapshot.sources.iter().find(|source| &*source.name == "dead_letters").expect("shown");
    assert_eq!((&*source.kind, source.ledger.events.delivered, source.ledger.events.read), ("dead_letters", 2, 2));
    assert_eq!((snapshot.dead_letters.events, bench.dropped("too_new")), (0, 2));
    assert_eq!(fs::read_dir(bench.state.path().join("resend")).expect("there").count(), 0, "all is sent");
    bench.kill_and_restart();
    bench.deliver_all();
    assert_eq!(bench.delivered.len(), 5);
}

#[test]
fn letters_that_were_on_their_way_at_a_kill_are_sent_again_and_no_others() {
    let mut bench = with_letters_to_send_again();
    bench.go(SURVEY_INTERVAL);
    bench.kill_and_restart();
    bench.deliver_all();
    assert_eq!(bench.delivered.iter().filter(|message| **message == "three").count(), 2, "{:?}", bench.delivered);
    let account = bench.snapshot().sources.into_iter().find(|source| &*source.name == "dead_letters").expect("shown");
    assert_eq!(account.ledger.events.delivered, 2);
}

#[test]
fn letters_moved_after_a_power_loss_are_not_taken_for_those_that_were_sent_before_it() {
    let mut bench = with_letters_to_send_again();
    bench.go(SURVEY_INTERVAL);
    while !bench.puts.is_empty() {
        bench.answer(Ok(Accepted::default()));
    }
    let checkpoint = bench.state.path().join("checkpoint");
    let synced = fs::read(&checkpoint).expect("there");
    bench.deliver_all();
    assert_eq!(fs::read_dir(bench.state.path().join("resend")).expect("there").count(), 0, "all is sent");
    fs::write(checkpoint, synced).expect("writable");
    bench.kill_and_restart();
    bench.append("a.log", "four\nfive\n");
    bench.put();
    bench.answer(Ok(Accepted { too_new_start: Some(0), ..Accepted::default() }));
    bench.delivered.clear();
    let moved = dead_letters::resend(bench.state.path(), &dead_letters::Selection::default(), bench.now.wall);
    assert_eq!(moved.expect("moves").events, 2);
    bench.deliver_all();
    bench.leave_out_gaps();
    assert_eq!(bench.delivered, ["four", "five"]);
}

#[test]
fn a_letter_that_is_refused_again_is_a_dead_letter_again() {
    let mut bench = with_letters_to_send_again();
    bench.go(SURVEY_INTERVAL);
    while let Some((_, _, messages)) = bench.puts.front() {
        let all = Accepted { too_new_start: Some(0), ..Accepted::default() };
        let again = messages.contains(&"two".to_owned());
        bench.answer(Ok(if again { all } else { Accepted::default() }));
    }
    assert_eq!((bench.dead_letters().len(), bench.snapshot().dead_letters.events), (2, 2));
    assert_eq!(bench.dead_letters()[0]["source"], "dead_letters");
}

#[test]
fn how_many_letters_were_rolled_off_survives_a_restart() {
    let mut bench = Bench::new();
    // The file is full, and three letters are in the old one.
    fs::write(bench.state.path().join("dead-letters.jsonl"), vec![b'x'; 8 << 20]).expect("writable");
    fs::write(bench.state.path().join("dead-letters.jsonl.old"), "1\n2\n3\n").expect("writable");
    bench.kill_and_restart();
    bench.append("a.log", "one\n");
    bench.put();
    bench.answer(Ok(Accepted { too_new_start: Some(0), ..Accepted::default() }));
    assert_eq!(bench.snapshot().dead_letters.rolled_off, 3);
    bench.kill_and_restart();
    assert_eq!(bench.snapshot().dead_letters.rolled_off, 3);
}

#[path = "framing_tests.rs"]
mod framing_tests;
