//! What is read when: streams take turns, each reads as much as it wants and the memory allows, straight into its
//! batch. Not what is done with a full one.

use std::collections::BTreeMap;

use std::io;

use super::Engine;
use super::memory::{LEAST_BODY, LEAST_MEMORY};
use super::routing::day_of;
use crate::fault::Fault;
use crate::logs::batch::{FileId, Segment};
use crate::logs::coverage::Place;
use crate::logs::delivery::destination::Moment;
use crate::logs::framing::End;
use crate::logs::ledger::{Count, Reason};
use crate::logs::source::feed::Feed;
use crate::logs::source::read::{self, Job, Progress, Stop};
use crate::template::Names;

/// How much one step reads at most, so that what is ready is sent soon.
const STEP_BYTES: u64 = 2 << 20;

/// A body takes at most this much of the memory that is left, so that a few slow streams never take all of it.
const SHARE_OF_MEMORY: usize = 4;

/// How much more a body is than the lines in it, expected: 44 bytes of JSON for a line of 200, and some escapes.
const JSON_OVERHEAD: f64 = 1.3;

/// What follows on reading a file.
pub(super) enum Turn {
    /// It goes on when the others had their turn.
    Over,
    /// There is nothing more to read of it now.
    Read,
    /// It goes on in another stream.
    Moved,
}

impl Engine {
    /// `id` has unread data: its stream is to read it, once its name is known.
    pub(super) fn want(&mut self, id: FileId, now: Moment) {
        let Some(feed) = self.feeds.get_mut(id) else { return };
        if feed.unread_bytes() > 0 {
            feed.behind_since.get_or_insert(now.boot);
        }
        if self.streams.route(id).is_none() {
            self.find_route(id, day_of(now.wall));
        }
        self.streams.want(id);
    }

    /// More names are known, or others: files that waited for them are read, under the names of this instance.
    pub(super) fn learn(&mut self, names: Names, now: Moment) {
        if names == self.names {
            return;
        }
        if let Some(instance) = names.get("instance_id") {
            self.recognise_instance(instance, now);
        }
        self.names = names;
        self.streams.forget_routes();
        let feeds: Vec<FileId> = self.feeds.all().map(|feed| feed.id).collect();
        for id in feeds {
            let Some(feed) = self.feeds.get_mut(id) else { continue };
            feed.unread();
            self.look_again(id, now);
        }
    }

    /// State belongs to an instance: an image of another one brings that one's along, which is set aside.
    fn recognise_instance(&mut self, instance: &str, now: Moment) {
        let result = match &self.books.instance {
            Some(owner) if owner == instance => return,
            None => self.books.belongs_to(instance),
            Some(owner) => {
                let owner = owner.clone();
                self.begin_anew(&owner, instance, now)
            }
        };
        if let Err(error) = result {
            self.warn_of_checkpoint(&error);
        }
    }

    fn begin_anew(&mut self, owner: &str, instance: &str, now: Moment) -> io::Result<()> {
        let aside = self.books.set_aside()?;
        tracing::warn!(owner, instance, kept = %aside.display(), "state of another instance was set aside");
        let message =
            format!("the state directory held the state of {owner}; it was set aside as '{}'", aside.display());
        self.set_warning("state_set_aside", Some(message), "delete that file; make images without the state directory");
        self.books.belongs_to(instance)?;
        self.files.begin_anew();
        self.feeds.clear();
        self.streams.begin_anew();
        self.unsettled.clear();
        self.set_spool_aside(owner)?;
        self.open_journals(BTreeMap::new(), true);
        self.survey(now);
        Ok(())
    }

    /// Lets streams read in turn; `true` when there is more to read at once.
    pub(super) fn read(&mut self, now: Moment) -> bool {
        let mut budget = STEP_BYTES;
        let mut more = false;
        // Kept up to date, not counted anew each turn: there may be thousands of streams.
        let mut free = self.free_memory();
        self.streams.unpark(&self.starved);
        for _ in 0..self.streams.queue_length() {
            if budget == 0 || free < LEAST_MEMORY {
                self.relieve_memory(free, now);
                return budget == 0;
            }
            let Some(index) = self.streams.next_in_queue() else { break };
            let destination = &self.streams.get(index).destination;
            if self.starved.contains(&destination.log_group) {
                self.streams.park(index);
                continue;
            }
            let Some(appetite) = destination.appetite(now) else {
                self.streams.queue_again(index);
                continue;
            };
            let limit = appetite.min((free / SHARE_OF_MEMORY).max(LEAST_BODY));
            let before = self.with_room_to_pack(self.streams.get(index).destination.memory());
            let (read, moved) = self.read_stream(index, limit, now);
            more |= moved;
            let after = self.with_room_to_pack(self.streams.get(index).destination.memory());
            free = (free + before).saturating_sub(after);
            budget = budget.saturating_sub(read);
            if self.streams.get(index).next_file().is_some() {
                self.streams.queue_again(index);
                more |= read > 0;
            }
        }
        more
    }

