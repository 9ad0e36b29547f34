//! The session token: one for the whole process, in memory only, renewed before it ends. Not the request that fetches
//! one: the client hands that in.
//!
//! 1. A token is fetched by the first request that needs one; all others wait for that one fetch.
//! 2. It is renewed by the first request after 80–90 % of its life (jittered, so that a fleet does not renew at once).
//! 3. A renewal that fails changes nothing while the old token still lives.
//! 4. A 401 drops the token it was given for, never a newer one.

use std::time::Duration;

use reqwest::header::HeaderValue;
use tokio::sync::Mutex;

use super::error::Problem;

/// A failed renewal is tried again after this, so that each request in the meantime does not pay for another one.
const RENEWAL_PAUSE: Duration = Duration::from_secs(60);

/// What a request carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Access {
    /// The token's header, marked sensitive so that nothing prints it; `None` where there is only version 1.
    pub(super) header: Option<HeaderValue>,
    /// Which fetch it came from.
    number: u64,
}

/// What a fetch brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    /// As in [`Access`].
    pub(super) header: Option<HeaderValue>,
    /// For how long it is good.
    pub(super) ttl: Duration,
}

/// Holds the token.
#[derive(Debug, Default)]
pub(super) struct TokenManager {
    /// The lock is kept while fetching: that is the single flight. Whoever waits for it finds the new token, and a
    /// first caller that is cancelled merely lets the next one fetch.
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    token: Option<Token>,
    fetches: u64,
}

#[derive(Debug)]
struct Token {
    access: Access,
    renew_at: Duration,
    ends_at: Duration,
}

/// What a request at some time should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Use,
    Renew,
    Fetch,
}

impl Token {
    /// A token granted at `now`; `jitter` is in 0..1.
    fn new(grant: Grant, number: u64, now: Duration, jitter: f64) -> Self {
        let renew_at = now + grant.ttl.mul_f64(0.8 + jitter * 0.1);
        Self { access: Access { header: grant.header, number }, renew_at, ends_at: now + grant.ttl }
    }
}

fn choose(token: Option<&Token>, now: Duration) -> Choice {
    match token {
        Some(token) if now < token.renew_at => Choice::Use,
        Some(token) if now < token.ends_at => Choice::Renew,
        _ => Choice::Fetch,
    }
}

impl TokenManager {
    /// A token that is good at `now` (time since boot, suspend included), fetched if need be.
    pub(super) async fn access<F, Fut>(&self, now: Duration, fetch: F) -> Result<Access, Problem>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Grant, Problem>>,
    {
        let mut held = self.held.lock().await;
        let choice = choose(held.token.as_ref(), now);
        if choice != Choice::Use {
            match fetch().await {
                Ok(grant) => {
                    held.fetches += 1;
                    held.token = Some(Token::new(grant, held.fetches, now, fastrand::f64()));
                }
                Err(_) if choice == Choice::Renew => {
                    if let Some(token) = &mut held.token {
                        token.renew_at = now + RENEWAL_PAUSE;
                    }
                }
                Err(problem) => return Err(problem),
            }
        }
        Ok(held.token.as_ref().expect("it was there or has just been fetched").access.clone())
    }

    /// Forgets the token that `refused` carried, unless it has been replaced since.
    pub(super) async fn discard(&self, refused: &Access) {
        let mut held = self.held.lock().await;
        if held.token.as_ref().is_some_and(|token| token.access.number == refused.number) {
            held.token = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const TTL: Duration = Duration::from_secs(21_600);

    fn grant(text: &'static str) -> Grant {
        Grant { header: Some(HeaderValue::from_static(text)), ttl: TTL }
    }

    fn failure() -> Problem {
        Problem::Throttled { endpoint: "x".to_owned() }
    }

    #[test]
    fn a_token_is_renewed_at_eighty_to_ninety_percent_of_its_life() {
        for (jitter, renewed_at) in [(0.0, 17_280), (0.5, 18_360), (0.999, 19_437)] {
            let token = Token::new(grant("a"), 1, Duration::ZERO, jitter);
            assert_eq!(choose(Some(&token), Duration::from_secs(renewed_at - 1)), Choice::Use);
            assert_eq!(choose(Some(&token), Duration::from_secs(renewed_at + 1)), Choice::Renew);
            assert_eq!(choose(Some(&token), TTL), Choice::Fetch);
        }
        assert_eq!(choose(None, Duration::ZERO), Choice::Fetch);
    }

    #[tokio::test]
    async fn callers_at_the_same_time_share_one_fetch() {
        let tokens = Arc::new(TokenManager::default());
        let fetches = Arc::new(AtomicU32::new(0));
        let callers: Vec<_> = (0..8)
            .map(|_| {
                let (tokens, fetches) = (Arc::clone(&tokens), Arc::clone(&fetches));
                tokio::spawn(async move {
                    let fetch = || async {
                        fetches.fetch_add(1, Ordering::Relaxed);
                        tokio::task::yield_now().await;
                        Ok(grant("a"))
                    };
                    tokens.access(Duration::ZERO, fetch).await.unwrap()
                })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap().header, Some(HeaderValue::from_static("a")));
        }
        assert_eq!(fetches.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_cancelled_first_caller_fails_nobody() {
        let tokens = Arc::new(TokenManager::default());
        let first = {
            let tokens = Arc::clone(&tokens);
            tokio::spawn(async move { tokens.access(Duration::ZERO, std::future::pending).await })
        };
        tokio::task::yield_now().await;
        let second = {
            let tokens = Arc::clone(&tokens);
            tokio::spawn(async move { tokens.access(Duration::ZERO, || async { Ok(grant("b")) }).await })
        };
        tokio::task::yield_now().await;
        first.abort();
        assert_eq!(second.await.unwrap().unwrap().header, Some(HeaderValue::from_static("b")));
    }

    #[tokio::test]
    async fn a_failed_renewal_keeps_the_token_that_still_lives() {
        let tokens = TokenManager::default();
        let first = tokens.access(Duration::ZERO, || async { Ok(grant("a")) }).await.unwrap();
        let late = Duration::from_secs(20_000);
        assert_eq!(tokens.access(late, || async { Err(failure()) }).await.unwrap(), first);
        let soon = late + Duration::from_secs(1);
        assert_eq!(tokens.access(soon, || async { panic!("asked again at once") }).await.unwrap(), first);
        assert!(tokens.access(TTL, || async { Err(failure()) }).await.is_err());
    }

    #[tokio::test]
    async fn a_401_for_an_old_token_does_not_drop_the_new_one() {
        let tokens = TokenManager::default();
        let old = tokens.access(Duration::ZERO, || async { Ok(grant("a")) }).await.unwrap();
        tokens.discard(&old).await;
        let new = tokens.access(Duration::ZERO, || async { Ok(grant("b")) }).await.unwrap();
        tokens.discard(&old).await;
        assert_eq!(tokens.access(Duration::ZERO, || async { panic!("fetched again") }).await.unwrap(), new);
    }
}
