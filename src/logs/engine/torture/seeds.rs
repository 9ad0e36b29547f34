//! Which lives are lived: as many seeds as there is time for, or the one that failed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use super::Torture;
use crate::logs::disk::faults::{self, Condition};

/// Enough for every kind of trouble to have met every other one; some seconds.
const SEEDS: u64 = 250;

/// Of these it is seen that they repeat: some seconds.
const REPEATED_SEEDS: u64 = 20;

/// What tests/slow.sh runs.
const MANY_SEEDS: u64 = 5_000;

#[test]
fn no_line_is_lost_repeated_or_miscounted_whatever_happens() {
    each_seed(SEEDS, live);
}

#[test]
#[ignore = "takes minutes: run by tests/slow.sh"]
fn no_line_is_lost_repeated_or_miscounted_whatever_happens_long() {
    each_seed(MANY_SEEDS, live);
}

#[test]
fn a_seed_tells_the_same_story_each_time() {
    for seed in 0..REPEATED_SEEDS {
        let (first, again) = (watch(seed, live), watch(seed, live));
        let differs = first.1.iter().zip(&again.1).find(|(first, again)| first != again);
        assert!(first == again, "seed {seed} told {differs:#?}");
    }
}

fn live(seed: u64, story: &Mutex<Vec<String>>) {
    Torture::new(seed, story).run();
}

/// Lives with as many seeds; or with those that the environment names.
pub(super) fn each_seed(count: u64, live: fn(u64, &Mutex<Vec<String>>)) {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let from = number("IMDS_AGENT_TORTURE_FROM").unwrap_or(0);
    let many = from..from + number("IMDS_AGENT_TORTURE_SEEDS").unwrap_or(count);
    let seeds = number("IMDS_AGENT_TORTURE_SEED").map_or(many, |seed| seed..seed + 1);
    for seed in seeds {
        let (went_well, story) = watch(seed, live);
        assert!(
            went_well,
            "torture failed, as said above; repeat it with IMDS_AGENT_TORTURE_SEED={seed} cargo test --lib torture\n{}",
            story.join("\n")
        );
    }
}

/// One life of a host: whether nothing was wrong at its end, and what happened.
pub(super) fn watch(seed: u64, live: fn(u64, &Mutex<Vec<String>>)) -> (bool, Vec<String>) {
    let story = Mutex::new(Vec::new());
    faults::say_times();
    let outcome = catch_unwind(AssertUnwindSafe(|| live(seed, &story)));
    faults::set(Condition::default());
    faults::forget_times();
    (outcome.is_ok(), story.into_inner().unwrap_or_default())
}
