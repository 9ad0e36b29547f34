//! What a cache has written down: the credentials in hand, whose they are, what was counted, what failed last. Not when
//! others are fetched: that is `refresh`'s.

use aws_credential_types::Credentials;
use jiff::Timestamp;

use super::refresh::{Event, Next, Now, Refresh};
use super::source::Fetched;
use super::{Error, Issued, Pace, State};
use crate::fault::Fault;

/// Everything that changes in a cache.
#[derive(Default)]
pub(super) struct Book {
    pub(super) refresh: Refresh,
    /// Whose credentials were fetched last; empty before the first.
    pub(super) role: String,
    held: Option<Fetched>,
    pub(super) refreshes: u64,
    pub(super) failures: u64,
    pub(super) served: u64,
    pub(super) denied: u64,
    pub(super) last_error: Option<(Error, Fault)>,
    /// The role that STS confirmed, and its ARN there.
    pub(super) confirmed: Option<(String, String)>,
    pub(super) confirmation: Option<Fault>,
}

impl Book {
    /// Nothing yet, of a source of this pace.
    pub(super) fn at(pace: Pace) -> Self {
        Self { refresh: Refresh::at(pace), ..Self::default() }
    }

    /// The same in hand, and others to be fetched now.
    pub(super) fn begun_anew(&self) -> Self {
        Self {
            refresh: self.refresh.begun_anew(),
            role: self.role.clone(),
            held: self.held.clone(),
            refreshes: self.refreshes,
            failures: self.failures,
            served: self.served,
            denied: self.denied,
            ..Self::default()
        }
    }

    /// How many fetches have ended.
    pub(super) fn landed(&self) -> u64 {
        self.refreshes + self.failures
    }

    /// The credentials in hand, expired or not.
    pub(super) fn held(&self) -> Option<&Credentials> {
        self.held.as_ref().map(|held| &held.credentials)
    }

    /// The credentials in hand, if they are good at `now`.
    pub(super) fn valid(&self, now: Now) -> Option<&Credentials> {
        self.held().filter(|_| self.refresh.valid(now))
    }

    /// What is handed out, if it is good at `now`.
    pub(super) fn issued(&self, now: Now) -> Option<Issued> {
        let held = self.held.as_ref().filter(|_| self.refresh.valid(now))?;
        Some(Issued {
            credentials: held.credentials.clone(),
            expiration: held.expiration,
            role_arn: held.role_arn.clone(),
            account_id: held.account_id.clone().or_else(|| self.arn().and_then(account_of)),
        })
    }

    /// When what is in hand has expired, if it has.
    pub(super) fn expired(&self, now: Now) -> Option<Timestamp> {
        self.held.as_ref().and_then(|held| held.expiration).filter(|_| !self.refresh.valid(now))
    }

    /// The base role that what is in hand is derived from.
    pub(super) fn derived_from(&self) -> Option<&str> {
        self.held.as_ref().and_then(|held| held.derived_from.as_deref())
    }

    /// Who the credentials are, as far as somebody told.
    pub(super) fn arn(&self) -> Option<&str> {
        let told = self.held.as_ref().and_then(|held| held.arn.as_deref());
        told.or_else(|| self.confirmed.as_ref().filter(|(role, _)| *role == self.role).map(|(_, arn)| arn.as_str()))
    }

    pub(super) fn state(&self, now: Now) -> State {
        let fetching = self.refresh.next(now) == Next::Fetching;
        let (held, valid) = (self.held.is_some(), self.refresh.valid(now));
        // A retry is not news: what it retries is.
        match (&self.last_error, held, valid) {
            (None, _, _) if fetching => State::Refreshing,
            (None, true, true) => State::Fresh,
            (Some(_), true, true) => State::Stale,
            (_, true, false) => State::Expired,
            (_, false, _) => State::Absent,
        }
    }

    /// What a fetch brought takes the place of what was in hand.
    pub(super) fn enter(&mut self, fetched: Fetched, now: Now) {
        let expiration = fetched.expiration.map_or_else(|| "never".to_owned(), |end| end.to_string());
        if self.role.is_empty() {
            tracing::info!(role = fetched.role, expiration, "got credentials");
        } else if self.role != fetched.role {
            tracing::info!(role = fetched.role, was = self.role, expiration, "the role has changed");
        } else if self.last_error.is_some() {
            tracing::info!(role = fetched.role, expiration, "credentials are fresh again");
        }
        fetched.role.clone_into(&mut self.role);
        let event = Event::Fetched { key: fetched.credentials.access_key_id(), expiration: fetched.expiration };
        self.refresh.handle(&event, now, fastrand::f64());
        self.held = Some(fetched);
        self.refreshes += 1;
        self.last_error = None;
    }

    /// What still works stays as it is.
    pub(super) fn enter_failure(&mut self, error: Error, whose: &str, now: Now) {
        let fault = Fault { at: now.wall, message: error.to_string(), hint: error.hint() };
        if self.last_error.as_ref().is_none_or(|(_, last)| last.message != fault.message) {
            tracing::warn!(role = whose, error = fault.message, hint = fault.hint, "no new credentials");
        }
        let event = if error.is_denial() { Event::Denied } else { Event::Failed };
        self.refresh.handle(&event, now, fastrand::f64());
        self.failures += 1;
        self.last_error = Some((error, fault));
    }

    /// What is in hand is not what is wanted any more: others are fetched now.
    pub(super) fn forget(&mut self) {
        tracing::info!(
            role = self.role,
            was = self.derived_from(),
            "the base role has changed, dropping what was derived"
        );
        self.held = None;
        self.last_error = None;
        self.refresh.forget();
    }
}

/// The account in an ARN.
fn account_of(arn: &str) -> Option<String> {
    arn.split(':').nth(4).filter(|account| !account.is_empty()).map(str::to_owned)
}
