//! The stages of a table's reading, one journalctl each: where the journal ends; whether the last entry is still there;
//! all up to now, over all boots; and then what comes. Not what becomes of an entry.

use std::sync::Arc;
use std::time::Duration;

use super::table::{Begin, Stage};
use super::{MOST_HELPERS, MOST_HOLES, Order, PROOF, Purpose, RENEW, RETRY, Reader, Supply};
use crate::fault::Fault;
use crate::logs::batch::FileId;
use crate::logs::delivery::destination::Moment;
use crate::logs::engine::Engine;
use crate::logs::ledger::{Count, Reason};
use crate::logs::settings::Table as TableId;
use crate::logs::source::journal::cursor::Cursor;
use crate::logs::source::journal::query::{From, Query};

impl Engine {
    /// Starts a table's reader when that is due, or another one in its place.
    pub(super) fn tend(&mut self, index: usize, now: Moment) {
        let table = &self.journals.tables[index];
        if table.stage != Stage::Open {
            return;
        }
        // The only feed of a table that is behind has a reader of its own.
        let wanted = table.per_unit || table.feeds.values().any(|id| self.supply(*id) == Some(Supply::Live));
        if let Some(reader) = table.live
            && (!wanted || now.boot >= table.renew_at)
        {
            self.dismiss(reader);
            self.journals.tables[index].innocent.clear();
        }
        let table = &mut self.journals.tables[index];
        table.wanted = wanted;
        if now.boot >= table.proven_at {
            (table.failures, table.proven_at) = (0, Duration::MAX);
            if table.fault.take().is_some() {
                tracing::info!(journal = table.name, "the journal can be read again");
            }
        }
        if wanted && table.live.is_none() && now.boot >= table.due {
            self.start(index, Purpose::Newest);
        }
    }

    pub(super) fn supply(&self, id: FileId) -> Option<Supply> {
        self.feeds.get(id)?.tape().map(|tape| tape.supply)
    }

    /// Whether a feed has what stands up to `place`.
    fn has(&self, id: FileId, place: Cursor) -> bool {
        let after = self.feeds.get(id).and_then(|feed| feed.tape()?.after());
        after.is_some_and(|after| place.is_at_or_before(&after))
    }

    pub(super) fn set_supply(&mut self, id: FileId, supply: Supply) {
        if let Some((tape, _)) = self.feeds.get_mut(id).and_then(|feed| feed.tape_mut()) {
            tape.supply = supply;
        }
    }

    fn start(&mut self, index: usize, purpose: Purpose) {
        let table = &mut self.journals.tables[index];
        let unit = |id: FileId| self.feeds.get(id).and_then(|feed| feed.tape()?.unit.clone());
        let after = |id: FileId| self.feeds.get(id).and_then(|feed| feed.tape()?.after());
        let query = match purpose {
            Purpose::Newest => Query::Newest,
            Purpose::At(cursor, _) => Query::At(cursor),
            Purpose::All => Query::All { from: table.from(), unit: None },
            Purpose::Follow => Query::Follow(table.tip),
            Purpose::Help(id) => {
                Query::All { from: after(id).map_or_else(|| table.begin_again(), From::Cursor), unit: unit(id) }
            }
        };
        let arguments = table.asker.arguments(&query);
        let (takes_all, behind) = match &query {
            Query::All { from: From::Cursor(cursor), unit } => (table.asker.takes_all(unit.as_deref()), Some(*cursor)),
            Query::All { unit, .. } => (table.asker.takes_all(unit.as_deref()), None),
            Query::Follow(cursor) => (table.asker.takes_all(None), *cursor),
            Query::Newest | Query::At(_) => (false, None),
        };
        self.journals.next_reader += 1;
        let reader = self.journals.next_reader;
        if !matches!(purpose, Purpose::Help(_) | Purpose::At(_, Some(_))) {
            table.live = Some(reader);
            (table.renew_at, table.proven_at) = (Duration::MAX, Duration::MAX);
        }
        let is_shared = table.per_unit && matches!(purpose, Purpose::All | Purpose::Follow);
        let mut started = Reader::new(reader, index, purpose, is_shared);
        (started.takes_all, started.behind) = (takes_all, behind);
        self.journals.readers.insert(reader, started);
        self.journals.orders.push(Order::Start { reader, arguments });
    }

    /// Whether a reader came upon a hole in the numbers: it may have been slower than somebody who removes the oldest
    /// entries, which journalctl passes over without a word. Then it is over, and what stands before the hole is looked
    /// for: should it be there, nothing behind it was removed.
    pub(super) fn has_suspect_hole(&mut self, reader: &Reader) -> bool {
        let table = &mut self.journals.tables[reader.table];
        let Some(hole) = reader.hole() else { return false };
        if table.innocent.len() >= MOST_HOLES || table.innocent.contains(&hole) {
            return false;
        }
        table.hole = Some(hole);
        let (last, _) = hole;
        if let Purpose::Help(id) = reader.purpose {
            self.dismiss(reader.id);
            self.start(reader.table, Purpose::At(last, Some(id)));
        } else {
            table.check = true;
            table.rewind = Some(From::Cursor(last));
            self.dismiss(reader.id);
        }
        true
    }

