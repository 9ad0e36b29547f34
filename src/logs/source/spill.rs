//! A copy in the spool of what a file's source will not keep: the rest of a file that was deleted unsent, or a stretch
//! of what a compressed one unpacks to. Not when one is made, nor how much room it may take (the engine's).
//!
//! Invariants: what is copied stands at the offset that it had in the original, with a hole before it, and the bytes by
//! which a file is recognised are there too; so a spill is read, and recognised, as the original would be. A spill with
//! a name belongs to the file whose number is in that name, and is synced before the checkpoint counts on it. What is
//! written is never written over.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::identity::{HEAD, TAIL};
use crate::logs::batch::FileId;
use crate::logs::disk;

/// Where spills are, below the state directory.
const DIRECTORY: &str = "spool/files";

/// How much is copied at once: as much as is read at once.
const BLOCK: usize = 128 * 1024;

/// The directory that holds spills.
#[derive(Clone, Debug)]
pub(crate) struct SpillDirectory(PathBuf);

/// A spill that is being written, and can be read meanwhile.
#[derive(Debug)]
pub(crate) struct Spill {
    file: File,
    /// Behind the last byte that was copied.
    end: u64,
    /// How many bytes were copied.
    bytes: u64,
}

impl SpillDirectory {
    /// The one below `state_dir`; made when it is needed.
    pub(crate) fn below(state_dir: &Path) -> Self {
        Self(state_dir.join(DIRECTORY))
    }

    /// Where the spill of `id` is, if there is one.
    pub(crate) fn path_of(&self, id: FileId) -> PathBuf {
        self.0.join(format!("{id}.spill"))
    }

    /// The spill of `id`, as an earlier run left it.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn reopen(&self, id: FileId) -> io::Result<Spill> {
        let file = OpenOptions::new().read(true).write(true).open(self.path_of(id))?;
        let metadata = file.metadata()?;
        let bytes = metadata.len().min(metadata.blocks() * 512);
        Ok(Spill { file, end: metadata.len(), bytes })
    }

    /// Removes the spill of `id`.
    pub(crate) fn remove(&self, id: FileId) {
        // One that stays behind is swept at the next start.
        let _ = fs::remove_file(self.path_of(id));
    }

    /// Removes what a kill left behind: all but the spills of `keep`. Returns how many bytes that were.
    pub(crate) fn sweep(&self, keep: &BTreeSet<FileId>) -> u64 {
        let kept: BTreeSet<PathBuf> = keep.iter().map(|id| self.path_of(*id)).collect();
        let Ok(entries) = fs::read_dir(&self.0) else { return 0 };
        let mut freed = 0;
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| !kept.contains(path)) {
            let bytes = fs::metadata(&path).map_or(0, |metadata| metadata.len().min(metadata.blocks() * 512));
            if fs::remove_file(path).is_ok() {
                freed += bytes;
            }
        }
        freed
    }

    /// A spill for what `original` holds from `base` on, under the name of `id`.
    ///
    /// # Errors
    /// When it can't be made, or the original can't be read.
    pub(crate) fn begin(&self, id: FileId, original: &File, base: u64) -> io::Result<Spill> {
        let spill = Spill { file: self.create(&self.path_of(id))?, end: base, bytes: 0 };
        let mut head = [0; HEAD];
        let length = usize::try_from(base).unwrap_or(HEAD).min(HEAD);
        original.read_exact_at(&mut head[..length], 0)?;
        let mut tail = [0; TAIL];
        let before = usize::try_from(base).unwrap_or(TAIL).min(TAIL);
        original.read_exact_at(&mut tail[..before], base - before as u64)?;
        spill.mark(&head[..length], &tail[..before])?;
        // A file that is durable without its name is not to be found.
        disk::sync(&File::open(&self.0)?)?;
        Ok(spill)
    }

    /// A spill without a name, which ends with its descriptor, for what follows `tail` at `base` in a file that begins
    /// with `head`.
    ///
    /// # Errors
    /// When it can't be made.
    pub(crate) fn begin_nameless(&self, base: u64, head: &[u8], tail: &[u8]) -> io::Result<Spill> {
        let path = self.0.join("nameless");
        let file = self.create(&path)?;
        fs::remove_file(&path)?;
        let spill = Spill { file, end: base, bytes: 0 };
        spill.mark(&head[..usize::try_from(base).unwrap_or(HEAD).min(head.len())], tail)?;
        Ok(spill)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        // Log data: as private as the state directory's own.
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
    }
}

