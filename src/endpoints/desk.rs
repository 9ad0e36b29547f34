//! Who may have what, by the configuration in effect: the one place where a caller, a role and the rules meet. Every
//! request for credentials ends here, whichever door it came by, and each end is counted and written down. Not HTTP.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use rustix::fs::stat;
use tokio::sync::watch;

use super::audit::{Audit, DoorKind, Outcome};
use super::http::{Answer, refusal};
use super::tokens::Tokens;
use crate::caller::{Accounts, Caller};
use crate::credentials::{Error, Issued, Role, Roles};
use crate::template::Names;

/// How long who calls by HTTP waits for the first credentials: the least patient SDKs give up after 2 s, and the reason
/// why there are none shall reach them before.
const FIRST: Duration = Duration::from_millis(1500);

/// What the configuration says, and what is needed to judge by it.
pub(super) struct Desk {
    pub(super) roles: Roles,
    pub(super) names: watch::Receiver<Names>,
    /// Where the container door is, if it is on.
    pub(super) container: Option<SocketAddr>,
    /// The one role of the look-alike.
    pub(super) metadata_role: Option<String>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) audit: Arc<Audit>,
    pub(super) directory: Arc<Directory>,
}

/// Who calls at a door, and what it showed.
#[derive(Clone, Copy)]
pub(super) struct Visit<'v> {
    pub(super) door: DoorKind,
    /// `None` at a door that the token alone guards.
    pub(super) caller: Option<&'v Caller>,
    /// Whether the role's token was shown.
    pub(super) has_token: bool,
}

impl Desk {
    /// Whether the rules of `role` name who calls.
    pub(super) fn admits(&self, visit: Visit<'_>, role: &Role) -> bool {
        let Some(caller) = visit.caller else { return visit.has_token };
        let accounts = self.directory.accounts();
        let is_named = if visit.has_token {
            role.allow.admit_with_token(caller, &accounts)
        } else {
            role.allow.admit(caller, &accounts)
        };
        caller.is_known && is_named
    }

    /// The base credentials and the roles that who calls may have, by name, whatever token was shown: that is one role's.
    pub(super) fn allowed(&self, visit: Visit<'_>) -> Vec<&str> {
        let visit = Visit { has_token: false, ..visit };
        let all = std::iter::once(self.roles.base()).chain(self.roles.all());
        all.filter(|role| self.admits(visit, role)).map(|role| role.name.as_str()).collect()
    }

    /// The credentials of `role` for who calls: from memory, or waited for up to `wait`.
    pub(super) async fn hand_out(
        &self,
        visit: Visit<'_>,
        role: &Role,
        wait: Option<Duration>,
    ) -> Result<Issued, Box<Answer>> {
        if !self.admits(visit, role) {
            return Err(self.refuse(visit, role));
        }
        let issued = match (role.cache.hand_out(), wait) {
            (Err(_), Some(wait)) => role.cache.wait_for(wait).await,
            // Nothing has failed yet: the first ones are on their way, as after a restart.
            (Err(_), None) if role.cache.snapshot().last_error.is_none() => role.cache.wait_for(FIRST).await,
            (at_once, _) => at_once,
        };
        let issued = issued.map_err(|error| Box::new(not_ready(&error)))?;
        let id = issued.credentials.access_key_id();
        let key_id_suffix = id.chars().skip(id.chars().count().saturating_sub(4)).collect();
        let outcome = Outcome::Served { key_id_suffix, expiration: issued.expiration };
        self.audit.record(visit.caller, &role.name, visit.door, outcome);
        Ok(issued)
    }

    /// Says no, and why.
    pub(super) fn refuse(&self, visit: Visit<'_>, role: &Role) -> Box<Answer> {
        let taken_for = visit.caller.map_or_else(|| "somebody without the token".to_owned(), ToString::to_string);
        let allowed = self.allowed(visit);
        let whose = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
        let reason = format!("`allow` of the role {} does not name the caller", role.name);
        let message = format!(
            "the role {} is not for you: you are {taken_for}; its `allow` names {}; the roles that you may have: {whose}",
            role.name, role.allow
        );
        self.count_refusal(visit, role, reason);
        let hint = "the [[role]] table's `allow` (or that of [credentials], for the base role) says who may have it";
        Box::new(refusal(StatusCode::FORBIDDEN, "AccessDenied", &message, Some(hint)))
    }

    /// Writes down that `role` was refused.
    pub(super) fn count_refusal(&self, visit: Visit<'_>, role: &Role, reason: String) {
        role.cache.refused();
        self.audit.record(visit.caller, &role.name, visit.door, Outcome::Refused { reason });
    }

    /// Says no to who asked for something that no role has to do with.
    pub(super) fn turn_away(&self, visit: Visit<'_>, asked_for: &str, message: &str) -> Box<Answer> {
        let outcome = Outcome::Refused { reason: message.to_owned() };
        self.audit.record(visit.caller, asked_for, visit.door, outcome);
        Box::new(refusal(StatusCode::FORBIDDEN, "AccessDenied", message, None))
    }
}

/// There are no valid credentials now.
pub(super) fn not_ready(error: &Error) -> Answer {
    refusal(StatusCode::SERVICE_UNAVAILABLE, "NotReady", &crate::fault::chain(error), error.hint().as_deref())
}

/// The system's accounts, read again when their files have changed.
#[derive(Default)]
pub(super) struct Directory(Mutex<(Option<[Stamp; 2]>, Arc<Accounts>)>);

/// What tells one version of a file from another: its inode, size and time.
type Stamp = (u64, i64, i64, i64);

impl Directory {
    pub(super) fn accounts(&self) -> Arc<Accounts> {
        let stamp = |path: &str| {
            let found = stat(Path::new(path)).ok()?;
            let nanos = i64::try_from(found.st_mtime_nsec).unwrap_or_default();
            Some((found.st_ino, found.st_size, found.st_mtime, nanos))
        };
        let now = stamp("/etc/passwd").zip(stamp("/etc/group")).map(|(users, groups)| [users, groups]);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.0 != now || now.is_none() {
            *held = (now, Arc::new(Accounts::of_system()));
        }
        held.1.clone()
    }
}
