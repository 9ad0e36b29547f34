//! The syntax of `[credentials]`. Not its meaning: that is the room of the same name.

use super::table::Reader;
use crate::credentials::{Settings, SourceKind};

/// What `source` can be.
pub(super) const SOURCES: [(&str, SourceKind); 2] = [("auto", SourceKind::Auto), ("instance", SourceKind::Instance)];

pub(super) fn read(mut table: Reader<'_>) -> Settings {
    let source = table.choice("source", &SOURCES).unwrap_or_default();
    table.finish();
    Settings { source }
}
