//! A policy that exists, read from its document or from what the AWS CLI prints of it. Not what it is compared with.

use serde_json::Value;

use super::glob::{covers, meet};

/// Why a file is no policy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not JSON.
    #[error("it is not JSON")]
    NotJson(#[from] serde_json::Error),
    /// It is JSON of another kind.
    #[error("it is no IAM policy: {0}")]
    NotPolicy(String),
}

/// A policy's statements, as far as they count here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    pub(super) rules: Vec<Rule>,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// Its `Sid`, or which one it is.
    pub(super) name: String,
    pub(super) is_deny: bool,
    /// In lower case, since AWS makes no difference.
    pub(super) actions: Patterns,
    /// The same as they are written.
    pub(super) written: Vec<String>,
    pub(super) resources: Patterns,
    pub(super) has_condition: bool,
}

/// `Action` or `NotAction`, `Resource` or `NotResource`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Patterns {
    pub(super) all_but: bool,
    pub(super) listed: Vec<String>,
}

impl Patterns {
    /// Whether all of `text`, which may be a pattern, is meant.
    pub(super) fn cover(&self, text: &str) -> bool {
        if self.all_but {
            !self.listed.iter().any(|pattern| meet(pattern, text))
        } else {
            self.listed.iter().any(|pattern| covers(pattern, text))
        }
    }

    /// Whether something of `text` is meant.
    pub(super) fn meet(&self, text: &str) -> bool {
        if self.all_but {
            !self.listed.iter().any(|pattern| covers(pattern, text))
        } else {
            self.listed.iter().any(|pattern| meet(pattern, text))
        }
    }
}

impl Document {
    /// Reads a policy document, alone or in what `aws iam get-policy-version` and `get-role-policy` print.
    ///
    /// # Errors
    /// When it is none, with what was expected.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let value: Value = serde_json::from_str(text)?;
        let inner = ["/PolicyVersion/Document", "/PolicyDocument", "/Document"];
        let document = inner.iter().find_map(|path| value.pointer(path)).unwrap_or(&value);
        // IAM's API itself gives the document as encoded text.
        let decoded = document.as_str().map(decoded);
        let document = match &decoded {
            Some(text) => &serde_json::from_str(text)?,
            None => document,
        };
        let rules = match document.get("Statement") {
            Some(Value::Array(statements)) => {
                statements.iter().enumerate().map(|(index, one)| rule(one, index)).collect()
            }
            Some(one @ Value::Object(_)) => rule(one, 0).map(|rule| vec![rule]),
            _ => Err("it has no \"Statement\"; expected a document, or what `aws iam get-policy-version` or \
                      `aws iam get-role-policy` prints"
                .to_owned()),
        };
        rules.map(|rules| Self { rules }).map_err(Error::NotPolicy)
    }
}

impl Document {
    /// The one region and the one account that its resources name, each if there is just one.
    #[must_use]
    pub fn whereabouts(&self) -> (Option<String>, Option<String>) {
        let field = |index: usize, is_meant: fn(&str) -> bool| {
            let resources = self.rules.iter().flat_map(|rule| &rule.resources.listed);
            let named = resources.filter_map(|arn| arn.strip_prefix("arn:")?.split(':').nth(index));
            let mut named: Vec<&str> = named.filter(|name| is_meant(name)).collect();
            named.sort_unstable();
            named.dedup();
            if let [one] = named[..] { Some(one.to_owned()) } else { None }
        };
        let is_plain = |name: &str| !name.is_empty() && !name.contains(['*', '?', '$']);
        (field(2, is_plain), field(3, |name| name.len() == 12 && name.bytes().all(|digit| digit.is_ascii_digit())))
    }
}

fn rule(statement: &Value, index: usize) -> Result<Rule, String> {
    let sid = statement.get("Sid").and_then(Value::as_str).filter(|sid| !sid.is_empty());
    let name = sid.map_or_else(|| format!("statement {}", index + 1), |sid| format!("statement {sid:?}"));
    let is_deny = match statement.get("Effect").and_then(Value::as_str) {
        Some("Allow") => false,
        Some("Deny") => true,
        _ => return Err(format!("{name} has no \"Effect\" that is \"Allow\" or \"Deny\"")),
    };
    if statement.get("Principal").or_else(|| statement.get("NotPrincipal")).is_some() {
        return Err(format!(
            "{name} has a \"Principal\", so it is a resource's policy or a trust policy, and no role's own"
        ));
    }
    let Patterns { all_but, listed: written } = patterns(statement, &name, "Action")?;
    let actions = Patterns { all_but, listed: written.iter().map(|action| action.to_ascii_lowercase()).collect() };
    let resources = patterns(statement, &name, "Resource")?;
    let has_condition =
        statement.get("Condition").is_some_and(|condition| condition.as_object().is_none_or(|all| !all.is_empty()));
    Ok(Rule { name, is_deny, actions, written, resources, has_condition })
}

fn patterns(statement: &Value, name: &str, key: &str) -> Result<Patterns, String> {
    let not = format!("Not{key}");
    let (all_but, value) = match (statement.get(key), statement.get(&not)) {
        (Some(value), None) => (false, value),
        (None, Some(value)) => (true, value),
        (Some(_), Some(_)) => return Err(format!("{name} has both \"{key}\" and \"{not}\"")),
        (None, None) => return Err(format!("{name} has no \"{key}\"")),
    };
    let listed: Option<Vec<String>> = match value {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(several) => several.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    let listed = listed.ok_or_else(|| format!("\"{key}\" of {name} is neither text nor a list of it"))?;
    Ok(Patterns { all_but, listed })
}

/// `%7B` → `{`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str =
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:Get*","Resource":["*"]}}"#;

    #[test]
    fn a_policy_is_read_from_whatever_the_cli_prints() {
        let plain = Document::parse(PLAIN).unwrap();
        assert_eq!((plain.rules.len(), plain.rules[0].name.as_str()), (1, "statement 1"));
        for wrapped in [
            format!("{{\"PolicyVersion\":{{\"Document\":{PLAIN},\"VersionId\":\"v1\"}}}}"),
            format!("{{\"RoleName\":\"web\",\"PolicyDocument\":{PLAIN}}}"),
            format!("{{\"PolicyDocument\":\"{}\"}}", PLAIN.replace('{', "%7B").replace('"', "%22")),
        ] {
            assert_eq!(Document::parse(&wrapped).unwrap(), plain, "{wrapped}");
        }
    }

    #[test]
    fn what_is_no_role_s_policy_is_refused_with_the_reason() {
        for (text, reason) in [
            ("{}", "no \"Statement\""),
            ("[", "not JSON"),
            (r#"{"Statement":[{"Effect":"allow","Action":"*","Resource":"*"}]}"#, "no \"Effect\""),
            (r#"{"Statement":[{"Effect":"Allow","Resource":"*"}]}"#, "no \"Action\""),
            (r#"{"Statement":[{"Effect":"Allow","Action":1,"Resource":"*"}]}"#, "neither text nor"),
            (
                r#"{"Statement":[{"Sid":"T","Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}]}"#,
                "trust policy",
            ),
        ] {
            let error = Document::parse(text).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn no_document_is_too_strange() {
        crate::fuzz::hostile(
            &[PLAIN.as_bytes(), b"{\"PolicyDocument\":\"%7B%22Statement%22%3A%5B%5D%7D\"}"],
            |input| {
                let _ = Document::parse(&String::from_utf8_lossy(input));
            },
        );
    }
}
