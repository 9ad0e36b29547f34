//! The way to an endpoint, stage by stage, each with its own patience: a name, a connection, TLS, an answer. Not what
//! is said of it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::certificate;
use super::endpoint::Endpoint;
use crate::aws::Proxy;
use crate::doctor::visit::Ground;
use crate::fault::chain;

/// A resolver that has lost one question asks again after a second or later; the whole check is over in less than 4 s.
const NAME: Duration = Duration::from_millis(1200);

/// One lost packet (asked again after a second) and a way round the world.
const CONNECT: Duration = Duration::from_millis(1300);

/// TLS and an answer on a connection that is known to work.
const ANSWER: Duration = Duration::from_millis(1100);

/// More addresses than this are not tried: they are as good as the others.
const MOST_ADDRESSES: usize = 6;

/// What it was like.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) name: Duration,
    pub(super) connect: Duration,
    pub(super) tls: Option<Duration>,
    pub(super) issuer: Option<String>,
    pub(super) answer: Duration,
    pub(super) status: u16,
}

/// Where it ends.
#[derive(Debug)]
pub(super) enum Stuck {
    /// The name has no address.
    Name { host: String, reason: String },
    /// No connection to any of these.
    Connect { addresses: Vec<IpAddr>, port: u16, error: io::Error },
    /// No answer over HTTP or HTTPS.
    Answer { addresses: Vec<IpAddr>, issuer: Option<String>, reason: String },
    /// Our own client can't be built.
    Client { reason: String, cure: String },
}

/// Walks to `endpoint`, by `proxy` if there is one.
pub(super) async fn walk(endpoint: &Endpoint, proxy: Option<&Proxy>, ground: &Ground) -> Result<Passed, Stuck> {
    let (host, port) = proxy.map_or((&endpoint.host, endpoint.port), |proxy| (&proxy.host, proxy.port));
    let begun = Instant::now();
    let addresses = resolve(host, port).await?;
    let (name, begun) = (begun.elapsed(), Instant::now());
    let stream = connect(&addresses).await.map_err(|error| {
        let addresses = addresses.iter().map(SocketAddr::ip).collect();
        Stuck::Connect { addresses, port, error }
    })?;
    let (connect, begun) = (begun.elapsed(), Instant::now());
    let handshake = if proxy.is_none() && endpoint.is_tls() {
        timeout(ANSWER, certificate::issuer(stream, &endpoint.host)).await.ok()
    } else {
        drop(stream);
        None
    };
    let tls = handshake.as_ref().is_some_and(Result::is_ok).then(|| begun.elapsed());
    let issuer = handshake.and_then(Result::ok).flatten();
    let addresses: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
    let begun = Instant::now();
    match ask(&endpoint.url, ground).await {
        Ok(status) => Ok(Passed { addresses, name, connect, tls, issuer, answer: begun.elapsed(), status }),
        Err(Unasked::Client { reason, cure }) => Err(Stuck::Client { reason, cure }),
        Err(Unasked::Unanswered(reason)) => Err(Stuck::Answer { addresses, issuer, reason }),
    }
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Stuck> {
    let stuck = |reason: String| Stuck::Name { host: host.to_owned(), reason };
    match timeout(NAME, lookup_host((host, port))).await {
        Ok(Ok(addresses)) => {
            let mut addresses: Vec<SocketAddr> = addresses.collect();
            addresses.dedup();
            addresses.truncate(MOST_ADDRESSES);
            if addresses.is_empty() { Err(stuck("there is no address for it".to_owned())) } else { Ok(addresses) }
        }
        Ok(Err(error)) => Err(stuck(error.to_string())),
        Err(_) => Err(stuck(format!("no DNS server answered within {:.1} s", NAME.as_secs_f64()))),
    }
}

/// The first connection to any of these; the last reason why not, if there is none.
async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut attempts: JoinSet<io::Result<TcpStream>> =
        addresses.iter().map(|address| TcpStream::connect(*address)).collect();
    let mut failed = io::Error::from(io::ErrorKind::TimedOut);
    let any = async {
        while let Some(attempt) = attempts.join_next().await {
            match attempt {
                Ok(Ok(stream)) => return Some(stream),
                Ok(Err(error)) => failed = error,
                Err(_) => {}
            }
        }
        None
    };
    match timeout(CONNECT, any).await {
        Ok(Some(stream)) => Ok(stream),
        Ok(None) => Err(failed),
        // Some may have been refused; those that say nothing are the trouble.
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

enum Unasked {
    Client { reason: String, cure: String },
    Unanswered(String),
}

/// The status of whatever is answered to a request without a name or signature: every answer shows that the way is free.
async fn ask(url: &str, ground: &Ground) -> Result<u16, Unasked> {
    let request = HttpRequest::get(url).map_err(|error| Unasked::Client {
        reason: chain(&error),
        cure: format!("correct the endpoint's address, {url}"),
    })?;
    let asking = ground.aws.ask(request, &ground.clock);
    let asking = asking.map_err(|error| Unasked::Client { reason: chain(&error), cure: error.hint() })?;
    match timeout(ANSWER, asking).await {
        Ok(Ok(answer)) => Ok(answer.status().as_u16()),
        Ok(Err(error)) => Err(Unasked::Unanswered(chain(&error))),
        Err(_) => Err(Unasked::Unanswered(format!("no answer within {:.1} s", ANSWER.as_secs_f64()))),
    }
}
