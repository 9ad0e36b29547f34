//! Promise 8 and the life of the process: it starts and runs with everything missing, says what is wrong and how to
//! cure it, tells systemd when its doors listen, and ends when it is told to. Not the shipping itself.

use std::process::Output;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{
    Agent, Change, Effect, Emulator, Fault, Host, SOON, STOP_WITHIN, Systemd, append, assert_same_lines, free_address,
    numbered,
};

const GROUP: &str = "/test/app";

/// How soon logs flow once the metadata service answers.
const FLOW_WITHIN: Duration = Duration::from_secs(10);

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn with_the_metadata_service_dead_it_runs_says_why_and_ships_soon_after_it_comes_up() {
    let address = free_address();
    let host = Host::new(&format!("http://{address}"));
    host.configure(&host.one_source(""));
    append(&host.log("app.log"), &numbered(0, 100, 100));
    let agent = host.start();
    let report = agent
        .wait_until("the dead metadata service is shown", |report| !report.text("/imds/last_error/hint").is_empty());
    assert_eq!(report.text("/imds/state"), "absent", "{report:#}");
    assert!(report.text("/imds/last_error/message").contains(&address.to_string()), "{report:#}");
    assert!(matches!(report.text("/credentials/0/state"), "absent" | "refreshing"), "{report:#}");
    let emulator = Emulator::start_at(address);
    let up = Instant::now();
    agent.wait_until_delivered(100);
    assert!(up.elapsed() <= FLOW_WITHIN, "logs flowed only {:?} after the metadata service came up", up.elapsed());
    assert_same_lines(&emulator.lines(GROUP, "app"), &numbered(0, 100, 100));
    let report = agent.report();
    assert_eq!((report.text("/imds/state"), report.text("/credentials/0/state")), ("running", "fresh"), "{report:#}");
    assert!(report.at("/imds/last_error").is_null(), "an error that is over is no longer shown: {report:#}");
}

#[test]
fn ready_means_that_the_doors_listen_and_waits_for_nothing_else() {
    let mut host = Host::new(&format!("http://{}", free_address()));
    host.configure(&host.one_source(""));
    let systemd = Systemd::of(&mut host);
    let config = host.config().display().to_string();
    let agent = Agent::start_without_waiting(host.command(&["run", "--config", &config]), host.path("run/status.sock"));
    systemd.wait_for("READY=1");
    let report = agent.report();
    assert_ne!(report.text("/imds/state"), "running", "{report:#}");
    agent.signal(Signal::TERM);
    systemd.wait_for("STOPPING=1");
    let (status, said) = agent.wait_for_exit(STOP_WITHIN + SOON);
    assert!(status.success(), "{status}: {said}");
}

/// Longer than any task of ours may go without a beat.
const LONGER_THAN_A_TASK_MAY_BE_SILENT: Duration = Duration::from_secs(45);

#[test]
#[ignore = "takes most of a minute: run by tests/slow.sh"]
fn aws_and_a_metadata_service_that_hang_for_longer_than_the_watchdog_do_not_trip_it() {
    let (mut host, emulator) = Host::with_emulator();
    let systemd = Systemd::of(&mut host);
    let timeout = Duration::from_secs(4);
    host.set("WATCHDOG_USEC", &timeout.as_micros().to_string());
    append(&host.log("app.log"), &numbered(0, 10, 100));
    let agent = host.start();
    agent.wait_until_delivered(10);
    for operation in ["logs:*", "sts:*", "imds:*"] {
        emulator.set_fault(Fault::on(operation, Effect::Hang));
    }
    emulator.expire_credentials();
    append(&host.log("app.log"), &numbered(10, 10, 100));
    agent.wait_until_in_flight(GROUP, "app");
    let (begun, mut fed) = (Instant::now(), Instant::now());
    while begun.elapsed() < LONGER_THAN_A_TASK_MAY_BE_SILENT {
        systemd.wait_for("WATCHDOG=1");
        assert!(fed.elapsed() < timeout, "not fed for {:?} after {:?}", fed.elapsed(), begun.elapsed());
        fed = Instant::now();
    }
}

