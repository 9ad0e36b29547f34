//! How lines get there: bodies as gzip and plain, groups as they were asked for, what was dropped said in the stream, and
//! dead letters sent again. Not whether they arrive at all: that is `shipping`.

use std::time::Duration;

use imds_agent::emulator::Gzip;
use rustix::process::Signal;

use crate::harness::{Change, Denial, Effect, Fault, Host, SOON, append, assert_same_lines, look_until, numbered};

const GROUP: &str = "/test/app";

fn packed(host: &Host) -> String {
    host.one_source("").replacen("[logs]", "[logs]\ncompression = \"gzip\"", 1)
}

#[test]
fn bodies_go_out_as_gzip_and_arrive_as_they_were() {
    let (host, emulator) = Host::with_emulator();
    host.configure(&packed(&host));
    let lines = numbered(0, 30_000, 200);
    append(&host.log("app.log"), &lines);
    let agent = host.start();
    agent.wait_until_delivered(30_000).assert_ledger_adds_up();
    assert_same_lines(&emulator.lines(GROUP, "app"), &lines);
    let puts = emulator.counts().puts;
    assert!(puts.compressed >= puts.calls, "{puts:?}");
}

#[test]
fn an_endpoint_that_refuses_gzip_gets_plain_bodies_and_a_warning_says_so() {
    for gzip in [Gzip::Unsupported, Gzip::Unreadable] {
        let (host, emulator) = Host::with_emulator();
        emulator.change(&Change { gzip: Some(gzip), ..Change::default() });
        host.configure(&packed(&host));
        let lines = numbered(0, 100, 100);
        append(&host.log("app.log"), &lines[..50]);
        let agent = host.start();
        agent.wait_until_delivered(50);
        let tried = emulator.counts().puts.compressed;
        append(&host.log("app.log"), &lines[50..]);
        let report = agent.wait_until_delivered(100);
        assert_same_lines(&emulator.lines(GROUP, "app"), &lines);
        assert_eq!(emulator.counts().puts.compressed, tried, "{gzip:?}: it is remembered");
        assert!(report.list("/warnings").iter().any(|warning| warning["code"] == "gzip_refused"), "{report:#}");
    }
}

#[test]
fn an_endpoint_that_falls_over_gzip_gets_plain_bodies() {
    let (host, emulator) = Host::with_emulator();
    emulator.set_fault(Fault::on("logs:PutLogEvents", Effect::Status { code: 500, body: String::new() }).times(1));
    host.configure(&packed(&host));
    let lines = numbered(0, 100, 100);
    append(&host.log("app.log"), &lines);
    let report = host.start().wait_until_delivered(100);
    assert_same_lines(&emulator.lines(GROUP, "app"), &lines);
    assert!(report.list("/warnings").iter().any(|warning| warning["code"] == "gzip_refused"), "{report}");
}

#[test]
fn the_report_has_every_key_of_the_logs_by_its_name() {
    let (host, _emulator) = Host::with_emulator();
    append(&host.log("app.log"), &numbered(0, 10, 100));
    let agent = host.start();
    let report = agent.wait_until_delivered(10);
    let keys = |below: &str, names: &str| {
        for name in names.split_whitespace() {
            report.at(&format!("{below}/{name}"));
        }
    };
    keys("/logs", "ledger sources destinations spool dead_letters");
    for ledger in ["/logs/ledger", "/logs/sources/0/ledger"] {
        keys(&format!("{ledger}/events"), "read delivered pending dropped");
        keys(&format!("{ledger}/bytes"), "read delivered pending dropped");
    }
    keys("/logs/sources/0", "kind name state position lag_seconds ledger last_error");
    keys("/logs/destinations/0", "log_group log_stream state in_flight delivered_until oldest_pending_at");
    keys("/logs/destinations/0", "put_calls throttles retries last_error");
    keys("/logs/spool", "bytes limit_bytes quarantined_bytes");
    keys("/logs/dead_letters", "path events bytes rolled_off");
    keys("/memory", "rss_bytes buffers_bytes limit_bytes");
}

#[test]
fn one_group_that_hangs_does_not_delay_another() {
    let (host, emulator) = Host::with_emulator();
    let logs = host.path("logs").display().to_string();
    host.configure(&format!(
        "[logs]\nlog_stream = \"{{file_name}}\"\n\
         [[logs.file]]\ninclude = [\"{logs}/*.log\"]\nlog_group = \"/test/app\"\nstart_at = \"beginning\"\n\
         [[logs.file]]\ninclude = [\"{logs}/*.slow\"]\nlog_group = \"/test/slow\"\nstart_at = \"beginning\"\n"
    ));
    emulator.set_fault(Fault::on("logs:PutLogEvents", Effect::Hang).group("/test/slow"));
    for file in 0..100 {
        append(&host.log(&format!("{file:03}.slow")), &numbered(0, 10, 100));
    }
    append(&host.log("a.log"), &numbered(0, 100, 100));
    let agent = host.start();
    // Well before the requests that hang are given up, after 30 s.
    let delivered = |report: &crate::harness::Report| report.events().delivered >= 100;
    agent.wait_within(Duration::from_secs(15), "the other group is delivered", delivered);
    append(&host.log("a.log"), &numbered(100, 100, 100));
    let delivered = |report: &crate::harness::Report| report.events().delivered >= 200;
    agent.wait_within(Duration::from_secs(15), "the other group goes on", delivered);
    assert_same_lines(&emulator.lines(GROUP, "a.log"), &numbered(0, 200, 100));
}

