//! Listening sockets that outlive the process: those that systemd, or a socket unit, handed over at the start, by the
//! protocol of `sd_listen_fds`(3). They are recognised by their own address, whatever they are called. Not what is
//! served at them, and not how new ones are handed on: that is `notify`'s.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

/// More than all doors we shall ever have, and few enough to look at one by one: what is said in `LISTEN_FDS` is not ours.
const MOST: usize = 64;

/// The listening sockets that nobody took yet.
#[derive(Debug, Default)]
pub struct Inherited {
    listeners: Vec<UnixListener>,
    datagrams: Vec<UnixDatagram>,
    tcp: Vec<TcpListener>,
    strangers: usize,
}

impl Inherited {
    /// What `LISTEN_FDS` and `LISTEN_PID` say. To be called before this process opens anything, or starts a thread.
    #[must_use]
    pub fn from_process() -> Self {
        let number = |name: &str| std::env::var(name).ok()?.parse::<usize>().ok();
        let ours = number("LISTEN_PID").is_some_and(|pid| u32::try_from(pid) == Ok(std::process::id()));
        if !ours || number("LISTEN_FDS").is_none_or(|count| count > MOST) {
            return Self::default();
        }
        let mut handed_over = ListenFd::from_env();
        let mut inherited = Self::default();
        for index in 0..handed_over.len() {
            match handed_over.take_unix_listener(index) {
                Ok(Some(listener)) if socket_acceptconn(&listener).unwrap_or(false) => {
                    inherited.listeners.push(listener);
                }
                // A socket of another kind fails here, and is left to be taken as what it is.
                _ if let Ok(Some(socket)) = handed_over.take_unix_datagram(index) => inherited.datagrams.push(socket),
                _ if let Ok(Some(listener)) = handed_over.take_tcp_listener(index)
                    && socket_acceptconn(&listener).unwrap_or(false) =>
                {
                    inherited.tcp.push(listener);
                }
                _ => {
                    inherited.strangers += 1;
                    close(&mut handed_over, index);
                }
            }
        }
        inherited
    }

    /// The one that listens at `path`.
    pub(super) fn take(&mut self, path: &Path) -> Option<UnixListener> {
        let at_path = |listener: &UnixListener| {
            listener.local_addr().is_ok_and(|address| address.as_pathname().is_some_and(|own| own == path))
        };
        let index = self.listeners.iter().position(at_path)?;
        Some(self.listeners.swap_remove(index))
    }

    /// The one that receives datagrams at `path`.
    pub(super) fn take_datagram(&mut self, path: &Path) -> Option<UnixDatagram> {
        let at_path = |socket: &UnixDatagram| {
            socket.local_addr().is_ok_and(|address| address.as_pathname().is_some_and(|own| own == path))
        };
        let index = self.datagrams.iter().position(at_path)?;
        Some(self.datagrams.swap_remove(index))
    }

    /// The one that listens at `address`.
    pub(super) fn take_tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let index = self.tcp.iter().position(|listener| listener.local_addr().is_ok_and(|own| own == address))?;
        Some(self.tcp.swap_remove(index))
    }

    /// Nobody here knows the others.
    pub(super) fn close_the_rest(self) {
        let count = self.listeners.len() + self.datagrams.len() + self.tcp.len() + self.strangers;
        if count > 0 {
            tracing::warn!(count, "sockets were handed over that are none of ours; they are closed");
        }
    }
}

/// Closes what is no listener of ours: dropping it does. What is no socket at all is left open, and unused.
fn close(handed_over: &mut ListenFd, index: usize) {
    let _ = handed_over.take_tcp_listener(index);
    let _ = handed_over.take_udp_socket(index);
    let _ = handed_over.take_unix_datagram(index);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_known_by_its_address_and_taken_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let listeners = ["a.sock", "b.sock"].map(|name| UnixListener::bind(path(name)).unwrap()).into();
        let mut inherited = Inherited { listeners, ..Inherited::default() };
        assert!(inherited.take(&path("c.sock")).is_none());
        let taken = inherited.take(&path("b.sock")).unwrap();
        assert_eq!(taken.local_addr().unwrap().as_pathname(), Some(path("b.sock").as_path()));
        assert!(inherited.take(&path("b.sock")).is_none());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        inherited.tcp.push(listener);
        assert!(inherited.take_tcp("127.0.0.1:1".parse().unwrap()).is_none());
        assert!(inherited.take_tcp(address).is_some() && inherited.take_tcp(address).is_none());
        inherited.close_the_rest();
        assert!(std::os::unix::net::UnixStream::connect(path("a.sock")).is_err(), "nobody listens there any more");
    }
}
