//! The machine that the agent runs on: its clock, its files, its directories, the daemon's doors and troubles.

use std::net::TcpListener;

use super::examine;
use crate::harness::{Change, Denial, Effect, Fault, Host, append, free_address, numbered, set_mode};

#[test]
fn a_clock_that_is_off_is_told_by_how_much() {
    let (host, emulator) = Host::with_emulator();
    emulator.change(&Change { clock_skew_seconds: Some(600), ..Change::default() });
    examine(&host, &["--only", "clock"]).says("clock", "fault", &["behind AWS's", "refuses signatures", "chrony"]);
    emulator.change(&Change { clock_skew_seconds: Some(-60), ..Change::default() });
    examine(&host, &["--only", "clock"]).says("clock", "warning", &["ahead of AWS's"]);
}

#[test]
fn a_file_that_may_not_be_read_is_named_with_its_cure() {
    let (mut host, _emulator) = Host::with_emulator();
    append(&host.log("app.log"), &numbered(0, 1, 20));
    host.without_root();
    set_mode(&host.log("app.log"), 0o000);
    let path = host.log("app.log").display().to_string();
    examine(&host, &["--only", "file-access"]).says(
        "file-access",
        "fault",
        &[&path, "Permission denied", "setfacl -m"],
    );
}

#[test]
fn a_file_that_is_not_there_yet_is_a_note() {
    let (host, _emulator) = Host::with_emulator();
    let diagnosis = examine(&host, &["--only", "file-access"]);
    diagnosis.says("file-access", "note", &["logs/*.log", "`include`"]);
    assert_eq!(diagnosis.with("fault"), [""; 0]);
}

#[test]
fn a_state_directory_that_others_may_write_is_a_warning() {
    let (host, _emulator) = Host::with_emulator();
    set_mode(&host.path("state"), 0o777);
    examine(&host, &["--only", "state-directory"]).says("state-directory", "warning", &["mode 0777", "chmod 0700"]);
    set_mode(&host.path("state"), 0o700);
    assert_eq!(examine(&host, &["--only", "state-directory"]).all("state-directory", "ok").len(), 1);
}

#[test]
fn a_door_that_somebody_else_has_is_named_with_how_to_find_out_who() {
    let (host, _emulator) = Host::with_emulator();
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = other.local_addr().expect("a bound socket");
    host.configure(&format!("{}[endpoints.container]\nlisten = \"{address}\"\n", host.one_source("")));
    let _agent = host.start();
    let diagnosis = examine(&host, &["--only", "self-fetch"]);
    let who = format!("ss -ltnp 'sport = :{}'", address.port());
    diagnosis.says("self-fetch", "fault", &["the container endpoint", &who]);
}

#[test]
fn the_daemons_doors_answer_where_all_is_well() {
    let (host, _emulator) = Host::with_emulator();
    let (container, metadata, telemetry) = (free_address(), free_address(), free_address());
    host.configure(&format!(
        "{}[endpoints.container]\nlisten = \"{container}\"\n[endpoints.metadata]\nlisten = \"{metadata}\"\nrole = \"app\"\n\
         [endpoints.telemetry]\nlisten = \"{telemetry}\"\n[[role]]\nname = \"app\"\nrole_arn = \"arn:aws:iam::123456789012:role/app\"\nallow = [{{ user = \"root\" }}]\n",
        host.one_source("")
    ));
    let agent = host.start();
    agent.wait_until("the doors are open", |report| report.list("/warnings").is_empty());
    let diagnosis = examine(&host, &["--only", "self-fetch"]);
    assert_eq!(diagnosis.all("self-fetch", "ok").len(), 1, "{:?}", diagnosis.with("fault"));
}

#[test]
fn what_the_daemon_was_denied_is_a_fault_with_its_own_cure() {
    let (host, emulator) = Host::with_emulator();
    emulator.set_fault(Fault::on("logs:CreateLogGroup", Effect::Deny(Denial::default())));
    let agent = host.start();
    append(&host.log("app.log"), &numbered(0, 1, 20));
    agent.wait_until("the denial is shown", |report| {
        report.destination("/test/app", "app").is_some_and(|destination| destination["state"] == "denied")
    });
    let parts = ["/test/app is denied", "logs:CreateLogGroup", "\"Allow\""];
    examine(&host, &["--only", "daemon-state"]).says("daemon-state", "fault", &parts);
}

#[test]
fn a_daemon_that_is_down_is_no_fault() {
    let (host, _emulator) = Host::with_emulator();
    let diagnosis = examine(&host, &["--only", "daemon,daemon-state,self-fetch"]);
    assert_eq!(diagnosis.with("fault"), [""; 0]);
    diagnosis.says("daemon", "note", &["no daemon runs", "systemctl start imds-agent"]);
    diagnosis.says("self-fetch", "skipped", &["before daemon is well"]);
}