    /// Fills a stream's batch from its files; returns how many bytes were read, and whether a file moved on to another
    /// stream, which is to read at once.
    fn read_stream(&mut self, index: usize, limit: usize, now: Moment) -> (u64, bool) {
        let (mut total, mut moved) = (0, false);
        while let Some(id) = self.streams.get(index).next_file() {
            if !self.ensure_open(id, now) {
                self.streams.get_mut(index).file_is_read();
                continue;
            }
            let (read, turn) = self.read_file(index, id, limit, now);
            total += read;
            let stream = self.streams.get_mut(index);
            match turn {
                Turn::Over => {
                    match self.feeds.get(id).filter(|feed| !feed.is_active()).map(|feed| feed.source.clone()) {
                        Some(source) => {
                            let is_kin = |id| self.feeds.get(id).is_some_and(|feed| feed.source == source);
                            stream.file_waits_with(is_kin);
                        }
                        None => stream.file_waits(),
                    }
                    break;
                }
                Turn::Read => stream.file_is_read(),
                Turn::Moved => moved = true,
            }
        }
        self.streams.get_mut(index).destination.seal(now, false);
        (total, moved)
    }

    /// Reads one file into its stream's batch; returns how much, and what is next.
    fn read_file(&mut self, index: usize, id: FileId, limit: usize, now: Moment) -> (u64, Turn) {
        if self.feeds.get(id).is_some_and(|feed| feed.letters().is_some()) {
            return self.read_letters(index, id, limit, now);
        }
        let mut total = 0;
        if self.feeds.get_mut(id).and_then(Feed::tape_mut).is_some_and(|(tape, _)| tape.is_asked_in_vain()) {
            return (0, Turn::Read);
        }
        loop {
            let Some(feed) = self.feeds.get(id) else { return (total, Turn::Read) };
            let (from, until) = feed.coverage.next();
            let result = if self.quarantine.contains(&(id, from.offset)) {
                self.skip_quarantined(id, from, now).map(|skipped| (skipped, None))
            } else {
                self.fill(index, id, from, until, limit, now)
            };
            let stop = match result {
                Ok((read, stop)) => {
                    total += read;
                    stop
                }
                // What is in quarantine stays there: the next survey tries again.
                Err(error) => {
                    self.note_read_error(id, &error, now);
                    return (total, Turn::Read);
                }
            };
            match stop {
                Some(Stop::Full | Stop::Turn) => return (total, Turn::Over),
                Some(Stop::End { held }) => {
                    if !self.came_to_end(id, held, now) {
                        return (total, Turn::Read);
                    }
                }
                Some(Stop::Corrupt) => {
                    if !self.came_to_damage(id, now) {
                        return (total, Turn::Read);
                    }
                }
                Some(Stop::Day(day)) => {
                    self.find_route(id, day);
                    self.streams.want(id);
                    return (total, Turn::Moved);
                }
                Some(Stop::Met) | None => {}
            }
        }
    }

    /// Reads a feed into the batch of a stream, once; returns how much, and why no further.
    fn fill(
        &mut self,
        index: usize,
        id: FileId,
        from: Place,
        until: Option<u64>,
        limit: usize,
        now: Moment,
    ) -> io::Result<(u64, Option<Stop>)> {
        let Some(feed) = self.feeds.get(id) else { return Ok((0, Some(Stop::End { held: false }))) };
        let quarantined = self.quarantine.range((id, from.offset)..=(id, u64::MAX)).next();
        let job = Job {
            id,
            content: feed.content(),
            framer: self.framers.of(feed.table),
            from,
            until: until.into_iter().chain(quarantined.map(|(_, offset)| *offset)).min(),
            end: self.end_of(feed, now),
            at: now.wall,
            limit,
            day: self.streams.day(id),
            allowance: self.books.budgets.allowance(feed.table, &self.framers, now.wall),
        };
        let expected = expected_body(feed.unread_bytes()).min(limit);
        let batch = self.streams.activate(index).destination.open(now, expected, &self.pool);
        let before = batch.last_segment(id);
        let progress = read::fill(&job, batch, &mut self.buffer, &self.suspect);
        let (full, segment) = (batch.is_full(), batch.last_segment(id));
        let read = self.enter(index, id, before.as_ref(), segment.as_ref());
        let Progress { stop, .. } = progress?;
        Ok((read, Some(if full { Stop::Full } else { stop })))
    }

