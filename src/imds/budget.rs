//! How many requests IMDS gets from us: at most ten a second, two at once. IMDS shares 1,024 packets a second with DNS
//! and NTP, and drops what is beyond without a word (FACTS, IMDSv2: budget). Not a retry policy.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Requests in any one second (DESIGN, IMDS).
const A_SECOND: usize = 10;

/// Requests at the same time (DESIGN, IMDS).
const AT_ONCE: usize = 2;

/// Hands out the right to send.
#[derive(Debug)]
pub(super) struct Budget {
    slots: Semaphore,
    window: Mutex<Window>,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { slots: Semaphore::new(AT_ONCE), window: Mutex::default() }
    }

    /// Waits for the right to send one request; it is held for as long as the request lasts.
    pub(super) async fn admit(&self) -> SemaphorePermit<'_> {
        let permit = self.slots.acquire().await.expect("the semaphore is never closed");
        let starts = self.window.lock().unwrap_or_else(PoisonError::into_inner).reserve(Instant::now());
        tokio::time::sleep_until(starts).await;
        permit
    }
}

/// When the last ten requests were, or will be, sent.
#[derive(Debug, Default)]
struct Window(VecDeque<Instant>);

impl Window {
    /// When a request that is ready at `now` may be sent: no sooner than a second after the tenth before it.
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
    fn no_second_holds_more_than_ten_requests() {
        let begin = Instant::now();
        let mut window = Window::default();
        let starts: Vec<_> = (0..35).map(|_| window.reserve(begin)).collect();
        for pair in starts.windows(A_SECOND + 1) {
            assert!(pair[A_SECOND] - pair[0] >= Duration::from_secs(1));
        }
        assert_eq!(starts[9], begin, "a burst of ten does not wait");
    }

    #[test]
    fn a_quiet_budget_does_not_save_up() {
        let begin = Instant::now();
        let mut window = Window::default();
        for _ in 0..10 {
            window.reserve(begin);
        }
        let later = begin + Duration::from_secs(60);
        let starts: Vec<_> = (0..11).map(|_| window.reserve(later)).collect();
        assert_eq!(starts[9], later);
        assert_eq!(starts[10], later + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_two_requests_are_under_way() {
        let budget = Budget::new();
        let first = budget.admit().await;
        let _second = budget.admit().await;
        let third = tokio::time::timeout(Duration::from_secs(5), budget.admit());
        assert!(third.await.is_err());
        drop(first);
        drop(budget.admit().await);
    }
}
