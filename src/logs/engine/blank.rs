//! Files that were empty when they were found: what comes to stand in one later may be a copy, written over an empty one.
//! Not how a copy is told (`adopting`).

use std::collections::BTreeSet;
use std::fs;
use std::io;

use super::Engine;
use super::adopting::Stranger;
use super::kin::may_become_copy;
use crate::logs::batch::FileId;
use crate::logs::checkpoint::FileState;
use crate::logs::coverage::Coverage;
use crate::logs::delivery::destination::Moment;
use crate::logs::settings::Table;

impl Engine {
    /// Decides anew about a followed file that was empty so far, if what stands in it now may be a copy: as about one that
    /// was just found. Until that is done it stays known as the empty one that it was, so that no kill loses it.
    pub(super) fn find_anew(&mut self, id: FileId, now: Moment) -> bool {
        let Ok(Some(stranger)) = self.copy_in_blank(id) else { return false };
        let Some(feed) = self.feeds.remove(id) else { return false };
        let Some(file) = feed.file() else { return false };
        self.streams.lose_interest(id);
        self.held.forget(id);
        self.files.grown.remove(&id);
        if self.files.by_path.get(&file.path) == Some(&id) {
            self.files.by_path.remove(&file.path);
        }
        if self.files.by_number.get(&file.number()) == Some(&id) {
            self.files.by_number.remove(&file.number());
        }
        let state = FileState {
            id,
            path: file.path.to_string_lossy().into_owned(),
            source: feed.source.to_string(),
            fingerprint: file.fingerprint,
            coverage: Coverage::from(0),
            size: 0,
            spilled: false,
            finished: false,
        };
        self.files.known.insert(id, state);
        let mut adopted = BTreeSet::new();
        self.settle_strangers(&[stranger], &mut adopted, now);
        self.enlist(&adopted, now);
        true
    }

    /// What a file that was empty so far is found as, if a copy may stand in it now.
    fn copy_in_blank(&self, id: FileId) -> io::Result<Option<Stranger>> {
        let Some(feed) = self.feeds.get(id) else { return Ok(None) };
        let (Some(file), Table::File(table)) = (feed.file().filter(|file| file.is_blank()), feed.table) else {
            return Ok(None);
        };
        let (Some(descriptor), Some(finder)) = (file.file(), self.files.finders.get(table)) else { return Ok(None) };
        let metadata = descriptor.metadata()?;
        // Of one that is elsewhere by now only the descriptor is sure to show what stands in it.
        let stands = fs::symlink_metadata(&file.path).is_ok_and(|there| file.is(&there));
        if metadata.len() == 0 || !stands {
            return Ok(None);
        }
        let (path, matched) = (file.path.to_path_buf(), finder.matches(&file.path));
        let bases = if matched {
            self.bases_of(&path, table)
        } else {
            let names = finder.bases_of(&path).into_iter().chain(finder.undated(&path));
            names.map(|base| base.to_string_lossy().into_owned()).collect()
        };
        let may_be_copy = may_become_copy(descriptor, &metadata, &self.kin_of(&bases))?;
        Ok(may_be_copy.then_some(Stranger { path, table, bases, matched, fresh: true }))
    }
}
