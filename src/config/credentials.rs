//! The syntax of `[credentials]`. Not its meaning: that is the room of the same name.

use super::allow;
use super::table::Reader;
use crate::caller::Rules;
use crate::credentials::SourceKind;

/// What `source` can be.
pub(super) const SOURCES: [(&str, SourceKind); 5] = [
    ("auto", SourceKind::Auto),
    ("web_identity", SourceKind::WebIdentity),
    ("container", SourceKind::Container),
    ("instance", SourceKind::Instance),
    ("environment", SourceKind::Environment),
];

/// Where the base credentials come from, and who may have them: root, if nothing is said. And the table that says where
/// the record of that goes.
pub(super) fn read(mut table: Reader<'_>) -> (SourceKind, Rules, Option<Reader<'_>>) {
    let source = table.choice("source", &SOURCES).unwrap_or_default();
    let allow = allow::read(&mut table, "may have the base credentials").unwrap_or_default();
    let has_audit = table.has("audit");
    let audit = table.table("audit");
    table.finish();
    (source, allow, has_audit.then_some(audit))
}
