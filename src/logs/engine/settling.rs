//! What is sent, and what becomes of the answers: accounts, dead letters, and only then the checkpoint.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::{Action, Engine, Step};
use crate::logs::batch::{FileId, Segment};
use crate::logs::creation::Created;
use crate::logs::dead_letters::DeadLetter;
use crate::logs::delivery::destination::{Moment, Ticket};
use crate::logs::delivery::shipment::Shipment;
use crate::logs::delivery::slots::Slots;
use crate::logs::ledger::{Count, Reason};
use crate::logs::sink::{Accepted, Failure, Kind};
use crate::logs::source::feed::Feed;
use crate::logs::source::journal::tape::Tape;

impl Engine {
    /// Sends what is due, settles what needs no sending, gives back what would only be held.
    pub(super) fn send(&mut self, step: &mut Step, now: Moment) {
        let active = self.streams.active();
        let mut slots = self.count_slots(&active, now);
        let mut waiting = false;
        self.starved.clear();
        let (short, mut room) = (self.memory_is_short(), self.room_for_packing());
        for index in active {
            self.give_back_strays(index, now);
            let stream = self.streams.get_mut(index);
            stream.destination.seal(now, self.stopping);
            while let Some(shipment) = self.streams.get_mut(index).destination.take_finished() {
                self.settle(index, shipment, now);
            }
            loop {
                let destination = &mut self.streams.get_mut(index).destination;
                if !slots.may_send(&destination.log_group, destination.is_troubled()) {
                    waiting |= destination.is_waiting();
                    if destination.is_waiting() && !destination.is_troubled() {
                        self.starved.insert(destination.log_group.clone());
                    }
                    break;
                }
                self.next_ticket += 1;
                let ticket = self.next_ticket;
                let Some((body, packed)) = destination.send(ticket, room, now) else { break };
                room -= packed;
                let (log_group, log_stream) = (destination.log_group.clone(), destination.log_stream.clone());
                slots.count(&log_group, now.boot, now.boot);
                self.streams.had_its_turn(index);
                step.actions.push(Action::Put {
                    stream: index,
                    ticket,
                    log_group,
                    log_stream,
                    body,
                    packed: packed > 0,
                });
            }
            if short {
                self.give_back(index, now);
            }
        }
        self.slots_free_at = slots.frees_at().filter(|_| waiting);
    }

    fn count_slots(&self, active: &[usize], now: Moment) -> Slots {
        let mut slots = Slots::default();
        for &index in active {
            let destination = &self.streams.get(index).destination;
            destination.sent().for_each(|sent| slots.count(&destination.log_group, sent, now.boot));
        }
        slots
    }

    /// During a long wait a stream's batches go back to their files, if those still hold them.
    fn give_back(&mut self, index: usize, now: Moment) {
        let feeds = &self.feeds;
        let readable = |id: FileId| feeds.get(id).is_some_and(Feed::can_be_read_again);
        let released = self
            .streams
            .get_mut(index)
            .destination
            .release(now, |segments| segments.iter().all(|segment| readable(segment.file)));
        self.take_back(index, released, now);
    }

    /// What waits in vain in a stream, and is not for it any more, goes back to its files.
    fn give_back_strays(&mut self, index: usize, now: Moment) {
        let feeds = &self.feeds;
        let readable = |id: FileId| feeds.get(id).is_some_and(Feed::can_be_read_again);
        let released = self.streams.release_strays(index, readable);
        self.take_back(index, released, now);
    }

    pub(super) fn take_back(&mut self, index: usize, released: Vec<Segment>, now: Moment) {
        for segment in released {
            let Some(feed) = self.feeds.get_mut(segment.file) else { continue };
            feed.coverage.give_back(segment.start);
            feed.unread();
            let source = feed.source.clone();
            self.books.budgets.give_back(feed.table, segment.sent().bytes);
            self.books.account(&source).give_back(segment.count());
            self.streams.get_mut(index).destination.account.give_back(segment.count());
            self.rewind_journal(segment.file, now);
            self.want(segment.file, now);
        }
    }

