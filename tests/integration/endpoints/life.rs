//! The doors over time: nothing to hand out, a restart, a reload, a port that somebody else has.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use super::site::Site;
use crate::harness::http::request;
use crate::harness::{Agent, Change, Effect, Fault, SOON, Systemd, free_address, look_until};

#[test]
fn with_nothing_to_hand_out_the_reason_is_told() {
    let site = Site::new();
    let agent = site.ready();
    let token = site.token();
    site.emulator.set_fault(Fault::on("sts:*", Effect::Close));
    site.emulator.set_fault(Fault::on("imds:*", Effect::Close));
    drop(agent);
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
fn what_has_expired_while_everything_is_down_is_not_handed_out() {
    let uid = rustix::process::geteuid().as_raw();
    let site = Site::with(&format!("[credentials]\nallow = [{{ uid = {uid} }}]\n"));
    site.emulator.change(&Change { credentials_lifetime_seconds: Some(8), ..Change::default() });
    let agent = site.host.start();
    agent.wait_until("credentials are there", |report| report.text("/credentials/0/state") == "fresh");
    assert_eq!(site.ask_socket("GET", "/base").0, 200);
    site.emulator.set_fault(Fault::on("imds:*", Effect::Close));
    site.emulator.set_fault(Fault::on("sts:*", Effect::Close));
    let refused = look_until(SOON, || {
        let asked = Timestamp::now();
        let (status, body) = site.ask_socket("GET", "/base");
        if status == 503 {
            return Some(body);
        }
        let end: Timestamp = body["Expiration"].as_str().expect("an end").parse().expect("a time");
        assert!(asked <= end + jiff::SignedDuration::from_secs(1), "what ended at {end} was handed out at {asked}");
        None
    });
    let refused = refused.expect("they expire");
    assert_eq!(refused["Code"], "NotReady");
    assert!(refused["Message"].as_str().is_some_and(|message| !message.is_empty()), "{refused}");
    assert_eq!(agent.report().text("/credentials/0/state"), "expired");
    site.emulator.clear_faults();
    assert_eq!(site.ask_socket("GET", "/base?wait=60").0, 200, "who waits gets the next ones");
}

#[test]
fn the_record_goes_to_a_stream_of_its_own_if_that_is_asked_for() {
    let site = Site::with("[credentials.audit]\nlog_group = \"/test/audit\"\nlog_stream = \"who\"\n");
    let agent = site.ready();
    assert_eq!(site.ask_socket("GET", "/role/app").0, 200);
    assert_eq!(site.ask("/role/app", &[("Authorization", "guessed")]).0, 403);
    let lines = look_until(SOON, || {
        let lines = site.emulator.lines("/test/audit", "who");
        (lines.len() == 2).then_some(lines)
    });
    let lines = lines.unwrap_or_else(|_| panic!("{:#}\n{}", agent.report(), agent.said()));
    let entries: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect("a JSON object")).collect();
    assert_eq!((&entries[0]["outcome"], &entries[0]["door"]), (&"served".into(), &"unix".into()), "{lines:?}");
    assert_eq!((&entries[1]["outcome"], &entries[1]["role"]), (&"refused".into(), &"app".into()), "{lines:?}");
    assert!(!site.host.path("run/audit").exists() && !site.host.path("run/logs.sock").exists(), "nobody writes there");
    agent.report().assert_ledger_adds_up();
}

/// The sockets that the agent hands over to be kept.
fn stored(systemd: &Systemd) -> Vec<OwnedFd> {
    let mut kept = Vec::new();
    loop {
        let message = systemd.next();
        kept.extend(message.descriptors);
        if message.text == "READY=1" {
            return kept;
        }
    }
}

/// The daemon, with `sockets` handed over as systemd would.
fn start_with(site: &Site, sockets: &[OwnedFd]) -> Agent {
    let config = site.host.config().display().to_string();
    let plain = site.host.command(&["run", "--config", &config]);
    let mut script = String::new();
    for (index, socket) in sockets.iter().enumerate() {
        // Only what is left open reaches the shell.
        rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::empty()).expect("a flag of our own");
        // Above all that are there, so that none is written over before it was copied.
        let _ = write!(script, "exec {}<&{}; ", 200 + index, socket.as_raw_fd());
    }
    for index in 0..sockets.len() {
        let _ = write!(script, "exec {}<&{} {}<&-; ", 3 + index, 200 + index, 200 + index);
    }
    let _ = write!(script, "export LISTEN_FDS={} LISTEN_PID=$$; exec \"$0\" \"$@\"", sockets.len());
    let mut command = Command::new("bash");
    command.arg("-c").arg(script).arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Agent::start(command, site.host.path("run/status.sock"))
}

#[test]
fn callers_wait_at_every_door_while_the_daemon_restarts() {
    let mut site = Site::new();
    let systemd = Systemd::of(&mut site.host);
    let agent = site.ready();
    let sockets = stored(&systemd);
    assert_eq!(sockets.len(), 4, "status, and three doors");
    let token = site.token();
    agent.kill();
    let mut http = TcpStream::connect(site.container).expect("the queue takes a connection");
    let question = format!("Host: {}\r\nConnection: close\r\n", site.container);
    let question = format!("GET /role/app HTTP/1.1\r\n{question}Authorization: {token}\r\n\r\n");
    http.write_all(question.as_bytes()).expect("a request");
    http.set_read_timeout(Some(SOON)).expect("a timeout");
    let mut local = UnixStream::connect(site.host.path("run/credentials.sock")).expect("the queue takes a connection");
    local.write_all(b"GET /role/app?wait=60 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("a request");
    local.set_read_timeout(Some(SOON)).expect("a timeout");
    let _agent = start_with(&site, &sockets);
    let mut answer = String::new();
    local.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer.clear();
    http.read_to_string(&mut answer).expect("an answer");
    // The container protocol does not wait for credentials: the first answer may be that there are none yet.
    assert!(answer.starts_with("HTTP/1.1 200 ") || answer.contains("NotReady"), "{answer}");
    assert_eq!(site.ask("/role/app", &[("Authorization", &token)]).0, 200);
    assert_eq!(site.look("/latest/meta-data/iam/security-credentials/app").0, 200);
}

#[test]
fn answers_are_given_at_once_while_aws_and_the_metadata_service_hang() {
    let site = Site::new();
    let agent = site.ready();
    site.emulator.set_fault(Fault::on("sts:*", Effect::Hang));
    site.emulator.set_fault(Fault::on("imds:*", Effect::Hang));
    let shown = site.token();
    // Far below what a request for any of them would take before it gave up.
    let begun = Instant::now();
    for _ in 0..50 {
        assert_eq!(site.ask("/role/app", &[("Authorization", &shown)]).0, 200);
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
#[expect(clippy::print_stderr, reason = "who reads the log must see what was not tested")]
fn root_renews_what_it_may_not_have_and_gets_nothing_by_that() {
    let site = Site::new();
    let _agent = site.ready();
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: only root is root");
    }
    let token = || std::fs::read_to_string(site.host.path("run/tokens/other")).expect("a token");
    let first = token();
    assert_eq!(site.ask_socket("GET", "/role/other").0, 403);
    for target in ["/refresh?role=other", "/refresh?role=other&token=true"] {
        let (status, answer) = site.ask_socket("POST", target);
        assert_eq!(status, 200, "{answer}");
        assert!(answer["SecretAccessKey"].is_null() && answer["Token"].is_null(), "{answer}");
    }
    assert_ne!(token(), first);
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
    let shown = site.token();
    let asked = || request(site.container, "GET", "/role/app", &[("Authorization", &shown)], "").ok();
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
