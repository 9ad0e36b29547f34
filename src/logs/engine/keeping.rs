//! What keeps unread bytes from being lost: open descriptors, up to a bound, and copies of what has no name any more.
//! Not the reading.

use std::collections::BTreeSet;
use std::fs::Metadata;

use rustix::process::{Resource, getrlimit};

use super::Engine;
use crate::logs::batch::FileId;
use crate::logs::delivery::destination::Moment;
use crate::logs::source::feed::Feed;
use crate::logs::source::open::open_regular;
use crate::logs::source::spill::Spill;

/// How many files are open at most. Half of what a process may open by default (1,024), where there is no unit that says
/// more; enough for every file that is written to at the same moment on all but the largest hosts.
const MOST_OPEN: usize = 512;

/// Of what a process may open, files take so much at most: the rest is for sockets, the journal, and directories.
const SHARE_OF_DESCRIPTORS: u64 = 2;

/// This part more is opened before some are closed, so that the search for idle ones is shared by as many openings.
const CLOSED_AT_ONCE: usize = 8;

/// Of how many files that grew one tick writes down the size: a millisecond's work. Acknowledgements do it, too.
pub(super) const NOTED_A_TICK: usize = 100;

/// How much of a file without a name one step copies: some ten milliseconds of a slow disk.
const SLICE: u64 = 8 << 20;

impl Engine {
    /// `id` was opened.
    pub(super) fn note_open(&mut self, id: FileId) {
        self.files.open.push_back(id);
        if self.files.open.len() >= self.files.most_open + self.files.most_open / CLOSED_AT_ONCE {
            self.close_some(id);
        }
    }

    /// Closes idle files; where that is not enough, those at their place that were opened last: they are found again.
    /// `opened`, the very last one, was opened to be read, and stays.
    fn close_some(&mut self, opened: FileId) {
        let mut seen = BTreeSet::new();
        let mut open: Vec<FileId> = std::mem::take(&mut self.files.open).into();
        open.retain(|id| self.feeds.file(*id).is_some_and(|file| file.file().is_some()) && seen.insert(*id));
        let mut surplus = open.len().saturating_sub(self.files.most_open);
        let idle: Vec<FileId> =
            open.iter().copied().filter(|id| *id != opened && self.is_idle(*id)).take(surplus).collect();
        surplus -= idle.len();
        let may_close = |id: &FileId| *id != opened && !idle.contains(id) && self.is_at_its_place(*id);
        let at_their_place = open.iter().rev().copied().filter(may_close);
        let closed: BTreeSet<FileId> = at_their_place.take(surplus).chain(idle.iter().copied()).collect();
        for &id in &closed {
            self.close(id);
        }
        open.retain(|id| !closed.contains(id));
        self.files.open = open.into();
    }

    fn is_idle(&self, id: FileId) -> bool {
        self.feeds.get(id).is_some_and(|feed| feed.is_idle() && feed.unread_bytes() == 0)
    }

    fn is_at_its_place(&self, id: FileId) -> bool {
        self.feeds.file(id).is_some_and(|file| file.is_active() && file.archive.is_none())
    }

    fn close(&mut self, id: FileId) {
        let Some(feed) = self.feeds.get_mut(id) else { return };
        let position = feed.coverage.low().offset;
        if let Some(file) = feed.file_mut() {
            // By it the file is recognised when it is opened again.
            file.update_fingerprint(position);
            file.close();
        }
    }

    /// Opens a file that was closed; `false` when it is not at its place any more, or not what it was.
    pub(super) fn ensure_open(&mut self, id: FileId, now: Moment) -> bool {
        let Some(file) = self.feeds.file(id) else { return true };
        if let Some(descriptor) = file.file() {
            return match descriptor.metadata() {
                Ok(metadata) => self.is_what_it_was(id, &metadata, now),
                // Reading will say what is wrong.
                Err(_) => true,
            };
        }
        if file.archive.is_some() {
            return false;
        }
        let path = file.path.clone();
        let Some(file) = self.feeds.file_mut(id) else { return true };
        let reopened = match open_regular(&path) {
            Ok(descriptor) => file.reopen(descriptor).map_err(|error| error.to_string()),
            Err(error) if error.is_absent() => Ok(false),
            Err(error) => Err(error.to_string()),
        };
        match reopened {
            Ok(true) => self.note_open(id),
            // Renamed, deleted, replaced or cut: looking around finds out which.
            Ok(false) => self.survey_soon(super::SURVEY_SOON, now),
            Err(error) => self.note_read_error(id, &std::io::Error::other(error), now),
        }
        reopened_well(&self.feeds, id)
    }

