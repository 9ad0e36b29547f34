//! What all doors share of HTTP: which requests are looked at at all, how answers are made, and how much of a caller's
//! time and bytes is taken. Not what is asked for, and not who may have it.
//!
//! A server on loopback is reached by every local user, and by every web page that a local browser shows. So a request
//! must name this very door in `Host` (a page reaches it under another name, however that resolves), must carry none of
//! the headers that browsers and proxies add, and has no body. Nothing is ever said that a page may read (no CORS).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// All headers of a request: an SDK's are below 1 KiB. It is also the least that hyper can be given.
const HEADER_BYTES: usize = 8 * 1024;

/// So many headers: an SDK sends ten.
const HEADER_COUNT: usize = 32;

/// A request's headers are there at once or not at all: the caller is on this host.
const HEADER_TIME: Duration = Duration::from_secs(5);

/// A connection on which nobody asked for so long is closed: SDKs keep theirs for a minute at most.
const IDLE: Duration = Duration::from_mins(1);

/// What is being answered when the agent stops gets this long; who waits for credentials then asks the next one.
const LAST_WORD: Duration = Duration::from_secs(1);

/// What browsers and proxies add, and no SDK (FACTS of the protocols; the prefixes stand for families of them).
const FOREIGN: [&str; 6] = ["origin", "referer", "forwarded", "via", "sec-fetch-", "x-forwarded-"];

/// An answer.
pub(super) type Answer = Response<Full<Bytes>>;

/// A request without its body, which there is none of.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) headers: HeaderMap,
}

impl Asked {
    /// The header, if it is there once and is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok())
    }
}

/// The names under which a door may be asked for: in `Host`, exactly.
#[derive(Clone, Debug)]
pub(super) struct Hosts(Option<Vec<String>>);

impl Hosts {
    /// No browser reaches a unix socket; any name will do.
    pub(super) fn any() -> Self {
        Self(None)
    }

    /// Those of a listener at `address`.
    pub(super) fn of(address: SocketAddr) -> Self {
        let port = address.port();
        let ip = if address.is_ipv4() { address.ip().to_string() } else { format!("[{}]", address.ip()) };
        let names = if address.ip().is_loopback() { vec![ip, "localhost".to_owned()] } else { vec![ip] };
        // Clients leave out the port that `http` implies.
        let bare = if port == 80 { names.clone() } else { Vec::new() };
        Self(Some(names.into_iter().map(|name| format!("{name}:{port}")).chain(bare).collect()))
    }

    fn allow(&self, headers: &HeaderMap) -> bool {
        let Some(names) = &self.0 else { return true };
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok());
        hosts.next().is_none() && host.is_some_and(|host| names.iter().any(|name| name.eq_ignore_ascii_case(host)))
    }
}

/// The request, if it is one that is looked at.
pub(super) fn admit<B: hyper::body::Body>(request: &Request<B>, hosts: &Hosts) -> Result<Asked, Box<Answer>> {
    let headers = request.headers();
    let refuse = |status, message: &str| Err(Box::new(refusal(status, "Refused", message, None)));
    let is_foreign = |name: &str| {
        FOREIGN.iter().any(|word| if word.ends_with('-') { name.starts_with(word) } else { name == *word })
    };
    if !request.body().is_end_stream() {
        return refuse(StatusCode::BAD_REQUEST, "a request here has no body");
    }
    if request.uri().authority().is_some() || request.uri().path().is_empty() {
        return refuse(StatusCode::BAD_REQUEST, "this is no proxy: ask for a path");
    }
    if !hosts.allow(headers) {
        return refuse(StatusCode::FORBIDDEN, "the Host header does not name this address and port");
    }
    if let Some(name) = headers.keys().find(|name| is_foreign(name.as_str())) {
        return refuse(StatusCode::FORBIDDEN, &format!("a request with the header {name} comes through somebody else"));
    }
    Ok(Asked {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().map(str::to_owned),
        headers: headers.clone(),
    })
}

