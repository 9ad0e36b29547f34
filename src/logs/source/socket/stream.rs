//! One connection to a stream socket: what comes in goes into the spool, and while there is no room nothing is read, so
//! that its sender waits. Not who may connect.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::intake::{Intake, store};
use super::receiver::Inner;
use crate::caller::{Accounts, Caller};
use crate::logs::spool::{Append, Key};

/// How much is read at once: as much as a socket holds by default is read in a few turns.
const CHUNK: usize = 32 * 1024;

/// A message longer than this needs one of the few places for long ones.
const LARGE: usize = 64 * 1024;

/// How long a long message may keep its place without a byte more: then what is there goes on its way.
const LARGE_PATIENCE: Duration = Duration::from_secs(5);

/// The next bytes: `None` at the end, or when `stop` came and nothing is there any more.
pub(super) async fn receive(stream: &UnixStream, buffer: &mut Vec<u8>, stop: &CancellationToken) -> Option<usize> {
    loop {
        let stopped = tokio::select! {
            biased;
            () = stop.cancelled() => true,
            ready = stream.readable() => ready.is_err(),
        };
        buffer.resize(CHUNK, 0);
        match stream.try_read(buffer) {
            Ok(0) => return None,
            Ok(count) => return Some(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !stopped => {}
            Err(_) => return None,
        }
    }
}

/// Who writes at one connection, and whether it still may: the configuration may change meanwhile.
pub(super) struct Admission {
    inner: Arc<Inner>,
    name: String,
    caller: Caller,
    revision: u64,
    key: Option<Arc<Key>>,
}

impl Admission {
    pub(super) fn new(inner: Arc<Inner>, name: String, caller: Caller) -> Self {
        Self { inner, name, caller, revision: 0, key: None }
    }

    /// The key of what it writes; `None` when it may not.
    pub(super) fn key(&mut self) -> Option<Arc<Key>> {
        let revision = self.inner.revision();
        if self.revision != revision {
            self.revision = revision;
            let tables = self.inner.tables();
            let table = tables.get(&self.name);
            let admitted = table.filter(|table| table.allow.admit(&self.caller, &Accounts::of_system()));
            self.key = admitted.map(|table| Arc::new(tables.key(table, self.caller.uid, None)));
        }
        self.key.clone()
    }
}

/// Serves a connection of the socket that `admission` is for until its end or `stop`.
pub(super) async fn serve(inner: Arc<Inner>, stream: UnixStream, mut admission: Admission, stop: CancellationToken) {
    let mut intake = match inner.tables().get(&admission.name) {
        Some(table) => Intake::new(table.syntax, table.framing.clone(), false),
        None => return,
    };
    let mut large = None;
    let mut buffer = Vec::new();
    loop {
        let Some(key) = admission.key() else { return };
        let patience = if large.is_some() { LARGE_PATIENCE } else { Duration::MAX };
        let Ok(received) = timeout(patience, receive(&stream, &mut buffer, &stop)).await else {
            let part = intake.take_part(&key, inner.now());
            large = None;
            keep(&inner, vec![part], &stop).await;
            continue;
        };
        // The configuration may be another than when it began to wait.
        let Some(key) = admission.key() else { return };
        intake.push(&buffer[..received.unwrap_or(0)]);
        keep(&inner, intake.take(&key, received.is_none(), inner.now()), &stop).await;
        if received.is_none() {
            return;
        }
        // Idle connections shall cost nothing.
        buffer = Vec::new();
        large = place_for(large, intake.waiting(), &inner.large, &stop).await;
    }
}

/// A place for a long message, kept, given back, or waited for.
pub(super) async fn place_for(
    held: Option<OwnedSemaphorePermit>,
    waiting: usize,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<OwnedSemaphorePermit> {
    if waiting < LARGE {
        return None;
    }
    if held.is_some() {
        return held;
    }
    tokio::select! {
        () = stop.cancelled() => None,
        place = places.clone().acquire_owned() => place.ok(),
    }
}

/// Stores `appends`, however long that takes; what finds no room before `stop` is counted as lost.
async fn keep(inner: &Inner, appends: Vec<Append>, stop: &CancellationToken) {
    for append in appends {
        let (key, count) = (append.key.clone(), super::count_of(&append));
        if !store(&inner.inbox, append, stop, |_| {}).await {
            inner.inbox.spool().note_loss(&key, count, inner.now());
        }
    }
}