    /// A put was answered.
    pub(super) fn take_answer(
        &mut self,
        index: usize,
        ticket: Ticket,
        result: Result<Accepted, Failure>,
        step: &mut Step,
        now: Moment,
    ) {
        let kind = result.as_ref().err().map(|failure| failure.kind);
        let outcome = self.streams.answer(index, ticket, result, now);
        self.retime_refused(index, kind, now);
        if !outcome.create && outcome.finished.is_none() {
            return;
        }
        let stream = self.streams.get(index);
        let (log_group, log_stream) = (stream.destination.log_group.clone(), stream.destination.log_stream.clone());
        if outcome.create {
            let settings = self.groups.settings(&log_group);
            let without_group = kind == Some(Kind::GroupNotFound);
            step.actions.push(Action::Create { stream: index, log_group, log_stream, without_group, settings });
        } else {
            self.groups.exists(&log_group, now.boot);
        }
        if let Some(shipment) = outcome.finished {
            self.settle(index, shipment, now);
        }
    }

    /// Everything of a shipment is accepted or given up: into the dead letters first, then the accounts, then the
    /// checkpoint. One whose dead letters can't be written waits.
    fn settle(&mut self, index: usize, shipment: Shipment, now: Moment) {
        if shipment.is_marker() {
            return self.was_said(&shipment);
        }
        if let Err(error) = self.bury(index, &shipment, now) {
            let path = self.books.dead_letters.path().display().to_string();
            let message = format!("dead letters can't be written to '{path}': {error}");
            self.set_warning("dead_letters_unwritable", Some(message), "make room on that file system");
            self.unsettled.push((index, shipment));
            return;
        }
        let place = self.streams.place(index);
        let mut rejected = vec![Count::default(); shipment.batch.segments().len()];
        for (range, reason) in shipment.rejected() {
            let times = (shipment.batch.event_at(range.start), shipment.batch.event_at(range.end - 1));
            for share in shipment.batch.shares_of(range.clone()) {
                rejected[share.segment].add(share.count);
                self.streams.get_mut(index).destination.account.drop(*reason, share.count);
                self.settle_account(share.file, |account| {
                    account.drop(*reason, share.count);
                    account.note_gaps(&place, times, now.boot);
                });
            }
        }
        let mut touched = BTreeSet::new();
        for (segment, rejected) in shipment.batch.segments().iter().zip(rejected) {
            let sent = segment.sent();
            let delivered = Count { events: sent.events - rejected.events, bytes: sent.bytes - rejected.bytes };
            self.streams.get_mut(index).destination.account.settle(delivered, &segment.skipped);
            self.settle_account(segment.file, |account| {
                account.settle(delivered, &segment.skipped);
                account.invalid_utf8 += segment.invalid_utf8;
                account.unparsed_timestamps += segment.unparsed_timestamps;
                account.note_gaps(&place, (now.wall, now.wall), now.boot);
            });
            if let Some(feed) = self.feeds.get_mut(segment.file) {
                self.books.budgets.settle(feed.table, sent.bytes);
                feed.coverage.finish(segment.start);
                touched.insert(segment.file);
            }
        }
        self.write_down(touched.into_iter(), now);
    }

    fn settle_account(&mut self, id: FileId, change: impl FnOnce(&mut crate::logs::ledger::Account)) {
        if let Some(feed) = self.feeds.get(id) {
            let source = feed.source.clone();
            change(self.books.account(&source));
        }
    }

    /// Moves the checkpoint of these feeds.
    pub(super) fn write_down(&mut self, ids: impl Iterator<Item = FileId>, now: Moment) {
        let mut states = Vec::new();
        for id in ids {
            let Some(feed) = self.feeds.get_mut(id) else { continue };
            let is_behind = feed.tape().is_some_and(Tape::is_behind);
            if feed.coverage.low().offset >= feed.size && !is_behind {
                feed.behind_since = None;
            } else {
                feed.behind_since = Some(now.boot);
            }
            let (source, table, state) = (feed.source.clone(), feed.table, feed.state());
            self.relieve_tape(id);
            let state = state.or_else(|| self.journal_record(table));
            states.extend(state.map(|state| (source, state)));
        }
        if let Err(error) = self.books.write(states) {
            self.warn_of_checkpoint(&error);
        }
    }

