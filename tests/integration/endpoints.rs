//! Who gets a role's credentials and who does not, at each door, from outside: other users, guessed tokens, browsers,
//! callers that say too much or nothing, and what happens when there is nothing to hand out. Not where they come from.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::http::request;
use crate::harness::{Agent, Effect, Emulator, Fault, Host, SOON, free_address, look_until, set_mode};

/// A user that no rule here names.
const STRANGER: u32 = 61_234;

/// A host with the role `app` for this test's own user, and both HTTP doors.
struct Site {
    host: Host,
    emulator: Emulator,
    container: SocketAddr,
    metadata: SocketAddr,
}

impl Site {
    fn new() -> Self {
        Self::with("")
    }

    /// `more` stands at the end of the configuration.
    fn with(more: &str) -> Self {
        let (host, emulator) = Host::with_emulator();
        let (container, metadata) = (free_address(), free_address());
        let uid = rustix::process::geteuid().as_raw();
        host.configure(&format!(
            "[[role]]\nname = \"app\"\nrole_arn = \"arn:aws:iam::123456789012:role/app\"\nallow = [{{ user = \"{uid}\" }}]\n\
             [[role]]\nname = \"other\"\nrole_arn = \"arn:aws:iam::123456789012:role/other\"\nallow = [{{ uid = 61235 }}]\n\
             [endpoints.container]\nlisten = \"{container}\"\n\
             [endpoints.metadata]\nlisten = \"{metadata}\"\nrole = \"app\"\n{more}"
        ));
        Self { host, emulator, container, metadata }
    }

    /// Started, with the role's credentials in hand.
    fn ready(&self) -> Agent {
        let agent = self.host.start();
        agent.wait_until("the role has credentials", |report| report.text("/credentials/1/state") == "fresh");
        agent
    }

    fn token(&self) -> String {
        std::fs::read_to_string(self.host.path("run/tokens/app")).expect("the role's token")
    }

    /// The status and the JSON of the container door's answer.
    fn ask(&self, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
        let answer = request(self.container, "GET", path, headers, "").expect("an answer");
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    fn metadata_token(&self) -> String {
        let ttl = [("X-aws-ec2-metadata-token-ttl-seconds", "60")];
        let answer = request(self.metadata, "PUT", "/latest/api/token", &ttl, "").expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }

    fn look(&self, path: &str) -> (u16, String) {
        let token = self.metadata_token();
        let answer =
            request(self.metadata, "GET", path, &[("X-aws-ec2-metadata-token", &token)], "").expect("an answer");
        (answer.status, answer.text())
    }

    /// The unix door's answer to a request of this process.
    fn ask_socket(&self, method: &str, target: &str) -> (u16, Value) {
        socket_answer(&self.host, method, target)
    }
}

fn socket_answer(host: &Host, method: &str, target: &str) -> (u16, Value) {
    let mut stream = UnixStream::connect(host.path("run/credentials.sock")).expect("the door is open");
    stream.set_read_timeout(Some(SOON)).expect("a socket can have a timeout");
    let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    parsed(&answer)
}

fn parsed(answer: &str) -> (u16, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or_default())
}

/// Runs a program as a user that nobody here knows; `None`, said loudly, where the tests may not do that.
fn as_stranger(program: &str, arguments: &[&str]) -> Option<Output> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can be another user");
        return None;
    }
    let ids = [format!("--reuid={STRANGER}"), format!("--regid={STRANGER}"), "--clear-groups".to_owned()];
    let output = Command::new("setpriv").args(ids).arg(program).args(arguments).output();
    Some(output.expect("setpriv is installed"))
}

/// What curl gets there: the status and the body.
fn curl_as_stranger(arguments: &[&str]) -> Option<(u16, String)> {
    let all: Vec<&str> =
        ["--silent", "--max-time", "30", "--write-out", "\n%{http_code}"].iter().chain(arguments).copied().collect();
    let output = as_stranger("curl", &all)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').expect("what curl was asked to write");
    Some((status.parse().unwrap_or(0), body.to_owned()))
}

fn secrets(document: &Value) -> Vec<String> {
    ["SecretAccessKey", "Token"].map(|key| document[key].as_str().expect("a secret").to_owned()).to_vec()
}

