//! What is said of the way to an endpoint: what is seen, the likely causes, and commands that cure them. Not the walk.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;

use super::endpoint::{Api, Endpoint};
use super::place::Place;
use super::way::{Passed, Stuck};
use crate::aws::{Proxy, certificate_hint};
use crate::doctor::visit::Finding;
use crate::fault::shell_word;

/// What is known besides where it ends.
pub(super) struct Report<'a> {
    pub(super) api: Api,
    pub(super) region: &'a str,
    pub(super) endpoint: &'a Endpoint,
    pub(super) proxy: Option<&'a Proxy>,
    pub(super) place: &'a Place,
}

/// It can be reached.
pub(super) fn well(api: Api, endpoint: &Endpoint, proxy: Option<&Proxy>, passed: &Passed) -> Finding {
    let Passed { addresses, name, connect, tls, issuer, answer, status } = passed;
    let is_private = proxy.is_none() && endpoint.variable.is_none() && addresses.iter().all(is_private);
    let how = match proxy {
        Some(proxy) => format!(" through the proxy {}:{}", proxy.host, proxy.port),
        None if is_private => " through a VPC endpoint".to_owned(),
        None => String::new(),
    };
    let mut evidence = format!(
        "{}: name {} ms ({}), connection {} ms",
        endpoint.url,
        name.as_millis(),
        list(addresses),
        connect.as_millis()
    );
    if let Some(tls) = tls {
        let _ = write!(evidence, ", TLS {} ms", tls.as_millis());
    }
    if let Some(issuer) = issuer {
        let _ = write!(evidence, " (certificate by {issuer})");
    }
    let _ = write!(evidence, ", answer {} ms (HTTP {status})", answer.as_millis());
    let summary = format!("{} can be reached{how}", api.name());
    match endpoint.variable {
        Some(variable) => Finding::note(format!("{summary}, at {}, as {variable} says", endpoint.url)),
        None => Finding::ok(summary),
    }
    .evidence(evidence)
}

/// The SDK knows no endpoint for it.
pub(super) fn no_endpoint(api: Api, region: &str, reason: &str) -> Finding {
    Finding::fault(format!("{} has no endpoint in the region {region}", api.name()))
        .evidence(reason)
        .why("the region is misspelt, or AWS_USE_FIPS_ENDPOINT or AWS_USE_DUALSTACK_ENDPOINT asks for what it has not")
        .cure("imds-agent config show | grep region; env | grep ^AWS_")
}

