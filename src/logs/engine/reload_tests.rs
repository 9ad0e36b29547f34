//! Another configuration while the engine runs: nothing is lost, nothing is sent twice, and what it does not concern does
//! not notice, whatever is on its way. Real files, answers by hand; nothing here waits.

use std::fs::{self, File};
use std::io::Write;

use super::tests::Bench;
use super::*;
use crate::logs::framing::{Multiline, Pattern, Rule};
use crate::logs::sink::{Accepted, Failure, Kind};
use crate::logs::{FileSettings, GroupSettings, SourceState, StartAt};
use crate::template::Template;

impl Bench {
    /// A table for the files of this name.
    fn table(&self, pattern: &str, log_stream: &str) -> FileSettings {
        let mut table = self.settings.files[0].clone();
        table.include = vec![format!("{}/{pattern}", self.logs.path().display())];
        table.target.log_stream = Template::parse(log_stream, &["file_name"]).expect("a name");
        table
    }

    /// Begins with these tables, and goes on in another state.
    fn with_tables(mut self, tables: &[(&str, &str)]) -> Self {
        self.settings.files = tables.iter().map(|(pattern, stream)| self.table(pattern, stream)).collect();
        self.reload();
        self
    }

    /// Finds what is new, too.
    fn find_and_put(&mut self) {
        self.go(SURVEY_INTERVAL);
        self.put();
    }

    fn stream_of(&self, index: usize) -> String {
        self.engine.streams.place(index).1.to_string()
    }

    /// Accepts all that comes, and returns what came, with the streams it came to, in order.
    fn accept_all(&mut self) -> Vec<String> {
        let mut seen = Vec::new();
        for _ in 0..3 {
            self.go(SURVEY_INTERVAL);
            self.go(Duration::from_secs(1));
            while let Some((stream, _, lines)) = self.puts.front() {
                seen.extend(lines.iter().map(|line| format!("{} {line}", self.stream_of(*stream))));
                self.answer(Ok(Accepted::default()));
                self.go(Duration::from_millis(300));
            }
        }
        self.assert_balanced();
        seen
    }

    fn streams(&self) -> Vec<String> {
        self.snapshot().destinations.into_iter().map(|place| place.log_stream.to_string()).collect()
    }

    fn coverage_of(&self, name: &str) -> crate::logs::coverage::Coverage {
        let path = self.logs.path().join(name).display().to_string();
        self.engine.feeds.all().find(|feed| *feed.source == *path).expect("it is followed").coverage.clone()
    }
}

fn denied() -> Failure {
    Failure { kind: Kind::Denied, message: "denied".to_owned(), hint: None, retry_after: None }
}

#[test]
fn with_requests_that_hang_a_renamed_stream_gets_new_lines_only_and_each_arrives_once() {
    let mut bench = Bench::new().with_tables(&[("a.log", "old"), ("b.log", "b")]);
    bench.append("a.log", "one\n");
    bench.append("b.log", "one\n");
    bench.find_and_put();
    assert_eq!(bench.puts.len(), 2);
    bench.settings.files[0] = bench.table("a.log", "new");
    bench.settings.files.swap(0, 1);
    bench.reload();
    bench.append("a.log", "two\n");
    bench.append("b.log", "two\n");
    bench.find_and_put();
    assert_eq!(bench.streams(), ["b", "new", "old"]);
    assert_eq!(bench.snapshot().ledger.events.pending, 3, "a stream that never answered gets no more");
    assert_eq!(bench.accept_all(), ["old one", "b one", "new two", "b two"]);
    assert_eq!(bench.streams(), ["b", "new"], "nothing goes there any more, and nothing is on its way");
    bench.kill_and_restart();
    assert_eq!(bench.accept_all(), [""; 0]);
}

