//! Who AWS says the base credentials are, and whether that is the role and the account that this instance has. It needs
//! no permission. Not what they may do.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::refused::Failure;
use super::visit::{Check, Finding, Found, Host, look};
use crate::denial::Call;

pub(super) const CHECK: Check = Check {
    name: "sts-identity",
    title: "AWS knows the base credentials, as the role that they should be",
    needs: &["credentials", "sts-reach"],
    after: &["imds-identity"],
    look: |host| look(check(host)),
};

/// An answer on a way that is known to be free.
const PATIENCE: Duration = Duration::from_secs(3);

async fn check(host: Arc<Host>) -> Found {
    let Some(sdk) = host.facts.sdk.get() else {
        return Found::stop(Finding::unseen("there is nothing to sign a request with"));
    };
    let call = Call { action: "sts:GetCallerIdentity", resource: "*", ..Call::default() };
    let asking = aws_sdk_sts::Client::new(sdk).get_caller_identity().send();
    let failure = match timeout(PATIENCE, asking).await {
        Ok(Ok(identity)) => {
            let arn = identity.arn.unwrap_or_default();
            let _ = host.facts.caller.set(arn.clone());
            let account = host.facts.identity.get().map(|identity| identity.account_id.as_str());
            return judge(&arn, host.facts.role.get().map(String::as_str), account).into();
        }
        Ok(Err(error)) => Failure::of(&error),
        Err(_) => Failure::Unanswered { reason: format!("no answer within {} s", PATIENCE.as_secs()) },
    };
    Found::stop(failure.finding("AWS does not accept the base credentials", &call))
}

/// Whether `arn` is a session of `role` in `account`, as far as these are known.
fn judge(arn: &str, role: Option<&str>, account: Option<&str>) -> Finding {
    let fields: Vec<&str> = arn.split(':').collect();
    let theirs = fields.get(4).copied().unwrap_or_default();
    let assumed = arn.split_once(":assumed-role/").and_then(|(_, rest)| rest.split('/').next());
    let evidence = format!("sts:GetCallerIdentity: {arn}");
    match (assumed, role) {
        (Some(assumed), Some(role)) if assumed != role => {
            return Finding::fault(format!("the credentials are those of the role {assumed}, not of {role}"))
                .evidence(evidence)
                .why("the instance's role was changed, or something else than the metadata service answers for it")
                .cure("imds-agent credentials refresh; imds-agent metadata iam-role");
        }
        _ => {}
    }
    match account.filter(|account| !account.is_empty() && !theirs.is_empty() && *account != theirs) {
        Some(account) => {
            Finding::warning(format!("the credentials are of the account {theirs}, and the instance is in {account}"))
                .evidence(evidence)
                .why(
                    "log groups and roles without an account in their names are looked for in the credentials' account",
                )
        }
        None => Finding::ok(format!("AWS knows the credentials as {arn}")).evidence(evidence),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;

    const ARN: &str = "arn:aws:sts::123456789012:assumed-role/web/i-1";

    #[test]
    fn a_session_of_the_instances_role_in_its_account_is_well() {
        assert_eq!(judge(ARN, Some("web"), Some("123456789012")).outcome, Outcome::Ok);
        assert_eq!(judge(ARN, None, None).outcome, Outcome::Ok);
        assert_eq!(judge("arn:aws:iam::123456789012:user/bob", None, Some("123456789012")).outcome, Outcome::Ok);
    }

    #[test]
    fn another_role_is_a_fault_and_another_account_a_warning() {
        assert_eq!(judge(ARN, Some("api"), Some("123456789012")).outcome, Outcome::Fault);
        assert_eq!(judge(ARN, Some("web"), Some("999999999999")).outcome, Outcome::Warning);
    }
}