    /// What may follow the end of a feed as far as it is known.
    fn end_of(&self, feed: &Feed, now: Moment) -> End {
        if feed.is_complete(now.boot) {
            End::Complete
        } else if self.held.is_quiet(feed, now.boot) {
            End::Quiet
        } else {
            End::Open
        }
    }

    /// Enters what was read into coverage and account.
    fn enter(&mut self, index: usize, id: FileId, before: Option<&Segment>, after: Option<&Segment>) -> u64 {
        let Some(after) = after else { return 0 };
        let same = before.filter(|before| before.start == after.start);
        let (old, new) = (same.map_or(Count::default(), Segment::count), after.count());
        let sent = after.sent().bytes - same.map_or(0, |before| before.sent().bytes);
        let read = Count { events: new.events - old.events, bytes: new.bytes - old.bytes };
        let taken = after.end - same.map_or(after.start, |before| before.end);
        if taken == 0 {
            return 0;
        }
        let Some(feed) = self.feeds.get_mut(id) else { return 0 };
        feed.coverage.take(after.start, Place { offset: after.end, parts: after.end_parts });
        feed.fault = None;
        let source = feed.source.clone();
        self.books.budgets.spend(feed.table, sent);
        self.relieve_tape(id);
        self.books.account(&source).read(read);
        self.streams.get_mut(index).destination.account.read(read);
        taken
    }

    /// The feed was read as far as it goes; lines may stand there whose record goes on, for so long as is agreed. `true`
    /// if it does go on.
    fn came_to_end(&mut self, id: FileId, held: bool, now: Moment) -> bool {
        let Some(feed) = self.feeds.get_mut(id) else { return false };
        feed.reached_end();
        let patience = self.framers.of(feed.table).patience().filter(|_| held);
        self.held.note(feed, patience, now.boot);
        self.segment_was_read(id, now)
    }

    /// What stands there is no record. `true` if the feed goes on behind it.
    fn came_to_damage(&mut self, id: FileId, now: Moment) -> bool {
        if self.feeds.get(id).is_some_and(|feed| feed.segment().is_some()) {
            return self.pass_over_damage(id, now);
        }
        let Some(feed) = self.feeds.get_mut(id) else { return false };
        feed.reached_end();
        let at = feed.coverage.next().0.offset;
        let error = io::Error::new(io::ErrorKind::InvalidData, format!("what stands at offset {at} is damaged"));
        self.note_read_error(id, &error, now);
        false
    }

    /// Lines that waited long enough for what would belong to them are read as they are.
    pub(super) fn read_the_held(&mut self, now: Moment) {
        for id in self.held.due(now.boot) {
            self.look(id, now);
            let Some(feed) = self.feeds.get_mut(id) else {
                self.held.forget(id);
                continue;
            };
            if self.held.is_quiet(feed, now.boot) {
                feed.unread();
                self.want(id, now);
            }
        }
    }

    pub(super) fn note_read_error(&mut self, id: FileId, error: &io::Error, now: Moment) {
        let Some(feed) = self.feeds.get_mut(id) else { return };
        let message = format!("'{}' can't be read: {error}", feed.name());
        if feed.fault.as_ref().is_none_or(|before| before.message != message) {
            tracing::warn!(error = message, "passing over a source");
        }
        feed.fault = Some(Box::new(Fault { at: now.wall, message, hint: None }));
    }

    /// A record that made us panic twice is passed over, into the dead letters. What would have been redacted in it
    /// can't be known: it is not written there.
    fn skip_quarantined(&mut self, id: FileId, from: Place, now: Moment) -> io::Result<u64> {
        let Some(feed) = self.feeds.get(id) else { return Ok(0) };
        let framer = self.framers.of(feed.table);
        let raw = read::raw_record(feed.content(), framer, from.offset)?;
        let count = Count { events: 1, bytes: raw.text.len() as u64 };
        let withheld = format!("[imds-agent: {} bytes, withheld because they could not be redacted]", count.bytes);
        let text = if framer.settings().redact.is_empty() { &raw.text } else { withheld.as_bytes() };
        let source = feed.source.clone();
        self.bury_raw(id, &source, text, now)?;
        self.quarantine.remove(&(id, from.offset));
        let Some(feed) = self.feeds.get_mut(id) else { return Ok(0) };
        feed.coverage.take(from.offset, Place { offset: from.offset + raw.length, parts: 0 });
        feed.coverage.finish(from.offset);
        self.books.account(&source).lose(Reason::Invalid, count);
        Ok(raw.length)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an estimate")]
fn expected_body(unread: u64) -> usize {
    (unread.min(1 << 20) as f64 * JSON_OVERHEAD) as usize
}
