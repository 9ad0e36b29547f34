//! What STS said when it refused, and what cures it: which policy lacks which statement, as far as AWS's words tell.
//! Pure. Not the call.

/// Codes that say a policy is in the way.
const DENIALS: [&str; 2] = ["AccessDenied", "AccessDeniedException"];

/// What AWS calls credentials that should be fetched anew (DESIGN, refresh). A denial is none of them.
const REJECTIONS: [&str; 3] = ["ExpiredToken", "ExpiredTokenException", "InvalidToken"];

/// A refusal, in AWS's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("STS answered {action} of {resource} with {code}: {text}")]
pub struct Refusal {
    /// The action: `sts:AssumeRole`.
    pub action: &'static str,
    /// The role's ARN.
    pub resource: String,
    /// AWS's name for the error.
    pub code: String,
    /// AWS's text.
    pub text: String,
    /// The further actions that the call needs: `sts:TagSession` with tags, `sts:SetSourceIdentity`.
    pub further: Vec<&'static str>,
    /// The external id that was sent.
    pub external_id: Option<String>,
}

/// Whose policy AWS names as the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// What the caller's role may do.
    Identity,
    /// Whom the role trusts.
    Trust,
    /// AWS does not say.
    Either,
}

impl Refusal {
    /// Whether a policy is in the way, which takes a person to change.
    pub(super) fn is_denial(&self) -> bool {
        DENIALS.contains(&self.code.as_str())
    }

    /// Whether the credentials that signed should be fetched anew.
    pub(super) fn rejects_credentials(&self) -> bool {
        is_rejection(&self.code)
    }

