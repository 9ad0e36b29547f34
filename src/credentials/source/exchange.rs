//! One exchange with a container's credentials endpoint, and which of its outcomes are worth another try. Plain HTTP,
//! no proxy, no redirects, nothing kept. Not what the answer means.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, DATE, HeaderValue};
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use crate::backoff::Backoff;
use crate::clock::Clock;

/// How long a connection may take: the endpoint is on this machine (as for IMDS).
const CONNECT: Duration = Duration::from_secs(1);

/// How long the first byte may take, and the gap between two (as for IMDS).
const FIRST_BYTE: Duration = Duration::from_secs(2);

/// How often one fetch asks at most (as for IMDS).
const ATTEMPTS: u32 = 4;

/// Between two attempts (as for IMDS).
const WAITS: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// The longest answer: a document of four strings, of which the token may have some kilobytes.
const LONGEST_BODY: usize = 64 << 10;

/// The longest reason of the endpoint's that is passed on.
const LONGEST_REASON: usize = 300;

/// Why there is no document.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing answers.
    NoAnswer(String),
    /// It answers something else than a document, and perhaps says why.
    Status(u16, Option<String>),
    /// What it answers is none.
    BadDocument(String),
    /// The client can't be built, which asking again does not change.
    Client(String),
}

/// How endpoints word a refusal: ECS in lower case, EKS and others otherwise.
#[derive(Deserialize)]
struct Reason {
    #[serde(alias = "Message")]
    message: String,
}

impl Failure {
    /// How long to wait at most (full jitter) before another try, if there is to be one.
    ///
    /// | what happened | again |
    /// |---|---|
    /// | no connection, no answer, connection cut | yes |
    /// | 429, 5xx | yes |
    /// | a 200 that can't be parsed | yes |
    /// | any other status | no |
    pub(super) fn wait(&self, attempt: u32) -> Option<Duration> {
        let again = match self {
            Self::NoAnswer(_) | Self::BadDocument(_) | Self::Status(429 | 500.., _) => true,
            Self::Status(..) | Self::Client(_) => false,
        };
        (again && attempt < ATTEMPTS).then(|| WAITS.ceiling(attempt))
    }

    pub(super) fn reason(&self) -> String {
        match self {
            Self::NoAnswer(reason) => format!("does not answer: {reason}"),
            Self::Status(status, None) => format!("answers {status}"),
            Self::Status(status, Some(reason)) => format!("answers {status}: {reason}"),
            Self::BadDocument(reason) => format!("answers what is no credentials document: {reason}"),
            Self::Client(reason) => format!("can't be asked: {reason}"),
        }
    }

    pub(super) fn cure(&self, variable: &str) -> String {
        match self {
            Self::Status(401 | 403, _) => {
                "see that AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, or …_TOKEN, holds the token that the endpoint expects"
                    .to_owned()
            }
            Self::Status(400 | 404, _) => format!("see that {variable} is what the platform set for this container"),
            _ => "see whether the platform's agent runs: ECS's, EKS's Pod Identity Agent, or what listens there"
                .to_owned(),
        }
    }
}

/// The wire.
#[derive(Debug)]
pub(super) struct Exchange {
    clock: Clock,
}

impl Exchange {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock }
    }

    /// Asks once.
    pub(super) async fn get(
        &self,
        url: &Url,
        authorization: Option<HeaderValue>,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let mut request = client(url)?.get(url.clone());
        if let Some(token) = authorization {
            request = request.header(AUTHORIZATION, token);
        }
        let mut response = request.send().await.map_err(no_answer)?;
        if let Some(date) = response.headers().get(DATE).and_then(|date| date.to_str().ok()) {
            self.clock.observe_date(date);
        }
        let status = response.status().as_u16();
        // Room for the whole answer at once: a vector that grows leaves copies of secrets behind.
        let room = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(8 << 10);
        let mut body = Zeroizing::new(Vec::with_capacity(room.min(LONGEST_BODY)));
        while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
            if body.len() + chunk.len() > LONGEST_BODY {
                return Err(Failure::BadDocument(format!("it is longer than {LONGEST_BODY} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        if status == 200 { Ok(body) } else { Err(Failure::Status(status, said(&body))) }
    }
}

/// A client for one request: the endpoint is asked a few times an hour, and nothing is kept.
fn client(url: &Url) -> Result<reqwest::Client, Failure> {
    let port = url.port_or_known_default().unwrap_or(80);
    let loopback = [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))];
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT)
        .read_timeout(FIRST_BYTE)
        .http1_only()
        .pool_max_idle_per_host(0)
        // Whatever /etc/hosts says.
        .resolve_to_addrs("localhost", &loopback)
        .user_agent(concat!("imds-agent/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Failure::Client(innermost(&error)))
}

#[expect(clippy::needless_pass_by_value, reason = "it is mapped over")]
fn no_answer(error: reqwest::Error) -> Failure {
    let reason = if error.is_timeout() && error.is_connect() {
        format!("no connection within {} s", CONNECT.as_secs())
    } else if error.is_timeout() {
        format!("nothing came for {} s", FIRST_BYTE.as_secs())
    } else {
        innermost(&error)
    };
    Failure::NoAnswer(reason)
}

/// The innermost reason, which is the one that tells something, and never the URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The reason in a refusal, in the endpoint's words; only a document of the known kind is read, since anything else may
/// hold anything.
fn said(body: &[u8]) -> Option<String> {
    let reason: Reason = serde_json::from_slice(body).ok()?;
    Some(reason.message.chars().take(LONGEST_REASON).collect())
}
