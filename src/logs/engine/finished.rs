//! Sources that are done for good: shown and kept one by one, up to a number, beyond that summed up in one account, so that
//! neither grows for ever and all totals stay true. Not the sources that may go on.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Engine;
use super::spooled::SOURCE as SOCKET;
use crate::logs::source::letters::SOURCE as LETTERS;

/// So many are kept one by one: for a person to look at, more is no help. Each is half a kilobyte of the checkpoint.
const MOST_KEPT: usize = 1_000;

/// So many more there are before they are summed up: each time is a walk over all of them.
const SUMMED_AT_ONCE: usize = 100;

/// Whose account is the sum.
pub(super) const SUM: &str = "finished";

impl Engine {
    /// Sums up finished sources, when there are too many. First those whose names come first: dates in names grow.
    pub(super) fn sum_up_finished(&mut self) {
        if self.books.accounts().len() < MOST_KEPT + SUMMED_AT_ONCE {
            return;
        }
        let followed = self.feeds.all().map(|feed| &*feed.source);
        let known = self.files.known.values().map(|state| state.source.as_str());
        let needed: BTreeSet<&str> = followed.chain(known).chain([LETTERS, SUM]).collect();
        let is_done = |source: &str| !needed.contains(source) && !source.starts_with(SOCKET);
        let accounts = self.books.accounts().iter();
        let done = accounts.filter(|(source, account)| is_done(source) && account.is_quiet());
        let done: Vec<Arc<str>> = done.map(|(source, _)| source.clone()).collect();
        let surplus = done.len().saturating_sub(MOST_KEPT);
        if surplus >= SUMMED_AT_ONCE
            && let Err(error) = self.books.sum_up(&done[..surplus], &SUM.into())
        {
            self.warn_of_checkpoint(&error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::super::tests::Bench;
    use super::*;
    use crate::logs::SourceSnapshot;

    fn sum(bench: &Bench) -> SourceSnapshot {
        let mut sources = bench.snapshot().sources.into_iter();
        sources.find(|source| source.kind == "finished").expect("it is shown")
    }

    #[test]
    fn of_many_finished_sources_the_totals_stay_true_and_the_list_is_bounded() {
        let mut bench = Bench::new();
        for number in 0..MOST_KEPT + 2 * SUMMED_AT_ONCE {
            bench.append(&format!("{number:04}.log"), "one\n");
        }
        bench.deliver_all();
        bench.append("last.log", "one\n");
        for number in 0..MOST_KEPT + 2 * SUMMED_AT_ONCE {
            fs::remove_file(bench.logs.path().join(format!("{number:04}.log"))).expect("removes");
        }
        bench.deliver_all();
        bench.go(Duration::from_secs(1));
        for _ in 0..2 {
            let snapshot = bench.snapshot();
            assert_eq!(snapshot.ledger.events.delivered, 1_201);
            assert_eq!(snapshot.sources.len(), MOST_KEPT + 2, "those, the sum, and one that is followed");
            let sum = sum(&bench);
            assert_eq!((&*sum.name, sum.ledger.events.delivered), ("200 finished sources", 200));
            bench.assert_balanced();
            bench.kill_and_restart();
        }
    }
}
