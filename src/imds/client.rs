//! The client: one operation is a token, a request, an answer, and what `retry` decides about it, within a budget and a
//! deadline. Not the meaning of documents (`documents`) nor when a token is renewed (`token`).
//!
//! IMDS is asked directly and only where the settings say: no proxy (it would answer with *its* role), no redirects.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::SemaphorePermit;
use url::Url;
use zeroize::Zeroizing;

use super::budget::Budget;
use super::documents::{self, IamInfo, IdentityDocument, RoleCredentials};
use super::environment::{Environment, Target};
use super::error::{Error, Problem, TOKEN_REQUEST};
use super::exchange::{Exchange, address};
use super::retry::{self, Decision};
use super::token::{Grant, TokenManager};
use super::{Settings, Snapshot, State};
use crate::clock::{Clock, boot_time};
use crate::fault::Fault;

/// How long an operation may take, retries included (DESIGN, IMDS): nobody waits longer for a neighbour.
const WHOLE_OPERATION: Duration = Duration::from_secs(3);

/// Asks the metadata service; clones share the token, the budget and the counters.
#[derive(Clone, Debug)]
pub struct ImdsClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    target: Target,
    /// Which of the target's endpoints is asked: the next one as soon as this one can't be reached.
    endpoint: AtomicUsize,
    exchange: Exchange,
    budget: Budget,
    tokens: TokenManager,
    clock: Clock,
    started: Duration,
    identity: OnceLock<IdentityDocument>,
    book: Mutex<Book>,
}

/// What `status` wants to know.
#[derive(Debug, Default)]
struct Book {
    snapshot: Snapshot,
    ever_succeeded: bool,
}

impl ImdsClient {
    /// A client that has asked nothing yet.
    ///
    /// # Errors
    /// When the endpoint is not a URL that can be asked.
    pub fn new(settings: &Settings, environment: &Environment, clock: &Clock) -> Result<Self, Error> {
        Self::asking(Target::resolve(settings, environment)?, settings.token_ttl, clock)
    }

    /// A client of `target`.
    pub(super) fn asking(target: Target, token_ttl: Duration, clock: &Clock) -> Result<Self, Error> {
        let client = Self(Arc::new(Inner {
            exchange: Exchange::new(token_ttl, target.v1_fallback, clock.clone())?,
            target,
            endpoint: AtomicUsize::new(0),
            budget: Budget::new(),
            tokens: TokenManager::default(),
            clock: clock.clone(),
            started: boot_time(),
            identity: OnceLock::new(),
            book: Mutex::default(),
        }));
        "v2".clone_into(&mut client.0.book().snapshot.version);
        if client.0.target.disabled {
            client.0.note(&Err::<(), _>(Problem::Disabled));
        }
        Ok(client)
    }

    /// The text at `path`, e.g. `/latest/meta-data/instance-id`.
    ///
    /// # Errors
    /// As IMDS answers.
    pub async fn get(&self, path: &str) -> Result<String, Error> {
        self.0.ask(path, |body| documents::text(path, body)).await
    }

    /// What is at `path`, whatever it is.
    ///
    /// # Errors
    /// As IMDS answers.
    pub async fn bytes(&self, path: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.0.ask(path, |body| Ok(Zeroizing::new(body.to_vec()))).await
    }

    /// Which instance this is. It never changes while the instance runs, so only the first success costs requests.
    /// Where there is no such document, as in some look-alikes, it is put together from the metadata.
    ///
    /// # Errors
    /// As IMDS answers.
    pub async fn identity_document(&self) -> Result<IdentityDocument, Error> {
        if let Some(known) = self.0.identity.get() {
            return Ok(known.clone());
        }
        let document = match self.0.ask(documents::IDENTITY, documents::identity).await {
            Err(absent) if matches!(absent.problem(), Problem::NotFound { .. }) => {
                self.identity_from_metadata(absent).await?
            }
            answer => answer?,
        };
        Ok(self.0.identity.get_or_init(|| document).clone())
    }

