//! Gathers what the rooms hand out into one report. Not the report's shape, and not what the rooms' facts mean.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::configured::Standing;
use super::credential_doors::CredentialDoors;
use super::rooms::{Ground, Rooms};
use super::supervisor::Board;
use crate::clock::{Clock, boot_time};
use crate::credentials::Snapshot;
use crate::endpoints::{Endpoints, Page, Question};
use crate::fault::{Fault, Warning};
use crate::status::{self, Format, Instance, Logs, Memory, Report, SCHEMA};
use crate::template::Names;

/// A clock this wrong is worth a person's while: AWS refuses signatures at five minutes, and log times are off.
const NOTABLE_SKEW: SignedDuration = SignedDuration::from_secs(60);

/// All that a report is gathered from.
pub(super) struct Overview {
    started: Started,
    clock: Clock,
    pub(super) board: Board,
    endpoints: Endpoints,
    credential_doors: CredentialDoors,
    in_effect: Mutex<(Arc<Rooms>, Standing)>,
}

/// When the daemon started, by both clocks.
pub(super) struct Started {
    /// By the machine's clock, uncorrected: the correction is not known at the start.
    machine: Timestamp,
    boot: Duration,
}

impl Started {
    pub(super) fn now(clock: &Clock) -> Self {
        Self { machine: shifted(clock.now(), -clock.skew()), boot: boot_time() }
    }
}

impl Overview {
    pub(super) fn new(
        started: Started,
        ground: &Ground,
        credential_doors: CredentialDoors,
        rooms: Rooms,
        standing: Standing,
    ) -> Self {
        let (clock, endpoints) = (ground.clock.clone(), ground.endpoints.clone());
        let in_effect = Mutex::new((Arc::new(rooms), standing));
        Self { started, clock, board: Board::default(), endpoints, credential_doors, in_effect }
    }

    /// The rooms in use.
    pub(super) fn rooms(&self) -> Arc<Rooms> {
        self.in_effect().0.clone()
    }

    /// From now on these are the rooms in use, and that is what is shown of their configuration.
    pub(super) fn move_to(&self, rooms: Rooms, standing: Standing) {
        *self.in_effect() = (Arc::new(rooms), standing);
    }

    /// Changes what is shown of the configuration in use.
    pub(super) fn restate(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.in_effect().1);
    }

    fn in_effect(&self) -> MutexGuard<'_, (Arc<Rooms>, Standing)> {
        self.in_effect.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes when the headline may have changed; cheap, whatever the number of files.
    pub(super) fn revision(&self) -> impl PartialEq + use<> {
        let (rooms, standing) = self.in_effect().clone();
        let role = |role: Snapshot| (role.state, role.expiration, role.last_error.is_some());
        let credentials: Vec<_> = rooms.roles.snapshots().into_iter().map(role).collect();
        (rooms.shipper.shown_at(), rooms.imds.snapshot().state, credentials, standing.shown().error)
    }

    /// From now on who asks at the telemetry door is answered from here.
    pub(super) fn answer_questions(self: &Arc<Self>) {
        // Not held: the doors are held by this.
        let overview = Arc::downgrade(self);
        self.endpoints.tell(Arc::new(move |question| {
            let report = overview.upgrade().map(|overview| overview.report());
            report.map_or_else(Page::default, |report| answer(&report, &question))
        }));
    }

    /// What the daemon is doing now.
    pub(super) fn report(&self) -> Report {
        let (rooms, standing) = self.in_effect().clone();
        let logs = rooms.shipper.snapshot();
        let memory = Memory {
            rss_bytes: resident(),
            buffers_bytes: logs.buffers_bytes,
            limit_bytes: rooms.config.logs.memory_limit,
        };
        let instance = instance(&rooms.identity.names().borrow());
        let mut warnings: Vec<Warning> = standing.warnings().collect();
        warnings.extend(self.board.warnings());
        warnings.extend(rooms.identity.warnings());
        warnings.extend(region_warning(&instance));
        warnings.extend(skew_warning(self.clock.skew()));
        let credentials = rooms.roles.snapshots();
        warnings.extend(credentials.iter().filter_map(|role| role.confirmation.clone()).map(confirmation_warning));
        warnings.extend(self.credential_doors.warnings());
        warnings.extend(self.endpoints.warnings());
        warnings.extend(logs.warnings);
        Report {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: shifted(self.started.machine, self.clock.skew()),
            uptime_seconds: boot_time().saturating_sub(self.started.boot).as_secs(),
            config: standing.shown(),
            instance,
            imds: rooms.imds.snapshot(),
            credentials,
            doors: self.endpoints.snapshots(),
            logs: Logs {
                ledger: logs.ledger,
                sources: logs.sources,
                destinations: logs.destinations,
                spool: logs.spool,
                dead_letters: logs.dead_letters,
            },
            memory,
            warnings,
        }
    }
}

