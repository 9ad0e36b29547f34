//! The doors' common service: which are served, how many come in at once, and who each is. Not what they get.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::audit::{Audit, Copy, DoorKind};
use super::desk::{Desk, Directory, Visit};
use super::http::{self, Answer, Asked, Hosts};
use super::metadata::LookAlike;
use super::telemetry::Telemetry;
use super::tokens::Tokens;
use super::{Door, DoorSocket, LINK_LOCAL, Settings, Snapshot, Teller, container, unix, unknown_accounts};
use crate::caller::{Caller, TcpCallers};
use crate::clock::Clock;
use crate::credentials::Roles;
use crate::door::serve_wanted;
use crate::fault::Warning;
use crate::heartbeat::Heartbeat;
use crate::template::Names;

/// So many connections a door has at most; who comes then waits in the kernel's queue. Each costs a descriptor and some
/// 10 KiB.
const MOST_CONNECTIONS: usize = 512;

/// So many of them are one user's at most, root's included: even root's processes shall not shut each other's out. It is
/// the SDKs' default of connections to one host, several times over.
const MOST_OF_ONE: usize = 128;

/// What is said of the agent may be megabytes, which are in memory until they are read: fewer at once, each of which ends
/// with its answer. A Prometheus, its double, and who looks at `/health` need three.
const MOST_TOLD: usize = 16;

/// So many of these are one user's at most, or all those of other hosts.
const MOST_TOLD_OF_ONE: usize = 8;

/// A wait after `accept` failed (out of file descriptors), so that the loop doesn't spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often it is looked whether accounts have changed: two calls of stat, and whoever made one is soon served.
const ACCOUNTS: Duration = Duration::from_secs(5);

/// What all connections share.
pub(super) struct Inner {
    desk: watch::Sender<Option<Arc<Desk>>>,
    settings: watch::Sender<Settings>,
    doors: watch::Sender<Vec<Door>>,
    tokens: Arc<Tokens>,
    audit: Arc<Audit>,
    directory: Arc<Directory>,
    callers: TcpCallers,
    look_alike: LookAlike,
    telemetry: Telemetry,
    clock: Clock,
    file_warning: Mutex<Option<Warning>>,
}

/// Who is at the other end of a connection.
enum Peer {
    Known(Caller),
    /// It can't be decided, for this reason: the answer is no.
    Unknown(String),
    /// Nobody can be seen through this door.
    Unseen,
}

impl Peer {
    fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Known(caller) => Some(caller),
            Self::Unknown(_) | Self::Unseen => None,
        }
    }

    /// Whose share of the connections it takes.
    fn share(&self) -> Option<u32> {
        self.caller().map(|caller| caller.uid)
    }
}

impl Inner {
    pub(super) fn new(runtime_dir: &Path, clock: Clock) -> Self {
        Self {
            desk: watch::Sender::new(None),
            settings: watch::Sender::new(Settings::default()),
            doors: watch::Sender::new(Vec::new()),
            tokens: Arc::new(Tokens::at(runtime_dir)),
            audit: Arc::new(Audit::new(clock.clone())),
            directory: Arc::default(),
            callers: TcpCallers::default(),
            look_alike: LookAlike::new(clock.clone()),
            telemetry: Telemetry::default(),
            clock,
            file_warning: Mutex::default(),
        }
    }

    pub(super) fn configure(&self, settings: &Settings, roles: Roles, names: watch::Receiver<Names>) {
        self.tokens.furnish(roles.all(), &self.directory.accounts());
        let desk = Desk {
            roles,
            names,
            container: settings.container,
            metadata_role: settings.metadata.as_ref().map(|metadata| metadata.role.clone()),
            tokens: self.tokens.clone(),
            audit: self.audit.clone(),
            directory: self.directory.clone(),
        };
        self.desk.send_replace(Some(Arc::new(desk)));
        self.settings.send_replace(settings.clone());
    }

    pub(super) fn serve(&self, doors: Vec<Door>) {
        self.doors.send_replace(doors);
    }

    pub(super) fn copy_record(&self, copy: Option<Copy>) {
        self.audit.copy_to(copy);
    }

    pub(super) fn tell(&self, teller: Teller) {
        self.telemetry.tell(teller);
    }

    pub(super) fn snapshots(&self) -> Vec<Snapshot> {
        self.audit.counts(&[DoorKind::Unix, DoorKind::Container, DoorKind::Metadata])
    }

