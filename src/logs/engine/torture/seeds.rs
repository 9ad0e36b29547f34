//! Which lives are lived: as many seeds as there is time for, or the one that failed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use super::Torture;
use crate::logs::disk::faults::{self, Condition};

/// Enough for every kind of trouble to have met every other one; some seconds.
const SEEDS: u64 = 250;

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

fn torture(count: u64) {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let from = number("IMDS_AGENT_TORTURE_FROM").unwrap_or(0);
    let many = from..from + number("IMDS_AGENT_TORTURE_SEEDS").unwrap_or(count);
    let seeds = number("IMDS_AGENT_TORTURE_SEED").map_or(many, |seed| seed..seed + 1);
    for seed in seeds {
        let story = Mutex::new(Vec::new());
        let outcome = catch_unwind(AssertUnwindSafe(|| Torture::new(seed, &story).run()));
        faults::set(Condition::default());
        faults::forget_births();
        assert!(
            outcome.is_ok(),
            "torture failed, as said above; repeat it with IMDS_AGENT_TORTURE_SEED={seed} cargo test --lib torture\n{}",
            story.into_inner().unwrap_or_default().join("\n")
        );
    }
}
