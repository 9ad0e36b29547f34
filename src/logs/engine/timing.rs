//! What the engine does when the clock is set, by the machine or by what AWS's answers say: what was read before and is not
//! sent yet is read again, so that its events have the right time, and CloudWatch does not refuse them. Not the clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Engine;
use crate::logs::batch::Segment;
use crate::logs::delivery::destination::Moment;
use crate::logs::sink::Kind;
use crate::logs::source::feed::Feed;

/// From here on a clock was set: less is no more than lines wait on a busy host, and CloudWatch refuses only what is two
/// hours ahead.
const SET: SignedDuration = SignedDuration::from_mins(1);

/// For so long requests are answered that were sent before: twice the time after which one is given up.
const STILL_ANSWERED: Duration = Duration::from_mins(1);

/// What is known of the clock.
#[derive(Debug, Default)]
pub(super) struct Timing {
    /// When the boot-time clock was zero, by the other one.
    zero: Option<Timestamp>,
    /// When the clock was set, by the boot-time clock, and whether it was ahead.
    set: Option<(Duration, bool)>,
}

impl Timing {
    /// Whether the clock was set since this was asked last; if so, whether it was ahead.
    fn was_set(&mut self, now: Moment) -> Option<bool> {
        let boot = SignedDuration::try_from(now.boot).unwrap_or_default();
        let zero = now.wall.checked_sub(boot).ok()?;
        let by = zero.duration_since(self.zero.replace(zero)?);
        let was_ahead = (by.abs() >= SET).then_some(by.is_negative())?;
        self.set = Some((now.boot, was_ahead));
        Some(was_ahead)
    }
}

impl Engine {
    /// Looks whether the clock was set.
    pub(super) fn look_at_clock(&mut self, now: Moment) {
        if let Some(was_ahead) = self.timing.was_set(now) {
            (0..self.streams.count()).for_each(|index| self.give_back_times(index, was_ahead, now));
        }
    }

    /// What was on its way when the clock was set is refused for its signature, and waits again.
    pub(super) fn retime_refused(&mut self, index: usize, kind: Option<Kind>, now: Moment) {
        if kind == Some(Kind::ClockSkew)
            && let Some((set_at, was_ahead)) = self.timing.set
            && now.boot.saturating_sub(set_at) < STILL_ANSWERED
        {
            self.give_back_times(index, was_ahead, now);
        }
    }

    fn give_back_times(&mut self, index: usize, was_ahead: bool, now: Moment) {
        let feeds = &self.feeds;
        let readable = |id| feeds.get(id).is_some_and(Feed::can_be_read_again);
        let may_go = |segments: &[Segment]| segments.iter().all(|segment| readable(segment.file));
        let released = self.streams.get_mut(index).destination.release_times(now, was_ahead, may_go);
        self.take_back(index, released, now);
    }
}

#[cfg(test)]
mod tests {
    use super::super::SURVEY_INTERVAL;
    use super::super::tests::Bench;
    use crate::logs::sink::{Accepted, Failure};

    use super::*;

    const DAYS: SignedDuration = SignedDuration::from_hours(72);

    fn skewed() -> Failure {
        Failure { kind: Kind::ClockSkew, message: "skewed".to_owned(), hint: None, retry_after: None }
    }

    fn last_delivered(bench: &Bench) -> Option<Timestamp> {
        bench.engine.snapshot(bench.now).destinations[0].delivered_until
    }

    fn look_and_put(bench: &mut Bench) {
        bench.go(SURVEY_INTERVAL);
        bench.go(Duration::from_secs(1));
    }

    #[test]
    fn what_was_read_by_a_clock_that_was_days_ahead_is_sent_with_the_right_time_and_so_is_what_follows() {
        let mut bench = Bench::new();
        bench.now.wall += DAYS;
        bench.append("a.log", "one\n");
        look_and_put(&mut bench);
        assert_eq!(bench.puts.len(), 1);
        // The answer itself says what time it is.
        bench.now.wall -= DAYS;
        bench.answer(Err(skewed()));
        bench.go(Duration::from_secs(30));
        bench.go(Duration::from_secs(1));
        bench.answer(Ok(Accepted::default()));
        assert!(last_delivered(&bench).is_some_and(|at| at <= bench.now.wall), "{:?}", last_delivered(&bench));
        bench.append("a.log", "two\n");
        look_and_put(&mut bench);
        bench.answer(Ok(Accepted::default()));
        assert!(last_delivered(&bench).is_some_and(|at| at <= bench.now.wall), "{:?}", last_delivered(&bench));
        assert_eq!(bench.delivered, ["one", "two"]);
    }

    #[test]
    fn what_waits_when_the_clock_is_set_and_what_an_idle_stream_gets_later_have_the_right_time() {
        let mut bench = Bench::new();
        bench.now.wall += DAYS;
        bench.append("a.log", "one\n");
        look_and_put(&mut bench);
        bench.answer(Ok(Accepted::default()));
        bench.append("a.log", "two\n");
        bench.go(SURVEY_INTERVAL);
        assert!(bench.puts.is_empty(), "it still waits for more");
        bench.now.wall -= DAYS;
        for line in ["three\n", "four\n"] {
            bench.append("a.log", line);
            look_and_put(&mut bench);
            bench.answer(Ok(Accepted::default()));
            assert!(last_delivered(&bench).is_some_and(|at| at <= bench.now.wall), "{:?}", last_delivered(&bench));
        }
        assert_eq!(bench.delivered, ["one", "two", "three", "four"]);
    }

    #[test]
    fn a_clock_that_goes_on_as_clocks_do_sends_nothing_back() {
        let mut timing = Timing::default();
        let mut now = Moment { boot: Duration::from_secs(1000), wall: Timestamp::UNIX_EPOCH + DAYS };
        for _ in 0..100 {
            now.boot += Duration::from_hours(1);
            now.wall += SignedDuration::from_secs(3601);
            assert_eq!(timing.was_set(now), None);
        }
        now.wall += SET;
        assert_eq!(timing.was_set(now), Some(false));
        now.wall -= DAYS;
        assert_eq!(timing.was_set(now), Some(true));
    }
}