#[test]
fn every_door_gives_the_role_to_whom_it_is_for() {
    let site = Site::new();
    let agent = site.ready();
    let (status, by_socket) = site.ask_socket("GET", "/role/app");
    assert_eq!(status, 200, "{by_socket}");
    assert_eq!(by_socket["Endpoint"], format!("http://{}/role/app", site.container));
    assert_eq!(by_socket["TokenFile"], site.host.path("run/tokens/app").display().to_string());
    let token = site.token();
    assert!(token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "{token:?}");
    let (status, by_container) = site.ask("/role/app", &[("Authorization", &token)]);
    assert_eq!(status, 200, "{by_container}");
    let names: Vec<&String> = by_container.as_object().expect("an object").keys().collect();
    for name in names {
        let known = ["AccessKeyId", "SecretAccessKey", "Token", "Expiration", "RoleArn", "AccountId"];
        assert!(known.contains(&name.as_str()), "{name} is none of the protocol's");
    }
    assert_eq!(site.look("/latest/meta-data/iam/security-credentials/"), (200, "app".to_owned()));
    let (status, document) = site.look("/latest/meta-data/iam/security-credentials/app");
    let document: Value = serde_json::from_str(&document).expect("a document");
    assert_eq!((status, &document["Code"]), (200, &Value::from("Success")));
    for other in [&by_container, &document] {
        for key in ["AccessKeyId", "SecretAccessKey", "Token", "Expiration"] {
            assert_eq!(other[key], by_socket[key], "{key}");
        }
    }
    let report = agent.wait_until("all three are counted", |report| report.at("/credentials/1/served") == 3);
    assert_eq!(report.at("/credentials/1/denied"), 0);
    let (_, who) = site.ask_socket("GET", "/who");
    let doors: Vec<&str> = who.as_array().expect("a list").iter().filter_map(|entry| entry["door"].as_str()).collect();
    assert_eq!(doors, ["metadata", "container", "unix"], "{who}");
}

#[test]
fn a_second_local_user_gets_nothing_anywhere() {
    let site = Site::new();
    set_mode(&site.host.path(""), 0o755);
    let agent = site.ready();
    let (_, document) = site.ask_socket("GET", "/role/app");
    let (secrets, token) = (secrets(&document), site.token());
    let socket = site.host.path("run/credentials.sock").display().to_string();
    let token_file = site.host.path("run/tokens/app").display().to_string();
    let container = format!("http://{}/role/app", site.container);
    let metadata = format!("http://{}/latest", site.metadata);
    let authorization = format!("Authorization: {token}");
    let attempts: [&[&str]; 7] = [
        &["--unix-socket", &socket, "http://localhost/role/app"],
        &["--unix-socket", &socket, "http://localhost/base"],
        &["--unix-socket", &socket, "-X", "POST", "http://localhost/refresh?role=app&token=true"],
        &["--unix-socket", &socket, "http://localhost/role/nothing"],
        // Even with the token, should it leak.
        &["-H", &authorization, &container],
        &["-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60", &format!("{metadata}/api/token")],
        &[&format!("{metadata}/meta-data/iam/security-credentials/app")],
    ];
    for attempt in attempts {
        let Some((status, body)) = curl_as_stranger(attempt) else { return };
        assert_eq!(status, 403, "{attempt:?}: {body}");
        assert!(!secrets.iter().any(|secret| body.contains(secret)), "{attempt:?}");
        assert!(!body.contains(&token), "{attempt:?}");
    }
    let (_, refusal) = curl_as_stranger(attempts[0]).expect("root can be another user");
    assert!(refusal.contains(&format!("uid {STRANGER}")) && refusal.contains("allow"), "{refusal}");
    let (_, unknown) = curl_as_stranger(attempts[3]).expect("root can be another user");
    assert!(!unknown.contains("app"), "which roles there are is none of a stranger's business: {unknown}");
    let (status, who) = curl_as_stranger(&["--unix-socket", &socket, "http://localhost/who"]).expect("another user");
    assert_eq!(status, 200);
    assert!(
        serde_json::from_str::<Value>(&who).unwrap().as_array().unwrap().iter().all(|e| e["uid"] == STRANGER),
        "{who}"
    );
    let read = as_stranger("cat", &[&token_file]).expect("root can be another user");
    assert!(!read.status.success() && read.stdout.is_empty(), "a stranger can't read the token");
    assert_eq!(site.token(), token, "and can't have it changed");
    let report = agent.report();
    assert!(report.at("/credentials/1/denied").as_u64() >= Some(4), "{report:#}");
    assert_eq!(report.at("/credentials/1/served"), 1);
    assert!(agent.said().contains("credentials were refused"), "{}", agent.said());
}

