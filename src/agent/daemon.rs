//! The life of the process on one screen: rooms become tasks, tasks run until the stop, and stop in order. Not the
//! signals, and not the exit code: those are the command line's; and not the reload, which is `reload`'s.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_types::SdkConfig;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::configured::{Configured, Standing};
use super::credential_doors::CredentialDoors;
use super::doors::Inherited;
use super::instance_lock::InstanceLock;
use super::log_doors::LogDoors;
use super::overview::{Overview, Started};
use super::rooms::{Ground, Rooms};
use super::shutdown::{DEADLINE, DRAIN, READERS_DEADLINE, RECEIVERS_DEADLINE};
use super::supervisor::{STUCK_AFTER, Supervisor};
use super::{Directories, Environment, Error};
use crate::clock::Clock;
use crate::endpoints::{self, Endpoints};
use crate::heartbeat::{Heartbeat, LONGEST_SLEEP};
use crate::logs::{AUDIT, Receiver};
use crate::status::{Report, SOCKET_NAME, StatusServer, headline};

/// How long the tasks of identity and credentials may take to end at a reload: they only wait, for a signal among others.
const BASE_DEADLINE: Duration = Duration::from_secs(1);

/// The running daemon. Dropping it ends its tasks without a drain, as a SIGKILL would.
pub struct Daemon {
    pub(super) overview: Arc<Overview>,
    pub(super) ground: Ground,
    /// Where the configuration is looked for at a reload.
    pub(super) config_path: Option<PathBuf>,
    pub(super) stop: CancellationToken,
    pub(super) log_doors: LogDoors,
    pub(super) credential_doors: CredentialDoors,
    receivers: Supervisor,
    readers: Supervisor,
    base: Supervisor,
    doors: Supervisor,
    _lock: InstanceLock,
}

impl Daemon {
    /// Takes the state directory, opens the doors and starts all tasks. IMDS, network and role may be missing: those
    /// are states that the report shows. `stop` begins the shutdown, which [`Daemon::run`] carries out.
    ///
    /// # Errors
    /// When a directory can't be used, another daemon has it, or IMDS's endpoint is no URL.
    pub async fn start(
        configured: Configured,
        directories: &Directories,
        environment: Environment,
        mut inherited: Inherited,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        let sources = configured.loaded.config.logs.tables();
        tracing::info!(version = env!("CARGO_PKG_VERSION"), sources, "starting");
        directories.create()?;
        let lock = InstanceLock::take(&directories.state)?;
        let clock = Clock::system();
        let started = Started::now(&clock);
        let limit = configured.loaded.config.logs.spool_limit;
        let receiver = Receiver::open(&directories.state, &directories.runtime, limit, clock.clone());
        let receiver = receiver.map_err(|source| Error::Spool { path: directories.state.clone(), source })?;
        let endpoints = Endpoints::new(&directories.runtime, clock.clone());
        let ground = Ground { environment, clock, state_dir: directories.state.clone(), endpoints, receiver };
        let rooms = Rooms::furnish(configured.loaded.config.clone(), None, &ground)?;
        let mut standing = Standing::of(&configured, ground.clock.now());
        configured.keep(&ground.state_dir, &mut standing);
        let notifier = ground.environment.notifier.clone();
        let credential_doors = CredentialDoors::open(&directories.runtime, notifier, &mut inherited).await?;
        let overview = Overview::new(started, &ground, credential_doors.clone(), rooms, standing);
        let overview = Arc::new(overview);
        let (status, log_doors) = open_doors(directories, &overview, &ground, &mut inherited).await?;
        credential_doors.store();
        overview.answer_questions();
        let mut daemon = Self {
            log_doors,
            credential_doors,
            receivers: Supervisor::new(overview.board.clone(), stop.child_token()),
            readers: Supervisor::new(overview.board.clone(), stop.child_token()),
            // Not children of `stop`: credentials stay fresh and the doors open until the readers have drained.
            base: Supervisor::new(overview.board.clone(), CancellationToken::new()),
            doors: Supervisor::new(overview.board.clone(), CancellationToken::new()),
            overview,
            ground,
            config_path: configured.path,
            stop,
            _lock: lock,
        };
        daemon.open_endpoints(&mut inherited);
        inherited.close_the_rest();
        daemon.keep_doors(status);
        daemon.keep_endpoints();
        daemon.keep_receivers();
        daemon.keep_base();
        daemon.keep_readers();
        daemon.ground.environment.notifier.ready();
        Ok(daemon)
    }

