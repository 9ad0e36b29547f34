//! Which journalctl runs when, and what becomes of the entries it brings.
//!
//! A table has one reader that brings everything, first up to now and then as it comes. Its entries go to the table's
//! feeds: one, or one a unit. A feed whose stream does not take them in time is left behind, so that it holds up nobody:
//! what it misses stands in the journal, and a reader of its own brings that once the stream wants data again; then it
//! joins the others. Nothing is written anywhere but positions.

mod adapting;
mod intake;
mod stages;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(super) use self::table::SOURCE;
use self::table::{Keys, Stage, Table, name_of};
use super::Engine;
use crate::backoff::Backoff;
use crate::fault::Fault;
use crate::logs::batch::FileId;
use crate::logs::checkpoint::{JournalState, Record};
use crate::logs::delivery::destination::Moment;
use crate::logs::settings::{JournalSettings, Table as TableId};
use crate::logs::source::feed::Feed;
use crate::logs::source::journal::child::Output;
use crate::logs::source::journal::cursor::Cursor;
use crate::logs::source::journal::own::Own;
use crate::logs::source::journal::reader::{Order, Purpose, Reader, ReaderId};
use crate::logs::source::journal::tape::{Supply, Tape, TapeState};

/// How many feeds are helped at once: each helper is a process.
const MOST_HELPERS: usize = 4;

/// So many holes in the numbers of a journal are examined until it is begun anew, at the cost of three processes each: one
/// that has more has them by nature.
const MOST_HOLES: usize = 8;

/// After so long a table is read anew from where it is, so that a follower that went deaf is not believed for ever, and
/// the position of a quiet table does not stay where the journal will be vacuumed. It takes three processes, about 30 ms
/// of CPU time: 0.05 %.
const RENEW: Duration = Duration::from_mins(1);

/// A follower that lives so long can read the journal: what it can't do it says at once.
const PROOF: Duration = Duration::from_secs(2);

/// Between attempts to read a journal that can't be read.
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));

/// What all tapes together take at most is this share of the memory limit.
const SHARE_OF_MEMORY: u64 = 4;

/// A unit of which nothing was heard for so long gets a new feed when it speaks again.
const FORGOTTEN_AFTER: i64 = 3600;

/// The journal's tables, and their readers.
#[derive(Debug)]
pub(super) struct Journals {
    tables: Vec<Table>,
    readers: BTreeMap<ReaderId, Reader>,
    next_reader: ReaderId,
    orders: Vec<Order>,
    own: Own,
    /// What the checkpoint knows of tables that there are no more.
    others: Vec<JournalState>,
    /// What may still be put on tapes in this step, in bytes; below nothing, only empty ones take something.
    room: i64,
}

impl Journals {
    pub(super) fn none() -> Self {
        Self {
            tables: Vec::new(),
            readers: BTreeMap::new(),
            next_reader: 0,
            orders: Vec::new(),
            own: Own::of_this_process(),
            others: Vec::new(),
            room: 0,
        }
    }

    /// What is to be done with journalctl.
    pub(super) fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// A journalctl wrote something, or ended. One that is not expected any more is not heard.
    pub(super) fn receive(&mut self, reader: ReaderId, output: Output) {
        if let Some(reader) = self.readers.get_mut(&reader) {
            reader.receive(output);
        }
    }

    /// Why a table's journal can't be read, if so.
    pub(super) fn fault(&self, table: usize) -> Option<&Fault> {
        self.tables.get(table).and_then(|table| table.fault.as_ref())
    }

    /// The tables that have no feed to show: their names, and why.
    pub(super) fn without_feeds(&self) -> impl Iterator<Item = (&str, Option<&Fault>)> {
        let without = self.tables.iter().filter(|table| table.stage == Stage::Open && table.feeds.is_empty());
        without.map(|table| (table.name.as_str(), table.fault.as_ref()))
    }

    /// What the checkpoint is to hold of them.
    pub(super) fn states(&self, feeds: &super::feeds::Feeds) -> Vec<Record> {
        // Who awaits another has nothing of its own yet, and one that is over is among the others.
        let has_state = |table: &usize| self.tables[*table].can_go_on();
        let tables = (0..self.tables.len()).filter(has_state).map(|table| self.state(table, feeds));
        tables.chain(self.others.iter().cloned()).map(Record::Journal).collect()
    }

    fn state(&self, table: usize, feeds: &super::feeds::Feeds) -> JournalState {
        let mut state = self.tables[table].state();
        let all = self.tables[table].feeds.values().filter_map(|id| feeds.get(*id));
        state.feeds = all.filter_map(|feed| Some(feed.tape()?.state(feed.id, state.tip, &feed.coverage))).collect();
        state
    }