    /// Writes down how large files are of which something is unsent, some of them at a time.
    pub(super) fn note_grown(&mut self, most: usize) {
        let grown: Vec<FileId> = self.files.grown.iter().copied().take(most).collect();
        let mut states = Vec::new();
        for id in grown {
            self.files.grown.remove(&id);
            let feed = self.feeds.get_mut(id).filter(|feed| feed.coverage.missing(feed.size) > 0);
            states.extend(feed.and_then(|feed| Some((feed.source.clone(), feed.state()?))));
        }
        if !states.is_empty()
            && let Err(error) = self.books.write(states)
        {
            self.warn_of_checkpoint(&error);
        }
    }

    /// Whether what was read of a file still stands there; looked at only if it changed since the last look. Without this
    /// what somebody has just cut and rewritten would be read from the middle of a line.
    fn is_what_it_was(&mut self, id: FileId, metadata: &Metadata, now: Moment) -> bool {
        if self.feeds.get(id).is_some_and(|feed| !feed.looks_the_same(metadata)) {
            self.look(id, now);
        }
        self.feeds.get(id).is_some_and(Feed::can_be_read_again)
    }

    /// Copies the rest of files that have no name any more, so that no kill can lose it. Returns whether there is more
    /// to copy at once.
    pub(super) fn spill_nameless(&mut self, now: Moment) -> bool {
        let mut more = false;
        for id in self.leaving() {
            match self.spill(id) {
                Ok(None) => {}
                Ok(Some(caught_up)) => {
                    more |= !caught_up;
                    self.write_down(std::iter::once(id), now);
                }
                Err(reason) => {
                    let name = self.feeds.get(id).map(Feed::name).unwrap_or_default();
                    let message = format!("what is unsent of '{name}', which was deleted, can't be copied: {reason}");
                    let hint = "make room in the state directory, or raise `spool_limit`: a restart now would lose it";
                    self.set_warning("deleted_file_not_kept", Some(message), hint);
                }
            }
        }
        more
    }

    /// Copies a slice of the rest of a file, if it has no name any more and something of it is unsent; returns whether
    /// all of it is copied now, or nothing when nothing was to be done.
    fn spill(&mut self, id: FileId) -> Result<Option<bool>, String> {
        let Some(feed) = self.feeds.get_mut(id) else { return Ok(None) };
        let (position, size) = (feed.coverage.low().offset, feed.size);
        let Some(file) = feed.file_mut().filter(|file| file.is_nameless()) else { return Ok(None) };
        let copied_to = file.spill.as_ref().map_or(position, Spill::end);
        if size <= copied_to {
            return Ok(None);
        }
        let slice = (size - copied_to).min(SLICE);
        self.budget.try_take(slice).map_err(|full| full.to_string())?;
        let copied = file.spill_on(id, position, slice, &self.files.spills);
        self.budget.give_back(slice.saturating_sub(*copied.as_ref().unwrap_or(&0)));
        copied.map_err(|error| error.to_string())?;
        let spill = self.feeds.file(id).and_then(|file| file.spill.as_ref());
        if let Err(error) = spill.map_or(Ok(()), Spill::sync) {
            // It may never be durable: it is copied anew.
            self.remove_spill(id);
            return Err(error.to_string());
        }
        Ok(Some(copied_to + slice >= size))
    }

    /// The copy of `id` is not needed any more.
    pub(super) fn remove_spill(&mut self, id: FileId) {
        if let Some(spill) = self.feeds.file_mut(id).and_then(|file| file.spill.take()) {
            self.files.spills.remove(id);
            self.budget.give_back(spill.bytes());
        }
    }
}

fn reopened_well(feeds: &super::feeds::Feeds, id: FileId) -> bool {
    feeds.file(id).is_some_and(|file| file.file().is_some())
}

/// How many files this process may hold open: a shell's or a container's limit may be lower than a service's.
pub(super) fn most_open() -> usize {
    within(getrlimit(Resource::Nofile).current)
}

fn within(limit: Option<u64>) -> usize {
    let share = limit.map_or(MOST_OPEN as u64, |limit| limit / SHARE_OF_DESCRIPTORS);
    usize::try_from(share).unwrap_or(MOST_OPEN).clamp(1, MOST_OPEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_leave_half_of_the_descriptors_that_a_process_may_have_to_others() {
        assert_eq!(within(Some(65_536)), MOST_OPEN);
        assert_eq!(within(None), MOST_OPEN);
        assert_eq!(within(Some(128)), 64);
        assert_eq!(within(Some(1)), 1);
    }
}
