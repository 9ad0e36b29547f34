//! The host on which the doors are tried, and how one asks at each, also as somebody else. Not the promises.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::http::request;
use crate::harness::{Agent, Emulator, Host, SOON, free_address};

/// A user that no rule here names.
pub(super) const STRANGER: u32 = 61_234;

/// A host with the role `app` for this test's own user, and both HTTP doors.
pub(super) struct Site {
    pub(super) host: Host,
    pub(super) emulator: Emulator,
    pub(super) container: SocketAddr,
    pub(super) metadata: SocketAddr,
}

impl Site {
    pub(super) fn new() -> Self {
        Self::with("")
    }

    /// `more` stands at the end of the configuration.
    pub(super) fn with(more: &str) -> Self {
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
    pub(super) fn ready(&self) -> Agent {
        let agent = self.host.start();
        agent.wait_until("the role has credentials", |report| report.text("/credentials/1/state") == "fresh");
        agent
    }

    pub(super) fn token(&self) -> String {
        std::fs::read_to_string(self.host.path("run/tokens/app")).expect("the role's token")
    }

    /// The status and the JSON of the container door's answer.
    pub(super) fn ask(&self, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
        let answer = request(self.container, "GET", path, headers, "").expect("an answer");
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    pub(super) fn metadata_token(&self) -> String {
        let ttl = [("X-aws-ec2-metadata-token-ttl-seconds", "60")];
        let answer = request(self.metadata, "PUT", "/latest/api/token", &ttl, "").expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }

    pub(super) fn look(&self, path: &str) -> (u16, String) {
        let token = self.metadata_token();
        let answer =
            request(self.metadata, "GET", path, &[("X-aws-ec2-metadata-token", &token)], "").expect("an answer");
        (answer.status, answer.text())
    }

    /// The unix door's answer to a request of this process.
    pub(super) fn ask_socket(&self, method: &str, target: &str) -> (u16, Value) {
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
#[expect(clippy::print_stderr, reason = "who reads the log must see what was not tested")]
pub(super) fn as_stranger(program: &str, arguments: &[&str]) -> Option<Output> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can be another user");
        return None;
    }
    let ids = [format!("--reuid={STRANGER}"), format!("--regid={STRANGER}"), "--clear-groups".to_owned()];
    let output = Command::new("setpriv").args(ids).arg(program).args(arguments).output();
    Some(output.expect("setpriv is installed"))
}

/// What curl gets there: the status and the body.
pub(super) fn curl_as_stranger(arguments: &[&str]) -> Option<(u16, String)> {
    let all: Vec<&str> =
        ["--silent", "--max-time", "30", "--write-out", "\n%{http_code}"].iter().chain(arguments).copied().collect();
    let output = as_stranger("curl", &all)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').expect("what curl was asked to write");
    Some((status.parse().unwrap_or(0), body.to_owned()))
}

pub(super) fn secrets(document: &Value) -> Vec<String> {
    ["SecretAccessKey", "Token"].map(|key| document[key].as_str().expect("a secret").to_owned()).to_vec()
}
