//! The ways to STS and to CloudWatch Logs: each thing that can be in them, in a network namespace of its own or at a proxy
//! of the test's, with its cure.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use super::{Diagnosis, examine};
use crate::harness::{Authority, Emulator, Host, TlsFront};

/// An address of nobody's (RFC 5737), and one as VPC endpoints have.
const PUBLIC: &str = "203.0.113.9";
const PRIVATE: &str = "10.0.0.99";

/// The doctor in a namespace that `setup`, lines of shell, prepared, where CloudWatch Logs is at `address`, or has none.
/// The metadata service is there, too; nothing leaves it.
fn examine_in(address: Option<&str>, setup: &str) -> Diagnosis {
    let metadata = "http://127.0.0.1:7000";
    let mut host = Host::new(metadata);
    host.set("AWS_REGION", "eu-west-1");
    host.configure(&host.one_source(""));
    let known = address.map_or_else(String::new, |address| format!("{address} logs.eu-west-1.amazonaws.com\n"));
    std::fs::write(host.path("hosts"), format!("127.0.0.1 localhost\n{known}")).expect("it can be written");
    // No DNS server is reached from there.
    std::fs::write(host.path("resolv.conf"), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").expect("as above");
    let config = host.config().display().to_string();
    let template = host.command(&["doctor", "--config", &config, "--json", "--only", "logs-reach"]);
    let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().expect("UTF-8"));
    let binary = quoted(template.get_program());
    let doctor: Vec<String> = template.get_args().map(quoted).collect();
    let script = format!(
        "ip link set lo up\nmount --bind {hosts} /etc/hosts\nmount --bind {resolver} /etc/resolv.conf\n{setup}\n\
         {binary} emulator --listen 127.0.0.1:7000 >/dev/null 2>&1 &\n\
         until {binary} metadata instance-id >/dev/null 2>&1; do sleep 0.05; done\n{binary} {}\n",
        doctor.join(" "),
        hosts = host.path("hosts").display(),
        resolver = host.path("resolv.conf").display(),
    );
    let mut command = Command::new("unshare");
    // The emulator ends with the namespace's first process.
    command.args(["--map-root-user", "--net", "--mount", "--pid", "--fork", "--", "sh", "-ec", &script]).env_clear();
    let kept = template.get_envs().filter(|(name, _)| *name != "AWS_ENDPOINT_URL");
    command.envs(kept.filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().expect("unshare(1)");
    let diagnosis = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    Diagnosis(diagnosis)
}

/// The address is here, and so is a firewall with this rule.
fn with_rule(address: &str, rule: &str) -> String {
    format!(
        "ip addr add {address}/32 dev lo\nnft 'table inet t {{ chain out {{ type filter hook output priority 0; {rule}; }}; }}'"
    )
}

#[test]
fn a_private_subnet_without_a_way_gets_the_vpc_endpoint_that_is_missing() {
    let parts = [
        "Network is unreachable",
        "a private subnet without a NAT gateway and without the VPC endpoint com.amazonaws.eu-west-1.logs",
        "aws ec2 create-vpc-endpoint --region eu-west-1 --vpc-endpoint-type Interface --service-name \
         com.amazonaws.eu-west-1.logs --vpc-id vpc-0e00000000000e001 --subnet-ids subnet-0e00000000000e001",
    ];
    examine_in(Some(PUBLIC), "").says("logs-reach", "fault", &parts);
}

#[test]
fn packets_that_are_dropped_are_the_security_group_or_the_way_out() {
    let parts = [
        "nothing came back",
        "security group",
        "aws ec2 authorize-security-group-egress --region eu-west-1 --group-id sg-0e00000000000e001 --protocol tcp \
         --port 443",
    ];
    let drop = with_rule(PUBLIC, &format!("ip daddr {PUBLIC} drop"));
    examine_in(Some(PUBLIC), &drop).says("logs-reach", "fault", &parts);
}

#[test]
fn packets_that_are_dropped_on_the_way_to_a_vpc_endpoint_are_its_security_group() {
    let drop = with_rule(PRIVATE, &format!("ip daddr {PRIVATE} drop"));
    let parts = ["to the VPC endpoint com.amazonaws.eu-west-1.logs: its security group must let 443 in"];
    examine_in(Some(PRIVATE), &drop).says("logs-reach", "fault", &parts);
}

#[test]
fn a_firewall_that_rejects_is_looked_for_on_this_host() {
    let reject = with_rule(PUBLIC, &format!("ip daddr {PUBLIC} tcp dport 443 reject with tcp reset"));
    let parts = ["refused", "a firewall on this host or on the way rejects it", "sudo nft list ruleset"];
    examine_in(Some(PUBLIC), &reject).says("logs-reach", "fault", &parts);
}

#[test]
fn a_prohibit_route_is_looked_for_on_this_host() {
    let parts = ["Permission denied", "a prohibit route", "ip route get 203.0.113.9"];
    examine_in(Some(PUBLIC), &format!("ip route add prohibit {PUBLIC}")).says("logs-reach", "fault", &parts);
}

#[test]
fn a_name_that_nobody_resolves_is_a_fault_of_dns() {
    let parts = [
        "the name logs.eu-west-1.amazonaws.com can't be resolved",
        "getent ahosts 'logs.eu-west-1.amazonaws.com'",
        "aws ec2 describe-vpc-attribute --region eu-west-1 --vpc-id vpc-0e00000000000e001 --attribute enableDnsSupport",
    ];
    examine_in(None, "").says("logs-reach", "fault", &parts);
}

#[test]
fn an_authority_that_nobody_trusts_is_named_with_the_bundle_as_cure() {
    let Some(authority) = Authority::new() else { return };
    let (mut host, emulator) = Host::with_emulator();
    let front = TlsFront::start(&authority, &emulator.url());
    host.set("AWS_ENDPOINT_URL", &format!("https://{}", front.server));
    let parts = [
        "UnknownIssuer",
        "the certificate is by imds-agent tests, which this machine does not trust",
        "Environment=AWS_CA_BUNDLE=",
    ];
    examine(&host, &["--only", "logs-reach"]).says("logs-reach", "fault", &parts);
    host.set("AWS_CA_BUNDLE", &authority.bundle().display().to_string());
    let parts = ["can be reached", "TLS", "certificate by imds-agent tests", "AWS_ENDPOINT_URL says"];
    examine(&host, &["--only", "logs-reach"]).says("logs-reach", "note", &parts);
}

/// A proxy that answers whatever it is asked with this line, until the test ends.
fn proxy_that_says(line: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let mut asked = String::new();
            while reader.read_line(&mut asked).is_ok_and(|read| read > 2) {}
            let _ = write!(reader.get_mut(), "HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n");
        }
    });
    address
}