impl Report<'_> {
    /// It can't be reached.
    pub(super) fn stuck(&self, stuck: &Stuck, is_needed: bool) -> Finding {
        let name = self.api.name();
        let (evidence, why, cure) = match stuck {
            Stuck::Name { host, reason } => self.nameless(host, reason),
            Stuck::Connect { addresses, port, error } => self.unconnected(addresses, *port, error),
            Stuck::Answer { addresses, issuer, reason } => self.unanswered(addresses, issuer.as_deref(), reason),
            Stuck::Client { reason, cure } => {
                (reason.clone(), "the environment says what can't be used".to_owned(), cure.clone())
            }
        };
        let summary = format!("{name} can't be reached");
        let finding = if is_needed {
            Finding::fault(summary)
        } else {
            Finding::warning(format!("{summary}; nothing that is configured needs it"))
        };
        finding.evidence(format!("{}: {evidence}", self.endpoint.url)).why(why).cure(cure)
    }

    fn nameless(&self, host: &str, reason: &str) -> (String, String, String) {
        let evidence = format!("the name {host} can't be resolved: {reason}");
        let look = format!("getent ahosts {}", shell_word(host));
        if self.proxy.is_some() {
            let why = "HTTPS_PROXY names a proxy that DNS does not know, or DNS does not work here".to_owned();
            return (evidence, why, format!("{look}\n{}", proxy_cure()));
        }
        if let Some(variable) = self.endpoint.variable {
            return (evidence, format!("{variable} names it"), format!("{look}\n{}", variable_cure(variable)));
        }
        let why = "DNS does not work on this host or in its VPC, or the region is misspelt".to_owned();
        let cure = format!(
            "{look}\nresolvectl status\naws ec2 describe-vpc-attribute --region {} --vpc-id {} --attribute \
             enableDnsSupport",
            self.region, self.place.vpc
        );
        (evidence, why, cure)
    }

    fn unconnected(&self, addresses: &[IpAddr], port: u16, error: &io::Error) -> (String, String, String) {
        let who = self.proxy.map_or_else(String::new, |proxy| format!("the proxy {}, ", proxy.host));
        let evidence = format!("no connection to {who}{} port {port}: {}", list(addresses), said(error));
        let first = addresses.first().map_or_else(String::new, ToString::to_string);
        let local = format!("ip route get {first}\nsudo nft list ruleset");
        if self.proxy.is_some() {
            let why = "HTTPS_PROXY names a proxy that does not answer".to_owned();
            return (evidence, why, format!("{}\n{local}", proxy_cure()));
        }
        if let Some(variable) = self.endpoint.variable {
            return (evidence, format!("{variable} sends us there"), variable_cure(variable));
        }
        let service = self.api.vpc_endpoint(self.region);
        let (why, cure) = match error.kind() {
            io::ErrorKind::ConnectionRefused => (
                "it is refused on purpose: a firewall on this host or on the way rejects it".to_owned(),
                format!("{local}\n{}", self.network(addresses)),
            ),
            io::ErrorKind::PermissionDenied => (
                "this host itself forbids it: a prohibit route, a firewall rule, or IPAddressDeny= of the unit"
                    .to_owned(),
                format!("{local}\nsystemctl show imds-agent -p IPAddressDeny -p IPAddressAllow"),
            ),
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => (
                format!(
                    "there is no route: a private subnet without a NAT gateway and without the VPC endpoint {service}, or \
                     a firewall that rejects it"
                ),
                format!("{local}\n{}", self.network(addresses)),
            ),
            _ if addresses.iter().all(is_private) => (
                format!(
                    "packets get lost on the way to the VPC endpoint {service}: its security group must let 443 in from \
                     this instance, and this instance's security group must let 443 out"
                ),
                self.network(addresses),
            ),
            _ => (
                format!(
                    "packets get lost: a private subnet without a NAT gateway and without the VPC endpoint {service}, or a \
                     security group or network ACL that does not let 443 out"
                ),
                self.network(addresses),
            ),
        };
        (evidence, why, cure)
    }

    /// Commands that show, and mend, what stands in the way in the VPC.
    fn network(&self, addresses: &[IpAddr]) -> String {
        let Place { vpc, subnet, security_group } = self.place;
        let (region, service) = (self.region, self.api.vpc_endpoint(self.region));
        let mut lines = format!(
            "aws ec2 describe-vpc-endpoints --region {region} --filters Name=vpc-id,Values={vpc} \
             Name=service-name,Values={service}\n\
             aws ec2 describe-route-tables --region {region} --filters Name=association.subnet-id,Values={subnet}\n\
             aws ec2 authorize-security-group-egress --region {region} --group-id {security_group} --protocol tcp \
             --port 443 --cidr 0.0.0.0/0"
        );
        if !addresses.iter().all(is_private) {
            let _ = write!(
                lines,
                "\naws ec2 create-vpc-endpoint --region {region} --vpc-endpoint-type Interface --service-name {service} \
                 --vpc-id {vpc} --subnet-ids {subnet} --security-group-ids {security_group} --private-dns-enabled"
            );
        }
        lines
    }

    fn unanswered(&self, addresses: &[IpAddr], issuer: Option<&str>, reason: &str) -> (String, String, String) {
        let by = issuer.map_or_else(String::new, |issuer| format!(" (the certificate is by {issuer})"));
        let evidence = format!("{}: {reason}{by}", list(addresses));
        if let Some(hint) = certificate_hint(reason) {
            return (evidence, certificate_cause(reason, issuer), certificate_cure(reason, hint, &self.endpoint.host));
        }
        let Some(proxy) = self.proxy else {
            let why = if reason.contains("no answer") {
                "the connection is taken and then nothing comes: something between here and AWS holds it, or its largest \
                 packets get lost (MTU)"
            } else {
                "what answers there does not speak as AWS does: look who it is"
            };
            let host = shell_word(&self.endpoint.url);
            return (evidence, why.to_owned(), format!("curl -sv --max-time 5 -o /dev/null {host}"));
        };
        let (host, Proxy { host: via, port }) = (&self.endpoint.host, proxy);
        let (why, cure) = if reason.contains("authorization required") {
            (
                format!("the proxy {via}:{port} wants to know who asks (HTTP 407)"),
                format!(
                    "systemctl edit imds-agent   # [Service] Environment=HTTPS_PROXY=http://USER:PASSWORD@{via}:{port}"
                ),
            )
        } else {
            (
                format!("the proxy {via}:{port} does not lead to {host}"),
                format!(
                    "allow {host}:443 at the proxy; or, where there is a way without it: systemctl edit imds-agent   # \
                     [Service] Environment=NO_PROXY={host}"
                ),
            )
        };
        (evidence, why, cure)
    }
}

fn certificate_cause(reason: &str, issuer: Option<&str>) -> String {
    let who = issuer.map_or_else(|| "an authority".to_owned(), str::to_owned);
    if reason.contains("UnknownIssuer") {
        format!(
            "the certificate is by {who}, which this machine does not trust: something on the way opens TLS to inspect it, \
             or ca-certificates is missing or old"
        )
    } else if reason.contains("Expired") || reason.contains("NotValidYet") {
        "this machine's clock is off, or the certificate is past its time".to_owned()
    } else {
        "what answers there has a certificate for another name".to_owned()
    }
}

fn certificate_cure(reason: &str, hint: &str, host: &str) -> String {
    if reason.contains("UnknownIssuer") {
        return format!(
            "openssl s_client -connect {host}:443 -servername {host} -showcerts </dev/null\nsystemctl edit imds-agent   # \
             [Service] Environment=AWS_CA_BUNDLE=/etc/ssl/certs/AUTHORITY.pem"
        );
    }
    if reason.contains("Expired") || reason.contains("NotValidYet") {
        return "timedatectl; sudo chronyc makestep".to_owned();
    }
    hint.to_owned()
}

fn proxy_cure() -> String {
    "correct it or take it away: systemctl edit imds-agent   # [Service] Environment=HTTPS_PROXY=http://HOST:PORT"
        .to_owned()
}

fn variable_cure(variable: &str) -> String {
    format!(
        "where it is not meant, take {variable} away: systemctl show imds-agent -p Environment -p EnvironmentFiles; \
         unset {variable}"
    )
}

fn said(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "nothing came back".to_owned(),
        _ => error.to_string(),
    }
}

fn list(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// Addresses that only a VPC, or this machine, has.
fn is_private(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_loopback(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_loopback(),
    }
}
