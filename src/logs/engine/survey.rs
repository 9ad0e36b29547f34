//! Looking around: which files there are now, which are new, which left. A slice at a time, so that a directory of a
//! million files delays nobody. Not what becomes of a new one (`adopting`), nor of what was read.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use super::adopting::Stranger;
use super::{Engine, SURVEY_INTERVAL, SURVEY_SOON};
use crate::fault::Fault;
use crate::logs::batch::FileId;
use crate::logs::coverage::Coverage;
use crate::logs::delivery::destination::Moment;
use crate::logs::settings::Table;
use crate::logs::source::discover::{Found, Walk};
use crate::logs::source::feed::Feed;
use crate::logs::source::identity::birth;
use crate::logs::source::tailed::{Life, Look};
use crate::logs::source::watch::Watcher;

/// How many directory entries one step looks at: a few milliseconds.
const ENTRIES_A_STEP: u64 = 4096;

/// Of how many new files one write tells the checkpoint: what it writes stands in memory.
const ENLISTED_AT_ONCE: usize = 256;

/// How many files are polled each second: some milliseconds where each look asks a server near by.
const POLLED_A_TICK: usize = 1000;

/// How long nobody looks again, per entry that the last look saw: twenty times what it costs, so that looking takes a
/// twentieth of the time at most.
const PAUSE_PER_ENTRY: Duration = Duration::from_micros(20);

impl Engine {
    /// Files came or went: looks around soon.
    pub(super) fn survey_soon(&mut self, wait: Duration, now: Moment) {
        let at = (now.boot + wait).max(self.files.look_not_before);
        self.survey_at = self.survey_at.min(at);
    }

    /// Looks around, or goes on doing so: follows what is new, notices what left. Returns whether it is not over.
    pub(super) fn survey(&mut self, now: Moment) -> bool {
        if self.files.walk.is_none() {
            self.books.dead_letters.look();
            self.find_letters(now);
            self.files.walk = Some(Walk::new(&self.files.finders));
            self.files.look_began = (file_time(), now.boot);
        }
        let wanted = self.files.wanted();
        let Some(walk) = &mut self.files.walk else { return false };
        let Some(found) = walk.advance(&self.files.finders, &wanted, ENTRIES_A_STEP) else { return true };
        self.files.walk = None;
        let pause = PAUSE_PER_ENTRY * u32::try_from(found.entries).unwrap_or(u32::MAX);
        self.files.look_not_before = now.boot + pause;
        self.survey_at = now.boot + SURVEY_INTERVAL.max(pause);
        self.conclude(&found, now);
        false
    }

    fn conclude(&mut self, found: &Found, now: Moment) {
        if let Some(watcher) = &mut self.files.watcher {
            watcher.watch(&found.directories);
        }
        self.files.unreadable.retain(|path, _| found.files.contains_key(path));
        self.files.hidden = found.unreadable.iter().map(|(directory, _)| directory.clone()).collect();
        self.files.passed_over.clear();
        let (mut adopted, first) = (BTreeSet::new(), self.feeds.unused_id());
        self.let_go_of_the_vanished(found, now);
        let mut strangers = Vec::new();
        for (path, table) in &found.files {
            strangers.extend(self.visit(path, *table, &mut adopted, now));
        }
        for (path, rotated) in &found.rotated {
            strangers.extend(self.visit_rotated(path, rotated, &mut adopted, now));
        }
        self.find_nameless(&mut adopted, now);
        // The older generation of a log is read before the newer one, and under its own name, not that of a link.
        strangers.sort_by_cached_key(|stranger| {
            fs::symlink_metadata(&stranger.path).map_or((false, None), |its| (its.is_symlink(), birth(&its)))
        });
        self.settle_strangers(&strangers, &mut adopted, now);
        self.miss_the_astray(first);
        self.files.unsettled.retain(|path, _| found.files.contains_key(path) || found.rotated.contains_key(path));
        let since = self.files.looked();
        self.books.looked(since);
        self.warn_of_survey(found);
        self.enlist(&adopted, now);
        self.give_up_the_missing(found, now);
    }

    /// Writes down the files that were just adopted, before anything is read of them, and looks at them.
    pub(super) fn enlist(&mut self, adopted: &BTreeSet<FileId>, now: Moment) {
        let mut states = Vec::new();
        let mut left = adopted.len();
        for &id in adopted {
            states.extend(self.feeds.get_mut(id).and_then(|feed| Some((feed.source.clone(), feed.state()?))));
            left -= 1;
            if (left == 0 || states.len() >= ENLISTED_AT_ONCE)
                && !states.is_empty()
                && let Err(error) = self.books.write(std::mem::take(&mut states))
            {
                self.warn_of_checkpoint(&error);
            }
        }
        // Where there are very many, some were closed again.
        for &id in adopted {
            self.look_at(id, now);
        }
    }

