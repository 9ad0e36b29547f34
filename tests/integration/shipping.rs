//! Lines of files become events, once and in order: promises 4, 5 and 7, and what bad input gets. Not what happens to the
//! files (`files`), when the agent dies (`crash`) or when its credentials do (`credentials`).

use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

use crate::harness::{
    Denial, Effect, Fates, Fault, Host, MOTO_REGION, Moto, SOON, Writer, append, assert_same_lines, fates, look_until,
    numbered,
};

const GROUP: &str = "/test/app";

/// The largest event: AWS's 1 MiB less the 26 bytes that each event costs.
const LARGEST_EVENT: usize = 1_048_550;

#[test]
fn a_files_lines_arrive_once_and_in_order() {
    let (host, emulator) = Host::with_emulator();
    let lines = numbered(0, 25_000, 200);
    append(&host.log("app.log"), &lines[..20_000]);
    let agent = host.start();
    agent.wait_until_delivered(20_000);
    append(&host.log("app.log"), &lines[20_000..]);
    let report = agent.wait_until_delivered(25_000);
    assert_same_lines(&emulator.lines(GROUP, "app"), &lines);
    let size = std::fs::metadata(host.log("app.log")).unwrap().len();
    assert_eq!((report.bytes().read, report.bytes().delivered), (size, size));
    assert_eq!(report.source("app.log").unwrap()["position"], size);
    report.assert_ledger_adds_up();
}

#[test]
fn at_moto_five_thousand_lines_arrive_once_and_in_order() {
    ship_to_moto(5_000);
}

fn ship_to_moto(count: usize) {
    let moto = Moto::start();
    let mut host = Host::new(&moto.url());
    host.set("AWS_REGION", MOTO_REGION);
    host.configure(&host.one_source("retention_in_days = 14"));
    let lines = numbered(0, count, 200);
    append(&host.log("app.log"), &lines);
    let agent = host.start();
    agent.wait_within(SOON * 5, "all is delivered", |report| report.events().delivered == count as u64);
    assert_same_lines(&moto.lines(GROUP, "app"), &lines);
    let retention = || Some(moto.retention_in_days(GROUP)).filter(|days| *days == 14);
    assert!(look_until(SOON, retention).is_ok(), "the group's retention is {}", moto.retention_in_days(GROUP));
}

#[test]
fn at_moto_which_has_no_identity_document_names_are_filled_from_the_metadata() {
    let moto = Moto::start();
    let host = Host::new(&moto.url());
    host.configure(&host.one_source("").replace("\"app\"", "\"{instance_id}/{file_name}\""));
    let lines = numbered(0, 100, 100);
    append(&host.log("app.log"), &lines);
    let report = host.start().wait_within(SOON * 5, "all is delivered", |report| report.events().delivered == 100);
    assert_same_lines(&moto.lines(GROUP, "i-fake/app.log"), &lines);
    assert_eq!((report.text("/instance/instance_id"), report.text("/instance/region")), ("i-fake", MOTO_REGION));
    // moto has no `iam/info` to read it from.
    assert_eq!(report.text("/instance/account_id"), "");
}

#[test]
fn names_are_filled_from_the_instance_and_the_file() {
    let (host, emulator) = Host::with_emulator();
    host.configure(&format!(
        "[variables]\nenvironment = \"prod\"\n\n[[logs.file]]\ninclude = [\"{}/*.log\"]\nstart_at = \"beginning\"\n\
         log_group = \"/aws/ec2/{{environment}}\"\nlog_stream = \"{{instance_id}}/{{file_name}}\"\n",
        host.path("logs").display()
    ));
    append(&host.log("one.log"), &numbered(0, 3, 40));
    let agent = host.start();
    let report = agent.wait_until_delivered(3);
    let instance = report.text("/instance/instance_id").to_owned();
    assert!(instance.starts_with("i-"), "{report:#}");
    assert_same_lines(&emulator.lines("/aws/ec2/prod", &format!("{instance}/one.log")), &numbered(0, 3, 40));
}

#[test]
fn a_partial_last_line_waits_for_its_end() {
    let (host, emulator) = Host::with_emulator();
    std::fs::write(host.log("app.log"), "one\ntw").unwrap();
    let agent = host.start();
    // Both were written at once, so what follows is read after "tw" was.
    agent.wait_until_delivered(1);
    write!(OpenOptions::new().append(true).open(host.log("app.log")).unwrap(), "o\nthree\n").unwrap();
    let report = agent.wait_until_delivered(3);
    assert_eq!(emulator.lines(GROUP, "app"), ["one", "two", "three"]);
    assert_eq!(report.bytes().delivered, 14);
}

#[test]
fn a_carriage_return_before_the_line_feed_is_no_part_of_the_line() {
    let (host, emulator) = Host::with_emulator();
    std::fs::write(host.log("app.log"), "one\r\ntwo\r\na\rb\n").unwrap();
    let agent = host.start();
    let report = agent.wait_until_delivered(3);
    assert_eq!(emulator.lines(GROUP, "app"), ["one", "two", "a\rb"]);
    assert_eq!(report.bytes().read, 14, "the ledger counts the source's bytes");
}

