//! What a source's bytes become: records of several lines, times, filters, redactions, encodings, metrics, budgets and
//! days. Not that they arrive whatever happens (`shipping`, `crash`).

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Emulator, Host, Report, SOON, append, look_until};

const GROUP: &str = "/test/app";

/// An agent that follows one file, about whose records the table says `more`.
fn with_framing(more: &str) -> (Host, Emulator) {
    let (host, emulator) = Host::with_emulator();
    host.configure(&host.one_source(more));
    (host, emulator)
}

fn write(path: &Path, text: &str) {
    append(path, &[text.trim_end_matches('\n').to_owned()]);
}

fn dropped(report: &Report, reason: &str) -> u64 {
    report.at("/logs/ledger/events/dropped").get(reason).and_then(Value::as_u64).unwrap_or(0)
}

/// Today, in UTC: CloudWatch takes what is a day old.
fn today() -> jiff::civil::Date {
    jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::now()).date()
}

#[test]
fn a_stack_trace_is_one_record_and_the_last_one_goes_out_when_it_is_quiet() {
    let (host, emulator) = with_framing("multiline.start = '^\\d{4}-'");
    write(&host.log("app.log"), "2026-01-01 one\n  at a\n  at b\n2026-01-01 two\n  at c\n");
    let agent = host.start();
    let report = agent.wait_until_delivered(2);
    assert_eq!(emulator.lines(GROUP, "app"), ["2026-01-01 one\n  at a\n  at b", "2026-01-01 two\n  at c"]);
    assert_eq!(
        (report.events().read, report.bytes().delivered),
        (2, std::fs::metadata(host.log("app.log")).unwrap().len())
    );
    report.assert_ledger_adds_up();
}

#[test]
fn a_record_that_a_restart_interrupts_is_neither_lost_nor_repeated() {
    let (host, emulator) = with_framing("multiline = { start = '^start', timeout = \"5m\" }");
    write(&host.log("app.log"), "start 1\n more\nstart 2\n more");
    let agent = host.start();
    agent.wait_until_delivered(1);
    agent.stop();
    write(&host.log("app.log"), " and more\nstart 3\n");
    let report = host.start().wait_until_delivered(2);
    assert_eq!(emulator.lines(GROUP, "app"), ["start 1\n more", "start 2\n more\n and more"]);
    report.assert_ledger_adds_up();
}

#[test]
fn events_have_the_time_that_stands_in_them_and_arrive_in_its_order() {
    let (host, emulator) = with_framing(
        "timestamp = { regex = '^\\[([^\\]]+)\\]', format = \"%Y-%m-%d %H:%M:%S\", timezone = \"Europe/Berlin\" }",
    );
    let day = today().yesterday().unwrap();
    let line = |hour: u8| format!("[{day} {hour:02}:00:00] hour {hour}");
    write(&host.log("app.log"), &[line(6), line(4), line(5)].join("\n"));
    let agent = host.start();
    let report = agent.wait_until_delivered(3);
    let time = |hour: i8| {
        let zoned = day.at(hour, 0, 0, 0).in_tz("Europe/Berlin").unwrap();
        zoned.timestamp().as_millisecond()
    };
    let expected = [4, 5, 6].map(|hour| (time(hour), line(hour.unsigned_abs())));
    assert_eq!(emulator.events(GROUP, "app"), expected);
    assert_eq!(report.source("app.log").unwrap()["unparsed_timestamps"], 0);
}

#[test]
fn a_time_that_can_not_be_read_is_counted_and_the_record_gets_the_time_of_reading() {
    let (host, emulator) = with_framing("timestamp = { regex = '^\\S+', format = \"rfc3339\" }");
    write(&host.log("app.log"), "yesterday it rained");
    let before = jiff::Timestamp::now().as_millisecond();
    let report = host.start().wait_until_delivered(1);
    assert!(emulator.events(GROUP, "app")[0].0 >= before);
    assert_eq!(report.source("app.log").unwrap()["unparsed_timestamps"], 1);
}

