//! A segment of the spool as something that is read: its bytes up to where it is known to be written. Not its writing, and
//! not what becomes of it when it is read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use super::feed::Content;
use crate::logs::spool::{Key, Listed, Spool};

/// An open segment.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Its number.
    pub(crate) number: u64,
    /// Whose records it holds, and where they go.
    pub(crate) key: Arc<Key>,
    /// Whether nothing is added any more.
    pub(crate) sealed: bool,
    /// Since when nothing was added, as far as was looked, by the boot-time clock.
    pub(crate) quiet_since: Duration,
    file: File,
    /// What stands behind it may be taken back.
    length: u64,
    spool: Spool,
}

impl Segment {
    /// Opens the segment that is listed so.
    ///
    /// # Errors
    /// When it can't be opened.
    pub(crate) fn open(spool: &Spool, listed: Listed, now: Duration) -> io::Result<Self> {
        let file = spool.read(listed.number)?;
        let Listed { number, key, length, sealed, .. } = listed;
        Ok(Self { number, key, sealed, quiet_since: now, file, length, spool: spool.clone() })
    }

    /// How far it goes now.
    pub(crate) fn look(&mut self, now: Duration) -> u64 {
        if let Some(listed) = self.spool.segment(self.number) {
            if self.length != listed.length {
                self.quiet_since = now;
            }
            (self.length, self.sealed) = (listed.length, listed.sealed);
        }
        self.length
    }
}

impl Content for Segment {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let there = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let room = buffer.len().min(there);
        FileExt::read_at(&self.file, &mut buffer[..room], offset)
    }
}
