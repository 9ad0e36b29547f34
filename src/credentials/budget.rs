//! How many calls STS gets from us: at most five a second over all roles, so that an account's quota is not ours alone.
//! Not a retry policy.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Calls in any one second (DESIGN, refresh).
const A_SECOND: usize = 5;

/// Hands out the right to call; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget(Arc<Mutex<Window>>);

impl Budget {
    /// Waits for the right to call once.
    pub(super) async fn admit(&self) {
        let starts = self.0.lock().unwrap_or_else(PoisonError::into_inner).reserve(Instant::now());
        tokio::time::sleep_until(starts).await;
    }
}

/// When the last five calls were, or will be, sent.
#[derive(Debug, Default)]
struct Window(VecDeque<Instant>);

impl Window {
    /// When a call that is ready at `now` may be sent: no sooner than a second after the fifth before it.
    fn reserve(&mut self, now: Instant) -> Instant {
        let mut starts = now;
        if self.0.len() == A_SECOND
            && let Some(oldest) = self.0.pop_front()
        {
            starts = now.max(oldest + Duration::from_secs(1));
        }
        self.0.push_back(starts);
        starts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_calls_go_at_once_and_the_others_wait_their_turn() {
        let (mut window, now) = (Window::default(), Instant::now());
        let starts: Vec<_> = (0..12).map(|_| window.reserve(now).duration_since(now).as_secs()).collect();
        assert_eq!(starts, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2]);
        let later = now + Duration::from_mins(1);
        assert_eq!(window.reserve(later), later, "what was not used is not saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn in_no_second_are_there_more_than_five_calls() {
        let (budget, begun) = (Budget::default(), Instant::now());
        for _ in 0..21 {
            budget.admit().await;
        }
        assert_eq!(begun.elapsed(), Duration::from_secs(4));
    }
}