    fn let_go_of_the_vanished(&mut self, found: &Found, now: Moment) {
        let mut vanished: Vec<Arc<Path>> =
            self.files.by_path.keys().filter(|path| !found.files.contains_key(&***path)).cloned().collect();
        // Whatever order the map has: what happens is to follow from what was found alone.
        vanished.sort();
        for path in vanished {
            self.let_go(&path, now);
        }
    }

    /// The file at `path` is no longer there. Whether it was cut before it left is seen first: of one that is cut later,
    /// by what rotates logs, nothing more is wanted.
    fn let_go(&mut self, path: &Path, now: Moment) {
        let Some(id) = self.files.at(path) else { return };
        self.look(id, now);
        if self.files.at(path) == Some(id) {
            self.files.by_path.remove(path);
        }
        if let Some(file) = self.feeds.file_mut(id) {
            file.leave(now.boot);
        }
    }

    /// Whether there are files whose changes the kernel does not tell.
    pub(super) fn polls(&self) -> bool {
        self.files.watcher.as_ref().is_none_or(Watcher::polls_some)
    }

    /// Looks at files whose changes the kernel does not tell; at many of them in turn.
    pub(super) fn poll(&mut self, now: Moment) {
        if self.stopping || !self.polls() {
            return;
        }
        let watcher = self.files.watcher.as_ref();
        let polled =
            |path: &Path| watcher.is_none_or(|all| path.parent().is_some_and(|directory| all.polls(directory)));
        let from = self.files.poll_from;
        let files = self.feeds.files().filter(|(feed, file)| feed.id > from && file.is_active() && polled(&file.path));
        let files: Vec<(FileId, Arc<Path>)> =
            files.take(POLLED_A_TICK).map(|(feed, file)| (feed.id, file.path.clone())).collect();
        self.files.poll_from = if files.len() < POLLED_A_TICK { 0 } else { files.last().map_or(0, |(id, _)| *id) };
        for (id, path) in files {
            let Some(feed) = self.feeds.get(id) else { continue };
            match fs::metadata(&path) {
                Ok(metadata) if feed.file().is_some_and(|file| file.is(&metadata)) => {
                    if !feed.is_unchanged(&metadata) {
                        self.look_at(id, now);
                    }
                }
                _ => self.survey_soon(SURVEY_SOON, now),
            }
        }
    }

    /// A path that a pattern names: still the file we follow, or another one.
    pub(super) fn visit(
        &mut self,
        path: &Path,
        table: usize,
        adopted: &mut BTreeSet<FileId>,
        now: Moment,
    ) -> Option<Stranger> {
        if let Some(id) = self.files.at(path) {
            let feed = self.feeds.get(id);
            if let (Some(feed), Ok(metadata)) = (feed, fs::metadata(path))
                && feed.file().is_some_and(|file| file.is(&metadata))
            {
                if !feed.is_unchanged(&metadata) {
                    self.look_at(id, now);
                }
                return None;
            }
            self.let_go(path, now);
        }
        let bases = self.bases_of(path, table);
        let metadata = fs::symlink_metadata(path).ok()?;
        // What a link leads to, as it was noted.
        if let Ok(metadata) = fs::metadata(path) {
            self.files.forget_replaced(path, &metadata);
        }
        let settings = self.settings.files.get(table)?;
        let fresh = self
            .files
            .unsettled
            .get(path)
            .map_or_else(|| self.files.beginning(settings, path, &metadata).0 == 0, |waiting| waiting.fresh);
        self.adopt(Stranger { path: path.to_owned(), table, bases, matched: true, fresh }, adopted, now)
    }

    /// The sources, followed already, of which the file at `path` may be a rotated one by its name: those of whose names
    /// its own is an extension, those that extend the same one, since a file that was first seen as `app.log.1` goes on
    /// as `app.log.2.gz`, and the one whose name it has but for a date.
    pub(super) fn bases_of(&self, path: &Path, table: usize) -> Vec<String> {
        let Some(finder) = self.files.finders.get(table) else { return Vec::new() };
        let (bases, accounts) = (finder.bases_of(path), self.books.accounts());
        let undated = finder.undated(path).map(|source| source.to_string_lossy().into_owned());
        let undated = undated.filter(|source| accounts.contains_key(&**source));
        let Some(shortest) = bases.last().map(|base| base.to_string_lossy()) else {
            return undated.into_iter().collect();
        };
        let from = accounts.range::<str, _>((Bound::Included(&*shortest), Bound::Unbounded));
        let of_base = from.map(|(source, _)| source).take_while(|source| source.starts_with(&*shortest));
        let of_base = of_base.filter(|source| Path::new(&***source) != path).map(ToString::to_string);
        of_base.chain(undated).collect()
    }

