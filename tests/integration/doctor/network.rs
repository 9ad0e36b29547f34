//! What is in the way to the metadata service: each in a network namespace of its own, from which nothing leaves.

use std::process::{Command, Output};

use super::Diagnosis;
use crate::harness::Host;

/// The doctor in a namespace that `setup`, a line of shell, prepared; its address for metadata is the real one there.
fn examine_after(setup: &str, variables: &[(&str, &str)]) -> Diagnosis {
    let host = Host::new("http://127.0.0.1:9");
    let template = host.command(&["doctor", "--json", "--only", "imds-token,proxy"]);
    let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().expect("UTF-8"));
    let doctor: Vec<String> = std::iter::once(template.get_program()).chain(template.get_args()).map(quoted).collect();
    // Root of the namespace may set routes and rules there, whoever runs the tests.
    let script = format!("ip link set lo up && {setup} && exec {}", doctor.join(" "));
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "--", "sh", "-ec", &script]).env_clear();
    let kept = template.get_envs().filter(|(name, _)| *name != "AWS_EC2_METADATA_SERVICE_ENDPOINT");
    command.envs(kept.filter_map(|(name, value)| Some((name, value?)))).envs(variables.iter().copied());
    let output: Output = command.output().expect("unshare(1)");
    let diagnosis = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    Diagnosis(diagnosis)
}

const IMDS: &str = "169.254.169.254";

#[test]
fn a_prohibit_route_is_named_and_deleted_by_the_cure() {
    let diagnosis = examine_after(&format!("ip route add prohibit {IMDS}"), &[]);
    let cure = "sudo ip route del prohibit 169.254.169.254/32";
    diagnosis.says("imds-route", "fault", &["Permission denied", "a prohibit route forbids it", cure]);
    diagnosis.says("imds-token", "skipped", &["before imds-route is well"]);
}

#[test]
fn a_blackhole_route_is_named_and_deleted_by_the_cure() {
    let diagnosis = examine_after(&format!("ip route add blackhole {IMDS}"), &[]);
    diagnosis.says("imds-route", "fault", &["sudo ip route del blackhole 169.254.169.254/32"]);
}

#[test]
fn an_unreachable_route_is_named_and_deleted_by_the_cure() {
    let diagnosis = examine_after("ip route add unreachable 169.254.0.0/16", &[]);
    diagnosis.says("imds-route", "fault", &["No route to host", "sudo ip route del unreachable 169.254.0.0/16"]);
}

/// The address is here, and so is a firewall with this rule.
fn with_rule(rule: &str) -> String {
    format!(
        "ip addr add {IMDS}/32 dev lo && nft 'table inet t {{ chain out {{ type filter hook output priority 0; {rule}; }}; }}'"
    )
}

#[test]
fn a_rule_that_rejects_is_shown_and_deleted_by_the_cure() {
    let diagnosis = examine_after(&with_rule("ip daddr 169.254.169.254 tcp dport 80 reject"), &[]);
    let parts = [
        "rejects or drops",
        "table inet t, chain out: ip daddr 169.254.169.254",
        "sudo nft delete rule inet t out handle ",
    ];
    diagnosis.says("imds-route", "fault", &parts);
}

#[test]
fn a_rule_that_drops_is_shown_and_deleted_by_the_cure() {
    let diagnosis = examine_after(&with_rule("ip daddr 169.254.0.0/16 drop"), &[]);
    diagnosis.says(
        "imds-route",
        "fault",
        &["no answer within 1 s", "169.254.0.0/16", "sudo nft delete rule inet t out handle "],
    );
}

#[test]
fn a_machine_without_a_metadata_service_that_is_no_instance_has_no_fault() {
    let diagnosis = examine_after("true", &[]);
    // On an instance, where these tests may run too, it is one.
    if diagnosis.all("imds-route", "fault").is_empty() {
        diagnosis.says("imds-route", "note", &["169.254.169.254", "there is no route"]);
    }
}

#[test]
fn a_proxy_that_catches_metadata_is_warned_of_with_the_exceptions_as_cure() {
    let variables = [("http_proxy", "http://user:hunter2@127.0.0.1:9"), ("NO_PROXY", "localhost")];
    let diagnosis = examine_after("true", &variables);
    let cure = "export NO_PROXY=localhost,169.254.169.254,fd00:ec2::254,169.254.170.2";
    diagnosis.says("proxy", "warning", &["http_proxy", "The agent itself never", cure]);
    assert!(!format!("{:?}", diagnosis.with("warning")).contains("hunter2"));
}
