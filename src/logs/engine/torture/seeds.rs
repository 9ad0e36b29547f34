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
    torture(SEEDS);
}

#[test]
#[ignore = "takes minutes: run by tests/slow.sh"]
fn no_line_is_lost_repeated_or_miscounted_whatever_happens_long() {
    torture(MANY_SEEDS);
}

#[test]
fn a_seed_tells_the_same_story_each_time() {
    for seed in 0..REPEATED_SEEDS {
        let (first, again) = (live(seed), live(seed));
        let differs = first.1.iter().zip(&again.1).find(|(first, again)| first != again);
        assert!(first == again, "seed {seed} told {differs:#?}");
    }
}

fn torture(count: u64) {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let from = number("IMDS_AGENT_TORTURE_FROM").unwrap_or(0);
    let many = from..from + number("IMDS_AGENT_TORTURE_SEEDS").unwrap_or(count);
    let seeds = number("IMDS_AGENT_TORTURE_SEED").map_or(many, |seed| seed..seed + 1);
    for seed in seeds {
        let (went_well, story) = live(seed);
        assert!(
            went_well,
            "torture failed, as said above; repeat it with IMDS_AGENT_TORTURE_SEED={seed} cargo test --lib torture\n{}",
            story.join("\n")
        );
    }
}

/// One life of a host: whether nothing was wrong at its end, and what happened.
fn live(seed: u64) -> (bool, Vec<String>) {
    let story = Mutex::new(Vec::new());
    faults::say_times();
    let outcome = catch_unwind(AssertUnwindSafe(|| Torture::new(seed, &story).run()));
    faults::set(Condition::default());
    faults::forget_times();
    (outcome.is_ok(), story.into_inner().unwrap_or_default())
}
