//! Whether log groups are encrypted with the KMS keys that the configuration names, and what CloudWatch Logs needs in
//! the policies of these keys. Not whether the role may use a key: CloudWatch Logs does that, not the role.

use std::sync::Arc;

use serde_json::json;

use super::logs_permissions::{Asker, Shown, Wanted, asker, groups, running};
use super::refused::Failure;
use super::visit::{Check, Finding, Found, Host, look};
use crate::denial::Statement;
use crate::fault::shell_word;

pub(super) const CHECK: Check = Check {
    name: "kms",
    title: "log groups are encrypted with the keys that the configuration names",
    needs: &["credentials", "logs-reach"],
    after: &["configuration", "daemon", "imds-identity", "sts-identity"],
    look: |host| look(check(host)),
};

/// What CloudWatch Logs does with a key (CloudWatch Logs User Guide, "Encrypt log data").
const ACTIONS: [&str; 5] = ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"];

/// A configuration that has more of them gives them the same key.
const MOST_GROUPS: usize = 6;

async fn check(host: Arc<Host>) -> Found {
    let Some(asker) = asker(&host) else {
        return Finding::unseen("there is nothing to sign a request with").into();
    };
    let mut findings = Vec::new();
    let keyed = groups(&host).await.known.into_iter().filter(|wanted| wanted.settings.kms_key_id.is_some());
    for wanted in keyed.take(MOST_GROUPS) {
        let key = wanted.settings.kms_key_id.clone().unwrap_or_default();
        findings.push(Look { host: &host, asker: &asker, wanted: &wanted, key: &key }.finding().await);
    }
    if findings.is_empty() {
        findings.push(Finding::ok("no `kms_key_id` is configured"));
    }
    Found::all(findings)
}

/// A look at one group.
struct Look<'a> {
    host: &'a Host,
    asker: &'a Asker,
    wanted: &'a Wanted,
    key: &'a str,
}

impl Look<'_> {
    async fn finding(&self) -> Finding {
        let (group, key) = (self.wanted.group.as_str(), self.key);
        let said = |error: &crate::fault::Fault| is_meant(&error.message).then(|| error.message.clone());
        let met = running(self.host, group).iter().find_map(|stream| stream.last_error.as_deref().and_then(said));
        if let Some(message) = met {
            return self.unusable(message);
        }
        let found = match self.asker.describe(group).await {
            Ok(found) => found,
            Err(failure) => {
                let what = format!("whether the log group {group} is encrypted can't be seen");
                return self.asker.finding("DescribeLogGroups", group, &failure, &what);
            }
        };
        let Some(found) = found else {
            return Finding::note(format!("the log group {group} is to be created with the key {key}"))
                .why("CloudWatch Logs must be allowed to use the key, by the key's own policy")
                .cure(self.cure())
                .about(group);
        };
        match found.kms_key_id() {
            Some(actual) if actual == key => self.used().await,
            actual => Finding::warning(format!(
                "the log group {group} is not encrypted with the key that the configuration names"
            ))
            .evidence(format!("logs:DescribeLogGroups: kmsKeyId is {}, not {key}", actual.unwrap_or("not set")))
            .why("a group gets its key when it is created; of one that is there, the agent changes none")
            .cure(format!(
                "aws logs associate-kms-key --log-group-name {} --kms-key-id {}\n{}",
                shell_word(group),
                shell_word(key),
                self.cure()
            ))
            .about(group),
        }
    }

    /// Whether CloudWatch Logs can use the key that the group has.
    async fn used(&self) -> Finding {
        let group = self.wanted.group.as_str();
        match self.asker.put(group, &self.wanted.missing_stream(fastrand::u64(..))).await {
            Shown::Failed(Failure::Refused { code, message }) if is_meant(&message) => {
                self.unusable(format!("logs:PutLogEvents: {code}: {message}"))
            }
            _ => Finding::ok(format!("the log group {group} is encrypted with {}", self.key)).about(group),
        }
    }

    fn unusable(&self, evidence: String) -> Finding {
        Finding::fault(format!(
            "CloudWatch Logs can't use the key {} for the log group {}",
            self.key, self.wanted.group
        ))
        .evidence(evidence)
        .why("the key's policy does not let CloudWatch Logs use it, or the key is disabled, deleted or elsewhere")
        .cure(self.cure())
        .about(&self.wanted.group)
    }

    fn cure(&self) -> String {
        let region = self.host.facts.region.get().map_or("REGION", String::as_str);
        let arn = format!("{}:log-group:{}", self.asker.stem, self.wanted.group);
        let statement = Statement {
            principal: Some(json!({ "Service": format!("logs.{region}.amazonaws.com") })),
            condition: Some(json!({ "ArnEquals": { "kms:EncryptionContext:aws:logs:arn": arn } })),
            ..Statement::allow(ACTIONS.map(str::to_owned).to_vec(), vec!["*".to_owned()])
        };
        let key = shell_word(self.key);
        format!(
            "in the key policy of {}: {statement}\naws kms get-key-policy --region {region} --key-id {key} --policy-name \
             default\naws kms describe-key --region {region} --key-id {key} --query KeyMetadata.KeyState",
            self.key
        )
    }
}

/// Whether an error is about a key.
fn is_meant(message: &str) -> bool {
    message.contains("KMS") || message.contains("kms:")
}
