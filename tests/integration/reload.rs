//! Promise 11: a reload applies whole or not at all, loses no line and repeats none, and at boot the last good
//! configuration serves when the one on disk is refused. Not what a configuration may hold.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{
    Agent, Change, Effect, Fates, Fault, Host, Report, SOON, Systemd, Writer, append, assert_same_lines, fates,
    numbered,
};

const GROUP: &str = "/test/app";

/// So many lines may have been read since the last report, at a kill: what the writer writes in a second.
const MOST_AT_A_KILL: u64 = 5_000;

/// A source of its own, in a drop-in.
fn drop_in(host: &Host, name: &str, group: &str) -> String {
    format!(
        "[[logs.file]]\ninclude = [\"{}\"]\nlog_group = \"{group}\"\nlog_stream = \"{name}\"\nstart_at = \"beginning\"\n",
        host.path("more").join(name).display()
    )
}

fn place_drop_in(host: &Host, name: &str, text: &str) -> PathBuf {
    for directory in ["conf.d", "more"] {
        std::fs::create_dir_all(host.path(directory)).expect("a directory in a temporary directory");
    }
    let path = host.path("conf.d").join(name);
    std::fs::write(&path, text).expect("a drop-in can be written");
    path
}

/// Reloads, and waits until what is in effect was read after that.
fn reload(agent: &Agent) -> Report {
    let before = agent.report().at("/config/loaded_at").clone();
    agent.signal(Signal::HUP);
    agent.wait_until("the configuration is read again", |report| *report.at("/config/loaded_at") != before)
}

fn warning<'a>(report: &'a Report, code: &str) -> Option<&'a Value> {
    report.list("/warnings").iter().find(|warning| warning["code"] == code)
}

fn wait_until_refused(agent: &Agent) -> Report {
    agent.wait_until("the configuration is refused", |report| !report.at("/config/error").is_null())
}

#[test]
fn a_reload_adds_changes_and_removes_sources_and_the_ledger_stays_true() {
    let (host, emulator) = Host::with_emulator();
    let agent = host.start();
    append(&host.log("app.log"), &numbered(0, 100, 100));
    agent.wait_until_delivered(100);

    let path = place_drop_in(&host, "a.toml", &drop_in(&host, "more.log", "/test/more"));
    append(&host.path("more/more.log"), &numbered(0, 50, 100));
    reload(&agent);
    agent.wait_until_delivered(150).assert_ledger_adds_up();
    assert_same_lines(&emulator.lines("/test/more", "more.log"), &numbered(0, 50, 100));

    std::fs::write(&path, drop_in(&host, "more.log", "/test/changed")).unwrap();
    reload(&agent);
    append(&host.path("more/more.log"), &numbered(50, 50, 100));
    agent.wait_until_delivered(200).assert_ledger_adds_up();
    assert_same_lines(&emulator.lines("/test/changed", "more.log"), &numbered(50, 50, 100));

    std::fs::remove_file(&path).unwrap();
    reload(&agent);
    append(&host.path("more/more.log"), &numbered(100, 50, 100));
    append(&host.log("app.log"), &numbered(100, 10, 100));
    let report = agent.wait_until_delivered(210);
    report.assert_ledger_adds_up();
    assert_eq!(report.source("more.log").unwrap()["ledger"]["events"]["delivered"], 100, "{report:#}");

    place_drop_in(&host, "b.toml", &drop_in(&host, "more.log", "/test/again"));
    reload(&agent);
    let report = agent.wait_until_delivered(260);
    report.assert_ledger_adds_up();
    assert_eq!(report.source("more.log").unwrap()["ledger"]["events"]["delivered"], 150, "{report:#}");
    assert_same_lines(&emulator.lines("/test/again", "more.log"), &numbered(100, 50, 100));
    assert_same_lines(&emulator.lines(GROUP, "app"), &numbered(0, 110, 100));
}