    /// What cures it, when that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self.code.as_str() {
            code if DENIALS.contains(&code) => Some(self.cure_of_denial()),
            "ValidationError" if self.text.contains("MaxSessionDuration") => Some(
                "shorten `duration`, or: aws iam update-role --role-name NAME --max-session-duration 3600".to_owned(),
            ),
            "RegionDisabledException" => {
                Some("set `region` of the role to one where the account has STS switched on".to_owned())
            }
            "MalformedPolicyDocument" | "PackedPolicyTooLarge" => {
                Some("correct `policy`, `policy_arns` or `tags` in the [[role]] table".to_owned())
            }
            "ExpiredTokenException" | "InvalidIdentityToken" if self.action == super::source::WITH_WEB_IDENTITY => Some(
                "the token in AWS_WEB_IDENTITY_TOKEN_FILE must be renewed by whoever writes it, and its issuer and \
                     audience must be those of the IAM identity provider that the role trusts"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    fn cure_of_denial(&self) -> String {
        if let Some((_, policy)) = self.text.split_once("with an explicit deny in a") {
            let kind = policy.trim_start_matches('n').trim().trim_end_matches('.');
            return format!("a Deny stands above every Allow: change the {kind} that holds it");
        }
        if self.action == super::source::WITH_WEB_IDENTITY {
            return format!(
                "the trust policy of {} must allow {} to the identity provider, with conditions (sub, aud) that the \
                 token meets",
                self.resource, self.action
            );
        }
        match self.side() {
            Side::Identity => self.identity_statement(),
            Side::Trust => self.trust_statement(),
            Side::Either => format!("{}\n{}", self.identity_statement(), self.trust_statement()),
        }
    }

    /// IAM User Guide, "Troubleshoot access denied error messages": `because no KIND policy allows the … action`.
    fn side(&self) -> Side {
        if self.text.contains("no identity-based policy allows") {
            Side::Identity
        } else if self.text.contains("no resource-based policy allows") {
            Side::Trust
        } else {
            Side::Either
        }
    }

    fn identity_statement(&self) -> String {
        let whose = self.caller().unwrap_or_else(|| "the role that asks".to_owned());
        format!(
            "in a policy of {whose}: {{\"Effect\": \"Allow\", \"Action\": {}, \"Resource\": \"{}\"}}",
            self.actions(),
            self.resource
        )
    }

    fn trust_statement(&self) -> String {
        let principal = self.caller().unwrap_or_else(|| "ARN of the role that asks".to_owned());
        let condition = self.external_id.as_ref().map_or_else(String::new, |id| {
            format!(", \"Condition\": {{\"StringEquals\": {{\"sts:ExternalId\": \"{id}\"}}}}")
        });
        format!(
            "in the trust policy of {}: {{\"Effect\": \"Allow\", \"Principal\": {{\"AWS\": \"{principal}\"}}, \
             \"Action\": {}{condition}}}",
            self.resource,
            self.actions()
        )
    }

    fn actions(&self) -> String {
        let all: Vec<String> =
            std::iter::once(&self.action).chain(&self.further).map(|action| format!("\"{action}\"")).collect();
        if all.len() == 1 { all.concat() } else { format!("[{}]", all.join(", ")) }
    }

    /// The role behind the session that AWS's text names: `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`. A path that
    /// the role may have is not in it.
    fn caller(&self) -> Option<String> {
        let session = self.text.split_once("User: ")?.1.split_whitespace().next()?;
        let (partition, rest) = session.strip_prefix("arn:")?.split_once(":sts::")?;
        let (account, role) = rest.split_once(":assumed-role/")?;
        Some(format!("arn:{partition}:iam::{account}:role/{}", role.split('/').next()?))
    }
}

/// Whether AWS's code asks for other credentials.
pub(super) fn is_rejection(code: &str) -> bool {
    REJECTIONS.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "arn:aws:iam::210987654321:role/app-prod-task-role";
    const CALLER: &str = "User: arn:aws:sts::123456789012:assumed-role/web/i-1 is not authorized to perform: \
                          sts:AssumeRole on resource: arn:aws:iam::210987654321:role/app-prod-task-role";
    const BASE: &str = "arn:aws:iam::123456789012:role/web";

    fn refusal(code: &str, text: &str) -> Refusal {
        Refusal {
            action: "sts:AssumeRole",
            resource: ROLE.to_owned(),
            code: code.to_owned(),
            text: text.to_owned(),
            further: Vec::new(),
            external_id: None,
        }
    }

    fn hint(reason: &str) -> String {
        refusal("AccessDenied", &format!("{CALLER}{reason}")).hint().unwrap()
    }

    #[test]
    fn a_missing_statement_of_the_callers_role_is_written_out() {
        let hint = hint(" because no identity-based policy allows the sts:AssumeRole action");
        let statement = format!("{{\"Effect\": \"Allow\", \"Action\": \"sts:AssumeRole\", \"Resource\": \"{ROLE}\"}}");
        assert_eq!(hint, format!("in a policy of {BASE}: {statement}"));
    }

    #[test]
    fn a_missing_statement_of_the_trust_policy_is_written_out_with_all_that_the_call_needs() {
        let text = format!("{CALLER} because no resource-based policy allows the sts:AssumeRole action");
        let refusal = Refusal {
            further: vec!["sts:TagSession"],
            external_id: Some("x-1".to_owned()),
            ..refusal("AccessDenied", &text)
        };
        let hint = refusal.hint().unwrap();
        let (whose, statement) = hint.split_once(": {").unwrap();
        assert_eq!(whose, format!("in the trust policy of {ROLE}"));
        let statement: serde_json::Value = serde_json::from_str(&format!("{{{statement}")).unwrap();
        assert_eq!(statement["Principal"]["AWS"], BASE);
        assert_eq!(statement["Action"], serde_json::json!(["sts:AssumeRole", "sts:TagSession"]));
        assert_eq!(statement["Condition"]["StringEquals"]["sts:ExternalId"], "x-1");
    }

    #[test]
    fn without_a_reason_both_sides_are_shown() {
        let hint = hint("");
        assert!(hint.contains("in a policy of") && hint.contains("\nin the trust policy of"), "{hint}");
    }

    #[test]
    fn an_explicit_deny_is_not_cured_by_an_allow() {
        let hint = hint(" with an explicit deny in a service control policy: arn:aws:organizations::1:policy/p");
        assert!(hint.contains("service control policy: arn:aws:organizations"), "{hint}");
        assert!(!hint.contains("Effect"), "{hint}");
    }

    #[test]
    fn a_text_in_words_of_its_own_is_no_trouble() {
        for text in ["", "User: ", "no", "User: arn:aws:iam::123456789012:user/me is not authorized"] {
            assert!(refusal("AccessDenied", text).hint().unwrap().contains(ROLE), "{text}");
        }
        assert_eq!(refusal("InternalFailure", "").hint(), None);
    }

    #[test]
    fn denials_and_rejections_are_told_apart() {
        assert!(refusal("AccessDenied", "").is_denial() && !refusal("AccessDenied", "").rejects_credentials());
        assert!(!refusal("ExpiredToken", "").is_denial() && refusal("ExpiredToken", "").rejects_credentials());
        assert!(!refusal("Throttling", "").is_denial());
    }
}
