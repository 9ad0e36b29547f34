//! Which files there are: found by pattern, recognised from the checkpoint, followed through renames. Not what is read
//! of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use inotify::Inotify;

use super::books::Known;
use super::{Engine, SURVEY_INTERVAL};
use crate::fault::Fault;
use crate::logs::batch::FileId;
use crate::logs::checkpoint::FileState;
use crate::logs::coverage::Coverage;
use crate::logs::delivery::destination::Moment;
use crate::logs::ledger::{Count, Reason};
use crate::logs::settings::Table;
use crate::logs::source::discover::{Finder, Found, siblings};
use crate::logs::source::feed::Feed;
use crate::logs::source::open::open_regular;
use crate::logs::source::tailed::{Life, Look, Tailed};
use crate::logs::source::watch::{Change, RawChange, Watcher};
use crate::logs::{Settings, StartAt};

/// A file that is older than this when the checkpoint is written is in it, or was not of interest: surveys are more
/// frequent by far, even of a slow disk.
const LONGEST_UNSEEN: Duration = Duration::from_mins(1);

/// Open files, by id.
pub(crate) type OpenFiles = BTreeMap<FileId, fs::File>;

/// Which files are followed, and where.
#[derive(Debug)]
pub(super) struct Files {
    finders: Vec<Finder>,
    watcher: Option<Watcher>,
    by_path: HashMap<PathBuf, FileId>,
    /// What the checkpoint knows and was not found yet.
    known: BTreeMap<FileId, FileState>,
    is_new: bool,
    written_at: Option<SystemTime>,
    surveyed: bool,
    /// Descriptors that an engine before this one left: by them files are read to their end that have no name any more.
    inherited: OpenFiles,
    /// What a pattern names and can't be followed.
    pub(super) unreadable: BTreeMap<PathBuf, Fault>,
}

impl Files {
    pub(super) fn new(settings: &Settings, inotify: Option<&Inotify>, known: Known) -> Self {
        // `config` has checked the patterns; one that still is no glob finds nothing.
        let finders = settings.files.iter().filter_map(|table| Finder::new(table).ok()).collect();
        Self {
            finders,
            watcher: inotify.map(Watcher::new),
            by_path: HashMap::new(),
            known: known.files,
            is_new: known.is_new,
            written_at: known.written_at,
            surveyed: false,
            inherited: OpenFiles::new(),
            unreadable: BTreeMap::new(),
        }
    }

    /// Forgets everything: another instance begins here.
    pub(super) fn begin_anew(&mut self) {
        self.by_path.clear();
        self.known.clear();
        self.is_new = true;
        self.surveyed = false;
    }

    pub(super) fn inherit(&mut self, files: OpenFiles) {
        self.inherited = files;
    }

    pub(super) fn resolve(&mut self, change: &RawChange) -> Option<Change> {
        self.watcher.as_mut()?.resolve(change)
    }

    pub(super) fn at(&self, path: &Path) -> Option<FileId> {
        self.by_path.get(path).copied()
    }

    /// What the checkpoint knows and was not found yet.
    pub(super) fn known(&self) -> impl Iterator<Item = &FileState> {
        self.known.values()
    }

    /// Why directories are only looked at from time to time, if some are.
    pub(super) fn watch_problem(&self) -> Option<String> {
        match &self.watcher {
            Some(watcher) => watcher.problem(),
            None => Some("inotify is not to be had".to_owned()),
        }
    }

    /// What the checkpoint knows of this file.
    fn recognise(&self, file: &fs::File, metadata: &Metadata) -> io::Result<Option<FileState>> {
        for state in self.known.values().filter(|state| state.fingerprint.inode() == metadata.ino()) {
            if state.fingerprint.recognises(file, metadata)? {
                return Ok(Some(state.clone()));
            }
        }
        Ok(None)
    }

    /// Where to begin in a file that nobody knows.
    fn beginning(&self, start_at: StartAt, metadata: &Metadata) -> u64 {
        let born = metadata.created().ok();
        let unseen = self.written_at.and_then(|written| written.checked_sub(LONGEST_UNSEEN));
        let appeared_later =
            self.surveyed || (!self.is_new && born.zip(unseen).is_some_and(|(born, unseen)| born >= unseen));
        let at_end = match start_at {
            StartAt::Beginning => false,
            StartAt::Auto => !self.is_new && !appeared_later,
            StartAt::End => !appeared_later,
        };
        if at_end { metadata.len() } else { 0 }
    }
}

