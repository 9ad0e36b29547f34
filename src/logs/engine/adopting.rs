//! What becomes of a file that was just found: one that is known, a copy of one of those, or a new one. Not how it was
//! found, nor how it is known again.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::kin::may_become_copy;
use super::recognising::Known;
use crate::fault::Fault;
use crate::logs::batch::FileId;
use crate::logs::coverage::Coverage;
use crate::logs::delivery::destination::Moment;
use crate::logs::ledger::{Count, Reason};
use crate::logs::settings::Table;
use crate::logs::source::backfill::next_line;
use crate::logs::source::feed::Feed;
use crate::logs::source::gzip::is_packed;
use crate::logs::source::rotated::Rotated;
use crate::logs::source::tailed::Life;

/// A file beside a followed one that may be a copy of it, still being made, is looked at again so soon: it is decided
/// about when it did not grow meanwhile.
pub(super) const COPY_PAUSE: Duration = Duration::from_secs(1);

/// No gzip file is shorter: its header is. What has the name of one and is shorter is being written.
const SHORTEST_PACKED: u64 = 10;

/// A file that was found and is not known by its inode.
#[derive(Clone, Debug)]
pub(super) struct Stranger {
    pub(super) path: PathBuf,
    /// The table that means it, or its base.
    pub(super) table: usize,
    /// Sources of whose names its own is an extension: it may be a rotated file of theirs, or a copy of one.
    pub(super) bases: Vec<String>,
    /// Whether a pattern names it; else only its base.
    pub(super) matched: bool,
    /// Whether it was never there when files were looked for: it is read from its beginning, if nobody knows it.
    pub(super) fresh: bool,
}

impl Engine {
    /// A file that no pattern names, but whose name says that it is a rotated one.
    pub(super) fn visit_rotated(
        &mut self,
        path: &Path,
        rotated: &Rotated,
        adopted: &mut BTreeSet<FileId>,
        now: Moment,
    ) -> Option<Stranger> {
        let metadata = fs::symlink_metadata(path).ok().filter(Metadata::is_file)?;
        if let Some(id) = self.same_as(&metadata) {
            self.files.unsettled.remove(path);
            self.note_new_name(id, path, &metadata, now);
            return None;
        }
        self.files.forget_replaced(path, &metadata);
        let known = self.files.is_wanted(metadata.ino());
        let names = rotated.base.iter().chain(&rotated.undated);
        let bases: Vec<String> = names.map(|base| base.to_string_lossy().into_owned()).collect();
        let kin = self.kin_of(&bases);
        let is_kin = kin.iter().any(|kin| kin.sought);
        let says_little = rotated.base.is_none() && rotated.undated.is_some();
        let fresh = !says_little && self.is_fresh(path, &metadata);
        // A finished file that somebody has written to since.
        let went_on = kin.iter().any(|kin| kin.fingerprint.inode() == metadata.ino() && kin.size < metadata.len());
        if !known && !is_kin && !went_on && !fresh && !self.files.unsettled.contains_key(path) {
            return None;
        }
        let (path, table) = (path.to_owned(), rotated.table);
        let stranger = Stranger { path, table, bases, matched: false, fresh };
        self.adopt(stranger, adopted, now)
    }

    /// Whether a file that nobody knows was never there when files were looked for.
    fn is_fresh(&self, path: &Path, metadata: &Metadata) -> bool {
        // One of ours that was cut, written to and renamed while nobody looked: what stands in it now was never seen.
        let was_cut = self.files.known.values().any(|state| state.fingerprint.is_of_file(metadata));
        was_cut || self.files.unsettled.get(path).map_or_else(|| self.files.is_fresh(metadata), |waiting| waiting.fresh)
    }

    /// A followed file has a name now that no pattern means.
    fn note_new_name(&mut self, id: FileId, path: &Path, metadata: &Metadata, now: Moment) {
        let Some(feed) = self.feeds.get_mut(id) else { return };
        let changed = !feed.is_unchanged(metadata);
        let Some(file) = feed.file_mut().filter(|file| !file.is_active()) else { return };
        file.path = path.into();
        if changed && file.file().is_none() {
            self.look_at(id, now);
        }
    }

    /// Follows a file that is known; others come back.
    pub(super) fn adopt(
        &mut self,
        stranger: Stranger,
        adopted: &mut BTreeSet<FileId>,
        now: Moment,
    ) -> Option<Stranger> {
        let file = self.open_file(&stranger, now)?;
        match self.recognise(&stranger, file, now) {
            Ok(Known::Here(id)) => {
                self.files.unreadable.remove(&stranger.path);
                adopted.insert(id);
                None
            }
            Ok(Known::Elsewhere) => None,
            Ok(Known::Nowhere) => Some(stranger),
            Err(error) => {
                self.note_unreadable(&stranger.path, &error, None, now);
                None
            }
        }
    }

