//! How many calls STS gets from us: at most five a second over all roles, so that an account's quota is not ours alone.
//! Not a retry policy.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::rate::Rate;

/// Calls in any one second (DESIGN, refresh).
const A_SECOND: usize = 5;

/// Hands out the right to call; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Mutex<Rate>>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Rate::new(A_SECOND))))
    }
}

impl Budget {
    /// Waits for the right to call once.
    pub(super) async fn admit(&self) {
        let starts = self.0.lock().unwrap_or_else(PoisonError::into_inner).reserve(Instant::now());
        tokio::time::sleep_until(starts).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn in_no_second_are_there_more_than_five_calls() {
        let (budget, begun) = (Budget::default(), Instant::now());
        for _ in 0..21 {
            budget.admit().await;
        }
        assert_eq!(begun.elapsed(), Duration::from_secs(4));
    }
}