#[test]
fn the_users_that_a_rule_names_can_read_the_token_and_nobody_else() {
    let site = Site::new();
    set_mode(&site.host.path(""), 0o755);
    let _agent = site.ready();
    let other = site.host.path("run/tokens/other").display().to_string();
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: only root can be another user");
    }
    let cat = |uid: u32| {
        let ids = [format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".to_owned()];
        Command::new("setpriv").args(ids).args(["cat", &other]).output().expect("setpriv is installed").status.success()
    };
    assert!(cat(61_235) && !cat(61_236) && !cat(STRANGER));
}

#[test]
fn a_guessed_token_and_the_token_of_another_role_open_nothing() {
    let site = Site::new();
    let agent = site.ready();
    let token = site.token();
    let others = std::fs::read_to_string(site.host.path("run/tokens/other")).expect("the other role's token");
    let guesses = ["", "0", &token[..63], &format!("{token}0"), &token.to_uppercase(), &"0".repeat(64), &others];
    for guess in guesses {
        let (status, body) = site.ask("/role/app", &[("Authorization", guess)]);
        assert_eq!((status, &body["Code"]), (403, &Value::from("AccessDenied")), "{guess:?}");
    }
    assert_eq!(site.ask("/role/app", &[]).0, 403);
    assert_eq!(site.ask("/role/app", &[("Authorization", &token), ("Authorization", &token)]).0, 403);
    // Without a token a role that is not there looks like one that is.
    let there = site.ask("/role/other", &[]);
    let (status, not_there) = site.ask("/role/otter", &[]);
    assert_eq!((status, not_there["Message"].clone()), (there.0, there.1["Message"].clone()));
    // With the other role's own token it is still the user that is wrong.
    assert_eq!(site.ask("/role/other", &[("Authorization", &others)]).0, 403);
    assert_eq!(agent.report().at("/credentials/1/served"), 0);
}

#[test]
fn no_path_leads_to_anything_but_what_is_served() {
    let site = Site::new();
    let _agent = site.ready();
    let token = site.token();
    for path in [
        "/",
        "/role",
        "/role/",
        "/role/app/",
        "/role//app",
        "//role/app",
        "/role/./app",
        "/role/../role/app",
        "/role/%61pp",
        "/role/app%00",
        "/role/app%2f..",
        "/role/app?x=1",
        "/base",
        "/who",
        "/role/app/../../base",
        "/role/base",
        "/role/..%2f..%2fetc%2fpasswd",
        "/tokens/app",
        "/ROLE/app",
        "/role/App",
        "/role/app;x",
        "/role/app.json",
    ] {
        let (status, body) = site.ask(path, &[("Authorization", &token)]);
        assert!((400..500).contains(&status), "{path}: {status} {body}");
        assert!(body.get("AccessKeyId").is_none(), "{path}");
    }
    for path in [
        "/latest/meta-data/iam/security-credentials/other",
        "/latest/meta-data/iam/security-credentials/app/",
        "/latest/meta-data/iam/security-credentials/../security-credentials/app",
        "/latest/user-data",
        "/latest/meta-data/identity-credentials/ec2/security-credentials/ec2-instance",
        "/latest/meta-data/",
        "/latest/meta-data/iam/security-credentials-extended/app",
        "/2021-01-03/meta-data/instance-id",
    ] {
        let (status, body) = site.look(path);
        assert_eq!(status, 404, "{path}: {body}");
    }
}

