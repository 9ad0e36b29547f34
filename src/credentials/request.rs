//! What is asked of STS for a role: the limits that STS sets (`AssumeRole` in the API reference, as all numbers here),
//! and a request whose names have their holes filled. Pure. Not the call.

use std::time::Duration;

use super::{Error, RoleSettings};
use crate::template::{Names, Template};

/// How long a session may live. Ours are always assumed with role credentials, and AWS caps such chained sessions at an
/// hour, whatever the role's own maximum is (FACTS, STS).
pub const DURATIONS: (Duration, Duration) = (Duration::from_mins(15), Duration::from_hours(1));

/// The most managed policies that may narrow a session.
pub const MOST_POLICY_ARNS: usize = 10;

/// The most characters that the session policy and the ARNs of managed ones may have together.
pub const LONGEST_POLICY: usize = 2048;

/// The most tags of a session.
pub const MOST_TAGS: usize = 50;

/// The longest ARN.
const LONGEST_ARN: usize = 2048;

/// Stands for what will be filled into a hole, where only the rest can be judged.
pub const HOLE: char = '\u{fffd}';

/// What a text may hold.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Beside letters and digits.
    signs: &'static str,
    /// Whether letters and digits of all scripts, and spaces, are among them.
    any_script: bool,
    least: usize,
    most: usize,
    /// Whether what is not allowed is replaced when holes have been filled, rather than refused.
    bends: bool,
}

/// `RoleSessionName`.
pub const SESSION_NAME: Shape = Shape { signs: "_+=,.@-", any_script: false, least: 2, most: 64, bends: true };

/// `SourceIdentity`.
pub const SOURCE_IDENTITY: Shape = SESSION_NAME;

/// `ExternalId`; it has to be what the trust policy says, so nothing in it is replaced.
pub const EXTERNAL_ID: Shape = Shape { signs: "_+=,.@:/-", any_script: false, least: 2, most: 1224, bends: false };

/// The key of a session tag.
pub const TAG_KEY: Shape = Shape { signs: "_.:/=+-@", any_script: true, least: 1, most: 128, bends: false };

/// The value of a session tag.
pub const TAG_VALUE: Shape = Shape { signs: "_.:/=+-@", any_script: true, least: 0, most: 256, bends: true };

impl Shape {
    /// Whether `character` may be in it.
    #[must_use]
    pub fn allows(&self, character: char) -> bool {
        let word = if self.any_script {
            character.is_alphanumeric() || character == ' '
        } else {
            character.is_ascii_alphanumeric()
        };
        word || self.signs.contains(character)
    }

    /// What is wrong with `text`, as "it …".
    #[must_use]
    pub fn fault(&self, text: &str) -> Option<String> {
        if let Some(character) = text.chars().find(|c| *c != HOLE && !self.allows(*c)) {
            let spaces = if self.any_script { ", spaces" } else { "" };
            return Some(format!(
                "it can't hold {character:?}; letters, digits{spaces} and `{}` are allowed",
                self.signs
            ));
        }
        let (length, holes) = (text.chars().count(), text.chars().filter(|c| *c == HOLE).count());
        // What fills a hole may be of any length.
        let too_short = holes == 0 && length < self.least;
        (too_short || length - holes > self.most)
            .then(|| format!("it has {} to {} characters, not {}", self.least, self.most, length - holes))
    }

    /// `text` as it is sent: what is not allowed in it is replaced by `-`, and what is too much cut off.
    fn bent(&self, text: String) -> String {
        if !self.bends || self.fault(&text).is_none() {
            return text;
        }
        text.chars().take(self.most).map(|c| if self.allows(c) { c } else { '-' }).collect()
    }
}

/// What kind of thing an ARN is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `arn:PARTITION:iam::ACCOUNT:role/NAME`
    Role,
    /// `arn:PARTITION:iam::ACCOUNT:policy/NAME`, or AWS's own with `aws` for the account.
    Policy,
}

