//! The sockets that logs come in by: opened for what the configuration names and for `imds-agent logs send`, handed on to
//! systemd, closed when they are not named any more. Not what is received.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;

use super::doors::Inherited;
use super::notify::Notifier;
use crate::door::{self, Access};
use crate::logs::{Door, DoorSocket, Purpose, SEND_SOCKET, Settings, SocketKind};

/// The sockets that are open.
pub(super) struct LogDoors {
    directory: PathBuf,
    notifier: Notifier,
    open: BTreeMap<String, Open>,
}

/// One of them.
pub(super) struct Open {
    door: Door,
    kind: SocketKind,
    /// Somebody else holds it, too: at the end it stays where it is, for the next process.
    is_left_behind: bool,
}

impl LogDoors {
    /// None yet; they will be in `directory`.
    pub(super) fn new(directory: PathBuf, notifier: Notifier) -> Self {
        Self { directory, notifier, open: BTreeMap::new() }
    }

    /// Opens those that `settings` names and that are not open yet.
    ///
    /// # Errors
    /// When one can't be opened: then none is.
    pub(super) async fn prepare(
        &self,
        settings: &Settings,
        inherited: &mut Inherited,
    ) -> Result<BTreeMap<String, Open>, door::Error> {
        let mut fresh = BTreeMap::new();
        for (name, kind, purpose) in wanted(settings) {
            if self.open.get(name).is_some_and(|open| open.kind == kind) {
                continue;
            }
            let path = self.directory.join(name);
            if self.open.contains_key(name) {
                // Of the other kind: what is at the path is ours.
                door::remove(&path);
            }
            let (socket, is_inherited) = match kind {
                SocketKind::Stream => {
                    let (socket, is_inherited) = door::open(&path, inherited.take(&path), Access::EVERYBODY).await?;
                    (DoorSocket::Stream(Arc::new(socket)), is_inherited)
                }
                SocketKind::Datagram => {
                    let inherited = inherited.take_datagram(&path);
                    let (socket, is_inherited) = door::open_datagram(&path, inherited, Access::EVERYBODY)?;
                    (DoorSocket::Datagram(Arc::new(socket)), is_inherited)
                }
            };
            let door = Door { name: name.to_owned(), purpose, socket };
            fresh.insert(name.to_owned(), Open { door, kind, is_left_behind: is_inherited });
        }
        Ok(fresh)
    }

    /// From now on `fresh` are open too, and what `settings` does not name is not; returns all that are.
    pub(super) fn adopt(&mut self, fresh: BTreeMap<String, Open>, settings: &Settings) -> Vec<Door> {
        for (name, mut open) in fresh {
            open.is_left_behind |= self.notifier.store(socket(&open.door), &name);
            self.open.insert(name, open);
        }
        let (directory, notifier) = (&self.directory, &self.notifier);
        self.open.retain(|name, _| {
            let stays = wanted(settings).any(|(wanted, ..)| wanted == name);
            if !stays {
                door::remove(&directory.join(name));
                notifier.forget(name);
            }
            stays
        });
        self.open.values().map(|open| open.door.clone()).collect()
    }

    /// The end: takes away the names of those that nobody else holds.
    pub(super) fn close(self) {
        for (name, _) in self.open.iter().filter(|(_, open)| !open.is_left_behind) {
            door::remove(&self.directory.join(name));
        }
    }
}

fn wanted(settings: &Settings) -> impl Iterator<Item = (&str, SocketKind, Purpose)> {
    let open = settings.sockets.iter().filter(|table| table.is_open());
    // Without a table no group is declared, and nothing could be sent.
    let send = open.clone().next().map(|_| (SEND_SOCKET, SocketKind::Stream, Purpose::Send));
    let tables = open.map(|table| (table.path.as_str(), table.kind, Purpose::Table));
    tables.chain(send)
}

fn socket(door: &Door) -> BorrowedFd<'_> {
    match &door.socket {
        DoorSocket::Stream(socket) => socket.as_fd(),
        DoorSocket::Datagram(socket) => socket.as_fd(),
    }
}
