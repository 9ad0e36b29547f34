//! Another configuration while everything goes on: what it does not concern does not notice; what it changes goes on from
//! where it is read to, under the new names and rules; what it takes away is waited for as far as it is on its way, and
//! kept in mind as the checkpoint keeps it, so that it goes on there should it come back. Nothing is sent again, and
//! nothing stands still. Not the tables of the journal (`journal::adapting`).

use std::path::Path;
use std::sync::Arc;

use super::Engine;
use super::framers::Framers;
use super::routing::day_of;
use crate::logs::batch::FileId;
use crate::logs::checkpoint::Record;
use crate::logs::delivery::destination::Moment;
use crate::logs::settings::Table;
use crate::logs::source::feed::{Feed, Origin};
use crate::logs::{GroupSettings, Settings};

impl Engine {
    /// From now on `settings` count; `elsewhere` says that everything goes to another account or region.
    pub(super) fn reconfigure(&mut self, settings: &Settings, elsewhere: bool, now: Moment) {
        if self.stopping {
            return;
        }
        self.streams.try_again(now);
        if !elsewhere && *settings == self.settings {
            return;
        }
        if elsewhere {
            self.groups.begin_anew();
        }
        let before = std::mem::replace(&mut self.settings, settings.clone());
        self.streams.set_flush_interval(settings.flush_interval);
        self.budget.set_limit(settings.spool_limit);
        if before.files != settings.files {
            let is_new = self.books.accounts().is_empty();
            self.files.look_for(settings, is_new);
            self.survey_at = now.boot;
        }
        self.change_sockets(&before);
        self.change_journals();
        self.framers = Framers::new(&self.settings);
        self.books.budgets.change(&self.settings, &self.framers);
        self.change_feeds(&before, now);
        self.release_parked();
        let wanted = self.wanted_groups();
        self.groups.change(wanted, now.boot);
    }

    /// Every feed belongs to the table that means it now.
    fn change_feeds(&mut self, before: &Settings, now: Moment) {
        let all: Vec<(FileId, Table)> =
            self.feeds.all().filter_map(|feed| Some((feed.id, self.table_of_feed(feed)?))).collect();
        for (id, table) in all {
            let Some(feed) = self.feeds.get_mut(id) else { continue };
            let old = std::mem::replace(&mut feed.table, table);
            let names = |settings: &Settings, table| {
                settings.target(table).map(|target| (target.log_group.clone(), target.log_stream.clone()))
            };
            let goes_elsewhere = names(before, old) != names(&self.settings, table);
            if goes_elsewhere {
                self.streams.estrange(id);
            }
            if goes_elsewhere || before.framing(old) != self.settings.framing(table) {
                self.read_on_otherwise(id, old, now);
            }
        }
    }

    /// The table that means a file or a segment now. Those of the journal know theirs, and letters have none.
    fn table_of_feed(&self, feed: &Feed) -> Option<Table> {
        match &feed.origin {
            Origin::File(file) => {
                let path = if file.is_active() { &*file.path } else { Path::new(&*feed.source) };
                Some(self.files.table_of(path).map_or(Table::Former, Table::File))
            }
            Origin::Segment(segment) => self.socket_of(&segment.key).map(Table::Socket),
            Origin::Journal(_) | Origin::Letters(_) => None,
        }
    }

    /// What is not read yet of a feed goes elsewhere from now on, or is told in another way, or is not wanted.
    fn read_on_otherwise(&mut self, id: FileId, before: Table, now: Moment) {
        self.held.forget(id);
        let Some(feed) = self.feeds.get_mut(id) else { return };
        feed.unread();
        let table = feed.table;
        if let Some(file) = feed.file().filter(|file| file.is_active()) {
            let path = file.path.clone();
            if table == Table::Former {
                self.files.by_path.remove(&path);
            } else if before == Table::Former {
                self.files.by_path.insert(path, id);
            }
        }
        if table != Table::Former {
            if self.streams.route(id).is_none() {
                self.find_route(id, day_of(now.wall));
            }
            self.look_again(id, now);
        }
    }

    /// What nobody asks for any more, and of which nothing is on its way, is let go of; it is known by the checkpoint.
    pub(super) fn release_parked(&mut self) {
        let is_parked = |feed: &&Feed| feed.table == Table::Former && feed.coverage.is_settled();
        let parked: Vec<FileId> = self.feeds.all().filter(is_parked).map(|feed| feed.id).collect();
        for id in parked {
            self.streams.lose_interest(id);
            self.held.forget(id);
            let Some(mut feed) = self.feeds.remove(id) else { continue };
            let number = feed.file().map(crate::logs::source::tailed::Tailed::number);
            if let Some(number) = number.filter(|number| self.files.by_number.get(number) == Some(&id)) {
                self.files.by_number.remove(&number);
            }
            let Some(Record::File(state)) = feed.state() else { continue };
            let record = (feed.source.clone(), Record::File(state.clone()));
            self.files.known.insert(id, state);
            if let Err(error) = self.books.write(vec![record]) {
                self.warn_of_checkpoint(&error);
            }
        }
    }

    /// Lets go of streams that nothing goes to any more.
    pub(super) fn let_streams_go(&mut self) {
        let unsettled = &self.unsettled;
        self.streams.let_go(|index| unsettled.iter().any(|(other, _)| *other == index));
    }

    /// The groups that something goes to, those of the first table first.
    fn wanted_groups(&self) -> Vec<(Arc<str>, GroupSettings)> {
        let mut wanted: Vec<(Table, &Arc<str>)> = Vec::new();
        for (id, log_group) in self.streams.routed() {
            wanted.extend(self.feeds.get(id).map(|feed| (feed.table, log_group)));
        }
        wanted.sort_unstable();
        wanted.dedup();
        let settings = |table| self.settings.target(table).map(|target| target.group.clone());
        wanted.into_iter().filter_map(|(table, group)| Some((group.clone(), settings(table)?))).collect()
    }
}
