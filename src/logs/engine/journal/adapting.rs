//! The journal's tables when the configuration is another: those that are in both go on with their readers and feeds; of
//! those that are not, what is on its way is waited for, and only then do those begin that come in their place, from
//! exactly there. Not how a table reads.

use std::collections::{BTreeMap, BTreeSet};

use super::table::{Stage, Table, name_of};
use super::{Supply, claim, newest_tips, unique};
use crate::logs::batch::FileId;
use crate::logs::checkpoint::{JournalState, Record};
use crate::logs::engine::Engine;
use crate::logs::settings::{JournalSettings, Table as TableId};

impl Engine {
    /// The tables are those of the settings from now on.
    pub(in crate::logs::engine) fn change_journals(&mut self) {
        let wanted = self.settings.journals.clone();
        let mut stays: BTreeMap<usize, usize> = BTreeMap::new();
        for (index, settings) in wanted.iter().enumerate() {
            let same = |(before, table): &(usize, &Table)| {
                table.can_go_on() && table.settings == *settings && !stays.values().any(|other| other == before)
            };
            let same = self.journals.tables.iter().enumerate().find(same).map(|(before, _)| before);
            stays.extend(same.map(|before| (index, before)));
        }
        let leaving = |before: &usize| !stays.values().any(|other| other == before);
        for before in (0..self.journals.tables.len()).filter(leaving).collect::<Vec<_>>() {
            self.close_table(before);
        }
        self.replace_tables(&wanted, &stays);
        self.settle_closing();
    }

    /// A table is taken away: nothing more is read for it.
    fn close_table(&mut self, index: usize) {
        let table = &mut self.journals.tables[index];
        if table.stage != Stage::Open {
            // Who awaited another had nothing yet.
            table.stage = if table.stage == Stage::Closing { Stage::Closing } else { Stage::Closed };
            return;
        }
        table.stage = Stage::Closing;
        let feeds: Vec<FileId> = table.feeds.values().copied().collect();
        let readers = self.journals.readers.values().filter(|reader| reader.table == index);
        for reader in readers.map(|reader| reader.id).collect::<Vec<_>>() {
            self.dismiss(reader);
        }
        for id in feeds {
            self.streams.estrange(id);
            self.held.forget(id);
            let Some(feed) = self.feeds.get_mut(id) else { continue };
            let Some((tape, coverage)) = feed.tape_mut() else { continue };
            if !tape.is_empty() || tape.supply != Supply::Live {
                tape.fall_behind(coverage);
                feed.size = tape.end();
            }
        }
    }

    /// Puts the tables into the order of the settings, those that stay and new ones, and behind them those that close.
    fn replace_tables(&mut self, wanted: &[JournalSettings], stays: &BTreeMap<usize, usize>) {
        let is_new = self.books.accounts().is_empty();
        let mut known = self.states_to_claim(stays);
        let in_use = (0..self.journals.tables.len()).filter(|index| self.journals.tables[*index].can_go_on());
        let newest = newest_tips(&in_use.map(|index| self.journals.state(index, &self.feeds)).collect::<Vec<_>>());
        let fresh = wanted.iter().enumerate().filter(|(index, _)| !stays.contains_key(index));
        let mut states = claim(fresh, &mut known);
        self.journals.others = known.into_iter().filter(|state| !self.is_in_use(state.id)).collect();
        let mut before: Vec<Option<Table>> = std::mem::take(&mut self.journals.tables).into_iter().map(Some).collect();
        let staying = stays.values().filter_map(|index| before[*index].as_ref());
        let mut names: BTreeSet<String> = staying.map(|table| table.name.clone()).collect();
        let mut moved = BTreeMap::new();
        for (index, settings) in wanted.iter().enumerate() {
            if let Some(mut table) = stays.get(&index).and_then(|old| before[*old].take()) {
                moved.insert(stays[&index], index);
                table.stage = Stage::Open;
                self.journals.tables.push(table);
                continue;
            }
            let name = unique(name_of(settings), &mut names);
            let state = states.remove(&index);
            let closing = before.iter().flatten().filter(|table| table.stage == Stage::Closing);
            let is_closing = |state: &JournalState| closing.clone().any(|table| table.id == state.id);
            if let Some(state) = state.as_ref().filter(|state| is_closing(state)) {
                let mut table = Table::new(state.id, name, settings, is_new);
                table.stage = Stage::Awaits(state.id);
                self.journals.tables.push(table);
            } else {
                self.add_table(settings, name, state, newest, is_new);
            }
        }
        for (old, table) in before.into_iter().enumerate() {
            if let Some(table) = table.filter(|table| table.stage == Stage::Closing) {
                moved.insert(old, self.journals.tables.len());
                self.journals.tables.push(table);
            }
        }
        self.renumber(&moved);
    }

    /// Where tables stand that close, or are not there any more.
    fn states_to_claim(&self, stays: &BTreeMap<usize, usize>) -> Vec<JournalState> {
        let closing = self
            .journals
            .tables
            .iter()
            .enumerate()
            .filter(|(index, table)| table.stage == Stage::Closing && !stays.values().any(|other| other == index));
        let closing = closing.map(|(index, _)| self.journals.state(index, &self.feeds));
        closing.chain(self.journals.others.iter().cloned()).collect()
    }

    fn is_in_use(&self, id: FileId) -> bool {
        self.journals.tables.iter().any(|table| table.can_go_on() && table.id == id)
    }

    /// What belongs to a table finds it under its new number.
    fn renumber(&mut self, moved: &BTreeMap<usize, usize>) {
        for &index in moved.values() {
            for id in self.journals.tables[index].feeds.values() {
                if let Some(feed) = self.feeds.get_mut(*id) {
                    feed.table = TableId::Journal(index);
                }
            }
        }
        for reader in self.journals.readers.values_mut() {
            reader.table = moved.get(&reader.table).copied().unwrap_or(reader.table);
        }
    }

    /// Tables that close and of which nothing is on its way any more are over: who awaits one begins where it ended.
    pub(super) fn settle_closing(&mut self) {
        for index in 0..self.journals.tables.len() {
            let table = &self.journals.tables[index];
            let feeds: Vec<FileId> = table.feeds.values().copied().collect();
            let is_settled = |id: &FileId| self.feeds.get(*id).is_none_or(|feed| feed.coverage.is_settled());
            if table.stage != Stage::Closing || !feeds.iter().all(is_settled) {
                continue;
            }
            let state = self.journals.state(index, &self.feeds);
            self.journals.tables[index].stage = Stage::Closed;
            self.journals.tables[index].feeds.clear();
            for id in feeds {
                self.feeds.remove(id);
                self.streams.lose_interest(id);
            }
            self.hand_over(state);
        }
    }

    fn hand_over(&mut self, state: JournalState) {
        let awaits = Stage::Awaits(state.id);
        let Some(heir) = self.journals.tables.iter().position(|table| table.stage == awaits) else {
            if let Err(error) = self.books.write_record(Record::Journal(state.clone())) {
                self.warn_of_checkpoint(&error);
            }
            self.journals.others.push(state);
            return;
        };
        self.journals.tables[heir].stage = Stage::Open;
        self.revive(heir, Some(state));
        self.write_journal(heir);
    }
}
