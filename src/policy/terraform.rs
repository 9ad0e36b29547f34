//! The agent's role as a Terraform configuration (AWS provider, `jsonencode`). Not the providers, nor the roles that are
//! assumed: only what their trust policies must say.

use std::fmt::Write as _;

use serde_json::Value;

use super::trust::PLACEHOLDER;
use super::{LANGUAGE, Needs, Trust};
use crate::denial::Statement;

/// The whole configuration; the role is to be called `name`.
#[must_use]
pub fn configuration(needs: &Needs, name: &str) -> String {
    let mut text = format!(
        "# The role that imds-agent has on the instance, and the little that it may do.\n\
         resource \"aws_iam_role\" \"imds_agent\" {{\n  name = {}\n  assume_role_policy = {}\n}}\n",
        string(name),
        document(&[needs.trust.statement(&needs.place)]),
    );
    let statements = needs.statements();
    if !statements.is_empty() {
        let _ = write!(
            text,
            "\nresource \"aws_iam_role_policy\" \"imds_agent\" {{\n  name = \"imds-agent\"\n  \
             role = aws_iam_role.imds_agent.id\n  policy = {}\n}}\n",
            document(&statements)
        );
    }
    if needs.trust == Trust::Instance {
        let _ = write!(
            text,
            "\nresource \"aws_iam_instance_profile\" \"imds_agent\" {{\n  name = {}\n  \
             role = aws_iam_role.imds_agent.name\n}}\n",
            string(name)
        );
    }
    if !needs.roles.is_empty() {
        text += "\n# What the trust policies of the roles that it assumes must say: assume_role_policy = \
                 local.imds_agent_trust[\"NAME\"]\nlocals {\n  imds_agent_trust = {\n";
        let principal = Value::from(PLACEHOLDER);
        let written = principal.to_string();
        for role in &needs.roles {
            let trust = document(&[role.trust(&principal)]).replace(&written, "aws_iam_role.imds_agent.arn");
            let _ = writeln!(text, "    {} = {}", string(&role.name), trust.replace('\n', "\n  "));
        }
        text += "  }\n}\n";
    }
    text
}

/// `jsonencode({…})` that begins at the first level.
fn document(statements: &[Statement]) -> String {
    let mut text = format!("jsonencode({{\n    Version = \"{LANGUAGE}\"\n    Statement = [\n");
    for statement in statements {
        let rows = statement.rows();
        let rows = rows.iter().map(|(key, value)| ((*key).to_owned(), expression(value, 4))).collect();
        let _ = write!(text, "      {{\n{}      }},\n", attributes(rows, "        "));
    }
    text + "    ]\n  })"
}

/// A line for each key, aligned as `terraform fmt` does: neighbours of one line each.
fn attributes(rows: Vec<(String, String)>, margin: &str) -> String {
    let is_line = |row: &(String, String)| !row.1.contains('\n');
    let mut text = String::new();
    for run in rows.chunk_by(|one, other| is_line(one) && is_line(other)) {
        let width = run.iter().map(|(key, _)| key.len()).max().unwrap_or_default();
        for (key, value) in run {
            let _ = writeln!(text, "{margin}{key:<width$} = {value}");
        }
    }
    text
}

/// `value` as HCL writes it.
fn expression(value: &Value, depth: usize) -> String {
    let inner = "  ".repeat(depth + 1);
    let outer = "  ".repeat(depth);
    match value {
        Value::String(text) => string(text),
        Value::Array(values) => {
            let values: Vec<String> =
                values.iter().map(|value| format!("{inner}{},\n", expression(value, depth + 1))).collect();
            format!("[\n{}{outer}]", values.concat())
        }
        Value::Object(map) => {
            let named = |(key, value): (&String, &Value)| {
                let is_plain = key.chars().all(char::is_alphanumeric);
                (if is_plain { key.clone() } else { string(key) }, expression(value, depth + 1))
            };
            format!("{{\n{}{outer}}}", attributes(map.iter().map(named).collect(), &inner))
        }
        value => value.to_string(),
    }
}

/// A quoted string; JSON's escapes are HCL's, and nothing in it is an expression.
fn string(text: &str) -> String {
    Value::from(text).to_string().replace("${", "$${").replace("%{", "%%{")
}
