//! The doors over time: nothing to hand out, a restart, a reload, a port that somebody else has.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::site::Site;
use crate::harness::http::request;
use crate::harness::{Effect, Fault, SOON, free_address, look_until};

#[test]
fn what_has_expired_is_not_handed_out_and_the_reason_is_told() {
    let site = Site::new();
    let agent = site.ready();
    let token = site.token();
    site.emulator.set_fault(Fault::on("sts:*", Effect::Close));
    site.emulator.set_fault(Fault::on("imds:*", Effect::Close));
    drop(agent);
    // A daemon that has never had any is in the same case as one whose have expired: there is nothing valid.
    let _agent = site.host.start();
    let (status, body) = site.ask("/role/app", &[("Authorization", &token)]);
    assert_eq!((status, &body["Code"]), (503, &Value::from("NotReady")), "{body}");
    assert!(body["Message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    let (status, body) = site.ask_socket("GET", "/role/app?wait=1");
    assert_eq!((status, &body["Code"]), (503, &Value::from("NotReady")), "{body}");
    assert_eq!(site.look("/latest/meta-data/iam/security-credentials/app").0, 503);
    assert_eq!(site.look("/latest/meta-data/instance-id").0, 503);
}

#[test]
fn answers_are_given_at_once_while_aws_and_the_metadata_service_hang() {
    let site = Site::new();
    let agent = site.ready();
    site.emulator.set_fault(Fault::on("sts:*", Effect::Hang));
    site.emulator.set_fault(Fault::on("imds:*", Effect::Hang));
    let token = site.token();
    // Far below what a request for any of them would take before it gave up.
    let begun = Instant::now();
    for _ in 0..50 {
        assert_eq!(site.ask("/role/app", &[("Authorization", &token)]).0, 200);
        assert_eq!(site.ask_socket("GET", "/role/app?wait=60").0, 200);
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(agent.report().at("/credentials/1/served"), 100);
}

#[test]
fn a_token_survives_a_restart_and_is_another_one_when_that_is_asked_for() {
    let site = Site::new();
    let agent = site.ready();
    let first = site.token();
    agent.stop();
    assert_eq!(site.token(), first);
    let agent = site.ready();
    assert_eq!(site.token(), first);
    assert_eq!(site.ask("/role/app", &[("Authorization", &first)]).0, 200);
    assert_eq!(site.ask_socket("POST", "/refresh?role=app&token=true").0, 200);
    let second = site.token();
    assert_ne!(second, first);
    assert_eq!(site.ask("/role/app", &[("Authorization", &first)]).0, 403);
    assert_eq!(site.ask("/role/app", &[("Authorization", &second)]).0, 200);
    drop(agent);
    // What is not a token of ours is replaced.
    std::fs::write(site.host.path("run/tokens/app"), format!("{second}\n")).expect("the file can be written");
    let _agent = site.ready();
    assert!(site.token().len() == 64 && site.token() != second);
}

#[test]
fn a_role_that_is_no_more_loses_its_token_at_the_reload() {
    let site = Site::new();
    let agent = site.ready();
    let config = std::fs::read_to_string(site.host.config()).expect("the configuration");
    let (before, rest) = config.split_once("[[role]]\nname = \"other\"").expect("the other role");
    let (_, after) = rest.split_once("[endpoints.container]").expect("the doors");
    assert!(site.host.path("run/tokens/other").exists());
    site.host.configure(&format!("{before}[endpoints.container]{after}"));
    agent.signal(rustix::process::Signal::HUP);
    look_until(SOON, || (!site.host.path("run/tokens/other").exists()).then_some(())).expect("the token goes");
    assert_eq!(site.ask("/role/app", &[("Authorization", &site.token())]).0, 200);
}

#[test]
fn a_reload_opens_moves_and_closes_doors() {
    let site = Site::new();
    let agent = site.ready();
    let config = std::fs::read_to_string(site.host.config()).expect("the configuration");
    let elsewhere = free_address();
    site.host.configure(&config.replace(&site.container.to_string(), &elsewhere.to_string()));
    agent.signal(rustix::process::Signal::HUP);
    let token = site.token();
    let moved = || request(elsewhere, "GET", "/role/app", &[("Authorization", &token)], "").ok();
    look_until(SOON, || moved().filter(|answer| answer.status == 200)).expect("the door has moved");
    look_until(SOON, || TcpStream::connect(site.container).err()).expect("the old one is closed");
    let without = config.split("[endpoints.container]").next().expect("what stands before");
    site.host.configure(without);
    agent.signal(rustix::process::Signal::HUP);
    look_until(SOON, || TcpStream::connect(elsewhere).err()).expect("it is closed");
    look_until(SOON, || TcpStream::connect(site.metadata).err()).expect("so is the other");
    assert_eq!(site.ask_socket("GET", "/role/app").0, 200);
}

#[test]
fn a_port_that_is_taken_is_a_warning_and_had_as_soon_as_it_is_free() {
    let site = Site::new();
    let taken = std::net::TcpListener::bind(site.container).expect("a free port");
    let agent = site.ready();
    let report = agent.report();
    let warning = report.list("/warnings").iter().find(|warning| warning["code"] == "door_closed").expect("a warning");
    assert!(warning["message"].as_str().is_some_and(|text| text.contains(&site.container.to_string())), "{warning}");
    assert!(warning["hint"].as_str().is_some_and(|text| text.contains("ss -ltnp")), "{warning}");
    assert_eq!(site.ask_socket("GET", "/role/app").0, 200);
    drop(taken);
    let token = site.token();
    let asked = || request(site.container, "GET", "/role/app", &[("Authorization", &token)], "").ok();
    look_until(SOON, || asked().filter(|answer| answer.status == 200)).expect("the door opens");
    agent.wait_until("the warning is gone", |report| {
        !report.list("/warnings").iter().any(|warning| warning["code"] == "door_closed")
    });
}

#[test]
fn a_profile_of_a_file_is_kept_fresh_and_the_others_stay() {
    let site = Site::new();
    let path = site.host.path("credentials");
    std::fs::write(&path, "[mine]\naws_access_key_id = X\n").expect("a file");
    let config = std::fs::read_to_string(site.host.config()).expect("the configuration");
    let table =
        format!("[endpoints.credentials_file]\npath = \"{}\"\nprofile = \"app\"\nrole = \"app\"\n", path.display());
    site.host.configure(&format!("{config}\n{table}"));
    let _agent = site.ready();
    let read = || std::fs::read_to_string(&path).expect("a file");
    look_until(SOON, || read().contains("[app]").then_some(())).expect("the profile is written");
    let (_, document) = site.ask_socket("GET", "/role/app");
    assert!(read().contains(&format!("aws_access_key_id = {}", document["AccessKeyId"].as_str().expect("an id"))));
    assert!(read().starts_with("[mine]\naws_access_key_id = X\n"));
    assert_eq!(site.ask_socket("POST", "/refresh?role=app").0, 200);
    let (_, document) = site.ask_socket("GET", "/role/app");
    let id = document["AccessKeyId"].as_str().expect("an id").to_owned();
    look_until(SOON, || read().contains(&id).then_some(())).expect("the others are written");
}