    /// The identity where its document is `absent`. That may only mean that IMDS is coming up, so the document is asked
    /// for once more as soon as another path has answered; only then what metadata don't tell stays unknown.
    async fn identity_from_metadata(&self, absent: Error) -> Result<IdentityDocument, Error> {
        let (instance_id, region, zone) = tokio::try_join!(
            self.value("instance-id"),
            self.value("placement/region"),
            self.value("placement/availability-zone"),
        )?;
        let region = region.or_else(|| zone.as_deref().and_then(documents::region_of).map(str::to_owned));
        if instance_id.is_none() && region.is_none() && zone.is_none() {
            return Err(absent);
        }
        match self.0.ask(documents::IDENTITY, documents::identity).await {
            Err(error) if matches!(error.problem(), Problem::NotFound { .. }) => {}
            answer => return answer,
        }
        let profile = unless_not_served(self.iam_info().await)?.unwrap_or_default();
        let (instance_type, image_id, private_ip) =
            tokio::try_join!(self.value("instance-type"), self.value("ami-id"), self.value("local-ipv4"))?;
        tracing::info!(endpoint = %address(self.0.endpoint()), "no identity document here, its parts were asked for");
        Ok(IdentityDocument {
            instance_id: instance_id.unwrap_or_default(),
            region: region.unwrap_or_default(),
            account_id: profile.account_id().unwrap_or_default().to_owned(),
            availability_zone: zone.unwrap_or_default(),
            instance_type: instance_type.unwrap_or_default(),
            image_id: image_id.unwrap_or_default(),
            private_ip,
        })
    }

    /// The one-word value called `name` in the metadata.
    async fn value(&self, name: &str) -> Result<Option<String>, Error> {
        let path = format!("/latest/meta-data/{name}");
        unless_not_served(self.0.ask(&path, |body| documents::value(&path, body)).await)
    }

    /// The name of the instance's role. It may change while the instance runs: ask before every use.
    ///
    /// # Errors
    /// As IMDS answers; where there is no role, the error tells why, at the price of one more request.
    pub async fn role_name(&self) -> Result<String, Error> {
        match self.0.ask(documents::ROLES, documents::role_name).await {
            Ok(Some(name)) => Ok(name),
            Err(error) if !matches!(error.problem(), Problem::NotFound { .. }) => Err(error),
            _ => Err(self.0.error(self.why_no_role().await)),
        }
    }

    async fn why_no_role(&self) -> Problem {
        match self.iam_info().await {
            Err(error) if matches!(error.problem(), Problem::NotFound { .. }) => Problem::NoInstanceProfile,
            Err(error) => error.problem().clone(),
            Ok(IamInfo { code: Some(code), message, .. }) if !documents::is_success(&code) => {
                Problem::RoleFailure { role: None, code, message: message.unwrap_or_default() }
            }
            Ok(IamInfo { instance_profile_arn, .. }) => {
                let arn = instance_profile_arn.unwrap_or_default();
                Problem::EmptyProfile { profile: arn.rsplit('/').next().unwrap_or_default().to_owned() }
            }
        }
    }

    /// The credentials of `role`, exactly as issued.
    ///
    /// # Errors
    /// As IMDS answers; a document that says it failed is an error with its code and message.
    pub async fn role_credentials(&self, role: &str) -> Result<RoleCredentials, Error> {
        let path = format!("{}{role}", documents::ROLES);
        self.0.ask(&path, |body| documents::role_credentials(role, body)).await
    }

    /// Which instance profile is attached.
    ///
    /// # Errors
    /// As IMDS answers.
    pub async fn iam_info(&self) -> Result<IamInfo, Error> {
        self.0.ask(documents::IAM_INFO, documents::iam_info).await
    }

    /// Where it asks, in the order in which it tries.
    pub fn endpoints(&self) -> impl Iterator<Item = &Url> {
        self.0.target.endpoints.iter()
    }

    /// Whether the environment forbids to ask at all.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.0.target.disabled
    }

    /// What `status` shows.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.0.book().snapshot.clone();
        snapshot.endpoint = address(self.0.endpoint());
        snapshot
    }
}

/// `None` for what a service that answers does not serve: look-alikes say so with 404, with 500, or with a page.
fn unless_not_served<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Err(error) => match error.problem() {
            Problem::NotFound { .. } | Problem::BadStatus { .. } | Problem::BadDocument { .. } => Ok(None),
            _ => Err(error),
        },
        Ok(value) => Ok(Some(value)),
    }
}

impl Inner {
    /// One operation: attempts until there is an answer, the table says stop, or time is up.
    async fn ask<T>(&self, path: &str, parse: impl Fn(&[u8]) -> Result<T, Problem>) -> Result<T, Error> {
        let mut last = None;
        let attempts = self.attempts(path, parse, &mut last);
        let result = if self.target.disabled {
            Err(Problem::Disabled)
        } else if let Ok(result) = tokio::time::timeout(WHOLE_OPERATION, attempts).await {
            result
        } else {
            Err(last.unwrap_or_else(|| self.no_answer_in_time(path)))
        };
        self.note(&result);
        result.map_err(|problem| self.error(problem))
    }

