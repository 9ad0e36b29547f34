//! All that is read, by id. Not how it is found: each kind of source has its own file.

use std::collections::BTreeMap;

use crate::logs::batch::FileId;
use crate::logs::checkpoint::Record;
use crate::logs::source::feed::Feed;
use crate::logs::source::tailed::Tailed;

/// All feeds.
#[derive(Debug)]
pub(super) struct Feeds {
    /// Boxed, since a map has room for half as many again as it holds.
    all: BTreeMap<FileId, Box<Feed>>,
    next_id: FileId,
}

impl Feeds {
    /// None yet; ids go on behind those that the checkpoint knows.
    pub(super) fn after(last: Option<FileId>) -> Self {
        // No feed has number 0.
        Self { all: BTreeMap::new(), next_id: last.map_or(1, |id| id + 1) }
    }

    pub(super) fn get(&self, id: FileId) -> Option<&Feed> {
        self.all.get(&id).map(Box::as_ref)
    }

    pub(super) fn get_mut(&mut self, id: FileId) -> Option<&mut Feed> {
        self.all.get_mut(&id).map(Box::as_mut)
    }

    /// The followed file of this id.
    pub(super) fn file(&self, id: FileId) -> Option<&Tailed> {
        self.get(id).and_then(Feed::file)
    }

    /// The followed file of this id.
    pub(super) fn file_mut(&mut self, id: FileId) -> Option<&mut Tailed> {
        self.get_mut(id).and_then(Feed::file_mut)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Feed> {
        self.all.values().map(Box::as_ref)
    }

    /// The followed files, with their feeds.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Feed, &Tailed)> {
        self.all().filter_map(|feed| feed.file().map(|file| (feed, file)))
    }

    /// The id that the next one will have: it and those above it are of what is not known yet.
    pub(super) fn unused_id(&self) -> FileId {
        self.next_id
    }

    /// An id that nothing has.
    pub(super) fn next_id(&mut self) -> FileId {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    pub(super) fn insert(&mut self, feed: Feed) {
        self.all.insert(feed.id, Box::new(feed));
    }

    pub(super) fn remove(&mut self, id: FileId) -> Option<Feed> {
        self.all.remove(&id).map(|feed| *feed)
    }

    /// Forgets everything: another instance begins here.
    pub(super) fn clear(&mut self) {
        self.all.clear();
    }

    /// What the checkpoint is to hold of them.
    pub(super) fn states(&mut self) -> impl Iterator<Item = Record> {
        self.all.values_mut().filter_map(|feed| feed.state())
    }
}
