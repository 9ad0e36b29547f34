//! Whether each `[[role]]` can be assumed, by the very request that the daemon would make; the session is dropped at once.
//! Not who may have them.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::refused::Failure;
use super::visit::{Check, Finding, Found, Host, look};
use super::{names, refused};
use crate::credentials::{Error, Refusal, RoleSettings, Trials};
use crate::denial::{self, Policy};
use crate::fault::{chain, shell_word};

pub(super) const CHECK: Check = Check {
    name: "roles",
    title: "each [[role]] can be assumed",
    needs: &["credentials", "sts-reach"],
    after: &["configuration", "imds-identity", "sts-identity"],
    look: |host| look(check(host)),
};

/// Less than a check has, so that what is not done by then is told by name.
const PATIENCE: Duration = Duration::from_millis(3600);

async fn check(host: Arc<Host>) -> Found {
    let roles = host.config().credentials.roles;
    let (Some(sdk), Some(keys)) = (host.facts.sdk.get(), host.facts.credentials.get()) else {
        return Finding::unseen("there is nothing to assume roles with").into();
    };
    if roles.is_empty() {
        return Finding::ok("no [[role]] is configured").into();
    }
    let deadline = Instant::now() + PATIENCE;
    let names = names::known(&host, roles.iter().flat_map(RoleSettings::templates)).await;
    let trials = Trials::new(names, keys.clone(), sdk.clone());
    let mut looks = JoinSet::new();
    for (index, role) in roles.iter().cloned().enumerate() {
        let trials = trials.clone();
        looks.spawn(async move { (index, timeout_at(deadline, trials.assume(&role)).await) });
    }
    let mut findings: Vec<(usize, Finding)> = Vec::new();
    while let Some(Ok((index, tried))) = looks.join_next().await {
        let role = &roles[index];
        let finding = match tried {
            Ok(Ok(arn)) => Finding::ok(format!("the role {} can be assumed, as {arn}", role.name)),
            Ok(Err(error)) => failed(role, &error),
            Err(_) => Finding::unseen(format!(
                "there was no time for the role {}: at most five are tried a second",
                role.name
            ))
            .cure(format!("imds-agent credentials --role {}", shell_word(&role.name))),
        };
        findings.push((index, finding.about(&role.name)));
    }
    findings.sort_by_key(|(index, _)| *index);
    Found::all(findings.into_iter().map(|(_, finding)| finding).collect())
}

fn failed(role: &RoleSettings, error: &Error) -> Finding {
    match error {
        Error::Refused(refusal) => refused(role, refusal),
        Error::Waiting { names, .. } => {
            let missing: Vec<String> = names.iter().map(|name| format!("{{{name}}}")).collect();
            Finding::unseen(format!("the role {} can't be asked for: {} is not known", role.name, missing.join(", ")))
                .evidence(error.to_string())
                .cure_if_known(error.hint())
        }
        Error::Unreachable { .. } | Error::TimedOut { .. } => {
            Finding::unseen(format!("STS gave no answer for the role {}", role.name))
                .evidence(chain(error))
                .cure_if_known(error.hint())
        }
        _ => Finding::fault(format!("the role {} can't be assumed", role.name))
            .evidence(chain(error))
            .cure_if_known(error.hint()),
    }
}

fn refused(role: &RoleSettings, refusal: &Refusal) -> Finding {
    let (code, message) = (refusal.code.clone(), refusal.text.clone());
    let call = refusal.call();
    let finding =
        Failure::answered(400, code, message).finding(format!("the role {} can't be assumed", role.name), &call);
    if finding.outcome != super::Outcome::Fault {
        return finding;
    }
    if refusal.text.contains("MaxSessionDuration") {
        let name = refusal.resource.rsplit('/').next().unwrap_or_default();
        let seconds = role.duration.as_secs();
        return finding.why("the role's sessions may not be as long as `duration` asks for").cure(format!(
            "aws iam update-role --role-name {name} --max-session-duration {seconds}\nor shorten `duration` of role {}",
            role.name
        ));
    }
    if !denial::is_denial(&refusal.code) {
        return finding;
    }
    let denial = call.denied(&refusal.text);
    // A role that is not there is denied in the same words as one whose trust policy says no.
    let is_trust = !denial.explicit && matches!(denial.by, Policy::Resource | Policy::Unknown);
    if !is_trust {
        return finding;
    }
    let id = match &refusal.external_id {
        Some(id) => format!("the external id {id} is not the one that it asks for"),
        None => "it asks for an external id, and the [[role]] has no `external_id`".to_owned(),
    };
    let further = match refusal.further[..] {
        [] => String::new(),
        _ => format!(", or does not allow {}", refusal.further.join(" and ")),
    };
    let cause = finding.why.clone().unwrap_or_default();
    let name = refusal.resource.rsplit('/').next().unwrap_or_default();
    let look = format!("aws iam get-role --role-name {name} --query Role.AssumeRolePolicyDocument");
    let cure = refused::lines(&denial.steps()).unwrap_or_default();
    let cure = match refusal.external_id {
        Some(_) => cure,
        None => {
            format!("{cure}\nif its trust policy asks for sts:ExternalId, in role {}: external_id = \"ID\"", role.name)
        }
    };
    finding
        .why(format!(
            "{cause}. Its trust policy does not name the caller{further}; or {id}; or there is no such role (AWS does not \
             say which)"
        ))
        .cure(format!("{look}\n{cure}"))
}
