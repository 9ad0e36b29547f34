//! The one cache of a role's credentials. While it holds valid ones it answers from memory; a fetch runs in a task of
//! its own, so that no caller's end can harm another. Not when to fetch: that is `refresh`'s.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::book::Book;
use super::refresh::{Event, Next, Now};
use super::source::{Fetched, Source};
use super::{Error, Snapshot};
use crate::clock::{Clock, boot_time};
use crate::heartbeat::{Heartbeat, LONGEST_SLEEP};

/// How long a caller waits while there is nothing valid: longer than one operation of IMDS, shorter than an SDK's
/// patience with its provider.
const CALLER: Duration = Duration::from_secs(5);

/// The one cache of a role's credentials; clones share it.
#[derive(Clone)]
pub struct CredentialCache(pub(super) Arc<Inner>);

pub(super) struct Inner {
    source: Arc<dyn Source>,
    pub(super) clock: Clock,
    boot_time: Box<dyn Fn() -> Duration + Send + Sync>,
    book: Mutex<Book>,
    /// Counts what happened: a fetch's end, a rejected key.
    pub(super) changes: watch::Sender<u64>,
}

/// Credentials as they are handed out.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The keys; their secret parts are never printed, and wiped when dropped.
    pub credentials: Credentials,
    /// When they expire, exactly as issued; `None` for static keys, which never do.
    pub expiration: Option<Timestamp>,
    /// The role's ARN, where it is known.
    pub role_arn: Option<String>,
    /// The account's twelve digits, where they are known.
    pub account_id: Option<String>,
}

impl fmt::Debug for CredentialCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialCache").field("source", &self.0.source).finish_non_exhaustive()
    }
}

/// What a caller finds.
enum Found<T> {
    /// Valid credentials, now counted as served.
    Valid(T),
    /// None, and a fetch under way.
    Fetching,
    /// None, and none before this has passed.
    Later(Duration),
}

impl CredentialCache {
    /// A cache of what `source` brings, empty until [`CredentialCache::run`] fetches, or until somebody asks.
    #[must_use]
    pub fn new(source: Arc<dyn Source>, clock: Clock) -> Self {
        Self::with_boot_time(source, clock, Box::new(boot_time))
    }

    /// The same with another clock for intervals.
    pub(super) fn with_boot_time(
        source: Arc<dyn Source>,
        clock: Clock,
        boot_time: Box<dyn Fn() -> Duration + Send + Sync>,
    ) -> Self {
        let book = Mutex::new(Book::at(source.pace()));
        Self(Arc::new(Inner { source, clock, boot_time, book, changes: watch::Sender::new(0) }))
    }

    /// A cache that asks `source` from now on. What is held and still works is served until that brings others.
    #[must_use]
    pub fn succeeded_by(&self, source: Arc<dyn Source>) -> Self {
        let next = Self::new(source, self.0.clock.clone());
        let book = self.0.book().begun_anew();
        *next.0.book() = book;
        next
    }

    /// Whether both are the same cache.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The clock that decides what has expired.
    pub(super) fn clock(&self) -> Clock {
        self.0.clock.clone()
    }

    /// Whether these are credentials of `role`.
    pub(super) fn is_of(&self, role: &str) -> bool {
        self.0.book().role == role
    }

    /// Counts what happened: a fetch's end, a rejected key.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Keeps the credentials fresh until `stop`. After a panic it may be run again.
    pub async fn run(&self, stop: CancellationToken, heartbeat: Heartbeat) {
        let mut changes = self.0.changes.subscribe();
        let mut upstream = self.0.source.upstream();
        loop {
            heartbeat.beat();
            let sleep = match self.0.step() {
                Next::Wait(wait) => wait.min(LONGEST_SLEEP),
                Next::Fetch | Next::Fetching => LONGEST_SLEEP,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(sleep) => {}
                _ = changes.changed() => {}
                () = changed(upstream.as_mut()) => {}
            }
        }
    }

    /// An AWS call was told that these credentials are expired or invalid: fetch others soon.
    pub fn rejected(&self, access_key_id: &str) {
        self.0.event(&Event::Rejected { key: access_key_id });
    }