#[test]
fn without_an_instance_profile_it_shows_how_to_attach_one_and_recovers() {
    let (host, emulator) = Host::with_emulator();
    emulator.change(&Change { role_name: Some(String::new()), ..Change::default() });
    append(&host.log("app.log"), &numbered(0, 10, 100));
    let agent = host.start();
    let report = agent.wait_until("the missing profile is shown", |report| {
        report.text("/credentials/0/last_error/hint").contains("associate-iam-instance-profile")
    });
    assert!(matches!(report.text("/credentials/0/state"), "absent" | "refreshing"), "{report:#}");
    emulator.change(&Change { role_name: Some("late".to_owned()), ..Change::default() });
    let report = agent.wait_until_delivered(10);
    assert_eq!(report.text("/credentials/0/role"), "late", "{report:#}");
}

#[test]
fn with_the_metadata_service_switched_off_the_hint_switches_it_on() {
    let (host, emulator) = Host::with_emulator();
    emulator.change(&Change { imds_off: Some(true), ..Change::default() });
    let agent = host.start();
    let report = agent.wait_until("the switch is shown", |report| report.text("/imds/state") == "off");
    assert!(report.text("/imds/last_error/hint").contains("modify-instance-metadata-options"), "{report:#}");
}

#[test]
fn a_clock_that_is_an_hour_wrong_is_corrected_before_anything_is_signed() {
    for skew in [3_600, -3_600] {
        let (host, emulator) = Host::with_emulator();
        emulator.change(&Change { clock_skew_seconds: Some(skew), ..Change::default() });
        append(&host.log("app.log"), &numbered(0, 10, 100));
        let agent = host.start();
        agent.wait_until_delivered(10);
        assert_same_lines(&emulator.lines(GROUP, "app"), &numbered(0, 10, 100));
    }
}