#[test]
fn what_can_not_arrive_where_it_was_to_go_goes_where_it_goes_now() {
    let mut bench = Bench::new().with_tables(&[("a.log", "wrong")]);
    bench.append("a.log", "one\n");
    bench.find_and_put();
    bench.answer(Err(denied()));
    bench.append("a.log", "two\n");
    bench.go(Duration::from_secs(1));
    bench.settings.files[0] = bench.table("a.log", "right");
    bench.reload();
    assert_eq!(bench.accept_all(), ["right one", "right two"]);
    assert_eq!(bench.streams(), ["right"]);
    bench.append("a.log", "three\n");
    bench.find_and_put();
    bench.settings.files[0] = bench.table("a.log", "another");
    bench.reload();
    bench.answer(Err(denied()));
    assert_eq!(bench.accept_all(), ["another three"], "also when the answer comes only then");
}

#[test]
fn a_change_lets_what_was_denied_try_again_at_once() {
    let mut bench = Bench::new();
    bench.append("a.log", "one\n");
    bench.find_and_put();
    bench.answer(Err(denied()));
    bench.go(Duration::from_secs(1));
    assert!(bench.puts.is_empty());
    bench.settings.memory_limit *= 2;
    bench.reload();
    assert_eq!(bench.puts.len(), 1);
}

#[test]
fn a_reload_that_changes_nothing_lets_what_was_denied_try_again_at_once_too() {
    let mut bench = Bench::new();
    bench.append("a.log", "one\n");
    bench.find_and_put();
    bench.answer(Err(denied()));
    bench.go(Duration::from_secs(1));
    bench.reload();
    assert_eq!(bench.puts.len(), 1);
}

#[test]
fn who_is_not_concerned_keeps_its_descriptor_its_position_and_what_is_on_its_way() {
    let mut bench = Bench::new().with_tables(&[("a.log", "a"), ("b.log", "b")]);
    bench.append("a.log", "one\n");
    bench.append("b.log", "one\n");
    bench.find_and_put();
    let before = (bench.coverage_of("a.log"), bench.engine.feeds.files().count());
    bench.settings.files.remove(1);
    bench.settings.files.insert(0, bench.table("c.log", "c"));
    bench.settings.files[1].include.push("/nowhere/else.log".to_owned());
    bench.settings.memory_limit *= 2;
    bench.settings.flush_interval = Duration::from_secs(1);
    bench.reload();
    assert_eq!((bench.coverage_of("a.log"), bench.engine.feeds.files().count()), before);
    let path = bench.logs.path().join("a.log").display().to_string();
    let feed = bench.engine.feeds.all().find(|feed| *feed.source == *path).expect("it is followed");
    assert_eq!(feed.read_to_end_at, Some(4), "it is not even read again");
}

#[test]
fn a_source_that_is_removed_and_comes_back_goes_on_where_it_was() {
    let mut bench = Bench::new().with_tables(&[("a.log", "a"), ("b.log", "b")]);
    bench.append("b.log", "one\n");
    bench.find_and_put();
    let tables = bench.settings.files.clone();
    bench.settings.files.remove(1);
    bench.reload();
    bench.append("b.log", "two\n");
    bench.go(SURVEY_INTERVAL);
    assert_eq!(bench.puts.len(), 1, "what was on its way, and nothing more");
    // While it is on its way.
    bench.settings.files.clone_from(&tables);
    bench.reload();
    assert_eq!(bench.accept_all(), ["b one", "b two"]);
    // When nothing is.
    bench.settings.files.remove(1);
    bench.reload();
    assert_eq!(bench.engine.feeds.files().count(), 0, "it is let go of");
    bench.append("b.log", "three\n");
    assert_eq!(bench.accept_all(), [""; 0]);
    let source = bench.snapshot().sources.into_iter().find(|source| source.name.ends_with("b.log")).expect("shown");
    assert_eq!((source.state, source.ledger.events.delivered), (SourceState::Finished, 2));
    bench.settings.files.clone_from(&tables);
    bench.reload();
    assert_eq!(bench.accept_all(), ["b three"]);
    let source = bench.snapshot().sources.into_iter().find(|source| source.name.ends_with("b.log")).expect("shown");
    assert_eq!((source.state, source.ledger.events.delivered), (SourceState::Running, 3));
}