fn answer(report: &Report, question: &Question) -> Page {
    match question {
        Question::Health => {
            let (is_well, body) = status::health(report);
            Page { is_well, content_type: "application/json", text: format!("{body:#}\n") }
        }
        Question::Metrics { accept } => {
            let format = Format::accepted(accept);
            Page { is_well: true, content_type: format.content_type(), text: status::metrics(report, format) }
        }
    }
}

fn shifted(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(time)
}

fn instance(names: &Names) -> Instance {
    let known = |name: &str| names.get(name).map(str::to_owned);
    Instance {
        instance_id: known("instance_id"),
        region: known("region"),
        account_id: known("account_id"),
        availability_zone: known("availability_zone"),
        instance_type: known("instance_type"),
    }
}

fn region_warning(instance: &Instance) -> Option<Warning> {
    instance.region.is_none().then(|| Warning {
        code: "region_unknown".to_owned(),
        message: "the region is not known: neither the configuration nor AWS_REGION names it, and IMDS has not told it"
            .to_owned(),
        hint: Some("set region = \"…\" in the configuration, or see what is wrong with IMDS".to_owned()),
    })
}

fn skew_warning(skew: SignedDuration) -> Option<Warning> {
    (skew.abs() >= NOTABLE_SKEW).then(|| Warning {
        code: "clock_skew".to_owned(),
        message: format!(
            "the machine's clock is {} s {} AWS's; requests are signed with the corrected time",
            skew.abs().as_secs(),
            if skew.is_positive() { "behind" } else { "ahead of" }
        ),
        hint: Some("chronyc makestep, or timedatectl set-ntp true".to_owned()),
    })
}

/// STS can't say who the credentials are: worth knowing, and no failure of theirs.
fn confirmation_warning(fault: Fault) -> Warning {
    Warning { code: "identity_unconfirmed".to_owned(), message: fault.message, hint: fault.hint }
}

/// What the process occupies (proc(5), `VmRSS`); 0 where /proc is not mounted.
fn resident() -> u64 {
    vm_rss(&std::fs::read_to_string("/proc/self/status").unwrap_or_default()).unwrap_or(0)
}

fn vm_rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_a_warning_with_the_cure() {
        assert_eq!(skew_warning(SignedDuration::from_secs(59)), None);
        let behind = skew_warning(SignedDuration::from_secs(600)).expect("a warning");
        assert!(behind.message.contains("600 s behind") && behind.hint.is_some(), "{behind:?}");
        let ahead = skew_warning(SignedDuration::from_secs(-600)).expect("a warning");
        assert!(ahead.message.contains("600 s ahead of"), "{ahead:?}");
    }

    #[test]
    fn a_region_that_nobody_told_is_a_warning() {
        assert!(region_warning(&Instance::default()).is_some());
        assert!(region_warning(&Instance { region: Some("eu-west-1".to_owned()), ..Instance::default() }).is_none());
    }

    #[test]
    fn memory_is_read_from_proc() {
        assert_eq!(vm_rss("Name:\tx\nVmRSS:\t    9800 kB\nVmData:\t1 kB\n"), Some(9_800 * 1024));
        assert!(resident() > 1 << 20, "this process occupies more than a mebibyte");
    }
}