#[test]
fn a_page_in_a_browser_gets_nothing_whatever_its_host_resolves_to() {
    let site = Site::new();
    let agent = site.ready();
    let token = site.token();
    let raw = |host: &str, more: &str| {
        let text = format!(
            "GET /role/app HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\n{more}Connection: close\r\n\r\n"
        );
        say(site.container, text.as_bytes())
    };
    let here = site.container.to_string();
    assert!(raw(&here, "").starts_with("HTTP/1.1 200 "));
    for host in ["evil.example", &format!("evil.example:{}", site.container.port()), "127.0.0.1", "localhost", "[::1]"]
    {
        assert!(raw(host, "").starts_with("HTTP/1.1 403 "), "{host}: {}", raw(host, ""));
    }
    for header in [
        "Origin: http://evil.example",
        "Origin: null",
        "Referer: http://127.0.0.1/",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Mode: cors",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Host: localhost",
        "Forwarded: for=127.0.0.1",
        "Via: 1.1 proxy",
    ] {
        let answer = raw(&here, &format!("{header}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 403 "), "{header}: {answer}");
        assert!(!answer.to_ascii_lowercase().contains("access-control-"), "{header}: {answer}");
    }
    let preflight = format!("OPTIONS /role/app HTTP/1.1\r\nHost: {here}\r\nConnection: close\r\n\r\n");
    let answer = say(site.container, preflight.as_bytes());
    assert!(
        answer.starts_with("HTTP/1.1 405 ") && !answer.to_ascii_lowercase().contains("access-control-"),
        "{answer}"
    );
    let proxied = format!(
        "GET http://{here}/role/app HTTP/1.1\r\nHost: {here}\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n"
    );
    assert!(say(site.container, proxied.as_bytes()).starts_with("HTTP/1.1 400 "));
    assert_eq!(agent.report().at("/credentials/1/served"), 1);
}

/// Sends `bytes` and reads what comes until the end.
fn say(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).expect("the door is open");
    stream.set_read_timeout(Some(SOON)).expect("a socket can have a timeout");
    // What is refused early is not read to its end.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_header_bomb_and_a_body_are_refused_and_cost_nothing() {
    let site = Site::new();
    let agent = site.ready();
    let before = agent.report().at("/memory/rss_bytes").as_u64().expect("a size");
    let begin = format!("GET /role/app HTTP/1.1\r\nHost: {}\r\n", site.container);
    let long = format!("{begin}X-Long: {}\r\n\r\n", "x".repeat(64 << 20));
    let many: String = (0..10_000).map(|n| format!("X-{n}: y\r\n")).collect();
    let body = format!("{begin}Content-Length: 5\r\nConnection: close\r\n\r\nhello");
    let chunked = format!("{begin}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n");
    for (name, text) in [
        ("a long header", long),
        ("many headers", format!("{begin}{many}\r\n")),
        ("a long path", format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(1 << 20))),
        ("a body", body),
        ("a chunked body", chunked),
        ("noise", "\0\u{1}\u{2}\r\n\r\n".repeat(100)),
    ] {
        let answer = say(site.container, text.as_bytes());
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{name}: {answer}");
    }
    let after = agent.report().at("/memory/rss_bytes").as_u64().expect("a size");
    assert!(after < before + (16 << 20), "{before} became {after}");
    assert_eq!(site.ask("/role/app", &[("Authorization", &site.token())]).0, 200);
}

#[test]
fn a_caller_that_connects_and_says_nothing_is_put_out_and_holds_nobody_up() {
    let site = Site::new();
    let _agent = site.ready();
    let mut silent = TcpStream::connect(site.container).expect("the door is open");
    let mut slow = TcpStream::connect(site.container).expect("the door is open");
    slow.write_all(b"GET /role/app HTTP/1.1\r\nHost: ").expect("half a request");
    let mut silent_here = UnixStream::connect(site.host.path("run/credentials.sock")).expect("the door is open");
    assert_eq!(site.ask("/role/app", &[("Authorization", &site.token())]).0, 200);
    silent.set_read_timeout(Some(SOON)).expect("a timeout");
    slow.set_read_timeout(Some(SOON)).expect("a timeout");
    silent_here.set_read_timeout(Some(SOON)).expect("a timeout");
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).expect("the agent closes the connection");
    silent_here.read_to_end(&mut rest).expect("the agent closes the connection");
    slow.read_to_end(&mut rest).expect("the agent closes the connection");
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
}