    /// The memory of readers, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.readers.values().map(Reader::memory).sum()
    }

    /// When there is something to do although nothing happened.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        let held = self.readers.values().filter_map(|reader| Some(reader.held_since? + intake::patience(reader)));
        let tables = self.tables.iter().filter(|table| table.wanted && table.stage == Stage::Open);
        let due = |table: &Table| if table.live.is_none() { table.due } else { table.renew_at.min(table.proven_at) };
        let tables = tables.map(due);
        held.chain(tables).min()
    }

    /// Whether some entry waits for room.
    pub(super) fn is_held(&self) -> bool {
        self.readers.values().any(|reader| reader.held_since.is_some())
    }

    /// Whether a position is to be written down soon.
    pub(super) fn needs_tick(&self) -> bool {
        self.tables.iter().any(Table::is_to_be_written)
    }

    /// Ends every reader.
    pub(super) fn stop(&mut self) {
        let readers: Vec<ReaderId> = self.readers.keys().copied().collect();
        self.orders.extend(readers.into_iter().map(Order::Stop));
        self.readers.clear();
        for table in &mut self.tables {
            table.live = None;
        }
    }
}

impl Engine {
    /// Finds its tables in what the checkpoint knows. `is_new` is whether that knows nothing at all.
    pub(super) fn open_journals(&mut self, known: BTreeMap<FileId, JournalState>, is_new: bool) {
        self.journals.stop();
        self.journals.tables.clear();
        let settings = self.settings.journals.clone();
        let mut known: Vec<JournalState> = known.into_values().collect();
        let newest = newest_tips(&known);
        let mut states = claim(settings.iter().enumerate(), &mut known);
        let mut names = BTreeSet::new();
        for (index, settings) in settings.iter().enumerate() {
            let name = unique(name_of(settings), &mut names);
            self.add_table(settings, name, states.remove(&index), newest, is_new);
        }
        self.journals.others = known;
    }

    /// Adds a table, which goes on at `state`; without one, where the others are, if it is to begin at the end.
    fn add_table(
        &mut self,
        settings: &JournalSettings,
        name: String,
        state: Option<JournalState>,
        newest: Option<Cursor>,
        is_new: bool,
    ) {
        let id = state.as_ref().map_or_else(|| self.feeds.next_id(), |state| state.id);
        let mut table = Table::new(id, name, settings, is_new);
        if state.is_none() && settings.directory.is_none() && !is_new && table.begin == table::Begin::End {
            // What began to be asked for while nobody looked is read from where the others were left.
            table.tip = newest;
        }
        if state.is_none()
            && let Some(after) = &settings.after
        {
            table.tip = after.parse().ok();
        }
        self.journals.tables.push(table);
        self.revive(self.journals.tables.len() - 1, state);
    }

    /// Makes a table's feeds as the checkpoint has them.
    fn revive(&mut self, index: usize, state: Option<JournalState>) {
        let table = &mut self.journals.tables[index];
        let was_per_unit = state.as_ref().map_or(table.per_unit, |state| state.target.contains("{unit"));
        let feeds = state.map_or_else(Vec::new, |state| {
            table.tip = state.tip;
            state.feeds
        });
        if table.per_unit == was_per_unit {
            for feed in feeds {
                self.revive_feed(index, feed);
            }
        } else {
            // Of one stream for each unit has become one, or the other way round: it goes on where the last was left.
            let unsettled = feeds.iter().filter(|feed| !feed.settled).filter_map(|feed| feed.cursor);
            table.tip = unsettled.chain(table.tip).reduce(Cursor::first);
        }
        let table = &self.journals.tables[index];
        if !table.per_unit && table.feeds.is_empty() {
            let after = table.tip;
            self.add_feed(index, None, TapeState { settled: true, cursor: after, ..TapeState::default() });
        }
    }

    fn revive_feed(&mut self, index: usize, state: TapeState) {
        let (unit, settled) = (state.unit.clone(), state.settled);
        let after = if settled { self.journals.tables[index].tip } else { state.cursor };
        self.add_feed(index, unit, TapeState { cursor: after, ..state });
    }

    /// Adds a feed; one that is not settled is behind.
    fn add_feed(&mut self, index: usize, unit: Option<String>, state: TapeState) -> FileId {
        let id = if state.id == 0 { self.feeds.next_id() } else { state.id };
        let per_unit = self.journals.tables.iter().filter(|table| table.per_unit).count();
        let table = &mut self.journals.tables[index];
        let source = table.source(unit.as_ref(), per_unit == 1).into();
        let supply = if state.settled { Supply::Live } else { Supply::Behind };
        let mut tape = Tape::new(unit.clone(), table.unit_name(unit.as_ref()), supply, state.cursor, state.offset);
        tape.pass_over(state.done);
        table.feeds.insert(unit, id);
        self.books.account(&source);
        self.feeds.insert(Feed::of_journal(id, source, TableId::Journal(index), tape));
        id
    }

