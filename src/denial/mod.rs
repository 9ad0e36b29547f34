//! AWS's refusals, explained: what a text of AWS's, or of an SDK around it, says (who, which action, which resource, which
//! policy), why, and what cures it. Pure, and for texts of any origin. Not the calls that are refused, and no advice on
//! what is not a refusal.

mod action;
mod codes;
mod cure;
mod envelope;
mod principal;
mod statement;
mod wording;

use std::fmt;

pub use action::{in_arn, in_policy};
pub use codes::is_denial;
pub use statement::Statement;

use crate::fault::escape;

/// No more than this is read of a text: the longest that AWS says, with an encoded message, is a tenth of it.
pub const LONGEST: usize = 1 << 16;

/// The kinds of policy that can stand in the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Of the role or user that calls.
    Identity,
    /// Of what it calls for: a bucket's, a key's, a role's trust policy.
    Resource,
    /// The most that the role's or user's own policies can allow.
    Boundary,
    /// Given when the session was begun.
    Session,
    /// The organisation's, for those who call.
    ServiceControl,
    /// The organisation's, for what is called for.
    ResourceControl,
    /// Of the way to AWS.
    VpcEndpoint,
    /// AWS does not say.
    #[default]
    Unknown,
}

impl Policy {
    /// As AWS's sentences call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity-based policy",
            Self::Resource => "resource-based policy",
            Self::Boundary => "permissions boundary",
            Self::Session => "session policy",
            Self::ServiceControl => "service control policy",
            Self::ResourceControl => "resource control policy",
            Self::VpcEndpoint => "VPC endpoint policy",
            Self::Unknown => "policy",
        }
    }
}

/// A denial, as far as AWS says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denial {
    /// `logs:PutLogEvents`.
    pub action: Option<String>,
    /// Its ARN, or what AWS said instead.
    pub resource: Option<String>,
    /// The caller's ARN.
    pub caller: Option<String>,
    /// Whose policy is in the way.
    pub by: Policy,
    /// Whether by a `Deny`; otherwise there is no `Allow`.
    pub explicit: bool,
    /// The ARN of the policy that has the `Deny`.
    pub policy_arn: Option<String>,
    /// What EC2 says only to who may decode it.
    pub encoded: Option<String>,
    /// Further actions that the same call needs: `sts:TagSession`.
    pub further: Vec<String>,
    /// The external id that was sent, which a trust policy may ask for.
    pub external_id: Option<String>,
}

/// A call of ours that was denied: what it knows better than AWS's text, or what that may leave out.
#[derive(Clone, Debug, Default)]
pub struct Call<'a> {
    /// `logs:PutLogEvents`.
    pub action: &'a str,
    /// The ARN it was about.
    pub resource: &'a str,
    /// Further actions that it needs.
    pub further: &'a [&'static str],
    /// The external id that it sent.
    pub external_id: Option<&'a str>,
}

impl Call<'_> {
    /// The denial of this call that AWS words as `message`.
    #[must_use]
    pub fn denied(&self, message: &str) -> Denial {
        let said = wording::read(&clean(message)).unwrap_or_default();
        // Of a call that needs several actions AWS names the one that is missing.
        let action = said.action.unwrap_or_else(|| self.action.to_owned());
        let further = self.further.iter().filter(|further| **further != action).map(|action| (*action).to_owned());
        Denial {
            resource: Some(said.resource.unwrap_or_else(|| self.resource.to_owned())),
            further: further.collect(),
            action: Some(action),
            external_id: self.external_id.map(str::to_owned),
            ..said
        }
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where the statement belongs, or what to do.
    pub what: String,
    /// What is missing.
    pub statement: Option<Statement>,
    /// What does it, or shows what to change.
    pub command: Option<String>,
}

impl Step {
    fn said(what: String) -> Self {
        Self { what, statement: None, command: None }
    }
}

/// In one line.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.statement, &self.command) {
            (Some(statement), _) => write!(f, "{}: {statement}", self.what),
            (None, Some(command)) => write!(f, "{}: {command}", self.what),
            (None, None) => f.write_str(&self.what),
        }
    }
}

/// What a text says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// AWS's name for the error.
    pub code: Option<String>,
    /// In one sentence; `None` when the text has no error that is known.
    pub cause: Option<String>,
    /// What cures it.
    pub steps: Vec<Step>,
    /// What is known of the denial, if it is one.
    pub denial: Option<Denial>,
    /// The text, in one line, without what could play tricks on a terminal.
    pub text: String,
    /// Whether the text was longer than [`LONGEST`] bytes.
    pub was_cut: bool,
}

/// Explains an error of AWS's, however it is wrapped.
#[must_use]
pub fn explain(text: &str) -> Explanation {
    let end = text.floor_char_boundary(LONGEST);
    let was_cut = end < text.len();
    let text = clean(&text[..end]);
    let said = envelope::read(&text);
    let explanation =
        Explanation { code: said.code.clone(), cause: None, steps: Vec::new(), denial: None, text, was_cut };
    let worded = wording::read(&said.message).or_else(|| wording::read(&explanation.text));
    let code = said.code.as_deref();
    if worded.is_none()
        && let Some(known) = codes::known(code, &explanation.text)
    {
        return Explanation { cause: Some(known.cause.to_owned()), steps: vec![known.step()], ..explanation };
    }
    let is_denial = worded.is_some() || code.is_some_and(is_denial) || says_denied(&said.message);
    if !is_denial {
        return explanation;
    }
    let denial = completed(worded.unwrap_or_default(), &said, &explanation.text);
    Explanation { cause: Some(denial.cause()), steps: denial.steps(), denial: Some(denial), ..explanation }
}

/// What cures the error that AWS calls `code`, where that is no question of a policy.
#[must_use]
pub fn cure(code: &str, message: &str) -> Option<String> {
    codes::known(Some(code), message).map(|known| known.step().to_string())
}

/// What S3 and a few others say, and no more.
fn says_denied(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("access denied") || message.contains("the ciphertext refers to a customer master key")
}

/// With what stands around the message, and what its words mean.
fn completed(denial: Denial, said: &envelope::Said, text: &str) -> Denial {
    let ec2 = (said.code.as_deref() == Some("UnauthorizedOperation")).then_some("ec2");
    let service = said.service.as_deref().or(ec2);
    let operation = said.operation.as_deref();
    let called = || operation.and_then(|operation| action::of_operation(service, operation));
    let ciphertext = || text.contains("The ciphertext refers to").then(|| "kms:Decrypt".to_owned());
    Denial {
        action: denial.action.or_else(called).or_else(ciphertext),
        caller: denial.caller.or_else(|| said.caller.clone()),
        ..denial
    }
}

/// `text` in one line: without a terminal's colours and frames, and with nothing that plays tricks on one.
fn clean(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        rest = rest.strip_prefix('m').unwrap_or(rest);
    }
    plain.push_str(rest);
    // Terraform frames its errors, and breaks their lines.
    let words = plain.split(|c: char| c.is_whitespace() || ('\u{2500}'..='\u{257f}').contains(&c));
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    escape(&words.join(" "))
}

#[cfg(test)]
mod tests;
