//! Where a feed's events go: its names filled in, for the day of its events. Not the streams themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Engine;
use crate::logs::batch::FileId;
use crate::logs::delivery::destination::Moment;
use crate::logs::gaps::Where;
use crate::logs::source::feed::Feed;
use crate::logs::spool::Key;
use crate::template::Names;

impl Engine {
    /// Finds out where a feed's events of that day go; not yet when a name that it needs is not known.
    pub(super) fn find_route(&mut self, id: FileId, day: Date) {
        let Some(feed) = self.feeds.get(id) else { return };
        if let Some((group, stream)) = feed.own_place() {
            return self.streams.set_route(id, group, stream, None);
        }
        let Some(target) = self.settings.target(feed.table) else { return };
        let names = self.names_for(feed, day);
        let stream = feed.named_stream().map_or_else(|| target.log_stream.fill(&names), |name| Ok(name.to_owned()));
        let (Ok(group), Ok(stream)) = (target.log_group.fill(&names), stream) else { return };
        let (group, stream) = (group_name(&group), stream_name(&stream));
        let day = target.follows_the_day().then_some(day);
        self.groups.want(&group.as_str().into(), &target.group);
        self.streams.set_route(id, &group, &stream, day);
    }

    /// Where records of a segment of this key would go now, if that is known.
    pub(super) fn place_of_key(&mut self, key: &Key, now: Moment) -> Option<Where> {
        let table = self.socket_of(key)?;
        let target = &self.settings.sockets[table].target;
        let mut names = self.names.clone();
        names.insert("date", day_of(now.wall).to_string());
        let stream = key.named_stream.clone().map_or_else(|| target.log_stream.fill(&names).ok(), Some)?;
        let group: Arc<str> = group_name(&target.log_group.fill(&names).ok()?).into();
        self.groups.want(&group, &target.group);
        Some((group, stream_name(&stream).into()))
    }

    /// What is known for the names of where a feed's events of that day go.
    pub(super) fn names_for(&self, feed: &Feed, day: Date) -> Names {
        let mut names = self.names.clone();
        names.insert("date", day.to_string());
        names.extend(feed.own_names().into_iter().map(|(name, value)| (name.to_owned(), value)));
        names
    }
}

/// The day of a time, in UTC.
pub(super) fn day_of(time: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(time).date()
}

/// CloudWatch's rule for group names, `[.\-_/#A-Za-z0-9]{1,512}`: what else a filled-in name holds becomes `_`.
pub(crate) fn group_name(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_/#".contains(c);
    name.chars().map(|c| if allowed(c) { c } else { '_' }).take(super::super::LONGEST_GROUP_NAME).collect()
}

/// CloudWatch's rule for stream names: 1–512 characters without `:` and `*`.
pub(crate) fn stream_name(name: &str) -> String {
    let allowed = |c: char| c != ':' && c != '*' && !c.is_control();
    name.chars().map(|c| if allowed(c) { c } else { '_' }).take(super::super::LONGEST_STREAM_NAME).collect()
}

/// The names that are not known yet and that some feed waits for.
pub(super) fn missing_names(engine: &Engine) -> BTreeMap<FileId, Vec<String>> {
    let mut missing = BTreeMap::new();
    for feed in engine.feeds.all().filter(|feed| engine.streams.route(feed.id).is_none()) {
        let Some(target) = engine.settings.target(feed.table) else { continue };
        let names = engine.names_for(feed, Date::ZERO);
        let lacking = [&target.log_group, &target.log_stream].map(|template| template.fill(&names).err());
        let lacking: Vec<String> = lacking.into_iter().flatten().flatten().collect();
        if !lacking.is_empty() {
            missing.insert(feed.id, lacking);
        }
    }
    missing
}
