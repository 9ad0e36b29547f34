//! The agent's role as a template of `CloudFormation`, in YAML. Not the roles that are assumed: only what their trust policies
//! must say, as outputs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::trust::PLACEHOLDER;
use super::{LANGUAGE, Needs, Trust, document};
use crate::denial::Statement;

/// The whole template; the role is to be called `name`.
#[must_use]
pub fn template(needs: &Needs, name: &str) -> String {
    let mut resources = vec![("Role", role(needs, name))];
    if needs.trust == Trust::Instance {
        let properties =
            vec![("InstanceProfileName", Node::from(json!(name))), ("Roles", Node::from(json!([{ "Ref": "Role" }])))];
        resources.push(("InstanceProfile", resource("AWS::IAM::InstanceProfile", properties)));
    }
    let mut template = vec![
        ("AWSTemplateFormatVersion", Node::from(json!("2010-09-09"))),
        ("Description", Node::from(json!("The role that imds-agent has, and the little that it may do."))),
        ("Resources", Node::map(resources)),
    ];
    if !needs.roles.is_empty() {
        template.push(("Outputs", outputs(needs)));
    }
    let mut text = String::new();
    Node::map(template).write(&mut text, 0);
    text
}

/// A value of YAML whose keys keep their order.
enum Node {
    Map(Vec<(String, Node)>),
    List(Vec<Node>),
    Scalar(String),
}

impl Node {
    fn map(pairs: Vec<(&str, Node)>) -> Self {
        Self::Map(pairs.into_iter().map(|(key, node)| (key.to_owned(), node)).collect())
    }

    fn statement(statement: &Statement) -> Self {
        Self::map(statement.rows().into_iter().map(|(key, value)| (key, Self::from(value))).collect())
    }

    fn document(statements: &[Statement]) -> Self {
        let statements = Self::List(statements.iter().map(Self::statement).collect());
        Self::map(vec![("Version", Self::from(json!(LANGUAGE))), ("Statement", statements)])
    }

    /// Block style; JSON's strings are YAML's.
    fn write(&self, text: &mut String, depth: usize) {
        let margin = "  ".repeat(depth);
        match self {
            Self::Scalar(scalar) => drop(writeln!(text, "{margin}{scalar}")),
            Self::Map(pairs) => {
                for (key, node) in pairs {
                    let key = if key.chars().all(|c| c.is_ascii_alphanumeric()) {
                        key.clone()
                    } else {
                        json!(key).to_string()
                    };
                    match node {
                        Self::Scalar(scalar) => drop(writeln!(text, "{margin}{key}: {scalar}")),
                        node => {
                            let _ = writeln!(text, "{margin}{key}:");
                            node.write(text, depth + 1);
                        }
                    }
                }
            }
            Self::List(nodes) => {
                for node in nodes {
                    let mut item = String::new();
                    node.write(&mut item, depth + 1);
                    // The item's first line begins behind the dash.
                    let _ = write!(text, "{margin}- {}", item.trim_start());
                }
            }
        }
    }
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        match value {
            Value::Object(map) => Self::Map(map.into_iter().map(|(key, value)| (key, Self::from(value))).collect()),
            Value::Array(values) => Self::List(values.into_iter().map(Self::from).collect()),
            scalar => Self::Scalar(scalar.to_string()),
        }
    }
}

fn resource(kind: &str, properties: Vec<(&str, Node)>) -> Node {
    Node::map(vec![("Type", Node::Scalar(kind.to_owned())), ("Properties", Node::map(properties))])
}

fn role(needs: &Needs, name: &str) -> Node {
    let trust = Node::document(&[needs.trust.statement(&needs.place)]);
    let mut properties = vec![("RoleName", Node::from(json!(name))), ("AssumeRolePolicyDocument", trust)];
    let statements = needs.statements();
    if !statements.is_empty() {
        let name = ("PolicyName", Node::from(json!("imds-agent")));
        let policy = Node::map(vec![name, ("PolicyDocument", Node::document(&statements))]);
        properties.push(("Policies", Node::List(vec![policy])));
    }
    resource("AWS::IAM::Role", properties)
}

/// The trust policy of each role that is assumed, as JSON with this role's ARN in it.
fn outputs(needs: &Needs) -> Node {
    let output = |(index, role): (usize, &super::Role)| {
        let trust = document(&[role.trust(&Value::from(PLACEHOLDER))]).to_string();
        let written = Value::from(PLACEHOLDER).to_string();
        // What is no reference is written so for `Fn::Sub`.
        let trust = trust.replace("${", "${!").replace(&written, "\"${Role.Arn}\"");
        let described = json!(format!("What the trust policy of {} must say", role.arn));
        let value = Node::from(json!({ "Fn::Sub": trust }));
        (format!("TrustOfRole{}", index + 1), Node::map(vec![("Description", Node::from(described)), ("Value", value)]))
    };
    Node::Map(needs.roles.iter().enumerate().map(output).collect())
}
