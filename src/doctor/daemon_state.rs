//! What the running daemon says is wrong with its own work: what it warns of, what it failed at last, what it lost. Each
//! with the daemon's own cure. Not what the doctor found out for itself: one cause is told once.

use std::collections::BTreeMap;

use super::visit::{Check, Finding, Found, Host, look};
use crate::credentials::{Snapshot, State};
use crate::fault::{Fault, Warning, shell_word};
use crate::logs::{DestinationSnapshot, DestinationState};
use crate::status::Report;

pub(super) const CHECK: Check = Check {
    name: "daemon-state",
    title: "the daemon's own work goes well",
    needs: &["daemon"],
    after: &["credentials", "logs-permissions"],
    look: |host| look(async move { check(&host) }),
};

/// Warnings for which the doctor has a check of its own.
const ELSEWHERE: [&str; 2] = ["clock_skew", "region_unknown"];

/// Reasons for which nobody misses a record.
const MEANT: [&str; 2] = ["empty", "filtered"];

/// More findings of one kind say nothing more.
const MOST: usize = 5;

fn check(host: &Host) -> Found {
    let Some(report) = host.facts.report.get() else { return Found::all(Vec::new()) };
    let has_credentials = host.facts.credentials.get().is_some();
    let denied = host.facts.denied_groups.get().map(Vec::as_slice).unwrap_or_default();
    let findings = judge(report, has_credentials, denied);
    if findings.is_empty() { Finding::ok("it says that all is well").into() } else { Found::all(findings) }
}

/// `has_credentials`: whether the doctor got the base credentials that the daemon may be missing; `denied`: the log groups
/// of which it was told what is denied.
fn judge(report: &Report, has_credentials: bool, denied: &[String]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = configuration(report).into_iter().collect();
    let base = report.credentials.first().filter(|_| has_credentials);
    findings.extend(base.and_then(credentials));
    let is_told = |destination: &&DestinationSnapshot| {
        destination.state == DestinationState::Denied && denied.iter().any(|group| **group == *destination.log_group)
    };
    findings.extend(destinations(report.logs.destinations.iter().filter(|destination| !is_told(destination))));
    findings.extend(lost(report));
    let warnings = report.warnings.iter().filter(|warning| !ELSEWHERE.contains(&warning.code.as_str()));
    findings.extend(warnings.map(|Warning { code, message, hint }| {
        Finding::warning(message).about(code).evidence("imds-agent status").cure_if_known(hint.clone())
    }));
    findings
}

fn configuration(report: &Report) -> Option<Finding> {
    let error = report.config.error.as_ref()?;
    let in_use = match report.config.last_good {
        Some(from) => format!("the daemon uses the configuration of {from:.0} instead"),
        None => "the daemon goes on with the configuration it has".to_owned(),
    };
    let path = report.config.path.as_deref().unwrap_or(crate::config::DEFAULT_PATH);
    let cure = format!("imds-agent config check --config {} && sudo systemctl reload imds-agent", shell_word(path));
    Some(Finding::fault("the configuration in the file is not in use").evidence(error).why(in_use).cure(cure))
}

/// The doctor could get the base credentials; can the daemon?
fn credentials(base: &Snapshot) -> Option<Finding> {
    let Fault { at, message, hint } = base.last_error.as_ref()?;
    let finding = match base.state {
        State::Absent | State::Expired => Finding::fault("the daemon has no base credentials, which can be had now"),
        _ => Finding::warning("the daemon's last refresh of the base credentials failed, and they can be had now"),
    };
    let finding = finding.evidence(format!("{message}, at {at:.0}")).why(format!("source: {}", base.source));
    Some(finding.cure(hint.clone().unwrap_or_else(|| "sudo imds-agent credentials refresh".to_owned())))
}

