//! AWS's sentences, taken apart: who, what, on what, and which kind of policy stands in the way (IAM User Guide,
//! "Troubleshoot access denied error messages"; older sentences end before the reason). Pure. Not what cures it.

use super::{Denial, Policy};

/// What every such sentence has in its middle; services differ in the capital, and a few leave out the colon.
const NOT_AUTHORIZED: &str = "not authorized to perform";

/// EC2 puts what only its owner may read behind this (`sts:DecodeAuthorizationMessage`).
const ENCODED: &str = "Encoded authorization failure message:";

/// Where the reason begins, which ends the resource's name.
const REASONS: [&str; 3] = [" because ", " with an explicit deny", " as an explicit deny"];

/// The kinds as AWS's sentences name them, the longer names first where one begins another.
const KINDS: [(&str, Policy); 9] = [
    ("identity-based", Policy::Identity),
    ("resource-based", Policy::Resource),
    ("permissions boundary", Policy::Boundary),
    ("permission boundary", Policy::Boundary),
    ("session polic", Policy::Session),
    ("service control", Policy::ServiceControl),
    ("resource control", Policy::ResourceControl),
    ("vpc endpoint", Policy::VpcEndpoint),
    ("vpce", Policy::VpcEndpoint),
];

/// The denial in `text`, whose whitespace is single spaces, if it has AWS's sentence.
pub(super) fn read(text: &str) -> Option<Denial> {
    let encoded = text.split_once(ENCODED).and_then(|(_, rest)| rest.split_whitespace().next()).map(unquoted);
    // What is encoded is one long word: nothing after it counts.
    let text = text.split_once(ENCODED).map_or(text, |(before, _)| before);
    let Some((before, action, after)) = sentence(text) else {
        let is_denied = encoded.is_some() || position(text, NOT_AUTHORIZED).is_some();
        return is_denied.then(|| Denial { encoded, ..Denial::default() });
    };
    let (resource, reason) = resource(after);
    let (by, explicit) = kind(reason);
    let policy_arn = if explicit { policy_arn(reason) } else { None };
    let (action, caller) = (Some(action), caller(before));
    Some(Denial { action, resource, caller, by, explicit, policy_arn, encoded, ..Denial::default() })
}

/// What stands before the sentence that names an action, the action, and what follows. EC2 says first that "this
/// operation" is not authorized.
fn sentence(text: &str) -> Option<(&str, String, &str)> {
    let mut from = 0;
    while let Some(found) = position(&text[from..], NOT_AUTHORIZED) {
        let (begin, end) = (from + found, from + found + NOT_AUTHORIZED.len());
        let after = text[end..].trim_start_matches(':').trim_start();
        if let Some(action) = after.split_whitespace().next().and_then(action) {
            return Some((&text[..begin], action, after));
        }
        from = end;
    }
    None
}

/// Where `needle`, in lower case, is in `text`, whatever its capitals.
fn position(text: &str, needle: &str) -> Option<usize> {
    text.as_bytes().windows(needle.len()).position(|window| window.eq_ignore_ascii_case(needle.as_bytes()))
}

/// `logs:PutLogEvents`; a service in capitals (`SNS:Publish`) is written as policies write it.
fn action(word: &str) -> Option<String> {
    let word = unquoted(word);
    let (service, name) = word.split_once(':')?;
    let service_like = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_action = !service.is_empty() && !name.is_empty() && service.chars().all(service_like);
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '*');
    (is_action && is_name).then(|| format!("{}:{name}", service.to_ascii_lowercase()))
}

/// The last user named before the sentence.
fn caller(before: &str) -> Option<String> {
    let (_, rest) = before.rsplit_once("User: ").or_else(|| before.rsplit_once("Principal: "))?;
    // A path or a name may have what looks like the end of a sentence: it is up to the verb.
    let end = position(rest, " is ").unwrap_or(rest.len());
    let name = unquoted(rest[..end].trim());
    (!name.is_empty() && !name.contains(' ')).then_some(name)
}

/// The resource, and what stands behind it.
fn resource(after: &str) -> (Option<String>, &str) {
    let reason_at = |text: &str| REASONS.iter().filter_map(|reason| position(text, reason)).min();
    let end = reason_at(after).unwrap_or(after.len());
    let (said, reason) = after.split_at(end);
    let named = said.split_once("on resource: ").or_else(|| said.split_once("on resource "));
    let Some((_, name)) = named else { return (None, reason) };
    // Without a reason behind it, what follows the name is some SDK's; with one, a name may have spaces.
    let name = if reason.is_empty() { name.split(' ').next().unwrap_or_default() } else { name };
    let name = unquoted(name);
    (Some(name).filter(|name| !name.is_empty()), reason)
}

/// Which kind the reason names, and whether by a `Deny`.
fn kind(reason: &str) -> (Policy, bool) {
    let explicit = ["explicit deny", "explicitly denies"].iter().find_map(|words| position(reason, words));
    let lower = reason.to_ascii_lowercase();
    // KMS names all its reasons at once, which is none.
    if lower.contains(" or a resource-based policy explicitly denies") {
        return (Policy::Unknown, false);
    }
    let about = &lower[explicit.unwrap_or_default()..];
    let named = KINDS.iter().filter_map(|(words, policy)| Some((about.find(words)?, *policy)));
    (named.min_by_key(|(at, _)| *at).map_or(Policy::Unknown, |(_, policy)| policy), explicit.is_some())
}

