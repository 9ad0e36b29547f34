//! What no source keeps, kept on the disk until it is delivered: what comes in by sockets, in segments. Not for files
//! and the journal: those are their own buffer.
//!
//! Invariants:
//!
//! * Who is told that a record is durable can't lose it: it was synced before, and so was the name of its file.
//! * A segment is written by this process only, at its end only, and whole records only: where a write broke off, the
//!   segment is cut back or nothing is written behind it. After a restart nothing is written into what is there.
//! * A segment is deleted only when all of it is delivered or dropped and the checkpoint says so. No number is ever used
//!   again, so a checkpoint never speaks of another segment.
//! * What is no record is never read over unseen: up to where the next record stands it is kept in the quarantine, and
//!   counted; everything else is delivered.
//! * Nobody holds more than half of the room that the others leave, and never is the last free room of the filesystem
//!   taken.

mod budget;
mod quarantine;
mod segment;
mod store;
#[cfg(test)]
mod tests;
mod trouble;
mod writer;

pub(crate) use budget::Budget;
pub(crate) use quarantine::Damage;
pub(crate) use segment::Key;
pub use store::Spool;
pub(crate) use store::{Listed, Refused};
pub(crate) use trouble::Loss;
pub(crate) use writer::{Append, Writer};
