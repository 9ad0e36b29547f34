//! Whether a proxy would catch requests to the metadata service. The agent never takes one there; other programs would,
//! and a proxy elsewhere answers with its own role, or not at all. Not the proxy for AWS's APIs.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::plain_file::read_at;
use super::systemd;
use super::visit::{Check, Finding, Found, Host, look};

pub(super) const CHECK: Check = Check {
    name: "proxy",
    title: "no proxy catches the metadata service",
    needs: &[],
    after: &[],
    look: |host| look(check(host)),
};

/// Those for plain HTTP, which IMDS speaks. `HTTPS_PROXY` catches none of it.
const PROXIES: [&str; 4] = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// What belongs in `NO_PROXY` on EC2: IMDS on IPv4 and IPv6, and ECS's credentials (FACTS, IMDSv2 and container protocol).
const LINK_LOCAL: [&str; 3] = ["169.254.169.254", "fd00:ec2::254", "169.254.170.2"];

/// Whose environment it is, for text, and where it is changed.
struct Place {
    name: String,
    cure: fn(&str) -> String,
}

async fn check(_: Arc<Host>) -> Found {
    let agent = systemd::show(systemd::AGENT, &["Environment"]);
    let (agent, manager) = tokio::join!(agent, systemd::manager_environment());
    let own: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let sessions = read_at(Path::new("/etc/environment")).unwrap_or_default();
    let agent = agent.first().and_then(|unit| unit.get("Environment")).map(|text| systemd::variables(text));
    let findings: Vec<Finding> = [
        (
            Place {
                name: "this environment".to_owned(),
                cure: |list| format!("export NO_PROXY={list} no_proxy={list}"),
            },
            own,
        ),
        (
            Place {
                name: "/etc/environment".to_owned(),
                cure: |list| format!("printf 'NO_PROXY={list}\\nno_proxy={list}\\n' | sudo tee -a /etc/environment"),
            },
            systemd::variables(&sessions),
        ),
        (
            Place {
                name: systemd::AGENT.to_owned(),
                cure: |list| format!("sudo systemctl edit {}: [Service] Environment=NO_PROXY={list}", systemd::AGENT),
            },
            agent.unwrap_or_default(),
        ),
        (
            Place {
                name: "systemd's own environment".to_owned(),
                cure: |list| format!("sudo systemctl set-environment NO_PROXY={list} no_proxy={list}"),
            },
            manager,
        ),
    ]
    .iter()
    .filter_map(|(place, environment)| judge(place, environment))
    .collect();
    if findings.is_empty() {
        return Finding::ok("no proxy variable catches the metadata service").into();
    }
    Found::all(findings)
}

fn judge(place: &Place, environment: &[(String, String)]) -> Option<Finding> {
    let value = |name: &str| environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.trim());
    let set: Vec<&str> =
        PROXIES.into_iter().filter(|name| value(name).is_some_and(|value| !value.is_empty())).collect();
    let excepted: Vec<&str> = EXCEPTIONS.into_iter().filter_map(value).flat_map(|list| list.split(',')).collect();
    let metadata: IpAddr = LINK_LOCAL[0].parse().ok()?;
    if set.is_empty() || excepted.iter().any(|entry| excepts(entry.trim(), metadata)) {
        return None;
    }
    let mut list: Vec<&str> = excepted.iter().map(|entry| entry.trim()).filter(|entry| !entry.is_empty()).collect();
    list.extend(LINK_LOCAL);
    list.dedup();
    Some(
        Finding::warning(format!("{} would take requests for the metadata service to a proxy", set.join(" and ")))
            .about(&place.name)
            .evidence(format!("{} in {}, and NO_PROXY does not name {}", are_set(&set), place.name, LINK_LOCAL[0]))
            .why(
                "boto3, the AWS CLI, the SDKs for Go and PHP, and curl use it there; a proxy on another machine answers \
                 with that machine's role, or not at all. The agent itself never uses one there",
            )
            .cure((place.cure)(&list.join(","))),
    )
}

fn are_set(names: &[&str]) -> String {
    format!("{} {} set", names.join(", "), if names.len() == 1 { "is" } else { "are" })
}

/// Whether an entry of `NO_PROXY` covers an address: all, the address itself, or a prefix that Go and Python know.
fn excepts(entry: &str, ip: IpAddr) -> bool {
    let Some((network, length)) = entry.split_once('/') else { return entry == "*" || entry == ip.to_string() };
    match (network.parse(), length.parse::<u32>(), ip) {
        (Ok(IpAddr::V4(network)), Ok(length @ 0..=32), IpAddr::V4(ip)) => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            u32::from(network) & mask == u32::from(ip) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(environment: &[(&str, &str)]) -> Option<Finding> {
        let environment: Vec<(String, String)> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        judge(&Place { name: "here".to_owned(), cure: str::to_owned }, &environment)
    }

    const PROXY: (&str, &str) = ("http_proxy", "http://user:hunter2@proxy:3128");

    #[test]
    fn a_proxy_for_plain_http_is_warned_of_unless_the_address_is_excepted() {
        for covered in ["*", "169.254.169.254", "localhost, 169.254.169.254", "169.254.0.0/16"] {
            assert_eq!(judged(&[PROXY, ("NO_PROXY", covered)]), None, "{covered}");
        }
        for not in ["", "localhost,10.0.0.0/8", "169.254.169.25"] {
            assert!(judged(&[PROXY, ("no_proxy", not)]).is_some(), "{not}");
        }
        assert_eq!(judged(&[("HTTPS_PROXY", "http://proxy:3128")]), None);
    }

    #[test]
    fn the_cure_keeps_what_was_excepted_and_the_proxys_password_is_not_said() {
        let finding = judged(&[PROXY, ("NO_PROXY", "localhost")]).unwrap();
        assert_eq!(finding.cure.as_deref(), Some("localhost,169.254.169.254,fd00:ec2::254,169.254.170.2"));
        assert!(!format!("{finding:?}").contains("hunter2"));
    }
}
