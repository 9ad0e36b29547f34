//! How a file is recognised after a rename, a restart or a reboot: by inode, birth time, and its content before the
//! position. Device number and path are hints only: they change over reboots and renames.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// How much of the beginning is hashed: enough to tell two logs apart, one read of a page.
pub(crate) const HEAD: usize = 1024;

/// How much before the position is hashed: a line or two, with their times.
pub(crate) const TAIL: usize = 256;

/// What a file looked like when its position was noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    inode: u64,
    /// Nanoseconds since the epoch; 0 where the file system does not tell.
    born: u64,
    /// CRC-32 of the first `head_length` bytes.
    head: u32,
    head_length: u32,
    /// CRC-32 of the `TAIL` bytes before `position`, or of as many as there are.
    tail: u32,
    position: u64,
}

impl Fingerprint {
    /// The fingerprint of `file` with everything before `position` done.
    pub(crate) fn of(file: &File, metadata: &Metadata, position: u64) -> io::Result<Self> {
        let head_length = metadata.len().min(HEAD as u64);
        Ok(Self {
            inode: metadata.ino(),
            born: born(metadata),
            head: hash(file, 0..head_length)?,
            head_length: u32::try_from(head_length).unwrap_or(u32::MAX),
            tail: hash(file, tail_of(position))?,
            position,
        })
    }

    /// The fingerprint of what begins with `head` (all of it, or the first [`HEAD`] bytes) and is in no file of its own.
    pub(crate) fn of_head(head: &[u8]) -> Self {
        let head = &head[..head.len().min(HEAD)];
        let head_length = u32::try_from(head.len()).unwrap_or(u32::MAX);
        Self { head: crc32fast::hash(head), head_length, ..Self::default() }
    }

    /// The same file, with everything before `position` done now.
    pub(crate) fn moved_to(&self, file: &File, metadata: &Metadata, position: u64) -> io::Result<Self> {
        if u64::from(self.head_length) < metadata.len().min(HEAD as u64) {
            return Self::of(file, metadata, position);
        }
        Ok(Self { tail: hash(file, tail_of(position))?, position, ..*self })
    }

    /// The same file, now that more of its beginning stands there: one that was cut off and rewritten before anything of
    /// it was settled is told by that.
    pub(crate) fn grown(&self, file: &File, size: u64) -> io::Result<Self> {
        let head_length = size.min(HEAD as u64);
        if head_length <= u64::from(self.head_length) {
            return Ok(*self);
        }
        let length = u32::try_from(head_length).unwrap_or(u32::MAX);
        Ok(Self { head: hash(file, 0..head_length)?, head_length: length, ..*self })
    }

    /// The inode, for finding candidates.
    pub(crate) fn inode(&self) -> u64 {
        self.inode
    }

    /// The inode and the birth: which file it is.
    #[cfg(test)]
    pub(crate) fn file(&self) -> (u64, u64) {
        (self.inode, self.born)
    }

    /// Whether it was taken of the file that `metadata` is of, whatever stands in that by now.
    pub(crate) fn is_of_file(&self, metadata: &Metadata) -> bool {
        self.born != 0 && (self.inode, self.born) == (metadata.ino(), born(metadata))
    }

    /// Whether `file` is the one: the same inode and birth, and the content that was there before is there still.
    pub(crate) fn recognises(&self, file: &File, metadata: &Metadata) -> io::Result<bool> {
        let same_birth = self.born == 0 || born(metadata) == 0 || self.born == born(metadata);
        Ok(self.inode == metadata.ino() && same_birth && self.content_stands(file, metadata.len())?)
    }

    /// Whether a file without its inode can be told for this one: there must be content to compare.
    pub(crate) fn has_content(&self) -> bool {
        self.head_length > 0
    }

    /// Whether `file`, of which `size` bytes are there, may become a copy of this one: as far as it goes it begins alike.
    ///
    /// # Errors
    /// When it can't be read.
    pub(crate) fn may_become(&self, file: &File, size: u64) -> io::Result<bool> {
        let head = u64::from(self.head_length);
        Ok(self.has_content() && (size < head || hash(file, 0..head)? == self.head))
    }

    /// Whether its head is long enough that no other file begins so.
    pub(crate) fn is_telling(&self) -> bool {
        self.head_length as usize == HEAD
    }

    /// Up to where it was done.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Whether content that begins with `head` (all of it, or the first [`HEAD`] bytes) may be this file's.
    pub(crate) fn begins_like(&self, head: &[u8]) -> bool {
        self.has_content()
            && head.get(..self.head_length as usize).is_some_and(|head| crc32fast::hash(head) == self.head)
    }

