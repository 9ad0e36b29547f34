//! Whether a file that was found is known already: followed under another name, or by the checkpoint. Not what becomes
//! of one that nobody knows.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::Engine;
use super::adopting::{Stranger, feed_of};
use super::kin::may_become_copy;
use crate::logs::batch::FileId;
use crate::logs::delivery::destination::Moment;
use crate::logs::source::open::{OpenError, open_regular};
use crate::logs::source::tailed::Life;

/// Whether a file that was found is known.
pub(super) enum Known {
    /// It is followed from now on, as what the checkpoint knows.
    Here(FileId),
    /// It is followed already, or is about to be under its own name.
    Elsewhere,
    /// Nobody knows it.
    Nowhere,
}

impl Engine {
    pub(super) fn open_file(&mut self, stranger: &Stranger, now: Moment) -> Option<fs::File> {
        let error = match open_regular(&stranger.path) {
            Ok(file) => return Some(file),
            Err(error) => error,
        };
        let named = self.files.finders.get(stranger.table).is_some_and(|finder| finder.names(&stranger.path));
        match error {
            error if error.is_absent() => {}
            OpenError::ForeignLink { .. } | OpenError::NotRegular | OpenError::ForeignName if !named => {
                self.files.passed_over.insert(stranger.path.clone(), error.to_string());
            }
            _ => self.note_unreadable(&stranger.path, &error, error.hint(&stranger.path), now),
        }
        None
    }

    /// Goes on with an opened file that the checkpoint knows, or that is followed already under another name. One that
    /// has several names at once, by links, is one file: it is read once, under the name that it had first.
    pub(super) fn recognise(&mut self, stranger: &Stranger, file: fs::File, now: Moment) -> io::Result<Known> {
        let metadata = file.metadata()?;
        if let Some(id) = self.same_as(&metadata) {
            self.move_to(id, stranger);
            return Ok(Known::Elsewhere);
        }
        let Some(state) = self.files.recognise(&file, &metadata)? else { return Ok(Known::Nowhere) };
        let was_blank = !state.fingerprint.has_content() && metadata.len() > 0;
        if was_blank && may_become_copy(&file, &metadata, &self.kin_of(&stranger.bases))? {
            return Ok(Known::Nowhere);
        }
        let path = Path::new(&state.path);
        let stands = path != stranger.path && fs::metadata(path).is_ok_and(|there| is_same(&there, &metadata));
        if stands && stranger.matched && self.files.table_of(path).is_some() {
            return Ok(Known::Elsewhere);
        }
        self.files.known.remove(&state.id);
        let feed = feed_of(stranger, state.id, state.source.into(), file, state.coverage)?;
        Ok(Known::Here(self.follow(feed, stranger, now)))
    }

    /// The followed file that `metadata` is of, if it can still be read.
    pub(super) fn same_as(&self, metadata: &Metadata) -> Option<FileId> {
        let id = *self.files.by_number.get(&(metadata.dev(), metadata.ino()))?;
        self.feeds.file(id).filter(|file| !file.is_cut() && file.is(metadata)).map(|_| id)
    }

    /// A followed file was renamed to a path that a pattern names, too.
    fn move_to(&mut self, id: FileId, stranger: &Stranger) {
        let Some(file) = self.feeds.file_mut(id).filter(|_| stranger.matched) else { return };
        let stays = file.is_active() && fs::metadata(&file.path).is_ok_and(|metadata| file.is(&metadata));
        if stays {
            return;
        }
        let path: Arc<Path> = stranger.path.as_path().into();
        let before = std::mem::replace(&mut file.path, path.clone());
        file.life = Life::Active;
        if self.files.by_path.get(&before) == Some(&id) {
            self.files.by_path.remove(&before);
        }
        self.files.by_path.insert(path, id);
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}
