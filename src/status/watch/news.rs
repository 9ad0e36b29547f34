//! What happened while somebody watched: states that changed, failures, what came and went. Not what is the case now.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use super::super::headline::{count, word};
use super::super::render::{destination_paint, imds_paint, now, role_paint, source_paint};
use super::super::screen::Paint;
use super::meters::{destination_key, source_key};
use super::view::Trouble;
use crate::credentials;
use crate::fault::Fault;
use crate::status::Report;

/// Pieces of news that are kept: some screens' worth.
const KEPT: usize = 200;

/// Pieces of news that one look may bring before the rest is counted: a screen's worth. A daemon that loses its network
/// has a thousand destinations change at once.
const AT_ONCE: usize = 20;

/// Reasons for which events are dropped by intent.
const INTENDED: [&str; 3] = ["budget", "empty", "filtered"];

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) at: Timestamp,
    pub(super) paint: Paint,
    pub(super) text: String,
    pub(super) hint: Option<String>,
}

/// The newest first.
#[derive(Debug, Default)]
pub(super) struct News(VecDeque<Item>);

/// A thing that has a state.
struct Thing<'a> {
    state: String,
    paint: Paint,
    fault: Option<&'a Fault>,
}

impl News {
    pub(super) fn items(&self) -> &VecDeque<Item> {
        &self.0
    }

    /// What `new` says that `old` did not. The first look brings the failures there are.
    pub(super) fn compare(&mut self, old: Option<&Report>, new: &Report) {
        let at = now(new);
        let mut items = Vec::new();
        if let Some(old) = old {
            general(old, new, at, &mut items);
        }
        things_changed(old, new, at, &mut items);
        items.sort_by_key(|item| item.at);
        let more = items.len().saturating_sub(AT_ONCE);
        // What is bad outlives what is not.
        if more > 0 {
            items.sort_by_key(|item| !matches!(item.paint, Paint::Bad));
            items.truncate(AT_ONCE);
            items.sort_by_key(|item| item.at);
            items.push(Item::plain(at, Paint::Quiet, format!("and {} more changes", count(more as u64))));
        }
        for item in items {
            self.add(item);
        }
    }

    pub(super) fn lost(&mut self, trouble: &Trouble, at: Timestamp) {
        self.add(Item { at, paint: Paint::Bad, text: trouble.message.clone(), hint: trouble.hint.clone() });
    }

    pub(super) fn back(&mut self, at: Timestamp) {
        self.add(Item::plain(at, Paint::Good, "the daemon answers again".to_owned()));
    }

    fn add(&mut self, item: Item) {
        self.0.truncate(KEPT - 1);
        self.0.push_front(item);
    }
}

impl Item {
    fn plain(at: Timestamp, paint: Paint, text: String) -> Self {
        Self { at, paint, text, hint: None }
    }
}

/// What happened to the daemon as a whole.
fn general(old: &Report, new: &Report, at: Timestamp, items: &mut Vec<Item>) {
    if old.pid != new.pid {
        let text = format!("imds-agent {} started, pid {}", new.version, new.pid);
        items.push(Item::plain(new.started_at, Paint::Quiet, text));
        return;
    }
    if new.config.loaded_at != old.config.loaded_at {
        items.push(Item::plain(at, Paint::Good, "the configuration was loaded".to_owned()));
    }
    for (was, is) in old.credentials.iter().zip(&new.credentials) {
        if is.refreshes > was.refreshes {
            items.push(Item::plain(at, Paint::Good, format!("credentials {} refreshed", is.role)));
        }
    }
    let before = &old.logs.ledger.events.dropped;
    for (reason, dropped) in &new.logs.ledger.events.dropped {
        let more = dropped.saturating_sub(before.get(reason).copied().unwrap_or_default());
        if more > 0 && !INTENDED.contains(&reason.as_str()) {
            items.push(Item::plain(at, Paint::Bad, format!("{} dropped: {reason}", count(more))));
        }
    }
}

