//! What was dropped from a stream is said in the stream itself: noted in the account of its source, sent as an event of
//! its own, forgotten when that arrived. Not what a gap is (`gaps`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Engine;
use crate::logs::delivery::destination::Moment;
use crate::logs::delivery::shipment::Shipment;
use crate::logs::gaps::{Gap, Where};

impl Engine {
    /// Notes what was dropped in this step, and says what has waited long enough.
    pub(super) fn say_gaps(&mut self, now: Moment) {
        self.note_missed(now);
        let patience = self.settings.flush_interval;
        if self.stopping {
            return;
        }
        let due = |at: std::time::Duration| at <= now.boot;
        let sources: Vec<Arc<str>> = self
            .books
            .unsaid()
            .filter(|(_, account)| account.gaps.due_at(patience).is_some_and(due))
            .map(|(source, _)| source.clone())
            .collect();
        let mut to_say: BTreeMap<Where, Vec<(Arc<str>, Gap)>> = BTreeMap::new();
        for source in sources {
            let Some(account) = self.books.unsaid_of(&source) else { continue };
            for gap in account.gaps.take_due(patience, now.boot) {
                to_say.entry(gap.place.clone()).or_default().push((source.clone(), gap));
            }
        }
        for (place, gaps) in to_say {
            let index = self.streams.at(&place);
            self.streams.activate(index).destination.say(gaps, now, &self.pool);
        }
        self.say_at = self.books.unsaid().filter_map(|(_, account)| account.gaps.due_at(patience)).min();
    }

    /// What was dropped and is not a gap yet is missing where its source goes, and is written down as such.
    fn note_missed(&mut self, now: Moment) {
        let mut noted = BTreeSet::new();
        for source in self.books.take_touched() {
            if self.books.unsaid_of(&source).is_some_and(|account| account.has_missed())
                && let Some(place) = self.place_of(&source)
                && let Some(account) = self.books.unsaid_of(&source)
            {
                account.note_gaps(&place, (now.wall, now.wall), now.boot);
                noted.insert(source.clone());
            }
            self.books.note_unsaid(&source);
        }
        self.write_accounts(&noted);
    }

    /// Where a source goes, if that is known.
    fn place_of(&self, source: &Arc<str>) -> Option<Where> {
        let mut feeds = self.feeds.all().filter(|feed| feed.source == *source);
        let destination = feeds.find_map(|feed| self.streams.route(feed.id))?;
        Some((destination.log_group.clone(), destination.log_stream.clone()))
    }

    /// An event that says gaps arrived, or was refused for good: it is not said again.
    pub(super) fn was_said(&mut self, shipment: &Shipment) {
        let mut sources = BTreeSet::new();
        for (source, gap) in &shipment.said {
            if let Some(account) = self.books.unsaid_of(source) {
                account.gaps.said(&gap.place, gap.reason);
            }
            self.books.note_unsaid(source);
            sources.insert(source.clone());
        }
        self.write_accounts(&sources);
    }

    fn write_accounts(&mut self, sources: &BTreeSet<Arc<str>>) {
        if !sources.is_empty()
            && let Err(error) = self.books.write_accounts(sources)
        {
            self.warn_of_checkpoint(&error);
        }
    }
}
