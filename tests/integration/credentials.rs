//! Promises 1 and 7 under real shipping: credentials that rotate, expire and are refused lose no line, a denial is held
//! and explained, and STS is not needed. Not the refresh policy: its table is tested beside it.

use std::time::Duration;

use crate::harness::{
    Change, Denial, Effect, Fates, Fault, Host, SOON, Writer, append, assert_same_lines, fates, numbered,
};

const GROUP: &str = "/test/app";

/// A denied destination is tried again once a minute.
const DENIED_PROBE: Duration = Duration::from_mins(1);

#[test]
fn credentials_that_expire_while_shipping_are_replaced_and_no_line_is_lost() {
    let (host, emulator) = Host::with_emulator();
    let lines = numbered(0, 4_000, 100);
    let agent = host.start();
    let before = agent.wait_until("credentials are there", |report| report.text("/credentials/0/state") == "fresh");
    let writer = Writer::start(host.log("app.log"), lines.clone(), 100, Duration::from_millis(50));
    agent.wait_until("lines flow", |report| report.events().delivered >= 1_000);
    emulator.expire_credentials();
    writer.finish();
    let after = agent.wait_until_delivered(4_000);
    assert_same_lines(&emulator.lines(GROUP, "app"), &lines);
    assert_ne!(after.text("/credentials/0/key_id_suffix"), before.text("/credentials/0/key_id_suffix"), "{after:#}");
    after.assert_ledger_adds_up();
}

#[test]
fn an_expired_token_answer_asks_for_a_refresh_and_resends() {
    let (host, emulator) = Host::with_emulator();
    emulator.set_fault(Fault::on("logs:PutLogEvents", Effect::Expired).times(2));
    append(&host.log("app.log"), &numbered(0, 100, 100));
    let agent = host.start();
    let report = agent.wait_until_delivered(100);
    assert_same_lines(&emulator.lines(GROUP, "app"), &numbered(0, 100, 100));
    assert!(report.at("/credentials/0/refreshes").as_u64() >= Some(2), "{report:#}");
}

#[test]
fn a_failed_refresh_keeps_the_credentials_that_still_work() {
    let (host, emulator) = Host::with_emulator();
    let agent = host.start();
    let before = agent.wait_until("credentials are there", |report| report.text("/credentials/0/state") == "fresh");
    let failure = Effect::Status { code: 500, body: String::new() };
    emulator.set_fault(Fault::on("imds:get", failure).path("/latest/meta-data/iam"));
    // The refusal makes the cache ask for others, which it can't have.
    emulator.set_fault(Fault::on("logs:PutLogEvents", Effect::Expired).times(1));
    let lines = numbered(0, 100, 100);
    append(&host.log("app.log"), &lines);
    let report = agent.wait_until("the failed refresh is shown", |report| report.at("/credentials/0/failures") != 0);
    assert_eq!(report.text("/credentials/0/expiration"), before.text("/credentials/0/expiration"), "as it was issued");
    agent.wait_until_delivered(100);
    assert_same_lines(&emulator.lines(GROUP, "app"), &lines);
}

#[test]
fn a_denied_destination_is_held_explained_and_delivered_once_it_is_allowed() {
    let (host, emulator) = Host::with_emulator();
    emulator.set_fault(Fault::on("logs:PutLogEvents", Effect::Deny(Denial::default())));
    append(&host.log("app.log"), &numbered(0, 100, 100));
    let agent = host.start();
    let report = agent.wait_until("the denial is shown", |report| {
        report.destination(GROUP, "app").is_some_and(|place| place["state"] == "denied")
    });
    let fault = &report.destination(GROUP, "app").unwrap()["last_error"];
    assert!(fault["message"].as_str().is_some_and(|text| text.contains("logs:PutLogEvents")), "{fault}");
    assert!(
        fault["hint"].as_str().is_some_and(|text| text.contains("logs:PutLogEvents")),
        "the statement to add: {fault}"
    );
    assert!(fault.to_string().contains(":log-group:/test/app"), "the resource: {fault}");
    let refreshes = report.at("/credentials/0/refreshes").clone();
    let events = report.events();
    // The file holds the lines: whether they also wait in memory is the shipper's business.
    assert_eq!((events.delivered, events.dropped), (0, 0), "{report:#}");
    assert_eq!(report.source("app.log").unwrap()["position"], 0, "{report:#}");
    emulator.clear_faults();
    let within = DENIED_PROBE * 2;
    let report = agent.wait_within(within, "the held lines are delivered", |report| report.events().delivered == 100);
    assert_same_lines(&emulator.lines(GROUP, "app"), &numbered(0, 100, 100));
    assert_eq!(*report.at("/credentials/0/refreshes"), refreshes, "a denial is no reason for new credentials");
    assert!(report.destination(GROUP, "app").unwrap()["last_error"].is_null(), "{report:#}");
}

