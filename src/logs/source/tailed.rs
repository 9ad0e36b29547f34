//! One followed file: its descriptor, how it is recognised, and what a look at it means. The descriptor stays open over
//! renames and deletion while there is something to read, so nothing that was written before is lost; that of an idle
//! file may be closed. Not what of it is done: that is the feed's.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::archive::Archive;
use super::feed::{Content, Feed, Origin};
use super::gzip::is_packed;
use super::identity::{Fingerprint, born};
use super::spill::{Spill, SpillDirectory};
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
    Cut {
        /// When that was seen, by the boot-time clock.
        at: Duration,
    },
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
    pub(crate) path: Arc<Path>,
    /// Its descriptor; none while it is closed, to save descriptors.
    file: Option<File>,
    device: u64,
    inode: u64,
    /// When it was born; 0 where the file system does not tell.
    born: u64,
    /// When its content changed last, as of the last look: seconds and nanoseconds.
    modified: (i64, i64),
    /// How it is recognised.
    pub(crate) fingerprint: Fingerprint,
    /// Where it stands in its life.
    pub(crate) life: Life,
    /// Whether its bytes are packed: they are no text, however many come. What is in them is read by another feed, or
    /// elsewhere.
    packed: bool,
    /// What it is unpacked from, if it is; the descriptor is that of the stretch that is unpacked now.
    pub(crate) archive: Option<Box<Archive>>,
    /// The copy of what is unsent of it, once it has no name any more.
    pub(crate) spill: Option<Spill>,
}

impl Content for Tailed {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match &self.file {
            Some(file) => file.read_at(buffer, offset),
            None => Err(io::Error::other("it is closed for now")),
        }
    }
}

impl Tailed {
    /// By what it is known again. A stretch of an archive that has just begun shows nothing of it yet.
    pub(crate) fn known_by(&self) -> Fingerprint {
        let archive = self.archive.as_ref().filter(|_| !self.fingerprint.has_content());
        archive.map_or(self.fingerprint, |archive| archive.fingerprint())
    }

    /// Its descriptor, if it is open.
    pub(crate) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Gives up the descriptor: the file is idle, and will be found at its path.
    pub(crate) fn close(&mut self) {
        self.file = None;
    }

    /// Goes on by `file`, if that is this file still: the same inode with the same content before the position.
    ///
    /// # Errors
    /// When it can't be examined.
    pub(crate) fn reopen(&mut self, file: File) -> io::Result<bool> {
        let metadata = file.metadata()?;
        let same = self.is(&metadata) && self.fingerprint.content_stands(&file, metadata.len())?;
        if same {
            self.file = Some(file);
        }
        Ok(same)
    }

    /// Goes on in `file`, another one with the same bytes.
    ///
    /// # Errors
    /// When it can't be examined.
    pub(crate) fn continue_in(&mut self, file: File, position: u64) -> io::Result<()> {
        let metadata = file.metadata()?;
        self.fingerprint = Fingerprint::of(&file, &metadata, position)?;
        self.packed = false;
        (self.device, self.inode, self.born) = (metadata.dev(), metadata.ino(), born(&metadata));
        self.file = Some(file);
        Ok(())
    }

    /// Whether its descriptor is all that is left of it: it was deleted.
    pub(crate) fn is_nameless(&self) -> bool {
        let deleted = |file: &File| file.metadata().is_ok_and(|metadata| metadata.nlink() == 0);
        self.archive.is_none() && !self.is_cut() && self.file.as_ref().is_some_and(deleted)
    }

    /// Copies up to `most` bytes more of it, the first time from `position` on; returns how many.
    ///
    /// # Errors
    /// When the copy can't be made or written.
    pub(crate) fn spill_on(
        &mut self,
        id: FileId,
        position: u64,
        most: u64,
        spills: &SpillDirectory,
    ) -> io::Result<u64> {
        let Some(original) = &self.file else { return Ok(0) };
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => none.insert(spills.begin(id, original, position)?),
        };
        spill.copy_on(original, most)
    }

    /// The device and inode that it was seen with last.
    pub(crate) fn number(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// Whether `metadata` is of this file: one that is not open may be gone, and its inode another file's.
    pub(crate) fn is(&self, metadata: &Metadata) -> bool {
        let born = born(metadata);
        let same_birth = self.born == 0 || born == 0 || self.born == born;
        same_birth && self.number() == (metadata.dev(), metadata.ino())
    }

    /// Whether it was empty whenever it was looked at.
    pub(crate) fn is_blank(&self) -> bool {
        !self.fingerprint.has_content() && self.archive.is_none() && self.spill.is_none() && !self.is_cut()
    }

    /// Whether it is at its place.
    pub(crate) fn is_active(&self) -> bool {
        self.life == Life::Active
    }

    /// Whether its content was cut off.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self.life, Life::Cut { .. })
    }

    /// It is no longer at its place.
    pub(crate) fn leave(&mut self, now: Duration) {
        if self.is_active() {
            self.life = Life::Leaving { quiet_since: now };
        }
    }

    /// Whether it left, and has been quiet for long enough that nobody writes to it any more.
    pub(super) fn is_complete(&self, now: Duration) -> bool {
        if let Some(archive) = &self.archive {
            return archive.is_over();
        }
        match self.life {
            Life::Active => false,
            Life::Leaving { quiet_since } => now.saturating_sub(quiet_since) >= QUIET_BEFORE_LEAVING,
            Life::Cut { .. } => true,
        }
    }

    /// Brings the fingerprint up to `position`. That of a closed file is: it was when it was closed.
    pub(crate) fn update_fingerprint(&mut self, position: u64) {
        if !self.is_cut()
            // What came to stand in it is looked at first: it may be a copy.
            && !self.is_blank()
            && let Some(file) = &self.file
            && let Ok(metadata) = file.metadata()
            // Hashing what somebody has just cut and rewritten would hide that from the next look.
            && self.fingerprint.content_stands(file, metadata.len()).unwrap_or(false)
            && let Ok(fingerprint) = self.fingerprint.moved_to(file, &metadata, position)
        {
            self.fingerprint = fingerprint;
        }
    }
}

