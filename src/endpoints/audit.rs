//! The record of who was given which role and who was refused: each a line of the log with its facts as fields, the
//! recent ones for `imds-agent credentials who`. Counted always, said up to so often a minute and caller. Not the
//! decision.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::clock::{Clock, boot_time};

/// So many lines a minute are said of one user and door: a program that asks at each of its starts is heard every time,
/// one that asks in a loop does not fill the journal.
const LINES: u32 = 30;

/// The time in which that many are said.
const WINDOW: Duration = Duration::from_mins(1);

/// So many different callers are shown; one takes some 300 bytes.
const MOST_SHOWN: usize = 256;

/// So many of one user: who starts processes in a loop does not drive the others off the list.
const MOST_OF_ONE: usize = 64;

/// By which door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DoorKind {
    /// `credentials.sock`.
    Unix,
    /// The container protocol.
    Container,
    /// The look-alike of the metadata service.
    Metadata,
    /// `/health` and `/metrics`: no credentials are had there.
    Telemetry,
}

impl DoorKind {
    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unix => "unix",
            Self::Container => "container",
            Self::Metadata => "metadata",
            Self::Telemetry => "telemetry",
        }
    }
}

/// What became of a request for credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    /// These were handed out: the last four of the key's id, and when they expire.
    Served { key_id_suffix: String, expiration: Option<Timestamp> },
    /// Why not.
    Refused { reason: String },
}

/// Who asked for what, where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Case {
    uid: Option<u32>,
    pid: Option<i32>,
    unit: Option<String>,
    container: Option<String>,
    command: Option<String>,
    role: String,
    door: DoorKind,
    outcome: Outcome,
}

/// A line of `GET /who`: what happened, how often, and when first and last.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// When it happened last.
    pub at: Timestamp,
    /// When it happened first.
    pub since: Timestamp,
    /// How often.
    pub times: u64,
    /// `served` or `refused`.
    pub outcome: &'static str,
    /// The role; `base` for the base credentials.
    pub role: String,
    /// By which door.
    pub door: DoorKind,
    /// The user; unknown where the token alone decides.
    pub uid: Option<u32>,
    /// The process, where it is known.
    pub pid: Option<i32>,
    /// Its unit of the system.
    pub unit: Option<String>,
    /// Its container.
    pub container: Option<String>,
    /// What it calls itself.
    pub command: Option<String>,
    /// The last four of the access key's id.
    pub key_id_suffix: Option<String>,
    /// When what was handed out expires.
    pub expiration: Option<Timestamp>,
    /// Why it was refused.
    pub reason: Option<String>,
}

/// Takes one line of JSON to where it is kept beside the journal.
pub type Copy = Arc<dyn Fn(String) + Send + Sync>;

/// The record.
pub(super) struct Audit {
    clock: Clock,
    kept: Mutex<Kept>,
    copy: Mutex<Option<Copy>>,
}

#[derive(Default)]
struct Kept {
    shown: HashMap<Case, Times>,
    /// By door: how often credentials were handed out, and refused.
    counts: BTreeMap<&'static str, (u64, u64)>,
    said: HashMap<(Option<u32>, DoorKind), Said>,
    sequence: u64,
}

struct Times {
    since: Timestamp,
    at: Timestamp,
    count: u64,
    /// Which of two of the same time is the later one.
    sequence: u64,
}

/// How much was said of one caller in this window.
#[derive(Default)]
struct Said {
    since: Duration,
    lines: u32,
    unsaid: u64,
}