#[test]
fn a_create_that_is_denied_names_the_action_that_is_missing() {
    let (host, emulator) = Host::with_emulator();
    emulator.set_fault(Fault::on("logs:CreateLogGroup", Effect::Deny(Denial::default())));
    append(&host.log("app.log"), &numbered(0, 10, 100));
    let agent = host.start();
    let report = agent.wait_until("the denial is shown", |report| {
        report.destination(GROUP, "app").is_some_and(|place| place["state"] == "denied")
    });
    let fault = &report.destination(GROUP, "app").unwrap()["last_error"];
    assert!(fault["message"].as_str().is_some_and(|text| text.contains("logs:CreateLogGroup")), "{fault}");
}

#[test]
fn with_sts_down_logs_flow_and_the_identity_is_merely_unconfirmed() {
    let (host, emulator) = Host::with_emulator();
    emulator.set_fault(Fault::on("sts:*", Effect::Status { code: 503, body: String::new() }));
    append(&host.log("app.log"), &numbered(0, 100, 100));
    let agent = host.start();
    let report = agent.wait_until_delivered(100);
    assert_eq!(report.text("/credentials/0/state"), "fresh", "{report:#}");
    assert!(report.at("/credentials/0/arn").is_null(), "{report:#}");
    assert_same_lines(&emulator.lines(GROUP, "app"), &numbered(0, 100, 100));
    agent
        .wait_until("the warning is shown", |report| report.at("/warnings").to_string().to_lowercase().contains("sts"));
}

#[test]
fn who_the_credentials_are_is_confirmed_once() {
    let (host, emulator) = Host::with_emulator();
    append(&host.log("app.log"), &numbered(0, 10, 100));
    let agent = host.start();
    let report = agent.wait_until("the identity is confirmed", |report| !report.at("/credentials/0/arn").is_null());
    assert!(report.text("/credentials/0/arn").starts_with("arn:aws:sts::"), "{report:#}");
    agent.wait_until_delivered(10);
    assert_eq!(emulator.counts().of("sts:GetCallerIdentity"), 1);
}

#[test]
fn a_role_that_changes_is_noticed_at_the_next_refresh() {
    let (host, emulator) = Host::with_emulator();
    let agent = host.start();
    agent.wait_until("credentials are there", |report| report.text("/credentials/0/state") == "fresh");
    emulator.change(&Change { role_name: Some("successor".to_owned()), ..Change::default() });
    emulator.set_fault(Fault::on("logs:PutLogEvents", Effect::Expired).times(1));
    let lines = numbered(0, 10, 100);
    append(&host.log("app.log"), &lines);
    agent.wait_until("the new role is shown", |report| report.text("/credentials/0/role") == "successor");
    agent.wait_until_delivered(10);
    assert_eq!(fates(&emulator.lines(GROUP, "app"), &lines), Fates::default());
}

#[test]
fn credentials_that_are_refused_while_imds_repeats_them_hold_the_lines_until_others_come() {
    let (host, emulator) = Host::with_emulator();
    let agent = host.start();
    agent.wait_until("credentials are there", |report| report.text("/credentials/0/state") == "fresh");
    emulator.revoke_credentials();
    let lines = numbered(0, 100, 100);
    append(&host.log("app.log"), &lines);
    let report = agent.wait_until("the refusal is shown", |report| {
        report.destination(GROUP, "app").is_some_and(|place| !place["last_error"].is_null())
    });
    assert_eq!((report.events().delivered, report.events().dropped), (0, 0), "{report:#}");
    emulator.rotate_credentials();
    // A refused key is asked about at most every 30 s.
    let within = Duration::from_secs(30) + SOON;
    agent.wait_within(within, "the lines are delivered", |report| report.events().delivered == 100);
    assert_same_lines(&emulator.lines(GROUP, "app"), &lines);
}

#[test]
fn a_metadata_token_that_is_no_longer_valid_is_replaced_without_a_failure() {
    let (host, emulator) = Host::with_emulator();
    let agent = host.start();
    agent.wait_until("credentials are there", |report| report.text("/credentials/0/state") == "fresh");
    emulator.forget_tokens();
    emulator.expire_credentials();
    append(&host.log("app.log"), &numbered(0, 10, 100));
    let report = agent.wait_until_delivered(10);
    assert_eq!(report.at("/credentials/0/failures"), 0, "{report:#}");
    assert_eq!(emulator.counts().of("imds:token"), 2);
}
