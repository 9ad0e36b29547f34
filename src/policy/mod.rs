//! What the agent's role has to be allowed, and no more: the statements for a configuration, the trust that roles need,
//! as documents in several formats, and an existing policy held against them. Pure. Not what AWS says when something is
//! missing (`denial`), and no call to find out what is.

mod cloudformation;
mod compare;
mod existing;
mod glob;
mod probe;
mod terraform;
mod trust;

use std::collections::BTreeMap;

pub use cloudformation::template as cloudformation;
pub use compare::{Beyond, Comparison, Lacking, compare};
pub use existing::{Document, Error as DocumentError};
pub use probe::{Permission, Probe};
pub use terraform::configuration as terraform;
pub use trust::Trust;

use serde_json::{Value, json};

use crate::denial::Statement;

/// The version of the policy language (IAM User Guide, "Version").
const LANGUAGE: &str = "2012-10-17";

/// What the configuration says about permissions: the `[doctor]` table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The `[[doctor.probe]]` tables.
    pub probes: Vec<Probe>,
}

/// Where it all is; what is not known stands as `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// `aws`, `aws-cn`…; IAM takes no `*` there.
    pub partition: String,
    /// The region.
    pub region: Option<String>,
    /// The account's twelve digits.
    pub account: Option<String>,
}

impl Place {
    /// The ARN of something of `service` here.
    pub(crate) fn arn(&self, service: &str, rest: &str) -> String {
        let or_any = |name: &Option<String>| name.clone().unwrap_or_else(|| "*".to_owned());
        format!("arn:{}:{service}:{}:{}:{rest}", self.partition, or_any(&self.region), or_any(&self.account))
    }
}

/// A log group that is written to; where its name has what is not known, that is `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Whether its retention is set.
    pub has_retention: bool,
    /// Whether it is looked at and compared with what was asked for.
    pub is_compared: bool,
    /// Whether it gets tags when it is made.
    pub has_tags: bool,
    /// Whether it gets a KMS key when it is made.
    pub has_key: bool,
}

/// A role that is assumed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// How the configuration names it.
    pub name: String,
    /// Its ARN; what is not known of it is `*`.
    pub arn: String,
    /// Whether its sessions have tags.
    pub has_tags: bool,
    /// Whether its sessions have a source identity.
    pub has_source_identity: bool,
    /// The external id that is sent; what is not known of it is `*`.
    pub external_id: Option<String>,
}

impl Role {
    /// The actions that its sessions need, of the caller and of the role's trust policy.
    #[must_use]
    pub fn actions(&self) -> Vec<String> {
        let further = [("sts:TagSession", self.has_tags), ("sts:SetSourceIdentity", self.has_source_identity)];
        let further = further.into_iter().filter(|(_, is_needed)| *is_needed).map(|(action, _)| action);
        std::iter::once("sts:AssumeRole").chain(further).map(str::to_owned).collect()
    }
}

/// Everything that a configuration needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Where.
    pub place: Place,
    /// Who may be the agent's role.
    pub trust: Trust,
    /// The groups by name.
    pub groups: BTreeMap<String, Group>,
    /// The roles, in the configuration's order.
    pub roles: Vec<Role>,
    /// What else the host is to be allowed.
    pub probes: Vec<Probe>,
}

impl Needs {
    /// The identity policy's statements; none that this configuration does not use.
    #[must_use]
    pub fn statements(&self) -> Vec<Statement> {
        let mut statements = self.logs();
        let mut assumed: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
        for role in &self.roles {
            let arns = assumed.entry(role.actions()).or_default();
            if !arns.contains(&role.arn) {
                arns.push(role.arn.clone());
            }
        }
        statements.extend(assumed.into_iter().map(|(actions, arns)| named("AssumeRoles", actions, arns)));
        statements.extend(probe::statements(&self.probes, &self.place));
        number(&mut statements);
        statements
    }

