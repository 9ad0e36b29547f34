//! When credentials are fetched. Pure: events and times go in, the next step comes out. Not the fetching, not the
//! credentials themselves.
//!
//! | what there is | next fetch |
//! |---|---|
//! | nothing yet | now |
//! | valid, lifetime ≤ 20 min, < 90 min, longer | 5, 15, 60 min before the end, jittered; at latest after an hour |
//! | valid, and of an assumed role | at half of the lifetime, jittered |
//! | valid, and fetched inside that window already | after a minute; after 10 s in the last five minutes |
//! | valid for ever | after an hour |
//! | a failure, far from the end | backoff, up to 300 s |
//! | a failure inside the window | backoff, up to 60 s |
//! | a failure in the last five minutes | backoff, up to 10 s |
//! | a failure, and nothing valid | backoff, up to 5 s, for ever |
//! | AWS denies them | backoff from 30 s up to 300 s, whatever is valid |
//! | AWS calls the held key expired or invalid | now, but once in 30 s for one key |
//! | somebody who may asks for others | now |
//!
//! Expiry is of the wall clock (corrected); intervals are of the boot-time clock, which counts suspend. A step is asked
//! for anew each time, so that a corrected clock or a wake from suspend counts at once.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::backoff::Backoff;

/// IMDS rotates about hourly (FACTS, role credentials): looking more rarely would keep a rejected role's for long.
const AT_LATEST: Duration = Duration::from_hours(1);

/// In the last five minutes IMDS has promised new ones (FACTS, role credentials).
const LAST_MINUTES: Duration = Duration::from_mins(5);

/// How often a rejected key may cause a fetch (DESIGN, refresh): IMDS may go on repeating it.
const REJECTION_PAUSE: Duration = Duration::from_secs(30);

/// The first wait after a failure; IMDS has been asked up to four times by then.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// A denial is of a policy, which takes a person to change: AWS is not asked about it over and over (DESIGN, refresh).
const DENIED: Backoff = Backoff::new(Duration::from_secs(30), Duration::from_mins(5));

/// No loop of fetches is closer than this, however short-lived what it brings.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// A point in time by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Now {
    /// The corrected wall clock.
    pub(super) wall: Timestamp,
    /// Since boot, suspend included.
    pub(super) boot: Duration,
}

