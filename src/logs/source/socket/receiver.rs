//! All sockets that receive: which are served, who is let in, and how many at once. What they receive goes into the spool.
//! They outlive every configuration, so that a reload breaks no connection. Not how a socket comes to be.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::{UnixDatagram, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::inbox::Inbox;
use super::stream::Admission;
use super::tables::Tables;
use super::{datagram, send, stream};
use crate::caller::{Accounts, Caller};
use crate::clock::{Clock, boot_time};
use crate::door::serve_wanted;
use crate::heartbeat::Heartbeat;
use crate::logs::Settings;
use crate::logs::framing::recorded::encode_part;
use crate::logs::spool::{Append, Spool};
use crate::template::Names;

/// So many connections a socket has at most; who comes then waits in the kernel's queue. Each costs a descriptor, and
/// some 64 KiB at most while a message is not whole.
const MOST_CONNECTIONS: usize = 256;

/// So many of them are one user's at most, root's excepted, so that it does not shut the others out.
const MOST_OF_ONE: usize = 64;

/// So many messages of more than 64 KiB are received at once: each may take a megabyte.
const MOST_LARGE: usize = 2;

/// A wait after `accept` failed (out of file descriptors), so that the loop doesn't spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is refused over and over is named in the log once in this time.
const REFUSAL_QUIET: Duration = Duration::from_mins(1);

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The `[[logs.socket]]` table of its name.
    Table,
    /// `imds-agent logs send`.
    Send,
}

/// A socket that is open.
#[derive(Clone, Debug)]
pub struct Door {
    /// Its name in the runtime directory.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Itself.
    pub socket: DoorSocket,
}

/// Shared with who opened it.
#[derive(Clone, Debug)]
pub enum DoorSocket {
    /// It listens.
    Stream(Arc<UnixListener>),
    /// It receives.
    Datagram(Arc<UnixDatagram>),
}