impl Audit {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, kept: Mutex::default(), copy: Mutex::default() }
    }

    /// From now on what is said goes there, too.
    pub(super) fn copy_to(&self, copy: Option<Copy>) {
        *self.copy.lock().unwrap_or_else(PoisonError::into_inner) = copy;
    }

    /// Writes down what became of a request for `role`. `caller` is unknown where the token alone decides.
    pub(super) fn record(&self, caller: Option<&Caller>, role: &str, door: DoorKind, outcome: Outcome) {
        let case = Case {
            uid: caller.map(|caller| caller.uid),
            pid: caller.and_then(|caller| caller.pid),
            unit: caller.and_then(|caller| caller.unit.clone()),
            container: caller.and_then(|caller| caller.container.as_ref()).map(container_name),
            command: caller.and_then(|caller| caller.command.clone()),
            role: role.to_owned(),
            door,
            outcome,
        };
        let now = self.clock.now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let unsaid = kept.may_say((case.uid, door), boot_time());
        kept.count(&case);
        kept.show(case.clone(), now);
        drop(kept);
        if let Some(unsaid) = unsaid {
            say(&case, unsaid);
            let copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(copy) = copy {
                let times = Times { since: now, at: now, count: unsaid + 1, sequence: 0 };
                copy(serde_json::to_string(&entry(&case, &times)).unwrap_or_default());
            }
        }
    }

    /// Each door of `kinds`, whether somebody came there or not.
    pub(super) fn counts(&self, kinds: &[DoorKind]) -> Vec<Snapshot> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = |kind: &DoorKind| {
            let (served, refused) = kept.counts.get(kind.word()).copied().unwrap_or_default();
            Snapshot { door: kind.word().to_owned(), served, refused }
        };
        kinds.iter().map(snapshot).collect()
    }

    /// The recent ones, the last first; only those of `uid`, if it is given.
    pub(super) fn recent(&self, uid: Option<u32>) -> Vec<Entry> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shown: Vec<_> = kept.shown.iter().filter(|(case, _)| uid.is_none() || case.uid == uid).collect();
        shown.sort_by_key(|(_, times)| std::cmp::Reverse(times.sequence));
        shown.into_iter().map(|(case, times)| entry(case, times)).collect()
    }
}

/// What happened at one door since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// `unix`, `container` or `metadata`.
    pub door: String,
    /// Requests that were given credentials.
    pub served: u64,
    /// Requests that were refused, whatever they asked for.
    pub refused: u64,
}

fn container_name(container: &crate::caller::Container) -> String {
    container.name.clone().unwrap_or_else(|| "without a name".to_owned())
}

impl Kept {
    /// Whether there is room for a line about that caller, and how many there was none for before.
    fn may_say(&mut self, caller: (Option<u32>, DoorKind), now: Duration) -> Option<u64> {
        self.said.retain(|_, said| now.saturating_sub(said.since) < WINDOW || said.unsaid > 0);
        let said = self.said.entry(caller).or_insert_with(|| Said { since: now, ..Said::default() });
        if now.saturating_sub(said.since) >= WINDOW {
            (said.since, said.lines) = (now, 0);
        }
        if said.lines == LINES {
            said.unsaid += 1;
            return None;
        }
        said.lines += 1;
        Some(std::mem::take(&mut said.unsaid))
    }

    fn count(&mut self, case: &Case) {
        let (served, refused) = self.counts.entry(case.door.word()).or_default();
        match case.outcome {
            Outcome::Served { .. } => *served += 1,
            Outcome::Refused { .. } => *refused += 1,
        }
    }

    fn show(&mut self, case: Case, now: Timestamp) {
        self.sequence += 1;
        let sequence = self.sequence;
        if let Some(times) = self.shown.get_mut(&case) {
            (times.at, times.count, times.sequence) = (now, times.count + 1, sequence);
            return;
        }
        let of_one = self.shown.keys().filter(|other| other.uid == case.uid).count();
        if of_one >= MOST_OF_ONE {
            self.forget_oldest(|other| other.uid == case.uid);
        } else if self.shown.len() >= MOST_SHOWN {
            self.forget_oldest(|_| true);
        }
        self.shown.insert(case, Times { since: now, at: now, count: 1, sequence });
    }

    fn forget_oldest(&mut self, among: impl Fn(&Case) -> bool) {
        let oldest = self.shown.iter().filter(|(case, _)| among(case)).min_by_key(|(_, times)| times.sequence);
        if let Some(case) = oldest.map(|(case, _)| case.clone()) {
            self.shown.remove(&case);
        }
    }
}