    /// Takes a feed in, at its place or as one that left it.
    pub(super) fn follow(&mut self, mut feed: Feed, stranger: &Stranger, now: Moment) -> FileId {
        let id = feed.id;
        let active = stranger.matched && self.files.at(&stranger.path).is_none();
        if let Some(file) = feed.file_mut() {
            file.life = if active { Life::Active } else { Life::Leaving { quiet_since: now.boot } };
            self.files.by_number.insert(file.number(), id);
            if active {
                self.files.by_path.insert(file.path.clone(), id);
            }
        }
        self.books.account(&feed.source);
        self.feeds.insert(feed);
        self.note_open(id);
        id
    }

    /// Decides about files that are not known by their inode.
    pub(super) fn settle_strangers(&mut self, strangers: &[Stranger], adopted: &mut BTreeSet<FileId>, now: Moment) {
        for stranger in strangers {
            match self.settle_stranger(stranger, now) {
                Ok(id) => adopted.extend(id),
                Err(error) => self.note_unreadable(&stranger.path, &error, None, now),
            }
        }
    }

    fn settle_stranger(&mut self, stranger: &Stranger, now: Moment) -> io::Result<Option<FileId>> {
        let Some(file) = self.open_file(stranger, now) else { return Ok(None) };
        let metadata = file.metadata()?;
        if self.same_as(&metadata).is_some() {
            // Another name of it was found first.
            return Ok(None);
        }
        if is_packed(&file)? {
            if !self.files.archives.add(stranger.clone(), &metadata)? {
                self.is_quiet(stranger, &metadata, now)?;
            }
            return Ok(None);
        }
        let kin = self.kin_of(&stranger.bases);
        let is_new = !stranger.bases.is_empty() && self.files.surveyed;
        let is_stub = is_beginning_of_archive(stranger, &metadata);
        let unfinished = is_stub || (is_new && may_become_copy(&file, &metadata, &kin)?);
        if unfinished && !self.is_quiet(stranger, &metadata, now)? {
            self.survey_soon(COPY_PAUSE, now);
            return Ok(None);
        }
        if is_stub {
            // However long it stays so: what will stand there is no text.
            return Ok(None);
        }
        let sought = kin.iter().any(|kin| kin.sought);
        if self.is_decided(stranger, &metadata)? && !sought {
            return Ok(None);
        }
        self.decide(stranger, &metadata, now)?;
        for kin in kin {
            if !kin.fingerprint.content_stands(&file, metadata.len())? {
                continue;
            }
            let same = kin.fingerprint.inode() == metadata.ino();
            if kin.sought {
                return self.go_on_in_copy(kin.id, stranger, file, now);
            }
            if metadata.len() <= kin.size {
                return self.pass_over_copy(stranger, file, &metadata, now);
            }
            if (same || kin.fingerprint.is_telling()) && self.feeds.get(kin.id).is_none() {
                return self.follow_from(kin.size, stranger, file, now);
            }
        }
        self.follow_new(stranger, file, &metadata, now)
    }

    /// A file that was finished goes on, or a copy of it does.
    fn follow_from(
        &mut self,
        offset: u64,
        stranger: &Stranger,
        file: fs::File,
        now: Moment,
    ) -> io::Result<Option<FileId>> {
        let (id, source) = (self.feeds.next_id(), source_of(stranger));
        let feed = feed_of(stranger, id, source, file, Coverage::from(offset))?;
        Ok(Some(self.follow(feed, stranger, now)))
    }

    /// The rest of a file that was cut, or is nowhere else to be found, stands in a copy of it.
    fn go_on_in_copy(
        &mut self,
        id: FileId,
        stranger: &Stranger,
        file: fs::File,
        now: Moment,
    ) -> io::Result<Option<FileId>> {
        tracing::info!(path = %stranger.path.display(), "going on in a copy of a file that is gone");
        if let Some(state) = self.files.known.remove(&id) {
            let feed = feed_of(stranger, id, state.source.into(), file, state.coverage)?;
            return Ok(Some(self.follow(feed, stranger, now)));
        }
        let Some(feed) = self.feeds.get_mut(id) else { return Ok(None) };
        let position = feed.coverage.low().offset;
        feed.unread();
        let Some(tailed) = feed.file_mut() else { return Ok(None) };
        tailed.continue_in(file, position)?;
        tailed.path = stranger.path.as_path().into();
        tailed.life = Life::Leaving { quiet_since: now.boot };
        self.files.by_number.insert(tailed.number(), id);
        self.note_open(id);
        Ok(Some(id))
    }