#[test]
fn empty_lines_are_skipped_and_counted() {
    let (host, emulator) = Host::with_emulator();
    std::fs::write(host.log("app.log"), "one\n\n\r\n\ntwo\n").unwrap();
    let agent = host.start();
    let report = agent.wait_until_delivered(2);
    assert_eq!(emulator.lines(GROUP, "app"), ["one", "two"]);
    assert_eq!((report.events().read, report.dropped("empty")), (5, 3));
    report.assert_ledger_adds_up();
}

#[test]
fn bytes_that_are_not_utf_8_are_replaced_and_counted() {
    let (host, emulator) = Host::with_emulator();
    std::fs::write(host.log("app.log"), b"caf\xe9 one\nplain\n\xff\xfe\n").unwrap();
    let agent = host.start();
    let report = agent.wait_until_delivered(3);
    assert_eq!(emulator.lines(GROUP, "app"), ["caf\u{fffd} one", "plain", "\u{fffd}\u{fffd}"]);
    assert_eq!(report.source("app.log").unwrap()["invalid_utf8"], 2);
    assert_eq!(report.bytes().delivered, 18, "the ledger counts the source's bytes, not the replacements'");
}

#[test]
fn control_characters_and_quotes_arrive_as_they_were_written() {
    let (host, emulator) = Host::with_emulator();
    let lines = ["tab\tquote\"backslash\\", "bell\u{7} escape\u{1b}[31m nul\0", "snow\u{2603} rocket\u{1f680}"];
    std::fs::write(host.log("app.log"), lines.join("\n") + "\n").unwrap();
    let agent = host.start();
    agent.wait_until_delivered(3);
    assert_eq!(emulator.lines(GROUP, "app"), lines);
}

#[test]
fn a_line_over_the_limit_is_split_at_a_character_with_part_markers_and_stops_nothing() {
    let (host, emulator) = Host::with_emulator();
    let characters = 1_500_000;
    std::fs::write(host.log("app.log"), format!("before\n{}\nafter\n", "\u{e9}".repeat(characters))).unwrap();
    let agent = host.start();
    let report = agent.wait_until_delivered(3);
    let arrived = emulator.lines(GROUP, "app");
    assert_eq!((arrived.first().unwrap().as_str(), arrived.last().unwrap().as_str()), ("before", "after"));
    let parts = &arrived[1..arrived.len() - 1];
    assert!(parts.len() >= 3, "3 MB take three events at least, and took {}", parts.len());
    let kept: usize = parts.iter().map(|part| part.matches('\u{e9}').count()).sum();
    assert_eq!(kept, characters, "no character is lost or cut in two");
    for part in parts {
        assert!(part.len() <= LARGEST_EVENT, "a part of {} bytes", part.len());
        assert!(part.contains(|c: char| c.is_ascii_digit()), "a part that does not say which it is: {part:.60}");
    }
    assert_eq!(report.events().read, 3, "the parts of a split line are one record");
    report.assert_ledger_adds_up();
}

#[test]
fn one_denied_destination_does_not_delay_two_hundred_others() {
    let (host, emulator) = Host::with_emulator();
    let logs = host.path("logs").display().to_string();
    host.configure(&format!(
        "[logs]\nlog_stream = \"{{file_name}}\"\n\
         [[logs.file]]\ninclude = [\"{logs}/*.log\"]\nlog_group = \"/test/app\"\nstart_at = \"beginning\"\n\
         [[logs.file]]\ninclude = [\"{logs}/*.audit\"]\nlog_group = \"/test/denied\"\nstart_at = \"beginning\"\n"
    ));
    emulator.set_fault(Fault::on("logs:PutLogEvents", Effect::Deny(Denial::default())).group("/test/denied"));
    append(&host.log("a.audit"), &numbered(0, 20, 100));
    for file in 0..200 {
        append(&host.log(&format!("{file:03}.log")), &numbered(file * 100, 20, 100));
    }
    let agent = host.start();
    let report = agent.wait_until("200 files are delivered", |report| report.events().delivered >= 4_000);
    for file in 0..200 {
        assert_same_lines(&emulator.lines(GROUP, &format!("{file:03}.log")), &numbered(file * 100, 20, 100));
    }
    assert_eq!(report.events().delivered, 4_000);
    let report = agent.wait_until("the denial is shown", |report| {
        report.destination("/test/denied", "a.audit").is_some_and(|place| place["state"] == "denied")
    });
    let fault = &report.destination("/test/denied", "a.audit").unwrap()["last_error"];
    assert!(fault["message"].as_str().is_some_and(|message| message.contains("logs:PutLogEvents")), "{fault}");
    assert!(fault.to_string().contains("/test/denied"), "a denial names the resource: {fault}");
    assert_eq!(report.events().pending, 20, "what is denied is held");
    report.assert_ledger_adds_up();
}