    /// A caller was refused them.
    pub fn refused(&self) {
        self.0.book().denied += 1;
    }

    /// Valid credentials from memory, at once.
    ///
    /// # Errors
    /// When there are none, with the reason; what has expired is never handed out.
    pub fn hand_out(&self) -> Result<Issued, Error> {
        match self.0.find(Book::issued) {
            Found::Valid(issued) => Ok(issued),
            Found::Fetching | Found::Later(_) => Err(self.0.why_none()),
        }
    }

    /// Valid credentials, waited for up to `deadline` through failures and retries.
    ///
    /// # Errors
    /// When there are none by then; the error holds the reason of the last failure.
    pub async fn wait_for(&self, deadline: Duration) -> Result<Issued, Error> {
        self.wait(deadline, true, Book::issued).await
    }

    /// Fetches others now, whatever the plan, and waits for the outcome; those who ask meanwhile share it. What is held
    /// is served until others are there.
    ///
    /// # Errors
    /// When the fetch failed.
    pub async fn refresh_now(&self) -> Result<Issued, Error> {
        let mut changes = self.0.changes.subscribe();
        let before = self.0.book().landed();
        self.0.event(&Event::Asked);
        self.0.step();
        // A fetch always lands: it has a deadline, and a panic counts as a failure.
        while self.0.book().landed() == before && changes.changed().await.is_ok() {}
        match self.0.last_error() {
            Some(error) => Err(error),
            None => self.hand_out(),
        }
    }

    /// The base role and its credentials, for a source that derives others from them.
    pub(super) async fn lend(&self) -> Result<(String, Credentials), Error> {
        let take = |book: &Book, now| book.valid(now).map(|held| (book.role.clone(), held.clone()));
        self.wait(CALLER, false, take).await
    }

    /// `patient` callers wait for the next fetch too when one has failed; others are told why at once.
    async fn wait<T>(
        &self,
        deadline: Duration,
        patient: bool,
        take: impl Fn(&Book, Now) -> Option<T>,
    ) -> Result<T, Error> {
        let until = Instant::now() + deadline;
        let mut changes = self.0.changes.subscribe();
        loop {
            let next = match self.0.find(&take) {
                Found::Valid(taken) => return Ok(taken),
                Found::Fetching => until,
                Found::Later(wait) => {
                    if !patient && let Some(error) = self.0.last_error() {
                        return Err(error);
                    }
                    until.min(Instant::now() + wait)
                }
            };
            if tokio::time::timeout_at(next, changes.changed()).await.is_err() && Instant::now() >= until {
                let reason = self.0.last_error().map(Box::new);
                return Err(Error::Waited { after: deadline, reason });
            }
        }
    }

    /// What `status` shows.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let now = self.0.now();
        let source = self.0.source.describe();
        let book = self.0.book();
        let key = book.held().map(Credentials::access_key_id);
        Snapshot {
            role: self.0.name(&book).to_owned(),
            state: book.state(now),
            source,
            arn: book.arn().map(str::to_owned),
            key_id_suffix: key.map(|id| id.chars().skip(id.chars().count().saturating_sub(4)).collect()),
            expiration: book.refresh.expiration(),
            next_refresh: match book.refresh.next(now) {
                Next::Wait(wait) => now.wall.checked_add(wait).ok(),
                Next::Fetch | Next::Fetching => Some(now.wall),
            },
            refreshes: book.refreshes,
            failures: book.failures,
            served: book.served,
            denied: book.denied,
            last_error: book.last_error.as_ref().map(|(_, fault)| fault.clone()),
            confirmation: book.confirmation.clone(),
        }
    }
}

/// For our own calls. They are statically stable, as the SDKs' are: when others can't be had, the expired ones are
/// tried, since AWS may still take them, and says so if not. Who asks for credentials to use elsewhere gets the reason.
impl ProvideCredentials for CredentialCache {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let take = |book: &Book, now| book.valid(now).cloned();
        if let Found::Valid(credentials) = self.0.find(take) {
            return future::ProvideCredentials::ready(Ok(credentials));
        }
        future::ProvideCredentials::new(async move {
            match self.wait(CALLER, false, take).await {
                Ok(credentials) => Ok(credentials),
                Err(error) => self.0.in_hand().ok_or_else(|| CredentialsError::provider_error(error)),
            }
        })
    }
}