#[test]
fn a_broken_drop_in_is_named_and_nothing_else_is_touched_until_it_is_right() {
    let (host, emulator) = Host::with_emulator();
    let agent = host.start();
    append(&host.log("app.log"), &numbered(0, 10, 100));
    let before = agent.wait_until_delivered(10);
    assert!(before.at("/config/error").is_null() && before.at("/config/last_good").is_null(), "{before:#}");

    let path = place_drop_in(&host, "web.toml", "[[logs.file]]\ninclude = [\"/x\"]\nlog_gruop = \"/a\"\n\n[logz]\n");
    // The main file alone would be right, and different: it must not be applied without its drop-in.
    host.configure(&host.one_source("").replace("/test/app", "/test/half"));
    agent.signal(Signal::HUP);
    let report = wait_until_refused(&agent);
    let error = report.text("/config/error");
    assert!(error.starts_with(&format!("{}:3:1: unknown key `log_gruop`", path.display())), "{error}");
    assert!(error.ends_with("more error)") || error.ends_with("more errors)"), "{error}");
    assert!(error.lines().count() == 1, "{error}");
    let warned = warning(&report, "config_not_in_use").unwrap_or_else(|| panic!("no warning: {report:#}"));
    assert!(warned["message"].as_str().unwrap().contains(&format!("{}:5:", path.display())), "{warned:#}");
    assert!(warned["hint"].as_str().unwrap().contains("imds-agent config check"), "{warned:#}");
    assert_eq!(report.at("/config/last_good"), before.at("/config/loaded_at"));
    assert_eq!(report.at("/config/loaded_at"), before.at("/config/loaded_at"));
    agent.wait_until_said(&format!("{}:3:1", path.display()));
    let said = agent.said();
    assert_eq!(said.matches("the configuration is refused").count(), 1, "{said}");
    let screen = String::from_utf8(host.run(&["status"]).stdout).unwrap();
    assert!(screen.contains("degraded: the configuration file is not in use"), "{screen}");
    append(&host.log("app.log"), &numbered(10, 10, 100));
    agent.wait_until_delivered(20);
    assert_same_lines(&emulator.lines(GROUP, "app"), &numbered(0, 20, 100));

    std::fs::remove_file(&path).unwrap();
    let report = reload(&agent);
    assert!(report.at("/config/error").is_null() && report.at("/config/last_good").is_null(), "{report:#}");
    assert!(warning(&report, "config_not_in_use").is_none(), "{report:#}");
    append(&host.log("app.log"), &numbered(20, 10, 100));
    agent.wait_until_delivered(30);
    assert_same_lines(&emulator.lines("/test/half", "app"), &numbered(20, 10, 100));
}

#[test]
fn twenty_reloads_while_lines_are_written_lose_none_repeat_none_and_keep_their_order() {
    let (host, emulator) = Host::with_emulator();
    emulator.set_put_latency(Duration::from_millis(5));
    let lines = numbered(0, 40_000, 100);
    let agent = host.start();
    let writer = Writer::start(host.log("app.log"), lines.clone(), 50, Duration::from_millis(5));
    for round in 0..20 {
        host.configure(&host.one_source("").replace("250ms", &format!("{}ms", 251 + round)));
        let mut last = agent.report().events();
        let before = agent.report().at("/config/loaded_at").clone();
        agent.signal(Signal::HUP);
        agent.wait_until("the configuration is read again", |report| {
            report.assert_ledger_adds_up();
            let events = report.events();
            assert!(events.delivered >= last.delivered, "the ledger went back: {last:?}, {events:?}\n{report:#}");
            last = events;
            *report.at("/config/loaded_at") != before
        });
    }
    assert!(writer.is_writing(), "the reloads were over before the lines: write more");
    writer.finish();
    let report = agent.wait_until_delivered(lines.len() as u64);
    report.assert_ledger_adds_up();
    assert_eq!(fates(&emulator.lines(GROUP, "app"), &lines), Fates::default(), "{report:#}");
    assert_eq!(report.events().read, lines.len() as u64);
}