#[test]
fn ten_thousand_connections_are_survived_and_another_user_is_still_served() {
    let site = Site::new();
    set_mode(&site.host.path(""), 0o755);
    let agent = site.ready();
    let socket = site.host.path("run/credentials.sock");
    let mut held = Vec::new();
    for _ in 0..10_000 {
        // Those beyond the share of a user are closed at once; we keep our end of a few hundred.
        if let Ok(stream) = TcpStream::connect(site.container) {
            held.push(stream);
        }
        if held.len() > 400 {
            held.remove(0);
        }
    }
    let locals: Vec<_> = (0..400).filter_map(|_| UnixStream::connect(&socket).ok()).collect();
    let socket = socket.display().to_string();
    if let Some((status, body)) = curl_as_stranger(&["--unix-socket", &socket, "http://localhost/role/app"]) {
        assert_eq!(status, 403, "another user has a share of its own: {body}");
    }
    drop((held, locals));
    let token = site.token();
    let served = look_until(SOON, || {
        let answer = request(site.container, "GET", "/role/app", &[("Authorization", &token)], "").ok()?;
        (answer.status == 200).then_some(())
    });
    assert!(served.is_ok(), "{}", agent.said());
    assert!(agent.report().at("/memory/rss_bytes").as_u64() < Some(128 << 20));
}

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
fn the_look_alike_is_as_strict_as_the_metadata_service() {
    let site = Site::new();
    let _agent = site.ready();
    let ask = |method: &str, path: &str, headers: &[(&str, &str)]| {
        request(site.metadata, method, path, headers, "").expect("an answer").status
    };
    const TTL: &str = "X-aws-ec2-metadata-token-ttl-seconds";
    const PATH: &str = "/latest/meta-data/iam/security-credentials/";
    assert_eq!(ask("PUT", "/latest/api/token", &[]), 400);
    assert_eq!(ask("PUT", "/latest/api/token", &[(TTL, "0")]), 400);
    assert_eq!(ask("PUT", "/latest/api/token", &[(TTL, "21601")]), 400);
    assert_eq!(ask("PUT", "/latest/api/token", &[(TTL, "60"), ("X-Forwarded-For", "1.2.3.4")]), 403);
    assert_eq!(ask("PUT", "/2021-01-03/api/token", &[(TTL, "60")]), 403);
    assert_eq!(ask("GET", PATH, &[]), 401);
    assert_eq!(ask("GET", PATH, &[("X-aws-ec2-metadata-token", "guessed")]), 401);
    assert_eq!(ask("POST", PATH, &[]), 405);
    let (status, document) = site.look("/latest/dynamic/instance-identity/document");
    let document: Value = serde_json::from_str(&document).expect("a document");
    assert_eq!((status, &document["region"]), (200, &Value::from(site.look("/latest/meta-data/placement/region").1)));
    assert_eq!(site.look("/latest/meta-data/instance-id").1, document["instanceId"].as_str().expect("an id"));
    assert_eq!(site.look("/latest/meta-data/placement/availability-zone").0, 200);
}

#[test]
fn no_secret_that_was_handed_out_reaches_logs_status_or_argv() {
    let mut site = Site::new();
    site.host.set("IMDS_AGENT_LOG", "trace");
    let agent = site.ready();
    let token = site.token();
    let (_, document) = site.ask("/role/app", &[("Authorization", &token)]);
    let mut secrets = secrets(&document);
    site.ask("/role/other", &[("Authorization", &token)]);
    secrets.push(site.metadata_token());
    secrets.push(token);
    let report = agent.report().to_string();
    let (_, who) = site.ask_socket("GET", "/who");
    let arguments = std::fs::read_to_string(format!("/proc/{}/cmdline", agent.pid())).unwrap_or_default();
    let (_, said) = agent.stop();
    assert!(said.contains("credentials were handed out"), "{said}");
    for (place, text) in [("status", report), ("who", who.to_string()), ("argv", arguments), ("stderr", said)] {
        for secret in &secrets {
            assert!(!text.contains(&secret[..secret.len() / 2]), "a secret stands in {place}");
        }
    }
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
