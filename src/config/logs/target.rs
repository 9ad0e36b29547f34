//! The keys that say where events go and how what is missing there is made: `[logs]` sets them for all tables of
//! sources, each table for itself.

use crate::config::names;
use crate::config::report::{Place, Problem};
use crate::config::table::{Located, Reader};
use crate::logs::{RETENTION_DAYS, Target};
use crate::template::{OF_SOURCES, Template};

/// The stream that events go to unless something else is said: there is one writer for it.
const DEFAULT_STREAM: &str = "{instance_id}";

/// What a table says, and what is known of keys that are wrong: they are set, so nothing is missing.
pub(super) struct Inherited {
    log_group: Option<Located<Template>>,
    group_is_set: bool,
    log_stream: Option<Located<Template>>,
    retention_in_days: Option<u16>,
}

/// What `table` says itself.
pub(super) fn read(table: &mut Reader<'_>, variables: &[&str]) -> Inherited {
    let group_is_set = table.has("log_group");
    let log_group = name(table, "log_group", variables, names::log_group);
    let log_stream = name(table, "log_stream", variables, names::log_stream);
    Inherited { log_group, group_is_set, log_stream, retention_in_days: retention(table) }
}

fn name(
    table: &mut Reader<'_>,
    key: &'static str,
    variables: &[&str],
    check: fn(&Reader<'_>, &Located<String>, &[&str]) -> Option<Template>,
) -> Option<Located<Template>> {
    let text = table.string(key)?;
    let value = check(table, &text, variables)?;
    Some(Located { value, place: text.place })
}

/// What `table` says, filled in with what it inherits; `None` when something is missing or wrong, which is reported.
/// `known` are those of the names in [`OF_SOURCES`] that sources of this kind have.
pub(super) fn read_inheriting(
    table: &mut Reader<'_>,
    inherited: &Inherited,
    variables: &[&str],
    known: &[&str],
) -> Option<Target> {
    let own = read(table, variables);
    if !own.group_is_set && !inherited.group_is_set {
        table.missing("log_group", "set it here, or in [logs] for all sources: `log_group = \"/aws/ec2/app\"`");
    }
    let log_group = choose(table, "log_group", known, own.log_group.as_ref(), inherited.log_group.as_ref());
    let log_stream = choose(table, "log_stream", known, own.log_stream.as_ref(), inherited.log_stream.as_ref());
    Some(Target {
        log_group: log_group?,
        log_stream: log_stream.or_else(|| Template::parse(DEFAULT_STREAM, variables).ok())?,
        retention_in_days: own.retention_in_days.or(inherited.retention_in_days),
    })
}

/// The table's own template, or the one it inherits, if a source of this kind can fill it in.
fn choose(
    table: &Reader<'_>,
    key: &str,
    known: &[&str],
    own: Option<&Located<Template>>,
    inherited: Option<&Located<Template>>,
) -> Option<Template> {
    let template = own.or(inherited)?;
    let unknown = template.value.needed().find(|name| OF_SOURCES.contains(name) && !known.contains(name));
    if let Some(name) = unknown {
        refuse(table, key, name, template.place, own.is_none());
    }
    Some(template.value.clone())
}

fn refuse(table: &Reader<'_>, key: &str, name: &str, place: Place, is_inherited: bool) {
    let header = table.header();
    let problem = if is_inherited {
        let message = format!("{header} inherits `{key}`, which needs {{{name}}}, and has no such thing");
        Problem::new(table.place(), message).also("set", place)
    } else {
        Problem::new(place, format!("`{key}`: {header} has no {{{name}}}"))
    };
    table.report().add(problem.hint(format!("set another `{key}` here, or give it a fallback: {{{name}|none}}")));
}

fn retention(table: &mut Reader<'_>) -> Option<u16> {
    let days = table.integer("retention_in_days")?;
    let known = RETENTION_DAYS.into_iter().find(|known| i64::from(*known) == days.value);
    if known.is_none() {
        let listed: Vec<String> = RETENTION_DAYS.iter().map(u16::to_string).collect();
        let message = format!("`retention_in_days` can't be {}; CloudWatch accepts {}", days.value, listed.join(", "));
        table.report().add(Problem::new(days.place, message));
    }
    known
}
