//! The syntax of a `[[logs.file]]` table.

use super::framing;
use super::target::{self, Inherited};
use crate::config::globs;
use crate::config::report::Problem;
use crate::config::table::Reader;
use crate::config::units::Size;
use crate::config::variables::Variables;
use crate::logs::{BACKFILL_LIMIT, FileSettings, StartAt};

/// What `start_at` can be.
pub(in crate::config) const START_AT: [(&str, StartAt); 3] =
    [("auto", StartAt::Auto), ("beginning", StartAt::Beginning), ("end", StartAt::End)];

/// From nothing but what is new, to what no file is.
const LIMIT: (Size, Size) = (Size(0), Size(1 << 60));

pub(super) fn read(mut table: Reader<'_>, inherited: &Inherited, variables: &Variables) -> Option<FileSettings> {
    let include = included(&mut table);
    let exclude = table.strings("exclude").map_or(Vec::new(), |patterns| patterns.value);
    let exclude = globs::excludes(&table, exclude);
    let target = target::read_inheriting(&mut table, inherited, variables, &["file_name", "file_path"]);
    let start_at = table.choice("start_at", &START_AT).unwrap_or_default();
    let backfill = table.quantity("backfill_limit", "1GiB", Size::parse, LIMIT);
    let backfill_limit = backfill.map_or(BACKFILL_LIMIT, |size| size.0);
    let framing = framing::read_lines(&mut table);
    table.finish();
    Some(FileSettings { include, exclude, target: target?, start_at, backfill_limit, framing })
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