#[test]
fn a_proxy_that_wants_a_password_or_refuses_or_is_not_there_is_named() {
    let (mut host, _emulator) = Host::with_emulator();
    for (proxy, parts) in [
        (
            proxy_that_says("407 Proxy Authentication Required"),
            ["HTTP 407", "HTTPS_PROXY=http://USER:PASSWORD@127.0.0.1"],
        ),
        (proxy_that_says("403 Forbidden"), ["does not lead to logs.eu-west-1.amazonaws.com", "NO_PROXY="]),
        (crate::harness::free_address(), ["no connection to the proxy 127.0.0.1", "HTTPS_PROXY names a proxy"]),
    ] {
        host.only_through_proxy(proxy);
        examine(&host, &["--only", "logs-reach"]).says("logs-reach", "fault", &parts);
    }
}

#[test]
fn through_a_proxy_that_leads_there_all_is_well_and_its_password_is_not_shown() {
    let Some(authority) = Authority::new() else { return };
    let (mut host, emulator) = Host::with_emulator();
    let front = TlsFront::start(&authority, &emulator.url());
    host.only_through_proxy(front.proxy);
    host.set("HTTPS_PROXY", &format!("http://user:hunter2@{}", front.proxy));
    host.set("AWS_CA_BUNDLE", &authority.bundle().display().to_string());
    let diagnosis = examine(&host, &["--only", "sts-reach,logs-reach,sts-identity"]);
    diagnosis.says("logs-reach", "ok", &["through the proxy 127.0.0.1"]);
    diagnosis.says("sts-identity", "ok", &["assumed-role/emulated-role"]);
    assert!(!format!("{:?}", diagnosis.with("ok")).contains("hunter2"));
}

#[test]
fn an_endpoint_that_takes_connections_and_says_nothing_is_a_fault() {
    let (mut host, _emulator) = Host::with_emulator();
    // Connections are taken by the kernel, and never by anybody else.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", silent.local_addr().expect("it is bound"));
    host.set("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", &url);
    let diagnosis = examine(&host, &["--only", "logs-permissions"]);
    diagnosis.says("logs-reach", "fault", &["no answer within", "then nothing comes", "curl -sv"]);
    diagnosis.says("logs-permissions", "skipped", &["before logs-reach is well"]);
}

#[test]
fn what_nothing_configured_needs_is_a_warning_where_it_can_t_be_reached() {
    let emulator = Emulator::start();
    let mut host = Host::new(&emulator.url());
    host.configure("");
    host.set("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "http://127.0.0.1:9");
    host.set("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9");
    let diagnosis = examine(&host, &["--only", "sts-reach,logs-reach"]);
    for check in ["sts-reach", "logs-reach"] {
        diagnosis.says(check, "warning", &["nothing that is configured needs it", "Connection refused"]);
    }
}
