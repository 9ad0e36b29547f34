//! What the engine does about records that are not just lines: waiting for their end, their days, their filters.

use super::*;
use crate::logs::framing::{self, Budget, Format, Multiline, Pattern, Redaction, Rule, Sample, TimeRule, Zone};

const TIMEOUT: Duration = Duration::from_secs(1);

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect("a pattern")
}

fn stack_traces() -> framing::Settings {
    let rule = Rule::Continuation(pattern("^ "));
    let multiline = Multiline { rule, timeout: TIMEOUT, max_lines: 100, max_bytes: 1 << 20 };
    framing::Settings { multiline: Some(multiline), ..framing::Settings::default() }
}

fn dated() -> framing::Settings {
    let rule = TimeRule { pattern: pattern(r"^\S+"), format: Format::Rfc3339, zone: Zone::default() };
    framing::Settings { timestamp: Some(rule), ..framing::Settings::default() }
}

fn bench(framing: framing::Settings, stream: &str) -> Bench {
    let mut bench = Bench::with_stream(stream);
    bench.settings.files[0].framing = framing;
    bench.kill_and_restart();
    bench
}

/// What was delivered of the source, without what the stream says of what was not.
fn lines(bench: &Bench) -> Vec<&str> {
    bench.delivered.iter().map(String::as_str).filter(|line| !line.starts_with("[imds-agent: gap")).collect()
}

#[test]
fn a_record_that_may_go_on_is_waited_for_once_and_goes_out_when_it_is_quiet() {
    let mut bench = bench(stack_traces(), "{file_name}");
    bench.append("a.log", "one\n at\ntwo\n at\n");
    bench.go(SURVEY_INTERVAL);
    bench.go(Duration::from_millis(300));
    bench.answer(Ok(Accepted::default()));
    assert_eq!(bench.delivered, ["one\n at"]);
    let idle = bench.engine.step(Vec::new(), bench.now).wake_at;
    assert!(idle > bench.now.boot && idle <= bench.now.boot + TIMEOUT, "{idle:?} at {:?}", bench.now.boot);
    bench.go(TIMEOUT);
    bench.go(Duration::from_millis(300));
    bench.answer(Ok(Accepted::default()));
    assert_eq!(bench.delivered, ["one\n at", "two\n at"]);
    assert_eq!(bench.engine.held.wake_at(Duration::ZERO), None);
}

#[test]
fn what_grows_in_time_goes_on_with_its_record() {
    let mut bench = bench(stack_traces(), "{file_name}");
    bench.append("a.log", "one\n");
    bench.go(SURVEY_INTERVAL);
    for _ in 0..3 {
        bench.pass(TIMEOUT);
        bench.append("a.log", " at\n");
        bench.go(Duration::ZERO);
    }
    bench.deliver_all();
    assert_eq!(bench.delivered, ["one\n at\n at\n at"]);
}

#[test]
fn lines_that_are_held_while_their_stream_is_denied_are_not_asked_for_again_and_again() {
    let mut bench = bench(stack_traces(), "{file_name}");
    bench.append("a.log", "one\ntwo\n");
    bench.put();
    bench.answer(Err(failure(Kind::Denied)));
    // Each of these would never return if the engine wanted to step at once for ever.
    bench.go(TIMEOUT * 2);
    bench.go(TIMEOUT * 2);
    bench.go(Duration::from_mins(2));
    bench.deliver_all();
    assert_eq!(bench.delivered, ["one", "two"]);
}

#[test]
fn a_kill_between_a_record_and_the_next_loses_and_repeats_nothing() {
    let mut bench = bench(stack_traces(), "{file_name}");
    bench.append("a.log", "one\n at\ntwo\n");
    bench.put();
    bench.answer(Ok(Accepted::default()));
    bench.kill_and_restart();
    bench.append("a.log", " at\nthree\n");
    bench.deliver_all();
    let mut lines = bench.delivered.join("\n");
    lines.push('\n');
    assert_eq!(lines, "one\n at\ntwo\n at\nthree\n");
}

