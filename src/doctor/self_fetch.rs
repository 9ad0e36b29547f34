//! Whether the running daemon's doors are open and its own: the unix socket, the container endpoint, the
//! look-alike and the telemetry door.
//! Nobody's credentials are fetched, so that the record of who had them stays true. Not who may come in.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::visit::{Check, Finding, Found, Host, look};
use crate::endpoints::{SOCKET_NAME, TOKENS};

pub(super) const CHECK: Check = Check {
    name: "self-fetch",
    title: "the daemon's doors for credentials are open",
    needs: &["daemon", "configuration"],
    after: &[],
    look: |host| look(check(host)),
};

/// How long a door may take. It answers in microseconds; this is for one that hangs.
const PATIENCE: Duration = Duration::from_secs(1);

/// The beginning of an answer: its status, and by what ours is known.
const ENOUGH: u64 = 4096;

async fn check(host: Arc<Host>) -> Found {
    let endpoints = host.config().endpoints;
    let mut findings = Vec::new();
    findings.extend(unix(&host.ground.runtime_dir).await);
    if let Some(address) = endpoints.container {
        findings.extend(tcp("the container endpoint", address, "a role is at /role/").await);
        findings.extend(tokens(&host));
    }
    if let Some(metadata) = endpoints.metadata {
        findings.extend(tcp("the metadata look-alike", metadata.listen, "HTTP/1.1 401").await);
    }
    if let Some(address) = endpoints.telemetry {
        findings.extend(tcp("the telemetry door", address, "NotFound").await);
    }
    if findings.is_empty() { Finding::ok("every door answers").into() } else { Found::all(findings) }
}

async fn unix(runtime: &Path) -> Option<Finding> {
    let path = runtime.join(SOCKET_NAME);
    let name = path.display().to_string();
    let asked = async { ask(UnixStream::connect(&path).await?, "localhost", "/").await };
    match within(asked).await {
        Ok(answer) if answer.contains("NotFound") => None,
        Ok(answer) => Some(strange(&name, &answer)),
        Err(error) => Some(shut(&name, &error).cure("sudo systemctl restart imds-agent")),
    }
}

/// `ours` is what only our own door answers.
async fn tcp(what: &str, address: SocketAddr, ours: &str) -> Option<Finding> {
    let asked = async { ask(TcpStream::connect(address).await?, &address.to_string(), "/").await };
    match within(asked).await {
        Ok(answer) if answer.contains(ours) => None,
        Ok(answer) => Some(strange(&format!("{what} at {address}"), &answer).cure(who(address))),
        Err(error) => Some(shut(&format!("{what} at {address}"), &error).cure(who(address))),
    }
}

/// The roles' tokens, without which nobody comes in.
fn tokens(host: &Host) -> Vec<Finding> {
    let directory = host.ground.runtime_dir.join(TOKENS);
    let roles = host.config().credentials.roles;
    let missing = roles.iter().map(|role| directory.join(&role.name)).filter(|path| !path.exists());
    let findings = missing.map(|path| {
        Finding::fault(format!("the token {} is not there", path.display()))
            .why("an SDK that AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE leads there gets no credentials")
            .cure("sudo systemctl restart imds-agent")
    });
    findings.collect()
}

/// Asks for `path`; the beginning of the answer.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, host: &str, path: &str) -> io::Result<String> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ENOUGH).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

async fn within(asked: impl Future<Output = io::Result<String>>) -> io::Result<String> {
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn shut(what: &str, error: &io::Error) -> Finding {
    Finding::fault(format!("{what} does not answer"))
        .evidence(format!("GET /: {error}"))
        .why("the daemon runs, and can't listen there, or not with the configuration that stands in the file")
}

fn strange(what: &str, answer: &str) -> Finding {
    let first = answer.lines().next().unwrap_or_default();
    Finding::fault(format!("what answers at {what} is not imds-agent"))
        .evidence(format!("GET / answers {first:?}"))
        .why("another program listens there, or a daemon of another version")
}

fn who(address: SocketAddr) -> String {
    format!(
        "sudo ss -ltnp 'sport = :{0}' shows who listens there; imds-agent status says what the daemon makes of it",
        address.port()
    )
}