#[test]
fn the_ledger_adds_up_in_every_snapshot() {
    let (host, emulator) = Host::with_emulator();
    emulator.set_put_latency(Duration::from_millis(20));
    let mut lines = numbered(0, 20_000, 200);
    for line in lines.iter_mut().step_by(10) {
        line.clear();
    }
    let agent = host.start();
    let writer = Writer::start(host.log("app.log"), lines, 500, Duration::from_millis(10));
    while writer.is_writing() {
        agent.report().assert_ledger_adds_up();
    }
    writer.finish();
    let report = agent.wait_until_delivered(18_000);
    report.assert_ledger_adds_up();
    assert_eq!((report.events().read, report.dropped("empty")), (20_000, 2_000));
}

#[test]
fn throttles_faults_and_broken_connections_delay_lines_and_lose_none() {
    for effect in [
        Effect::Throttle { retry_after_ms: Some(100) },
        Effect::Status { code: 503, body: String::new() },
        Effect::Error { status: 500, code: "InternalFailure".into(), message: String::new() },
        Effect::Close,
        Effect::Garbage,
    ] {
        let (host, emulator) = Host::with_emulator();
        // What is answered with garbage was done all the same, so it comes again.
        let may_repeat = effect == Effect::Garbage;
        emulator.set_fault(Fault::on("logs:PutLogEvents", effect.clone()).times(2));
        let lines = numbered(0, 100, 100);
        append(&host.log("app.log"), &lines);
        let agent = host.start();
        agent.wait_until_delivered(100).assert_ledger_adds_up();
        let Fates { lost, again, strange, .. } = fates(&emulator.lines(GROUP, "app"), &lines);
        assert_eq!((lost, strange), (0, 0), "{effect:?}");
        assert!(again == 0 || may_repeat, "{effect:?}: {again} lines came again");
    }
}

#[test]
fn a_lost_reply_repeats_one_batch_at_most() {
    let (host, emulator) = Host::with_emulator();
    emulator.set_fault(Fault::on("logs:PutLogEvents", Effect::LostReply).times(1));
    let lines = numbered(0, 100, 100);
    append(&host.log("app.log"), &lines);
    let agent = host.start();
    agent.wait_until_delivered(100).assert_ledger_adds_up();
    let arrived = emulator.lines(GROUP, "app");
    assert_same_lines(&arrived[..100], &lines);
    assert!(arrived.len() <= 200, "{} lines for 100", arrived.len());
}

#[test]
fn a_stream_that_somebody_deletes_is_created_again() {
    let (host, emulator) = Host::with_emulator();
    let lines = numbered(0, 20, 100);
    append(&host.log("app.log"), &lines[..10]);
    let agent = host.start();
    agent.wait_until_delivered(10);
    let (code, message) = ("ResourceNotFoundException".into(), "The specified log stream does not exist.".into());
    emulator.set_fault(Fault::on("logs:PutLogEvents", Effect::Error { status: 400, code, message }).times(1));
    append(&host.log("app.log"), &lines[10..]);
    agent.wait_until_delivered(20);
    assert_same_lines(&emulator.lines(GROUP, "app"), &lines);
    assert!(emulator.counts().of("logs:CreateLogStream") >= 2, "{:?}", emulator.counts());
}

#[test]
fn a_new_line_on_an_idle_stream_does_not_wait_for_the_flush_interval() {
    let (host, emulator) = Host::with_emulator();
    host.configure(&host.one_source("").replace("250ms", "60s"));
    append(&host.log("app.log"), &numbered(0, 1, 40));
    let agent = host.start();
    agent.wait_until_delivered(1);
    append(&host.log("app.log"), &numbered(1, 1, 40));
    // A busy machine gets slack; the flush interval is far beyond it. The benchmark measures the real figure.
    let within = Duration::from_secs(15);
    agent.wait_within(within, "the second line is delivered", |report| report.events().delivered == 2);
    assert_eq!(emulator.lines(GROUP, "app").len(), 2);
}

#[test]
#[ignore = "takes minutes: run by tests/slow.sh"]
fn a_million_lines_arrive_once_and_in_order() {
    let (host, emulator) = Host::with_emulator();
    let lines = numbered(0, 1_000_000, 200);
    append(&host.log("app.log"), &lines);
    let agent = host.start();
    let report = agent.wait_within(Duration::from_mins(10), "a million lines are delivered", |report| {
        report.events().delivered == 1_000_000
    });
    assert_same_lines(&emulator.lines(GROUP, "app"), &lines);
    report.assert_ledger_adds_up();
}

#[test]
#[ignore = "takes minutes: run by tests/slow.sh"]
fn at_moto_fifty_thousand_lines_arrive_once_and_in_order() {
    ship_to_moto(50_000);
}
