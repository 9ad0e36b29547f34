//! Which bytes of a file are done, which are on their way, and which are next. Pure: the heart of "a checkpoint moves
//! only after CloudWatch accepted the events", in whatever order the answers come.
//!
//! Invariants: the runs of `done` and `taken` are disjoint and lie above `low`; everything below `low` is done; no run
//! of `done` begins at `low` (it would have been swallowed).

use serde::{Deserialize, Serialize};

/// A place in a file where a record may begin: the offset, and how many parts of its line stand before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The byte offset.
    pub(crate) offset: u64,
    /// Parts of the line before it; 0 at the beginning of a line.
    pub(crate) parts: u32,
}

/// A run of bytes, with the place behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// The first byte.
    pub(crate) start: u64,
    /// Behind the last byte.
    pub(crate) end: Place,
}

/// The bookkeeping of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Coverage {
    /// Everything before it is delivered or dropped: what a checkpoint means.
    low: Place,
    /// Done runs above `low`, of answers that overtook others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    done: Vec<Run>,
    /// Runs on their way. Not kept: after a crash they are read again.
    #[serde(skip)]
    taken: Vec<Run>,
}

impl Coverage {
    /// Nothing below `offset` is ours to read.
    pub(crate) fn from(offset: u64) -> Self {
        Self { low: Place { offset, parts: 0 }, ..Self::default() }
    }

