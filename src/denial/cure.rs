//! What a denial means in one sentence, and what cures it: the missing statement and where it goes, or who alone can
//! change what. Not how it was read.

use serde_json::json;

use super::principal::{Principal, account};
use super::{Denial, Policy, Statement, Step, action, in_policy};
use crate::fault::shell_word;

/// What a Deny is not cured by.
const DENY: &str = "a Deny stands above every Allow";

impl Denial {
    /// Who may not do what, and why, in one sentence.
    #[must_use]
    pub fn cause(&self) -> String {
        let Some(action) = self.action.as_deref() else {
            return match self.encoded {
                Some(_) => "a policy is in the way; AWS says which only in an encoded message".to_owned(),
                None => "AWS denies it, and says neither what nor why".to_owned(),
            };
        };
        let who = self.caller.as_deref().map_or_else(|| "the caller".to_owned(), |caller| Principal::of(caller).who());
        let on = self.resource.as_deref().map_or_else(String::new, |resource| format!(" on {resource}"));
        format!("{who} may not {action}{on}: {}", self.reason(action))
    }

    fn reason(&self, action: &str) -> String {
        let own = action::policy_of_resource(action).unwrap_or("policy");
        if self.explicit {
            let which = self.policy_arn.as_deref().map_or_else(String::new, |arn| format!(" ({arn})"));
            return match self.by {
                Policy::Unknown => "some policy has a Deny for it".to_owned(),
                Policy::Resource => format!("the resource's own {own} has a Deny for it{which}"),
                by => format!("the {}{which} has a Deny for it", by.name()),
            };
        }
        match self.by {
            Policy::Identity => "none of its own policies allows it".to_owned(),
            Policy::Resource => format!("the resource's own {own} does not allow it"),
            Policy::Boundary => "its permissions boundary does not allow it".to_owned(),
            Policy::Session => "the policy that the session was begun with does not allow it".to_owned(),
            Policy::ServiceControl | Policy::ResourceControl => {
                format!("no {} of the organisation allows it", self.by.name())
            }
            Policy::VpcEndpoint => "the policy of the VPC endpoint it went through does not allow it".to_owned(),
            Policy::Unknown => "no policy allows it, and AWS does not say whose policy lacks it".to_owned(),
        }
    }

