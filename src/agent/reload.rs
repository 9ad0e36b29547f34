//! Another configuration while the daemon runs: it applies whole or not at all. The doors stay open, and the shipper
//! changes while it runs; what the new configuration does not concern goes on undisturbed. Not which rooms that concerns:
//! `rooms` tells.

use std::time::Duration;

use tokio::time::timeout;

use super::Daemon;
use super::configured::{Configured, Refusal, Standing};
use super::doors::Inherited;
use super::rooms::Rooms;
use crate::config;
use crate::fault::chain;

/// How long reading the configuration may take: a few small files, unless their file system does not answer, and then
/// the next reload tries again.
const READING: Duration = Duration::from_secs(10);

/// How long a reload waits until the shipper has looked around by the new configuration, so that whoever asks for the
/// status behind it sees that: longer than that takes, and no reason to hold anything up.
const FIRST_LOOK: Duration = Duration::from_secs(2);

impl Daemon {
    /// Reads the configuration again, and applies it if it is right; else everything stays as it is, and says so.
    pub(super) async fn reload(&mut self) {
        self.ground.environment.notifier.reloading();
        let path = self.config_path.clone();
        let stop = self.stop.clone();
        let loading = tokio::task::spawn_blocking(move || config::load(path.as_deref()));
        let loaded = tokio::select! {
            () = stop.cancelled() => return,
            loaded = timeout(READING, loading) => loaded,
        };
        match loaded {
            Err(_) => self.refuse(Refusal::because(format!("reading it took more than {} s", READING.as_secs()))),
            Ok(Ok(Ok(loaded))) => self.apply(Configured::read(self.config_path.clone(), loaded)).await,
            Ok(Ok(Err(errors))) => self.refuse(Refusal::of(&errors)),
            Ok(Err(panic)) => self.refuse(Refusal::because(format!("reading it failed: {panic}; please report it"))),
        }
        if !stop.is_cancelled() {
            self.ground.environment.notifier.ready();
        }
    }

    fn refuse(&self, refusal: Refusal) {
        tracing::warn!(errors = refusal.list, "the configuration is refused, the one in use stays");
        self.overview.restate(|standing| standing.refuse(refusal));
    }

    async fn apply(&mut self, configured: Configured) {
        let before = self.overview.rooms();
        let rooms = match Rooms::furnish(configured.loaded.config.clone(), Some(&before), &self.ground) {
            Ok(rooms) => rooms,
            Err(error) => return self.refuse(Refusal::because(chain(&error))),
        };
        let fresh = match self.log_doors.prepare(&rooms.config.logs, &mut Inherited::default()).await {
            Ok(fresh) => fresh,
            Err(error) => return self.refuse(Refusal::because(chain(&error))),
        };
        let standing = self.accept(configured).await;
        let same_base = rooms.shares_identity(&before) && rooms.shares_credentials(&before);
        let same_logs = rooms.ships_the_same(&before);
        let sources = rooms.config.logs.tables();
        let doors = self.log_doors.adopt(fresh, &rooms.config.logs);
        self.ground.receiver.configure(&rooms.config.logs, rooms.identity.names());
        self.ground.receiver.serve(doors);
        self.overview.move_to(rooms, standing);
        self.open_endpoints(&mut Inherited::default());
        if self.stop.is_cancelled() {
            return;
        }
        if !same_base {
            self.restart_base().await;
        }
        // Also where nothing changed here: what was denied is tried again. Too long is no failure: the state can't be
        // opened, say, and that shows.
        let rooms = self.overview.rooms();
        tokio::select! {
            () = self.stop.cancelled() => {}
            _ = timeout(FIRST_LOOK, rooms.change_shipper()) => {}
        }
        tracing::info!(sources, changed = !(same_base && same_logs), "the configuration was read again");
    }

    /// The last good configuration is this one from now on.
    async fn accept(&self, configured: Configured) -> Standing {
        let mut standing = Standing::of(&configured, self.ground.clock.now());
        let (state_dir, fallback) = (self.ground.state_dir.clone(), standing.clone());
        let keeping = tokio::task::spawn_blocking(move || {
            configured.keep(&state_dir, &mut standing);
            standing
        });
        keeping.await.unwrap_or(fallback)
    }
}
