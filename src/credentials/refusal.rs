//! What STS said when it refused, and what cures it. Pure. Not the call, nor how AWS's words are read (`denial`).

use crate::denial;

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

impl Refusal {
    /// Whether a policy is in the way, which takes a person to change.
    pub(super) fn is_denial(&self) -> bool {
        denial::is_denial(&self.code)
    }

    /// Whether the credentials that signed should be fetched anew.
    pub(super) fn rejects_credentials(&self) -> bool {
        is_rejection(&self.code)
    }

    /// What cures it, when that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self.code.as_str() {
            code if denial::is_denial(code) => self.call().denied(&self.text).hint(),
            // What expired is the identity provider's token: nothing else signs this call.
            "ExpiredTokenException" if self.action == super::source::WITH_WEB_IDENTITY => {
                denial::cure("InvalidIdentityToken", &self.text)
            }
            // Others are on their way.
            code if is_rejection(code) => None,
            code => denial::cure(code, &self.text),
        }
    }

    /// Which call was refused.
    #[must_use]
    pub fn call(&self) -> denial::Call<'_> {
        denial::Call {
            action: self.action,
            resource: &self.resource,
            further: &self.further,
            external_id: self.external_id.as_deref(),
        }
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
        let (own, other) = hint.split_once('\n').unwrap();
        assert_eq!(own, format!("in a policy of {BASE}: {statement}"));
        assert!(
            other.contains(&format!("the trust policy of {ROLE} must allow it as well")),
            "another account: {other}"
        );
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
