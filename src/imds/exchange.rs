//! One HTTP exchange with IMDS, and what its outcome is called. The only file that knows the wire. Not retries, not the
//! budget, not when a token is renewed: those are the client's.
//!
//! A request for a token is `PUT /latest/api/token` with the wanted life in seconds; every other request carries the
//! token (FACTS, IMDSv2). The server's `Date` corrects our clock: IMDS is plain HTTP, so it is heard even when the clock
//! is too wrong for TLS.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use url::Url;
use zeroize::Zeroizing;

use super::error::{Problem, TOKEN_REQUEST};
use super::token::Grant;
use crate::clock::Clock;

/// How long a connection may take (DESIGN, IMDS): IMDS is on this machine's own link.
const CONNECT: Duration = Duration::from_secs(1);

/// How long the first byte may take, and the gap between two (DESIGN, IMDS).
const FIRST_BYTE: Duration = Duration::from_secs(2);

/// The longest answer. User data is the longest that IMDS has: 16 KiB, or four thirds of it in base64.
const LONGEST_BODY: usize = 64 << 10;

/// The longest token that is believed; IMDS's have 56 characters, look-alikes' may be longer.
const LONGEST_TOKEN: usize = 4096;

/// The longest life IMDS grants a token (FACTS, IMDSv2: token), whatever an answer claims.
const LONGEST_TTL: Duration = Duration::from_secs(21_600);

/// Where tokens come from. A dated path answers 403.
const TOKEN_PATH: &str = "/latest/api/token";

/// Sent with a request for a token, and with the answer.
static TOKEN_TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");

/// Sent with every other request.
static TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");

/// The wire.
#[derive(Debug)]
pub(super) struct Exchange {
    http: reqwest::Client,
    clock: Clock,
    ttl: Duration,
    v1_fallback: bool,
    /// Whether it was said already that the service does not tell its tokens' life.
    assumed_ttl: AtomicBool,
}

/// An answer whose status is not a redirect.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Zeroizing<Vec<u8>>,
}

