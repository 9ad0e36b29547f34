//! What is known of files besides what is read of them: where they are, what the checkpoint said, which are open. Not
//! what is done about it (`survey`, `adopting`, `archives`, `keeping`, `ending`).

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::archives::Archives;
use super::books::Known;
use super::keeping::most_open;
use crate::fault::Fault;
use crate::logs::batch::FileId;
use crate::logs::checkpoint::FileState;
use crate::logs::settings::{FileSettings, Settings, StartAt};
use crate::logs::source::discover::{Finder, Walk};
use crate::logs::source::identity::{Fingerprint, birth};
use crate::logs::source::spill::SpillDirectory;
use crate::logs::source::watch::{Change, Ears, RawChange, Watcher};

/// A file that is older than this when the checkpoint is written is in it, or was not of interest: surveys are more
/// frequent by far, even of a slow disk.
const LONGEST_UNSEEN: Duration = Duration::from_mins(1);

/// How many finished files of a source are remembered: a rotation compresses the last one, or the one before it; and
/// after an absence all generations of some days end at once, which would be read again if they were forgotten.
const REMEMBERED: usize = 12;

/// How many are remembered of all sources: 64 bytes each.
const REMEMBERED_OF_ALL: usize = 4096;

/// A file that somebody may still be writing a copy into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unsettled {
    /// Which file it is: the next rotation puts another one at its path.
    pub(super) inode: u64,
    pub(super) born: Option<SystemTime>,
    pub(super) size: u64,
    pub(super) modified: SystemTime,
    /// Since when it has been so, by the boot-time clock.
    pub(super) since: Duration,
    /// Whether it was never there before.
    pub(super) fresh: bool,
    /// Whether it was decided about, and only a change brings it up again; or nobody waits for one any more.
    pub(super) decided: bool,
}

/// A finished file: by what a copy of it is recognised.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) id: FileId,
    pub(super) fingerprint: Fingerprint,
    pub(super) size: u64,
}

/// Which files are followed, and where.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) finders: Vec<Finder>,
    pub(super) watcher: Option<Watcher>,
    /// A look around that is not over yet.
    pub(super) walk: Option<Walk>,
    /// When it began, and by the boot-time clock.
    pub(super) look_began: (SystemTime, Duration),
    /// What was born since was perhaps never seen: when the last but one whole look began. What is renamed during a look
    /// can be missed under either name.
    pub(super) looked_at: Option<SystemTime>,
    /// When the last whole one of this process began.
    last_look: Option<SystemTime>,
    /// Before this time no hint makes us look again: looking costs too much.
    pub(super) look_not_before: Duration,
    pub(super) by_path: HashMap<Arc<Path>, FileId>,
    /// By device and inode. An entry counts only if its file still says so.
    pub(super) by_number: HashMap<(u64, u64), FileId>,
    /// What the checkpoint knows and was not found yet.
    pub(super) known: BTreeMap<FileId, FileState>,
    /// Finished files by source, the oldest first.
    ended: BTreeMap<Arc<str>, VecDeque<Ended>>,
    ended_count: usize,
    is_new: bool,
    written_at: Option<SystemTime>,
    /// Whether all was looked at once.
    pub(super) surveyed: bool,
    /// What files were looked for by when all was looked at last, if that was by other patterns.
    looked_by: Option<Vec<Finder>>,
    /// Files that somebody may still be writing a copy into, as they were at the last look.
    pub(super) unsettled: BTreeMap<PathBuf, Unsettled>,
    /// Compressed files that are to be recognised.
    pub(super) archives: Archives,
    /// Files that are open, in the order in which they were opened. An entry counts only if its file is open.
    pub(super) open: VecDeque<FileId>,
    /// How many of them there may be.
    pub(super) most_open: usize,
    pub(super) spills: SpillDirectory,
    /// How many bytes of the spool were freed at the start.
    pub(super) swept: u64,
    /// What a pattern names and can't be followed.
    pub(super) unreadable: BTreeMap<PathBuf, Fault>,
    /// Directories that can't be read.
    pub(super) hidden: BTreeSet<PathBuf>,
    /// What only a wildcard names and is not to be followed, with the reason.
    pub(super) passed_over: BTreeMap<PathBuf, String>,
    /// Files that grew since the checkpoint heard of them: what is lost of them, if they are, has to be known.
    pub(super) grown: BTreeSet<FileId>,
    /// How many files were made at a log's path, and were no longer there when they were to be met.
    pub(super) astray: BTreeMap<PathBuf, u64>,
    /// Up to which file was polled.
    pub(super) poll_from: FileId,
}

