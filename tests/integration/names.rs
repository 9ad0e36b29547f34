//! What stands in the names of groups and streams, and when: a value as soon as it is known, a fallback only for what
//! is not there. Not the syntax of names.

use std::time::{Duration, Instant};

use crate::harness::{Emulator, Host, append, assert_same_lines, free_address, numbered};

const GROUP: &str = "/test/app";

/// How long a name with a fallback waits for a metadata service that does not answer.
const PATIENCE: Duration = Duration::from_secs(15);

fn stream(host: &Host, name: &str) -> String {
    host.one_source("").replace("log_stream = \"app\"", &format!("log_stream = \"{name}\""))
}

#[test]
fn a_name_waits_for_a_metadata_service_that_comes_late_although_it_has_a_fallback() {
    let address = free_address();
    let host = Host::new(&format!("http://{address}"));
    host.configure(&stream(&host, "{tag:Name|none}-{region|nowhere}"));
    append(&host.log("app.log"), &numbered(0, 10, 100));
    let agent = host.start();
    let report = agent.wait_until("the source says what it waits for", |report| {
        report.source("app.log").is_some_and(|source| source["state"] == "waiting")
    });
    let error = report.source("app.log").unwrap()["last_error"].clone();
    assert!(error["message"].as_str().unwrap().contains("{tag:Name} and {region}"), "{error:#}");
    assert!(error["hint"].as_str().unwrap().contains("15 s"), "{error:#}");
    let emulator = Emulator::start_at(address);
    agent.wait_until_delivered(10);
    assert_same_lines(&emulator.lines(GROUP, "emulated-eu-west-1"), &numbered(0, 10, 100));
}

#[test]
fn a_fallback_stands_in_as_soon_as_the_metadata_service_says_that_there_is_no_such_value() {
    let (host, emulator) = Host::with_emulator();
    host.configure(&stream(&host, "{tag:Missing|none}"));
    append(&host.log("app.log"), &numbered(0, 10, 100));
    let started = Instant::now();
    let agent = host.start();
    agent.wait_until_delivered(10);
    assert!(started.elapsed() < PATIENCE, "it waited for {:?}, although the answer was there", started.elapsed());
    assert_same_lines(&emulator.lines(GROUP, "none"), &numbered(0, 10, 100));
}

#[test]
fn a_fallback_stands_in_at_once_where_the_metadata_service_is_disabled() {
    let mut host = Host::new("http://127.0.0.1:9");
    host.set("AWS_EC2_METADATA_DISABLED", "true");
    host.configure(&stream(&host, "{tag:Name|none}"));
    append(&host.log("app.log"), &numbered(0, 10, 100));
    let started = Instant::now();
    let agent = host.start();
    agent.wait_until("the fallback is taken", |report| report.destination(GROUP, "none").is_some());
    assert!(started.elapsed() < PATIENCE, "it waited for {:?}", started.elapsed());
}

#[test]
fn a_fallback_stands_in_after_a_while_where_nobody_answers() {
    let host = Host::new(&format!("http://{}", free_address()));
    host.configure(&stream(&host, "{tag:Name|none}"));
    append(&host.log("app.log"), &numbered(0, 10, 100));
    let started = Instant::now();
    let agent = host.start();
    agent.wait_until("the fallback is taken", |report| report.destination(GROUP, "none").is_some());
    assert!(started.elapsed() >= PATIENCE, "it did not wait, {:?} only", started.elapsed());
}