#[test]
fn what_is_filtered_is_counted_and_what_is_redacted_never_leaves() {
    let (host, emulator) = with_framing(
        "keep = ['login|GET']\ndrop = ['healthz']\nredact = [{ regex = '(password)=\\S+', replace = \"$1=***\" }]",
    );
    write(&host.log("app.log"), "login password=hunter2 ok\nGET /healthz\nnoise\nGET /");
    let agent = host.start();
    let report = agent.wait_until_delivered(2);
    assert_eq!(emulator.lines(GROUP, "app"), ["login password=*** ok", "GET /"]);
    assert_eq!(dropped(&report, "filtered"), 2);
    assert_eq!(report.bytes().read, std::fs::metadata(host.log("app.log")).unwrap().len());
    report.assert_ledger_adds_up();
}

#[test]
fn where_everything_is_filtered_the_position_moves_on_all_the_same() {
    let (host, _emulator) = with_framing("drop = ['']");
    let lines: Vec<String> = (0..40_000).map(|number| format!("{number:0200}")).collect();
    append(&host.log("app.log"), &lines);
    let size = std::fs::metadata(host.log("app.log")).unwrap().len();
    let agent = host.start();
    let report = agent.wait_within(SOON, "all is passed over", |report| dropped(report, "filtered") == 40_000);
    assert_eq!((report.events().pending, &report.source("app.log").unwrap()["position"]), (0, &json!(size)));
    agent.stop();
    let report = host.start().wait_within(SOON, "it stands where it was", |report| report.source("app.log").is_some());
    assert_eq!(report.events().read, 40_000);
}