/// When credentials that are good are renewed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// As the SDKs do: some time before their end, and at latest hourly.
    #[default]
    BeforeTheEnd,
    /// At about half of their life: sessions of our own making, so that STS may be gone for the other half.
    HalfLife,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// A fetch is under way.
    Started,
    /// It brought credentials, with their end if they have one.
    Fetched { key: &'a str, expiration: Option<Timestamp> },
    /// It brought none, or expired ones.
    Failed,
    /// AWS denied them.
    Denied,
    /// Somebody who may asked for others.
    Asked,
    /// AWS called this key expired or invalid.
    Rejected { key: &'a str },
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Fetch now.
    Fetch,
    /// A fetch is under way.
    Fetching,
    /// Ask again after this, or when something happens.
    Wait(Duration),
}

/// What is known of the credentials in hand, and the plan.
#[derive(Debug, Default)]
pub(super) struct Refresh {
    pace: Pace,
    held: Option<Held>,
    plan: Plan,
    fetching: bool,
    failures: u32,
    /// Where in its range a jittered wait lies, 0..1.
    jitter: f64,
    rejected: Option<(String, Duration)>,
}

#[derive(Clone, Debug)]
struct Held {
    key: String,
    /// `None`: they are good for ever.
    expiration: Option<Timestamp>,
    /// The advisory window that belongs to their lifetime.
    window: Duration,
}

#[derive(Debug, Default)]
enum Plan {
    /// Nothing stands against fetching now.
    #[default]
    Now,
    /// After a success: whichever comes first.
    Scheduled { wall: Timestamp, boot: Duration },
    /// After a failure at this time; how long to wait depends on what is still valid.
    Retry { since: Duration },
    /// After a denial at this time.
    Denied { since: Duration },
}

impl Refresh {
    /// Nothing in hand, at this pace.
    pub(super) fn at(pace: Pace) -> Self {
        Self { pace, ..Self::default() }
    }

    /// Takes an event in; `jitter` is a fresh random number in 0..1.
    pub(super) fn handle(&mut self, event: &Event<'_>, now: Now, jitter: f64) {
        self.jitter = jitter;
        match event {
            Event::Started => self.fetching = true,
            Event::Fetched { key, expiration } => {
                (self.fetching, self.failures) = (false, 0);
                let lifetime = expiration.map_or(Duration::MAX, |end| until(end, now.wall));
                let window = self.pace.window(lifetime);
                let held = Held { key: (*key).to_owned(), expiration: *expiration, window };
                self.plan = schedule(&held, lifetime, now, jitter);
                self.held = Some(held);
            }
            Event::Failed => self.fail(Plan::Retry { since: now.boot }),
            Event::Denied => {
                // A denial after other failures is the first of its kind.
                if !matches!(self.plan, Plan::Denied { .. }) {
                    self.failures = 0;
                }
                self.fail(Plan::Denied { since: now.boot });
            }
            Event::Asked => self.plan = Plan::Now,
            Event::Rejected { key } => self.reject(key, now),
        }
    }

    fn fail(&mut self, plan: Plan) {
        self.fetching = false;
        self.failures = self.failures.saturating_add(1);
        self.plan = plan;
    }

    fn reject(&mut self, key: &str, now: Now) {
        let held = self.held.as_ref().is_some_and(|held| held.key == key);
        let recently = self
            .rejected
            .as_ref()
            .is_some_and(|(last, at)| last == key && now.boot.saturating_sub(*at) < REJECTION_PAUSE);
        if held && !recently {
            self.rejected = Some((key.to_owned(), now.boot));
            self.plan = Plan::Now;
        }
    }

    /// The same credentials in hand, and others to be fetched now.
    pub(super) fn begun_anew(&self) -> Self {
        Self { pace: self.pace, held: self.held.clone(), ..Self::default() }
    }

    /// Nothing in hand, and others to be fetched now, or when a fetch under way has landed.
    pub(super) fn forget(&mut self) {
        *self = Self { pace: self.pace, fetching: self.fetching, ..Self::default() };
    }

    /// What to do at `now`.
    pub(super) fn next(&self, now: Now) -> Next {
        if self.fetching {
            return Next::Fetching;
        }
        let wait = match self.plan {
            Plan::Now => Duration::ZERO,
            Plan::Scheduled { wall, boot } => until(wall, now.wall).min(boot.saturating_sub(now.boot)),
            Plan::Retry { since } => {
                let ceiling = Backoff::new(FIRST_WAIT, self.longest_wait(now)).ceiling(self.failures);
                (since + ceiling.mul_f64(0.5 + self.jitter / 2.0)).saturating_sub(now.boot)
            }
            Plan::Denied { since } => {
                // Never sooner than the schedule says: what is denied is remembered for at least so long.
                let wait = DENIED.ceiling(self.failures).mul_f64(1.0 + self.jitter / 10.0);
                (since + wait.min(DENIED.ceiling(u32::MAX))).saturating_sub(now.boot)
            }
        };
        if wait.is_zero() { Next::Fetch } else { Next::Wait(wait) }
    }

    /// Whether the credentials in hand are good at `now`.
    pub(super) fn valid(&self, now: Now) -> bool {
        self.held.as_ref().is_some_and(|held| held.expiration.is_none_or(|end| end > now.wall))
    }

    /// When the credentials in hand expire, exactly as issued.
    pub(super) fn expiration(&self) -> Option<Timestamp> {
        self.held.as_ref().and_then(|held| held.expiration)
    }

    /// The cap of the backoff: the nearer the end, the more eager.
    fn longest_wait(&self, now: Now) -> Duration {
        let Some(held) = &self.held else {
            return Duration::from_secs(5);
        };
        match held.expiration.map_or(Duration::MAX, |end| until(end, now.wall)) {
            Duration::ZERO => Duration::from_secs(5),
            left if left <= LAST_MINUTES => Duration::from_secs(10),
            left if left <= held.window => Duration::from_mins(1),
            _ => Duration::from_mins(5),
        }
    }
}

fn schedule(held: &Held, lifetime: Duration, now: Now, jitter: f64) -> Plan {
    // Somewhere in the window's first fifth, so that a fleet that booted together does not ask together.
    let early = held.window.mul_f64(1.0 - 0.2 * jitter);
    let latest = AT_LATEST.mul_f64(0.95 + 0.05 * jitter);
    let end = held.expiration.unwrap_or(Timestamp::MAX);
    if lifetime > early {
        let wall = end.checked_sub(early).unwrap_or(now.wall);
        return Plan::Scheduled { wall, boot: now.boot + latest };
    }
    let pause = Duration::from_secs(if lifetime <= LAST_MINUTES { 10 } else { 60 });
    let wait = pause.min(lifetime / 2).max(SHORTEST_WAIT);
    Plan::Scheduled { wall: end, boot: now.boot + wait }
}

impl Pace {
    /// How long before the end credentials of this lifetime are renewed (FACTS: the SDKs' common rule).
    fn window(self, lifetime: Duration) -> Duration {
        let minutes = match lifetime.as_secs() {
            _ if self == Self::HalfLife => return lifetime / 2,
            ..=1200 => 5,
            1201..5400 => 15,
            _ => 60,
        };
        Duration::from_secs(minutes * 60)
    }
}

/// From `now` to `then`; zero when that has passed.
fn until(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now).max(SignedDuration::ZERO)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    /// `seconds` after the start, by both clocks.
    fn at(seconds: u64) -> Now {
        let elapsed = Duration::from_secs(seconds);
        Now { wall: start() + elapsed, boot: Duration::from_secs(100) + elapsed }
    }

    fn fetched(refresh: &mut Refresh, lifetime: u64, now: Now) {
        refresh.handle(
            &Event::Fetched { key: "A", expiration: Some(now.wall + Duration::from_secs(lifetime)) },
            now,
            0.5,
        );
    }

    fn wait(refresh: &Refresh, now: Now) -> u64 {
        match refresh.next(now) {
            Next::Wait(wait) => wait.as_secs(),
            Next::Fetch => 0,
            Next::Fetching => panic!("a fetch is under way"),
        }
    }

    #[test]
    fn with_nothing_in_hand_the_first_fetch_is_now_and_only_one_at_a_time() {
        let mut refresh = Refresh::default();
        assert_eq!(refresh.next(at(0)), Next::Fetch);
        refresh.handle(&Event::Started, at(0), 0.5);
        assert_eq!(refresh.next(at(1000)), Next::Fetching);
    }

    #[test]
    fn the_window_follows_the_lifetime_and_an_hour_is_the_latest() {
        // Jitter 0.5: nine tenths of the window, and 97.5 % of the hour.
        for (lifetime, expected) in [
            (6 * 60, 90),    // 5 min window
            (15 * 60, 630),  // 5 min window
            (20 * 60, 930),  // 5 min window
            (21 * 60, 450),  // 15 min window
            (60 * 60, 2790), // 15 min window
            (90 * 60 - 1, 5399 - 810),
            (90 * 60, 2160),  // 60 min window
            (6 * 3600, 3510), // at latest hourly
        ] {
            let mut refresh = Refresh::default();
            fetched(&mut refresh, lifetime, at(0));
            assert_eq!(wait(&refresh, at(0)), expected.min(3510), "lifetime {lifetime}");
        }
    }

    #[test]
    fn an_answer_that_is_inside_its_window_already_is_looked_at_again_soon_but_not_at_once() {
        for (lifetime, expected) in [(269, 10), (60, 10), (12, 6), (2, 1), (1, 1)] {
            let mut refresh = Refresh::default();
            fetched(&mut refresh, lifetime, at(0));
            assert_eq!(wait(&refresh, at(0)), expected, "lifetime {lifetime}");
        }
    }

    #[test]
    fn failures_back_off_the_less_the_nearer_the_end_is() {
        let mut refresh = Refresh::default();
        fetched(&mut refresh, 6 * 3600, at(0));
        for _ in 0..20 {
            refresh.handle(&Event::Failed, at(3600), 1.0);
        }
        assert_eq!(wait(&refresh, at(3600)), 300);
        let end = 6 * 3600;
        for (now, longest) in [(end - 3600, 60), (end - 300, 10), (end, 5), (end + 86_400, 5)] {
            refresh.handle(&Event::Failed, at(now), 1.0);
            assert_eq!(wait(&refresh, at(now)), longest, "at {now}");
        }
    }

    #[test]
    fn a_long_wait_is_cut_short_when_the_end_comes_nearer() {
        let mut refresh = Refresh::default();
        fetched(&mut refresh, 6 * 3600, at(0));
        let before = 5 * 3600 - 10;
        for _ in 0..20 {
            refresh.handle(&Event::Failed, at(before), 1.0);
        }
        assert_eq!(wait(&refresh, at(before)), 300);
        assert_eq!(wait(&refresh, at(5 * 3600)), 50, "inside the window 60 s after the failure are enough");
    }

    #[test]
    fn the_backoff_exponent_never_overflows() {
        let mut refresh = Refresh { failures: u32::MAX - 2, ..Refresh::default() };
        for second in 0..5 {
            refresh.handle(&Event::Failed, at(second), 1.0);
            assert_eq!(wait(&refresh, at(second)), 5);
            assert_eq!(refresh.next(at(second + 5)), Next::Fetch);
        }
    }

    #[test]
    fn the_first_retry_comes_soon_and_a_success_starts_over() {
        let mut refresh = Refresh::default();
        refresh.handle(&Event::Failed, at(0), 1.0);
        assert_eq!(wait(&refresh, at(0)), 1);
        refresh.handle(&Event::Failed, at(1), 1.0);
        assert_eq!(wait(&refresh, at(1)), 2);
        fetched(&mut refresh, 3600, at(3));
        refresh.handle(&Event::Failed, at(2800), 1.0);
        assert_eq!(wait(&refresh, at(2800)), 1);
    }

    #[test]
    fn a_failure_alters_neither_what_is_held_nor_its_expiration() {
        let mut refresh = Refresh::default();
        fetched(&mut refresh, 3600, at(0));
        for second in 1..100 {
            refresh.handle(&Event::Started, at(second), 0.5);
            refresh.handle(&Event::Failed, at(second), 0.5);
        }
        assert_eq!(refresh.expiration(), Some(at(3600).wall));
        assert!(refresh.valid(at(3599)) && !refresh.valid(at(3600)));
    }

    #[test]
    fn an_assumed_role_is_renewed_at_about_half_of_its_life() {
        for (lifetime, jitter, expected) in [(3600, 0.0, 1800), (3600, 1.0, 2160), (900, 0.0, 450), (900, 1.0, 540)] {
            let mut refresh = Refresh::at(Pace::HalfLife);
            let expiration = Some(at(lifetime).wall);
            refresh.handle(&Event::Fetched { key: "A", expiration }, at(0), jitter);
            assert_eq!(wait(&refresh, at(0)), expected, "lifetime {lifetime}, jitter {jitter}");
        }
    }

    #[test]
    fn an_end_as_late_as_can_be_is_looked_at_hourly_like_any_other() {
        let mut refresh = Refresh::default();
        refresh.handle(&Event::Fetched { key: "A", expiration: Some(Timestamp::MAX) }, at(0), 1.0);
        assert_eq!((wait(&refresh, at(0)), refresh.valid(at(1_000_000_000))), (3600, true));
        refresh.handle(&Event::Failed, at(3600), 1.0);
        assert_eq!(wait(&refresh, at(3600)), 1);
        let mut refresh = Refresh::at(Pace::HalfLife);
        refresh.handle(&Event::Fetched { key: "A", expiration: Some(Timestamp::MAX) }, at(0), 1.0);
        assert_eq!(wait(&refresh, at(0)), 3600);
    }

    #[test]
    fn keys_without_an_end_are_good_for_ever_and_looked_at_hourly() {
        let mut refresh = Refresh::default();
        refresh.handle(&Event::Fetched { key: "A", expiration: None }, at(0), 1.0);
        assert_eq!((wait(&refresh, at(0)), refresh.expiration()), (3600, None));
        assert!(refresh.valid(at(1_000_000_000)));
        refresh.handle(&Event::Failed, at(3600), 1.0);
        assert!(refresh.valid(at(3600)));
    }

    #[test]
    fn a_denial_is_remembered_from_half_a_minute_up_to_five() {
        let mut refresh = Refresh::at(Pace::HalfLife);
        refresh.handle(&Event::Failed, at(0), 1.0);
        for (denials, expected) in [(1, 30), (1, 60), (1, 120), (1, 240), (1, 300), (40, 300)] {
            for _ in 0..denials {
                refresh.handle(&Event::Denied, at(0), 0.0);
            }
            assert_eq!(wait(&refresh, at(0)), expected);
            assert_eq!(refresh.next(at(expected)), Next::Fetch);
        }
        refresh.handle(&Event::Denied, at(0), 1.0);
        assert_eq!(wait(&refresh, at(0)), 300, "jitter does not go beyond");
        fetched(&mut refresh, 3600, at(0));
        refresh.handle(&Event::Denied, at(1), 0.0);
        assert_eq!(wait(&refresh, at(1)), 30, "a success starts over");
        refresh.handle(&Event::Asked, at(2), 0.0);
        assert_eq!(refresh.next(at(2)), Next::Fetch, "who may can ask at once");
    }

    #[test]
    fn what_is_forgotten_is_fetched_now_unless_a_fetch_is_under_way() {
        let mut refresh = Refresh::at(Pace::HalfLife);
        fetched(&mut refresh, 3600, at(0));
        refresh.forget();
        assert!(!refresh.valid(at(1)) && refresh.next(at(1)) == Next::Fetch);
        refresh.handle(&Event::Started, at(1), 0.0);
        refresh.forget();
        assert_eq!(refresh.next(at(1)), Next::Fetching);
    }

    #[test]
    fn a_rejected_key_is_fetched_anew_at_most_once_in_thirty_seconds() {
        let mut refresh = Refresh::default();
        fetched(&mut refresh, 6 * 3600, at(0));
        refresh.handle(&Event::Rejected { key: "OLD" }, at(1), 0.5);
        assert!(wait(&refresh, at(1)) > 3000, "a key that is not held any more says nothing");
        refresh.handle(&Event::Rejected { key: "A" }, at(1), 0.5);
        assert_eq!(refresh.next(at(1)), Next::Fetch);
        assert!(refresh.valid(at(1)), "the old ones stay until others arrive");
        fetched(&mut refresh, 6 * 3600, at(2));
        refresh.handle(&Event::Rejected { key: "A" }, at(30), 0.5);
        assert!(wait(&refresh, at(30)) > 3000, "IMDS repeated the key: not again so soon");
        refresh.handle(&Event::Rejected { key: "A" }, at(31), 0.5);
        assert_eq!(refresh.next(at(31)), Next::Fetch);
    }

    #[test]
    fn a_rejection_breaks_a_backoff_once() {
        let mut refresh = Refresh::default();
        fetched(&mut refresh, 6 * 3600, at(0));
        for _ in 0..10 {
            refresh.handle(&Event::Failed, at(10), 1.0);
        }
        refresh.handle(&Event::Rejected { key: "A" }, at(11), 0.5);
        assert_eq!(refresh.next(at(11)), Next::Fetch);
        refresh.handle(&Event::Failed, at(11), 1.0);
        refresh.handle(&Event::Rejected { key: "A" }, at(12), 0.5);
        assert!(wait(&refresh, at(12)) > 100);
    }

    #[test]
    fn a_corrected_wall_clock_and_a_suspend_both_count_at_once() {
        let mut refresh = Refresh::default();
        fetched(&mut refresh, 1800, at(0));
        let corrected = Now { wall: at(1200).wall, boot: at(1).boot };
        assert_eq!(refresh.next(corrected), Next::Fetch, "the wall clock jumped into the window");
        fetched(&mut refresh, 6 * 3600, at(0));
        let suspended = Now { wall: at(1).wall, boot: at(3600).boot };
        assert_eq!(refresh.next(suspended), Next::Fetch, "an hour has passed, whatever the wall clock says");
    }

    #[test]
    fn hourly_refreshes_stay_within_three_requests_an_hour() {
        // Two requests a refresh (the role's name, the document) and a token in five hours.
        let (mut refresh, mut now, mut fetches) = (Refresh::default(), 0, 0);
        while now < 240 * 3600 {
            refresh.handle(&Event::Fetched { key: "A", expiration: Some(at(now + 6 * 3600).wall) }, at(now), 0.0);
            now += wait(&refresh, at(now)).max(1);
            fetches += 1;
        }
        assert!(fetches * 2 + 240 / 4 <= 240 * 3, "{fetches} fetches in 240 hours");
    }
}