impl DoorSocket {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Stream(one), Self::Stream(other)) => Arc::ptr_eq(one, other),
            (Self::Datagram(one), Self::Datagram(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

/// Receives; clones share it.
#[derive(Clone)]
pub struct Receiver(Arc<Inner>);

/// What all connections share.
pub(super) struct Inner {
    pub(super) inbox: Inbox,
    pub(super) large: Arc<Semaphore>,
    tables: watch::Sender<(u64, Arc<Tables>)>,
    doors: watch::Sender<Vec<Door>>,
    clock: Clock,
    refused: Mutex<HashMap<(String, u32), Duration>>,
}

impl Inner {
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn tables(&self) -> Arc<Tables> {
        self.tables.borrow().1.clone()
    }

    /// Grows with each change of the tables; never 0.
    pub(super) fn revision(&self) -> u64 {
        self.tables.borrow().0
    }

    /// Says that `caller` was not let in, if that is news.
    pub(super) fn refuse(&self, name: &str, caller: &Caller) {
        let now = boot_time();
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.retain(|_, at| now.saturating_sub(*at) < REFUSAL_QUIET);
        if refused.insert((name.to_owned(), caller.uid), now).is_none() {
            let (uid, pid, unit) = (caller.uid, caller.pid, caller.unit.as_deref());
            tracing::warn!(
                socket = name,
                uid,
                pid,
                unit,
                contained = caller.container.is_some(),
                "a caller was refused: no `allow` of this socket names it"
            );
        }
    }
}

impl Receiver {
    /// Receives into the spool in `state_dir`, with sockets in `runtime_dir`. Nothing is served yet.
    ///
    /// # Errors
    /// When the spool can be neither made nor read.
    pub fn open(state_dir: &Path, runtime_dir: &Path, limit: u64, clock: Clock) -> io::Result<Self> {
        let spool = Spool::open(state_dir, limit)?;
        let (_, names) = watch::channel(Names::default());
        let tables = Tables { sockets: Vec::new(), names, directory: runtime_dir.to_owned() };
        Ok(Self(Arc::new(Inner {
            inbox: Inbox::new(spool),
            large: Arc::new(Semaphore::new(MOST_LARGE)),
            tables: watch::Sender::new((1, Arc::new(tables))),
            doors: watch::Sender::new(Vec::new()),
            clock,
            refused: Mutex::default(),
        })))
    }

    /// Where it goes: for the shipper.
    #[must_use]
    pub fn spool(&self) -> Spool {
        self.0.inbox.spool().clone()
    }

    /// Where the sockets are.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.0.tables().directory.clone()
    }

    /// From now on these tables count, also for who is connected. `names` fill in those of groups.
    pub fn configure(&self, settings: &Settings, names: watch::Receiver<Names>) {
        self.0.inbox.spool().set_limit(settings.spool_limit);
        self.0.tables.send_modify(|(revision, tables)| {
            *revision += 1;
            let directory = tables.directory.clone();
            *tables = Arc::new(Tables { sockets: settings.sockets.clone(), names, directory });
        });
    }

    /// Takes what the agent itself has to say into the table that is called so. What there is no room for is counted as
    /// lost.
    pub fn take_own(&self, table: &str, text: &str) {
        let inner = self.0.clone();
        let tables = inner.tables();
        let Some(table) = tables.get(table) else { return };
        let key = Arc::new(tables.key(table, rustix::process::geteuid().as_raw(), None));
        let (mut records, now) = (Vec::new(), inner.now());
        encode_part(&mut records, &table.framing, Some(now), text.as_bytes(), false);
        let append = Append { key: key.clone(), records, durable: false, last: false };
        let count = super::count_of(&append);
        tokio::spawn(async move {
            if inner.inbox.hand_in(append).await.is_err() {
                inner.inbox.spool().note_loss(&key, count, now);
            }
        });
    }

    /// From now on these sockets are served; who is connected to one that is not any more is read to its end.
    pub fn serve(&self, doors: Vec<Door>) {
        self.0.doors.send_replace(doors);
    }

    /// Writes what is received until `stop`, which must come after that of [`Receiver::run`].
    pub async fn write(&self, stop: CancellationToken, heartbeat: Heartbeat) {
        self.0.inbox.write(stop, heartbeat).await;
    }

    /// Receives until `stop`, and then what is there.
    pub async fn run(&self, stop: CancellationToken, heartbeat: Heartbeat) {
        let is_same = |one: &Door, other: &Door| one.name == other.name && one.socket.is(&other.socket);
        let serve = |door, ends| serve(self.0.clone(), door, ends);
        serve_wanted(self.0.doors.subscribe(), is_same, stop, &heartbeat, serve).await;
    }
}

async fn serve(inner: Arc<Inner>, door: Door, stop: CancellationToken) {
    match &door.socket {
        DoorSocket::Datagram(socket) => datagram::serve(inner, socket, &door.name, stop).await,
        DoorSocket::Stream(listener) => serve_stream(&inner, listener, &door, &stop).await,
    }
}

async fn serve_stream(inner: &Arc<Inner>, listener: &UnixListener, door: &Door, stop: &CancellationToken) {
    let mut connections = JoinSet::new();
    let mut callers: HashMap<u32, Arc<Semaphore>> = HashMap::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((peer, _)) => {
                    callers.retain(|_, places| places.available_permits() < MOST_OF_ONE);
                    let_in(inner, peer, door, stop, &mut connections, &mut callers);
                }
                Err(error) => {
                    tracing::warn!(socket = door.name, %error, "a connection can't be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    while connections.join_next().await.is_some() {}
}

/// Serves `peer`, if it may be here.
fn let_in(
    inner: &Arc<Inner>,
    peer: UnixStream,
    door: &Door,
    stop: &CancellationToken,
    connections: &mut JoinSet<()>,
    callers: &mut HashMap<u32, Arc<Semaphore>>,
) {
    let Ok(caller) = Caller::of_peer(&peer) else { return };
    let most = if caller.uid == 0 { MOST_CONNECTIONS } else { MOST_OF_ONE };
    let places = callers.entry(caller.uid).or_insert_with(|| Arc::new(Semaphore::new(most)));
    let Ok(place) = places.clone().try_acquire_owned() else {
        tracing::warn!(
            socket = door.name,
            uid = caller.uid,
            most,
            "a user has too many connections, another one is closed"
        );
        return;
    };
    let (inner, stop) = (inner.clone(), stop.clone());
    if door.purpose == Purpose::Send {
        connections.spawn(async move {
            send::serve(inner, peer, caller, stop).await;
            drop(place);
        });
        return;
    }
    let tables = inner.tables();
    let admitted = tables.get(&door.name).is_some_and(|table| table.allow.admit(&caller, &Accounts::of_system()));
    if !admitted {
        return inner.refuse(&door.name, &caller);
    }
    let admission = Admission::new(inner.clone(), door.name.clone(), caller);
    connections.spawn(async move {
        stream::serve(inner, peer, admission, stop).await;
        drop(place);
    });
}