#[test]
fn other_encodings_become_utf8_and_the_ledger_counts_the_files_bytes() {
    for (label, bytes) in [
        ("latin-1", b"gr\xfc\xdfe\r\ncaf\xe9\n".to_vec()),
        ("utf-16le", "\u{feff}grüße\r\ncafé\n".encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("utf-16be", "grüße\r\ncafé\n".encode_utf16().flat_map(u16::to_be_bytes).collect()),
        ("utf-8", "\u{feff}grüße\ncafé\n".as_bytes().to_vec()),
    ] {
        let (host, emulator) = with_framing(&format!("encoding = \"{label}\""));
        std::fs::write(host.log("app.log"), &bytes).unwrap();
        let report = host.start().wait_until_delivered(2);
        assert_eq!(emulator.lines(GROUP, "app"), ["grüße", "café"], "{label}");
        assert_eq!(report.bytes().delivered, bytes.len() as u64, "{label}");
        assert_eq!(report.source("app.log").unwrap()["invalid_utf8"], 0, "{label}");
    }
}

#[test]
fn json_lines_have_their_own_time_and_level_and_metrics_pass_whole() {
    let (host, emulator) = with_framing(
        "json = { timestamp = \"at\", level = \"log.level\", minimum_level = \"warn\" }\nredact = [{ regex = 'secret', replace = \"*\" }]",
    );
    let now = jiff::Timestamp::now().as_millisecond();
    let metrics = format!(
        r#"{{"secret":1,"_aws":{{"Timestamp":{},"CloudWatchMetrics":[{{"Namespace":"n","Dimensions":[[]],"Metrics":[{{"Name":"secret"}}]}}]}}}}"#,
        now - 2_000
    );
    let lines = [
        format!(r#"{{"at":{now},"log":{{"level":"error"}},"text":"a secret"}}"#),
        format!(r#"{{"at":{now},"log.level":"debug"}}"#),
        metrics.clone(),
    ];
    append(&host.log("app.log"), &lines);
    let report = host.start().wait_until_delivered(2);
    let first = lines[0].replace("secret", "*");
    assert_eq!(emulator.events(GROUP, "app"), [(now - 2_000, metrics), (now, first)]);
    assert_eq!(dropped(&report, "filtered"), 1);
}

#[test]
fn above_the_days_budget_only_the_sample_is_sent_also_after_a_restart() {
    let (host, emulator) = with_framing("budget = { per_day = \"1KiB\", sample = 0.0 }");
    let lines: Vec<String> = (0..20).map(|number| format!("{number:0127}")).collect();
    append(&host.log("app.log"), &lines);
    let agent = host.start();
    let report = agent.wait_within(SOON, "the rest is dropped", |report| dropped(report, "budget") == 12);
    assert_eq!(report.events().delivered, 8);
    agent.stop();
    append(&host.log("app.log"), &lines[..3]);
    let agent = host.start();
    let report = agent.wait_within(SOON, "the budget is still used up", |report| dropped(report, "budget") == 15);
    let says_so = |line: &String| line.starts_with("[imds-agent: gap: ");
    let told = || Some(emulator.lines(GROUP, "app")).filter(|arrived| arrived.iter().any(says_so));
    let mut arrived = look_until(SOON, told).expect("the stream says that something is missing");
    arrived.retain(|line| !says_so(line));
    assert_eq!(arrived, lines[..8]);
    report.assert_ledger_adds_up();
}

#[test]
fn a_days_events_go_to_the_days_stream_however_they_lie() {
    let (host, emulator) = with_framing("timestamp = { regex = '^\\S+', format = \"rfc3339\" }");
    let configuration = host.one_source("timestamp = { regex = '^\\S+', format = \"rfc3339\" }");
    host.configure(&configuration.replace("\"app\"", "\"app/{date}\""));
    let (today, yesterday) = (today(), today().yesterday().unwrap());
    let line = |number: usize| {
        let day = if number.is_multiple_of(2) { yesterday } else { today };
        format!("{day}T00:00:00Z number {number:04}")
    };
    let lines: Vec<String> = (0..500).map(line).collect();
    append(&host.log("app.log"), &lines);
    let agent = host.start();
    let report = agent.wait_until_delivered(500);
    let of = |rest: usize| lines.iter().skip(rest).step_by(2).cloned().collect::<Vec<_>>();
    assert_eq!(emulator.lines(GROUP, &format!("app/{yesterday}")), of(0));
    assert_eq!(emulator.lines(GROUP, &format!("app/{today}")), of(1));
    report.assert_ledger_adds_up();
}

#[test]
fn a_binary_file_is_passed_on_in_events_that_cloudwatch_takes() {
    let (host, emulator) = Host::with_emulator();
    let bytes: Vec<u8> =
        (0..1_000_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(host.log("app.log"), &bytes).unwrap();
    let agent = host.start();
    let done = |report: &Report| {
        report.events().pending == 0 && report.events().delivered > 0 && {
            let source = report.source("app.log").unwrap();
            source["position"].as_u64().unwrap() + 100_000 > source["size"].as_u64().unwrap()
        }
    };
    let report = agent.wait_within(SOON * 3, "all but its last line is delivered", done);
    assert_eq!(dropped(&report, "invalid"), 0);
    assert!(report.source("app.log").unwrap()["invalid_utf8"].as_u64().unwrap() > 0);
    assert!(!emulator.lines(GROUP, "app").is_empty());
    report.assert_ledger_adds_up();
}

#[test]
fn what_is_wrong_about_records_is_cited_where_it_stands() {
    let (host, _emulator) = with_framing(
        "encoding = \"utf-7\"\nmultiline = { start = 'a(', end = 'b' }\ntimestamp = { regex = 'a', format = \"%Q-%J\", timezone = \"Mars/Olympus\" }\n\
         redact = [{ regex = 'a', replace = \"$1\" }]\nbudget = { per_day = \"1GiB\", sample = 2 }\njson = { level = \"l\", minimum_level = \"loud\" }",
    );
    let config = host.config();
    let output = host.run(&["config", "check", "--config", config.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    for fault in
        ["utf-7", "unclosed group", "exactly one of", "`format`", "Mars/Olympus", "the group `1`", "a share", "loud"]
    {
        assert!(said.contains(fault), "{fault} is not in:\n{said}");
    }
}

#[test]
fn a_long_line_without_an_end_arrives_in_parts_in_bounded_memory() {
    let (host, emulator) = Host::with_emulator();
    let line = "y".repeat(40 << 20);
    std::fs::write(host.log("app.log"), format!("{line}\n")).unwrap();
    let agent = host.start();
    let report = agent.wait_within(SOON * 3, "the line is delivered", |report| report.events().delivered == 1);
    assert!(report.at("/memory/buffers_bytes").as_u64() <= report.at("/memory/limit_bytes").as_u64());
    let whole = || Some(emulator.lines(GROUP, "app")).filter(|parts| parts.len() == 41);
    let parts = look_until(SOON, whole).unwrap_or_else(|_| panic!("{} parts", emulator.lines(GROUP, "app").len()));
    let joined: usize = parts.iter().map(|part| part.split(" [imds-agent").next().unwrap().len()).sum();
    assert_eq!(joined, line.len());
}
