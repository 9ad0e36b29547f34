//! One followed file: its descriptor, what of it is done, and what a look at it means. The descriptor stays open over
//! renames and deletion, so nothing that was written before is lost.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::identity::Fingerprint;
use crate::fault::Fault;
use crate::logs::batch::FileId;
use crate::logs::checkpoint::FileState;
use crate::logs::coverage::Coverage;

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

/// What a look at a file found.
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
    /// Ours.
    pub(crate) id: FileId,
    /// Where it is, or was.
    pub(crate) path: PathBuf,
    /// Whose account it is on.
    pub(crate) source: Arc<str>,
    /// Which `[[logs.file]]` table it belongs to.
    pub(crate) table: usize,
    /// Its descriptor.
    pub(crate) file: File,
    device: u64,
    inode: u64,
    /// How it is recognised.
    pub(crate) fingerprint: Fingerprint,
    /// What of it is done.
    pub(crate) coverage: Coverage,
    /// Its size at the last look.
    pub(crate) size: u64,
    /// Up to where complete records were read: behind it stands at most a partial line.
    read_to_end_at: Option<u64>,
    /// Where it stands in its life.
    pub(crate) life: Life,
    /// Since when undelivered data stands there, by the boot-time clock.
    pub(crate) behind_since: Option<Duration>,
    /// Why it can't be read, if so.
    pub(crate) fault: Option<Fault>,
}

impl Tailed {
    /// A file opened at its place.
    pub(crate) fn new(
        id: FileId,
        path: PathBuf,
        source: Arc<str>,
        table: usize,
        file: File,
        coverage: Coverage,
    ) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let fingerprint = Fingerprint::of(&file, &metadata, coverage.low().offset)?;
        Ok(Self {
            id,
            path,
            source,
            table,
            file,
            device: metadata.dev(),
            inode: metadata.ino(),
            fingerprint,
            coverage,
            size: metadata.len(),
            read_to_end_at: None,
            life: Life::Active,
            behind_since: None,
            fault: None,
        })
    }

    /// Whether `metadata` is of the file behind our descriptor.
    pub(crate) fn is(&self, metadata: &Metadata) -> bool {
        (self.device, self.inode) == (metadata.dev(), metadata.ino())
    }

    /// Looks at the file through its descriptor.
    pub(crate) fn look(&mut self, now: Duration) -> io::Result<Look> {
        let size = self.file.metadata()?.len();
        if size < self.coverage.next().0.offset.max(self.read_to_end_at.unwrap_or(0)) {
            return Ok(Look::CutOff);
        }
        if size != self.size || self.read_to_end_at.is_none() {
            if !self.fingerprint.content_stands(&self.file, size)? {
                return Ok(Look::CutOff);
            }
            if let Life::Leaving { quiet_since } = &mut self.life {
                *quiet_since = now;
            }
        }
        self.size = size;
        Ok(if self.read_to_end_at == Some(size) { Look::AtEnd } else { Look::Unread })
    }

    /// Everything up to `size` was read; behind the last record stands at most a partial line.
    pub(crate) fn reached_end(&mut self) {
        self.read_to_end_at = Some(self.size);
    }

    /// Something of it has to be read again, or more than was thought.
    pub(crate) fn unread(&mut self) {
        self.read_to_end_at = None;
    }

    /// It is no longer at its place.
    pub(crate) fn leave(&mut self, now: Duration) {
        if self.life == Life::Active {
            self.life = Life::Leaving { quiet_since: now };
        }
    }

    /// Whether it left, and has been quiet for long enough that nobody writes to it any more.
    pub(crate) fn is_complete(&self, now: Duration) -> bool {
        match self.life {
            Life::Active => false,
            Life::Leaving { quiet_since } => now.saturating_sub(quiet_since) >= QUIET_BEFORE_LEAVING,
            Life::Cut => true,
        }
    }

    /// Bytes that were not read yet, a partial last line included.
    pub(crate) fn unread_bytes(&self) -> u64 {
        self.size.saturating_sub(self.coverage.next().0.offset)
    }

    /// What the checkpoint keeps of it, with the fingerprint brought up to its position.
    pub(crate) fn state(&mut self) -> FileState {
        let position = self.coverage.low().offset;
        if self.life != Life::Cut
            && let Ok(metadata) = self.file.metadata()
            // Hashing what somebody has just cut and rewritten would hide that from the next look.
            && self.fingerprint.content_stands(&self.file, metadata.len()).unwrap_or(false)
            && let Ok(fingerprint) = self.fingerprint.moved_to(&self.file, &metadata, position)
        {
            self.fingerprint = fingerprint;
        }
        FileState {
            id: self.id,
            path: self.path.to_string_lossy().into_owned(),
            source: self.source.to_string(),
            fingerprint: self.fingerprint,
            coverage: self.coverage.clone(),
        }
    }
}