fn say(case: &Case, unsaid: u64) {
    let Case { uid, pid, unit, container, command, role, door, outcome } = case;
    let (unit, container, command) = (unit.as_deref(), container.as_deref(), command.as_deref());
    let unsaid = (unsaid > 0).then_some(unsaid);
    let door = door.word();
    match outcome {
        Outcome::Served { key_id_suffix, expiration } => {
            let expiration = expiration.map(|end| end.to_string());
            tracing::info!(
                role,
                door,
                uid,
                pid,
                unit,
                container,
                command,
                key_id_suffix,
                expiration,
                unsaid,
                "credentials were handed out"
            );
        }
        Outcome::Refused { reason } => {
            tracing::warn!(role, door, uid, pid, unit, container, command, reason, unsaid, "credentials were refused");
        }
    }
}

fn entry(case: &Case, times: &Times) -> Entry {
    let case = case.clone();
    let (outcome, key_id_suffix, expiration, reason) = match case.outcome {
        Outcome::Served { key_id_suffix, expiration } => ("served", Some(key_id_suffix), expiration, None),
        Outcome::Refused { reason } => ("refused", None, None, Some(reason)),
    };
    Entry {
        at: times.at,
        since: times.since,
        times: times.count,
        outcome,
        role: case.role,
        door: case.door,
        uid: case.uid,
        pid: case.pid,
        unit: case.unit,
        container: case.container,
        command: case.command,
        key_id_suffix,
        expiration,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit() -> Audit {
        Audit::new(Clock::stopped("2026-11-22T12:00:00Z".parse().unwrap()))
    }

    fn caller(uid: u32, pid: i32) -> Caller {
        Caller { uid, pid: Some(pid), is_known: true, ..Caller::default() }
    }

    fn refused() -> Outcome {
        Outcome::Refused { reason: "no".to_owned() }
    }

    #[test]
    fn the_same_again_is_counted_and_each_user_sees_its_own() {
        let audit = audit();
        for _ in 0..3 {
            audit.record(Some(&caller(1000, 7)), "app", DoorKind::Unix, refused());
        }
        let served = Outcome::Served { key_id_suffix: "WXYZ".to_owned(), expiration: None };
        audit.record(Some(&caller(1001, 8)), "app", DoorKind::Container, served);
        let all = audit.recent(None);
        assert_eq!((all.len(), all[0].uid, all[0].outcome, all[1].times), (2, Some(1001), "served", 3));
        assert_eq!(audit.recent(Some(1000)).len(), 1);
        let counts = audit.counts(&[DoorKind::Unix, DoorKind::Metadata]);
        let counts: Vec<_> = counts.iter().map(|door| (door.door.as_str(), door.served, door.refused)).collect();
        assert_eq!(counts, [("unix", 0, 3), ("metadata", 0, 0)]);
    }

    #[test]
    fn who_asks_in_a_loop_drives_nobody_off_the_list() {
        let audit = audit();
        audit.record(Some(&caller(0, 1)), "base", DoorKind::Unix, refused());
        for pid in 0..1000 {
            audit.record(Some(&caller(1000, pid)), "app", DoorKind::Unix, refused());
        }
        assert_eq!(audit.recent(Some(0)).len(), 1);
        assert_eq!(audit.recent(Some(1000)).len(), MOST_OF_ONE);
        for uid in 0..1000 {
            audit.record(Some(&caller(uid, 1)), "app", DoorKind::Unix, refused());
        }
        assert_eq!(audit.recent(None).len(), MOST_SHOWN);
    }

    #[test]
    fn so_much_is_said_of_one_caller_in_a_minute_and_the_rest_is_counted() {
        let mut kept = Kept::default();
        let (one, other) = ((Some(1), DoorKind::Unix), (Some(2), DoorKind::Unix));
        for _ in 0..LINES {
            assert_eq!(kept.may_say(one, Duration::ZERO), Some(0));
        }
        assert_eq!((kept.may_say(one, Duration::ZERO), kept.may_say(one, WINDOW / 2)), (None, None));
        assert_eq!(kept.may_say(other, Duration::ZERO), Some(0));
        assert_eq!(kept.may_say(one, WINDOW), Some(2));
    }
}
