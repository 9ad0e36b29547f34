//! Who is at the other end of a TCP connection that comes from this host: the user by whom the socket was made, and the
//! unit and container it was made in, where the kernel tells. Not who sends through it: whoever has it was given it.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use super::cgroup;
use super::hierarchy::{Group, Hierarchy};
use super::sock_diag::SockDiag;
use super::{Accounts, Caller};

/// Why it can't be told who is calling.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No open socket of this host is the other end: it is closed, or in another network namespace.
    #[error("the other end of this connection is no open socket of this host's own network")]
    NotHere,
    /// The socket's cgroup was removed.
    #[error("the service or container that this connection was made in is gone")]
    Gone,
    /// The kernel does not answer.
    #[error("the kernel does not tell who is at the other end of this connection: {0}")]
    Unanswered(#[from] std::io::Error),
}

/// Finds out who calls.
#[derive(Debug)]
pub struct TcpCallers {
    tools: Mutex<Tools>,
    own: Option<String>,
}

#[derive(Debug)]
struct Tools {
    /// Opened when it is first needed, and again after it failed.
    diag: Option<SockDiag>,
    hierarchy: Hierarchy,
}

impl Default for TcpCallers {
    fn default() -> Self {
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let tools = Mutex::new(Tools { diag: None, hierarchy: Hierarchy::of_system() });
        Self { tools, own: cgroup::path_of(&own).map(str::to_owned) }
    }
}

impl TcpCallers {
    /// Who is at `peer`, connected to our `local`. Groups are those that `accounts` say the user has.
    ///
    /// # Errors
    /// When it can't be decided.
    pub fn find(&self, local: SocketAddr, peer: SocketAddr, accounts: &Accounts) -> Result<Caller, Refused> {
        // Nothing is half done between two statements, so that a panic elsewhere spoils nothing.
        let mut tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        let mut diag = tools.diag.take().map_or_else(SockDiag::open, Ok)?;
        let found = diag.find(peer, local)?;
        tools.diag = Some(diag);
        let found = found.ok_or(Refused::NotHere)?;
        let gids = accounts.groups_of(found.uid);
        let mut caller = Caller { uid: found.uid, gids, is_known: true, ..Caller::default() };
        match found.cgroup.map(|id| tools.hierarchy.find(id)) {
            Some(Group::At(path)) => {
                caller.stand(Some(&path), self.own.as_deref());
                caller.is_placed = true;
            }
            Some(Group::Gone) => return Err(Refused::Gone),
            Some(Group::Uppermost) | None => {}
        }
        Ok(caller)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn who_connects_from_here_is_known_and_who_hung_up_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, peer) = listener.accept().unwrap();
        let local = server.local_addr().unwrap();
        let callers = TcpCallers::default();
        let accounts = Accounts { users: String::new(), groups: String::new() };
        let caller = callers.find(local, peer, &accounts).unwrap();
        assert_eq!(caller.uid, rustix::process::geteuid().as_raw());
        assert!(caller.is_known && caller.pid.is_none() && caller.container.is_none());
        drop(client);
        assert!(matches!(callers.find(local, peer, &accounts), Err(Refused::NotHere)));
    }
}