    /// What cures it, one step where AWS says which policy is in the way.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = match self.action.as_deref() {
            None => Vec::new(),
            Some(_) if self.explicit => vec![self.deny()],
            Some(action) => self.missing(action),
        };
        if let Some(encoded) = &self.encoded {
            steps.push(Step {
                what: "to read all that AWS says of it (needs sts:DecodeAuthorizationMessage)".to_owned(),
                command: Some(format!(
                    "aws sts decode-authorization-message --query DecodedMessage --output text --encoded-message {}",
                    shell_word(encoded)
                )),
                statement: None,
            });
        }
        steps
    }

    /// All of it in a line for each step: what `status` and the log show.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let lines: Vec<String> = self.steps().iter().map(Step::to_string).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    fn deny(&self) -> Step {
        let which = self.policy_arn.as_deref().map_or_else(String::new, |arn| format!(": {arn}"));
        let name = self.by.name();
        let what = match self.by {
            Policy::Unknown => {
                format!("{DENY}: find the policy that has it, the caller's, the resource's or the organisation's")
            }
            Policy::ServiceControl | Policy::ResourceControl => {
                format!("{DENY}: only an administrator of your organisation can change the {name}{which}")
            }
            _ => format!("{DENY}: change the {name} that holds it{which}"),
        };
        Step { what, statement: None, command: self.look() }
    }

    /// The command that shows the policy in question.
    fn look(&self) -> Option<String> {
        if let Some(arn) = self.policy_arn.as_deref() {
            if let Some(id) = arn.rsplit('/').next().filter(|_| arn.contains(":organizations:")) {
                return Some(format!("aws organizations describe-policy --policy-id {}", shell_word(id)));
            }
            if arn.contains(":iam:") {
                return Some(format!("aws iam get-policy --policy-arn {}", shell_word(arn)));
            }
        }
        let (kind, name) = match Principal::of(self.caller.as_deref()?) {
            Principal::Role { name, .. } => ("role", name),
            Principal::User { name, .. } => ("user", name),
            _ => return None,
        };
        match self.by {
            Policy::Identity => Some(format!(
                "aws iam list-attached-{kind}-policies --{kind}-name {name} && aws iam list-{kind}-policies --{kind}-name {name}"
            )),
            Policy::Boundary => Some(format!(
                "aws iam get-{kind} --{kind}-name {name} --query {}.PermissionsBoundary",
                if kind == "role" { "Role" } else { "User" }
            )),
            _ => None,
        }
    }

    fn missing(&self, action: &str) -> Vec<Step> {
        if action == "sts:AssumeRoleWithWebIdentity" {
            let role = self.resource.as_deref().unwrap_or("the role");
            return vec![Step::said(format!(
                "the trust policy of {role} must allow {action} to the identity provider, with conditions (sub, aud) \
                 that the token meets"
            ))];
        }
        match self.by {
            Policy::Identity if self.is_cross_account() => {
                vec![
                    self.in_own(),
                    Step::said(format!("{} must allow it as well, since it is another account's", self.place())),
                ]
            }
            Policy::Identity => vec![self.in_own()],
            Policy::Resource => vec![self.in_resources()],
            Policy::Unknown => self.either(action),
            by => vec![Step {
                what: self.around(by, action),
                statement: Some(self.around_statement(by)),
                command: self.look(),
            }],
        }
    }

    /// Where AWS does not say which side: both that count.
    fn either(&self, action: &str) -> Vec<Step> {
        let mut steps = vec![self.in_own()];
        // What only one account and one side concerns needs no second statement.
        if matches!(action::service(action), "sts" | "kms") || self.is_cross_account() {
            steps.push(self.in_resources());
        }
        if action::service(action) == "s3" {
            steps.push(Step::said(
                "S3 names no policy: look also at the bucket policy, at the key of an encrypted object (kms:Decrypt), \
                 at Block Public Access; and a missing object is denied, not missing, to whom s3:ListBucket is not \
                 allowed on the bucket"
                    .to_owned(),
            ));
        }
        steps
    }

    /// Where policies that stand around the caller's own are changed.
    fn around(&self, by: Policy, action: &str) -> String {
        let who = self.caller.as_deref().map_or_else(|| "the caller".to_owned(), |caller| Principal::of(caller).who());
        match by {
            Policy::Boundary => format!("in the permissions boundary of {who}, beside an Allow in its own policies"),
            Policy::Session => format!(
                "in the session policy that {who} was assumed with (`policy` and `policy_arns` of its [[role]], or \
                 whoever calls AssumeRole), beside an Allow in its own policies"
            ),
            Policy::VpcEndpoint => {
                let service = action::service(action);
                format!("in the policy of the VPC endpoint for {service} (aws ec2 describe-vpc-endpoints)")
            }
            _ => format!("only an administrator of your organisation can add it to a {}", by.name()),
        }
    }

    fn around_statement(&self, by: Policy) -> Statement {
        let principal = (by == Policy::VpcEndpoint || by == Policy::ResourceControl).then(|| json!("*"));
        Statement { principal, ..self.statement() }
    }

    /// What the caller's own policy lacks.
    fn in_own(&self) -> Step {
        let statement = self.statement();
        let caller = self.caller.as_deref().map(Principal::of);
        let put = |kind: &str, name: &str| {
            let document = format!("{{\"Version\": \"2012-10-17\", \"Statement\": [{statement}]}}");
            let policy = self.action.as_deref().unwrap_or_default().replace([':', '*'], "-");
            let document = shell_word(&document);
            format!(
                "aws iam put-{kind}-policy --{kind}-name {name} --policy-name allow-{policy} --policy-document {document}"
            )
        };
        let (what, command) = match &caller {
            Some(Principal::Role { arn, name }) => (format!("in a policy of {arn}"), Some(put("role", name))),
            Some(Principal::User { arn, name }) => (format!("in a policy of {arn}"), Some(put("user", name))),
            Some(Principal::PermissionSet { name }) => {
                (format!("in the permission set {name} of IAM Identity Center"), None)
            }
            Some(Principal::Root) => {
                ("the root user needs no policy of its account; whoever else is to do it".to_owned(), None)
            }
            Some(Principal::Other(caller)) => (format!("in a policy of {caller}"), None),
            None => ("in a policy of the role that asks".to_owned(), None),
        };
        let action = self.action.as_deref().unwrap_or_default();
        let is_wide = self.arn(action).is_empty() && !action::is_on_all(action);
        let narrow = if is_wide { " (AWS does not name the resource: narrow the * to what it is about)" } else { "" };
        Step { what: what + narrow, statement: Some(statement), command }
    }

    /// What the resource's policy lacks.
    fn in_resources(&self) -> Step {
        let action = self.action.as_deref().unwrap_or_default();
        let caller = self.caller.as_deref().map(Principal::of);
        let arn = caller.as_ref().and_then(Principal::arn).unwrap_or("ARN of the role that asks").to_owned();
        let mut statement = self.statement();
        // Trust policies and repositories' name no resource; those of keys and secrets mean their own.
        match action::service(action) {
            "sts" | "ecr" => statement.resources.clear(),
            "kms" | "secretsmanager" => statement.resources = vec!["*".to_owned()],
            _ => {}
        }
        statement.principal = Some(json!({ "AWS": arn }));
        statement.condition = self.external_id.as_ref().map(|id| json!({ "StringEquals": { "sts:ExternalId": id } }));
        Step { what: format!("in {}", self.place()), statement: Some(statement), command: None }
    }

    /// `the trust policy of arn:…`
    fn place(&self) -> String {
        let kind = self.action.as_deref().and_then(action::policy_of_resource).unwrap_or("resource policy");
        format!("the {kind} of {}", self.resource.as_deref().unwrap_or("the resource"))
    }

    fn statement(&self) -> Statement {
        let action = self.action.clone().unwrap_or_default();
        let resource = in_policy(&action, &self.arn(&action));
        let actions = std::iter::once(action).chain(self.further.iter().cloned()).collect();
        Statement::allow(actions, vec![resource])
    }

    /// The resource's ARN, also where AWS gives but its name; empty where it can't be known.
    fn arn(&self, action: &str) -> String {
        let Some(resource) = self.resource.as_deref() else { return String::new() };
        if resource == "*" || resource.starts_with("arn:") {
            return resource.to_owned();
        }
        let caller = self.caller.as_deref().unwrap_or_default();
        let partition = caller.strip_prefix("arn:").and_then(|rest| rest.split(':').next()).unwrap_or("aws");
        let service = action::service(action);
        let is_name = |name: &&str| !name.contains([':', '*', '?', ' ']);
        let named = Some(resource).filter(is_name).and_then(|name| action::in_arn(service, name));
        named.map_or_else(String::new, |rest| match service {
            // Buckets are of no region and of no account.
            "s3" => format!("arn:{partition}:s3:::{rest}"),
            _ => format!("arn:{partition}:{service}:*:{}:{rest}", account(caller).unwrap_or("*")),
        })
    }

    fn is_cross_account(&self) -> bool {
        let own = self.caller.as_deref().and_then(account);
        let other = self.resource.as_deref().and_then(account);
        own.is_some() && other.is_some() && own != other
    }
}