/// An answer that holds `body`.
pub(super) fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// A JSON document with keys in it, which are wiped behind it.
pub(super) fn document(value: &Value) -> Answer {
    struct Wiped(Zeroizing<Vec<u8>>);
    impl AsRef<[u8]> for Wiped {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    // Writing JSON values to memory does not fail.
    let bytes = Zeroizing::new(serde_json::to_vec(value).unwrap_or_default());
    answer(StatusCode::OK, "application/json", Bytes::from_owner(Wiped(bytes)))
}

/// An answer that says why there is none, and what helps.
pub(super) fn refusal(status: StatusCode, code: &str, message: &str, hint: Option<&str>) -> Answer {
    let mut body = json!({ "Code": code, "Message": message });
    if let Some(hint) = hint {
        body["Hint"] = hint.into();
    }
    answer(status, "application/json", body.to_string())
}

/// Nobody is served yet, or not here.
pub(super) fn not_open() -> Answer {
    refusal(StatusCode::SERVICE_UNAVAILABLE, "NotReady", "the agent is starting", None)
}

/// Serves one connection until its end, `stop`, or nobody asks any more.
pub(super) async fn serve<S, F>(stream: S, hosts: &Hosts, stop: &CancellationToken, respond: impl Fn(Asked) -> F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Answer>,
{
    let activity = Activity::default();
    let service = service_fn(|request: Request<Incoming>| {
        let asked = admit(&request, hosts);
        let (respond, activity) = (&respond, &activity);
        async move {
            activity.set(None);
            let answer = match asked {
                Ok(asked) => respond(asked).await,
                Err(refusal) => *refusal,
            };
            activity.set(Some(Instant::now()));
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADER_COUNT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut end = None;
    loop {
        let until = end.unwrap_or_else(|| activity.idle_at());
        tokio::select! {
            // How a connection ends is the caller's affair.
            _ = connection.as_mut() => return,
            () = stop.cancelled(), if end.is_none() => {
                end = Some(Instant::now() + LAST_WORD);
                connection.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep_until(until) => if end.is_some() || activity.idle_at() <= Instant::now() { return },
        }
    }
}

/// Since when nobody asks; `None` while something is answered, which has bounds of its own.
struct Activity(Mutex<Option<Instant>>);

impl Default for Activity {
    fn default() -> Self {
        Self(Mutex::new(Some(Instant::now())))
    }
}

impl Activity {
    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn idle_at(&self) -> Instant {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(Instant::now) + IDLE
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

    use super::*;

    fn request(headers: &[(&str, &str)], uri: &str) -> Request<Empty<Bytes>> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Empty::new()).unwrap()
    }

    fn status(hosts: &Hosts, headers: &[(&str, &str)], uri: &str) -> Option<u16> {
        admit(&request(headers, uri), hosts).err().map(|answer| answer.status().as_u16())
    }

    #[test]
    fn a_request_must_name_this_door_and_no_other_name_that_leads_here() {
        let hosts = Hosts::of("127.0.0.1:1339".parse().unwrap());
        for host in ["127.0.0.1:1339", "localhost:1339", "LOCALHOST:1339"] {
            assert_eq!(status(&hosts, &[("host", host)], "/role/app"), None, "{host}");
        }
        for host in ["evil.example:1339", "127.0.0.1", "localhost", "127.0.0.1:1338", "127.0.0.1:1339.evil.example", ""]
        {
            assert_eq!(status(&hosts, &[("host", host)], "/role/app"), Some(403), "{host}");
        }
        assert_eq!(status(&hosts, &[], "/role/app"), Some(403));
        assert_eq!(status(&hosts, &[("host", "localhost:1339"), ("host", "localhost:1339")], "/"), Some(403));
        assert_eq!(status(&hosts, &[("host", "localhost:1339")], "http://localhost:1339/"), Some(400));
        let hosts = Hosts::of("[::1]:80".parse().unwrap());
        assert_eq!(status(&hosts, &[("host", "[::1]")], "/"), None);
        let link_local = Hosts::of("169.254.170.23:80".parse().unwrap());
        assert_eq!(status(&link_local, &[("host", "169.254.170.23")], "/"), None);
        assert_eq!(status(&link_local, &[("host", "localhost")], "/"), Some(403));
    }

    #[test]
    fn what_a_browser_or_a_proxy_sends_on_is_refused() {
        for name in [
            "Origin",
            "Referer",
            "Sec-Fetch-Site",
            "Sec-Fetch-Mode",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "Forwarded",
            "Via",
        ] {
            assert_eq!(status(&Hosts::any(), &[(name, "x")], "/role/app"), Some(403), "{name}");
        }
        assert_eq!(status(&Hosts::any(), &[("X-Aws-Ec2-Metadata-Token", "x"), ("User-Agent", "Boto3/1")], "/"), None);
    }

    #[test]
    fn a_refusal_is_json_and_nobody_may_keep_it() {
        let answer = refusal(StatusCode::FORBIDDEN, "AccessDenied", "no \"app\"", Some("ask"));
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
        assert!(!answer.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
    }
}
