//! What `status` shows of the logs. Reads everything, changes nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::finished::SUM;
use super::journal::SOURCE as JOURNAL;
use super::routing::missing_names;
use super::spooled::SOURCE as SOCKET;
use crate::fault::Fault;
use crate::logs::delivery::destination::Moment;
use crate::logs::ledger::Account;
use crate::logs::settings::{AUDIT, Table};
use crate::logs::source::feed::Feed;
use crate::logs::source::letters::SOURCE as LETTERS;
use crate::logs::{Ledger, Snapshot, SourceSnapshot, SourceState};

impl Engine {
    /// The snapshot.
    pub(super) fn show(&self, now: Moment) -> Snapshot {
        let mut ledger = Ledger::default();
        for account in self.books.accounts().values() {
            account.add_to(&mut ledger);
        }
        Snapshot {
            ledger,
            sources: self.show_sources(now),
            destinations: self.streams.all().map(|stream| stream.snapshot(now)).collect(),
            dead_letters: self.books.dead_letters.snapshot(),
            spool: self.spooled.snapshot(),
            buffers_bytes: self.buffers() as u64,
            warnings: self.warnings.values().cloned().collect(),
        }
    }

    fn show_sources(&self, now: Moment) -> Vec<SourceSnapshot> {
        let missing = missing_names(self);
        let places = self.feeds_by_source();
        let mut sources = Vec::with_capacity(self.books.accounts().len());
        for (name, account) in self.books.accounts() {
            let feed = places.get(name).copied();
            let waiting_for = feed.and_then(|feed| missing.get(&feed.id));
            let mut source = self.show_source(name, account, feed, now);
            if source.kind == SUM {
                source.name = format!("{} finished sources", self.books.summed()).into();
            }
            if let Some(names) = waiting_for {
                source.state = SourceState::Waiting;
                source.last_error = Some(Box::new(waiting_fault(names, now)));
            }
            sources.push(source);
        }
        sources.extend(self.journals.without_feeds().map(|(name, fault)| self.show_empty_journal(name, fault, now)));
        sources.retain(|source: &SourceSnapshot| !self.files.unreadable.contains_key(Path::new(&*source.name)));
        for (path, fault) in &self.files.unreadable {
            let name: Arc<str> = path.to_string_lossy().into();
            let account = self.books.accounts().get(&name).cloned().unwrap_or_default();
            let mut source = self.show_source(&name, &account, None, now);
            source.state = SourceState::Failed;
            source.last_error = Some(Box::new(fault.clone()));
            sources.push(source);
        }
        sources
    }

    /// The feed at each source's place now; without one, the one that left last.
    fn feeds_by_source(&self) -> BTreeMap<Arc<str>, &Feed> {
        let mut places = BTreeMap::new();
        for feed in self.feeds.all() {
            let place = places.entry(feed.source.clone()).or_insert(feed);
            if !place.is_active() {
                *place = feed;
            }
        }
        places
    }

    fn show_source(&self, name: &Arc<str>, account: &Account, feed: Option<&Feed>, now: Moment) -> SourceSnapshot {
        let route = feed.and_then(|feed| self.streams.route(feed.id));
        let fault = feed.and_then(|feed| feed.fault.as_deref().or(self.journal_fault(feed.table))).cloned();
        let (kind, path) = kind_of(name);
        let state = match feed {
            None if kind == AUDIT || (kind == "socket" && self.is_open(path)) => SourceState::Running,
            None => SourceState::Finished,
            Some(_) if fault.is_some() => SourceState::Failed,
            Some(_) => SourceState::Running,
        };
        let lag = feed.map_or(Duration::ZERO, |feed| lag_of(feed, now));
        let mut ledger = Ledger::default();
        account.add_to(&mut ledger);
        SourceSnapshot {
            kind: kind.into(),
            name: match kind {
                AUDIT => "credentials audit".into(),
                _ if path.len() == name.len() => name.clone(),
                _ => path.into(),
            },
            state,
            log_group: route.map(|stream| stream.log_group.clone()),
            log_stream: route.map(|stream| stream.log_stream.clone()),
            position: feed.map_or(0, |feed| feed.coverage.low().offset),
            size: feed.map_or(0, |feed| feed.size),
            lag_seconds: lag.as_secs_f64(),
            invalid_utf8: account.invalid_utf8,
            unparsed_timestamps: account.unparsed_timestamps,
            ledger,
            last_error: fault.map(Box::new),
        }
    }

    /// A journal's table that has found nothing to ship yet.
    fn show_empty_journal(&self, name: &str, fault: Option<&Fault>, now: Moment) -> SourceSnapshot {
        let mut source = self.show_source(&format!("{JOURNAL}{name}").into(), &Account::default(), None, now);
        source.state = if fault.is_some() { SourceState::Failed } else { SourceState::Running };
        source.last_error = fault.cloned().map(Box::new);
        source
    }

    fn journal_fault(&self, table: Table) -> Option<&Fault> {
        let Table::Journal(index) = table else { return None };
        self.journals.fault(index)
    }
}

/// For how long undelivered data has been standing there: of the journal's that is known from the last entry delivered.
fn lag_of(feed: &Feed, now: Moment) -> Duration {
    let Some(since) = feed.behind_since else { return Duration::ZERO };
    let waiting = now.boot.saturating_sub(since);
    let delivered = feed.tape().and_then(|tape| tape.delivered_at(&feed.coverage));
    let age = delivered.and_then(|at| Duration::try_from(now.wall.duration_since(at)).ok());
    age.map_or(waiting, |age| age.max(waiting))
}

/// The kind of a source, and its name without what tells that.
fn kind_of(name: &str) -> (&'static str, &str) {
    if let Some(kind) = [LETTERS, SUM].into_iter().find(|kind| *kind == name) {
        return (kind, name);
    }
    let kinds = [("socket", SOCKET), ("journal", JOURNAL)];
    let known = kinds.into_iter().find_map(|(kind, prefix)| Some((kind, name.strip_prefix(prefix)?)));
    match known {
        // It has no socket, and no other may be called that.
        Some(("socket", path)) if Path::new(path).file_name().is_some_and(|name| name == AUDIT) => (AUDIT, path),
        known => known.unwrap_or(("file", name)),
    }
}

fn waiting_fault(names: &[String], now: Moment) -> Fault {
    let names: Vec<String> = names.iter().map(|name| format!("{{{name}}}")).collect();
    Fault {
        at: now.wall,
        message: format!("its name needs {}, which is not known yet", names.join(" and ")),
        hint: Some(
            "see `imds` in this report; a name with a fallback, e.g. {instance_id|local}, waits 15 s at most"
                .to_owned(),
        ),
    }
}
