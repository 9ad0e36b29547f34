//! Feeds at whose end lines stand that may belong to what is still to come, and since when: after a while they are read
//! as they are. Not the judgement of what belongs together: that is framing's.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::logs::batch::FileId;
use crate::logs::source::feed::Feed;

/// Those feeds.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<FileId, Waiting>);

#[derive(Debug)]
struct Waiting {
    /// How far the feed went when it was read.
    size: u64,
    /// When it was quiet for long enough, by the boot-time clock.
    due: Duration,
}

impl Held {
    /// `feed` was read to its end; lines that wait there are waited for so long from when it grew last. `None`: none do.
    pub(super) fn note(&mut self, feed: &Feed, patience: Option<Duration>, now: Duration) {
        match patience {
            None => self.forget(feed.id),
            Some(_) if self.0.get(&feed.id).is_some_and(|waiting| waiting.size == feed.size) => {}
            Some(patience) => drop(self.0.insert(feed.id, Waiting { size: feed.size, due: now + patience })),
        }
    }

    pub(super) fn forget(&mut self, id: FileId) {
        self.0.remove(&id);
    }

    /// Whether what stands at the feed's end was waited for long enough.
    pub(super) fn is_quiet(&self, feed: &Feed, now: Duration) -> bool {
        self.0.get(&feed.id).is_some_and(|waiting| waiting.due <= now && waiting.size == feed.size)
    }

    /// Those that were waited for long enough, unless they have grown.
    pub(super) fn due(&self, now: Duration) -> Vec<FileId> {
        self.0.iter().filter(|(_, waiting)| waiting.due <= now).map(|(id, _)| *id).collect()
    }

    /// When the next one is due, after `now`: one that was due before waits for its stream.
    pub(super) fn wake_at(&self, now: Duration) -> Option<Duration> {
        self.0.values().map(|waiting| waiting.due).filter(|due| *due > now).min()
    }
}
