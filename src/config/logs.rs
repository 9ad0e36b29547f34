//! The syntax of `[logs]` and of the `[[logs.file]]` tables that inherit from it. Not their meaning: that is the room
//! of the same name.

use std::time::Duration;

use super::report::Problem;
use super::table::Reader;
use super::units::{Size, Span};
use super::{globs, names};
use crate::logs::{FileSettings, RETENTION_DAYS, Settings, StartAt};
use crate::template::Template;

/// What `start_at` can be.
pub(super) const START_AT: [(&str, StartAt); 3] =
    [("auto", StartAt::Auto), ("beginning", StartAt::Beginning), ("end", StartAt::End)];

/// The stream that events go to unless something else is said: there is one writer for it.
const DEFAULT_STREAM: &str = "{instance_id}";

/// From the linger of an idle stream (DESIGN: 250 ms) to what still counts as "now".
const FLUSH_INTERVAL: (Span, Span) = (Span(Duration::from_millis(250)), Span(Duration::from_mins(1)));

/// A few of the largest batches, 1 MiB each: read, in flight and acknowledged; the upper end only keeps sums from overflowing.
const MEMORY_LIMIT: (Size, Size) = (Size(4 << 20), Size(1 << 40));

/// What `[[logs.file]]` tables inherit, and what is known of keys that are wrong: they are set, so nothing is missing.
struct Destination {
    log_group: Option<Template>,
    group_is_set: bool,
    log_stream: Option<Template>,
    retention_in_days: Option<u16>,
}

pub(super) fn read(mut table: Reader<'_>, variables: &[&str]) -> Settings {
    let default = Settings::default();
    let inherited = destination(&mut table, variables);
    let flush = table.quantity("flush_interval", "5s", Span::parse, FLUSH_INTERVAL);
    let memory = table.quantity("memory_limit", "16MiB", Size::parse, MEMORY_LIMIT);
    let files = table.tables("file").into_iter().filter_map(|file| read_file(file, &inherited, variables)).collect();
    table.finish();
    Settings {
        flush_interval: flush.map_or(default.flush_interval, |span| span.0),
        memory_limit: memory.map_or(default.memory_limit, |size| size.0),
        files,
    }
}

fn read_file(mut table: Reader<'_>, inherited: &Destination, variables: &[&str]) -> Option<FileSettings> {
    let include = included(&mut table);
    let exclude = table.strings("exclude").map_or(Vec::new(), |patterns| patterns.value);
    let exclude = globs::excludes(&table, exclude);
    let own = destination(&mut table, variables);
    let start_at = table.choice("start_at", &START_AT).unwrap_or_default();
    if !own.group_is_set && !inherited.group_is_set {
        table.missing("log_group", "set it here, or in [logs] for all files: `log_group = \"/aws/ec2/app\"`");
    }
    table.finish();
    let log_stream = own.log_stream.or_else(|| inherited.log_stream.clone());
    Some(FileSettings {
        include,
        exclude,
        log_group: own.log_group.or_else(|| inherited.log_group.clone())?,
        log_stream: log_stream.or_else(|| Template::parse(DEFAULT_STREAM, variables).ok())?,
        retention_in_days: own.retention_in_days.or(inherited.retention_in_days),
        start_at,
    })
}

fn included(table: &mut Reader<'_>) -> Vec<String> {
    if !table.has("include") {
        table.missing("include", "as in `include = [\"/var/log/app/*.log\"]`");
    }
    let patterns = table.strings("include");
    if let Some(empty) = patterns.as_ref().filter(|patterns| patterns.value.is_empty()) {
        table.report().add(Problem::new(empty.place, "`include` names no file; expected at least one pattern"));
    }
    globs::includes(table, patterns.map_or(Vec::new(), |patterns| patterns.value))
}

fn destination(table: &mut Reader<'_>, variables: &[&str]) -> Destination {
    let group_is_set = table.has("log_group");
    let log_group = table.string("log_group").and_then(|text| names::log_group(table, &text, variables));
    let log_stream = table.string("log_stream").and_then(|text| names::log_stream(table, &text, variables));
    Destination { log_group, group_is_set, log_stream, retention_in_days: retention(table) }
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
