//! One statement of a policy, written as AWS's documents write them. Not a whole document, and not read back from one.

use std::fmt;

use serde_json::Value;

/// `{"Effect": "Allow", "Action": …, "Resource": …}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// Its name in the document.
    pub sid: Option<String>,
    /// Whom it allows, as JSON: in policies of resources and in trust policies.
    pub principal: Option<Value>,
    /// What it allows.
    pub actions: Vec<String>,
    /// On what; nothing in trust policies.
    pub resources: Vec<String>,
    /// When, as JSON.
    pub condition: Option<Value>,
}

impl Statement {
    /// What allows `actions` on `resources`.
    #[must_use]
    pub fn allow(actions: Vec<String>, resources: Vec<String>) -> Self {
        Self { actions, resources, ..Self::default() }
    }

    /// Its keys and values, in the order in which a person reads them.
    #[must_use]
    pub fn rows(&self) -> Vec<(&'static str, Value)> {
        let list = |list: &[String]| match list {
            [] => None,
            [one] => Some(Value::from(one.as_str())),
            several => Some(Value::from(several.to_vec())),
        };
        let rows = [
            ("Sid", self.sid.as_deref().map(Value::from)),
            ("Effect", Some(Value::from("Allow"))),
            ("Principal", self.principal.clone()),
            ("Action", list(&self.actions)),
            ("Resource", list(&self.resources)),
            ("Condition", self.condition.clone()),
        ];
        rows.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }

    /// A key a line, as it can be pasted into a document; each line begins with `margin`.
    #[must_use]
    pub fn pretty(&self, margin: &str) -> String {
        let rows: Vec<String> =
            self.rows().iter().map(|(key, value)| format!("{margin}  \"{key}\": {}", one_line(value))).collect();
        format!("{margin}{{\n{}\n{margin}}}\n", rows.join(",\n"))
    }

    /// As JSON, where the order of keys does not matter.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.rows().into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// In one line.
impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<String> =
            self.rows().iter().map(|(key, value)| format!("\"{key}\": {}", one_line(value))).collect();
        write!(f, "{{{}}}", rows.join(", "))
    }
}

/// JSON in one line with spaces, as people write it.
fn one_line(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("[{}]", values.iter().map(one_line).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, value)| format!("{}: {}", Value::from(key.as_str()), one_line(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_statement_is_written_as_documents_write_it_whatever_is_in_it() {
        let statement = Statement {
            principal: Some(json!({ "AWS": "arn:aws:iam::123456789012:role/web" })),
            condition: Some(json!({ "StringEquals": { "sts:ExternalId": "a\"b" } })),
            ..Statement::allow(vec!["sts:AssumeRole".to_owned(), "sts:TagSession".to_owned()], Vec::new())
        };
        let text = statement.to_string();
        assert_eq!(
            text,
            "{\"Effect\": \"Allow\", \"Principal\": {\"AWS\": \"arn:aws:iam::123456789012:role/web\"}, \"Action\": \
             [\"sts:AssumeRole\", \"sts:TagSession\"], \"Condition\": {\"StringEquals\": {\"sts:ExternalId\": \
             \"a\\\"b\"}}}"
        );
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), statement.to_json());
    }
}
