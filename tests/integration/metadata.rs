//! `imds-agent metadata`: what it prints of a metadata service, what it refuses, and what it says of one that does not
//! answer. Not the daemon, which it never asks.

use std::process::Output;

use serde_json::Value;

use crate::harness::{Denial, Effect, Emulator, Fault, Host, free_address};

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn json(host: &Host, arguments: &[&str]) -> Value {
    serde_json::from_str(&stdout(&host.run(arguments))).expect("JSON")
}

#[test]
fn every_name_and_path_is_printed_as_the_service_says_it() {
    let (host, _emulator) = Host::with_emulator();
    for (subject, value) in [
        ("instance-id", "i-0e00000000000e001\n"),
        ("region", "eu-west-1\n"),
        ("availability-zone", "eu-west-1a\n"),
        ("account-id", "123456789012\n"),
        ("image-id", "ami-0e00000000000e001\n"),
        ("iam-role", "emulated-role\n"),
        ("local-ipv4", "10.0.0.17\n"),
        ("partition", "aws\n"),
        ("tags", "Name=emulated\n"),
    ] {
        assert_eq!(stdout(&host.run(&["metadata", subject])), value, "{subject}");
    }
    assert_eq!(stdout(&host.run(&["metadata", "/latest/meta-data//placement/region"])), "eu-west-1");
    assert_eq!(json(&host, &["metadata", "instance-id", "--json"]), "i-0e00000000000e001");
    assert_eq!(json(&host, &["metadata", "dynamic/instance-identity/document", "--json"])["region"], "eu-west-1");
}

#[test]
fn without_a_name_all_names_are_shown_and_what_is_not_there_is_a_dash() {
    let (host, _emulator) = Host::with_emulator();
    let text = stdout(&host.run(&["metadata"]));
    assert!(text.contains("\nregion             eu-west-1\n"), "{text}");
    assert!(text.contains("\npublic-ipv4        -\n"), "{text}");
    let all = json(&host, &["metadata", "--json"]);
    assert_eq!((&all["public-ipv4"], &all["tags"]["Name"]), (&Value::Null, &Value::from("emulated")));
}

#[test]
fn the_region_is_given_to_a_shell() {
    let (host, _emulator) = Host::with_emulator();
    let lines = stdout(&host.run(&["metadata", "--format", "env"]));
    let script = format!("{lines}printenv AWS_REGION AWS_DEFAULT_REGION");
    let shell = std::process::Command::new("sh").args(["-euc", &script]).env_clear().output().expect("a shell");
    assert_eq!(stdout(&shell), "eu-west-1\neu-west-1\n");
}

#[test]
fn a_tree_shows_everything_but_credentials_and_user_data() {
    let (host, emulator) = Host::with_emulator();
    let tree = json(&host, &["metadata", "--tree", "--json", "placement"]);
    assert_eq!(tree, serde_json::json!({"availability-zone": "eu-west-1a", "region": "eu-west-1"}));
    let text = stdout(&host.run(&["metadata", "--tree", "iam"]));
    assert!(text.contains("info:") && !text.contains("AccessKeyId") && !text.contains("emulated-role:"), "{text}");
    drop(emulator);
}

#[test]
fn credentials_are_never_shown_whoever_asks() {
    let (host, _emulator) = Host::with_emulator();
    for path in ["iam/security-credentials/emulated-role", "/latest/meta-data/identity-credentials/ec2/info"] {
        for tree in [false, true] {
            let arguments = ["metadata", path, "--tree"];
            let refused = host.run(&arguments[..if tree { 3 } else { 2 }]);
            assert_eq!(code(&refused), Some(77), "{refused:?}");
            assert!(stderr(&refused).contains("imds-agent exec") && refused.stdout.is_empty(), "{refused:?}");
        }
    }
}

#[test]
fn what_is_not_there_is_said_by_its_path() {
    let (host, emulator) = Host::with_emulator();
    let absent = host.run(&["metadata", "spot/instance-action"]);
    assert_eq!(code(&absent), Some(1));
    assert!(stderr(&absent).contains("nothing at /latest/meta-data/spot/instance-action"), "{absent:?}");
    drop(emulator);
}

#[test]
fn a_service_that_is_off_or_not_there_is_unreachable_with_its_cure() {
    let (host, emulator) = Host::with_emulator();
    emulator.set_fault(Fault::on("imds:token", Effect::Deny(Denial::default())));
    let off = host.run(&["metadata", "region"]);
    assert_eq!(code(&off), Some(69), "{off:?}");
    assert!(stderr(&off).contains("--http-endpoint enabled"), "{off:?}");
    let nowhere = Host::new(&format!("http://{}", free_address()));
    let absent = nowhere.run(&["metadata", "region"]);
    assert_eq!(code(&absent), Some(69), "{absent:?}");
    assert!(stderr(&absent).contains("no metadata service at http://127.0.0.1:"), "{absent:?}");
}

#[test]
fn user_data_is_for_root_only() {
    let emulator = Emulator::with_user_data("#!/bin/sh\necho secret\n");
    let mut host = Host::new(&emulator.url());
    host.configure("");
    if rustix::process::geteuid().is_root() {
        assert_eq!(stdout(&host.run(&["metadata", "user-data"])), "#!/bin/sh\necho secret\n");
    }
    host.without_root();
    let refused = host.run(&["metadata", "user-data"]);
    assert_eq!(code(&refused), Some(77), "{refused:?}");
    assert!(stderr(&refused).contains("only root"), "{refused:?}");
}
