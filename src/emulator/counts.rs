//! What was asked of the emulator: counters that tests compare. Not the events themselves: those are in `logs`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::session::SessionRequest;

/// Counters since the start. As JSON they are `counts` in `GET /_emulator/state`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests by operation (`imds:token`, `imds:get`, `logs:PutLogEvents`…), whatever became of them.
    pub operations: BTreeMap<String, u64>,
    /// Refusals by operation and error name or status: `logs:PutLogEvents ThrottlingException`, `imds:get 401`.
    pub errors: BTreeMap<String, u64>,
    /// Metadata requests by path.
    pub metadata_paths: BTreeMap<String, u64>,
    /// Metadata requests that carried no token.
    pub metadata_without_token: u64,
    /// The lifetimes that token requests asked for, in seconds, and how often.
    pub token_ttls: BTreeMap<u32, u64>,
    /// Roles that STS was asked for, by ARN.
    pub roles: BTreeMap<String, RoleCounts>,
    /// `PutLogEvents` in numbers.
    pub puts: PutCounts,
}

/// What STS was asked for one role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RoleCounts {
    /// Calls for sessions of it, whatever became of them.
    pub calls: u64,
    /// Sessions issued.
    pub sessions: u64,
    /// What the last session was asked for with.
    pub last: SessionRequest,
}

/// `PutLogEvents` in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PutCounts {
    /// Calls that stored something or rejected events one by one.
    pub calls: u64,
    /// Events stored.
    pub events: u64,
    /// Bytes of the stored messages.
    pub bytes: u64,
    /// Events rejected inside a 200.
    pub rejected: u64,
    /// Calls whose body was gzip'd, refused ones included.
    pub compressed: u64,
    /// Calls under way now.
    pub in_flight: u64,
    /// The most calls that ever were under way at once.
    pub peak_in_flight: u64,
}

/// The most different metadata paths, or roles, that are counted: more than there are, so that a stray client can't fill memory.
const MOST_PATHS: usize = 1000;

impl Counts {
    /// How often `operation` was asked for.
    #[must_use]
    pub fn of(&self, operation: &str) -> u64 {
        self.operations.get(operation).copied().unwrap_or(0)
    }

    /// All requests to the metadata service.
    #[must_use]
    pub fn imds(&self) -> u64 {
        self.of("imds:token") + self.of("imds:get")
    }

    pub(super) fn operation(&mut self, name: &str) {
        add(&mut self.operations, name);
    }

    /// Sessions of the role with this ARN, and calls for them.
    #[must_use]
    pub fn role(&self, arn: &str) -> RoleCounts {
        self.roles.get(arn).cloned().unwrap_or_default()
    }

    pub(super) fn role_call(&mut self, arn: &str) {
        if self.roles.len() < MOST_PATHS || self.roles.contains_key(arn) {
            self.roles.entry(arn.to_string()).or_default().calls += 1;
        }
    }

    pub(super) fn session(&mut self, arn: &str, asked: SessionRequest) {
        if let Some(role) = self.roles.get_mut(arn) {
            role.sessions += 1;
            role.last = asked;
        }
    }

    pub(super) fn error(&mut self, operation: &str, code: &str) {
        add(&mut self.errors, &format!("{operation} {code}"));
    }

    pub(super) fn metadata(&mut self, path: &str, has_token: bool) {
        if self.metadata_paths.len() < MOST_PATHS || self.metadata_paths.contains_key(path) {
            add(&mut self.metadata_paths, path);
        }
        self.metadata_without_token += u64::from(!has_token);
    }

    pub(super) fn put_begins(&mut self) {
        self.puts.in_flight += 1;
        self.puts.peak_in_flight = self.puts.peak_in_flight.max(self.puts.in_flight);
    }

    pub(super) fn put_ends(&mut self) {
        self.puts.in_flight -= 1;
    }
}

fn add(counters: &mut BTreeMap<String, u64>, name: &str) {
    if let Some(count) = counters.get_mut(name) {
        *count += 1;
    } else {
        counters.insert(name.to_string(), 1);
    }
}