impl Files {
    pub(super) fn new(settings: &Settings, ears: Option<&Ears>, known: Known, spills: SpillDirectory) -> Self {
        let finders = finders_of(settings);
        let looked_at = known.looked_at.map(|nanos| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos));
        let mut files = Self {
            finders,
            watcher: ears.map(Watcher::new),
            walk: None,
            look_began: (SystemTime::UNIX_EPOCH, Duration::ZERO),
            looked_at: looked_at.or(known.written_at.filter(|_| !known.is_new)),
            last_look: None,
            look_not_before: Duration::ZERO,
            by_path: HashMap::new(),
            by_number: HashMap::new(),
            known: BTreeMap::new(),
            ended: BTreeMap::new(),
            ended_count: 0,
            is_new: known.is_new,
            written_at: known.written_at,
            surveyed: false,
            looked_by: None,
            unsettled: BTreeMap::new(),
            archives: Archives::default(),
            open: VecDeque::new(),
            most_open: most_open(),
            spills,
            swept: 0,
            unreadable: BTreeMap::new(),
            hidden: BTreeSet::new(),
            passed_over: BTreeMap::new(),
            grown: BTreeSet::new(),
            astray: BTreeMap::new(),
            poll_from: 0,
        };
        for (id, state) in known.files {
            if state.finished {
                files.remember(&state.source.into(), Ended { id, fingerprint: state.fingerprint, size: state.size });
            } else {
                files.known.insert(id, state);
            }
        }
        files.swept =
            files.spills.sweep(&files.known.values().filter(|state| state.spilled).map(|state| state.id).collect());
        files
    }

    /// Forgets everything: another instance begins here.
    pub(super) fn begin_anew(&mut self) {
        self.by_path.clear();
        self.by_number.clear();
        self.known.clear();
        self.ended.clear();
        self.ended_count = 0;
        self.unsettled.clear();
        self.astray.clear();
        self.archives = Archives::default();
        self.open.clear();
        self.walk = None;
        (self.looked_at, self.last_look) = (None, None);
        self.is_new = true;
        self.surveyed = false;
    }

    /// Other files are looked for from now on. Those that were looked for before are known to appear when they do;
    /// `is_new` says that nothing is known at all.
    pub(super) fn look_for(&mut self, settings: &Settings, is_new: bool) {
        let before = std::mem::replace(&mut self.finders, finders_of(settings));
        if self.surveyed {
            self.looked_by.get_or_insert(before);
            self.written_at = self.looked_at;
            self.is_new = is_new;
        }
        self.walk = None;
        self.look_began = (SystemTime::UNIX_EPOCH, Duration::ZERO);
        let finders = &self.finders;
        let meant = |path: &Path| finders.iter().position(|finder| finder.means(path));
        // What was decided was decided by what was followed then.
        self.unsettled.retain(|path, waiting| meant(path).is_some() && !waiting.decided);
        self.archives.change_tables(meant);
    }

    /// All was looked at, but for what was renamed meanwhile. Returns since when others may be unseen: also what nobody
    /// has decided about yet, which may be renamed first, or this process killed, and is to be as fresh then.
    pub(super) fn looked(&mut self) -> SystemTime {
        self.surveyed = true;
        self.looked_by = None;
        let began = self.look_began.0;
        let since = match self.looked_at {
            Some(before) if self.has_undecided() => before,
            before => self.last_look.replace(began).or(before).unwrap_or(began),
        };
        self.looked_at = Some(since);
        since
    }

    pub(super) fn resolve(&mut self, change: &RawChange) -> Option<Change> {
        self.watcher.as_mut()?.resolve(change)
    }

    /// Whether files that are meant may lie behind `path`. What else comes and goes on the way to them, in /tmp, say, is
    /// no reason to look around.
    pub(super) fn lie_behind(&self, path: &Path) -> bool {
        self.finders.iter().any(|finder| finder.leads_over(path))
    }

    pub(super) fn at(&self, path: &Path) -> Option<FileId> {
        self.by_path.get(path).copied()
    }

    /// What the checkpoint is to hold besides the feeds: what was not found yet, and what is remembered.
    pub(super) fn states(&self) -> impl Iterator<Item = FileState> {
        let ended = self.ended.iter().flat_map(|(source, ended)| ended.iter().map(|ended| ended.state(source)));
        self.known.values().cloned().chain(ended)
    }

    /// Remembers a finished file; returns those that are forgotten for it.
    pub(super) fn remember(&mut self, source: &Arc<str>, ended: Ended) -> Vec<FileId> {
        let mut forgotten = Vec::new();
        let of_source = self.ended.entry(source.clone()).or_default();
        of_source.push_back(ended);
        self.ended_count += 1;
        if of_source.len() > REMEMBERED {
            forgotten.extend(of_source.pop_front().map(|ended| ended.id));
        }
        if self.ended_count > REMEMBERED_OF_ALL + forgotten.len() {
            // Some source's, not the oldest: that many have to be remembered only where sources come and go.
            let other = self.ended.keys().find(|other| *other != source).cloned();
            let gone = other.and_then(|other| self.ended.remove(&other));
            forgotten.extend(gone.into_iter().flatten().map(|ended| ended.id));
        }
        self.ended_count -= forgotten.len();
        forgotten
    }

    /// The finished files of a source.
    pub(super) fn ended(&self, source: &str) -> impl Iterator<Item = &Ended> {
        self.ended.get(source).into_iter().flatten()
    }

    /// Whether `path`, or something below it, could not be read.
    pub(super) fn is_hidden(&self, path: &Path) -> bool {
        self.unreadable.contains_key(path) || self.hidden.contains(path)
    }

    /// Whether there is a file of which nobody knows yet what it is.
    pub(super) fn has_undecided(&self) -> bool {
        !self.archives.is_empty() || self.unsettled.values().any(|waiting| !waiting.decided)
    }

    /// What was found out about the file that stood at `path` says nothing of another one that stands there by now.
    pub(super) fn forget_replaced(&mut self, path: &Path, metadata: &Metadata) {
        let is_other = |there: &Unsettled| (there.inode, there.born) != (metadata.ino(), birth(metadata));
        if self.unsettled.get(path).is_some_and(is_other) {
            self.unsettled.remove(path);
        }
    }

    /// Inodes to look for under any name: not those of what the configuration does not mean any more.
    pub(super) fn wanted(&self) -> BTreeSet<u64> {
        let meant = self.known.values().filter(|state| self.is_meant(state));
        meant.map(|state| state.fingerprint.inode()).collect()
    }

    /// Whether this one is among them.
    pub(super) fn is_wanted(&self, inode: u64) -> bool {
        self.known.values().any(|state| state.fingerprint.inode() == inode && self.is_meant(state))
    }

    fn is_meant(&self, state: &FileState) -> bool {
        self.table_of(Path::new(&state.source)).is_some()
    }

    /// Why directories are only looked at from time to time, if some are.
    pub(super) fn watch_problem(&self) -> Option<String> {
        match &self.watcher {
            Some(watcher) => watcher.problem(),
            None => Some("inotify is not to be had".to_owned()),
        }
    }

    /// What the checkpoint knows of this file.
    pub(super) fn recognise(&self, file: &fs::File, metadata: &Metadata) -> io::Result<Option<FileState>> {
        // Empty soon after the start: only what is not found yet is looked through.
        for state in self.known.values().filter(|state| state.fingerprint.inode() == metadata.ino()) {
            if state.fingerprint.recognises(file, metadata)? {
                return Ok(Some(state.clone()));
            }
        }
        Ok(None)
    }

    /// Whether a rotated file that nobody knows came to be since files were last looked for.
    pub(super) fn is_fresh(&self, metadata: &Metadata) -> bool {
        let born = birth(metadata).or_else(|| metadata.modified().ok());
        self.looked_at.zip(born).is_some_and(|(looked, born)| born >= looked)
    }

    /// Where to begin in a file that nobody knows, and whether it was there before us.
    pub(super) fn beginning(&self, table: &FileSettings, path: &Path, metadata: &Metadata) -> (u64, bool) {
        let born = birth(metadata);
        let unseen = self.written_at.and_then(|written| written.checked_sub(LONGEST_UNSEEN));
        let was_looked_for = |finders: &Vec<Finder>| finders.iter().any(|finder| finder.matches(path));
        let appeared_later = (self.surveyed && self.looked_by.as_ref().is_none_or(was_looked_for))
            || (!self.is_new && born.zip(unseen).is_some_and(|(born, unseen)| born >= unseen));
        let at_end = match table.start_at {
            StartAt::Beginning => false,
            StartAt::Auto => !self.is_new && !appeared_later,
            StartAt::End => !appeared_later,
        };
        (if at_end { metadata.len() } else { 0 }, !appeared_later)
    }

    /// The log that the file at `path` is a rotated one of by its name, or is itself, where `table` names both.
    pub(super) fn log_of(&self, path: &Path, table: usize) -> PathBuf {
        let bases = self.finders.get(table).map(|finder| finder.bases_of(path)).unwrap_or_default();
        bases.into_iter().next_back().unwrap_or_else(|| path.to_owned())
    }

    /// The table whose patterns name a file.
    pub(super) fn table_of(&self, path: &Path) -> Option<usize> {
        self.finders.iter().position(|finder| finder.matches(path))
    }
}

/// `config` has checked the patterns; one that still is no glob finds nothing.
fn finders_of(settings: &Settings) -> Vec<Finder> {
    settings.files.iter().filter_map(|table| Finder::new(table).ok()).collect()
}

impl Ended {
    /// What the checkpoint keeps of it.
    pub(super) fn state(&self, source: &str) -> FileState {
        FileState {
            id: self.id,
            path: source.to_owned(),
            source: source.to_owned(),
            fingerprint: self.fingerprint,
            coverage: crate::logs::coverage::Coverage::from(self.size),
            size: self.size,
            spilled: false,
            finished: true,
        }
    }
}
