//! What else a host is to be allowed, as `[[doctor.probe]]` names it: how its resource is named in a policy. Not the
//! probing.

use std::collections::BTreeMap;

use super::Place;
use crate::denial::{Statement, in_arn, in_policy};

/// One `[[doctor.probe]]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// `ssm`: the prefix of its actions.
    pub service: String,
    /// `GetParameter`.
    pub action: String,
    /// A name as the service calls it, an ARN, or `*`.
    pub resource: String,
}

/// An action on a resource, as a policy names both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// `logs:PutLogEvents`.
    pub action: String,
    /// Its ARN, or a pattern.
    pub resource: String,
}

impl Probe {
    /// Whether a name alone says which resource is meant.
    #[must_use]
    pub fn takes_names(service: &str) -> bool {
        in_arn(service, "").is_some()
    }

    /// As a policy names both.
    #[must_use]
    pub fn permission(&self, place: &Place) -> Permission {
        let action = format!("{}:{}", self.service, self.action);
        let resource = in_policy(&action, &self.arn(place));
        Permission { action, resource }
    }

    fn arn(&self, place: &Place) -> String {
        let name = self.resource.as_str();
        if name == "*" || name.starts_with("arn:") {
            return name.to_owned();
        }
        let rest = in_arn(&self.service, name).unwrap_or_else(|| name.to_owned());
        match self.service.as_str() {
            // Buckets are of no region and of no account.
            "s3" => format!("arn:{}:s3:::{rest}", place.partition),
            service => place.arn(service, &rest),
        }
    }
}

/// What allows them: actions on the same resources together.
pub(super) fn statements(probes: &[Probe], place: &Place) -> Vec<Statement> {
    let mut by_resource: BTreeMap<(&str, String), Vec<String>> = BTreeMap::new();
    for probe in probes {
        let Permission { action, resource } = probe.permission(place);
        let actions = by_resource.entry((&probe.service, resource)).or_default();
        if !actions.contains(&action) {
            actions.push(action);
        }
    }
    let mut by_actions: BTreeMap<(&str, Vec<String>), Vec<String>> = BTreeMap::new();
    for ((service, resource), actions) in by_resource {
        by_actions.entry((service, actions)).or_default().push(resource);
    }
    by_actions
        .into_iter()
        .map(|((service, actions), resources)| super::named(&sid(service), actions, resources))
        .collect()
}

/// `UseSecretsmanager`: letters and digits alone.
fn sid(service: &str) -> String {
    let plain: String = service.chars().filter(char::is_ascii_alphanumeric).collect();
    let (first, rest) = plain.split_at(plain.len().min(1));
    format!("Use{}{rest}", first.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_named_as_their_service_s_arns_are() {
        let place =
            Place { partition: "aws".to_owned(), region: Some("eu-west-1".to_owned()), account: Some("1".repeat(12)) };
        let of = |service: &str, action: &str, resource: &str| {
            let probe = Probe { service: service.into(), action: action.into(), resource: resource.into() };
            probe.permission(&place).resource
        };
        let here = |service: &str| format!("arn:aws:{service}:eu-west-1:111111111111");
        assert_eq!(of("ssm", "GetParameter", "/a/b"), format!("{}:parameter/a/b", here("ssm")));
        assert_eq!(
            of("secretsmanager", "GetSecretValue", "a/b"),
            format!("{}:secret:a/b-??????", here("secretsmanager"))
        );
        assert_eq!(of("ecr", "GetAuthorizationToken", "a"), "*");
        assert_eq!(of("ecr", "BatchGetImage", "a"), format!("{}:repository/a", here("ecr")));
        assert_eq!(of("s3", "GetObject", "b/k"), "arn:aws:s3:::b/k");
        assert_eq!(of("sqs", "SendMessage", "q"), format!("{}:q", here("sqs")));
        assert_eq!(of("sqs", "SendMessage", "arn:aws:sqs:x:y:q"), "arn:aws:sqs:x:y:q");
    }
}
