//! How the following of a file ends: read to its end, or gone with bytes unread, which is counted. Not how it begins.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Engine;
use super::adopting::Stranger;
use super::files::Ended;
use crate::logs::batch::FileId;
use crate::logs::checkpoint::{FileState, Record};
use crate::logs::delivery::destination::Moment;
use crate::logs::ledger::{Count, Reason};
use crate::logs::source::discover::Found;
use crate::logs::source::feed::Feed;
use crate::logs::source::gzip::is_packed;
use crate::logs::source::open::open_regular;
use crate::logs::source::tailed::{Life, Tailed};

impl Engine {
    /// Files that have no name any more: in the copy that was made of them.
    pub(super) fn find_nameless(&mut self, adopted: &mut BTreeSet<FileId>, now: Moment) {
        let missing: Vec<FileState> = self.files.known.values().cloned().collect();
        for state in missing {
            let Some(table) = self.files.table_of(Path::new(&state.source)) else { continue };
            let path = Path::new(&state.path).to_owned();
            let stranger = Stranger { path, table, bases: Vec::new(), matched: false, fresh: false };
            let spill = state.spilled.then(|| self.files.spills.reopen(state.id)).and_then(Result::ok);
            let Some(file) = spill.as_ref().and_then(|spill| spill.reader().ok()) else { continue };
            let Ok(metadata) = file.metadata() else { continue };
            let (id, source, size) = (state.id, state.source.as_str().into(), state.size);
            let table = crate::logs::settings::Table::File(table);
            if !state.fingerprint.content_stands(&file, metadata.len()).unwrap_or(false) {
                continue;
            }
            let Ok(mut feed) = Feed::of_file(id, stranger.path.clone(), source, table, file, state.coverage) else {
                continue;
            };
            let lost = Count { events: 0, bytes: size.saturating_sub(feed.size) };
            if lost.bytes > 0 {
                self.books.account(&feed.source).lose(Reason::Gap, lost);
            }
            if let Some(file) = feed.file_mut() {
                file.spill = spill;
            }
            self.files.known.remove(&id);
            adopted.insert(self.follow(feed, &stranger, now));
        }
    }

    /// After a whole look around: what the checkpoint knows and is nowhere, and what was cut and stands in no copy, is
    /// lost.
    pub(super) fn give_up_the_missing(&mut self, found: &Found, now: Moment) {
        self.examine_known_archives(found);
        if self.files.has_undecided() {
            return;
        }
        let missing: Vec<FileState> = self.files.known.values().cloned().collect();
        // Also what was renamed, and may not be read by now.
        let unreadable = self.files.unreadable.keys().filter_map(|path| fs::symlink_metadata(path).ok());
        let unreadable: BTreeSet<u64> = unreadable.map(|metadata| metadata.ino()).collect();
        for state in missing {
            let path = Path::new(&state.path);
            let hidden = unreadable.contains(&state.fingerprint.inode())
                || found.unreadable.iter().any(|(directory, _)| path.starts_with(directory))
                || self.files.unreadable.contains_key(path)
                || self.files.unreadable.contains_key(Path::new(&state.source));
            if !hidden && self.files.table_of(Path::new(&state.source)).is_some() {
                self.give_up_known(&state);
            }
        }
        let gone = |feed: &Feed, file: &Tailed| {
            let since = match file.life {
                Life::Leaving { quiet_since } if file.file().is_none() && file.archive.is_none() => quiet_since,
                Life::Active | Life::Leaving { .. } => return false,
                Life::Cut { at } => at,
            };
            self.has_looked_since(since) && feed.coverage.missing(feed.size) > 0
        };
        let cut = self.feeds.files().filter(|(feed, file)| gone(feed, file));
        for id in cut.map(|(feed, _)| feed.id).collect::<Vec<_>>() {
            self.give_up_unread(id, now);
        }
    }

    /// Compressed files that are known for what they are, when something is looked for that may stand in one: whatever
    /// name it had then, the next rotation may have given it another.
    fn examine_known_archives(&mut self, found: &Found) {
        let mut sought: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
        for source in self.files.known.values().map(|state| &state.source) {
            let path = Path::new(source);
            if let Some(table) = self.files.table_of(path) {
                sought.entry(self.files.log_of(path, table)).or_default().insert(source.clone());
            }
        }
        for (path, &table) in found.files.iter().filter(|_| !sought.is_empty()) {
            let Some(sources) = sought.get(&self.files.log_of(path, table)) else { continue };
            let Ok(file) = open_regular(path) else { continue };
            if let (Ok(true), Ok(metadata)) = (is_packed(&file), file.metadata()) {
                let bases = sources.iter().cloned().collect();
                // One that can't be examined is none that helps.
                let stranger = Stranger { path: path.clone(), table, bases, matched: true, fresh: false };
                let _ = self.files.archives.add(stranger, &metadata);
            }
        }
    }

