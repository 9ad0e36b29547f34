//! Who may have one more request on its way: a bound on sockets that no slow or troubled destination can use up. Pure.
//! Not when a batch is due: that is its stream's.
//!
//! | rule | why |
//! |---|---|
//! | at most 64 requests at once that were sent less than 2 s ago | a bound on sockets, above what a few slow streams can hold |
//! | one that is on its way for longer no longer counts among them | what never answers must not hold up what does |
//! | at most 192 such, then none is sent | a bound on sockets all the same |
//! | a log group gets another while it has fewer than are free | a group that hangs leaves half to the others |
//! | a stream in trouble gets one while half are free | probes never crowd out what flows |

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How many requests are on their way at once.
const MOST_PROMPT: usize = 64;

/// A request on its way for longer is stuck: well above what an answer from another continent takes.
const PROMPT: Duration = Duration::from_secs(2);

/// How many stuck requests there may be: with the others, a quarter of the usual 1,024 descriptors.
const MOST_STUCK: usize = 192;

/// The requests on their way, as they are counted.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    prompt: usize,
    stuck: usize,
    by_group: HashMap<Arc<str>, usize>,
    /// When the first prompt request becomes a stuck one.
    frees_at: Option<Duration>,
}

impl Slots {
    /// Counts a request to `group` that was sent at `sent`.
    pub(crate) fn count(&mut self, group: &Arc<str>, sent: Duration, now: Duration) {
        let stuck_at = sent + PROMPT;
        if stuck_at <= now {
            self.stuck += 1;
            return;
        }
        self.prompt += 1;
        *self.by_group.entry(group.clone()).or_default() += 1;
        self.frees_at = Some(self.frees_at.map_or(stuck_at, |first| first.min(stuck_at)));
    }

    /// Whether one more may be sent to `group`.
    pub(crate) fn may_send(&self, group: &str, in_trouble: bool) -> bool {
        let free = MOST_PROMPT.saturating_sub(self.prompt);
        let held = self.by_group.get(group).copied().unwrap_or(0);
        self.stuck < MOST_STUCK && held < free && (!in_trouble || free > MOST_PROMPT / 2)
    }

    /// When more may be sent although nothing was answered.
    pub(crate) fn frees_at(&self) -> Option<Duration> {
        self.frees_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    /// How many more requests `group` gets when it wants as many as it can have.
    fn fill(slots: &mut Slots, group: &str) -> usize {
        let (group, mut sent): (Arc<str>, _) = (group.into(), 0);
        while slots.may_send(&group, false) {
            slots.count(&group, NOW, NOW);
            sent += 1;
        }
        sent
    }

    #[test]
    fn a_group_that_takes_all_it_gets_leaves_room_for_each_that_comes_later() {
        let mut slots = Slots::default();
        let taken: Vec<usize> = ["a", "b", "c", "d"].iter().map(|group| fill(&mut slots, group)).collect();
        assert_eq!(taken, [32, 16, 8, 4]);
        assert!(slots.prompt <= MOST_PROMPT);
    }

    #[test]
    fn requests_that_are_never_answered_stop_counting_and_are_bounded_all_the_same() {
        let (mut slots, group): (_, Arc<str>) = (Slots::default(), "hangs".into());
        for _ in 0..MOST_STUCK - 1 {
            slots.count(&group, NOW.saturating_sub(PROMPT), NOW);
        }
        assert!(slots.may_send("hangs", false) && slots.may_send("other", false));
        slots.count(&group, NOW.saturating_sub(PROMPT), NOW);
        assert!(!slots.may_send("other", false));
    }

    #[test]
    fn streams_in_trouble_leave_half_to_those_that_flow() {
        let (mut slots, group): (_, Arc<str>) = (Slots::default(), "denied".into());
        let mut probes = 0;
        while slots.may_send(&group, true) {
            slots.count(&group, NOW, NOW);
            probes += 1;
        }
        assert_eq!((probes, slots.may_send("other", false)), (32, true));
    }

    #[test]
    fn it_says_when_the_first_request_stops_counting() {
        let (mut slots, group): (_, Arc<str>) = (Slots::default(), "g".into());
        assert_eq!(slots.frees_at(), None);
        slots.count(&group, NOW.saturating_sub(Duration::from_secs(1)), NOW);
        slots.count(&group, NOW, NOW);
        assert_eq!(slots.frees_at(), Some(NOW + Duration::from_secs(1)));
    }
}
