//! The syntax of `[variables]`: free names with string values, for use in braces. Not where they are filled in.

use std::collections::BTreeMap;

use super::report::Problem;
use super::table::Reader;
use crate::template::BUILT_IN;

/// The values of `[variables]`, by name.
pub(super) type Variables = BTreeMap<String, String>;

pub(super) fn read(mut table: Reader<'_>) -> Variables {
    let mut variables = BTreeMap::new();
    for (name, value) in table.free_strings() {
        if let Some(fault) = fault(&name.value) {
            table.report().add(Problem::new(name.place, format!("variable `{}` {fault}", name.value)));
        }
        // A badly named one is kept for now, so that the templates that use it are not wrong as well.
        variables.insert(name.value, value);
    }
    variables
}

fn fault(name: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if BUILT_IN.contains(&name) {
        Some("has the name of one that is built in; choose another")
    } else if name.is_empty() || !name.chars().all(allowed) {
        Some("is no name: expected lower-case letters, digits and `_`")
    } else {
        None
    }
}