fn things_changed(old: Option<&Report>, new: &Report, at: Timestamp, items: &mut Vec<Item>) {
    let before = old.map(things);
    let after = things(new);
    for (name, thing) in &after {
        let was = before.as_ref().and_then(|before| before.get(name));
        if before.is_some() && was.is_none_or(|was| was.state != thing.state) {
            let from = was.map_or_else(|| "new".to_owned(), |was| was.state.clone());
            items.push(Item::plain(at, thing.paint, format!("{name}: {from} → {}", thing.state)));
        }
        let is_news = |fault: &&Fault| was.and_then(|was| was.fault).is_none_or(|was| was.message != fault.message);
        if let Some(fault) = thing.fault.filter(is_news) {
            let text = format!("{name}: {}", fault.message);
            items.push(Item { at: fault.at, paint: Paint::Bad, text, hint: fault.hint.clone() });
        }
    }
    for name in before.iter().flat_map(|before| before.keys()).filter(|name| !after.contains_key(*name)) {
        items.push(Item::plain(at, Paint::Quiet, format!("{name}: gone")));
    }
    for warning in &new.warnings {
        let known = old.is_some_and(|old| old.warnings.iter().any(|was| was.message == warning.message));
        if !known {
            items.push(Item { at, paint: Paint::Doubtful, text: warning.message.clone(), hint: warning.hint.clone() });
        }
    }
}

/// All that has a state, by a name that tells it from the others.
fn things(report: &Report) -> BTreeMap<String, Thing<'_>> {
    let imds = &report.imds;
    let imds = Thing { state: word(&imds.state), paint: imds_paint(imds.state), fault: imds.last_error.as_ref() };
    let roles = report.credentials.iter().enumerate().map(|(index, role)| {
        // The base's name is not known from the start.
        let name = if index == 0 { "credentials".to_owned() } else { format!("role {}", role.role) };
        // To be refreshed is no event; having been is.
        let state = if role.state == credentials::State::Refreshing { credentials::State::Fresh } else { role.state };
        (name, Thing { state: word(&state), paint: role_paint(state), fault: role.last_error.as_ref() })
    });
    let sources = report.logs.sources.iter().map(|source| {
        let (state, paint) = (word(&source.state), source_paint(source.state));
        (source_key(source), Thing { state, paint, fault: source.last_error.as_deref() })
    });
    let destinations = report.logs.destinations.iter().map(|to| {
        let (state, paint) = (word(&to.state), destination_paint(to.state));
        (format!("to {}", destination_key(to)), Thing { state, paint, fault: to.last_error.as_deref() })
    });
    std::iter::once(("imds".to_owned(), imds)).chain(roles).chain(sources).chain(destinations).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::report::tests::sample;
    use super::*;
    use crate::logs::{DestinationState, SourceState};

    fn texts(news: &News) -> Vec<&str> {
        news.items().iter().map(|item| item.text.as_str()).collect()
    }

    #[test]
    fn the_first_look_brings_the_failures_there_are() {
        let mut news = News::default();
        news.compare(None, &sample());
        assert_eq!(texts(&news).len(), 3, "{news:?}");
        assert!(
            texts(&news)[1].starts_with("to /aws/ec2/audit i-0123456789abcdef0/app.log: logs:PutLogEvents is denied")
        );
        assert!(news.items()[1].hint.as_deref().is_some_and(|hint| hint.starts_with("allow logs:PutLogEvents")));
    }

    #[test]
    fn a_change_of_state_is_news_and_a_repeated_failure_is_none() {
        let mut news = News::default();
        let old = sample();
        let mut new = old.clone();
        new.logs.destinations[0].state = DestinationState::Running;
        new.logs.destinations[0].last_error = None;
        new.logs.sources[0].state = SourceState::Waiting;
        if let Some(fault) = &mut new.logs.sources[1].last_error {
            fault.at = now(&old);
        }
        new.credentials[0].refreshes += 1;
        new.logs.ledger.events.dropped.extend([("too_old".to_owned(), 7), ("empty".to_owned(), 99)]);
        news.compare(Some(&old), &new);
        let mut found = texts(&news);
        found.sort_unstable();
        assert_eq!(
            found,
            [
                "7 dropped: too_old",
                "credentials web refreshed",
                "file /var/log/app/app.log: running → waiting",
                "to /aws/ec2/audit i-0123456789abcdef0/app.log: denied → running",
            ]
        );
    }

    #[test]
    fn a_thousand_changes_at_once_are_counted() {
        let mut news = News::default();
        let mut old = sample();
        for index in 0..1_000 {
            let name = format!("/var/log/{index}").into();
            old.logs.sources.push(crate::logs::SourceSnapshot { name, ..old.logs.sources[0].clone() });
        }
        news.compare(Some(&old), &sample());
        assert_eq!((texts(&news).len(), texts(&news)[0]), (21, "and 980 more changes"));
        (0..20).for_each(|_| news.compare(Some(&old), &sample()));
        assert_eq!(texts(&news).len(), KEPT);
    }
}
