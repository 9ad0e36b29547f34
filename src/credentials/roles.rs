//! The base credentials and the roles that are assumed with them, each with its cache and with who may have it. Not who
//! is calling: that is found out at the doors.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::assume::{Assumed, Stage};
use super::budget::Budget;
use super::request::Request;
use super::{CredentialCache, RoleSettings, Settings, Snapshot};
use crate::caller::Rules;
use crate::heartbeat::{Heartbeat, LONGEST_SLEEP};

/// How the base credentials are called.
pub const BASE: &str = "base";

/// All roles; clones share them.
#[derive(Clone, Debug)]
pub struct Roles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    base: Role,
    named: Vec<Role>,
    settings: Vec<RoleSettings>,
    stage: Stage,
    budget: Budget,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Role {
    /// How callers name it; `base` for the base credentials.
    pub name: String,
    /// Who may have its credentials.
    pub allow: Rules,
    /// The credentials.
    pub cache: CredentialCache,
}

impl Roles {
    /// The base credentials, and a cache for each role that `settings` name. What `before` has of a role that is asked
    /// for in the same words, with the same base, goes on; of one whose names are merely told by another it is served
    /// until others are there.
    #[must_use]
    pub fn furnish(settings: &Settings, base: CredentialCache, stage: Stage, before: Option<&Self>) -> Self {
        let budget = before.map(|before| before.0.budget.clone()).unwrap_or_default();
        let named = settings.roles.iter().map(|role| {
            let source = || {
                let (settings, base) = (role.clone(), base.clone());
                Arc::new(Assumed { settings, base, stage: stage.clone(), budget: budget.clone() })
            };
            let cache = match before.and_then(|before| before.0.asking_as(role)) {
                Some((before, cache)) if before.base.cache.is(&base) && before.stage.is(&stage) => cache.clone(),
                Some((before, cache)) if same_session(role, &before.stage, &stage) => cache.succeeded_by(source()),
                _ => CredentialCache::new(source(), base.clock()),
            };
            Role { name: role.name.clone(), allow: role.allow.clone(), cache }
        });
        let named = named.collect();
        let base = Role { name: BASE.to_owned(), allow: settings.allow.clone(), cache: base };
        Self(Arc::new(Inner { base, named, settings: settings.roles.clone(), stage, budget }))
    }

    /// The base credentials.
    #[must_use]
    pub fn base(&self) -> &Role {
        &self.0.base
    }

    /// The role of that name, if there is one.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Role> {
        self.0.named.iter().find(|role| role.name == name)
    }

    /// The roles, in the configuration's order; not the base credentials.
    pub fn all(&self) -> impl Iterator<Item = &Role> {
        self.0.named.iter()
    }

    /// Whether all caches are those of `other`: then whoever runs those runs these.
    #[must_use]
    pub fn shares_caches(&self, other: &Self) -> bool {
        let same = |(one, other): (&Role, &Role)| one.cache.is(&other.cache);
        self.0.named.len() == other.0.named.len()
            && self.0.base.cache.is(&other.0.base.cache)
            && self.0.named.iter().zip(&other.0.named).all(same)
    }

    /// Keeps the roles' credentials fresh until `stop`; the base ones are run by themselves. After a panic it may be
    /// run again.
    pub async fn run(&self, stop: CancellationToken, heartbeat: Heartbeat) {
        let mut running = JoinSet::new();
        for role in self.all() {
            let (cache, stop, heartbeat) = (role.cache.clone(), stop.clone(), heartbeat.clone());
            running.spawn(async move { cache.run(stop, heartbeat).await });
        }
        while let Some(ended) = running.join_next().await {
            if let Err(error) = ended
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
        while !stop.is_cancelled() {
            heartbeat.beat();
            let _ = tokio::time::timeout(LONGEST_SLEEP, stop.cancelled()).await;
        }
    }

    /// What `status` shows, the base first.
    #[must_use]
    pub fn snapshots(&self) -> Vec<Snapshot> {
        std::iter::once(self.base()).chain(self.all()).map(|role| role.cache.snapshot()).collect()
    }
}

impl Inner {
    /// The cache of a role that is asked for in the same words.
    fn asking_as(&self, role: &RoleSettings) -> Option<(&Self, &CredentialCache)> {
        let index = self.settings.iter().position(|known| known.asks_as(role))?;
        Some((self, &self.named[index].cache))
    }
}

/// Whether the same words still mean the same session.
fn same_session(role: &RoleSettings, before: &Stage, after: &Stage) -> bool {
    let (before, after) = (before.names.borrow(), after.names.borrow());
    match (Request::fill(role, &before), Request::fill(role, &after)) {
        (Ok(before), Ok(after)) => before == after,
        _ => false,
    }
}
