//! The syntax of `[logs]` and of the tables of sources that inherit from it, one file a kind. Not their meaning: that is
//! the room of the same name.

mod file;
mod framing;
mod journal;
mod socket;
mod target;

use std::time::Duration;

use super::table::Reader;
use super::units::{Size, Span};
use super::variables::Variables;
use crate::logs::{Compression, Settings, SocketSettings};

pub(super) use file::START_AT;
pub(super) use framing::{rows_of, rows_of_lines};
pub(super) use journal::{FORMATS, PRIORITIES};
pub(super) use socket::{KINDS, SYNTAXES};
pub(super) use target::LOG_CLASSES;

/// What `compression` can be.
pub(super) const COMPRESSIONS: [(&str, Compression); 2] = [("none", Compression::None), ("gzip", Compression::Gzip)];

/// From the linger of an idle stream (DESIGN: 250 ms) to what still counts as "now".
const FLUSH_INTERVAL: (Span, Span) = (Span(Duration::from_millis(250)), Span(Duration::from_mins(1)));

/// A few of the largest batches, 1 MiB each: read, in flight and acknowledged; the upper end only keeps sums from overflowing.
const MEMORY_LIMIT: (Size, Size) = (Size(4 << 20), Size(1 << 40));

/// Room for a few segments of each of a few callers; the upper end only keeps sums from overflowing.
const SPOOL_LIMIT: (Size, Size) = (Size(16 << 20), Size(1 << 40));

/// `[credentials.audit]`: where the record of who was given credentials goes beside the journal.
pub(super) fn read_audit(mut table: Reader<'_>, variables: &Variables) -> Option<SocketSettings> {
    let target = target::read_alone(&mut table, variables);
    table.finish();
    target.map(SocketSettings::of_audit)
}

pub(super) fn read(mut table: Reader<'_>, variables: &Variables) -> Settings {
    let default = Settings::default();
    let inherited = target::read(&mut table, variables);
    let flush = table.quantity("flush_interval", "5s", Span::parse, FLUSH_INTERVAL);
    let compression = table.choice("compression", &COMPRESSIONS);
    let memory = table.quantity("memory_limit", "16MiB", Size::parse, MEMORY_LIMIT);
    let spool = table.quantity("spool_limit", "512MiB", Size::parse, SPOOL_LIMIT);
    let files = table.tables("file").into_iter().filter_map(|table| file::read(table, &inherited, variables)).collect();
    let journals =
        table.tables("journal").into_iter().filter_map(|table| journal::read(table, &inherited, variables)).collect();
    let sockets = socket::read_all(table.tables("socket"), &inherited, variables);
    table.finish();
    Settings {
        flush_interval: flush.map_or(default.flush_interval, |span| span.0),
        compression: compression.unwrap_or_default(),
        memory_limit: memory.map_or(default.memory_limit, |size| size.0),
        spool_limit: spool.map_or(default.spool_limit, |size| size.0),
        files,
        journals,
        sockets,
    }
}
