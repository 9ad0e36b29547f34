//! What no source keeps, kept on the disk until it is delivered. Not for files and the journal: those are their own
//! buffer.

mod budget;

pub(crate) use budget::{Budget, Full};