    /// Ends a reader before its time.
    pub(super) fn dismiss(&mut self, reader: u64) {
        self.journals.orders.push(Order::Stop(reader));
        self.journals.readers.remove(&reader);
        for table in &mut self.journals.tables {
            if table.live == Some(reader) {
                table.live = None;
            }
        }
    }

    /// Starts readers for feeds that missed something and whose streams want data.
    pub(super) fn help_hungry(&mut self, now: Moment) {
        let is_helper = |reader: &&Reader| matches!(reader.purpose, Purpose::Help(_) | Purpose::At(_, Some(_)));
        let helpers = self.journals.readers.values().filter(is_helper).count();
        let tables = self.journals.tables.iter().enumerate().filter(|(_, table)| now.boot >= table.due);
        let feeds = tables.flat_map(|(index, table)| table.feeds.values().map(move |id| (index, *id)));
        let hungry: Vec<(usize, FileId)> = feeds.filter(|(_, id)| self.supply(*id) == Some(Supply::Hungry)).collect();
        for (index, id) in hungry.into_iter().take(MOST_HELPERS.saturating_sub(helpers)) {
            self.set_supply(id, Supply::Helped);
            let after = self.feeds.get(id).and_then(|feed| feed.tape()?.after());
            self.start(index, after.map_or(Purpose::Help(id), |cursor| Purpose::At(cursor, Some(id))));
        }
    }

    /// A reader ended; what comes next.
    pub(super) fn reader_ended(&mut self, reader: &Reader, result: Result<(), String>, now: Moment) {
        self.dismiss(reader.id);
        let index = reader.table;
        if let Err(reason) = result {
            return self.reader_failed(reader, &reason, now);
        }
        match reader.purpose {
            Purpose::Newest => self.learned_end(index, reader.first, now),
            Purpose::At(cursor, feed) => self.learned_place(index, cursor, feed, reader.first, now),
            Purpose::All => self.caught_up(index, now),
            Purpose::Follow => self.reader_failed(reader, "journalctl --follow ended", now),
            Purpose::Help(id) => self.helped(index, id),
        }
    }

    fn learned_end(&mut self, index: usize, newest: Option<Cursor>, now: Moment) {
        let table = &mut self.journals.tables[index];
        table.newest = newest;
        if table.begin == Begin::End && table.tip.is_none() {
            (table.tip, table.check) = (newest, false);
            let feeds: Vec<FileId> = table.feeds.values().copied().collect();
            for id in feeds {
                let tape = self.feeds.get_mut(id).and_then(|feed| feed.tape_mut());
                if let (Some((tape, _)), Some(tip)) = (tape, newest) {
                    tape.go_on_behind(tip);
                }
            }
            self.write_journal(index);
            return self.caught_up(index, now);
        }
        match table.from() {
            From::Cursor(cursor) if table.check => self.start(index, Purpose::At(cursor, None)),
            _ => {
                table.check = false;
                self.start(index, Purpose::All);
            }
        }
    }

    /// Whether the entry at `cursor` is still there shows in the one that was found instead of it.
    fn learned_place(
        &mut self,
        index: usize,
        cursor: Cursor,
        feed: Option<FileId>,
        found: Option<Cursor>,
        now: Moment,
    ) {
        let hole = self.journals.tables[index].hole.take_if(|(last, _)| *last == cursor);
        if let Some(found) = found.filter(|found| cursor.entries_until(found) != Some(0)) {
            self.note_gap(index, feed, cursor, found, now);
        } else if found.is_some() {
            self.journals.tables[index].innocent.extend(hole);
        }
        if let Some(id) = feed {
            return self.start(index, Purpose::Help(id));
        }
        // Where nothing stands any more it is still to be seen what comes instead.
        self.journals.tables[index].check = found.is_none();
        self.start(index, Purpose::All);
    }

    /// Everything up to now was read.
    fn caught_up(&mut self, index: usize, now: Moment) {
        let table = &mut self.journals.tables[index];
        table.saw_all_to_the_end();
        table.rewind = None;
        for id in table.feeds.values() {
            if let Some((tape, _)) = self.feeds.get_mut(*id).and_then(|feed| feed.tape_mut()) {
                tape.joining = false;
            }
        }
        self.start(index, Purpose::Follow);
        let table = &mut self.journals.tables[index];
        (table.renew_at, table.proven_at) = (now.boot + RENEW, now.boot + PROOF);
    }

    /// A feed has all that it missed: from now on it gets what comes, like the others.
    fn helped(&mut self, index: usize, id: FileId) {
        let Some((tape, coverage)) = self.feeds.get_mut(id).and_then(|feed| feed.tape_mut()) else { return };
        tape.settle_passed(coverage);
        tape.supply = Supply::Live;
        let table = &mut self.journals.tables[index];
        tape.joining = table.per_unit && table.join_at(tape.after());
        if let (Some(after), false) = (tape.after(), table.per_unit) {
            // What the only one has, its table has seen.
            table.saw(after);
        }
        // What came while it was helped is asked for again; the others know what they have.
        if let (Some(reader), true) = (table.live, tape.joining) {
            self.dismiss(reader);
        }
    }

