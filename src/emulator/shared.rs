//! What all connections share: the clock, the state behind a lock, and the feed of what is happening. Not I/O.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU8;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use super::clock::{Clock, Millis};
use super::counts::Counts;
use super::fault::Plan;
use super::keyring::{Holder, Issued, Keyring};
use super::logs::Store;
use super::metadata::{self, Leaves};
use super::options::{Change, Door, Gzip, Options};

/// How many lines of activity wait for a slow reader before the oldest are lost: some seconds of a busy agent.
const ACTIVITY_BACKLOG: usize = 4096;

/// One request and what became of it, for a person who watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// `imds:get`, `logs:PutLogEvents`…; `emulator` when a test changed something.
    pub operation: String,
    /// The HTTP status; `None`: no answer was sent.
    pub status: Option<u16>,
    /// What it was about, or why it was refused.
    pub detail: String,
}

/// Shared by the handle and all connections.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) door: watch::Sender<Door>,
    pub(super) activity: broadcast::Sender<Activity>,
    state: Mutex<State>,
}

impl Shared {
    pub(super) fn new(options: Options) -> Arc<Self> {
        Arc::new(Self {
            clock: Clock::default(),
            door: watch::Sender::new(Door::Open),
            activity: broadcast::Sender::new(ACTIVITY_BACKLOG),
            state: Mutex::new(State::new(options)),
        })
    }

    /// The state; one that a panicking test left behind is used as it is.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies a change of settings.
    pub(super) fn change(&self, change: &Change) {
        if let Some(seconds) = change.clock_skew_seconds {
            self.clock.set_skew(seconds);
        }
        self.state().change(change);
    }

    /// Tells whoever watches.
    pub(super) fn tell(&self, operation: String, status: Option<u16>, detail: String) {
        // An error only means that nobody watches.
        let _ = self.activity.send(Activity { operation, status, detail });
    }
}

/// Everything that requests read and change.
#[derive(Debug)]
pub(super) struct State {
    pub(super) options: Options,
    pub(super) role_name: Option<String>,
    pub(super) hop_limit: NonZeroU8,
    pub(super) credentials_lifetime: i64,
    /// Of `AssumeRole`'s sessions, instead of what was asked for.
    pub(super) session_lifetime: Option<i64>,
    pub(super) imds_off: bool,
    pub(super) imds_v1: bool,
    pub(super) put_latency: Duration,
    pub(super) gzip: Gzip,
    pub(super) container_role: String,
    pub(super) container_token: Option<String>,
    pub(super) web_identity_token: Option<String>,
    pub(super) leaves: Leaves,
    /// Of SSM, by name.
    pub(super) parameters: BTreeMap<String, String>,
    /// Of Secrets Manager, by name.
    pub(super) secrets: BTreeMap<String, String>,
    /// IMDS tokens and when they expire.
    pub(super) tokens: HashMap<String, Millis>,
    pub(super) keyring: Keyring,
    pub(super) store: Store,
    pub(super) faults: Plan,
    pub(super) counts: Counts,
}

impl State {
    pub(super) fn new(options: Options) -> Self {
        Self {
            role_name: options.role_name.clone(),
            hop_limit: options.hop_limit,
            credentials_lifetime: i64::try_from(options.credentials_lifetime.as_millis()).unwrap_or(i64::MAX),
            session_lifetime: None,
            imds_off: false,
            imds_v1: false,
            put_latency: options.put_latency,
            gzip: Gzip::default(),
            container_role: options.container_role.clone(),
            container_token: options.container_token.clone(),
            web_identity_token: options.web_identity_token.clone(),
            leaves: metadata::fixed(&options),
            parameters: BTreeMap::new(),
            secrets: BTreeMap::new(),
            tokens: HashMap::new(),
            keyring: Keyring::default(),
            store: Store::default(),
            faults: Plan::default(),
            counts: Counts::default(),
            options,
        }
    }

    /// The instance role's credentials as IMDS serves them now; `None` without a role.
    pub(super) fn role_credentials(&mut self, now: Millis) -> Option<Arc<Issued>> {
        let holder = Holder {
            partition: metadata::partition(&self.options.region).0,
            account: &self.options.account_id,
            role: self.role_name.as_ref()?,
            session: &self.options.instance_id,
        };
        Some(self.keyring.current(&holder, now, self.credentials_lifetime))
    }

    fn change(&mut self, change: &Change) {
        if let Some(seconds) = change.credentials_lifetime_seconds {
            self.credentials_lifetime = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000);
            self.keyring.rotate();
        }
        if let Some(seconds) = change.session_lifetime_seconds {
            self.session_lifetime = Some(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000));
        }
        if let Some(frozen) = change.freeze_credentials {
            self.keyring.frozen = frozen;
        }
        if let Some(name) = &change.role_name {
            self.role_name = (!name.is_empty()).then(|| name.clone());
        }
        if let Some(limit) = change.hop_limit {
            self.hop_limit = limit;
        }
        if let Some(off) = change.imds_off {
            self.imds_off = off;
        }
        if let Some(v1) = change.imds_v1 {
            self.imds_v1 = v1;
        }
        if let Some(millis) = change.put_latency_ms {
            self.put_latency = Duration::from_millis(millis);
        }
        if let Some(gzip) = change.gzip {
            self.gzip = gzip;
        }
        if let Some(name) = &change.container_role {
            self.container_role.clone_from(name);
        }
        let some = |token: &String| (!token.is_empty()).then(|| token.clone());
        if let Some(token) = &change.container_token {
            self.container_token = some(token);
        }
        if let Some(token) = &change.web_identity_token {
            self.web_identity_token = some(token);
        }
        for (kept, changes) in [
            (&mut self.parameters, &change.parameters),
            (&mut self.secrets, &change.secrets),
            (&mut self.leaves, &change.metadata),
        ] {
            for (name, text) in changes {
                match text {
                    Some(text) => kept.insert(name.clone(), text.clone()),
                    None => kept.remove(name),
                };
            }
        }
    }
}
