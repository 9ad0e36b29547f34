//! `policy` as a shell sees it: the shipped examples are what it makes, what it asks whom, and an existing policy judged.
//! Not each statement: those are tested beside the code.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::harness::{Emulator, Host, free_address};

const ACCOUNT: &str = "123456789012";

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/iam")
}

fn example(name: &str) -> String {
    std::fs::read_to_string(examples().join(name)).expect("an example")
}

/// Nothing is there that anything could leave this machine by.
fn host(toml: &str) -> Host {
    let host = Host::new(&format!("http://{}", free_address()));
    host.configure(toml);
    host
}

fn policy(host: &Host, arguments: &[&str]) -> Output {
    let config = host.config().display().to_string();
    host.run(&[&["policy", "--config", &config], arguments].concat())
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

#[test]
fn the_shipped_examples_are_what_the_command_makes_of_the_configurations_beside_them() {
    let scenarios = ["a-chat", "b-container", "c-manager", "d-api", "e-deployer"];
    for name in scenarios {
        let host = host(&example(&format!("{name}.toml")));
        for (format, extension) in [("json", "json"), ("terraform", "tf"), ("cloudformation", "yaml")] {
            let output = policy(&host, &["--account-id", ACCOUNT, "--format", format]);
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            assert_eq!(stdout(&output), example(&format!("{name}.{extension}")), "{name}: see packaging/iam/README.md");
        }
        let own = examples().join(format!("{name}.json")).display().to_string();
        let output = policy(&host, &["--compare", &own, "--json"]);
        let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let none = Value::Array(Vec::new());
        assert_eq!((output.status.code(), &found["lacking"], &found["beyond"]), (Some(0), &none, &none), "{name}");
    }
    let shipped = std::fs::read_dir(examples()).expect("a directory").count();
    assert_eq!(shipped, scenarios.len() * 4 + 1, "and the README");
}

#[test]
fn on_an_instance_the_metadata_service_says_where_it_is_and_elsewhere_a_star_stands_and_is_said() {
    let toml = "[logs]\nlog_group = \"/app/{tag:Team|none}\"\n[[logs.file]]\ninclude = [\"/var/log/x\"]\n";
    let emulator = Emulator::start();
    let instance = Host::new(&emulator.url());
    instance.configure(toml);
    let there = policy(&instance, &[]);
    let document: Value = serde_json::from_slice(&there.stdout).expect("JSON");
    let resource = document["Statement"][0]["Resource"].as_str().expect("one").to_owned();
    assert_eq!(resource, format!("arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:/app/*:*"));
    assert!(stderr(&there).contains("{tag:Team}") && !stderr(&there).contains("--region"), "{}", stderr(&there));
    let elsewhere = policy(&host(toml), &[]);
    assert!(stdout(&elsewhere).contains("arn:aws:logs:*:*:log-group:/app/*:*"), "{}", stdout(&elsewhere));
    assert!(stderr(&elsewhere).contains("--region") && stderr(&elsewhere).contains("--account-id"));
    let china = policy(&host(toml), &["--region", "cn-north-1", "--account-id", ACCOUNT, "--trust"]);
    assert!(stdout(&china).contains("ec2.amazonaws.com.cn"), "{}", stdout(&china));
}

#[test]
fn what_a_role_s_trust_policy_must_say_names_the_instance_s_own_role() {
    let emulator = Emulator::start();
    let host = Host::new(&emulator.url());
    host.configure(&example("c-manager.toml"));
    let output = policy(&host, &["--trust-of", "manager"]);
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let statement = &document["Statement"][0];
    assert_eq!(statement["Principal"]["AWS"], format!("arn:aws:iam::{ACCOUNT}:role/emulated-role"));
    assert_eq!(statement["Condition"]["StringEquals"]["sts:ExternalId"], "workers-1");
    assert_eq!(policy(&host, &["--trust-of", "nobody"]).status.code(), Some(2));
    assert_eq!(policy(&host, &["--trust", "--format", "terraform"]).status.code(), Some(2));
}

#[test]
fn a_policy_that_lacks_something_is_a_failure_with_the_statement_to_add() {
    let host = host(&example("d-api.toml"));
    let other = examples().join("a-chat.json").display().to_string();
    let output = policy(&host, &["--compare", &other]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = stdout(&output);
    // The account is the one that the policy names.
    let parameter = format!("arn:aws:ssm:eu-west-1:{ACCOUNT}:parameter/sandbox/go-mysql-api/db/password");
    assert!(text.contains(&format!("  ssm:GetParameter on {parameter}\n")), "{text}");
    assert!(text.contains("what to add:\n{") && text.contains("statement \"WriteLogs\""), "{text}");
    assert!(!stderr(&output).contains("--account-id"), "{}", stderr(&output));
    std::fs::write(host.path("no.json"), "[]").expect("a file");
    for file in ["no.json", "absent.json"] {
        let output = policy(&host, &["--compare", &host.path(file).display().to_string()]);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{}", stderr(&output));
        assert!(stderr(&output).contains(file), "{}", stderr(&output));
    }
}

#[test]
fn a_configuration_that_needs_nothing_gets_a_policy_that_allows_nothing() {
    let output = policy(&host(""), &[]);
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &document["Statement"]), (Some(0), &Value::Array(Vec::new())));
    assert!(stderr(&output).contains("needs no policy"), "{}", stderr(&output));
}
