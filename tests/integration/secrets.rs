//! Promise 10: no secret reaches a log, an error, `status`, the state on disk, argv or the environment. Not who may
//! have credentials: nobody is served any yet.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Denial, Effect, Fault, Host, append, http, numbered};

/// What the metadata service gives out now, asked as any process on the instance could.
fn secrets_of(url: &str) -> Vec<String> {
    let address = url.trim_start_matches("http://").parse().expect("the emulator's URL is an address");
    let ttl = ("X-aws-ec2-metadata-token-ttl-seconds", "60");
    let token = http::request(address, "PUT", "/latest/api/token", &[ttl], "").expect("a token").text();
    let get = |path: &str| {
        let path = format!("/latest/meta-data/iam/security-credentials/{path}");
        http::request(address, "GET", &path, &[("X-aws-ec2-metadata-token", &token)], "").expect("an answer").text()
    };
    let role = get("");
    let document: Value = serde_json::from_str(&get(role.trim())).expect("a credentials document");
    ["SecretAccessKey", "Token"].map(|key| document[key].as_str().expect("a secret").to_owned()).to_vec()
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).expect("our own directory").flatten() {
        match entry.file_type().expect("an entry that is there") {
            kind if kind.is_dir() => files.extend(files_below(&entry.path())),
            kind if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    files
}

fn assert_silent(secrets: &[String], place: &str, content: &[u8]) {
    for secret in secrets {
        assert!(secret.len() >= 16, "a secret this short would be found anywhere");
        let is_there = content.windows(secret.len()).any(|window| window == secret.as_bytes());
        // The first half alone would be as bad, as a truncated log line shows it.
        let half = &secret.as_bytes()[..secret.len() / 2];
        let half_is_there = content.windows(half.len()).any(|window| window == half);
        assert!(!is_there && !half_is_there, "a secret stands in {place}");
    }
}

#[test]
fn no_secret_reaches_stderr_status_disk_argv_or_environment() {
    let (mut host, emulator) = Host::with_emulator();
    host.set("IMDS_AGENT_LOG", "trace");
    host.set("RUST_LOG", "trace");
    let mut secrets = secrets_of(&emulator.url());
    // Every kind of answer that an error message could quote.
    for effect in [Effect::Garbage, Effect::Expired, Effect::Deny(Denial::default()), Effect::Close] {
        emulator.set_fault(Fault::on("sts:*", effect.clone()).times(1));
        emulator.set_fault(Fault::on("logs:CreateLogGroup", effect).times(1));
    }
    emulator.set_fault(Fault::on("imds:get", Effect::Garbage).times(1).after(1));
    append(&host.log("app.log"), &numbered(0, 100, 100));
    let agent = host.start();
    agent.wait_until("credentials are there", |report| report.text("/credentials/0/state") == "fresh");
    secrets.extend(secrets_of(&emulator.url()));
    emulator.clear_faults();
    emulator.expire_credentials();
    append(&host.log("app.log"), &numbered(100, 100, 100));
    secrets.extend(secrets_of(&emulator.url()));
    let report =
        agent.wait_until("new credentials came", |report| report.at("/credentials/0/refreshes").as_u64() >= Some(2));
    assert_silent(&secrets, "status --json", report.to_string().as_bytes());
    for arguments in [&["status"][..], &["status", "--json"]] {
        assert_silent(&secrets, "status", &host.run(arguments).stdout);
    }
    for file in ["environ", "cmdline"] {
        // The kernel may refuse even us to look, which is as good.
        let content = std::fs::read(format!("/proc/{}/{file}", agent.pid())).unwrap_or_default();
        assert_silent(&secrets, file, &content);
    }
    let (_, said) = agent.stop();
    assert!(!said.is_empty(), "it said nothing at all, so this proves nothing");
    assert_silent(&secrets, "stderr", said.as_bytes());
    for directory in ["state", "run"] {
        for file in files_below(&host.path(directory)) {
            assert_silent(&secrets, &file.display().to_string(), &std::fs::read(&file).unwrap());
        }
    }
}