#[test]
fn a_wrong_configuration_exits_78_and_cites_every_error() {
    let host = Host::new("http://127.0.0.1:9");
    host.configure(
        "[logs]\nflush_intervall = \"5s\"\n\n[[logs.file]]\ninclude = [\"/var/log/a.log\"]\nlog_group = \"a b\"\n",
    );
    let config = host.config().display().to_string();
    for arguments in [["run", "--config", &config].as_slice(), &["config", "check", "--config", &config]] {
        let output = host.run(arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{arguments:?}: {said}");
        assert!(said.contains(&format!("{config}:2:1")), "the place of the unknown key: {said}");
        assert!(
            said.contains("flush_intervall = \"5s\"") && said.contains("flush_interval"),
            "cited and cured: {said}"
        );
        assert!(said.contains(&format!("{config}:6:")), "the second error in the same go: {said}");
    }
}

#[test]
fn without_sources_it_runs_and_ships_nothing() {
    let emulator = Emulator::start();
    let host = Host::new(&emulator.url());
    host.configure("");
    let agent = host.start();
    let report = agent.wait_until("credentials are there", |report| report.text("/credentials/0/state") == "fresh");
    assert!(report.list("/logs/sources").is_empty(), "{report:#}");
    assert!(agent.stop().0.success());
}

#[test]
fn the_first_sigterm_drains_and_exits_0() {
    let (host, emulator) = Host::with_emulator();
    emulator.set_put_latency(Duration::from_millis(200));
    let lines = numbered(0, 5_000, 100);
    append(&host.log("app.log"), &lines);
    let agent = host.start();
    agent.wait_until("everything is read", |report| report.events().read == 5_000);
    agent.stop_in_order();
    assert_same_lines(&emulator.lines(GROUP, "app"), &lines);
}

#[test]
fn a_shutdown_that_hangs_ends_at_its_deadline_and_what_is_left_is_shipped_at_the_next_start() {
    let (host, emulator) = Host::with_emulator();
    emulator.set_fault(Fault::on("logs:PutLogEvents", Effect::Hang));
    append(&host.log("app.log"), &numbered(0, 100, 100));
    let agent = host.start();
    agent.wait_until("everything is read", |report| report.events().read == 100);
    agent.stop_in_order();
    emulator.clear_faults();
    let agent = host.start();
    agent.wait_until_delivered(100).assert_ledger_adds_up();
    assert_same_lines(&emulator.lines(GROUP, "app"), &numbered(0, 100, 100));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (host, emulator) = Host::with_emulator();
    emulator.set_fault(Fault::on("logs:PutLogEvents", Effect::Hang));
    append(&host.log("app.log"), &numbered(0, 100, 100));
    let agent = host.start();
    agent.wait_until_in_flight(GROUP, "app");
    let asked = Instant::now();
    agent.signal(Signal::TERM);
    // Two signals in one instant may be one to the kernel; the second is another one.
    agent.signal(Signal::INT);
    let (status, said) = agent.wait_for_exit(SOON);
    assert!(asked.elapsed() < STOP_WITHIN / 2, "it took {:?}, which is the drain's deadline: {said}", asked.elapsed());
    assert!(!status.success(), "what was not drained is not a success: {status}");
}

#[test]
fn the_metadata_service_sees_no_request_without_token_and_few_with_one() {
    let (host, emulator) = Host::with_emulator();
    append(&host.log("app.log"), &numbered(0, 10, 100));
    let agent = host.start();
    agent.wait_until_delivered(10);
    let report = agent.wait_until("the identity is confirmed", |report| !report.at("/credentials/0/arn").is_null());
    let counts = emulator.counts();
    assert_eq!(counts.metadata_without_token, 0);
    let one_for_as_long_as_there_is = [(21_600, 1)].into();
    assert_eq!(counts.token_ttls, one_for_as_long_as_there_is);
    let requests = counts.imds();
    // The token, the identity document, the role's name, its credentials; one to spare.
    assert!(requests <= 5, "{requests} requests to start");
    assert_eq!(report.at("/imds/requests"), requests, "the report counts what the service saw");
    let next: jiff::Timestamp = report.text("/credentials/0/next_refresh").parse().unwrap();
    let rest = next.duration_since(jiff::Timestamp::now());
    // Two requests a refresh, and the token's one every few hours: three an hour, if refreshes are an hour apart.
    assert!(
        rest > jiff::SignedDuration::from_mins(45),
        "the next refresh is {rest:#} away: more than 3 requests an hour"
    );
}

#[test]
fn status_shows_a_person_and_a_program_the_same_daemon() {
    let (host, _emulator) = Host::with_emulator();
    append(&host.log("app.log"), &numbered(0, 10, 100));
    let agent = host.start();
    agent.wait_until_delivered(10);
    let json = host.run(&["status", "--json"]);
    assert_eq!(json.status.code(), Some(0), "{}", stderr(&json));
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON on stdout");
    for key in [
        "schema",
        "version",
        "pid",
        "started_at",
        "uptime_seconds",
        "config",
        "instance",
        "imds",
        "credentials",
        "logs",
        "memory",
        "warnings",
    ] {
        assert!(report.get(key).is_some(), "no {key} in {report:#}");
    }
    assert_eq!(report["pid"], agent.pid());
    let human = host.run(&["status"]);
    assert_eq!(human.status.code(), Some(0), "{}", stderr(&human));
    let screen = String::from_utf8_lossy(&human.stdout);
    assert!(screen.contains("app.log") && screen.contains("10"), "{screen}");
    assert!(!screen.contains('\u{1b}'), "no colour where there is no terminal: {screen}");
}

#[test]
fn status_without_a_daemon_exits_69_and_says_how_to_start_one() {
    let host = Host::new("http://127.0.0.1:9");
    let output = host.run(&["status"]);
    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
    assert!(stderr(&output).contains("status.sock"), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
}

#[test]
fn the_daemon_prints_nothing_on_stdout_and_few_lines_on_a_quiet_day() {
    let (host, _emulator) = Host::with_emulator();
    append(&host.log("app.log"), &numbered(0, 10, 100));
    let agent = host.start();
    agent.wait_until_delivered(10);
    let (_, said) = agent.stop();
    assert!(said.lines().count() <= 25, "a start, ten lines shipped and a stop are no reason for\n{said}");
}
