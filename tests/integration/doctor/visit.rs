//! How a visit goes, seen from outside: what it exits with, what it prints for whom, and that a host that is well is
//! left in peace.

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
        assert_eq!(diagnosis.with(outcome), [""; 0]);
    }
    assert_eq!(doctor(&host, &[]).status.code(), Some(0));
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
fn nothing_but_text_goes_into_a_pipe() {
    let (host, _emulator) = Host::with_emulator();
    let output = doctor(&host, &[]);
    assert!(!stdout(&output).contains('\x1b') && output.stderr.is_empty(), "{output:?}");
}