/// What newer sentences have behind their reason: the ARN of the policy that denies.
fn policy_arn(reason: &str) -> Option<String> {
    let word = reason.split_whitespace().find(|word| word.starts_with("arn:"))?;
    Some(unquoted(word))
}

/// A word without the signs of the sentence, or of the text around it. A `*` at an ARN's end stays.
fn unquoted(word: &str) -> String {
    word.trim_matches(|c: char| c.is_whitespace() || "\"'`,;.)}]>\\".contains(c)).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: &str = "User: arn:aws:sts::123456789012:assumed-role/web/i-1 is not authorized to perform: s3:GetObject";

    #[test]
    fn each_kind_of_policy_is_told_from_the_others() {
        let kinds = [
            ("because no identity-based policy allows the s3:GetObject action", Policy::Identity, false),
            ("because no resource-based policy allows the s3:GetObject action", Policy::Resource, false),
            ("because no permissions boundary allows the s3:GetObject action", Policy::Boundary, false),
            ("because no session policy allows the s3:GetObject action", Policy::Session, false),
            ("because no service control policy allows the s3:GetObject action", Policy::ServiceControl, false),
            ("because no resource control policy allows the s3:GetObject action", Policy::ResourceControl, false),
            ("because no VPC endpoint policy allows the s3:GetObject action", Policy::VpcEndpoint, false),
            ("with an explicit deny in an identity-based policy", Policy::Identity, true),
            ("with an explicit deny in a resource-based policy", Policy::Resource, true),
            ("with an explicit deny in a permissions boundary", Policy::Boundary, true),
            ("with an explicit deny in a session policy", Policy::Session, true),
            ("with an explicit deny in a service control policy", Policy::ServiceControl, true),
            ("with an explicit deny in a resource control policy", Policy::ResourceControl, true),
            ("with an explicit deny in a VPC endpoint policy", Policy::VpcEndpoint, true),
            ("with an explicit deny", Policy::Unknown, true),
            ("", Policy::Unknown, false),
        ];
        for (reason, by, explicit) in kinds {
            let denial = read(&format!("{WHO} on resource: arn:aws:s3:::b/a key {reason}")).unwrap();
            assert_eq!((denial.by, denial.explicit), (by, explicit), "{reason}");
            assert_eq!(denial.action.as_deref(), Some("s3:GetObject"));
            assert_eq!(denial.caller.as_deref(), Some("arn:aws:sts::123456789012:assumed-role/web/i-1"));
            let key = if reason.is_empty() { "arn:aws:s3:::b/a" } else { "arn:aws:s3:::b/a key" };
            assert_eq!(denial.resource.as_deref(), Some(key));
        }
    }

    #[test]
    fn the_policy_that_denies_is_known_where_aws_names_it() {
        let arn = "arn:aws:organizations::123456789012:policy/o-1/service_control_policy/p-1";
        let denial = read(&format!(
            "{WHO} on resource: arn:aws:s3:::b with an explicit deny in a service control policy: {arn}"
        ));
        assert_eq!(denial.unwrap().policy_arn.as_deref(), Some(arn));
    }

    #[test]
    fn what_is_encoded_is_kept_and_its_sentence_read_if_there_is_one() {
        let old = "You are not authorized to perform this operation. Encoded authorization failure message: a-B_9.";
        let denial = read(old).unwrap();
        assert_eq!((denial.encoded.as_deref(), denial.action), (Some("a-B_9"), None));
        let new = format!(
            "You are not authorized to perform this operation. {WHO} because no identity-based policy \
                           allows the s3:GetObject action. Encoded authorization failure message: x"
        );
        let denial = read(&new).unwrap();
        assert_eq!((denial.encoded.as_deref(), denial.by), (Some("x"), Policy::Identity));
        assert_eq!(denial.action.as_deref(), Some("s3:GetObject"));
    }

    #[test]
    fn reasons_that_are_none_are_not_taken_for_one() {
        let kms = "User: arn:aws:iam::123456789012:user/me is not authorized to perform: kms:Decrypt on the resource \
                   associated with this ciphertext because the resource does not exist in this Region, no \
                   resource-based policies allow access, or a resource-based policy explicitly denies access";
        let denial = read(kms).unwrap();
        assert_eq!((denial.by, denial.explicit, denial.resource), (Policy::Unknown, false, None));
        assert_eq!(denial.action.as_deref(), Some("kms:Decrypt"));
    }

    #[test]
    fn capitals_and_missing_colons_are_no_trouble() {
        let denial = read("Not authorized to perform sts:AssumeRoleWithWebIdentity").unwrap();
        assert_eq!(denial.action.as_deref(), Some("sts:AssumeRoleWithWebIdentity"));
        let denial =
            read("User: anonymous is not authorized to perform: SNS:Publish on resource: arn:aws:sns:x").unwrap();
        assert_eq!((denial.action.as_deref(), denial.caller.as_deref()), (Some("sns:Publish"), Some("anonymous")));
        assert_eq!(read("nobody is denied anything"), None);
    }
}
