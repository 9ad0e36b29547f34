//! What a configuration needs to be allowed: its groups, roles and probes, with the names filled in as far as they are
//! known. Not how that is written as a policy.

use std::collections::BTreeSet;

use super::Config;
use crate::credentials::{RoleSettings, SourceKind};
use crate::logs::Target;
use crate::policy::{Group, Needs, Place, Role, Trust};
use crate::template::{Names, Template};

/// Stands for what is not known.
const ANYTHING: &str = "*";

impl Config {
    /// What the agent's role needs for all of this, at `place`, and the names in braces for which only `*` stands.
    #[must_use]
    pub fn needs(&self, place: Place, known: &Names) -> (Needs, BTreeSet<String>) {
        let mut names = known.clone();
        names.extend(self.variables.clone());
        for (name, value) in [("region", &place.region), ("account_id", &place.account)] {
            if let Some(value) = value {
                names.insert(name, value);
            }
        }
        let mut filler = Filler { names, open: BTreeSet::new() };
        let trust = match self.credentials.source {
            SourceKind::Auto | SourceKind::Instance | SourceKind::Environment => Trust::Instance,
            SourceKind::Container => Trust::Task,
            SourceKind::WebIdentity => Trust::WebIdentity,
        };
        let mut needs = Needs { place, trust, probes: self.doctor.probes.clone(), ..Needs::default() };
        for target in self.targets() {
            let group = needs.groups.entry(filler.fill(&target.log_group)).or_default();
            *group = joined(group, target);
        }
        needs.roles = self.credentials.roles.iter().map(|role| filler.role(role)).collect();
        (needs, filler.open)
    }

    /// Where anything goes.
    fn targets(&self) -> impl Iterator<Item = &Target> {
        let files = self.logs.files.iter().map(|table| &table.target);
        let journals = self.logs.journals.iter().map(|table| &table.target);
        files.chain(journals).chain(self.logs.sockets.iter().map(|table| &table.target))
    }
}

/// What several tables want of one group.
fn joined(group: &Group, target: &Target) -> Group {
    let settings = &target.group;
    Group {
        has_retention: group.has_retention || settings.retention_in_days.is_some(),
        is_compared: group.is_compared || settings.asks_for_something(),
        has_tags: group.has_tags || !settings.tags.is_empty(),
        has_key: group.has_key || settings.kms_key_id.is_some(),
    }
}

/// Fills names, and remembers what nobody could say.
struct Filler {
    names: Names,
    open: BTreeSet<String>,
}

impl Filler {
    fn fill(&mut self, template: &Template) -> String {
        let mut names = self.names.clone();
        let filled = template.fill(&names).unwrap_or_else(|missing| {
            for name in missing {
                names.insert(name.as_str(), ANYTHING);
                self.open.insert(name);
            }
            template.fill(&names).unwrap_or_else(|_| ANYTHING.to_owned())
        });
        // Two neighbours that are not known are one.
        let mut plain = String::with_capacity(filled.len());
        for sign in filled.chars() {
            if sign != '*' || !plain.ends_with('*') {
                plain.push(sign);
            }
        }
        plain
    }

    fn role(&mut self, role: &RoleSettings) -> Role {
        Role {
            name: role.name.clone(),
            arn: self.fill(&role.role_arn),
            has_tags: !role.tags.is_empty(),
            has_source_identity: role.source_identity.is_some(),
            external_id: role.external_id.as_ref().map(|id| self.fill(id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(toml: &str) -> Config {
        let home = tempfile::tempdir().unwrap();
        let main = home.path().join("config.toml");
        std::fs::write(&main, toml).unwrap();
        crate::config::read(Some(&main), None).unwrap_or_else(|errors| panic!("{errors}")).0.config
    }

    fn place() -> Place {
        let (region, account) = (Some("eu-west-1".to_owned()), Some("123456789012".to_owned()));
        Place { partition: "aws".to_owned(), region, account }
    }

    #[test]
    fn names_are_filled_as_far_as_they_are_known_and_the_rest_is_a_star_that_is_told() {
        let config = config(
            "[variables]\nenvironment = \"prod\"\n[logs]\nlog_stream = \"{instance_id}\"\n[[logs.file]]\ninclude = \
             [\"/a\"]\nlog_group = \"/{region}/{environment}/{tag:Team|none}{hostname}\"\n[[role]]\nname = \"app\"\nrole_arn = \
             \"arn:aws:iam::{account_id}:role/{environment}-{hostname}\"\nallow = [{ user = \"app\" }]\n",
        );
        let (needs, open) = config.needs(place(), &Names::default());
        assert_eq!(needs.groups.keys().collect::<Vec<_>>(), ["/eu-west-1/prod/*"]);
        assert_eq!(needs.roles[0].arn, "arn:aws:iam::123456789012:role/prod-*");
        assert_eq!(open.iter().map(String::as_str).collect::<Vec<_>>(), ["hostname", "tag:Team"]);
        let known = [("hostname".to_owned(), "h".to_owned()), ("tag:Team".to_owned(), "t".to_owned())];
        let (needs, open) = config.needs(place(), &known.into_iter().collect());
        assert_eq!(needs.groups.keys().collect::<Vec<_>>(), ["/eu-west-1/prod/th"]);
        assert!(open.is_empty());
    }

    #[test]
    fn a_group_of_several_tables_needs_what_any_of_them_asks_for() {
        let config = config(
            "[logs]\nlog_group = \"/g\"\nlog_stream = \"s\"\n[[logs.file]]\ninclude = [\"/a\"]\nretention_in_days = 14\n\
             [[logs.journal]]\nretention_in_days = 14\n[[logs.socket]]\npath = \"x.sock\"\nallow = [{ user = \"root\" }]\n\
             log_group = \"/other\"\n[credentials.audit]\nlog_group = \"/audit\"\nlog_stream = \"s\"\n",
        );
        let (needs, _) = config.needs(place(), &Names::default());
        let wanted: Vec<(&str, bool)> = needs
            .groups
            .iter()
            .map(|(name, group)| (name.as_str(), group.has_retention && group.is_compared))
            .collect();
        assert_eq!(wanted, [("/audit", false), ("/g", true), ("/other", false)]);
    }
}