#[test]
fn what_was_on_its_way_of_a_removed_source_settles_into_the_checkpoint() {
    let mut bench = Bench::new().with_tables(&[("a.log", "a"), ("b.log", "b")]);
    bench.append("b.log", "one\n");
    bench.find_and_put();
    let tables = bench.settings.files.clone();
    bench.settings.files.remove(1);
    bench.reload();
    assert_eq!(bench.engine.feeds.files().count(), 1);
    bench.answer(Ok(Accepted::default()));
    bench.go(Duration::from_secs(1));
    assert_eq!(bench.engine.feeds.files().count(), 0);
    assert_eq!(bench.streams(), [""; 0]);
    bench.settings.files = tables;
    bench.kill_and_restart();
    assert_eq!(bench.accept_all(), [""; 0]);
}

#[test]
fn a_kill_right_after_a_reload_repeats_what_was_in_flight_and_nothing_else() {
    let mut bench = Bench::new().with_tables(&[("a.log", "a"), ("b.log", "b")]);
    bench.append("a.log", "one\n");
    bench.append("b.log", "one\n");
    assert_eq!(bench.accept_all().len(), 2);
    bench.append("a.log", "two\n");
    bench.find_and_put();
    bench.settings.files = vec![bench.table("*.log", "all")];
    bench.reload();
    bench.kill_and_restart();
    bench.append("b.log", "two\n");
    let mut seen = bench.accept_all();
    seen.sort_unstable();
    assert_eq!(seen, ["all two", "all two"]);
}

#[test]
fn an_include_that_drops_a_file_with_unread_bytes_keeps_its_place_until_it_is_asked_for_again() {
    let mut bench = Bench::new().with_tables(&[("*.log", "{file_name}")]);
    bench.append("a.log", "one\n");
    bench.append("b.log", "one\n");
    bench.accept_all();
    let before = bench.settings.files.clone();
    bench.append("b.log", "unread\n");
    bench.settings.files[0] = bench.table("a.log", "{file_name}");
    bench.reload();
    fs::rename(bench.logs.path().join("b.log"), bench.logs.path().join("b.log.1")).expect("renames");
    bench.append("b.log", "after\n");
    bench.append("a.log", "two\n");
    assert_eq!(bench.accept_all(), ["a.log two"]);
    bench.settings.files = before;
    bench.reload();
    let mut seen = bench.accept_all();
    seen.sort_unstable();
    assert_eq!(seen, ["b.log after", "b.log unread"]);
    assert_eq!(bench.snapshot().ledger.bytes.dropped.get("gap"), None);
}

#[test]
fn changed_framing_counts_for_what_is_not_read_yet() {
    let mut bench = Bench::new();
    bench.append("a.log", "start one\n more\n");
    bench.find_and_put();
    assert_eq!(bench.puts[0].2, ["start one", " more"]);
    let pattern = Pattern::parse("^start").expect("a pattern");
    let rule = Rule::Start(pattern);
    let multiline = Multiline { rule, timeout: Duration::from_secs(2), max_lines: 100, max_bytes: 1 << 20 };
    bench.settings.files[0].framing.multiline = Some(multiline);
    bench.reload();
    bench.append("a.log", "start two\n more\nstart three\n");
    assert_eq!(bench.accept_all().len(), 4);
    assert_eq!(bench.delivered[2..], ["start two\n more", "start three"]);
    // What is held for what may follow is told by the new rule, too.
    bench.append("a.log", "start four\n");
    bench.go(Duration::from_millis(10));
    bench.settings.files[0].framing.multiline = None;
    bench.reload();
    bench.append("a.log", " more\n");
    bench.accept_all();
    assert_eq!(bench.delivered[4..], ["start four", " more"]);
    assert_eq!(bench.snapshot().ledger.events.pending, 0);
}