impl Engine {
    /// Looks around: follows what is new, notices what left.
    pub(super) fn survey(&mut self, now: Moment) {
        self.survey_at = now.boot + SURVEY_INTERVAL;
        let mut found = Found::default();
        for (table, finder) in self.files.finders.iter().enumerate() {
            finder.look(table, &mut found);
        }
        if let Some(watcher) = &mut self.files.watcher {
            watcher.watch(&found.directories);
        }
        self.files.unreadable.retain(|path, _| found.files.contains_key(path));
        let mut adopted = BTreeSet::new();
        self.let_go_of_the_vanished(&found, now);
        for (path, table) in &found.files {
            self.visit(path, *table, &mut adopted, now);
        }
        if !self.files.surveyed {
            self.find_rotated(&mut adopted, now);
            self.files.surveyed = true;
        }
        self.warn_of_survey(&found);
        self.enlist(&adopted, now);
    }

    /// Writes down the files that were just adopted, before anything is read of them, and looks at them.
    fn enlist(&mut self, adopted: &BTreeSet<FileId>, now: Moment) {
        let feeds = self.feeds.all_mut().filter(|feed| adopted.contains(&feed.id));
        let states: Vec<_> = feeds.filter_map(|feed| feed.state().map(|state| (feed.source.clone(), state))).collect();
        if !states.is_empty()
            && let Err(error) = self.books.write(states)
        {
            self.warn_of_checkpoint(&error);
        }
        for &id in adopted {
            self.look(id, now);
        }
    }

    fn let_go_of_the_vanished(&mut self, found: &Found, now: Moment) {
        let vanished: Vec<PathBuf> =
            self.files.by_path.keys().filter(|path| !found.files.contains_key(*path)).cloned().collect();
        for path in vanished {
            self.let_go(&path, now);
        }
    }

    /// The file at `path` is no longer there.
    fn let_go(&mut self, path: &Path, now: Moment) {
        if let Some(file) = self.files.by_path.remove(path).and_then(|id| self.feeds.file_mut(id)) {
            file.leave(now.boot);
        }
    }

    /// A path that a pattern names: still the file we follow, or another one.
    fn visit(&mut self, path: &Path, table: usize, adopted: &mut BTreeSet<FileId>, now: Moment) {
        if let Some(id) = self.files.at(path) {
            let same =
                fs::metadata(path).is_ok_and(|metadata| self.feeds.file(id).is_some_and(|file| file.is(&metadata)));
            if same {
                return self.look(id, now);
            }
            self.let_go(path, now);
        }
        self.adopt(path, table, Life::Active, adopted, now);
    }

    /// Follows the file at `path` from where it is known to be done, or from its beginning or end.
    fn adopt(&mut self, path: &Path, table: usize, life: Life, adopted: &mut BTreeSet<FileId>, now: Moment) {
        let file = match open_regular(path) {
            Ok(file) => file,
            Err(error) if error.is_absent() => return,
            Err(error) => return self.note_unreadable(path, &error, error.hint(path), now),
        };
        match self.admit(path, table, life, file) {
            Ok(Some(id)) => {
                self.files.unreadable.remove(path);
                adopted.insert(id);
            }
            Ok(None) => {}
            Err(error) => self.note_unreadable(path, &error, None, now),
        }
    }

    /// Takes an opened file in; `None` when it was followed already.
    fn admit(&mut self, path: &Path, table: usize, life: Life, file: fs::File) -> io::Result<Option<FileId>> {
        let metadata = file.metadata()?;
        if let Some(id) = self.same_as(&metadata) {
            self.move_to(id, path, life);
            return Ok(None);
        }
        let known = self.files.recognise(&file, &metadata)?;
        let (id, source, coverage): (_, Arc<str>, _) = if let Some(state) = known {
            (state.id, state.source.into(), state.coverage)
        } else {
            let source: Arc<str> = path.to_string_lossy().into();
            // What stands at the place of a file that was followed, and is not that file any more, appeared later.
            let followed = self.books.accounts().contains_key(&source);
            let start = self.settings.files[table].start_at;
            let offset = if followed { 0 } else { self.files.beginning(start, &metadata) };
            (self.feeds.next_id(), source, Coverage::from(offset))
        };
        let mut feed = Feed::of_file(id, path.to_owned(), source.clone(), Table::File(table), file, coverage)?;
        if let Some(file) = feed.file_mut() {
            file.life = life;
        }
        self.books.account(&source);
        self.files.known.remove(&id);
        self.feeds.insert(feed);
        if life == Life::Active {
            self.files.by_path.insert(path.to_owned(), id);
        }
        Ok(Some(id))
    }

    /// The followed file that `metadata` is of, if it can still be read.
    fn same_as(&self, metadata: &Metadata) -> Option<FileId> {
        let same = |file: &Tailed| !file.is_cut() && file.is(metadata);
        self.feeds.files().find(|(_, file)| same(file)).map(|(feed, _)| feed.id)
    }