    fn reader_failed(&mut self, reader: &Reader, reason: &str, now: Moment) {
        if let Purpose::Help(id) | Purpose::At(_, Some(id)) = reader.purpose {
            self.fall_behind(id, now);
        }
        let table = &mut self.journals.tables[reader.table];
        table.failures = table.failures.saturating_add(1);
        table.due = now.boot + RETRY.half_jitter(table.failures);
        table.check = true;
        let fault = Fault { at: now.wall, message: format!("the journal can't be read: {reason}"), hint: hint(reason) };
        if table.fault.as_ref().is_none_or(|before| before.message != fault.message) {
            tracing::warn!(journal = table.name, error = fault.message, "trying again");
        }
        table.fault = Some(fault);
    }

    /// Entries behind `last` are gone, the journal goes on with `next`: the streams and the accounts say so. How many
    /// of them the table asked for is known only where it asks for all.
    fn note_gap(&mut self, index: usize, feed: Option<FileId>, last: Cursor, next: Cursor, now: Moment) {
        let table = &self.journals.tables[index];
        let resume = next.just_before();
        // Of a hole that was read over up to some place, the rest is missing.
        let after = |id: &FileId| self.feeds.get(*id)?.tape()?.after();
        let only = table.feeds.values().next().filter(|_| !table.per_unit);
        let last = only.and_then(after).filter(|after| last.is_at_or_before(after)).unwrap_or(last);
        let missing = last.entries_until(&next);
        let exact = missing.filter(|_| table.takes_all && !table.per_unit);
        let feeds: Vec<FileId> = if let Some(id) = feed {
            vec![id]
        } else {
            let ids = table.feeds.values().copied();
            // One that was helped beyond that place has it.
            ids.filter(|id| self.supply(*id) == Some(Supply::Live) && !self.has(*id, resume)).collect()
        };
        let text = gap_text(last, next, missing, exact.is_some());
        if !feeds.is_empty() {
            tracing::warn!(journal = table.name, "{text}");
        }
        for id in &feeds {
            let Some(feed) = self.feeds.get_mut(*id) else { continue };
            let source: Arc<str> = feed.source.clone();
            if let Some((tape, coverage)) = feed.tape_mut() {
                tape.close_gap(coverage);
                tape.go_on_behind(resume);
                feed.size = tape.end();
                feed.unread();
            }
            // A gap of unknown size is one of something.
            let events = exact.unwrap_or(1);
            self.books.account(&source).lose(Reason::Gap, Count { events, bytes: 0 });
            self.want(*id, now);
        }
        if feed.is_none() {
            let table = &mut self.journals.tables[index];
            let seen_more = table.tip.filter(|tip| resume.is_at_or_before(tip));
            table.tip = seen_more.or(Some(resume));
            table.rewind = seen_more.map(|_| From::Cursor(resume));
        }
        let record = self.journal_record(TableId::Journal(index));
        let sources = feeds.iter().filter_map(|id| self.feeds.get(*id)).map(|feed| feed.source.clone());
        let states = sources.filter_map(|source| Some((source, record.clone()?))).collect();
        if let Err(error) = self.books.write(states) {
            self.warn_of_checkpoint(&error);
        }
    }
}

/// The cure for what journalctl complains of, where there is one.
fn hint(reason: &str) -> Option<String> {
    let hint = if reason.contains("there is no /usr/bin/journalctl") {
        "install systemd's journalctl, or take [[logs.journal]] out of the configuration"
    } else if reason.contains("insufficient permissions") {
        "put the agent's user into the group systemd-journal, or give its service CAP_DAC_READ_SEARCH"
    } else if reason.contains("Permission denied") {
        "let the agent's service run journalctl (ExecPaths=/usr/bin/journalctl) and read the journal"
    } else if reason.starts_with("Failed to open") {
        "`directory` must be a directory of journal files"
    } else {
        return None;
    };
    Some(hint.to_owned())
}

fn gap_text(last: Cursor, next: Cursor, missing: Option<u64>, exact: bool) -> String {
    let time = |cursor: Cursor| {
        let micros = i64::try_from(cursor.realtime).unwrap_or(i64::MAX);
        jiff::Timestamp::from_microsecond(micros).map_or_else(|_| "?".to_owned(), |time| format!("{time:.0}"))
    };
    let (from, to) = (time(last), time(next));
    match missing {
        Some(missing) if exact => {
            format!("gap: {missing} journal entries were removed before they were read, between {from} and {to}")
        }
        Some(missing) => format!(
            "gap: {missing} journal entries, of which some may belong here, were removed before they were read, between {from} and {to}"
        ),
        None => format!("gap: journal entries between {from} and {to} were removed before they were read"),
    }
}
