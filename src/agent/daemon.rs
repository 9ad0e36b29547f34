//! The life of the process on one screen: rooms become tasks, tasks run until the stop, and stop in order. Not the
//! signals, and not the exit code: those are the command line's.

use std::path::Path;
use std::sync::Arc;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::SdkConfig;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::identity::{Identity, Wanted, tags_named_in};
use super::instance_lock::InstanceLock;
use super::overview::{Overview, Started};
use super::shutdown::{DEADLINE, DRAIN, READERS_DEADLINE};
use super::supervisor::{Board, Supervisor};
use super::{Directories, Environment, Error};
use crate::clock::Clock;
use crate::config::{Config, Loaded};
use crate::credentials::CredentialCache;
use crate::heartbeat::{Heartbeat, LONGEST_SLEEP};
use crate::imds::ImdsClient;
use crate::logs::{LogShipper, Place, sink};
use crate::status::{Configuration, Report, StatusServer, headline};

/// The running daemon. Dropping it ends its tasks without a drain, as a SIGKILL would.
pub struct Daemon {
    overview: Arc<Overview>,
    environment: Environment,
    stop: CancellationToken,
    readers: Supervisor,
    services: Supervisor,
    _lock: InstanceLock,
}

impl Daemon {
    /// Takes the state directory, opens the doors and starts all tasks. IMDS, network and role may be missing: those
    /// are states that the report shows. `stop` begins the shutdown, which [`Daemon::finish`] carries out.
    ///
    /// # Errors
    /// When a directory can't be used, another daemon has it, or IMDS's endpoint is no URL.
    pub async fn start(
        loaded: Loaded,
        directories: &Directories,
        environment: Environment,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), files = loaded.config.logs.files.len(), "starting");
        directories.create()?;
        let lock = InstanceLock::take(&directories.state)?;
        let overview = Arc::new(furnish(loaded, &directories.state, &environment)?);
        let report = overview.clone();
        let status = StatusServer::bind(&directories.runtime, Arc::new(move || report.report())).await?;
        let mut daemon = Self {
            readers: Supervisor::new(overview.board.clone(), stop.child_token()),
            // Not a child of `stop`: credentials stay fresh and the doors open until the readers have drained.
            services: Supervisor::new(overview.board.clone(), CancellationToken::new()),
            overview,
            environment,
            stop,
            _lock: lock,
        };
        daemon.keep_services(status);
        daemon.keep_readers();
        daemon.environment.notifier.ready();
        Ok(daemon)
    }

    /// What it is doing now.
    #[must_use]
    pub fn report(&self) -> Report {
        self.overview.report()
    }

    /// Waits for the stop, then: STOPPING; reading ends, what was read is sent within the drain's time, the checkpoint
    /// is left behind; the doors close. What takes longer than the deadline is cut off, which loses nothing.
    pub async fn finish(mut self) {
        self.stop.cancelled().await;
        let begun = Instant::now();
        self.environment.notifier.stopping();
        let mut cut_off = self.readers.finish(begun + READERS_DEADLINE).await;
        cut_off.extend(self.services.finish(begun + DEADLINE).await);
        if !cut_off.is_empty() {
            tracing::warn!(tasks = cut_off.join(","), "the deadline cut tasks off");
        }
        let events = self.overview.report().logs.ledger.events;
        tracing::info!(took = ?begun.elapsed(), delivered = events.delivered, pending = events.pending, "stopped");
    }

    fn keep_services(&mut self, status: StatusServer) {
        let overview = self.overview.clone();
        let identity = overview.identity.clone();
        self.services.keep("identity", move |stop, heartbeat| {
            let identity = identity.clone();
            async move { identity.run(stop, heartbeat).await }
        });
        let cache = overview.credentials.clone();
        self.services.keep("credentials", move |stop, heartbeat| {
            let cache = cache.clone();
            async move { cache.run(stop, heartbeat).await }
        });
        let (cache, sdk) = (overview.credentials.clone(), overview.identity.sdk());
        self.services.keep("who-am-i", move |stop, heartbeat| {
            let (cache, sdk) = (cache.clone(), sdk.clone());
            async move {
                if let Some(sdk) = once_known(sdk, &stop, &heartbeat).await {
                    cache.confirm_identity(sdk, stop, heartbeat).await;
                }
            }
        });
        self.services.keep("status", move |stop, heartbeat| {
            let status = status.clone();
            async move { status.run(stop, heartbeat).await }
        });
        let notifier = self.environment.notifier.clone();
        self.services.keep("notify", move |stop, heartbeat| {
            let (notifier, overview) = (notifier.clone(), overview.clone());
            async move {
                let status = || headline(&overview.report());
                notifier.run(overview.board.clone(), status, stop, heartbeat).await;
            }
        });
    }

    fn keep_readers(&mut self) {
        let shipper = self.overview.shipper.clone();
        self.readers.keep("logs", move |stop, heartbeat| {
            let shipper = shipper.clone();
            async move { shipper.run(stop, DRAIN, heartbeat).await }
        });
    }
}

/// Builds the rooms and hands each what it needs of the others.
fn furnish(loaded: Loaded, state_dir: &Path, environment: &Environment) -> Result<Overview, Error> {
    let clock = Clock::system();
    let started = Started::now(&clock);
    let shown = Configuration {
        path: loaded.files.first().map(|path| path.display().to_string()),
        loaded_at: Some(clock.now()).filter(|_| !loaded.files.is_empty()),
        ..Configuration::default()
    };
    let Config { region, imds, variables, logs, .. } = loaded.config;
    let imds = ImdsClient::new(&imds, &environment.imds, &clock).map_err(Error::Imds)?;
    let credentials = CredentialCache::instance(imds.clone(), clock.clone());
    let identity = Arc::new(Identity::new(
        imds.clone(),
        environment.aws.clone(),
        SharedCredentialsProvider::new(credentials.clone()),
        clock.clone(),
        Wanted {
            region: region.or_else(|| environment.region.clone()),
            variables,
            tags: tags_named_in(logs.files.iter().flat_map(|file| [&file.log_group, &file.log_stream])),
        },
    ));
    let cache = credentials.clone();
    let sink = sink::CloudWatch::new(identity.sdk(), clock.clone(), Arc::new(move |key_id| cache.rejected(key_id)));
    let memory_limit = logs.memory_limit;
    let place = Place { state_dir: state_dir.to_owned() };
    let shipper = LogShipper::new(logs, place, Arc::new(sink), identity.names(), clock.clone());
    Ok(Overview {
        config: shown,
        memory_limit,
        started,
        clock,
        imds,
        credentials,
        names: identity.names(),
        identity,
        shipper,
        board: Board::default(),
    })
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
