//! The one cache of a role's credentials. While it holds valid ones it answers from memory; a fetch runs in a task of
//! its own, so that no caller's end can harm another. Not when to fetch: that is `refresh`'s.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::refresh::{Event, Next, Now, Refresh};
use super::source::{Fetched, Instance, Source};
use super::{Error, Snapshot, State};
use crate::clock::{Clock, boot_time};
use crate::fault::Fault;
use crate::heartbeat::{Heartbeat, LONGEST_SLEEP};
use crate::imds::ImdsClient;

/// How long a fetch may take: the source's three operations of IMDS (the role's name, why there is none, the document).
const FETCH: Duration = Duration::from_secs(10);

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

/// Everything that changes.
#[derive(Default)]
pub(super) struct Book {
    refresh: Refresh,
    pub(super) role: String,
    credentials: Option<Credentials>,
    refreshes: u64,
    failures: u64,
    served: u64,
    last_error: Option<(Error, Fault)>,
    /// The role that STS confirmed, and its ARN there.
    pub(super) confirmed: Option<(String, String)>,
    pub(super) confirmation: Option<Fault>,
}

impl fmt::Debug for CredentialCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialCache").field("source", &self.0.source).finish_non_exhaustive()
    }
}

/// What a caller finds.
enum Found {
    /// Valid credentials, now counted as served.
    Valid(Credentials),
    /// None, and a fetch under way.
    Fetching,
    /// None, and none before this has passed.
    Later(Duration),
}

impl CredentialCache {
    /// A cache of the instance's own role, empty until [`CredentialCache::run`] fetches, or until somebody asks.
    #[must_use]
    pub fn instance(imds: ImdsClient, clock: Clock) -> Self {
        Self::new(Arc::new(Instance(imds)), clock)
    }

    /// A cache that asks `imds` from now on. What is held and still works is served until that brings others.
    #[must_use]
    pub fn succeeded_by(&self, imds: ImdsClient) -> Self {
        let next = Self::instance(imds, self.0.clock.clone());
        let before = self.0.book();
        *next.0.book() = Book {
            refresh: before.refresh.begun_anew(),
            role: before.role.clone(),
            credentials: before.credentials.clone(),
            refreshes: before.refreshes,
            failures: before.failures,
            served: before.served,
            ..Book::default()
        };
        drop(before);
        next
    }