impl Exchange {
    pub(super) fn new(ttl: Duration, v1_fallback: bool, clock: Clock) -> Result<Self, Problem> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT)
            .read_timeout(FIRST_BYTE)
            .http1_only()
            // IMDS closes the connection after each answer.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("imds-agent/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Problem::Absent { endpoint: "the client".to_owned(), reason: reason(&error) })?;
        Ok(Self { http, clock, ttl, v1_fallback, assumed_ttl: AtomicBool::new(false) })
    }

    /// Asks for a token; where there is only version 1, and that is allowed, the grant is to ask without.
    pub(super) async fn token(&self, endpoint: &Url) -> Result<Grant, Problem> {
        let request = self
            .http
            .request(Method::PUT, at(endpoint, TOKEN_PATH))
            .header(&TOKEN_TTL, self.ttl.as_secs())
            .header(reqwest::header::CONTENT_LENGTH, 0);
        let answer = self.send(request, endpoint, TOKEN_REQUEST).await?;
        let not_imds = |reason: &str| Problem::NotImds { endpoint: address(endpoint), reason: reason.to_owned() };
        match answer.status.as_u16() {
            200 => {
                let header = token_header(&answer.body).ok_or_else(|| not_imds("its token is no token"))?;
                Ok(Grant { header: Some(header), ttl: self.granted_ttl(&answer.headers) })
            }
            403..=405 if self.v1_fallback => {
                tracing::warn!(endpoint = %address(endpoint), "no IMDSv2 here, asking without a token as configured");
                Ok(Grant { header: None, ttl: self.ttl })
            }
            403 => Err(Problem::Off { endpoint: address(endpoint) }),
            429 => Err(Problem::Throttled { endpoint: address(endpoint) }),
            status @ (400 | 401 | 404 | 405) => {
                Err(Problem::TokenRefused { endpoint: address(endpoint), asked: TOKEN_REQUEST.to_owned(), status })
            }
            status @ 500.. => Err(Problem::BadStatus { asked: TOKEN_REQUEST.to_owned(), status }),
            status => Err(not_imds(&format!("it answers the token request with {status}"))),
        }
    }

    /// Asks for the document at `path`, with the token unless there is only version 1.
    pub(super) async fn document(
        &self,
        endpoint: &Url,
        path: &str,
        token: Option<&HeaderValue>,
    ) -> Result<Zeroizing<Vec<u8>>, Problem> {
        let mut request = self.http.request(Method::GET, at(endpoint, path));
        if let Some(token) = token {
            request = request.header(&TOKEN, token);
        }
        let answer = self.send(request, endpoint, path).await?;
        match answer.status.as_u16() {
            200 => Ok(answer.body),
            401 => Err(Problem::TokenRefused { endpoint: address(endpoint), asked: path.to_owned(), status: 401 }),
            404 => Err(Problem::NotFound { path: path.to_owned() }),
            429 => Err(Problem::Throttled { endpoint: address(endpoint) }),
            status => Err(Problem::BadStatus { asked: path.to_owned(), status }),
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder, endpoint: &Url, asked: &str) -> Result<Answer, Problem> {
        let mut response = request.send().await.map_err(|error| no_answer(&error, endpoint, asked))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_redirection() || status.is_informational() {
            let reason = format!("it answers {asked} with {status}");
            return Err(Problem::NotImds { endpoint: address(endpoint), reason });
        }
        if let Some(date) = headers.get(DATE).and_then(|date| date.to_str().ok()) {
            self.clock.observe_date(date);
        }
        let bad = |reason: String| Problem::BadDocument { path: asked.to_owned(), reason };
        // Room for the whole answer at once: a vector that grows leaves copies of secrets behind.
        let room = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(8 << 10);
        let mut body = Zeroizing::new(Vec::with_capacity(room.min(LONGEST_BODY)));
        while let Some(chunk) = response.chunk().await.map_err(|error| bad(reason(&error)))? {
            if body.len() + chunk.len() > LONGEST_BODY {
                return Err(bad(format!("it is longer than {LONGEST_BODY} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body })
    }

    /// The life that the service grants; some emulators do not tell, then it is the one that was asked for.
    fn granted_ttl(&self, headers: &HeaderMap) -> Duration {
        let told = headers.get(&TOKEN_TTL).and_then(|ttl| ttl.to_str().ok()).and_then(|ttl| ttl.trim().parse().ok());
        if told.is_none() && !self.assumed_ttl.swap(true, Ordering::Relaxed) {
            tracing::info!(ttl = ?self.ttl, "the metadata service does not tell how long tokens live, assuming what was asked for");
        }
        told.map_or(self.ttl, Duration::from_secs).min(LONGEST_TTL)
    }
}

/// A token as a header that nothing prints, or `None` where the body can't be one: IMDS's are base64.
fn token_header(body: &[u8]) -> Option<HeaderValue> {
    let token = body.trim_ascii();
    let plausible = !token.is_empty() && token.len() <= LONGEST_TOKEN && token.iter().all(u8::is_ascii_graphic);
    // What stands in front of every page of HTML, and in no token.
    let mut header = HeaderValue::from_bytes(token).ok().filter(|_| plausible && token[0] != b'<')?;
    header.set_sensitive(true);
    Some(header)
}

/// Why there is no answer: nothing there, somebody who does not answer, or somebody who does not speak HTTP.
fn no_answer(error: &reqwest::Error, endpoint: &Url, asked: &str) -> Problem {
    let endpoint = address(endpoint);
    let reason = reason(error);
    if error.is_timeout() && !error.is_connect() {
        Problem::Blocked { endpoint, asked: asked.to_owned() }
    } else if error.is_timeout() {
        let reason = format!("no connection within {} s: no route, or packets are dropped", CONNECT.as_secs());
        Problem::Absent { endpoint, reason }
    } else if reason.contains("invalid HTTP") {
        Problem::NotImds { endpoint, reason: "it does not speak HTTP".to_owned() }
    } else {
        Problem::Absent { endpoint, reason }
    }
}

/// The innermost reason, which is the one that tells something.
fn reason(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// `path` at `endpoint`; a path is never taken for another host.
fn at(endpoint: &Url, path: &str) -> Url {
    let mut url = endpoint.clone();
    url.set_path(&format!("{}/{}", endpoint.path().trim_end_matches('/'), path.trim_start_matches('/')));
    url
}

/// The endpoint as messages name it.
pub(super) fn address(endpoint: &Url) -> String {
    endpoint.as_str().trim_end_matches('/').to_owned()
}
