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
pub(super) struct Budgets(BTreeMap<Table, Spent>);

impl Budgets {
    /// Those of `settings`; `known` is what the checkpoint knows, by the tables' keys.
    pub(super) fn new(settings: &Settings, framers: &Framers, mut known: BTreeMap<String, (Date, u64)>) -> Self {
        let limited = framers.all().filter(|(_, framer)| framer.settings().budget.is_some());
        let spent = limited.filter_map(|(table, _)| {
            let key = settings.key(table)?;
            let (day, settled) = known.remove(&key).unwrap_or_default();
            Some((table, Spent { key, day, settled, ..Spent::default() }))
        });
        Self(spent.collect())
    }

    /// What a table may still spend now; `None` without a budget.
    pub(super) fn allowance(&mut self, table: Table, framers: &Framers, now: Timestamp) -> Option<Allowance> {
        let framing::Budget { per_day, sample } = framers.of(table).settings().budget?;
        let spent = self.0.get_mut(&table)?;
        let today = TimeZone::UTC.to_datetime(now).date();
        if spent.day != today {
            *spent = Spent { key: std::mem::take(&mut spent.key), day: today, ..Spent::default() };
        }
        Some(Allowance { left: per_day.saturating_sub(spent.pending + spent.settled), sample })
    }

    /// Bytes were read and are on their way.
    pub(super) fn spend(&mut self, table: Table, bytes: u64) {
        if let Some(spent) = self.0.get_mut(&table) {
            spent.pending += bytes;
        }
    }

    /// Bytes on their way were given back to their source.
    pub(super) fn give_back(&mut self, table: Table, bytes: u64) {
        if let Some(spent) = self.0.get_mut(&table) {
            spent.pending = spent.pending.saturating_sub(bytes);
        }
    }

    /// Bytes on their way arrived. What was read the day before counts for the day before.
    pub(super) fn settle(&mut self, table: Table, bytes: u64) {
        if let Some(spent) = self.0.get_mut(&table) {
            let of_today = bytes.min(spent.pending);
            spent.pending -= of_today;
            spent.settled += of_today;
            spent.changed = true;
        }
    }

    /// What the checkpoint is to hear of.
    pub(super) fn take_changed(&mut self) -> Vec<Record> {
        let changed = self.0.values_mut().filter_map(|spent| std::mem::take(&mut spent.changed).then(|| spent.state()));
        changed.collect()
    }

    /// What the checkpoint keeps of all.
    pub(super) fn states(&self) -> impl Iterator<Item = Record> {
        self.0.values().map(Spent::state)
    }
}

impl Spent {
    fn state(&self) -> Record {
        Record::Budget { table: self.key.clone(), day: self.day, spent: self.settled }
    }
}
