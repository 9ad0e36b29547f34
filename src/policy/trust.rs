//! Whom roles trust: the agent's own the service that it is for, an assumed one the agent's. Not what they may do.

use serde_json::{Value, json};

use super::{Place, Role};
use crate::denial::Statement;

/// Where the agent's role comes from, which decides who may be it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// EC2 gives it to the instance.
    #[default]
    Instance,
    /// ECS gives it to the task.
    Task,
    /// An identity provider's tokens are exchanged for it.
    WebIdentity,
}

/// Stands where only the reader knows what belongs there.
pub(super) const ISSUER: &str = "ISSUER";

/// Stands for the agent's role where a format refers to it: no name can hold it, and JSON writes it as no other text.
pub(super) const PLACEHOLDER: &str = "\0";

impl Trust {
    /// The one statement of the trust policy of the agent's role.
    #[must_use]
    pub fn statement(self, place: &Place) -> Statement {
        // China's EC2 has a name of its own.
        let dns = if place.partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
        let (action, principal) = match self {
            Self::Instance => ("sts:AssumeRole", json!({ "Service": format!("ec2.{dns}") })),
            Self::Task => ("sts:AssumeRole", json!({ "Service": "ecs-tasks.amazonaws.com" })),
            Self::WebIdentity => {
                let account = place.account.as_deref().unwrap_or("ACCOUNT");
                let provider = format!("arn:{}:iam::{account}:oidc-provider/{ISSUER}", place.partition);
                ("sts:AssumeRoleWithWebIdentity", json!({ "Federated": provider }))
            }
        };
        // Without it anybody with a token of the same issuer would be trusted.
        let condition = (self == Self::WebIdentity).then(|| {
            json!({ "StringEquals": { format!("{ISSUER}:aud"): "sts.amazonaws.com", format!("{ISSUER}:sub"): "SUBJECT" } })
        });
        Statement { principal: Some(principal), condition, ..Statement::allow(vec![action.to_owned()], Vec::new()) }
    }
}

impl Role {
    /// The statement that its trust policy needs for `principal`, the agent's role.
    #[must_use]
    pub fn trust(&self, principal: &Value) -> Statement {
        let condition = self.external_id.as_ref().map(|id| {
            let test = if id.contains('*') { "StringLike" } else { "StringEquals" };
            json!({ test: { "sts:ExternalId": id } })
        });
        Statement {
            principal: Some(json!({ "AWS": principal })),
            condition,
            ..Statement::allow(self.actions(), Vec::new())
        }
    }
}