    /// Looks at one feed, and opens it if it was closed.
    pub(super) fn look_at(&mut self, id: FileId, now: Moment) {
        if self.ensure_open(id, now) {
            self.look(id, now);
        }
    }

    /// Looks at one feed that goes elsewhere from now on: one that was closed for others' sake is opened again only if
    /// there is something to read.
    pub(super) fn look_again(&mut self, id: FileId, now: Moment) {
        if self.feeds.get(id).is_some_and(|feed| feed.unread_bytes() > 0) {
            self.look_at(id, now);
        } else {
            self.look(id, now);
        }
    }

    /// Looks at one feed: is there more to read, or was it cut off?
    pub(super) fn look(&mut self, id: FileId, now: Moment) {
        let Some(feed) = self.feeds.get_mut(id).filter(|feed| feed.can_be_read_again()) else { return };
        match feed.look(now.boot) {
            Ok(Look::Unread) => {
                self.files.grown.insert(id);
                self.want(id, now);
            }
            Ok(Look::AtEnd) if feed.is_complete(now.boot) && feed.unread_bytes() > 0 => {
                feed.unread();
                self.want(id, now);
            }
            Ok(Look::AtEnd) => {}
            Ok(Look::CutOff) => self.cut_off(id, now),
            Err(error) => {
                feed.fault = Some(Box::new(Fault { at: now.wall, message: error.to_string(), hint: None }));
            }
        }
    }

    /// A file was truncated, or rewritten: what stands there now is a new file. What was not read of it is looked for
    /// in a copy, and is a gap if there is none.
    fn cut_off(&mut self, id: FileId, now: Moment) {
        let Some(feed) = self.feeds.get_mut(id) else { return };
        let unread = feed.unread_bytes();
        let (source, table) = (feed.source.clone(), feed.table);
        let (Some(file), Table::File(table)) = (feed.file_mut(), table) else { return };
        let descriptor = file.file().and_then(|file| file.try_clone().ok());
        let (path, was_active) = (file.path.clone(), file.is_active());
        let stands = fs::metadata(&path).is_ok_and(|metadata| file.is(&metadata));
        file.life = Life::Cut { at: now.boot };
        tracing::info!(path = %path.display(), unread_bytes = unread, "file was truncated, reading it from its beginning");
        if self.files.by_path.get(&path) == Some(&id) {
            self.files.by_path.remove(&path);
        }
        self.survey_soon(SURVEY_SOON, now);
        if !was_active {
            return;
        }
        let mut adopted = BTreeSet::new();
        let bases = self.bases_of(&path, table);
        let stranger = Stranger { path: path.to_path_buf(), table, bases, matched: stands, fresh: true };
        if !stands {
            let followed = descriptor.and_then(|file| self.follow_what_left(source, &stranger, file, now));
            adopted.extend(followed);
        } else if let Some(stranger) = self.adopt(stranger, &mut adopted, now) {
            self.settle_strangers(&[stranger], &mut adopted, now);
        }
        self.enlist(&adopted, now);
    }

    /// A file was cut, written to and then renamed or deleted before anyone looked: only `descriptor` is sure to show
    /// what stands in it now. What is at its place by now is found by looking around.
    pub(super) fn follow_what_left(
        &mut self,
        source: Arc<str>,
        stranger: &Stranger,
        descriptor: fs::File,
        now: Moment,
    ) -> Option<FileId> {
        let (id, path, table) = (self.feeds.next_id(), stranger.path.clone(), Table::File(stranger.table));
        let feed = Feed::of_file(id, path, source, table, descriptor, Coverage::from(0)).ok()?;
        Some(self.follow(feed, stranger, now))
    }
}

/// The time as the kernel would note it for a file that is born now, or a little before that: it has the grain of the
/// kernel's ticks, and from Linux 6.13 on files' times may be finer. So a file may count as born after a look that saw it,
/// never the other way round, which would leave it unread.
pub(super) fn file_time() -> SystemTime {
    #[cfg(test)]
    if let Some(said) = crate::logs::disk::faults::file_time() {
        return said;
    }
    let now = clock_gettime(ClockId::RealtimeCoarse);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}