impl Spill {
    /// By which it is read.
    ///
    /// # Errors
    /// When there are no descriptors any more.
    pub(crate) fn reader(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Behind the last byte that was copied.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// How many bytes were copied.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Copies `bytes` behind those that are there.
    ///
    /// # Errors
    /// When the disk is full, say; what was copied before stands.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.end)?;
        self.end += bytes.len() as u64;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Copies up to `most` bytes of what `original` holds behind those that are there; returns how many.
    ///
    /// # Errors
    /// See [`Spill::append`]; and when the original can't be read.
    pub(crate) fn copy_on(&mut self, original: &File, most: u64) -> io::Result<u64> {
        let mut block = vec![0; BLOCK];
        let mut copied = 0;
        while copied < most {
            let room = usize::try_from(most - copied).unwrap_or(BLOCK).min(BLOCK);
            let got = original.read_at(&mut block[..room], self.end)?;
            if got == 0 {
                break;
            }
            self.append(&block[..got])?;
            copied += got as u64;
        }
        Ok(copied)
    }

    /// Makes what was copied durable: only then may the checkpoint count on it.
    ///
    /// # Errors
    /// When it may never be.
    pub(crate) fn sync(&self) -> io::Result<()> {
        disk::sync(&self.file)
    }

    /// Writes that by which the original is recognised.
    fn mark(&self, head: &[u8], tail: &[u8]) -> io::Result<()> {
        self.file.set_len(self.end)?;
        self.file.write_all_at(head, 0)?;
        self.file.write_all_at(tail, self.end - tail.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::source::identity::Fingerprint;

    fn lines(count: usize) -> Vec<u8> {
        (0..count).flat_map(|line| format!("line {line}\n").into_bytes()).collect()
    }

    fn directory() -> (tempfile::TempDir, SpillDirectory) {
        let state = tempfile::tempdir().expect("a directory");
        let directory = SpillDirectory::below(state.path());
        (state, directory)
    }

    #[test]
    fn a_spill_holds_the_rest_where_it_stood_and_is_recognised_as_the_original() {
        let (state, directory) = directory();
        let content = lines(50_000);
        let path = state.path().join("original");
        fs::write(&path, &content).expect("writable");
        let original = File::open(&path).expect("opens");
        for base in [0, 7, 1000, 1025, 400_000] {
            let fingerprint = Fingerprint::of(&original, &original.metadata().expect("metadata"), base);
            let mut spill = directory.begin(3, &original, base).expect("makes");
            spill.copy_on(&original, u64::MAX).expect("copies");
            let copy = File::open(directory.path_of(3)).expect("opens");
            let metadata = copy.metadata().expect("metadata");
            assert!(fingerprint.expect("readable").content_stands(&copy, metadata.len()).expect("readable"));
            let mut rest = vec![0; content.len() - usize::try_from(base).expect("small")];
            copy.read_exact_at(&mut rest, base).expect("readable");
            assert_eq!(rest, content[usize::try_from(base).expect("small")..]);
            assert_eq!((spill.end(), spill.bytes()), (content.len() as u64, rest.len() as u64));
        }
    }

    #[test]
    fn the_delivered_part_takes_no_room_on_the_disk() {
        let (state, directory) = directory();
        let content = lines(100_000);
        let path = state.path().join("original");
        fs::write(&path, &content).expect("writable");
        let original = File::open(&path).expect("opens");
        let base = content.len() as u64 - 10;
        directory.begin(1, &original, base).expect("makes").copy_on(&original, u64::MAX).expect("copies");
        let metadata = fs::metadata(directory.path_of(1)).expect("is there");
        assert_eq!(metadata.len(), content.len() as u64);
        assert!(metadata.blocks() * 512 <= 32 * 1024, "{}", metadata.blocks());
    }

    #[test]
    fn what_a_kill_left_behind_is_swept_and_what_is_needed_stays() {
        let (state, directory) = directory();
        let path = state.path().join("original");
        fs::write(&path, "one\n").expect("writable");
        let original = File::open(&path).expect("opens");
        for id in [1, 2] {
            directory.begin(id, &original, 0).expect("makes");
        }
        directory.begin_nameless(0, b"", b"").expect("makes");
        assert_eq!(directory.sweep(&BTreeSet::from([2])), 0);
        assert_eq!((directory.path_of(1).exists(), directory.path_of(2).exists()), (false, true));
        assert_eq!(fs::read_dir(state.path().join(DIRECTORY)).expect("readable").count(), 1);
    }
}
