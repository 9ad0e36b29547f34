//! Checks the patterns of `include` and `exclude`: that they parse, and that they can match a path at all. Not the
//! matching.

use globset::Glob;

use super::report::Problem;
use super::table::{Located, Reader};

/// Patterns of whole paths.
pub(super) fn includes(table: &Reader<'_>, patterns: Vec<Located<String>>) -> Vec<String> {
    patterns.into_iter().filter_map(|pattern| checked(table, pattern, include_fault)).collect()
}

/// Patterns of whole paths if they hold a `/`, else of file names.
pub(super) fn excludes(table: &Reader<'_>, patterns: Vec<Located<String>>) -> Vec<String> {
    patterns.into_iter().filter_map(|pattern| checked(table, pattern, exclude_fault)).collect()
}

fn checked(table: &Reader<'_>, pattern: Located<String>, fault: fn(&str) -> Option<String>) -> Option<String> {
    let problem = match Glob::new(&pattern.value) {
        Err(error) => format!("is not a glob pattern: {}", error.kind()),
        Ok(_) => match fault(&pattern.value) {
            Some(fault) => fault,
            None => return Some(pattern.value),
        },
    };
    table.report().add(Problem::new(pattern.place, format!("\"{}\" {problem}", pattern.value)));
    None
}

fn include_fault(pattern: &str) -> Option<String> {
    if !pattern.starts_with('/') {
        return Some("is not absolute; a pattern begins with `/`, as in \"/var/log/app/*.log\"".to_owned());
    }
    if pattern.ends_with('/') {
        return Some(format!("matches no file, only a directory; for the files in it write \"{pattern}*\""));
    }
    unmatchable(pattern)
}

fn exclude_fault(pattern: &str) -> Option<String> {
    if pattern.is_empty() {
        return Some("matches nothing".to_owned());
    }
    let begins_like_a_path = pattern.starts_with(['/', '*', '{', '[', '?']);
    if pattern.contains('/') && !begins_like_a_path {
        return Some(format!("matches nothing, since it holds a `/` and paths are absolute; \"**/{pattern}\" would"));
    }
    unmatchable(pattern)
}

/// Paths are compared as they are found, in which no such component occurs.
fn unmatchable(pattern: &str) -> Option<String> {
    let component = pattern.split('/').skip(1).find(|component| matches!(*component, "" | "." | ".."))?;
    Some(format!("matches nothing: no path has the component \"{component}\""))
}
