//! The value of a role's `policy`: JSON as it stands, or the absolute path of a file that holds it, which is read with
//! the configuration. Not what the policy allows: that is for STS.

use std::path::Path;

use serde_json::Value;

use super::report::Problem;
use super::table::{Located, Reader};
use crate::credentials::request::LONGEST_POLICY;

/// The policy as compact JSON, so that its indentation does not count against the limit.
pub(super) fn read(table: &mut Reader<'_>) -> Option<String> {
    let text = table.string("policy")?;
    match parse(table, &text) {
        Ok(policy) => Some(policy),
        Err((message, hint)) => {
            let problem = Problem::new(text.place, message);
            table.report().add(match hint {
                Some(hint) => problem.hint(hint),
                None => problem,
            });
            None
        }
    }
}

fn parse(table: &Reader<'_>, text: &Located<String>) -> Result<String, (String, Option<String>)> {
    let path = Path::new(&text.value);
    let (json, whose) = if path.is_absolute() {
        let named = |error: super::source::Error| (format!("`policy`: {} {error}", path.display()), error.hint);
        (table.report().attachment(path).map_err(named)?, format!("`policy`: {}", path.display()))
    } else if text.value.trim_start().starts_with('{') {
        (text.value.clone(), "`policy`".to_owned())
    } else {
        let hint = "as in policy = '{\"Version\": \"2012-10-17\", \"Statement\": […]}'";
        return Err(("`policy` is neither JSON nor the absolute path of a file".to_owned(), Some(hint.to_owned())));
    };
    let policy: Value = serde_json::from_str(&json).map_err(|error| (format!("{whose} is not JSON: {error}"), None))?;
    if !policy.get("Statement").is_some_and(|statement| statement.is_array() || statement.is_object()) {
        let hint = "a session policy is an object with \"Version\" and \"Statement\"".to_owned();
        return Err((format!("{whose} is no policy: it has no \"Statement\""), Some(hint)));
    }
    let compact = policy.to_string();
    let length = compact.chars().count();
    if length > LONGEST_POLICY {
        return Err((format!("{whose} has at most {LONGEST_POLICY} characters, not {length}"), None));
    }
    Ok(compact)
}
