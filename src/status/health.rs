//! `/health`: whether credentials are fresh and logs flow, and why not, in a few lines of JSON. No secret, no key's id. Not
//! the judgement: that is the headline's.

use serde_json::{Value, json};

use super::{Condition, Report, problems, word};

/// Whether all is well, and what is said of it.
#[must_use]
pub fn health(report: &Report) -> (bool, Value) {
    let condition = Condition::of(report);
    let (status, reasons) = match &condition {
        Condition::Healthy | Condition::Warned(_) => ("healthy", Vec::new()),
        Condition::Starting => ("starting", vec![starting(report)]),
        Condition::Degraded(_) => ("degraded", problems(report).into_iter().map(|problem| json!(problem)).collect()),
    };
    let roles = report
        .credentials
        .iter()
        .map(|role| json!({ "role": role.role, "state": role.state, "expiration": role.expiration }));
    let events = &report.logs.ledger.events;
    let body = json!({
        "status": status,
        "reasons": reasons,
        "warnings": report.warnings.iter().map(|warning| &warning.message).collect::<Vec<_>>(),
        "version": report.version,
        "uptime_seconds": report.uptime_seconds,
        "credentials": roles.collect::<Vec<_>>(),
        "logs": {
            "delivered": events.delivered,
            "pending": events.pending,
            "dropped": events.dropped.values().sum::<u64>(),
        },
    });
    (matches!(condition, Condition::Healthy | Condition::Warned(_)), body)
}

/// What is still awaited, while nothing has failed.
fn starting(report: &Report) -> Value {
    let without = report.credentials.iter().find(|role| role.key_id_suffix.is_none());
    let awaited = match without {
        _ if report.imds.state == crate::imds::State::Starting => "IMDS has not answered yet".to_owned(),
        Some(role) => format!("the credentials of the role {} are {} yet", role.role, word(&role.state)),
        None => "the first credentials are on their way".to_owned(),
    };
    json!({
        "problem": "starting",
        "message": awaited,
        "hint": "wait; what does not come within 5 min of the start is reported as a failure with its cure",
    })
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::sample;
    use super::*;
    use crate::{credentials, imds};

    fn healthy() -> Report {
        let mut report = sample();
        report.logs.sources.truncate(1);
        report.logs.destinations.clear();
        report
    }

    #[test]
    fn all_is_well_or_each_reason_stands_there_with_its_cure() {
        let (is_well, body) = health(&healthy());
        assert!(is_well && body["status"] == "healthy" && body["reasons"] == json!([]), "{body}");
        let (is_well, body) = health(&sample());
        assert!(!is_well && body["status"] == "degraded", "{body}");
        let denied = &body["reasons"][1];
        assert_eq!(denied["problem"], "1 destination denied");
        assert!(denied["message"].as_str().unwrap().starts_with("logs:PutLogEvents is denied"), "{body}");
        assert!(denied["hint"].as_str().unwrap().starts_with("allow logs:PutLogEvents"), "{body}");
        assert!(!body.to_string().contains("X7QZ"), "no part of a key is told: {body}");
    }

    #[test]
    fn before_the_first_credentials_it_is_starting_and_says_what_is_awaited() {
        let mut report = healthy();
        report.credentials[0] = credentials::Snapshot::default();
        let (is_well, body) = health(&report);
        assert!(!is_well && body["status"] == "starting", "{body}");
        assert!(body["reasons"][0]["message"].as_str().unwrap().starts_with("the credentials of"), "{body}");
        report.imds = imds::Snapshot::default();
        assert_eq!(health(&report).1["reasons"][0]["message"], "IMDS has not answered yet");
    }
}