    pub(super) fn desk(&self) -> Option<Arc<Desk>> {
        self.desk.borrow().clone()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn settings(&self) -> watch::Receiver<Settings> {
        self.settings.subscribe()
    }

    /// What is wrong with the credentials file, if anything.
    pub(super) fn warn_of_file(&self, warning: Option<Warning>) {
        *self.file_warning.lock().unwrap_or_else(PoisonError::into_inner) = warning;
    }

    pub(super) fn warnings(&self) -> Vec<Warning> {
        let file = self.file_warning.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let unknown = self.desk().map(|desk| {
            let roles = std::iter::once(desk.roles.base()).chain(desk.roles.all());
            unknown_accounts(roles.map(|role| (role.name.as_str(), &role.allow)), &self.directory.accounts())
        });
        let unknown = unknown.unwrap_or_default();
        self.tokens.warnings().into_iter().chain(self.look_alike.warning()).chain(file).chain(unknown).collect()
    }

    /// Keeps the tokens readable by those whom the rules name, also when accounts come, go or change their number: at a
    /// first boot the packages that make them may be installed after this agent has started.
    pub(super) async fn follow_accounts(&self, stop: CancellationToken) {
        let mut known = self.directory.accounts();
        while stop.run_until_cancelled(sleep(ACCOUNTS)).await.is_some() {
            let now = self.directory.accounts();
            if !Arc::ptr_eq(&known, &now) {
                if let Some(desk) = self.desk() {
                    self.tokens.furnish(desk.roles.all(), &now);
                }
                known = now;
            }
        }
    }

    pub(super) async fn run(self: &Arc<Self>, stop: CancellationToken, heartbeat: Heartbeat) {
        let is_same = |one: &Door, other: &Door| one.socket.is(&other.socket);
        let serve = |door, ends| self.clone().keep_open(door, ends);
        serve_wanted(self.doors.subscribe(), is_same, stop, &heartbeat, serve).await;
    }

    /// Serves one door until `stop`.
    async fn keep_open(self: Arc<Self>, door: Door, stop: CancellationToken) {
        let (most, most_of_one) = match door.kind {
            DoorKind::Telemetry => (MOST_TOLD, MOST_TOLD_OF_ONE),
            _ => (MOST_CONNECTIONS, MOST_OF_ONE),
        };
        let mut connections = JoinSet::new();
        let mut shares: HashMap<Option<u32>, Arc<Semaphore>> = HashMap::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.accept(&door), if connections.len() < most => accepted,
            };
            let (stream, peer, hosts) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(door = door.kind.word(), %error, "a connection can't be accepted");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            shares.retain(|_, share| share.available_permits() < most_of_one);
            let share = shares.entry(peer.share()).or_insert_with(|| Arc::new(Semaphore::new(most_of_one)));
            // Closed without a word: what is said costs more than the connection.
            let Ok(place) = share.clone().try_acquire_owned() else { continue };
            let (inner, stop, kind) = (self.clone(), stop.clone(), door.kind);
            connections.spawn(async move {
                let respond = |asked| inner.respond(kind, &peer, asked);
                match stream {
                    Stream::Unix(stream) => http::serve(stream, &hosts, &stop, respond).await,
                    Stream::Tcp(stream) => http::serve(stream, &hosts, &stop, respond).await,
                }
                drop(place);
            });
        }
        while connections.join_next().await.is_some() {}
    }

    async fn accept(&self, door: &Door) -> std::io::Result<(Stream, Peer, Hosts)> {
        match &door.socket {
            DoorSocket::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let peer = match Caller::of_peer(&stream) {
                    Ok(caller) => Peer::Known(caller),
                    Err(error) => Peer::Unknown(format!("the kernel does not tell who is calling: {error}")),
                };
                Ok((Stream::Unix(stream), peer, Hosts::any()))
            }
            DoorSocket::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                // Answers are small and written at once; waiting for an acknowledgement would cost 40 ms each.
                let _ = stream.set_nodelay(true);
                let local = stream.local_addr()?;
                let is_unseen = local.ip() == LINK_LOCAL && door.kind == DoorKind::Container;
                let found = (!is_unseen).then(|| self.callers.find(local, from, &self.directory.accounts()));
                let peer = match found {
                    Some(Ok(caller)) => Peer::Known(caller),
                    Some(Err(refused)) if door.kind != DoorKind::Telemetry => Peer::Unknown(refused.to_string()),
                    _ => Peer::Unseen,
                };
                // Other hosts know this one by names that it does not know itself.
                let is_local = listener.local_addr()?.ip().is_loopback() || door.kind != DoorKind::Telemetry;
                Ok((Stream::Tcp(stream), peer, if is_local { Hosts::of(local) } else { Hosts::any() }))
            }
        }
    }

    async fn respond(&self, kind: DoorKind, peer: &Peer, asked: Asked) -> Answer {
        if kind == DoorKind::Telemetry {
            return self.telemetry.respond(asked).await;
        }
        let Some(desk) = self.desk() else { return http::not_open() };
        match (kind, peer) {
            (_, Peer::Unknown(reason)) => {
                let path: String = asked.path.chars().take(LONGEST_PATH).collect();
                *desk.turn_away(Visit { door: kind, caller: None, has_token: false }, &path, reason)
            }
            (DoorKind::Container, peer) => container::respond(&desk, peer.caller(), asked).await,
            (DoorKind::Unix, Peer::Known(caller)) => unix::respond(&desk, caller, asked).await,
            (DoorKind::Metadata, Peer::Known(caller)) => self.look_alike.respond(&desk, caller, asked).await,
            (DoorKind::Unix | DoorKind::Metadata, Peer::Unseen) | (DoorKind::Telemetry, _) => http::not_open(),
        }
    }
}

/// So much of a path is written down: more than the longest of those that are answered.
const LONGEST_PATH: usize = 128;

/// A connection of either kind.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}
