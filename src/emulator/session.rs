//! What a call of `AssumeRole` asks for, and whether STS takes it: names, policies and tags within their limits (STS API
//! reference, `AssumeRole`). Pure. Not who may assume what.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hyper::body::Bytes;
use serde::Serialize;

use super::answer::Refusal;
use super::operation::form;

/// A session lives 15 minutes at least (`DurationSeconds`)…
const SHORTEST: i64 = 900;

/// …and an hour unless asked for.
const USUAL: i64 = 3600;

/// …and never longer when role credentials ask (role chaining).
pub(super) const LONGEST_CHAINED: i64 = 3600;

/// …or than the role's own maximum, which IAM sets to this unless told otherwise.
pub(super) const LONGEST: i64 = 3600;

/// The most characters of the session policy and the ARNs of managed ones together.
const LONGEST_POLICY: usize = 2048;

/// The most managed policies.
const MOST_POLICY_ARNS: usize = 10;

/// The most tags.
const MOST_TAGS: usize = 50;

/// What was asked for, as tests compare it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SessionRequest {
    /// `RoleSessionName`.
    pub session_name: String,
    /// `DurationSeconds`, or the hour that stands for none.
    pub duration_seconds: i64,
    /// `ExternalId`.
    pub external_id: Option<String>,
    /// `Policy`.
    pub policy: Option<String>,
    /// `PolicyArns`.
    pub policy_arns: Vec<String>,
    /// `Tags`.
    pub tags: BTreeMap<String, String>,
    /// `SourceIdentity`.
    pub source_identity: Option<String>,
}

/// The alphabets of names.
const NAME: &str = "_+=,.@-";
const EXTERNAL_ID: &str = "_+=,.@:/-";
const TAG: &str = "_.:/=+-@ ";

impl SessionRequest {
    /// Reads and checks the fields of a call.
    pub(super) fn read(body: &Bytes, longest: i64) -> Result<Self, Refusal> {
        let field = |name: &str| form(body, name).map(Cow::into_owned);
        let named = |field_name: &str, shown: &str, alphabet: &str, most: usize| {
            let value = field(field_name);
            match &value {
                Some(text) if !is_word(text, alphabet, 2, most) => Err(constraint(shown, text)),
                _ => Ok(value),
            }
        };
        let session_name = field("RoleSessionName").unwrap_or_default();
        if !is_word(&session_name, NAME, 2, 64) {
            return Err(constraint("roleSessionName", &session_name));
        }
        let request = Self {
            session_name,
            duration_seconds: duration(field("DurationSeconds").as_deref(), longest)?,
            external_id: named("ExternalId", "externalId", EXTERNAL_ID, 1224)?,
            policy: field("Policy"),
            policy_arns: numbered(body, "PolicyArns", "arn"),
            tags: tags(body)?,
            source_identity: named("SourceIdentity", "sourceIdentity", NAME, 64)?,
        };
        request.check_policies()?;
        Ok(request)
    }

    fn check_policies(&self) -> Result<(), Refusal> {
        if self.policy_arns.len() > MOST_POLICY_ARNS {
            return Err(constraint("policyArns", &self.policy_arns.join(",")));
        }
        if let Some(arn) = self.policy_arns.iter().find(|arn| !arn.contains(":iam::") || !arn.contains(":policy/")) {
            return Err(Refusal::new("ValidationError", format!("ARN {arn} is not valid.")));
        }
        let policy = self.policy.as_deref().unwrap_or_default();
        let length = policy.chars().count() + self.policy_arns.iter().map(String::len).sum::<usize>();
        if length > LONGEST_POLICY {
            return Err(constraint("policy", policy));
        }
        let Some(text) = &self.policy else { return Ok(()) };
        let document: Option<serde_json::Value> = serde_json::from_str(text).ok();
        match document.as_ref().and_then(|document| document.get("Statement")) {
            Some(_) => Ok(()),
            None => Err(Refusal::new("MalformedPolicyDocument", "This policy contains invalid Json")),
        }
    }
}

fn tags(body: &Bytes) -> Result<BTreeMap<String, String>, Refusal> {
    let (keys, values) = (numbered(body, "Tags", "Key"), numbered(body, "Tags", "Value"));
    if keys.len() > MOST_TAGS || keys.len() != values.len() {
        return Err(constraint("tags", &keys.join(",")));
    }
    let mut tags: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in keys.into_iter().zip(values) {
        if !is_text(&key, 1, 128) || key.to_ascii_lowercase().starts_with("aws:") {
            return Err(constraint("tags.1.member.key", &key));
        }
        if !is_text(&value, 0, 256) {
            return Err(constraint("tags.1.member.value", &value));
        }
        if tags.keys().any(|known| known.eq_ignore_ascii_case(&key)) {
            let text = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
            return Err(Refusal::new("InvalidParameterValue", text));
        }
        tags.insert(key, value);
    }
    Ok(tags)
}

