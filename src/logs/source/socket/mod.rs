//! Unix sockets as a source: who may write, what is received, and how it gets into the spool. Not what is read from there.

mod client;
mod datagram;
mod inbox;
mod intake;
mod messages;
mod protocol;
mod receiver;
mod send;
mod stream;
mod syslog;
mod tables;

pub use client::{SendError, send};
pub use protocol::{Destination, SEND_SOCKET};
pub use receiver::{Door, DoorSocket, Purpose, Receiver};

use super::super::ledger::Count;
use super::super::spool::Append;
use crate::logs::framing::recorded::next_recorded;

/// What is lost if `append` is.
fn count_of(append: &Append) -> Count {
    let mut count = Count { events: 0, bytes: append.records.len() as u64 };
    let mut rest = &append.records[..];
    while let Ok(Some(record)) = next_recorded(rest) {
        count.events += u64::from(!record.continued);
        rest = &rest[record.length..];
    }
    count
}
