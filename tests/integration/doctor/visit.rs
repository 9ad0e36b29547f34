//! How a visit goes, seen from outside: what it exits with, what it prints for whom, and that a host that is well is
//! left in peace.

use std::io::Write as _;
use std::os::unix::net::UnixListener;

use super::{doctor, examine};
use crate::harness::{Denial, Effect, Fault, Host, append, numbered};

fn stdout(output: &std::process::Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

#[test]
fn on_a_host_that_is_well_it_finds_nothing() {
    let (host, emulator) = Host::with_emulator();
    let agent = host.start();
    append(&host.log("app.log"), &numbered(0, 1, 20));
    agent.wait_until_delivered(1);
    let diagnosis = examine(&host, &[]);
    for outcome in ["fault", "warning"] {
        // Whoever runs the tests may have keys of their own on their machine.
        let found = diagnosis.with(outcome).into_iter().filter(|finding| !finding.contains("static-keys"));
        assert_eq!(found.collect::<Vec<_>>(), [""; 0]);
    }
    drop(emulator);
}

#[test]
fn a_fault_is_the_exit_code_and_an_unknown_check_is_usage() {
    let (host, emulator) = Host::with_emulator();
    emulator.set_fault(Fault::on("imds:token", Effect::Deny(Denial::default())));
    assert_eq!(doctor(&host, &["--only", "imds-token"]).status.code(), Some(1));
    assert_eq!(doctor(&host, &["--only", "configuration"]).status.code(), Some(0));
    let unknown = doctor(&host, &["--only", "imds-tokens"]);
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert_eq!(unknown.status.code(), Some(2));
    assert!(said.contains("imds-tokens") && said.contains("imds-token,"), "{said}");
}

#[test]
fn several_checks_may_be_asked_for_and_what_they_need_is_made_but_not_shown() {
    let (host, _emulator) = Host::with_emulator();
    let text = stdout(&doctor(&host, &["--only", "region,configuration", "--only", "credentials"]));
    assert!(text.contains("ok: configuration, region, credentials"), "{text}");
    assert!(!text.contains("imds-token"), "{text}");
}

#[test]
fn a_daemon_that_does_not_answer_is_a_fault_and_the_rest_is_looked_at_in_time() {
    let (host, _emulator) = Host::with_emulator();
    let _silent = UnixListener::bind(host.path("run/status.sock")).expect("a socket");
    let diagnosis = examine(&host, &["--only", "daemon,daemon-state,credentials"]);
    diagnosis.says("daemon", "fault", &["does not answer", "systemctl restart imds-agent"]);
    diagnosis.says("daemon-state", "skipped", &["before daemon is well"]);
    assert_eq!(diagnosis.all("credentials", "ok").len(), 1);
}

#[test]
fn a_socket_that_a_dead_daemon_left_is_a_note_and_one_of_another_version_a_warning() {
    let (host, _emulator) = Host::with_emulator();
    let path = host.path("run/status.sock");
    drop(UnixListener::bind(&path).expect("a socket"));
    examine(&host, &["--only", "daemon"]).says("daemon", "note", &["no daemon runs"]);
    std::fs::remove_file(&path).expect("our own file");
    let other = UnixListener::bind(&path).expect("a socket");
    let answering = std::thread::spawn(move || {
        let (mut caller, _) = other.accept().expect("a caller");
        caller.write_all(b"{\"schema\": 9}").expect("a caller that reads");
    });
    examine(&host, &["--only", "daemon"]).says(
        "daemon",
        "warning",
        &["of another version", "systemctl restart imds-agent"],
    );
    answering.join().expect("no panic");
}

#[test]
fn nothing_but_text_goes_into_a_pipe() {
    let (host, _emulator) = Host::with_emulator();
    let output = doctor(&host, &[]);
    assert!(!stdout(&output).contains('\x1b') && output.stderr.is_empty(), "{output:?}");
}