    /// What it is doing now.
    #[must_use]
    pub fn report(&self) -> Report {
        self.overview.report()
    }

    /// Lives until the stop, and reads the configuration again each time `reload_asked` returns.
    pub async fn run(mut self, mut reload_asked: impl AsyncFnMut()) {
        let stop = self.stop.clone();
        while !stop.is_cancelled() {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = reload_asked() => self.reload().await,
            }
        }
        self.finish().await;
    }

    /// Waits for the stop, then: STOPPING; reading ends, what was read is sent within the drain's time, the checkpoint
    /// is left behind; the doors close. What takes longer than the deadline is cut off, which loses nothing. Returns what
    /// it has to say at the very end.
    pub async fn finish(mut self) -> Report {
        self.stop.cancelled().await;
        let begun = Instant::now();
        self.ground.environment.notifier.stopping();
        let mut cut_off = self.receivers.finish(begun + RECEIVERS_DEADLINE).await;
        cut_off.extend(self.readers.finish(begun + READERS_DEADLINE).await);
        cut_off.extend(self.base.finish(begun + DEADLINE).await);
        cut_off.extend(self.doors.finish(begun + DEADLINE).await);
        self.log_doors.close();
        self.credential_doors.close();
        if !cut_off.is_empty() {
            tracing::warn!(tasks = cut_off.join(","), "the deadline cut tasks off");
        }
        let report = self.overview.report();
        let events = &report.logs.ledger.events;
        tracing::info!(took = ?begun.elapsed(), delivered = events.delivered, pending = events.pending, "stopped");
        report
    }

    /// The doors outlive every configuration.
    fn keep_doors(&mut self, status: StatusServer) {
        self.doors.keep("status", move |stop, heartbeat| {
            let status = status.clone();
            async move { status.run(stop, heartbeat).await }
        });
        let (overview, notifier) = (self.overview.clone(), self.ground.environment.notifier.clone());
        self.doors.keep("notify", move |stop, heartbeat| {
            let (notifier, overview) = (notifier.clone(), overview.clone());
            async move {
                let stuck = || overview.board.stuck(STUCK_AFTER);
                let status = || headline(&overview.report());
                notifier.run(stuck, || overview.revision(), status, stop, heartbeat).await;
            }
        });
    }

    /// Where credentials are had outlives every configuration, too.
    fn keep_endpoints(&mut self) {
        let endpoints = self.ground.endpoints.clone();
        self.doors.keep("endpoints", move |stop, heartbeat| {
            let endpoints = endpoints.clone();
            async move { endpoints.run(stop, heartbeat).await }
        });
        let (endpoints, doors) = (self.ground.endpoints.clone(), self.credential_doors.clone());
        self.doors.keep("ports", move |stop, heartbeat| {
            let (endpoints, doors) = (endpoints.clone(), doors.clone());
            async move { doors.tend(&endpoints, stop, heartbeat).await }
        });
    }

    /// From now on credentials are had as the rooms in use say.
    pub(super) fn open_endpoints(&self, inherited: &mut Inherited) {
        let rooms = self.overview.rooms();
        let settings = &rooms.config.endpoints;
        let (receiver, keeps_record) = (self.ground.receiver.clone(), rooms.config.logs.has_audit());
        let copy = move |line: String| receiver.take_own(AUDIT, &line);
        self.ground.endpoints.copy_record(keeps_record.then(|| Arc::new(copy) as endpoints::Copy));
        self.ground.endpoints.configure(settings, rooms.roles.clone(), rooms.identity.names());
        self.ground.endpoints.serve(self.credential_doors.adopt(settings, inherited));
    }

    /// What receives outlives every configuration, too, and what writes down what was received outlives that.
    fn keep_receivers(&mut self) {
        let receiver = self.ground.receiver.clone();
        self.doors.keep("spool", move |stop, heartbeat| {
            let receiver = receiver.clone();
            async move { receiver.write(stop, heartbeat).await }
        });
        let receiver = self.ground.receiver.clone();
        self.receivers.keep("sockets", move |stop, heartbeat| {
            let receiver = receiver.clone();
            async move { receiver.run(stop, heartbeat).await }
        });
    }

    fn keep_base(&mut self) {
        let rooms = self.overview.rooms();
        let identity = rooms.identity.clone();
        self.base.keep("identity", move |stop, heartbeat| {
            let identity = identity.clone();
            async move { identity.run(stop, heartbeat).await }
        });
        let cache = rooms.roles.base().cache.clone();
        self.base.keep("credentials", move |stop, heartbeat| {
            let cache = cache.clone();
            async move { cache.run(stop, heartbeat).await }
        });
        let roles = rooms.roles.clone();
        self.base.keep("roles", move |stop, heartbeat| {
            let roles = roles.clone();
            async move { roles.run(stop, heartbeat).await }
        });
        let (cache, sdk) = (rooms.roles.base().cache.clone(), rooms.identity.sdk());
        self.base.keep("who-am-i", move |stop, heartbeat| {
            let (cache, sdk) = (cache.clone(), sdk.clone());
            async move {
                if let Some(sdk) = once_known(sdk, &stop, &heartbeat).await {
                    cache.confirm_identity(sdk, stop, heartbeat).await;
                }
            }
        });
    }

    fn keep_readers(&mut self) {
        let shipper = self.overview.rooms().shipper.clone();
        self.readers.keep("logs", move |stop, heartbeat| {
            let shipper = shipper.clone();
            async move { shipper.run(stop, DRAIN, heartbeat).await }
        });
    }

    /// Ends the tasks of the old identity and credentials, and starts those of the rooms in use.
    pub(super) async fn restart_base(&mut self) {
        // They end as soon as they are told to, and what a stuck one holds is of no use any more.
        self.base.finish(Instant::now() + BASE_DEADLINE).await;
        self.base = Supervisor::new(self.overview.board.clone(), CancellationToken::new());
        self.keep_base();
    }
}