#[test]
fn a_table_that_is_new_begins_at_the_end_of_files_that_were_there_and_others_do_not_notice() {
    let mut bench = Bench::new().with_tables(&[("a.log", "{file_name}")]);
    bench.append("a.log", "one\n");
    bench.accept_all();
    bench.append("old.txt", "old\n");
    // Born long ago, as far as anybody knows.
    bench.engine.files.looked_at = Some(std::time::SystemTime::now() + Duration::from_hours(1));
    bench.settings.files.push(bench.table("*.txt", "{file_name}"));
    bench.settings.files.push(bench.table("*.more", "{file_name}"));
    bench.settings.files[2].start_at = StartAt::Beginning;
    bench.append("old.more", "more\n");
    bench.reload();
    bench.append("old.txt", "new\n");
    bench.append("a.log", "two\n");
    let mut seen = bench.accept_all();
    seen.sort_unstable();
    assert_eq!(seen, ["a.log two", "old.more more", "old.txt new"]);
    // From now on it appears when it does.
    bench.append("later.txt", "all\n");
    assert_eq!(bench.accept_all(), ["later.txt all"]);
}

#[test]
fn a_file_that_came_before_a_reload_and_was_not_seen_yet_is_read_from_its_beginning() {
    let mut bench = Bench::new().with_tables(&[("*.log", "{file_name}")]);
    bench.append("a.log", "one\n");
    bench.accept_all();
    let path = bench.logs.path().join("elsewhere");
    File::create(&path).expect("makes").write_all(b"all of it\n").expect("writes");
    bench.engine.files.looked_at = Some(std::time::SystemTime::now() + Duration::from_hours(1));
    fs::rename(&path, bench.logs.path().join("b.log")).expect("renames");
    bench.settings.files.insert(0, bench.table("*.txt", "{file_name}"));
    bench.reload();
    bench.settings.files.remove(0);
    bench.reload();
    assert_eq!(bench.accept_all(), ["b.log all of it"]);
}

#[test]
fn a_group_that_is_to_be_otherwise_is_compared_again_and_only_that_one() {
    let mut bench = Bench::new().with_tables(&[("a.log", "a"), ("b.log", "b")]);
    bench.settings.files[1].target.log_group = Template::parse("h", &[]).expect("a name");
    for table in &mut bench.settings.files {
        table.target.group = GroupSettings { retention_in_days: Some(7), ..GroupSettings::default() };
    }
    bench.reload();
    bench.append("a.log", "one\n");
    bench.append("b.log", "one\n");
    bench.accept_all();
    bench.settings.files[0].target.group.retention_in_days = Some(14);
    let settings = Arc::new(bench.settings.clone());
    let checks = |bench: &mut Bench, elsewhere| {
        let event = Event::Settings { settings: settings.clone(), elsewhere };
        let step = bench.engine.step(vec![event], bench.now);
        let group = |action| match action {
            Action::CheckGroup { log_group, settings } => Some((log_group.to_string(), settings.retention_in_days)),
            _ => None,
        };
        step.actions.into_iter().filter_map(group).collect::<Vec<_>>()
    };
    assert_eq!(checks(&mut bench, false), [("g".to_owned(), Some(14))]);
    assert_eq!(checks(&mut bench, false), []);
    // Where nothing is known of them they are compared when they are seen to be there.
    assert_eq!(checks(&mut bench, true), []);
}

#[test]
fn ten_reloads_in_a_row_while_lines_are_written_and_rotated_lose_none_and_repeat_none() {
    let mut bench = Bench::new();
    let mut expected = Vec::new();
    for round in 0..10 {
        for line in 0..20 {
            let line = format!("{round} {line}");
            bench.append("a.log", &format!("{line}\n"));
            expected.push(line);
        }
        bench.find_and_put();
        if round % 2 == 0 {
            let from = bench.logs.path().join("a.log");
            fs::rename(&from, bench.logs.path().join(format!("a.log.{round}"))).expect("renames");
        }
        bench.settings.files[0] = bench.table("*.log", if round % 3 == 0 { "{file_name}" } else { "other" });
        bench.reload();
        if round % 4 == 0 {
            bench.answer(Ok(Accepted::default()));
        }
    }
    bench.accept_all();
    bench.delivered.sort_unstable();
    expected.sort_unstable();
    assert_eq!(bench.delivered, expected);
}