    fn logs(&self) -> Vec<Statement> {
        let arns = |is_meant: fn(&Group) -> bool, ends: &[&str]| -> Vec<String> {
            let meant = self.groups.iter().filter(|(_, group)| is_meant(group));
            let arn = |name: &str, end: &str| self.place.arn("logs", &format!("log-group:{name}{end}"));
            meant.flat_map(|(name, _)| ends.iter().map(move |end| arn(name, end))).collect()
        };
        let any = if self.groups.values().any(|group| group.is_compared) {
            vec![self.place.arn("logs", "log-group:*")]
        } else {
            Vec::new()
        };
        // A group and all that is in it is named by `:*` behind it. Tags are the group's own, whose name has none; at
        // creation either may be asked about.
        let rows = [
            (
                "WriteLogs",
                &["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"][..],
                arns(|_| true, &[":*"]),
            ),
            ("SetRetention", &["logs:PutRetentionPolicy"], arns(|group| group.has_retention, &[":*"])),
            // Listing can't be narrowed to a group.
            ("LookAtGroups", &["logs:DescribeLogGroups"], any),
            ("TagGroups", &["logs:TagResource"], arns(|group| group.has_tags, &["", ":*"])),
            ("EncryptGroups", &["logs:AssociateKmsKey"], arns(|group| group.has_key, &[":*"])),
        ];
        let rows = rows.into_iter().filter(|(_, _, resources)| !resources.is_empty());
        rows.map(|(sid, actions, resources)| {
            named(sid, actions.iter().map(|action| (*action).to_owned()).collect(), resources)
        })
        .collect()
    }

    /// The identity policy.
    #[must_use]
    pub fn document(&self) -> Value {
        document(&self.statements())
    }

    /// Each action with each resource that it is needed on.
    #[must_use]
    pub fn permissions(&self) -> Vec<Permission> {
        let pairs = |statement: Statement| {
            let Statement { actions, resources, .. } = statement;
            let all = actions.into_iter().flat_map(move |action| {
                let with = move |resource: &String| Permission { action: action.clone(), resource: resource.clone() };
                resources.iter().map(with).collect::<Vec<_>>()
            });
            all.collect::<Vec<_>>()
        };
        self.statements().into_iter().flat_map(pairs).collect()
    }

    /// The role that the configuration names so.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| role.name == name)
    }
}

fn named(sid: &str, actions: Vec<String>, resources: Vec<String>) -> Statement {
    Statement { sid: Some(sid.to_owned()), ..Statement::allow(actions, resources) }
}

/// No two statements of a document have the same name.
fn number(statements: &mut [Statement]) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for sid in statements.iter_mut().filter_map(|statement| statement.sid.as_mut()) {
        let count = seen.entry(sid.clone()).or_default();
        *count += 1;
        if *count > 1 {
            *sid = format!("{sid}{count}");
        }
    }
}

/// A policy document.
#[must_use]
pub fn document(statements: &[Statement]) -> Value {
    json!({ "Version": LANGUAGE, "Statement": statements.iter().map(Statement::to_json).collect::<Vec<_>>() })
}

/// A policy document with its keys in the order in which people write them.
#[must_use]
pub fn pretty(statements: &[Statement]) -> String {
    let rows = |statement: &Statement| {
        let rows = statement.rows();
        let rows = rows.iter().map(|(key, value)| format!("      \"{key}\": {}", indented(value, 3)));
        format!("    {{\n{}\n    }}", rows.collect::<Vec<_>>().join(",\n"))
    };
    let statements: Vec<String> = statements.iter().map(rows).collect();
    format!("{{\n  \"Version\": \"{LANGUAGE}\",\n  \"Statement\": [\n{}\n  ]\n}}\n", statements.join(",\n"))
}

/// `value` as indented JSON that begins within `depth` levels.
fn indented(value: &Value, depth: usize) -> String {
    format!("{value:#}").replace('\n', &format!("\n{}", "  ".repeat(depth)))
}

#[cfg(test)]
mod tests;
