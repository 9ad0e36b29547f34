//! What the configuration says about credentials: where the base ones come from, who may have them, and the roles that
//! are assumed with them. Not its syntax, and not what STS makes of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::caller::Rules;
use crate::template::Template;

/// Where the base credentials come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// Web identity, a container's, or the instance's: the first whose variables are set.
    #[default]
    Auto,
    /// The instance's role, from IMDS.
    Instance,
    /// What `AWS_CONTAINER_CREDENTIALS_*` name.
    Container,
    /// A role assumed with the token in `AWS_WEB_IDENTITY_TOKEN_FILE`.
    WebIdentity,
    /// Static keys in the environment.
    Environment,
}

/// The `[credentials]` table and the `[[role]]` tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where the base credentials come from.
    pub source: SourceKind,
    /// Who may have the base credentials themselves; root, if nothing is said.
    pub allow: Rules,
    /// The roles that local processes may have, in the configuration's order.
    pub roles: Vec<RoleSettings>,
}

/// A `[[role]]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleSettings {
    /// How callers name it.
    pub name: String,
    /// Which role is assumed.
    pub role_arn: Template,
    /// How long a session lives: 15 minutes to an hour, since role credentials assume it.
    pub duration: Duration,
    /// How the session is called in `CloudTrail`.
    pub session_name: Template,
    /// What the role's trust policy may ask for.
    pub external_id: Option<Template>,
    /// The session policy, compact JSON.
    pub policy: Option<String>,
    /// Managed policies that narrow the session.
    pub policy_arns: Vec<Template>,
    /// The session's tags.
    pub tags: BTreeMap<String, Template>,
    /// Who is behind the session.
    pub source_identity: Option<Template>,
    /// Whose STS is asked; ours, if nothing is said.
    pub region: Option<String>,
    /// Who may have it. Nobody else.
    pub allow: Rules,
}

impl RoleSettings {
    /// All names with holes that a session is asked for with.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        [&self.role_arn, &self.session_name]
            .into_iter()
            .chain(&self.external_id)
            .chain(&self.policy_arns)
            .chain(self.tags.values())
            .chain(&self.source_identity)
    }

    /// Whether both ask for the same session, whoever may have it.
    pub(super) fn asks_as(&self, other: &Self) -> bool {
        let other = Self { allow: self.allow.clone(), ..other.clone() };
        *self == other
    }
}