fn modified(metadata: &Metadata) -> (i64, i64) {
    (metadata.mtime(), metadata.mtime_nsec())
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
        let packed = is_packed(&file)?;
        let origin = Origin::File(Tailed {
            path: path.into(),
            file: Some(file),
            device: metadata.dev(),
            inode: metadata.ino(),
            born: born(&metadata),
            modified: modified(&metadata),
            fingerprint,
            life: Life::Active,
            packed,
            archive: None,
            spill: None,
        });
        let size = metadata.len();
        Ok(Self { id, source, table, origin, coverage, size, read_to_end_at: None, behind_since: None, fault: None })
    }

    /// Whether the file is as it was at the last look, when all of it was read; `metadata` is its own.
    pub(crate) fn is_unchanged(&self, metadata: &Metadata) -> bool {
        self.looks_the_same(metadata) && self.read_to_end_at == Some(self.size)
    }

    /// Whether the file has the size and time of change that it had at the last look; `metadata` is its own.
    pub(crate) fn looks_the_same(&self, metadata: &Metadata) -> bool {
        self.size == metadata.len() && self.file().is_some_and(|file| file.modified == modified(metadata))
    }

    /// Whether all that there was at the last look was read.
    pub(crate) fn read_to_its_end(&self) -> bool {
        self.read_to_end_at == Some(self.size)
    }

    /// Whether nothing is to be done with it but to wait: all was read, all is settled, it is at its place.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_active() && self.read_to_end_at == Some(self.size) && self.coverage.is_settled()
    }

    /// Looks at the file through its descriptor. A closed one is as it was, until somebody opens it.
    pub(super) fn look_at_file(&mut self, now: Duration) -> io::Result<Look> {
        let Origin::File(file) = &mut self.origin else { return Ok(Look::AtEnd) };
        let Some(descriptor) = &file.file else { return Ok(Look::AtEnd) };
        let metadata = descriptor.metadata()?;
        let (size, changed_at) = (metadata.len(), modified(&metadata));
        if file.packed && is_packed(descriptor)? {
            file.modified = changed_at;
            self.size = self.coverage.low().offset;
            self.read_to_end_at = Some(self.size);
            return Ok(Look::AtEnd);
        }
        if size < self.coverage.next().0.offset.max(self.read_to_end_at.unwrap_or(0)) {
            return Ok(Look::CutOff);
        }
        if (size, changed_at) != (self.size, file.modified) || self.read_to_end_at.is_none() {
            if !file.fingerprint.content_stands(descriptor, size)? {
                return Ok(Look::CutOff);
            }
            file.fingerprint = file.fingerprint.grown(descriptor, size)?;
            if let Life::Leaving { quiet_since } = &mut file.life {
                *quiet_since = now;
            }
        }
        self.size = size;
        file.modified = changed_at;
        Ok(if self.read_to_end_at == Some(size) { Look::AtEnd } else { Look::Unread })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::disk::faults::{forget_times, say_times, stamp};

    #[test]
    fn another_file_that_got_its_inode_is_not_taken_for_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("app.log");
        let file = File::create(&path).expect("there is room");
        say_times();
        stamp(&file, true);
        let reader = File::open(&path).expect("there");
        let feed = Feed::of_file(1, path, "app.log".into(), Table::File(0), reader, Coverage::from(0));
        let feed = feed.expect("it can be examined");
        let was = file.metadata().expect("there");
        assert!(feed.file().expect("a file").is(&was));
        // As if it were gone, and the file system gave its inode to the next one.
        stamp(&file, true);
        assert!(!feed.file().expect("a file").is(&file.metadata().expect("there")));
        forget_times();
    }
}
