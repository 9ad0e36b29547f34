//! How many requests IMDS gets from us: fewer than ten a second, two at once. IMDS shares 1,024 packets a second with DNS
//! and NTP, and drops what is beyond without a word (FACTS, IMDSv2: budget). Not a retry policy.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::rate::Rate;

/// Requests in any one second. IMDS shall see ten at most (DESIGN, IMDS); what a busy machine holds up arrives together
/// with what comes after it, so two fewer are sent.
const A_SECOND: usize = 8;

/// Requests at the same time (DESIGN, IMDS).
const AT_ONCE: usize = 2;

/// Hands out the right to send.
#[derive(Debug)]
pub(super) struct Budget {
    slots: Semaphore,
    rate: Mutex<Rate>,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { slots: Semaphore::new(AT_ONCE), rate: Mutex::new(Rate::new(A_SECOND)) }
    }

    /// Waits for the right to send one request; it is held for as long as the request lasts.
    pub(super) async fn admit(&self) -> SemaphorePermit<'_> {
        let permit = self.slots.acquire().await.expect("the semaphore is never closed");
        let starts = self.rate.lock().unwrap_or_else(PoisonError::into_inner).reserve(Instant::now());
        tokio::time::sleep_until(starts).await;
        permit
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

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