    /// A cache of what `source` brings.
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
        let (book, changes) = (Mutex::default(), watch::Sender::new(0));
        Self(Arc::new(Inner { source, clock, boot_time, book, changes }))
    }

    /// Keeps the credentials fresh until `stop`. After a panic it may be run again.
    pub async fn run(&self, stop: CancellationToken, heartbeat: Heartbeat) {
        let mut changes = self.0.changes.subscribe();
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
            }
        }
    }

    /// An AWS call was told that these credentials are expired or invalid: fetch others soon.
    pub fn rejected(&self, access_key_id: &str) {
        self.0.event(&Event::Rejected { key: access_key_id });
        self.0.changes.send_modify(|count| *count += 1);
    }

    /// Valid credentials, waited for up to `deadline` through failures and retries.
    ///
    /// # Errors
    /// When there are none by then; the error holds the reason of the last failure.
    pub async fn wait_for(&self, deadline: Duration) -> Result<Credentials, Error> {
        self.wait(deadline, true).await
    }

    /// `patient` callers wait for the next fetch too when one has failed; others are told why at once.
    async fn wait(&self, deadline: Duration, patient: bool) -> Result<Credentials, Error> {
        let until = Instant::now() + deadline;
        let mut changes = self.0.changes.subscribe();
        loop {
            let next = match self.0.find() {
                Found::Valid(credentials) => return Ok(credentials),
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
        let book = self.0.book();
        let next = book.refresh.next(now);
        let key = book.credentials.as_ref().map(Credentials::access_key_id);
        Snapshot {
            role: book.role.clone(),
            state: book.state(now),
            source: self.0.source.describe(),
            arn: book.confirmed.as_ref().filter(|(role, _)| *role == book.role).map(|(_, arn)| arn.clone()),
            key_id_suffix: key.map(|id| id.chars().skip(id.chars().count().saturating_sub(4)).collect()),
            expiration: book.refresh.expiration(),
            next_refresh: match next {
                Next::Wait(wait) => now.wall.checked_add(wait).ok(),
                Next::Fetch | Next::Fetching => Some(now.wall),
            },
            refreshes: book.refreshes,
            failures: book.failures,
            served: book.served,
            denied: 0,
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
        if let Found::Valid(credentials) = self.0.find() {
            return future::ProvideCredentials::ready(Ok(credentials));
        }
        future::ProvideCredentials::new(async move {
            match self.wait(CALLER, false).await {
                Ok(credentials) => Ok(credentials),
                Err(error) => self.0.held().ok_or_else(|| CredentialsError::provider_error(error)),
            }
        })
    }
}

impl Book {
    fn state(&self, now: Now) -> State {
        let fetching = self.refresh.next(now) == Next::Fetching;
        let (held, valid) = (self.credentials.is_some(), self.refresh.valid(now));
        // A retry is not news: what it retries is.
        match (&self.last_error, held, valid) {
            (None, _, _) if fetching => State::Refreshing,
            (None, true, true) => State::Fresh,
            (Some(_), true, true) => State::Stale,
            (_, true, false) => State::Expired,
            (_, false, _) => State::Absent,
        }
    }
}

impl Inner {
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        Now { wall: self.clock.now(), boot: (self.boot_time)() }
    }

    fn event(&self, event: &Event<'_>) {
        let now = self.now();
        self.book().refresh.handle(event, now, fastrand::f64());
    }

    fn last_error(&self) -> Option<Error> {
        self.book().last_error.as_ref().map(|(error, _)| error.clone())
    }

    /// Valid credentials, or else a step towards them.
    fn find(self: &Arc<Self>) -> Found {
        {
            let now = self.now();
            let mut book = self.book();
            if book.refresh.valid(now)
                && let Some(credentials) = book.credentials.clone()
            {
                book.served += 1;
                return Found::Valid(credentials);
            }
        }
        match self.step() {
            Next::Wait(wait) => Found::Later(wait),
            Next::Fetch | Next::Fetching => Found::Fetching,
        }
    }

    /// The credentials, expired or not.
    fn held(&self) -> Option<Credentials> {
        let mut book = self.book();
        let held = book.credentials.clone();
        book.served += u64::from(held.is_some());
        held
    }

    /// The credentials and their role, if they are valid; not counted as served.
    pub(super) fn peek(&self) -> Option<(String, String)> {
        let now = self.now();
        let book = self.book();
        let credentials = book.credentials.as_ref().filter(|_| book.refresh.valid(now))?;
        Some((book.role.clone(), credentials.access_key_id().to_owned()))
    }

    /// Starts a fetch if one is due. It belongs to no caller: whoever is cancelled, it lands.
    fn step(self: &Arc<Self>) -> Next {
        let now = self.now();
        let next = {
            let mut book = self.book();
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
                // A task of its own, so that even a panic lands as a failure.
                let fetch = tokio::spawn(async move { tokio::time::timeout(FETCH, source.fetch()).await });
                let outcome = match fetch.await {
                    Ok(Ok(outcome)) => outcome,
                    Ok(Err(_)) => Err(Error::TimedOut { after: FETCH }),
                    Err(_) => Err(Error::Crashed),
                };
                inner.land(outcome);
            });
        }
        next
    }

    fn land(&self, outcome: Result<Fetched, Error>) {
        let now = self.now();
        let outcome = outcome.and_then(|fetched| match fetched {
            Fetched { expiration, .. } if expiration > now.wall => Ok(fetched),
            Fetched { role, expiration, .. } => Err(Error::AlreadyExpired { role, expiration, now: now.wall }),
        });
        {
            let mut book = self.book();
            match outcome {
                Ok(fetched) => book.enter(fetched, now),
                Err(error) => book.enter_failure(error, now),
            }
        }
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Book {
    fn enter(&mut self, fetched: Fetched, now: Now) {
        let Fetched { role, credentials, expiration } = fetched;
        if self.role.is_empty() {
            tracing::info!(role, %expiration, "got credentials");
        } else if self.role != role {
            tracing::info!(role, was = self.role, %expiration, "the role has changed");
        } else if self.last_error.is_some() {
            tracing::info!(role, %expiration, "credentials are fresh again");
        }
        self.role = role;
        self.refresh.handle(&Event::Fetched { key: credentials.access_key_id(), expiration }, now, fastrand::f64());
        self.credentials = Some(credentials);
        self.refreshes += 1;
        self.last_error = None;
    }

    /// What still works stays as it is.
    fn enter_failure(&mut self, error: Error, now: Now) {
        let fault = Fault { at: now.wall, message: error.to_string(), hint: error.hint() };
        if self.last_error.as_ref().is_none_or(|(_, last)| last.message != fault.message) {
            tracing::warn!(role = self.role, error = fault.message, hint = fault.hint, "no new credentials");
        }
        self.refresh.handle(&Event::Failed, now, fastrand::f64());
        self.failures += 1;
        self.last_error = Some((error, fault));
    }
}
