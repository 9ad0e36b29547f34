//! The doors that credentials are had at, and that of telemetry: opened as the configuration says, handed on to systemd, closed when they are
//! not named any more. A port that somebody else has stops nothing: it is a warning, and tried again. Not what is served.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use super::doors::Inherited;
use super::notify::Notifier;
use super::supervisor::pause;
use crate::door::{self, Access};
use crate::endpoints::{Door, DoorKind, DoorSocket, Endpoints, SOCKET_NAME, Settings};
use crate::fault::Warning;
use crate::heartbeat::Heartbeat;

/// How often a port that is taken is tried again: soon enough for a person who has just stopped who had it.
const RETRY: Duration = Duration::from_secs(5);

/// The doors; clones share them.
#[derive(Clone)]
pub(super) struct CredentialDoors(Arc<Shared>);

struct Shared {
    path: PathBuf,
    notifier: Notifier,
    unix: Arc<UnixListener>,
    /// Somebody else holds it, too: at the end it stays where it is, for the next process.
    is_left_behind: AtomicBool,
    tcp: Mutex<Tcp>,
}

#[derive(Default)]
struct Tcp {
    wanted: BTreeMap<&'static str, (DoorKind, SocketAddr)>,
    open: BTreeMap<&'static str, (SocketAddr, Arc<TcpListener>)>,
    troubles: BTreeMap<&'static str, door::TcpError>,
}

impl CredentialDoors {
    /// Opens the unix door in `directory`; the others are [`CredentialDoors::adopt`]'s.
    ///
    /// # Errors
    /// When another daemon answers there, or the system says no.
    pub(super) async fn open(
        directory: &Path,
        notifier: Notifier,
        inherited: &mut Inherited,
    ) -> Result<Self, door::Error> {
        let path = directory.join(SOCKET_NAME);
        let (unix, is_inherited) = door::open(&path, inherited.take(&path), Access::EVERYBODY).await?;
        let (unix, is_left_behind) = (Arc::new(unix), AtomicBool::new(is_inherited));
        Ok(Self(Arc::new(Shared { path, notifier, unix, is_left_behind, tcp: Mutex::default() })))
    }

    /// Has systemd keep the unix door, if it does not already.
    pub(super) fn store(&self) {
        if !self.0.is_left_behind.load(Ordering::Relaxed) {
            let is_stored = self.0.notifier.store(self.0.unix.as_fd(), SOCKET_NAME);
            self.0.is_left_behind.store(is_stored, Ordering::Relaxed);
        }
    }

    /// From now on those are open that `settings` name, as far as their ports can be had; returns all that are.
    pub(super) fn adopt(&self, settings: &Settings, inherited: &mut Inherited) -> Vec<Door> {
        let mut tcp = self.tcp();
        let container = settings.container.map(|address| ("container", (DoorKind::Container, address)));
        let metadata = settings.metadata.as_ref().map(|door| ("metadata", (DoorKind::Metadata, door.listen)));
        let telemetry = settings.telemetry.map(|address| ("telemetry", (DoorKind::Telemetry, address)));
        tcp.wanted = container.into_iter().chain(metadata).chain(telemetry).collect();
        let Tcp { wanted, open, troubles } = &mut *tcp;
        open.retain(|name, (address, _)| {
            let stays = wanted.get(name).is_some_and(|(_, wanted)| wanted == address);
            if !stays {
                self.0.notifier.forget(name);
            }
            stays
        });
        troubles.clear();
        tcp.try_all(&self.0.notifier, inherited);
        self.doors(&tcp)
    }

    /// Tries again what could not be opened; returns all that are open, if that made a difference.
    fn retry(&self) -> Option<Vec<Door>> {
        let mut tcp = self.tcp();
        if tcp.troubles.is_empty() {
            return None;
        }
        let before = tcp.open.len();
        tcp.try_all(&self.0.notifier, &mut Inherited::default());
        (tcp.open.len() > before).then(|| self.doors(&tcp))
    }

    /// Tries again until `stop`, and has `endpoints` serve what could be opened.
    pub(super) async fn tend(&self, endpoints: &Endpoints, stop: CancellationToken, heartbeat: Heartbeat) {
        while !stop.is_cancelled() {
            if let Some(doors) = self.retry() {
                endpoints.serve(doors);
            }
            pause(RETRY, &stop, &heartbeat).await;
        }
    }

    /// What a person should know.
    pub(super) fn warnings(&self) -> Vec<Warning> {
        let warning = |(name, error): (&&str, &door::TcpError)| Warning {
            code: "door_closed".to_owned(),
            message: format!("[endpoints.{name}] is not open: {error}; it is tried again every {} s", RETRY.as_secs()),
            hint: Some(error.hint()),
        };
        self.tcp().troubles.iter().map(warning).collect()
    }

    /// The end: takes away the name of the unix door, if nobody else holds it.
    pub(super) fn close(&self) {
        if !self.0.is_left_behind.load(Ordering::Relaxed) {
            door::remove(&self.0.path);
        }
    }

    fn tcp(&self) -> MutexGuard<'_, Tcp> {
        self.0.tcp.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn doors(&self, tcp: &Tcp) -> Vec<Door> {
        let unix = Door { kind: DoorKind::Unix, socket: DoorSocket::Unix(self.0.unix.clone()) };
        let others = tcp.open.iter().filter_map(|(name, (_, listener))| {
            let (kind, _) = tcp.wanted.get(name)?;
            Some(Door { kind: *kind, socket: DoorSocket::Tcp(listener.clone()) })
        });
        std::iter::once(unix).chain(others).collect()
    }
}

impl Tcp {
    fn try_all(&mut self, notifier: &Notifier, inherited: &mut Inherited) {
        for (name, (_, address)) in &self.wanted {
            if self.open.contains_key(name) {
                continue;
            }
            match door::open_tcp(*address, inherited.take_tcp(*address)) {
                Ok(listener) => {
                    tracing::info!(door = name, %address, "a door is open");
                    notifier.store(listener.as_fd(), name);
                    self.open.insert(name, (*address, Arc::new(listener)));
                    self.troubles.remove(name);
                }
                Err(error) => {
                    if !self.troubles.contains_key(name) {
                        tracing::warn!(door = name, %error, hint = error.hint(), "a door can't be opened");
                    }
                    self.troubles.insert(name, error);
                }
            }
        }
    }
}