    /// Everything before it is delivered or dropped.
    pub(crate) fn low(&self) -> Place {
        self.low
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_settled(&self) -> bool {
        self.taken.is_empty()
    }

    /// Where to read next, and up to which byte at most.
    pub(crate) fn next(&self) -> (Place, Option<u64>) {
        let mut place = self.low;
        while let Some(run) = self.runs().find(|run| run.start == place.offset) {
            place = run.end;
        }
        (place, self.runs().map(|run| run.start).filter(|start| *start > place.offset).min())
    }

    /// The run that begins at `start` is on its way, or goes on to `end` now.
    pub(crate) fn take(&mut self, start: u64, end: Place) {
        match self.taken.iter_mut().find(|run| run.start == start) {
            Some(run) => run.end = end,
            None => self.taken.push(Run { start, end }),
        }
    }

    /// The run that begins at `start` comes back: it will be read again.
    pub(crate) fn give_back(&mut self, start: u64) {
        self.taken.retain(|run| run.start != start);
    }

    /// The run that begins at `start` is delivered or dropped.
    pub(crate) fn finish(&mut self, start: u64) {
        if let Some(index) = self.taken.iter().position(|run| run.start == start) {
            let run = self.taken.swap_remove(index);
            self.done.push(run);
        }
        while let Some(index) = self.done.iter().position(|run| run.start == self.low.offset) {
            self.low = self.done.swap_remove(index).end;
        }
        // Of thousands of files few have something on its way: the others keep no room for it.
        for runs in [&mut self.taken, &mut self.done] {
            if runs.is_empty() {
                *runs = Vec::new();
            }
        }
    }

    /// How many of the bytes before `size` are not done: they are unread, or were on their way.
    pub(crate) fn missing(&self, size: u64) -> u64 {
        let done: u64 = self.done.iter().map(|run| run.end.offset.min(size).saturating_sub(run.start)).sum();
        size.saturating_sub(self.low.offset).saturating_sub(done)
    }

    /// What was not read yet before `size` is given up, since it can't be read any more; returns how many bytes.
    pub(crate) fn give_up_unread(&mut self, size: u64) -> u64 {
        let mut given_up = 0;
        loop {
            let (place, limit) = self.next();
            let end = limit.unwrap_or(size).min(size);
            if place.offset >= end {
                return given_up;
            }
            given_up += end - place.offset;
            self.take(place.offset, Place { offset: end, parts: 0 });
            self.finish(place.offset);
        }
    }

    /// What is done above [`Coverage::low`]: from where to where.
    pub(crate) fn done(&self) -> impl Iterator<Item = (u64, u64)> {
        self.done.iter().map(|run| (run.start, run.end.offset))
    }

    /// Every offset at which something begins or ends that is done or on its way.
    pub(crate) fn boundaries(&self) -> impl Iterator<Item = u64> {
        self.runs().flat_map(|run| [run.start, run.end.offset]).chain([self.low.offset])
    }

    /// Whether the byte at `offset` is done or on its way.
    #[cfg(test)]
    pub(crate) fn holds(&self, offset: u64) -> bool {
        offset < self.low.offset || self.runs().any(|run| (run.start..run.end.offset).contains(&offset))
    }

    fn runs(&self) -> impl Iterator<Item = &Run> {
        self.taken.iter().chain(&self.done)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(offset: u64) -> Place {
        Place { offset, parts: 0 }
    }

    #[test]
    fn the_low_mark_waits_for_the_answer_that_was_overtaken() {
        let mut coverage = Coverage::from(0);
        coverage.take(0, line(10));
        coverage.take(10, line(20));
        coverage.finish(10);
        assert_eq!(coverage.low(), line(0));
        assert_eq!(coverage.next(), (line(20), None));
        coverage.finish(0);
        assert_eq!(coverage.low(), line(20));
    }

    #[test]
    fn after_a_crash_only_what_was_in_flight_is_read_again() {
        let mut coverage = Coverage::from(0);
        for (start, end) in [(0, 10), (10, 20), (20, 30)] {
            coverage.take(start, line(end));
        }
        coverage.finish(10);
        let kept = serde_json::to_string(&coverage).expect("plain data");
        let mut revived: Coverage = serde_json::from_str(&kept).expect("as written");
        assert_eq!(revived.next(), (line(0), Some(10)));
        revived.take(0, line(10));
        assert_eq!(revived.next(), (line(20), None));
        revived.finish(0);
        assert_eq!(revived.low(), line(20));
    }

    #[test]
    fn a_long_line_goes_on_with_its_next_part() {
        let mut coverage = Coverage::from(0);
        coverage.take(0, Place { offset: 100, parts: 2 });
        coverage.finish(0);
        assert_eq!(coverage.next(), (Place { offset: 100, parts: 2 }, None));
    }

    #[test]
    fn what_is_missing_is_neither_below_the_low_mark_nor_in_a_done_run() {
        let mut coverage = Coverage::from(5);
        coverage.take(5, line(10));
        coverage.take(10, line(20));
        coverage.finish(10);
        assert_eq!((coverage.missing(30), coverage.missing(12), coverage.missing(3)), (15, 5, 0));
        assert_eq!(coverage.give_up_unread(30), 10);
        assert_eq!(coverage.missing(30), 5);
        coverage.finish(5);
        assert_eq!((coverage.low(), coverage.missing(30)), (line(30), 0));
    }

    proptest! {
        /// The model: a set of bytes each. Whatever comes back in whatever order, every byte is read until it is done.
        #[test]
        fn every_byte_is_read_until_it_is_done(steps in prop::collection::vec((0_u8..4, 1_u64..20, any::<prop::sample::Index>()), 1..200)) {
            let mut coverage = Coverage::from(0);
            let mut done = std::collections::BTreeSet::new();
            let mut flying: Vec<(u64, u64)> = Vec::new();
            for (action, length, which) in steps {
                if action < 2 {
                    let (place, limit) = coverage.next();
                    let end = limit.map_or(place.offset + length, |limit| limit.min(place.offset + length));
                    prop_assert!((place.offset..end).all(|byte| !done.contains(&byte)));
                    prop_assert!(flying.iter().all(|run| run.1 <= place.offset || end <= run.0));
                    coverage.take(place.offset, line(end));
                    flying.push((place.offset, end));
                } else if !flying.is_empty() {
                    let (start, end) = flying.swap_remove(which.index(flying.len()));
                    if action == 2 {
                        coverage.finish(start);
                        done.extend(start..end);
                    } else {
                        coverage.give_back(start);
                    }
                }
                let contiguous = (0..=done.len() as u64).find(|byte| !done.contains(byte)).unwrap_or(0);
                prop_assert_eq!(coverage.low().offset, contiguous);
            }
        }
    }
}
