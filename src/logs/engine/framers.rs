//! The framer of each table of sources: made once, used by all feeds of the table.

use std::collections::BTreeMap;

use crate::logs::Settings;
use crate::logs::framing::{self, Form, Framer};
use crate::logs::settings::Table;

/// All framers.
#[derive(Debug)]
pub(super) struct Framers {
    of: BTreeMap<Table, Framer>,
    /// For what is of no table any more.
    plain: Framer,
}

impl Framers {
    pub(super) fn new(settings: &Settings) -> Self {
        let files = (0..settings.files.len()).map(Table::File);
        let journals = (0..settings.journals.len()).map(Table::Journal);
        let sockets = (0..settings.sockets.len()).map(Table::Socket);
        let tables = files.chain(journals).chain(sockets);
        let of = tables.filter_map(|table| Some((table, settings.framer(table)?))).collect();
        Self { of, plain: Framer::new(framing::Settings::default(), Form::Lines) }
    }

    /// The framer of a table.
    pub(super) fn of(&self, table: Table) -> &Framer {
        self.of.get(&table).unwrap_or(&self.plain)
    }

    /// All, by table.
    pub(super) fn all(&self) -> impl Iterator<Item = (Table, &Framer)> {
        self.of.iter().map(|(table, framer)| (*table, framer))
    }
}