    /// A followed file was renamed to a path that a pattern names, too.
    fn move_to(&mut self, id: FileId, path: &Path, life: Life) {
        let Some(file) = self.feeds.file_mut(id) else { return };
        if life == Life::Active && !file.is_active() {
            path.clone_into(&mut file.path);
            file.life = Life::Active;
            self.files.by_path.insert(path.to_owned(), id);
        }
    }

    /// Files that were renamed while nobody looked, to a name that no pattern matches, or deleted: read to their end,
    /// then left.
    fn find_rotated(&mut self, adopted: &mut BTreeSet<FileId>, now: Moment) {
        let mut inherited = std::mem::take(&mut self.files.inherited);
        let missing: Vec<FileState> = self.files.known.values().cloned().collect();
        for state in missing {
            let Some(table) = self.table_of(&state.source) else { continue };
            let life = Life::Leaving { quiet_since: now.boot };
            if let Some(file) = inherited.remove(&state.id)
                && let Ok(Some(id)) = self.admit(Path::new(&state.path), table, life, file)
            {
                adopted.insert(id);
                continue;
            }
            for path in siblings(Path::new(&state.source)) {
                let same = fs::metadata(&path).is_ok_and(|metadata| metadata.ino() == state.fingerprint.inode());
                if same {
                    self.adopt(&path, table, life, adopted, now);
                }
            }
        }
    }

    /// The table whose patterns name a source.
    fn table_of(&self, source: &str) -> Option<usize> {
        self.files.finders.iter().position(|finder| finder.matches(Path::new(source)))
    }

    /// Looks at one feed: is there more to read, or was it cut off?
    pub(super) fn look(&mut self, id: FileId, now: Moment) {
        let Some(feed) = self.feeds.get_mut(id).filter(|feed| feed.can_be_read_again()) else { return };
        match feed.look(now.boot) {
            Ok(Look::Unread) => self.want(id, now),
            Ok(Look::AtEnd) if feed.is_complete(now.boot) && feed.unread_bytes() > 0 => {
                feed.unread();
                self.want(id, now);
            }
            Ok(Look::AtEnd) => {}
            Ok(Look::CutOff) => self.cut_off(id, now),
            Err(error) => {
                feed.fault = Some(Fault { at: now.wall, message: error.to_string(), hint: None });
            }
        }
    }

    /// A file was truncated, or rewritten: what was not read of it is a gap, and what stands there now is a new file.
    fn cut_off(&mut self, id: FileId, now: Moment) {
        let Some(feed) = self.feeds.get_mut(id) else { return };
        let gap = Count { events: 0, bytes: feed.unread_bytes() };
        let (source, table) = (feed.source.clone(), feed.table);
        let (Some(file), Table::File(table)) = (feed.file_mut(), table) else { return };
        let (path, was_active) = (file.path.clone(), file.is_active());
        file.life = Life::Cut;
        tracing::info!(path = %path.display(), unread_bytes = gap.bytes, "file was truncated, reading it from its beginning");
        if gap.bytes > 0 {
            self.books.account(&source).lose(Reason::Gap, gap);
        }
        self.files.by_path.remove(&path);
        if was_active {
            let mut adopted = BTreeSet::new();
            self.adopt(&path, table, Life::Active, &mut adopted, now);
            self.enlist(&adopted, now);
        }
    }

    fn note_unreadable(&mut self, path: &Path, error: &dyn std::error::Error, hint: Option<String>, now: Moment) {
        let message = format!("'{}' can't be followed: {error}", path.display());
        let fault = Fault { at: now.wall, message, hint };
        if self.files.unreadable.get(path).is_none_or(|before| before.message != fault.message) {
            tracing::warn!(error = fault.message, "passing over a file");
        }
        self.files.unreadable.insert(path.to_owned(), fault);
    }

    /// What is no longer at its place, or was cut, and is not done with yet.
    pub(super) fn leaving(&self) -> Vec<FileId> {
        self.feeds.all().filter(|feed| !feed.is_active()).map(|feed| feed.id).collect()
    }

    /// Files that left, were read to their end and are settled are no longer of interest.
    pub(super) fn forget_finished(&mut self, now: Moment) {
        for id in self.leaving() {
            if !self.is_finished(id, now) {
                continue;
            }
            self.feeds.remove(id);
            self.streams.lose_interest(id);
            if let Err(error) = self.books.forget(id) {
                self.warn_of_checkpoint(&error);
            }
        }
    }

    fn is_finished(&self, id: FileId, now: Moment) -> bool {
        self.feeds.get(id).is_some_and(|feed| {
            let read = !feed.can_be_read_again() || feed.unread_bytes() == 0;
            read && feed.is_complete(now.boot) && feed.coverage.is_settled()
        })
    }
}