    /// Starts what is due, and takes in what came. Its orders are to be taken afterwards.
    pub(super) fn run_journals(&mut self, now: Moment) {
        if self.journals.tables.is_empty() {
            return;
        }
        self.settle_closing();
        self.measure_room();
        for index in 0..self.journals.tables.len() {
            self.tend(index, now);
        }
        self.help_hungry(now);
        let readers: Vec<ReaderId> = self.journals.readers.keys().copied().collect();
        for reader in readers {
            self.pump(reader, now);
        }
    }

    fn measure_room(&mut self) {
        let ids = self.journals.tables.iter().flat_map(|table| table.feeds.values());
        let taken: usize = ids.filter_map(|id| self.feeds.get(*id)?.tape()).map(Tape::memory).sum();
        let limit = i64::try_from(self.settings.memory_limit / SHARE_OF_MEMORY).unwrap_or(i64::MAX);
        self.journals.room = limit - i64::try_from(taken).unwrap_or(i64::MAX);
    }

    /// The memory of what the journal has here, in bytes.
    pub(super) fn journals_memory(&self) -> usize {
        let ids = self.journals.tables.iter().flat_map(|table| table.feeds.values());
        let tapes: usize = ids.filter_map(|id| self.feeds.get(*id)?.tape()).map(Tape::memory).sum();
        tapes + self.journals.memory()
    }

    /// From time to time: positions that moved without anything being delivered, units that went silent, and feeds that
    /// were behind from the beginning.
    pub(super) fn tick_journals(&mut self, now: Moment) {
        let open = self.journals.tables.iter().filter(|table| table.stage == Stage::Open);
        let feeds = open.flat_map(|table| table.feeds.values().copied());
        let behind: Vec<FileId> = feeds.filter(|id| self.supply(*id) == Some(Supply::Behind)).collect();
        for id in behind {
            self.want(id, now);
        }
        for index in 0..self.journals.tables.len() {
            self.forget_silent(index, now);
            if self.journals.tables[index].is_to_be_written() {
                self.write_journal(index);
            }
        }
    }

    fn forget_silent(&mut self, index: usize, now: Moment) {
        let table = &self.journals.tables[index];
        if !table.per_unit || table.stage != Stage::Open {
            return;
        }
        let oldest = now.wall.as_microsecond().saturating_sub(FORGOTTEN_AFTER * 1_000_000);
        let is_silent = |id: &FileId| {
            self.feeds.get(*id).is_some_and(|feed| {
                let heard = feed.tape().and_then(Tape::after).map_or(0, |cursor| cursor.realtime);
                let settled = feed.tape().is_some_and(|tape| tape.state(*id, table.tip, &feed.coverage).settled);
                settled && i64::try_from(heard).unwrap_or(i64::MAX) < oldest
            })
        };
        let silent: Vec<Option<String>> =
            table.feeds.iter().filter(|(_, id)| is_silent(id)).map(|(unit, _)| unit.clone()).collect();
        for unit in silent {
            if let Some(id) = self.journals.tables[index].feeds.remove(&unit) {
                self.feeds.remove(id);
                self.streams.lose_interest(id);
            }
        }
    }

    /// Writes down where a table stands.
    fn write_journal(&mut self, index: usize) {
        let state = self.journals.state(index, &self.feeds);
        self.journals.tables[index].written = state.tip;
        if let Err(error) = self.books.write_record(Record::Journal(state)) {
            self.warn_of_checkpoint(&error);
        }
    }

    /// What the checkpoint keeps of the table of a feed.
    pub(super) fn journal_record(&mut self, table: TableId) -> Option<Record> {
        let TableId::Journal(index) = table else { return None };
        let state = self.journals.state(index, &self.feeds);
        self.journals.tables[index].written = state.tip;
        Some(Record::Journal(state))
    }
}

/// The latest place that any table has seen of this system's journal, as far as that is sure.
fn newest_tips(known: &[JournalState]) -> Option<Cursor> {
    let tips = known.iter().filter_map(|state| state.tip);
    tips.reduce(|one, other| if one.first(other) == one { other } else { one })
}

/// Which state belongs to which table: the one that has most in common with it, each only once.
fn claim<'s>(
    settings: impl Iterator<Item = (usize, &'s JournalSettings)>,
    known: &mut Vec<JournalState>,
) -> BTreeMap<usize, JournalState> {
    let mut claimed = BTreeMap::new();
    let keys: Vec<(usize, Keys)> = settings.map(|(index, settings)| (index, Keys::of(settings))).collect();
    for likeness in [3, 2, 1] {
        for (index, keys) in &keys {
            let found = known.iter().position(|state| keys.likeness(state) == likeness);
            if let Some(found) = found.filter(|_| !claimed.contains_key(index)) {
                claimed.insert(*index, known.remove(found));
            }
        }
    }
    claimed
}

fn unique(name: String, names: &mut BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{name} #{number}"));
    let unique = std::iter::once(name.clone()).chain(numbered).find(|name| !names.contains(name)).unwrap_or(name);
    names.insert(unique.clone());
    unique
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
