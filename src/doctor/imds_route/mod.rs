//! Whether the metadata service's address can be connected to, and what is in the way: a route, a rule of a firewall, or
//! nobody there. Not what answers.

mod obstacle;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::TcpStream;
use url::{Host as UrlHost, Url};

use self::obstacle::Obstacle;
use super::command;
use super::imds_token::elsewhere;
use super::visit::{Check, Finding, Found, Host, look};
use crate::imds::ImdsClient;

pub(super) const CHECK: Check = Check {
    name: "imds-route",
    title: "the metadata service's address can be connected to",
    needs: &[],
    after: &["ec2"],
    look: |host| look(check(host)),
};

/// How long a connection may take (DESIGN, IMDS): the address is on this machine's own link.
const CONNECT: Duration = Duration::from_secs(1);

async fn check(host: Arc<Host>) -> Found {
    let config = host.config();
    let client = match ImdsClient::new(&config.imds, &host.ground.imds, &host.ground.clock) {
        Ok(client) => client,
        Err(error) => return Finding::fault(error.to_string()).cure_if_known(error.cure(None)).into(),
    };
    if client.is_disabled() {
        // `imds-token` says so.
        return Found::all(Vec::new());
    }
    let mut first = None;
    for url in client.endpoints() {
        match connect(url).await {
            Ok(()) => return Finding::ok(format!("{} accepts connections", address(url))).into(),
            Err(error) => first = first.or(Some((url, error))),
        }
    }
    let Some((url, error)) = first else { return Found::all(Vec::new()) };
    let is_expected = host.facts.is_ec2.get() == Some(&true) || elsewhere(&host, &config).is_some();
    Found::stop(blocked(url, &error, is_expected).await)
}

async fn connect(url: &Url) -> io::Result<()> {
    let port = url.port_or_known_default().unwrap_or(80);
    let connecting = async {
        match url.host() {
            Some(UrlHost::Ipv4(ip)) => TcpStream::connect((ip, port)).await,
            Some(UrlHost::Ipv6(ip)) => TcpStream::connect((ip, port)).await,
            Some(UrlHost::Domain(name)) => TcpStream::connect((name, port)).await,
            None => Err(io::ErrorKind::InvalidInput.into()),
        }
    };
    let connected = tokio::time::timeout(CONNECT, connecting).await;
    connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(drop)
}

/// What keeps us from `url`.
async fn blocked(url: &Url, error: &io::Error, is_expected: bool) -> Finding {
    let ip = match url.host() {
        Some(UrlHost::Ipv4(ip)) => Some(IpAddr::V4(ip)),
        Some(UrlHost::Ipv6(ip)) => Some(IpAddr::V6(ip)),
        _ => None,
    };
    let rules = match ip {
        Some(ip) => rules(ip).await,
        None => Vec::new(),
    };
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let obstacle = obstacle::judge(errno, ip, &routes, rules);
    let said = match errno {
        _ if error.kind() == io::ErrorKind::TimedOut => format!("no answer within {} s", CONNECT.as_secs()),
        _ => error.to_string(),
    };
    let Obstacle { why, evidence, cure, is_certain } = obstacle;
    let summary = format!("{} can't be connected to", address(url));
    // Who puts something in its way means that there is a metadata service.
    let finding = if is_certain || is_expected { Finding::fault(summary) } else { Finding::note(summary) };
    let evidence = evidence.map(|rule| format!("; {rule}")).unwrap_or_default();
    finding.evidence(format!("TCP connect to {}: {said}{evidence}", address(url))).why(why).cure(cure)
}

/// The rules of the firewall that end what goes to `ip`, which only root sees.
async fn rules(ip: IpAddr) -> Vec<obstacle::Rule> {
    let nft = command::run("nft", &["-a", "-n", "list", "ruleset"]).await.unwrap_or_default();
    let rules = obstacle::of_nft(&nft, ip);
    if !rules.is_empty() {
        return rules;
    }
    let program = if ip.is_ipv4() { "iptables" } else { "ip6tables" };
    let saved = command::run(&format!("{program}-save"), &[]).await.unwrap_or_default();
    obstacle::of_iptables(&saved, ip, program)
}

fn address(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}
