//! Another configuration in the middle of everything: tables come and go, and streams have other names. Not what follows
//! from it.

use std::sync::Arc;

use super::{Event, Torture, draw_changes, senders, target};

impl Torture<'_> {
    /// The configuration is another, or the same: tables are added or taken away, and something else changes.
    pub(super) fn reload(&mut self) {
        let before = self.names();
        if self.random.u8(..4) == 0 {
            self.take_or_give_back_table();
        }
        if self.random.u8(..4) == 0 && self.settings.sockets.pop().is_none() {
            self.settings.sockets.push(senders::table(target("socket")));
        }
        // The table comes second, and first again.
        match self.settings.files.iter().position(|table| table.include == [NOWHERE]) {
            Some(other) => drop(self.settings.files.remove(other)),
            None => self.add_another_table(),
        }
        draw_changes(&mut self.settings, &mut self.random);
        self.apply(&before);
    }

    /// All tables are back.
    pub(super) fn restore_tables(&mut self) {
        let before = self.names();
        if self.away.is_some() {
            self.take_or_give_back_table();
        }
        if self.settings.sockets.is_empty() {
            self.settings.sockets.push(senders::table(target("socket")));
        }
        self.apply(&before);
    }

    fn apply(&mut self, before: &[String]) {
        if before != self.names() {
            self.renamed.insert(self.life);
        }
        self.tell(|| format!("reload: {:?}, {} sockets", self.names(), self.settings.sockets.len()));
        let settings = Arc::new(self.settings.clone());
        let elsewhere = self.random.bool();
        self.step(vec![Event::Settings { settings, elsewhere }]);
    }

    fn take_or_give_back_table(&mut self) {
        if let Some(table) = self.away.take() {
            self.settings.files.push(table);
            self.logs.table_is_back();
        } else if let Some(index) = self.settings.files.iter().position(|table| table.include != [NOWHERE]) {
            self.away = Some(self.settings.files.remove(index));
            let stands = self.engine.as_ref().is_some_and(|engine| engine.books.stands());
            self.logs.table_leaves(stands);
        }
    }

    fn add_another_table(&mut self) {
        if let Some(mut other) = self.settings.files.first().or(self.away.as_ref()).cloned() {
            other.include = vec![NOWHERE.to_owned()];
            self.settings.files.insert(0, other);
        }
    }

    /// What the tables call their streams.
    fn names(&self) -> Vec<String> {
        self.settings.files.iter().map(|table| table.target.log_stream.text().to_owned()).collect()
    }
}

/// What a table names that has no files.
const NOWHERE: &str = "/nowhere/*.log";
