//! How the journal becomes events, with a journal and a journalctl of the tests' own, and answers given by hand; nothing
//! here waits.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::logs::creation::Created;
use crate::logs::engine::{Action, Event, Quarantine};
use crate::logs::framing::{self, Budget, Pattern, Sample};
use crate::logs::sink::{Accepted, Failure, Kind};
use crate::logs::source::journal::query::From;
use crate::logs::{JournalFormat, Settings, SourceState, StartAt, Target};
use crate::template::{Names, Template};

/// One entry: its number, its unit, what it says.
type Written = (u64, &'static str, String);

/// What a journalctl of the tests does when it is told to read.
struct Running {
    arguments: Vec<String>,
    /// The number of the next entry to look at.
    next: u64,
    /// Told to read, and has nothing.
    waits: bool,
    /// How many entries are still to come, where that was said.
    lines: Option<usize>,
}

struct Bench {
    state: TempDir,
    settings: Settings,
    engine: Engine,
    now: Moment,
    journal: Vec<Written>,
    readers: BTreeMap<ReaderId, Running>,
    delivered: BTreeMap<String, Vec<String>>,
    /// Streams that nothing may be put to.
    denied: Vec<String>,
    broken: Option<&'static str>,
    /// Whether nobody is told where the journal ends.
    is_endless: bool,
    started: Vec<Vec<String>>,
    /// Puts are not answered, and wait here.
    hangs: Option<Vec<Action>>,
}

fn template(text: &str) -> Template {
    Template::parse(text, &[]).expect("a name")
}

fn table(log_stream: &str) -> JournalSettings {
    let target = Target::new(template("g"), template(log_stream));
    JournalSettings { start_at: StartAt::Beginning, ..JournalSettings::new(target) }
}

fn open(settings: &Settings, state: &TempDir) -> Engine {
    Engine::open(settings.clone(), state.path(), None, Arc::default(), Quarantine::new()).expect("opens")
}

fn cursor(number: u64) -> Cursor {
    Cursor { series: 1, number, boot: 2, monotonic: number, realtime: 1_795_000_000_000_000 + number, content: number }
}

impl Bench {
    fn new(tables: Vec<JournalSettings>) -> Self {
        let settings = Settings { journals: tables, ..Settings::default() };
        let state = tempfile::tempdir().expect("a directory");
        let engine = open(&settings, &state);
        let wall = Timestamp::from_microsecond(1_795_000_001_000_000).expect("a time");
        let now = Moment { boot: Duration::from_secs(1000), wall };
        let (readers, delivered) = (BTreeMap::new(), BTreeMap::new());
        let (denied, started) = (Vec::new(), Vec::new());
        let (journal, broken, is_endless, hangs) = (Vec::new(), None, false, None);
        Self { state, settings, engine, now, journal, readers, delivered, denied, broken, is_endless, started, hangs }
    }

    fn write(&mut self, unit: &'static str, message: impl Into<String>) {
        let number = self.journal.last().map_or(1, |(number, ..)| number + 1);
        self.journal.push((number, unit, message.into()));
    }

    /// What a journalctl writes when it is told to.
    fn read(&mut self, id: ReaderId) -> Option<Output> {
        if let Some(reason) = self.broken {
            return Some(Output::Failed(reason.to_owned()));
        }
        let reader = self.readers.get_mut(&id)?;
        let unit = reader.arguments.iter().find_map(|argument| argument.strip_prefix("--unit="));
        if self.is_endless
            && reader.lines.is_some()
            && !reader.arguments.iter().any(|said| said.starts_with("--cursor"))
        {
            reader.waits = true;
            return None;
        }
        let next = reader.next;
        let mut text = String::new();
        // A few at a time, so that much is under way.
        let mut room = reader.lines.unwrap_or(7).min(7);
        for (number, of, message) in self.journal.iter().filter(|(number, ..)| *number >= next) {
            if room == 0 {
                break;
            }
            reader.next = number + 1;
            if unit.is_none_or(|unit| unit == *of) {
                let _ = write!(text, "__CURSOR={}\n_SYSTEMD_UNIT={of}\nMESSAGE={message}\n\n", cursor(*number));
                room -= 1;
                reader.lines = reader.lines.map(|lines| lines - 1);
            }
        }
        let follows = reader.arguments.iter().any(|argument| argument == "--follow");
        reader.waits = text.is_empty() && follows;
        match text.is_empty() {
            true if follows => None,
            true => Some(Output::End),
            false => Some(Output::Bytes(text.into())),
        }
    }

    fn start(&mut self, id: ReaderId, arguments: Vec<String>) {
        let from = arguments.iter().find_map(|argument| argument.strip_prefix("--cursor="));
        let lines = arguments.contains(&"--lines=1".to_owned()).then_some(1);
        let newest = self.journal.last().map_or(0, |(number, ..)| *number);
        let next = match (from, lines) {
            (Some(from), _) => from.parse::<Cursor>().expect("a cursor").number,
            (None, Some(_)) => newest,
            (None, None) => 0,
        };
        self.started.push(arguments.clone());
        self.readers.insert(id, Running { arguments, next, waits: false, lines });
    }

    /// Lets time pass, and everything happen that does by itself.
    fn go(&mut self, time: Duration) {
        self.now.boot += time;
        self.now.wall += SignedDuration::try_from(time).expect("short");
        let waiting: Vec<ReaderId> = self.readers.iter().filter(|(_, one)| one.waits).map(|(id, _)| *id).collect();
        let mut events: Vec<Event> = waiting
            .into_iter()
            .filter_map(|reader| Some(Event::Journal { reader, output: self.read(reader)? }))
            .collect();
        for _ in 0..100_000 {
            let step = self.engine.step(std::mem::take(&mut events), self.now);
            for action in step.actions {
                events.extend(self.act(action));
            }
            if events.is_empty() && step.wake_at > self.now.boot {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// Other tables, while everything goes on.
    fn reload(&mut self, tables: Vec<JournalSettings>) {
        self.settings.journals = tables;
        let settings = Arc::new(self.settings.clone());
        let step = self.engine.step(vec![Event::Settings { settings, elsewhere: false }], self.now);
        self.act_on(step.actions);
        self.go(Duration::ZERO);
    }

    /// What hung is answered.
    fn let_go(&mut self) {
        let hung = self.hangs.take().unwrap_or_default();
        self.act_on(hung);
        self.go(Duration::ZERO);
    }

    fn act_on(&mut self, actions: Vec<Action>) {
        let mut events: Vec<Event> = actions.into_iter().filter_map(|action| self.act(action)).collect();
        while !events.is_empty() {
            let step = self.engine.step(std::mem::take(&mut events), self.now);
            events.extend(step.actions.into_iter().filter_map(|action| self.act(action)));
        }
    }

    fn act(&mut self, action: Action) -> Option<Event> {
        if let (Some(hung), Action::Put { .. }) = (&mut self.hangs, &action) {
            hung.push(action);
            return None;
        }
        match action {
            Action::Journal(Order::Start { reader, arguments }) => {
                self.start(reader, arguments);
                Some(Event::Journal { reader, output: self.read(reader)? })
            }
            Action::Journal(Order::Read(reader)) => Some(Event::Journal { reader, output: self.read(reader)? }),
            Action::Journal(Order::Stop(reader)) => {
                self.readers.remove(&reader);
                None
            }
            Action::Put { stream, ticket, log_stream, body, .. } => {
                if self.denied.contains(&log_stream.to_string()) {
                    let message = "no logs:PutLogEvents".to_owned();
                    let failure = Failure { kind: Kind::Denied, message, hint: None, retry_after: None };
                    return Some(Event::Answer { stream, ticket, result: Err(failure) });
                }
                let body: Value = serde_json::from_slice(&body).expect("JSON");
                let events = body["logEvents"].as_array().expect("a list");
                let messages = events.iter().map(|event| event["message"].as_str().expect("text").to_owned());
                self.delivered.entry(log_stream.to_string()).or_default().extend(messages);
                Some(Event::Answer { stream, ticket, result: Ok(Accepted::default()) })
            }
            Action::Create { stream, .. } => Some(Event::Created { stream, result: Ok(Created::default()) }),
            Action::CheckGroup { .. } | Action::Sync(_) => None,
        }
    }

    /// Long enough for everything that can be delivered.
    fn settle(&mut self) {
        for _ in 0..40 {
            self.go(Duration::from_secs(3));
        }
        let ledger = self.engine.snapshot(self.now).ledger.events;
        assert_eq!(ledger.read, ledger.delivered + ledger.pending + ledger.dropped.values().sum::<u64>());
    }

    /// What SIGKILL leaves: the files.
    fn kill(&mut self) {
        self.readers.clear();
        self.hangs = None;
        self.engine = open(&self.settings, &self.state);
    }

    fn delivered(&self, stream: &str) -> &[String] {
        self.delivered.get(stream).map_or(&[], Vec::as_slice)
    }

    fn gaps(&self) -> u64 {
        self.engine.snapshot(self.now).ledger.events.dropped.get("gap").copied().unwrap_or(0)
    }
}

fn numbered(what: &str, numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|number| format!("{what} {number}")).collect()
}

#[test]
fn what_stands_there_and_what_comes_is_delivered_once_and_in_order() {
    let mut bench = Bench::new(vec![table("all")]);
    for line in numbered("line", 0..100) {
        bench.write("a.service", line);
    }
    bench.settle();
    for line in numbered("line", 100..150) {
        bench.write("a.service", line);
    }
    bench.settle();
    assert_eq!(bench.delivered("all"), numbered("line", 0..150));
}

#[test]
fn each_unit_has_a_stream_and_one_that_is_denied_holds_up_none() {
    let mut bench = Bench::new(vec![table("{unit}")]);
    bench.denied.push("bad.service".to_owned());
    let long = "x".repeat(40_000);
    for number in 0..200 {
        bench.write("bad.service", format!("bad {number} {long}"));
        bench.write("good.service", format!("good {number}"));
    }
    bench.settle();
    assert_eq!(bench.delivered("good.service"), numbered("good", 0..200));
    assert!(bench.engine.buffers() < 4 << 20);
    bench.denied.clear();
    bench.settle();
    let numbers: Vec<&str> = bench.delivered("bad.service").iter().map(|line| &line[..line.len() - 40_001]).collect();
    assert_eq!(numbers, numbered("bad", 0..200));
}

#[test]
fn tables_with_one_target_have_budgets_of_their_own() {
    let budget = Some(Budget { per_day: 1024, sample: Sample::default() });
    let of = |unit: &str| {
        let framing = framing::Settings { budget, ..framing::Settings::default() };
        JournalSettings { units: vec![unit.to_owned()], framing, ..table("all") }
    };
    let mut bench = Bench::new(vec![of("a.service"), of("b.service")]);
    bench.write("a.service", "a".repeat(1000));
    bench.write("b.service", "b".repeat(100));
    bench.settle();
    bench.kill();
    bench.write("a.service", "a".repeat(100));
    bench.write("b.service", "b".repeat(900));
    bench.settle();
    let mut sent: Vec<(&str, usize)> = bench.delivered("all").iter().map(|line| (&line[..1], line.len())).collect();
    sent.retain(|(of, _)| *of != "[");
    sent.sort_unstable();
    assert_eq!(sent, [("a", 1000), ("b", 100), ("b", 900)]);
}

#[test]
fn after_a_kill_it_goes_on_where_it_was() {
    let mut bench = Bench::new(vec![table("{unit}"), table("all")]);
    for number in 0..300 {
        bench.write(if number % 3 == 0 { "a.service" } else { "b.service" }, format!("line {number}"));
    }
    bench.settle();
    bench.kill();
    bench.write("b.service", "line 300");
    bench.settle();
    assert_eq!(bench.delivered("all"), numbered("line", 0..301));
    assert_eq!(bench.delivered("a.service").len() + bench.delivered("b.service").len(), 301);
}

#[test]
fn entries_that_were_removed_unread_are_a_gap_that_the_stream_tells_of() {
    let mut bench = Bench::new(vec![table("all")]);
    for line in numbered("line", 0..20) {
        bench.write("a.service", line);
    }
    bench.settle();
    bench.kill();
    for line in numbered("line", 20..50) {
        bench.write("a.service", line);
    }
    bench.journal.drain(..45);
    bench.settle();
    bench.go(Duration::from_secs(10));
    bench.settle();
    assert_eq!(bench.gaps(), 25);
    let (told, lines): (Vec<_>, Vec<_>) = bench.delivered("all")[20..].iter().partition(|line| line.starts_with('['));
    assert!(matches!(told[..], [one] if one.starts_with("[imds-agent: gap: 25 events")), "{told:?}");
    assert_eq!(lines, numbered("line", 45..50).iter().collect::<Vec<_>>());
    bench.kill();
    bench.settle();
    assert_eq!(bench.gaps(), 25, "a gap is told of once");
}

/// Whose checkpoint says that a.service was left behind: its second line is not delivered, b.service's is.
fn left_behind() -> Bench {
    let mut bench = Bench::new(vec![table("{unit}")]);
    bench.write("a.service", "a 0");
    bench.write("b.service", "b 0");
    bench.settle();
    bench.denied.push("a.service".to_owned());
    bench.write("a.service", "a 1");
    bench.write("b.service", "b 1");
    bench.settle();
    bench.kill();
    bench.denied.clear();
    bench.write("b.service", "b 2");
    bench.write("a.service", "a 2");
    bench.is_endless = true;
    bench
}

#[test]
fn a_feed_that_was_helped_beyond_a_gap_gets_nothing_twice_when_its_table_comes_there() {
    let mut bench = left_behind();
    bench.journal.drain(..5);
    bench.settle();
    assert_eq!((bench.delivered("a.service").len(), bench.gaps()), (3, 1), "a 0, the gap, and a 2");
    bench.is_endless = false;
    bench.settle();
    let of = |unit| -> Vec<&str> {
        bench.delivered(unit).iter().map(String::as_str).filter(|line| !line.starts_with('[')).collect()
    };
    assert_eq!((of("a.service"), of("b.service")), (vec!["a 0", "a 2"], vec!["b 0", "b 1"]));
    assert_eq!(bench.gaps(), 2, "and one is b.service's");
}

#[test]
fn a_feed_that_was_helped_beyond_what_its_table_has_seen_gets_nothing_twice_after_a_kill() {
    let mut bench = left_behind();
    bench.settle();
    assert_eq!(bench.delivered("a.service"), numbered("a", 0..3));
    bench.kill();
    bench.is_endless = false;
    bench.settle();
    assert_eq!(bench.delivered("a.service"), numbered("a", 0..3));
    assert_eq!(bench.delivered("b.service"), numbered("b", 0..3));
}

#[test]
fn what_was_removed_before_anything_was_delivered_is_a_gap_too() {
    let mut bench = Bench::new(vec![table("all")]);
    bench.hangs = Some(Vec::new());
    for line in numbered("line", 0..10) {
        bench.write("a.service", line);
    }
    bench.settle();
    bench.kill();
    bench.journal.drain(..5);
    bench.settle();
    assert_eq!(bench.gaps(), 5);
    assert_eq!(bench.delivered("all")[..5], numbered("line", 5..10));
}

#[test]
fn entries_that_were_removed_in_front_of_a_reader_that_runs_are_a_gap() {
    let mut bench = Bench::new(vec![table("all")]);
    bench.write("a.service", "line 0");
    bench.settle();
    for line in numbered("line", 1..20) {
        bench.write("a.service", line);
    }
    bench.journal.drain(..11);
    bench.settle();
    assert_eq!(bench.gaps(), 10);
    bench.kill();
    bench.settle();
    assert_eq!(bench.gaps(), 10, "a gap is told of once");
    let lines: Vec<&String> = bench.delivered("all").iter().filter(|line| !line.starts_with('[')).collect();
    assert!(lines.into_iter().eq(&[numbered("line", 0..1), numbered("line", 11..20)].concat()));
}

#[test]
fn numbers_that_were_never_given_are_no_gap_and_a_journal_full_of_such_holes_is_read_on() {
    let mut bench = Bench::new(vec![table("all")]);
    bench.write("a.service", "line 0");
    bench.settle();
    bench.started.clear();
    for number in 1..100 {
        bench.journal.push((number * 5, "a.service", format!("line {number}")));
    }
    bench.go(Duration::ZERO);
    assert!(bench.started.len() < 50, "{} were started", bench.started.len());
    bench.settle();
    assert_eq!((bench.delivered("all"), bench.gaps()), (&numbered("line", 0..100)[..], 0));
}

#[test]
fn a_journal_that_was_emptied_is_a_gap_when_something_stands_there_again() {
    let mut quiet = table("quiet");
    quiet.units = vec!["quiet.service".to_owned()];
    let mut bench = Bench::new(vec![quiet]);
    bench.write("quiet.service", "once");
    bench.settle();
    bench.kill();
    bench.journal.clear();
    bench.go(Duration::ZERO);
    bench.journal.push((30, "noise.service", "noise".to_owned()));
    bench.go(RENEW);
    bench.settle();
    assert_eq!(bench.gaps(), 1);
}

#[test]
fn what_came_in_another_series_of_numbers_while_a_table_was_read_is_not_asked_for_again() {
    let mut table = Table::new(1, "all".to_owned(), &table("all"), true);
    let later = Cursor { series: 2, boot: 3, ..cursor(9) };
    (table.tip, table.newest) = (Some(later), Some(cursor(5)));
    table.saw_all_to_the_end();
    assert_eq!(table.tip, Some(later));
    table.newest = Some(Cursor { series: 3, boot: 4, ..cursor(11) });
    table.saw_all_to_the_end();
    assert_eq!(table.tip, table.newest, "a quiet table's place moves on");
}

#[test]
fn where_nothing_tells_which_of_two_places_stands_first_the_earlier_by_the_clock_is_gone_back_to() {
    let mut table = Table::new(1, "all".to_owned(), &table("{unit}"), true);
    let (seen, helped) = (cursor(5), Cursor { series: 2, boot: 3, ..cursor(9) });
    table.tip = Some(seen);
    assert!(table.join_at(Some(helped)));
    assert_eq!(table.from(), From::Cursor(seen));
    table.tip = Some(Cursor { series: 3, boot: 4, ..cursor(11) });
    assert!(table.join_at(Some(helped)));
    assert_eq!(table.from(), From::Cursor(seen), "the earlier of what two feeds need");
}

#[test]
fn a_quiet_filter_does_not_stay_where_the_journal_is_vacuumed() {
    let mut quiet = table("quiet");
    quiet.units = vec!["quiet.service".to_owned()];
    let mut bench = Bench::new(vec![quiet]);
    bench.write("quiet.service", "once");
    bench.settle();
    for line in numbered("noise", 0..1000) {
        bench.write("noise.service", line);
    }
    bench.go(RENEW);
    bench.settle();
    bench.kill();
    bench.journal.drain(..1000);
    bench.write("quiet.service", "twice");
    bench.settle();
    assert_eq!((bench.delivered("quiet"), bench.gaps()), (&["once".to_owned(), "twice".to_owned()][..], 0));
}

#[test]
fn nothing_of_before_is_shipped_where_the_end_was_asked_for() {
    let mut bench = Bench::new(vec![JournalSettings { start_at: StartAt::End, ..table("all") }]);
    bench.write("a.service", "before");
    bench.settle();
    bench.write("a.service", "after");
    bench.settle();
    bench.kill();
    bench.settle();
    assert_eq!(bench.delivered("all"), ["after"]);
}

#[test]
fn a_journal_that_cannot_be_read_is_shown_and_tried_again() {
    let mut bench = Bench::new(vec![table("all")]);
    bench.broken = Some("No journal files were opened due to insufficient permissions.");
    bench.write("a.service", "line");
    bench.go(Duration::from_millis(1));
    let source = bench.engine.snapshot(bench.now).sources.remove(0);
    assert_eq!((&*source.kind, &*source.name, source.state), ("journal", "all", SourceState::Failed));
    let hint = source.last_error.and_then(|fault| fault.hint).expect("a hint");
    assert!(hint.contains("systemd-journal"), "{hint}");
    assert!(bench.started.len() < 3, "it does not spin");
    bench.broken = None;
    bench.settle();
    assert_eq!(bench.delivered("all"), ["line"]);
    assert_eq!(bench.engine.snapshot(bench.now).sources[0].state, SourceState::Running);
}

#[test]
fn a_changed_table_goes_on_where_it_was() {
    let mut bench = Bench::new(vec![table("all")]);
    for line in numbered("line", 0..20) {
        bench.write("a.service", line);
    }
    bench.settle();
    let format = JournalFormat::Json { fields: vec!["MESSAGE".to_owned()] };
    bench.settings.journals = vec![table("new"), JournalSettings { priority: Some(7), format, ..table("all") }];
    bench.settings.journals[0].start_at = StartAt::End;
    bench.write("a.service", "line 20");
    bench.kill();
    bench.settle();
    assert_eq!(bench.delivered("all").last().map(String::as_str), Some(r#"{"MESSAGE":"line 20"}"#));
    assert_eq!(bench.delivered("all").len(), 21);
    assert_eq!(bench.delivered("new"), ["line 20"], "a new table begins where the others were left");
}

#[test]
fn at_a_reload_only_what_changed_is_started_again_and_goes_on_where_it_was_when_nothing_is_on_its_way_any_more() {
    let mut bench = Bench::new(vec![table("a"), table("b")]);
    for line in numbered("line", 0..20) {
        bench.write("a.service", line);
    }
    bench.settle();
    bench.hangs = Some(Vec::new());
    bench.write("a.service", "line 20");
    bench.settle();
    bench.started.clear();
    let readers: Vec<ReaderId> = bench.readers.keys().copied().collect();
    bench.reload(vec![table("c"), table("b")]);
    assert_eq!((bench.readers.len(), bench.started.len()), (1, 0), "one table waits, the other does not notice");
    assert!(bench.readers.keys().all(|reader| readers.contains(reader)));
    bench.write("a.service", "line 21");
    bench.let_go();
    bench.settle();
    let lines = numbered("line", 0..22);
    assert_eq!((bench.delivered("a"), bench.delivered("c")), (&lines[..21], &lines[21..]));
    assert_eq!(bench.delivered("b"), lines);
}

#[test]
fn a_journals_table_that_is_removed_and_comes_back_goes_on_where_it_was_and_so_does_one_split_by_units() {
    let mut bench = Bench::new(vec![table("a")]);
    bench.write("a.service", "line 0");
    bench.settle();
    bench.hangs = Some(Vec::new());
    bench.write("a.service", "line 1");
    bench.settle();
    bench.reload(Vec::new());
    bench.write("a.service", "line 2");
    bench.reload(vec![table("a")]);
    bench.let_go();
    bench.settle();
    assert_eq!(bench.delivered("a"), numbered("line", 0..3), "it came back while something was on its way");
    bench.reload(Vec::new());
    bench.write("a.service", "line 3");
    bench.settle();
    assert!(bench.readers.is_empty());
    bench.reload(vec![table("a")]);
    bench.settle();
    assert_eq!(bench.delivered("a"), numbered("line", 0..4));
    bench.hangs = Some(Vec::new());
    bench.write("b.service", "line 4");
    bench.settle();
    bench.write("b.service", "line 5");
    bench.reload(vec![table("{unit}")]);
    bench.kill();
    bench.settle();
    assert_eq!(
        bench.delivered("b.service"),
        numbered("line", 4..6),
        "a kill repeats what was in flight, and loses nothing"
    );
}

#[test]
fn what_is_denied_where_a_journal_went_arrives_where_it_goes_now() {
    let mut bench = Bench::new(vec![table("wrong")]);
    bench.denied.push("wrong".to_owned());
    for line in numbered("line", 0..20) {
        bench.write("a.service", line);
    }
    bench.settle();
    bench.reload(vec![table("right")]);
    bench.settle();
    assert_eq!(bench.delivered("right"), numbered("line", 0..20));
}

#[test]
fn streams_wait_for_their_names_and_nothing_is_lost_meanwhile() {
    let mut bench = Bench::new(vec![table("{instance_id}")]);
    let long = "x".repeat(50_000);
    for line in numbered(&long, 0..30) {
        bench.write("a.service", line);
    }
    bench.settle();
    assert_eq!(bench.engine.snapshot(bench.now).sources[0].state, SourceState::Waiting);
    let names: Names = [("instance_id".to_owned(), "i-1".to_owned())].into_iter().collect();
    bench.engine.step(vec![Event::Names(names)], bench.now);
    bench.settle();
    assert_eq!(bench.delivered("i-1"), numbered(&long, 0..30));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The model: what was written. Streams are denied and allowed again, the process is killed, the table is changed or
    /// taken away, all in any order: in the end each unit's stream has everything, in order, and only what was in flight
    /// at a kill twice.
    #[test]
    fn everything_arrives_whatever_happens(steps in prop::collection::vec((0_u8..10, 1_u32..60), 1..25)) {
        const UNITS: [&str; 3] = ["a.service", "b.service", "c.service"];
        let mut bench = Bench::new(vec![table("{unit}")]);
        let mut written: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let long = "x".repeat(9_000);
        for (action, count) in steps {
            match action {
                0..4 => for number in 0..count {
                    let unit = UNITS[(number as usize + usize::from(action)) % 3];
                    let line = format!("{} {long}", written.get(unit).map_or(0, Vec::len));
                    written.entry(unit).or_default().push(line.clone());
                    bench.write(unit, line);
                },
                4 => bench.denied.push(UNITS[count as usize % 3].to_owned()),
                5 => bench.denied.clear(),
                6 => bench.kill(),
                7 => {
                    let mut changed = table("{unit}");
                    changed.framing.drop.push(Pattern::parse(&format!("never {}", count % 3)).expect("a pattern"));
                    bench.reload(vec![changed]);
                }
                8 => bench.reload(Vec::new()),
                _ => bench.go(Duration::from_millis(u64::from(count) * 100)),
            }
        }
        bench.denied.clear();
        bench.reload(vec![table("{unit}")]);
        bench.settle();
        for (unit, lines) in written {
            let mut seen = Vec::new();
            for line in bench.delivered(unit) {
                if !seen.contains(&line) {
                    seen.push(line);
                }
            }
            prop_assert!(seen.into_iter().eq(lines.iter()), "{unit}: {} of {}", bench.delivered(unit).len(), lines.len());
        }
    }
}