/// `NAME.member.1.PART`, `NAME.member.2.PART`… as the query protocol writes lists.
fn numbered(body: &Bytes, name: &str, part: &str) -> Vec<String> {
    (1..=100).map_while(|number| form(body, &format!("{name}.member.{number}.{part}")).map(Cow::into_owned)).collect()
}

fn is_word(text: &str, signs: &str, least: usize, most: usize) -> bool {
    (least..=most).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || signs.contains(c))
}

fn is_text(text: &str, least: usize, most: usize) -> bool {
    (least..=most).contains(&text.chars().count()) && text.chars().all(|c| c.is_alphanumeric() || TAG.contains(c))
}

fn constraint(member: &str, value: &str) -> Refusal {
    let text = format!(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: Member must be of the \
         length and satisfy the regular expression pattern that the API reference gives"
    );
    Refusal::new("ValidationError", text)
}

fn duration(text: Option<&str>, longest: i64) -> Result<i64, Refusal> {
    let invalid = |message: String| Refusal::new("ValidationError", message);
    let Some(text) = text else { return Ok(USUAL) };
    let seconds: i64 = text.parse().map_err(|_| invalid(format!("DurationSeconds '{text}' is not a number")))?;
    if seconds < SHORTEST {
        return Err(invalid(format!(
            "1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy constraint: \
             Member must have value greater than or equal to {SHORTEST}"
        )));
    }
    if seconds > longest {
        return Err(invalid(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining".into(),
        ));
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &str) -> Result<SessionRequest, String> {
        let body = Bytes::from(format!("RoleSessionName=me&{more}"));
        SessionRequest::read(&body, LONGEST_CHAINED).map_err(|refusal| refusal.code.into_owned())
    }

    #[test]
    fn all_parameters_are_read() {
        let request = read(
            "DurationSeconds=900&ExternalId=x-1&SourceIdentity=deployer&Policy=%7B%22Statement%22%3A%5B%5D%7D&\
             PolicyArns.member.1.arn=arn:aws:iam::aws:policy/ReadOnlyAccess&Tags.member.1.Key=team&\
             Tags.member.1.Value=web&Tags.member.2.Key=empty&Tags.member.2.Value=",
        );
        let request = request.unwrap();
        assert_eq!((request.duration_seconds, request.external_id.as_deref()), (900, Some("x-1")));
        assert_eq!(request.policy_arns, ["arn:aws:iam::aws:policy/ReadOnlyAccess"]);
        assert_eq!((request.tags["team"].as_str(), request.tags["empty"].as_str()), ("web", ""));
        assert_eq!(request.source_identity.as_deref(), Some("deployer"));
    }

    #[test]
    fn what_is_out_of_its_limits_is_refused() {
        let numbered = |most: usize, field: fn(usize) -> String| (1..=most).map(field).collect::<Vec<_>>().join("&");
        let many_arns = numbered(11, |n| format!("PolicyArns.member.{n}.arn=arn:aws:iam::1:policy/p"));
        let many_tags = numbered(51, |n| format!("Tags.member.{n}.Key=k{n}&Tags.member.{n}.Value=v"));
        for (fields, code) in [
            ("ExternalId=x", "ValidationError"),
            ("SourceIdentity=a%20b", "ValidationError"),
            ("Policy=no", "MalformedPolicyDocument"),
            ("PolicyArns.member.1.arn=ReadOnlyAccess", "ValidationError"),
            (&many_arns, "ValidationError"),
            (&many_tags, "ValidationError"),
            ("Tags.member.1.Key=aws:x&Tags.member.1.Value=v", "ValidationError"),
            (
                "Tags.member.1.Key=a&Tags.member.1.Value=v&Tags.member.2.Key=A&Tags.member.2.Value=v",
                "InvalidParameterValue",
            ),
            (&format!("Policy=%7B%22Statement%22%3A%22{}%22%7D", "x".repeat(2048)), "ValidationError"),
        ] {
            assert_eq!(read(fields).unwrap_err(), code, "{fields}");
        }
    }
}