#[test]
fn times_that_flap_around_midnight_go_to_two_streams_and_nothing_runs_for_ever() {
    let mut bench = bench(dated(), "{date}");
    for number in 0..200 {
        let day = if number % 3 == 0 { "2026-01-01T23:59:59.9Z" } else { "2026-01-02T00:00:00Z" };
        bench.append("a.log", &format!("{day} {number:03}\n"));
    }
    bench.deliver_all();
    let of = |day: &str| {
        let mut lines: Vec<_> = bench.delivered.iter().filter(|line| line.starts_with(day)).cloned().collect();
        let count = lines.len();
        lines.sort();
        lines.dedup();
        (count, lines.len())
    };
    assert_eq!((of("2026-01-01"), of("2026-01-02")), ((67, 67), (133, 133)));
    let destinations = bench.snapshot().destinations;
    let mut streams: Vec<&str> = destinations.iter().map(|destination| &*destination.log_stream).collect();
    streams.sort_unstable();
    assert_eq!(streams[..2], ["2026-01-01", "2026-01-02"]);
}

#[test]
fn the_streams_of_days_that_are_over_give_their_places_to_others() {
    let mut bench = bench(dated(), "{date}");
    for day in 1..=28 {
        bench.append("a.log", &format!("2026-02-{day:02}T12:00:00Z noon\n"));
        bench.deliver_all();
    }
    assert_eq!(bench.delivered.len(), 28);
    assert!(bench.snapshot().destinations.len() <= 3, "{:#?}", bench.snapshot().destinations);
}

#[test]
fn what_could_not_be_redacted_is_not_written_to_the_dead_letters() {
    let redact = vec![Redaction { pattern: pattern("secret"), replace: String::new() }];
    let mut bench = bench(framing::Settings { redact, ..framing::Settings::default() }, "{file_name}");
    bench.append("a.log", "one\nsecret\ntwo\n");
    bench.engine = open(&bench.settings, bench.state.path(), Quarantine::from([(1, 4)]));
    bench.deliver_all();
    assert_eq!(lines(&bench), ["one", "two"]);
    let message = bench.dead_letters()[0]["event"]["message"].to_string();
    assert!(message.contains("7 bytes, withheld") && !message.contains("secret"), "{message}");
}

#[test]
fn a_long_line_shares_the_fate_of_its_first_part() {
    let drop = vec![pattern("^debug")];
    let mut bench = bench(framing::Settings { drop, ..framing::Settings::default() }, "{file_name}");
    let long = "x".repeat(2_500_000);
    bench.append("a.log", &format!("debug {long}\ninfo debug {long}\n"));
    bench.deliver_all();
    assert!(bench.delivered.len() == 3 && bench.delivered[0].starts_with("info"), "{}", bench.delivered.len());
    let ledger = bench.snapshot().ledger;
    assert_eq!((ledger.events.read, ledger.events.delivered, bench.dropped("filtered")), (2, 1, 1));
    assert_eq!(ledger.bytes.dropped["filtered"], 2_500_007);
}

#[test]
fn a_budget_holds_over_a_restart_and_begins_anew_each_day() {
    let budget = Some(Budget { per_day: 1024, sample: Sample::default() });
    let mut bench = bench(framing::Settings { budget, ..framing::Settings::default() }, "{file_name}");
    let line = format!("{}\n", "x".repeat(499));
    bench.append("a.log", &line.repeat(3));
    bench.deliver_all();
    assert_eq!((lines(&bench).len(), bench.dropped("budget")), (2, 1));
    bench.kill_and_restart();
    bench.append("a.log", &line);
    bench.deliver_all();
    assert_eq!((lines(&bench).len(), bench.dropped("budget")), (2, 2));
    bench.pass(Duration::from_hours(24));
    bench.append("a.log", &line);
    bench.deliver_all();
    assert_eq!((lines(&bench).len(), bench.dropped("budget")), (3, 2));
}

#[test]
fn what_was_in_flight_at_a_kill_is_not_charged_to_the_budget_twice() {
    let budget = Some(Budget { per_day: 1024, sample: Sample::default() });
    let mut bench = bench(framing::Settings { budget, ..framing::Settings::default() }, "{file_name}");
    bench.append("a.log", &format!("{}\n", "x".repeat(499)).repeat(2));
    bench.put();
    bench.kill_and_restart();
    bench.deliver_all();
    assert_eq!((lines(&bench).len(), bench.dropped("budget")), (2, 0));
}