/// When something came of what is upstream; never, where there is nothing.
async fn changed(upstream: Option<&mut watch::Receiver<u64>>) {
    let Some(upstream) = upstream else { return std::future::pending().await };
    if upstream.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Inner {
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the role is called, as far as that is known.
    fn name<'a>(&'a self, book: &'a Book) -> &'a str {
        self.source.name().unwrap_or(&book.role)
    }

    fn now(&self) -> Now {
        Now { wall: self.clock.now(), boot: (self.boot_time)() }
    }

    fn event(&self, event: &Event<'_>) {
        let now = self.now();
        self.book().refresh.handle(event, now, fastrand::f64());
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn last_error(&self) -> Option<Error> {
        self.book().last_error.as_ref().map(|(error, _)| error.clone())
    }

    /// Why there is nothing to hand out.
    fn why_none(&self) -> Error {
        let reason = self.last_error();
        match (self.book().expired(self.now()), reason) {
            (Some(at), reason) => Error::Expired { at, reason: reason.map(Box::new) },
            (None, Some(reason)) => reason,
            (None, None) => Error::NotYet,
        }
    }

    /// Valid credentials, or else a step towards them.
    fn find<T>(self: &Arc<Self>, take: impl Fn(&Book, Now) -> Option<T>) -> Found<T> {
        let now = self.now();
        {
            let mut book = self.heedful_book();
            if let Some(taken) = take(&book, now) {
                book.served += 1;
                return Found::Valid(taken);
            }
        }
        match self.step() {
            Next::Wait(wait) => Found::Later(wait),
            Next::Fetch | Next::Fetching => Found::Fetching,
        }
    }

    /// The book, from which what is derived from another base role than there is now has gone.
    fn heedful_book(&self) -> MutexGuard<'_, Book> {
        let mut book = self.book();
        if book.derived_from().is_some_and(|base| !self.source.stands_on(base)) {
            book.forget();
        }
        book
    }

    /// The credentials, expired or not.
    fn in_hand(&self) -> Option<Credentials> {
        let mut book = self.book();
        let held = book.held().cloned();
        book.served += u64::from(held.is_some());
        held
    }

    /// The credentials' key and their role, if they are valid; not counted as served.
    pub(super) fn peek(&self) -> Option<(String, String)> {
        let now = self.now();
        let book = self.book();
        let key = book.valid(now)?.access_key_id().to_owned();
        Some((book.role.clone(), key))
    }

    /// Starts a fetch if one is due. It belongs to no caller: whoever is cancelled, it lands.
    fn step(self: &Arc<Self>) -> Next {
        let now = self.now();
        let next = {
            let mut book = self.heedful_book();
            let next = book.refresh.next(now);
            if next == Next::Fetch {
                book.refresh.handle(&Event::Started, now, 0.0);
            }
            next
        };
        if next == Next::Fetch {
            let inner = Arc::clone(self);
            tokio::spawn(async move {
                let source = Arc::clone(&inner.source);
                let after = source.patience();
                // A task of its own, so that even a panic lands as a failure.
                let fetch = tokio::spawn(async move { tokio::time::timeout(after, source.fetch()).await });
                let outcome = match fetch.await {
                    Ok(Ok(outcome)) => outcome,
                    Ok(Err(_)) => Err(Error::TimedOut { after }),
                    Err(_) => Err(Error::Crashed),
                };
                inner.land(outcome);
            });
        }
        next
    }

    fn land(&self, outcome: Result<Fetched, Error>) {
        let now = self.now();
        let outcome = outcome.and_then(|fetched| match fetched.expiration {
            Some(expiration) if expiration <= now.wall => {
                Err(Error::AlreadyExpired { role: fetched.role, expiration, now: now.wall })
            }
            _ => Ok(fetched),
        });
        {
            let mut book = self.book();
            match outcome {
                Ok(fetched) => book.enter(fetched, now),
                Err(error) => {
                    let whose = self.name(&book).to_owned();
                    book.enter_failure(error, &whose, now);
                }
            }
        }
        self.changes.send_modify(|count| *count += 1);
    }
}