#[test]
fn a_reload_does_not_wait_for_what_hangs_loses_nothing_and_sends_nothing_twice() {
    let (host, emulator) = Host::with_emulator();
    let path = place_drop_in(&host, "a.toml", &drop_in(&host, "more.log", "/test/more"));
    let agent = host.start();
    append(&host.log("app.log"), &numbered(0, 10, 100));
    append(&host.path("more/more.log"), &numbered(0, 10, 100));
    agent.wait_until_delivered(20);
    emulator.set_fault(Fault::on("logs:PutLogEvents", Effect::Hang));
    append(&host.log("app.log"), &numbered(10, 10, 100));
    append(&host.path("more/more.log"), &numbered(10, 10, 100));
    agent.wait_until_in_flight(GROUP, "app");
    agent.wait_until_in_flight("/test/more", "more.log");
    // What hangs already hangs on; what comes now is answered.
    emulator.clear_faults();
    host.configure(&host.one_source("").replace("/test/app", "/test/renamed"));
    std::fs::remove_file(&path).unwrap();
    let report = reload(&agent);
    assert_eq!(report.events().pending, 20, "it is done while they hang: {report:#}");
    append(&host.log("app.log"), &numbered(20, 10, 100));
    let report = agent.wait_until("what is new arrives", |report| report.events().delivered == 30);
    report.assert_ledger_adds_up();
    assert_same_lines(&emulator.lines("/test/renamed", "app"), &numbered(20, 10, 100));
    assert_eq!(report.source("more.log").unwrap()["ledger"]["events"]["pending"], 10, "{report:#}");
    agent.stop_in_order();
}

#[test]
fn ten_reloads_in_a_row_and_a_kill_right_after_while_lines_are_written_and_rotated() {
    let (host, emulator) = Host::with_emulator();
    emulator.set_put_latency(Duration::from_millis(20));
    let lines = numbered(0, 20_000, 100);
    let mut agent = host.start();
    let writer = Writer::start(host.log("app.log"), lines.clone(), 50, Duration::from_millis(10));
    let mut may_repeat = 0;
    for round in 0..10 {
        let before = agent.report().events().delivered;
        agent.wait_until("what is written now arrives", |report| report.events().delivered > before);
        let (log, rotated) = (host.log("app.log"), host.log(&format!("app.log.{round}")));
        let _ = std::fs::rename(log, rotated);
        host.configure(&host.one_source("").replace("/test/app", &format!("/test/{}", round % 2)));
        let report = reload(&agent);
        if round % 5 == 4 {
            may_repeat += report.events().pending + MOST_AT_A_KILL;
            agent.kill();
            agent = host.start();
        }
    }
    assert!(writer.is_writing(), "the reloads were over before the lines: write more");
    writer.finish();
    let arrived = || {
        let groups = ["/test/0", "/test/1", GROUP];
        groups.into_iter().flat_map(|group| emulator.lines(group, "app")).collect::<Vec<_>>()
    };
    agent.wait_until("all lines arrive", |report| report.events().pending == 0 && fates(&arrived(), &lines).lost == 0);
    let again = fates(&arrived(), &lines).again as u64;
    assert!(again <= may_repeat, "{again} lines arrived again, {may_repeat} were on their way at kills");
}

#[test]
fn a_reload_that_changes_nothing_restarts_nothing() {
    let (host, emulator) = Host::with_emulator();
    append(&host.log("app.log"), &numbered(0, 10, 100));
    let agent = host.start();
    agent.wait_until_delivered(10);
    agent.wait_until("the identity is confirmed", |report| !report.at("/credentials/0/arn").is_null());
    let requests = emulator.counts().imds();
    for _ in 0..5 {
        reload(&agent);
    }
    host.configure(&host.one_source("").replace("250ms", "300ms"));
    let report = reload(&agent);
    assert_eq!(emulator.counts().imds(), requests, "IMDS is asked nothing: {report:#}");
    assert_eq!(report.text("/credentials/0/state"), "fresh");
    assert_eq!(report.events().delivered, 10);
    let (_, said) = agent.stop();
    assert_eq!(said.matches("changed=false").count(), 5, "{said}");
    assert_eq!(said.matches("changed=true").count(), 1, "{said}");
}

