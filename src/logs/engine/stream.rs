//! One stream and the files that are read for it, in turn. Not which stream's turn it is (`streams`), nor what it does with
//! a batch (`delivery::destination`).

use std::collections::{BTreeSet, VecDeque};

use crate::logs::batch::FileId;
use crate::logs::delivery::destination::Destination;

/// A stream and the files that go to it.
#[derive(Debug)]
pub(super) struct Stream {
    /// What it does with batches.
    pub(super) destination: Box<Destination>,
    /// Its files with unread data, in the order in which they are read.
    unread: VecDeque<FileId>,
    /// The same files, for finding out quickly.
    is_unread: BTreeSet<FileId>,
    /// Whether it stands in the queue.
    pub(super) queued: bool,
}

impl Stream {
    /// A stream that nothing is to be read for.
    pub(super) fn new(destination: Destination) -> Self {
        let (unread, is_unread) = (VecDeque::new(), BTreeSet::new());
        Self { destination: Box::new(destination), unread, is_unread, queued: false }
    }

    /// The file to be read next.
    pub(super) fn next_file(&self) -> Option<FileId> {
        self.unread.front().copied()
    }

    /// The file that was read last was read to its end.
    pub(super) fn file_is_read(&mut self) {
        if let Some(file) = self.unread.pop_front() {
            self.is_unread.remove(&file);
        }
        if self.unread.is_empty() {
            // Of thousands of streams few have something to read: the others keep no room for it.
            self.forget_all();
        }
    }

    /// The file that was read last goes on when the others had their turn.
    pub(super) fn file_waits(&mut self) {
        self.unread.rotate_left(1);
    }

    /// The same, where the file has left its place: those that `is_kin` says are of the same log came to be after it, so
    /// they wait behind it.
    pub(super) fn file_waits_with(&mut self, is_kin: impl Fn(FileId) -> bool) {
        let (kin, others): (Vec<FileId>, Vec<FileId>) = self.unread.drain(..).partition(|file| is_kin(*file));
        self.unread.extend(others.into_iter().chain(kin));
    }

    /// `file` has unread data.
    pub(super) fn want(&mut self, file: FileId) {
        if self.is_unread.insert(file) {
            self.unread.push_back(file);
        }
    }

    /// Nothing more is to be read of `file` for it.
    pub(super) fn forget(&mut self, file: FileId) {
        if self.is_unread.remove(&file) {
            self.unread.retain(|other| *other != file);
        }
    }

    /// Nothing is to be read for it.
    pub(super) fn forget_all(&mut self) {
        (self.unread, self.is_unread) = (VecDeque::new(), BTreeSet::new());
    }
}