impl Kind {
    fn word(self) -> &'static str {
        if self == Self::Role { "role" } else { "policy" }
    }

    /// What is wrong with `arn` for something of this kind, as "it …".
    #[must_use]
    pub fn fault(self, arn: &str) -> Option<String> {
        let word = self.word();
        let shape = format!("it must be like arn:aws:iam::123456789012:{word}/NAME");
        let fields: Vec<&str> = arn.splitn(6, ':').collect();
        let open = |field: &str| field.contains(HOLE);
        let [scheme, partition, service, region, account, resource] = fields[..] else {
            // A hole may bring colons along.
            return (!open(arn)).then_some(shape);
        };
        let lower = |c: char| c.is_ascii_lowercase() || c == '-';
        let is_partition = partition.starts_with("aws") && partition.chars().all(lower);
        let is_account = account.len() == 12 && account.bytes().all(|digit| digit.is_ascii_digit());
        let is_aws = self == Self::Policy && account == "aws";
        if scheme != "arn" && !open(scheme) || service != "iam" && !open(service) || !region.is_empty() && !open(region)
        {
            return Some(shape);
        }
        if !is_partition && !open(partition) {
            return Some(format!("{shape}; \"{partition}\" is no partition (aws, aws-cn, aws-us-gov)"));
        }
        if !is_account && !is_aws && !open(account) {
            return Some(format!("{shape}; \"{account}\" is no account: that is twelve digits"));
        }
        let name = resource.strip_prefix(word).and_then(|rest| rest.strip_prefix('/'));
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-/".contains(c) || c == HOLE;
        let is_name = name.is_some_and(|name| !name.is_empty() && !name.ends_with('/') && name.chars().all(allowed));
        // A hole at the very front may bring `role/` along.
        if !is_name && !resource.starts_with(HOLE) {
            return Some(format!("{shape}; \"{}\" is no {word}", resource.replace(HOLE, "…")));
        }
        (arn.chars().count() > LONGEST_ARN).then(|| format!("it has at most {LONGEST_ARN} characters"))
    }
}

/// A request for a session, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) role_arn: String,
    pub(super) session_name: String,
    pub(super) duration: Duration,
    pub(super) external_id: Option<String>,
    pub(super) policy: Option<String>,
    pub(super) policy_arns: Vec<String>,
    pub(super) tags: Vec<(String, String)>,
    pub(super) source_identity: Option<String>,
}

impl Request {
    /// What `settings` ask for, with their holes filled.
    ///
    /// # Errors
    /// When a hole can't be filled yet, or what fills it makes a request that STS would not take.
    pub(super) fn fill(settings: &RoleSettings, names: &Names) -> Result<Self, Error> {
        let filler = Filler { role: &settings.name, names };
        let tag = |(key, value): (&String, &Template)| {
            Ok((key.clone(), filler.text(&format!("the tag {key}"), value, &TAG_VALUE)?))
        };
        Ok(Self {
            role_arn: filler.arn("role_arn", &settings.role_arn, Kind::Role)?,
            session_name: filler.text("session_name", &settings.session_name, &SESSION_NAME)?,
            duration: settings.duration,
            external_id: filler.optional("external_id", settings.external_id.as_ref(), &EXTERNAL_ID)?,
            policy: settings.policy.clone(),
            policy_arns: settings
                .policy_arns
                .iter()
                .map(|arn| filler.arn("policy_arns", arn, Kind::Policy))
                .collect::<Result<_, _>>()?,
            tags: settings.tags.iter().map(tag).collect::<Result<_, Error>>()?,
            source_identity: filler.optional("source_identity", settings.source_identity.as_ref(), &SOURCE_IDENTITY)?,
        })
    }

    /// The actions that it needs beside `sts:AssumeRole`.
    pub(super) fn further_actions(&self) -> Vec<&'static str> {
        let tags = (!self.tags.is_empty()).then_some("sts:TagSession");
        tags.into_iter().chain(self.source_identity.as_ref().map(|_| "sts:SetSourceIdentity")).collect()
    }
}

/// Fills the holes of one role's names.
struct Filler<'a> {
    role: &'a str,
    names: &'a Names,
}

