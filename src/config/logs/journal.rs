//! The syntax of a `[[logs.journal]]` table.

use std::collections::BTreeMap;
use std::path::PathBuf;

use globset::GlobBuilder;

use super::file::START_AT;
use super::framing;
use super::target::{self, Inherited};
use crate::config::report::Problem;
use crate::config::table::{Located, Reader};
use crate::config::variables::Variables;
use crate::logs::{JournalFormat, JournalSettings};

/// syslog's words, the most severe first (syslog(3)).
pub(in crate::config) const PRIORITIES: [(&str, u8); 8] =
    [("emerg", 0), ("alert", 1), ("crit", 2), ("err", 3), ("warning", 4), ("notice", 5), ("info", 6), ("debug", 7)];

/// What `format` can be.
pub(in crate::config) const FORMATS: [(&str, bool); 2] = [("text", false), ("json", true)];

/// The kinds of units; a name without one is a service's, as `journalctl -u` takes it.
const UNIT_KINDS: [&str; 11] = [
    ".service",
    ".socket",
    ".device",
    ".mount",
    ".automount",
    ".swap",
    ".target",
    ".path",
    ".timer",
    ".slice",
    ".scope",
];

/// The longest name of a field (systemd.journal-fields(7)).
const LONGEST_FIELD: usize = 64;

/// Why there is no `multiline`.
const NO_LINES_TO_JOIN: &str = "an entry of the journal is a record with all its lines already";

/// What there is instead, for a program that writes lines.
const INSTEAD: &str = "of what a service writes to stdout each line is an entry: let it log by sd_journal_send(3), or into \
                       a file that [[logs.file]] follows";

pub(super) fn read(mut table: Reader<'_>, inherited: &Inherited, variables: &Variables) -> Option<JournalSettings> {
    let units = strings(&mut table, "units", "unit", unit);
    let identifiers = strings(&mut table, "identifiers", "identifier", identifier);
    let priority = table.choice("priority", &PRIORITIES);
    let matches = matches(&mut table);
    let is_json = table.choice("format", &FORMATS).unwrap_or_default();
    let fields = fields(&mut table, is_json);
    let start_at = table.choice("start_at", &START_AT).unwrap_or_default();
    let directory = directory(&mut table);
    let target = target::read_inheriting(&mut table, inherited, variables, &["unit"]);
    let framing = framing::read_told_apart(&mut table, NO_LINES_TO_JOIN, INSTEAD);
    table.finish();
    let format = if is_json { JournalFormat::Json { fields } } else { JournalFormat::Text };
    Some(JournalSettings {
        units,
        identifiers,
        priority,
        matches,
        format,
        start_at,
        after: None,
        directory,
        target: target?,
        framing,
    })
}

/// A list that names something, each entry checked.
fn strings(
    table: &mut Reader<'_>,
    key: &'static str,
    what: &str,
    check: fn(&str) -> Result<String, String>,
) -> Vec<String> {
    let Some(list) = table.strings(key) else { return Vec::new() };
    if list.value.is_empty() {
        let message = format!("`{key}` names no {what}; leave it out to take all");
        table.report().add(Problem::new(list.place, message));
    }
    list.value.into_iter().filter_map(|value| checked(table, &value, check)).collect()
}

fn checked(table: &Reader<'_>, text: &Located<String>, check: fn(&str) -> Result<String, String>) -> Option<String> {
    check(&text.value)
        .map_err(|fault| table.report().add(Problem::new(text.place, format!("\"{}\" {fault}", text.value))))
        .ok()
}

/// A unit's full name, or a pattern of such names.
fn unit(text: &str) -> Result<String, String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@*?[]!^".contains(c);
    if text.is_empty() || !text.chars().all(is_allowed) {
        return Err("is no unit's name, nor a pattern of one, as in \"app-*.service\"".to_owned());
    }
    GlobBuilder::new(text)
        .backslash_escape(false)
        .build()
        .map_err(|error| format!("is no pattern: {}", error.kind()))?;
    let is_whole = UNIT_KINDS.iter().any(|kind| text.ends_with(kind)) || text.ends_with(['*', '?', ']']);
    Ok(if is_whole { text.to_owned() } else { format!("{text}.service") })
}

fn identifier(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains('\0') {
        return Err("is no identifier, as in \"sshd\"".to_owned());
    }
    Ok(text.to_owned())
}

fn field(text: &str) -> Result<String, String> {
    let is_allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let is_name = !text.is_empty() && text.len() <= LONGEST_FIELD && text.chars().all(is_allowed);
    if !is_name {
        return Err("is no journal field; those are capitals, digits and _, as in \"_TRANSPORT\"".to_owned());
    }
    Ok(text.to_owned())
}

fn matches(table: &mut Reader<'_>) -> BTreeMap<String, Vec<String>> {
    let mut matches = BTreeMap::new();
    for (name, values) in table.table("matches").free_lists() {
        if values.is_empty() {
            let message = format!("`{}` has no value to match, as in [\"kernel\"]", name.value);
            table.report().add(Problem::new(name.place, message));
        }
        if let Some(name) = checked(table, &name, field) {
            matches.insert(name, values);
        }
    }
    matches
}

fn fields(table: &mut Reader<'_>, is_json: bool) -> Vec<String> {
    if table.has("fields") && !is_json {
        let place = table.strings("fields").map_or(table.place(), |list| list.place);
        let problem = Problem::new(place, "`fields` is for JSON, and `format` is \"text\"");
        table.report().add(problem.hint("add `format = \"json\"`, or leave `fields` out"));
        return Vec::new();
    }
    strings(table, "fields", "field", field)
}

fn directory(table: &mut Reader<'_>) -> Option<PathBuf> {
    let path = table.string("directory")?;
    if !path.value.starts_with('/') {
        let message = format!("\"{}\" is not absolute, as in \"/var/log/journal/remote\"", path.value);
        table.report().add(Problem::new(path.place, message));
    }
    Some(path.value.into())
}