#[test]
fn a_change_of_region_or_imds_really_applies_and_keeps_credentials_that_work() {
    let (host, emulator) = Host::with_emulator();
    let agent = host.start();
    let before = agent.wait_until("credentials are there", |report| report.text("/credentials/0/state") == "fresh");
    host.configure(&format!("region = \"us-gov-east-1\"\n{}", host.one_source("")));
    let report = reload(&agent);
    assert_eq!(report.text("/instance/region"), "us-gov-east-1", "{report:#}");
    assert_eq!(report.at("/instance/instance_id"), before.at("/instance/instance_id"), "IMDS told it: {report:#}");
    assert_eq!(report.text("/credentials/0/state"), "fresh", "{report:#}");

    emulator.change(&Change { imds_off: Some(true), ..Change::default() });
    let other_imds = "region = \"eu-west-1\"\n[imds]\ntoken_ttl = \"1h\"\n";
    host.configure(&format!("{other_imds}{}", host.one_source("")));
    reload(&agent);
    let report = agent.wait_until("IMDS is off", |report| report.text("/imds/state") == "off");
    assert_eq!(report.text("/credentials/0/expiration"), before.text("/credentials/0/expiration"), "{report:#}");
    append(&host.log("app.log"), &numbered(0, 10, 100));
    agent.wait_until_delivered(10);
    emulator.change(&Change { imds_off: Some(false), ..Change::default() });
    agent.wait_until("IMDS answers again", |report| report.text("/imds/state") == "running");
    assert_eq!(emulator.counts().token_ttls.get(&3_600), Some(&1), "the new setting counts");
}

#[test]
fn sigterm_during_a_reload_stops_as_always() {
    let (mut host, emulator) = Host::with_emulator();
    let systemd = Systemd::of(&mut host);
    emulator.set_fault(Fault::on("logs:PutLogEvents", Effect::Hang));
    append(&host.log("app.log"), &numbered(0, 100, 100));
    let agent = host.start();
    agent.wait_until_in_flight(GROUP, "app");
    host.configure(&host.one_source("").replace("/test/app", "/test/other"));
    agent.signal(Signal::HUP);
    systemd.wait_for("RELOADING=1");
    let report = agent.report();
    report.assert_ledger_adds_up();
    assert_eq!(report.events().read, 100, "{report:#}");
    agent.stop_in_order();
    emulator.clear_faults();
    let agent = host.start();
    agent.wait_until_delivered(100).assert_ledger_adds_up();
    assert_same_lines(&emulator.lines("/test/other", "app"), &numbered(0, 100, 100));
    assert!(agent.stop().0.success());
}

#[test]
fn systemd_is_told_when_a_reload_begins_and_ends_also_when_it_is_refused() {
    let (mut host, _emulator) = Host::with_emulator();
    let systemd = Systemd::of(&mut host);
    let agent = host.start();
    systemd.wait_for("READY=1");
    for text in [host.one_source("").replace("250ms", "1s"), "nonsense".to_owned()] {
        host.configure(&text);
        agent.signal(Signal::HUP);
        let message = systemd.wait_for("RELOADING=1");
        assert!(message.lines().any(|line| line.starts_with("MONOTONIC_USEC=")), "in one message: {message}");
        systemd.wait_for("READY=1");
    }
    let report = agent.report();
    assert!(!report.at("/config/error").is_null(), "it is refused by the time that systemd is told: {report:#}");
}