/// Destinations in trouble, those with the same trouble once.
fn destinations<'r>(all: impl Iterator<Item = &'r DestinationSnapshot>) -> Vec<Finding> {
    let mut alike: BTreeMap<(&str, String), Vec<&DestinationSnapshot>> = BTreeMap::new();
    for destination in all.filter(|destination| destination.state != DestinationState::Running) {
        alike.entry((&destination.log_group, destination.state.to_string())).or_default().push(destination);
    }
    let findings = alike.into_iter().filter_map(|((group, state), destinations)| {
        let first = destinations.first()?;
        let summary = match destinations.len() {
            1 => format!("log stream {} of {group} is {state}", first.log_stream),
            count => format!("{count} log streams of {group} are {state}, {} among them", first.log_stream),
        };
        let finding = match first.state {
            DestinationState::Throttled | DestinationState::BackingOff => Finding::warning(summary),
            _ => Finding::fault(summary),
        };
        let error = first.last_error.as_ref();
        let evidence =
            error.map_or("imds-agent status".to_owned(), |fault| format!("{}, at {:.0}", fault.message, fault.at));
        Some(finding.about(group).evidence(evidence).cure_if_known(error.and_then(|fault| fault.hint.clone())))
    });
    findings.take(MOST).collect()
}

fn lost(report: &Report) -> Option<Finding> {
    let dropped = &report.logs.ledger.events.dropped;
    let lost = dropped.iter().filter(|(reason, count)| !MEANT.contains(&reason.as_str()) && **count > 0);
    let lost: Vec<String> = lost.map(|(reason, count)| format!("{count} {reason}")).collect();
    if lost.is_empty() {
        return None;
    }
    let finding = Finding::warning("records were given up since this state began")
        .evidence(format!("dropped: {}", lost.join(", ")))
        .why("CloudWatch would not take them, or their source was gone before they were read");
    let kept = report.logs.dead_letters.events;
    Some(if kept > 0 { finding.cure("sudo imds-agent logs dead-letters") } else { finding })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;

    fn report() -> serde_json::Value {
        let golden = include_str!("../status/golden.json");
        let mut report: serde_json::Value = serde_json::from_str(golden).expect("the golden report");
        // Keys that came later are not in it.
        report["logs"]["sources"] = serde_json::json!([]);
        report
    }

    fn judged(report: serde_json::Value) -> Vec<Finding> {
        judge(&serde_json::from_value(report).expect("a report"), true, &[])
    }

    fn only(report: serde_json::Value, outcome: Outcome) -> Finding {
        let found: Vec<Finding> = judged(report).into_iter().filter(|finding| finding.outcome == outcome).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    }

    #[test]
    fn a_denied_destination_is_a_fault_with_the_daemons_own_cure() {
        let finding = only(report(), Outcome::Fault);
        assert!(finding.summary.contains("/aws/ec2/audit is denied"), "{finding:?}");
        assert!(finding.cure.unwrap().contains("logs:PutLogEvents"));
    }

    #[test]
    fn a_denial_that_the_doctor_was_told_itself_is_not_told_again() {
        let report = serde_json::from_value(report()).expect("a report");
        let told = |groups: &[String]| judge(&report, true, groups).iter().any(|f| f.outcome == Outcome::Fault);
        assert!(told(&["/aws/ec2/other".to_owned()]));
        assert!(!told(&["/aws/ec2/audit".to_owned()]));
    }

    #[test]
    fn a_configuration_that_is_not_in_use_is_a_fault() {
        let mut report = report();
        report["config"]["error"] = "unknown key `regoin`".into();
        report["logs"]["destinations"] = serde_json::json!([]);
        let finding = only(report, Outcome::Fault);
        assert!(finding.cure.unwrap().starts_with("imds-agent config check --config '/etc"), "{:?}", finding.summary);
    }

    #[test]
    fn credentials_that_only_the_daemon_lacks_are_its_own_fault() {
        let mut report = report();
        report["logs"]["destinations"] = serde_json::json!([]);
        report["credentials"][0]["state"] = "expired".into();
        report["credentials"][0]["last_error"] =
            serde_json::json!({"at": "2026-11-22T12:00:00Z", "message": "no route"});
        let finding = only(report, Outcome::Fault);
        assert!(finding.cure.unwrap().contains("credentials refresh"), "{:?}", finding.evidence);
    }

    #[test]
    fn what_was_lost_is_a_warning_and_empty_lines_are_no_loss() {
        let mut report = report();
        report["logs"]["destinations"] = serde_json::json!([]);
        report["warnings"] = serde_json::json!([]);
        assert_eq!(judged(report.clone()), []);
        report["logs"]["ledger"]["events"]["dropped"]["too_old"] = 3.into();
        assert_eq!(only(report, Outcome::Warning).evidence.as_deref(), Some("dropped: 3 too_old"));
    }
}
