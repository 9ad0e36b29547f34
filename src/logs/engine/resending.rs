//! Dead letters that a person wants to be sent again: found, read, and forgotten when all of them are settled. A source
//! of its own, with an account of its own. Not how letters are moved there (`dead_letters`).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::Engine;
use super::reading::Turn;
use crate::fault::Fault;
use crate::logs::batch::FileId;
use crate::logs::checkpoint::LettersState;
use crate::logs::coverage::{Coverage, Place};
use crate::logs::delivery::destination::Moment;
use crate::logs::source::feed::{Feed, Origin};

impl Engine {
    /// Looks for letters that are to be sent again.
    pub(super) fn find_letters(&mut self, now: Moment) {
        let there = self.books.dead_letters.to_be_sent_again();
        let mut adopted = BTreeSet::new();
        for path in there {
            if !self.feeds.all().any(|feed| feed.letters().is_some_and(|letters| letters.path == path)) {
                adopted.extend(self.adopt_letters(&path));
            }
        }
        self.enlist(&adopted, now);
    }

    fn adopt_letters(&mut self, path: &Path) -> Option<FileId> {
        let (id, coverage) = match self.books.letters_at(path) {
            Some(LettersState { id, coverage, .. }) => (*id, coverage.clone()),
            None => (self.feeds.next_id(), Coverage::from(0)),
        };
        match Feed::of_letters(id, path, coverage) {
            Ok(feed) => {
                self.books.letters_are_followed(id);
                self.books.account(&feed.source);
                self.feeds.insert(feed);
                self.warnings.remove("letters_unreadable");
                Some(id)
            }
            Err(error) => {
                let message = format!("letters to be sent again can't be read: {}: {error}", path.display());
                self.set_warning("letters_unreadable", Some(message), "let the service's user read that file");
                None
            }
        }
    }

    /// Reads letters into a batch of their own, since they bring their own times; returns how much, and what is next.
    pub(super) fn read_letters(&mut self, index: usize, id: FileId, limit: usize, now: Moment) -> (u64, Turn) {
        let Some(feed) = self.feeds.get_mut(id) else { return (0, Turn::Read) };
        let Origin::Letters(letters) = &feed.origin else { return (0, Turn::Read) };
        let batch = match letters.batch(id, feed.coverage.next(), limit, &self.pool) {
            Ok(batch) => batch,
            Err(error) => {
                let message = format!("'{}' can't be read: {error}", letters.path.display());
                feed.fault = Some(Box::new(Fault { at: now.wall, message, hint: None }));
                return (0, Turn::Read);
            }
        };
        let Some(segment) = batch.last_segment(id).filter(|segment| segment.bytes > 0) else {
            feed.reached_end();
            return (0, Turn::Read);
        };
        let read = segment.count();
        feed.coverage.take(segment.start, Place { offset: segment.end, parts: 0 });
        self.books.account(&feed.source).read(read);
        let destination = &mut self.streams.activate(index).destination;
        destination.account.read(read);
        destination.enqueue(batch, now);
        (read.bytes, Turn::Over)
    }

    /// A file of letters is settled: nobody needs it any more. It goes before it is forgotten, so that it is not found
    /// again as a new one.
    pub(super) fn throw_away(&mut self, feed: &Feed) {
        let Some(letters) = feed.letters() else { return };
        if let Err(error) = fs::remove_file(&letters.path) {
            let message = format!("'{}' can't be deleted: {error}", letters.path.display());
            self.set_warning("letters_not_deleted", Some(message), "delete it, or it is sent again at the next start");
        }
        // The last one of a move takes the directory along.
        if let Some(directory) = letters.path.parent() {
            let _ = fs::remove_dir(directory);
        }
    }
}