    /// Time was up in the first attempt, perhaps while another operation was waiting for the token that both need.
    fn no_answer_in_time(&self, path: &str) -> Problem {
        let asked = if self.book().snapshot.token_expires_at.is_some() { path } else { TOKEN_REQUEST };
        Problem::Blocked { endpoint: address(self.endpoint()), asked: asked.to_owned() }
    }

    async fn attempts<T>(
        &self,
        path: &str,
        parse: impl Fn(&[u8]) -> Result<T, Problem>,
        last: &mut Option<Problem>,
    ) -> Result<T, Problem> {
        let mut renewed = false;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let problem = match self.once(path).await.and_then(|body| parse(&body)) {
                Ok(value) => return Ok(value),
                Err(problem) => problem,
            };
            self.count_failure(&problem);
            match retry::decide(&problem, attempt, renewed, self.booting()) {
                Decision::GiveUp => return Err(problem),
                Decision::NewToken => renewed = true,
                Decision::Wait(up_to) => {
                    *last = Some(problem);
                    tokio::time::sleep(up_to.mul_f64(fastrand::f64())).await;
                }
            }
        }
    }

    /// One attempt: a token if none is held, and the request.
    async fn once(&self, path: &str) -> Result<Zeroizing<Vec<u8>>, Problem> {
        let access = self.tokens.access(boot_time(), || self.new_token()).await?;
        let _permit = self.admit().await;
        let result = self.exchange.document(self.endpoint(), path, access.header.as_ref()).await;
        // 403 may mean that IMDS was switched off meanwhile: the next request for a token will tell.
        if let Err(Problem::TokenRefused { .. } | Problem::BadStatus { status: 403, .. }) = &result {
            self.tokens.discard(&access).await;
            self.book().snapshot.token_expires_at = None;
        }
        result
    }

    async fn new_token(&self) -> Result<Grant, Problem> {
        let _permit = self.admit().await;
        let grant = self.exchange.token(self.endpoint()).await?;
        let mut book = self.book();
        if grant.header.is_some() { "v2" } else { "v1" }.clone_into(&mut book.snapshot.version);
        book.snapshot.token_expires_at =
            self.clock.now().checked_add(grant.ttl).ok().filter(|_| grant.header.is_some());
        Ok(grant)
    }

    async fn admit(&self) -> SemaphorePermit<'_> {
        let permit = self.budget.admit().await;
        self.book().snapshot.requests += 1;
        permit
    }

    fn count_failure(&self, problem: &Problem) {
        if problem.state().is_some() {
            self.book().snapshot.failures += 1;
        }
        if matches!(problem, Problem::Absent { .. } | Problem::Blocked { .. }) {
            self.endpoint.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn endpoint(&self) -> &Url {
        &self.target.endpoints[self.endpoint.load(Ordering::Relaxed) % self.target.endpoints.len()]
    }

    fn booting(&self) -> bool {
        !self.book().ever_succeeded && boot_time().saturating_sub(self.started) < retry::BOOT_PHASE
    }

    fn error(&self, problem: Problem) -> Error {
        let instance_id = self.identity.get().map(|identity| identity.instance_id.clone());
        Error::new(problem, instance_id.filter(|id| !id.is_empty()))
    }

    /// Enters an operation's end in the book, and says so once when that changes how IMDS is doing.
    fn note<T>(&self, result: &Result<T, Problem>) {
        let fault = result.as_ref().err().and_then(|problem| Some((problem, problem.state()?)));
        let state = fault.as_ref().map_or(State::Running, |(_, state)| *state);
        let last_error = fault.map(|(problem, _)| {
            let error = self.error(problem.clone());
            Fault { at: self.clock.now(), message: error.to_string(), hint: error.hint() }
        });
        let mut book = self.book();
        book.ever_succeeded |= result.is_ok();
        if book.snapshot.state != state {
            if let Some(fault) = &last_error {
                tracing::warn!(error = %fault.message, hint = fault.hint, "no metadata");
            } else {
                tracing::info!(endpoint = %address(self.endpoint()), "metadata service answers");
            }
        }
        book.snapshot.state = state;
        book.snapshot.last_error = last_error;
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
