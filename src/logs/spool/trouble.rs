//! What went wrong with the spool since it was asked last: who waits for room, what found none, and which files were put
//! away whole. Not the putting away: that is the quarantine's.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::quarantine::Damage;
use super::segment::Key;
use crate::logs::ledger::Count;

/// What went wrong since the engine asked last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Why somebody waits for room, or waited.
    pub(crate) refusal: Option<String>,
    /// Records that found no room and whose senders could not wait, by key.
    pub(crate) lost: BTreeMap<Arc<Key>, Loss>,
    /// Segments that lost their headers: whose records they hold can't be told.
    pub(crate) headless: Vec<Damage>,
}

/// Records that found no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    /// How many.
    pub(crate) count: Count,
    /// When the first came.
    pub(crate) from: Timestamp,
    /// When the last came.
    pub(crate) to: Timestamp,
}

impl Trouble {
    /// Records of `key` that came at `now` found no room.
    pub(super) fn note_loss(&mut self, key: &Arc<Key>, count: Count, now: Timestamp) {
        let none = Loss { count: Count::default(), from: now, to: now };
        let loss = self.lost.entry(key.clone()).or_insert(none);
        loss.count.add(count);
        loss.to = now;
    }
}
