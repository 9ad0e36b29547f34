//! The keys that say where events go and how what is missing there is made: `[logs]` sets them for all tables of
//! sources, each table for itself.

use crate::config::names;
use crate::config::report::Problem;
use crate::config::table::Reader;
use crate::logs::{RETENTION_DAYS, Target};
use crate::template::Template;

/// The stream that events go to unless something else is said: there is one writer for it.
const DEFAULT_STREAM: &str = "{instance_id}";

/// What a table says, and what is known of keys that are wrong: they are set, so nothing is missing.
pub(super) struct Inherited {
    log_group: Option<Template>,
    group_is_set: bool,
    log_stream: Option<Template>,
    retention_in_days: Option<u16>,
}

/// What `table` says itself.
pub(super) fn read(table: &mut Reader<'_>, variables: &[&str]) -> Inherited {
    let group_is_set = table.has("log_group");
    let log_group = table.string("log_group").and_then(|text| names::log_group(table, &text, variables));
    let log_stream = table.string("log_stream").and_then(|text| names::log_stream(table, &text, variables));
    Inherited { log_group, group_is_set, log_stream, retention_in_days: retention(table) }
}

/// What `table` says, filled in with what it inherits; `None` when something is missing or wrong, which is reported.
pub(super) fn read_inheriting(table: &mut Reader<'_>, inherited: &Inherited, variables: &[&str]) -> Option<Target> {
    let own = read(table, variables);
    if !own.group_is_set && !inherited.group_is_set {
        table.missing("log_group", "set it here, or in [logs] for all sources: `log_group = \"/aws/ec2/app\"`");
    }
    let log_stream = own.log_stream.or_else(|| inherited.log_stream.clone());
    Some(Target {
        log_group: own.log_group.or_else(|| inherited.log_group.clone())?,
        log_stream: log_stream.or_else(|| Template::parse(DEFAULT_STREAM, variables).ok())?,
        retention_in_days: own.retention_in_days.or(inherited.retention_in_days),
    })
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