    /// All that a copy holds is read elsewhere. One that a pattern names is followed from its end on, so that it is known
    /// from now on.
    pub(super) fn pass_over_copy(
        &mut self,
        stranger: &Stranger,
        file: fs::File,
        metadata: &Metadata,
        now: Moment,
    ) -> io::Result<Option<FileId>> {
        tracing::debug!(path = %stranger.path.display(), "passing over a copy of a file that is read");
        if !stranger.matched {
            return Ok(None);
        }
        let id = self.feeds.next_id();
        let source = stranger.path.to_string_lossy().into();
        let feed = feed_of(stranger, id, source, file, Coverage::from(metadata.len()))?;
        Ok(Some(self.follow(feed, stranger, now)))
    }

    /// Follows a file that nobody knows, if it is one that is to be followed.
    fn follow_new(
        &mut self,
        stranger: &Stranger,
        file: fs::File,
        metadata: &Metadata,
        now: Moment,
    ) -> io::Result<Option<FileId>> {
        let Some((source, offset)) = self.start_of(stranger, &file, metadata)? else { return Ok(None) };
        let id = self.feeds.next_id();
        let feed = feed_of(stranger, id, source, file, Coverage::from(offset))?;
        self.files.unreadable.remove(&stranger.path);
        // It is known by its inode from here on.
        self.files.unsettled.remove(&stranger.path);
        Ok(Some(self.follow(feed, stranger, now)))
    }

    /// Whose account a new file is on, and where it begins; `None` if it is of no interest.
    fn start_of(
        &mut self,
        stranger: &Stranger,
        file: &fs::File,
        metadata: &Metadata,
    ) -> io::Result<Option<(Arc<str>, u64)>> {
        let source = source_of(stranger);
        if !stranger.matched {
            return Ok(stranger.fresh.then_some((source, 0)));
        }
        // What stands at the place of a file that was followed, and is not that file any more, appeared later.
        if self.books.accounts().contains_key(&source) {
            return Ok(Some((source, 0)));
        }
        let Some(table) = self.settings.files.get(stranger.table) else { return Ok(None) };
        let limit = table.backfill_limit;
        let (offset, was_there) = self.files.beginning(table, &stranger.path, metadata);
        let (size, path) = (metadata.len(), &stranger.path);
        if !was_there || size - offset.min(size) <= limit {
            return Ok(Some((source, offset)));
        }
        let start = next_line(file, size - limit)?;
        self.books.account(&source).lose(Reason::Gap, Count { events: 0, bytes: start });
        let message = format!("of '{}' the first {start} bytes were not read, by `backfill_limit`", path.display());
        let hint =
            "raise `backfill_limit`, and remove the state of this agent to begin anew; or be content with what is new";
        self.set_warning("backfill_limited", Some(message), hint);
        Ok(Some((source, start)))
    }

    pub(super) fn note_unreadable(
        &mut self,
        path: &Path,
        error: &dyn std::error::Error,
        hint: Option<String>,
        now: Moment,
    ) {
        let message = format!("'{}' can't be followed: {error}", path.display());
        let fault = Fault { at: now.wall, message, hint };
        if self.files.unreadable.get(path).is_none_or(|before| before.message != fault.message) {
            tracing::warn!(error = fault.message, "passing over a file");
        }
        self.files.unreadable.insert(path.to_owned(), fault);
    }
}

/// Whether it has the name of a compressed file, and is too short for one.
fn is_beginning_of_archive(stranger: &Stranger, metadata: &Metadata) -> bool {
    metadata.len() < SHORTEST_PACKED && stranger.path.extension().is_some_and(|extension| extension == "gz")
}

/// The feed of a stranger's file.
pub(super) fn feed_of(
    stranger: &Stranger,
    id: FileId,
    source: Arc<str>,
    file: fs::File,
    coverage: Coverage,
) -> io::Result<Feed> {
    Feed::of_file(id, stranger.path.clone(), source, Table::File(stranger.table), file, coverage)
}

/// The source that a new file belongs to: its own path, or the name that it had before it was rotated.
pub(super) fn source_of(stranger: &Stranger) -> Arc<str> {
    match stranger.bases.first() {
        Some(base) if !stranger.matched => base.as_str().into(),
        _ => stranger.path.to_string_lossy().into(),
    }
}