    /// Writes what was given up of a shipment to the dead letters, synced.
    fn bury(&mut self, index: usize, shipment: &Shipment, now: Moment) -> io::Result<()> {
        if shipment.rejected().is_empty() {
            return Ok(());
        }
        let destination = &self.streams.get(index).destination;
        let (log_group, log_stream) = (destination.log_group.clone(), destination.log_stream.clone());
        let mut letters = Vec::new();
        for (range, reason) in shipment.rejected() {
            for at in range.clone() {
                let file = shipment.batch.shares_of(at..at + 1).first().map(|share| share.file);
                let source = file.and_then(|id| self.feeds.get(id)).map_or("", |feed| &feed.source);
                let event: &RawValue = serde_json::from_slice(shipment.batch.event(at))?;
                let (log_group, log_stream) = (&*log_group, &*log_stream);
                letters.push(DeadLetter { at: now.wall, reason: *reason, log_group, log_stream, source, event });
            }
        }
        self.books.dead_letters.append(&letters)?;
        tracing::error!(%log_group, %log_stream, events = letters.len(), "events were refused for good, see the dead letters");
        Ok(())
    }

    /// Writes a record that could not even be framed to the dead letters.
    pub(super) fn bury_raw(&mut self, id: FileId, source: &Arc<str>, raw: &[u8], now: Moment) -> io::Result<()> {
        let message = String::from_utf8_lossy(raw);
        let event = serde_json::json!({"timestamp": now.wall.as_millisecond(), "message": message.trim_end()});
        let event = serde_json::value::to_raw_value(&event)?;
        let (log_group, log_stream) = self.streams.route(id).map_or_else(
            || (Arc::from(""), Arc::from("")),
            |destination| (destination.log_group.clone(), destination.log_stream.clone()),
        );
        let (log_group, log_stream) = (&*log_group, &*log_stream);
        let letter = DeadLetter { at: now.wall, reason: Reason::Invalid, log_group, log_stream, source, event: &event };
        self.books.dead_letters.append(&[letter])?;
        tracing::error!(source = &**source, "a record that made us panic twice was put into the dead letters");
        Ok(())
    }

    /// Tries again what could not be settled.
    pub(super) fn retry_unsettled(&mut self, now: Moment) {
        for (index, shipment) in std::mem::take(&mut self.unsettled) {
            self.settle(index, shipment, now);
        }
        if self.unsettled.is_empty() {
            self.warnings.remove("dead_letters_unwritable");
        }
    }

    /// A stream was created, or could not be.
    pub(super) fn note_created(&mut self, index: usize, result: Result<Created, Failure>, now: Moment) {
        if let Some(log_group) = self.streams.group_of(index)
            && let Ok(Created { with_group: true, unset }) = &result
        {
            self.groups.made(&log_group, unset.as_ref(), now.boot);
            self.warn_of_groups();
        }
        self.streams.created(index, result.map(|_| ()), now);
    }

    /// A group was compared with what was asked for.
    pub(super) fn note_checked(
        &mut self,
        log_group: &Arc<str>,
        result: Result<&Option<String>, &Failure>,
        now: Moment,
    ) {
        self.groups.compared(log_group, result.map(Option::as_deref), now.boot);
        self.warn_of_groups();
    }

    fn warn_of_groups(&mut self) {
        let (message, hint) = self.groups.problem().unzip();
        self.set_warning("log_group_differs", message, &hint.unwrap_or_default());
    }

    /// The groups that are to be compared now.
    pub(super) fn checks_due(&mut self, now: Moment) -> impl Iterator<Item = Action> + use<> {
        let due = if self.stopping { Vec::new() } else { self.groups.take_due(now.boot) };
        due.into_iter().map(|(log_group, settings)| Action::CheckGroup { log_group, settings })
    }

    /// The checkpoint can't be written: delivery goes on, but a kill would repeat what was delivered since.
    pub(super) fn warn_of_checkpoint(&mut self, error: &io::Error) {
        let message = format!("the checkpoint can't be written: {error}; a restart would send again what is sent now");
        self.set_warning(
            "checkpoint_unwritable",
            Some(message),
            "make room in the state directory, and let the service's user write it",
        );
    }

    /// Lines of the checkpoint that could not be read: positions since then are older than they were.
    pub(super) fn warn_of_torn_lines(&mut self) {
        if self.books.torn > 0 {
            let lines = self.books.torn;
            let message =
                format!("{lines} damaged lines of the checkpoint were passed over; what they told of is sent again");
            let hint = "it is whole again; if the power was not lost, look for errors of the disk";
            self.set_warning("checkpoint_damaged", Some(message), hint);
        }
    }
}