#[test]
fn a_body_that_something_on_the_way_finds_too_large_is_halved_and_arrives_whole() {
    let (host, emulator) = Host::with_emulator();
    emulator.set_fault(
        Fault::on("logs:PutLogEvents", Effect::Status { code: 413, body: "<html>413</html>".to_owned() }).times(3),
    );
    let lines = numbered(0, 5_000, 200);
    append(&host.log("app.log"), &lines);
    let report = host.start().wait_until_delivered(5_000);
    assert_same_lines(&emulator.lines(GROUP, "app"), &lines);
    report.assert_ledger_adds_up();
}

#[test]
fn a_batch_that_the_endpoint_says_it_has_already_is_delivered_and_not_sent_again() {
    let (host, emulator) = Host::with_emulator();
    append(&host.log("app.log"), &["one".to_owned()]);
    let agent = host.start();
    agent.wait_until_delivered(1);
    let known = Effect::Error { status: 400, code: "DataAlreadyAcceptedException".into(), message: String::new() };
    emulator.set_fault(Fault::on("logs:PutLogEvents", known).times(1));
    append(&host.log("app.log"), &["two".to_owned()]);
    agent.wait_until_delivered(2);
    append(&host.log("app.log"), &["three".to_owned()]);
    agent.wait_until_delivered(3).assert_ledger_adds_up();
    assert_same_lines(&emulator.lines(GROUP, "app"), &["one".to_owned(), "three".to_owned()]);
}

#[test]
fn what_was_refused_is_said_in_the_stream_listed_and_sent_again() {
    let (host, emulator) = Host::with_emulator();
    // All that comes is too new for a clock that is four hours behind, which no answer tells.
    append(&host.log("app.log"), &["one".to_owned()]);
    let agent = host.start();
    agent.wait_until_delivered(1);
    emulator.set_fault(
        Fault::on(
            "logs:PutLogEvents",
            Effect::Error { status: 400, code: "InvalidParameterException".into(), message: String::new() },
        )
        .times(1),
    );
    append(&host.log("app.log"), &["two".to_owned()]);
    agent.wait_until("it is given up", |report| report.dropped("invalid") == 1);
    let gap = || {
        emulator.lines(GROUP, "app").into_iter().find(|line| line.starts_with("[imds-agent: gap: 1 event, 4 bytes of "))
    };
    assert!(look_until(SOON, gap).is_ok(), "{:?}", emulator.lines(GROUP, "app"));

    let listed = host.run(&["logs", "dead-letters", "--json"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(
        (&listed["letters"][0]["event"]["message"], &listed["letters"][0]["reason"]),
        (&"two".into(), &"invalid".into())
    );
    let report = agent.report();
    assert_eq!(report.at("/logs/dead_letters/events"), 1, "{report:#}");
    assert_eq!(host.run(&["logs", "dead-letters", "resend", "--reason", "too_old"]).status.code(), Some(0));
    let resent = host.run(&["logs", "dead-letters", "resend", "--reason", "invalid"]);
    assert!(String::from_utf8_lossy(&resent.stdout).starts_with("1 to be sent again"), "{resent:?}");
    let report = agent.wait_until("it is sent again", |report| report.events().delivered == 2);
    report.assert_ledger_adds_up();
    let mut sources = report.list("/logs/sources").iter();
    let source = sources.find(|source| source["name"] == "dead_letters");
    let source = source.unwrap_or_else(|| panic!("no such source: {report:#}"));
    assert_eq!((&source["kind"], &source["ledger"]["events"]["delivered"]), (&"dead_letters".into(), &1.into()));
    let arrived = emulator.lines(GROUP, "app");
    assert_eq!(arrived.iter().filter(|line| *line == "two").count(), 1, "{arrived:?}");
    let left = host.run(&["logs", "dead-letters"]);
    assert_eq!(String::from_utf8_lossy(&left.stdout), "no dead letters\n");
}

#[test]
fn what_was_denied_is_tried_again_by_a_reload_although_the_configuration_is_the_same() {
    let (host, emulator) = Host::with_emulator();
    emulator.set_fault(Fault::on("logs:PutLogEvents", Effect::Deny(Denial::default())).times(1));
    append(&host.log("app.log"), &numbered(0, 10, 100));
    let agent = host.start();
    agent.wait_until("it is denied", |report| report.text("/logs/destinations/0/state") == "denied");
    agent.signal(Signal::HUP);
    agent.wait_within(Duration::from_secs(20), "it is delivered", |report| report.events().delivered == 10);
}
