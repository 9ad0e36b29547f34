//! What each table with a budget has spent today (UTC). What is on its way counts; what is settled survives a restart.
//! Not the decision what is sent: that is made while reading, record by record.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::framers::Framers;
use crate::logs::checkpoint::Record;
use crate::logs::settings::Table;
use crate::logs::source::read::Allowance;
use crate::logs::{Settings, framing};

/// One table's.
#[derive(Debug, Default)]
struct Spent {
    key: String,
    day: Date,
    /// Bytes on their way.
    pending: u64,
    /// Bytes that arrived.
    settled: u64,
    /// Whether the checkpoint does not know yet.
    changed: bool,
}

/// All tables' with a budget.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    of: BTreeMap<Table, Spent>,
    /// What tables had spent that there are no more, by their keys: they may come back the same day.
    former: BTreeMap<String, Spent>,
}

impl Budgets {
    /// Those of `settings`; `known` is what the checkpoint knows, by the tables' keys.
    pub(super) fn new(settings: &Settings, framers: &Framers, known: BTreeMap<String, (Date, u64)>) -> Self {
        let spent = |(key, (day, settled)): (String, (Date, u64))| {
            (key.clone(), Spent { key, day, settled, ..Spent::default() })
        };
        let mut budgets = Self { of: BTreeMap::new(), former: known.into_iter().map(spent).collect() };
        budgets.change(settings, framers);
        budgets
    }

    /// Those of another configuration; who is in both goes on with what it has spent.
    pub(super) fn change(&mut self, settings: &Settings, framers: &Framers) {
        let before = std::mem::take(&mut self.of).into_values();
        self.former.extend(before.map(|spent| (spent.key.clone(), spent)));
        for (table, _) in framers.all().filter(|(_, framer)| framer.settings().budget.is_some()) {
            let Some(key) = settings.key(table) else { continue };
            let spent = self.former.remove(&key).unwrap_or_else(|| Spent { key, ..Spent::default() });
            self.of.insert(table, spent);
        }
        // What was spent on a day before others is of no interest any more.
        let last = self.former.values().chain(self.of.values()).map(|spent| spent.day).max();
        self.former.retain(|_, spent| Some(spent.day) == last);
        for spent in self.former.values_mut() {
            // Whether it arrived nobody tells from now on.
            spent.settled += std::mem::take(&mut spent.pending);
        }
    }

    /// What a table may still spend now; `None` without a budget.
    pub(super) fn allowance(&mut self, table: Table, framers: &Framers, now: Timestamp) -> Option<Allowance> {
        let framing::Budget { per_day, sample } = framers.of(table).settings().budget?;
        let spent = self.of.get_mut(&table)?;
        let today = TimeZone::UTC.to_datetime(now).date();
        if spent.day != today {
            *spent = Spent { key: std::mem::take(&mut spent.key), day: today, ..Spent::default() };
        }
        Some(Allowance { left: per_day.saturating_sub(spent.pending + spent.settled), sample })
    }

    /// Bytes were read and are on their way.
    pub(super) fn spend(&mut self, table: Table, bytes: u64) {
        if let Some(spent) = self.of.get_mut(&table) {
            spent.pending += bytes;
        }
    }

    /// Bytes on their way were given back to their source.
    pub(super) fn give_back(&mut self, table: Table, bytes: u64) {
        if let Some(spent) = self.of.get_mut(&table) {
            spent.pending = spent.pending.saturating_sub(bytes);
        }
    }

    /// Bytes on their way arrived. What was read the day before counts for the day before.
    pub(super) fn settle(&mut self, table: Table, bytes: u64) {
        if let Some(spent) = self.of.get_mut(&table) {
            let of_today = bytes.min(spent.pending);
            spent.pending -= of_today;
            spent.settled += of_today;
            spent.changed = true;
        }
    }

    /// What the checkpoint is to hear of.
    pub(super) fn take_changed(&mut self) -> Vec<Record> {
        let changed =
            self.of.values_mut().filter_map(|spent| std::mem::take(&mut spent.changed).then(|| spent.state()));
        changed.collect()
    }

    /// What the checkpoint keeps of all.
    pub(super) fn states(&self) -> impl Iterator<Item = Record> {
        self.of.values().chain(self.former.values()).map(Spent::state)
    }
}

impl Spent {
    fn state(&self) -> Record {
        Record::Budget { table: self.key.clone(), day: self.day, spent: self.settled }
    }
}