    /// Whether content is this file's that begins with `head` and has `tail` before `position`: asked when that is
    /// this one's position, or both lie in the head.
    pub(crate) fn is_of(&self, head: &[u8], position: u64, tail: &[u8]) -> bool {
        let range = tail_of(self.position);
        let before = match (usize::try_from(range.start), usize::try_from(range.end)) {
            (Ok(start), Ok(end)) if end <= head.len() => head.get(start..end),
            _ => (position == self.position).then_some(tail),
        };
        self.begins_like(head) && before.is_some_and(|before| crc32fast::hash(before) == self.tail)
    }

    /// Whether the bytes that were hashed are still what they were: not so after a truncation, however it grew since.
    pub(crate) fn content_stands(&self, file: &File, size: u64) -> io::Result<bool> {
        let head = u64::from(self.head_length);
        Ok(size >= self.position.max(head)
            && hash(file, 0..head)? == self.head
            && hash(file, tail_of(self.position))? == self.tail)
    }
}

fn tail_of(position: u64) -> std::ops::Range<u64> {
    position.saturating_sub(TAIL as u64)..position
}

fn hash(file: &File, range: std::ops::Range<u64>) -> io::Result<u32> {
    let mut bytes = [0; HEAD];
    let wanted = usize::try_from(range.end - range.start).unwrap_or(HEAD).min(HEAD);
    let mut got = 0;
    while got < wanted {
        match file.read_at(&mut bytes[got..wanted], range.start + got as u64)? {
            0 => break,
            count => got += count,
        }
    }
    Ok(crc32fast::hash(&bytes[..got]))
}

/// When a file was born, where the file system tells.
pub(crate) fn birth(metadata: &Metadata) -> Option<SystemTime> {
    #[cfg(test)]
    if let Some(said) = crate::logs::disk::faults::birth(metadata) {
        return Some(said);
    }
    metadata.created().ok()
}

/// The same in nanoseconds; 0 where it does not.
pub(super) fn born(metadata: &Metadata) -> u64 {
    let since = birth(metadata).and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Sample {
        directory: tempfile::TempDir,
    }

    impl Sample {
        fn new(content: &str) -> Self {
            let sample = Self { directory: tempfile::tempdir().expect("a directory") };
            fs::write(sample.path(), content).expect("writable");
            sample
        }

        fn path(&self) -> std::path::PathBuf {
            self.directory.path().join("log")
        }

        fn open(&self) -> (File, Metadata) {
            let file = File::open(self.path()).expect("opens");
            let metadata = file.metadata().expect("metadata");
            (file, metadata)
        }

        fn fingerprint(&self, position: u64) -> Fingerprint {
            let (file, metadata) = self.open();
            Fingerprint::of(&file, &metadata, position).expect("readable")
        }

        fn is_recognised_by(&self, fingerprint: &Fingerprint) -> bool {
            let (file, metadata) = self.open();
            fingerprint.recognises(&file, &metadata).expect("readable")
        }
    }

    #[test]
    fn a_file_that_grew_is_the_same() {
        let sample = Sample::new("one\ntwo\n");
        let fingerprint = sample.fingerprint(4);
        fs::write(sample.path(), "one\ntwo\nthree\n").expect("writable");
        assert!(sample.is_recognised_by(&fingerprint));
    }

    #[test]
    fn a_file_cut_and_grown_again_beyond_the_position_is_another() {
        let sample = Sample::new("one\ntwo\n");
        let fingerprint = sample.fingerprint(8);
        fs::write(sample.path(), "uno\ndue\ntre\n").expect("writable");
        assert!(!sample.is_recognised_by(&fingerprint));
    }

    #[test]
    fn a_shorter_file_is_another() {
        let sample = Sample::new("one\ntwo\n");
        let fingerprint = sample.fingerprint(8);
        fs::write(sample.path(), "one\n").expect("writable");
        assert!(!sample.is_recognised_by(&fingerprint));
    }

    #[test]
    fn another_inode_is_another_file() {
        let sample = Sample::new("one\ntwo\n");
        let fingerprint = sample.fingerprint(4);
        let copy = sample.directory.path().join("copy");
        fs::copy(sample.path(), &copy).expect("copies");
        fs::rename(&copy, sample.path()).expect("renames");
        assert!(!sample.is_recognised_by(&fingerprint));
    }

    #[test]
    fn the_position_moves_on_with_the_head_it_has() {
        let sample = Sample::new("one\ntwo\n");
        let fingerprint = sample.fingerprint(0);
        let (file, metadata) = sample.open();
        let moved = fingerprint.moved_to(&file, &metadata, 8).expect("readable");
        assert!(sample.is_recognised_by(&moved));
        assert_eq!(moved, sample.fingerprint(8));
    }
}
