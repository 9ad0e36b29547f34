//! One followed file: its descriptor, how it is recognised, and what a look at it means. The descriptor stays open over
//! renames and deletion, so nothing that was written before is lost. Not what of it is done: that is the feed's.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::feed::{Feed, Origin};
use super::identity::Fingerprint;
use crate::logs::batch::FileId;
use crate::logs::coverage::Coverage;
use crate::logs::settings::Table;

/// After a file left its place, its writer may hold it open a while longer (until it is told to reopen): it is read
/// until it has been quiet for so long.
pub(crate) const QUIET_BEFORE_LEAVING: Duration = Duration::from_secs(5);

/// Where a file stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// At its place.
    Active,
    /// Renamed away or deleted; still read until it has been quiet since then.
    Leaving {
        /// When it was last seen to change, by the boot-time clock.
        quiet_since: Duration,
    },
    /// Its content was cut off: what was read of it can't be read again, and nothing more is to be had.
    Cut,
}

/// What a look at a feed found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// There is more to read.
    Unread,
    /// Everything was read.
    AtEnd,
    /// It is shorter than what was read, or what was read is no longer what stands there.
    CutOff,
}

/// One followed file.
#[derive(Debug)]
pub(crate) struct Tailed {
    /// Where it is, or was.
    pub(crate) path: PathBuf,
    /// Its descriptor.
    pub(crate) file: File,
    device: u64,
    inode: u64,
    /// How it is recognised.
    pub(crate) fingerprint: Fingerprint,
    /// Where it stands in its life.
    pub(crate) life: Life,
}

impl Tailed {
    /// Whether `metadata` is of the file behind our descriptor.
    pub(crate) fn is(&self, metadata: &Metadata) -> bool {
        (self.device, self.inode) == (metadata.dev(), metadata.ino())
    }

    /// Whether it is at its place.
    pub(crate) fn is_active(&self) -> bool {
        self.life == Life::Active
    }

    /// Whether its content was cut off.
    pub(crate) fn is_cut(&self) -> bool {
        self.life == Life::Cut
    }

    /// It is no longer at its place.
    pub(crate) fn leave(&mut self, now: Duration) {
        if self.is_active() {
            self.life = Life::Leaving { quiet_since: now };
        }
    }

    /// Whether it left, and has been quiet for long enough that nobody writes to it any more.
    pub(super) fn is_complete(&self, now: Duration) -> bool {
        match self.life {
            Life::Active => false,
            Life::Leaving { quiet_since } => now.saturating_sub(quiet_since) >= QUIET_BEFORE_LEAVING,
            Life::Cut => true,
        }
    }

    /// Brings the fingerprint up to `position`.
    pub(super) fn update_fingerprint(&mut self, position: u64) {
        if !self.is_cut()
            && let Ok(metadata) = self.file.metadata()
            // Hashing what somebody has just cut and rewritten would hide that from the next look.
            && self.fingerprint.content_stands(&self.file, metadata.len()).unwrap_or(false)
            && let Ok(fingerprint) = self.fingerprint.moved_to(&self.file, &metadata, position)
        {
            self.fingerprint = fingerprint;
        }
    }
}

impl Feed {
    /// A file opened at its place.
    ///
    /// # Errors
    /// When it can't be examined.
    pub(crate) fn of_file(
        id: FileId,
        path: PathBuf,
        source: Arc<str>,
        table: Table,
        file: File,
        coverage: Coverage,
    ) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let fingerprint = Fingerprint::of(&file, &metadata, coverage.low().offset)?;
        let (device, inode, size) = (metadata.dev(), metadata.ino(), metadata.len());
        let origin = Origin::File(Tailed { path, file, device, inode, fingerprint, life: Life::Active });
        Ok(Self { id, source, table, origin, coverage, size, read_to_end_at: None, behind_since: None, fault: None })
    }

    /// Looks at the file through its descriptor.
    pub(super) fn look_at_file(&mut self, now: Duration) -> io::Result<Look> {
        let Origin::File(file) = &mut self.origin else { return Ok(Look::AtEnd) };
        let size = file.file.metadata()?.len();
        if size < self.coverage.next().0.offset.max(self.read_to_end_at.unwrap_or(0)) {
            return Ok(Look::CutOff);
        }
        if size != self.size || self.read_to_end_at.is_none() {
            if !file.fingerprint.content_stands(&file.file, size)? {
                return Ok(Look::CutOff);
            }
            file.fingerprint = file.fingerprint.grown(&file.file, size)?;
            if let Life::Leaving { quiet_since } = &mut file.life {
                *quiet_since = now;
            }
        }
        self.size = size;
        Ok(if self.read_to_end_at == Some(size) { Look::AtEnd } else { Look::Unread })
    }
}