    /// A file that was followed is gone, and nothing of it is to be found.
    fn give_up_known(&mut self, state: &FileState) {
        let lost = Count { events: 0, bytes: state.coverage.missing(state.size) };
        let source = state.source.as_str().into();
        self.files.known.remove(&state.id);
        let mut records = vec![(source, Record::Forget(state.id))];
        if lost.bytes > 0 {
            let (path, bytes) = (&state.path, lost.bytes);
            tracing::error!(path, bytes, "a file was deleted while nobody looked, what was unsent of it is lost");
            let message = format!("'{path}' was deleted with {bytes} bytes unsent, while nothing could read them");
            let hint = "let what rotates logs keep one generation longer, or rename before it deletes";
            self.set_warning("file_lost", Some(message), hint);
            self.books.account(&records[0].0).lose(Reason::Gap, lost);
        }
        if state.spilled {
            self.files.spills.remove(state.id);
        }
        if let Err(error) = self.books.write(std::mem::take(&mut records)) {
            self.warn_of_checkpoint(&error);
        }
    }

    /// What was not read of a file that was cut, or deleted while it was closed, can't be read any more.
    fn give_up_unread(&mut self, id: FileId, now: Moment) {
        let Some(feed) = self.feeds.get_mut(id) else { return };
        let bytes = feed.coverage.give_up_unread(feed.size);
        if bytes == 0 {
            return;
        }
        let (source, path) = (feed.source.clone(), feed.name());
        tracing::error!(path, bytes, "a file was cut or deleted before all of it was read, the rest is lost");
        self.books.account(&source).lose(Reason::Gap, Count { events: 0, bytes });
        self.write_down(std::iter::once(id), now);
    }

    /// What is no longer at its place, or was cut, and is not done with yet.
    pub(super) fn leaving(&self) -> Vec<FileId> {
        self.feeds.all().filter(|feed| !feed.is_active()).map(|feed| feed.id).collect()
    }

    /// Files that left, were read to their end and are settled are no longer of interest; only remembered.
    pub(super) fn forget_finished(&mut self, now: Moment) {
        for id in self.leaving() {
            if self.is_finished(id, now) {
                self.finish(id);
            }
        }
    }

    fn is_finished(&self, id: FileId, now: Moment) -> bool {
        self.feeds.get(id).is_some_and(|feed| {
            let missing = match feed.file().map(|file| file.life) {
                // Its rest may stand in a copy, which a look around finds.
                Some(Life::Cut { at }) if !self.has_looked_since(at) => return false,
                Some(Life::Cut { .. }) => feed.coverage.missing(feed.size),
                _ => feed.unread_bytes(),
            };
            missing == 0 && feed.is_complete(now.boot) && feed.coverage.is_settled()
        })
    }

    /// Whether everything that stood in some directory at that time has been looked at since.
    fn has_looked_since(&self, at: Duration) -> bool {
        !self.files.has_undecided() && self.files.walk.is_none() && self.files.look_began.1 > at
    }

    fn finish(&mut self, id: FileId) {
        self.remove_spill(id);
        self.streams.lose_interest(id);
        let Some(mut feed) = self.feeds.remove(id) else { return };
        self.throw_away(&feed);
        let position = feed.coverage.low().offset;
        let source = feed.source.clone();
        let mut records = vec![(source.clone(), Record::Forget(id))];
        if let Some(file) = feed.file_mut() {
            if self.files.by_number.get(&file.number()) == Some(&id) {
                self.files.by_number.remove(&file.number());
            }
            file.update_fingerprint(position);
            if file.fingerprint.has_content() {
                let ended = Ended { id, fingerprint: file.fingerprint, size: feed.size };
                records[0].1 = Record::File(ended.state(&source));
                let forgotten = self.files.remember(&source, ended);
                records.extend(forgotten.into_iter().map(|id| (source.clone(), Record::Forget(id))));
            }
        }
        if let Err(error) = self.books.write(records) {
            self.warn_of_checkpoint(&error);
        }
    }
}