impl Filler<'_> {
    fn fill(&self, key: &str, template: &Template) -> Result<String, Error> {
        template.fill(self.names).map_err(|names| Error::Waiting { what: self.what(key), names })
    }

    fn what(&self, key: &str) -> String {
        format!("{key} of role {}", self.role)
    }

    fn arn(&self, key: &str, template: &Template, kind: Kind) -> Result<String, Error> {
        let value = self.fill(key, template)?;
        match kind.fault(&value) {
            Some(reason) => Err(Error::Filled { what: self.what(key), value, reason }),
            None => Ok(value),
        }
    }

    fn text(&self, key: &str, template: &Template, shape: &Shape) -> Result<String, Error> {
        let value = shape.bent(self.fill(key, template)?);
        match shape.fault(&value) {
            Some(reason) => Err(Error::Filled { what: self.what(key), value, reason }),
            None => Ok(value),
        }
    }

    fn optional(&self, key: &str, template: Option<&Template>, shape: &Shape) -> Result<Option<String>, Error> {
        template.map(|template| self.text(key, template, shape)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::caller::Rules;

    fn template(text: &str) -> Template {
        Template::parse(text, &["environment"]).unwrap()
    }

    fn settings(role_arn: &str, session_name: &str) -> RoleSettings {
        RoleSettings {
            name: "app".to_owned(),
            role_arn: template(role_arn),
            duration: DURATIONS.1,
            session_name: template(session_name),
            external_id: None,
            policy: None,
            policy_arns: Vec::new(),
            tags: BTreeMap::new(),
            source_identity: None,
            region: None,
            allow: Rules::default(),
        }
    }

    fn names(pairs: &[(&str, &str)]) -> Names {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    const ARN: &str = "arn:aws:iam::123456789012:role/app-{environment}-task-role";

    #[test]
    fn holes_are_filled_and_what_is_not_known_yet_is_named() {
        let error = Request::fill(&settings(ARN, "{instance_id}"), &names(&[("environment", "prod")])).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("{instance_id}") && said.contains("session_name of role app"), "{said}");
        let known = names(&[("environment", "prod"), ("instance_id", "i-1")]);
        let request = Request::fill(&settings(ARN, "{instance_id}"), &known).unwrap();
        assert_eq!(request.role_arn, "arn:aws:iam::123456789012:role/app-prod-task-role");
        assert_eq!((request.session_name.as_str(), request.further_actions()), ("i-1", vec![]));
    }

    #[test]
    fn a_session_name_that_is_filled_with_what_sts_does_not_take_is_bent() {
        for (filled, sent) in
            [("web server/1", "web-server-1"), ("i-1", "i-1"), ("é", "-x"), (&"a".repeat(80), &"a".repeat(64))]
        {
            let text = if filled == "é" { "{environment}x" } else { "{environment}" };
            let request =
                Request::fill(&settings("arn:aws:iam::123456789012:role/a", text), &names(&[("environment", filled)]));
            assert_eq!(request.unwrap().session_name, sent);
        }
        let short = Request::fill(
            &settings("arn:aws:iam::123456789012:role/a", "{environment}"),
            &names(&[("environment", "x")]),
        );
        assert!(short.unwrap_err().to_string().contains("2 to 64 characters"));
    }

    #[test]
    fn an_external_id_is_sent_as_it_is_or_not_at_all() {
        let settings = RoleSettings {
            external_id: Some(template("{environment}")),
            ..settings("arn:aws:iam::123456789012:role/a", "me")
        };
        let error = Request::fill(&settings, &names(&[("environment", "a b")])).unwrap_err().to_string();
        assert!(error.contains("external_id of role app") && error.contains("' '"), "{error}");
    }

    #[test]
    fn what_fills_a_role_s_arn_must_make_one() {
        let error = Request::fill(&settings("{environment}", "me"), &names(&[("environment", "admin")])).unwrap_err();
        assert!(error.to_string().contains("\"admin\""), "{error}");
    }

    #[test]
    fn arns_are_checked_as_far_as_they_are_known() {
        for good in [
            "arn:aws:iam::123456789012:role/app",
            "arn:aws-cn:iam::123456789012:role/team/app",
            "arn:aws-us-gov:iam::123456789012:role/a.b+c=d,e@f-g_h",
            "arn:\u{fffd}:iam::\u{fffd}:role/app-\u{fffd}-x",
            "arn:aws:iam::123456789012:\u{fffd}",
            "\u{fffd}",
        ] {
            assert_eq!(Kind::Role.fault(good), None, "{good}");
        }
        for bad in [
            "app",
            "arn:aws:iam::123456789012:user/app",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/a/",
            "arn:aws:iam::12345678901:role/a",
            "arn:aws:iam:eu-west-1:123456789012:role/a",
            "arn:aws:sts::123456789012:role/a",
            "arn:azure:iam::123456789012:role/a",
            "arn:aws:iam::aws:role/a",
            "arn:aws:iam::123456789012:role/a b",
            "arn:aws:iam::1234\u{fffd}:user/x",
        ] {
            assert!(Kind::Role.fault(bad).is_some(), "{bad}");
        }
        assert_eq!(Kind::Policy.fault("arn:aws:iam::aws:policy/ReadOnlyAccess"), None);
        assert!(Kind::Policy.fault("arn:aws:iam::aws:role/x").is_some());
    }

    proptest! {
        #[test]
        fn a_bent_session_name_is_one_that_sts_takes(text in ".{2,100}") {
            prop_assert_eq!(SESSION_NAME.fault(&SESSION_NAME.bent(text)), None);
        }
    }
}