#[test]
fn at_boot_the_last_good_configuration_serves_and_says_so_everywhere() {
    let (mut host, emulator) = Host::with_emulator();
    append(&host.log("app.log"), &numbered(0, 10, 100));
    let agent = host.start();
    let accepted_at = agent.wait_until_delivered(10).text("/config/loaded_at").to_owned();
    agent.stop();
    let kept = std::fs::metadata(host.path("state/last-good.json")).unwrap();
    assert_eq!(kept.permissions().mode() & 0o777, 0o600);

    let path = place_drop_in(&host, "web.toml", "[logs]\nflush_intervall = \"5s\"\n");
    append(&host.log("app.log"), &numbered(10, 10, 100));
    let systemd = Systemd::of(&mut host);
    let agent = host.start();
    systemd.wait_for_line(|line| line.starts_with("STATUS=degraded: the configuration file is not in use"));
    let report = agent.wait_until_delivered(20);
    assert!(report.text("/config/error").starts_with(&format!("{}:2:1: unknown key", path.display())), "{report:#}");
    assert_eq!(report.text("/config/last_good"), accepted_at, "{report:#}");
    assert!(warning(&report, "config_not_in_use").is_some(), "{report:#}");
    assert_same_lines(&emulator.lines(GROUP, "app"), &numbered(0, 20, 100));
    let config = host.config().display().to_string();
    let check = host.run(&["config", "check", "--config", &config]);
    assert_eq!(check.status.code(), Some(78), "the check still fails");

    std::fs::remove_file(&path).unwrap();
    let report = reload(&agent);
    assert!(report.at("/config/error").is_null(), "{report:#}");
    let (_, said) = agent.stop();
    assert!(said.contains("ERROR") && said.contains("the last good one serves"), "{said}");
}

#[test]
fn what_a_reload_accepted_is_the_last_good_one_and_what_it_refused_is_not() {
    let (host, emulator) = Host::with_emulator();
    let agent = host.start();
    host.configure(&host.one_source("").replace("/test/app", "/test/second"));
    reload(&agent);
    host.configure("nonsense");
    agent.signal(Signal::HUP);
    wait_until_refused(&agent);
    agent.kill();
    append(&host.log("app.log"), &numbered(0, 10, 100));
    let agent = host.start();
    agent.wait_until_delivered(10);
    assert_same_lines(&emulator.lines("/test/second", "app"), &numbered(0, 10, 100));
}

#[test]
fn a_missing_or_unreadable_configuration_is_served_by_the_last_good_one_too() {
    let (host, _emulator) = Host::with_emulator();
    host.start().stop();
    std::fs::remove_file(host.config()).unwrap();
    let agent = host.start();
    let report = agent.report();
    assert!(report.text("/config/error").contains("config.toml: can't be read: no such file"), "{report:#}");
    agent.stop();
    std::fs::create_dir(host.config()).unwrap();
    assert!(host.start().report().text("/config/error").contains("is a directory"));
}

#[test]
fn at_the_first_boot_and_for_another_path_there_is_no_last_good_one() {
    let (host, _emulator) = Host::with_emulator();
    let (good, config) = (host.one_source(""), host.config().display().to_string());
    host.configure("nonsense");
    assert_eq!(host.run(&["run", "--config", &config]).status.code(), Some(78), "nothing was accepted yet");
    host.configure(&good);
    host.start().stop();
    let other = host.path("other.toml");
    std::fs::write(&other, "nonsense").unwrap();
    let output = host.run(&["run", "--config", &other.display().to_string()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("other.toml:1:"), "{said}");
}

#[test]
fn signals_that_come_together_are_one_reload_and_the_last_state_of_the_disk_counts() {
    let (host, _emulator) = Host::with_emulator();
    let agent = host.start();
    for round in 0..50 {
        host.configure(&host.one_source("").replace("250ms", &format!("{}ms", 251 + round)));
        agent.signal(Signal::HUP);
    }
    host.configure("nonsense");
    agent.signal(Signal::HUP);
    wait_until_refused(&agent);
    host.configure(&host.one_source(""));
    agent.signal(Signal::HUP);
    agent.wait_within(SOON, "the last one is in use", |report| report.at("/config/error").is_null());
    agent.wait_until_said("the configuration was read again");
    let rounds = agent.said().matches("the configuration was read again").count();
    assert!(rounds < 50, "{rounds} reloads for 50 signals in one instant");
    assert!(agent.stop().0.success());
}
