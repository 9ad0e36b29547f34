//! How often something may be done: so many times in any one second. Not how many at once, and not who waits how.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// When the last ones were, or will be, done.
#[derive(Debug)]
pub struct Rate {
    a_second: usize,
    starts: VecDeque<Instant>,
}

impl Rate {
    /// So many a second, and as many at once after a pause.
    #[must_use]
    pub fn new(a_second: usize) -> Self {
        Self { a_second, starts: VecDeque::with_capacity(a_second) }
    }

    /// When what is ready at `now` may be done: no sooner than a second after the last but so many.
    pub fn reserve(&mut self, now: Instant) -> Instant {
        let mut starts = now;
        if self.starts.len() == self.a_second
            && let Some(oldest) = self.starts.pop_front()
        {
            starts = now.max(oldest + Duration::from_secs(1));
        }
        self.starts.push_back(starts);
        starts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_holds_more_than_its_share() {
        let begin = Instant::now();
        let mut rate = Rate::new(10);
        let starts: Vec<_> = (0..35).map(|_| rate.reserve(begin)).collect();
        for pair in starts.windows(11) {
            assert!(pair[10] - pair[0] >= Duration::from_secs(1));
        }
        assert_eq!(starts[9], begin, "a burst of ten does not wait");
    }

    #[test]
    fn what_was_not_used_is_not_saved_up() {
        let begin = Instant::now();
        let mut rate = Rate::new(10);
        for _ in 0..10 {
            rate.reserve(begin);
        }
        let later = begin + Duration::from_mins(1);
        let starts: Vec<_> = (0..11).map(|_| rate.reserve(later)).collect();
        assert_eq!(starts[9], later);
        assert_eq!(starts[10], later + Duration::from_secs(1));
    }
}