/// The status socket and those that logs come in by: what was handed over, or new ones, which are handed on.
async fn open_doors(
    directories: &Directories,
    overview: &Arc<Overview>,
    ground: &Ground,
    inherited: &mut Inherited,
) -> Result<(StatusServer, LogDoors), Error> {
    let (rooms, notifier) = (overview.rooms(), &ground.environment.notifier);
    let handed_over = inherited.take(&directories.runtime.join(SOCKET_NAME));
    let mut log_doors = LogDoors::new(directories.runtime.clone(), notifier.clone());
    let fresh = log_doors.prepare(&rooms.config.logs, inherited).await?;
    let report = overview.clone();
    let mut status = StatusServer::open(&directories.runtime, handed_over, Arc::new(move || report.report())).await?;
    let doors = log_doors.adopt(fresh, &rooms.config.logs);
    ground.receiver.configure(&rooms.config.logs, rooms.identity.names());
    ground.receiver.serve(doors);
    if status.is_inherited() || notifier.store(status.socket(), SOCKET_NAME) {
        status.leave_behind();
    }
    Ok((status, log_doors))
}

/// The SDK configuration once there is one; `None` at the stop.
async fn once_known(
    mut sdk: watch::Receiver<Option<SdkConfig>>,
    stop: &CancellationToken,
    heartbeat: &Heartbeat,
) -> Option<SdkConfig> {
    while !stop.is_cancelled() {
        heartbeat.beat();
        let known = sdk.borrow_and_update().clone();
        if known.is_some() {
            return known;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            _ = sdk.changed() => {}
            () = tokio::time::sleep(LONGEST_SLEEP) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_region_keeps_beating_and_gets_it() {
        let sender = watch::Sender::new(None);
        let (stop, heartbeat) = (CancellationToken::new(), Heartbeat::new());
        let waiting = once_known(sender.subscribe(), &stop, &heartbeat);
        let telling = async {
            tokio::time::sleep(3 * LONGEST_SLEEP).await;
            sender.send_replace(Some(SdkConfig::builder().build()));
        };
        let (known, ()) = tokio::join!(waiting, telling);
        assert!(known.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_region_stops_when_told() {
        let sender = watch::Sender::new(None);
        let (stop, heartbeat) = (CancellationToken::new(), Heartbeat::new());
        let (known, ()) = tokio::join!(once_known(sender.subscribe(), &stop, &heartbeat), async { stop.cancel() });
        assert!(known.is_none());
    }
}
