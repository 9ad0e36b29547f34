//! Asks the kernel about one TCP connection of this host, by its exact four numbers (`sock_diag`(7)): whose socket the
//! other end is, and in which cgroup it was made. No right is needed for that. Not what follows from it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::netlink::SOCK_DIAG;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// `SOCK_DIAG_BY_FAMILY`, the one question there is (`linux/sock_diag.h`).
const BY_FAMILY: u16 = 20;

/// `NLM_F_REQUEST` without `NLM_F_DUMP`: one socket, not all (`linux/netlink.h`).
const REQUEST: u16 = 1;

/// `NLMSG_ERROR`: the answer when there is no such socket (`linux/netlink.h`).
const ERROR: u16 = 2;

/// `IPPROTO_TCP`.
const TCP: u8 = 6;

/// `TCP_ESTABLISHED` (`net/tcp_states.h`).
const ESTABLISHED: u8 = 1;

/// `INET_DIAG_CGROUP_ID`, since Linux 5.8 (`linux/inet_diag.h`).
const CGROUP_ID: u16 = 21;

/// The sizes of `struct nlmsghdr`,
const HEADER: usize = 16;

/// of `struct inet_diag_req_v2`,
const QUESTION: usize = 56;

/// and of `struct inet_diag_msg` (`linux/inet_diag.h`).
const ANSWER: usize = 72;

/// An answer about one socket is about 150 bytes; one that needed more would be cut off, and refused.
const ROOM: usize = 4096;

/// What the kernel says of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Diagnosis {
    /// Whose it is.
    pub(super) uid: u32,
    /// In which cgroup it was made; `None` before Linux 5.8.
    pub(super) cgroup: Option<u64>,
}

/// Asks; one question at a time.
#[derive(Debug)]
pub(super) struct SockDiag {
    socket: OwnedFd,
    sequence: u32,
}

impl SockDiag {
    pub(super) fn open() -> io::Result<Self> {
        // The kernel answers while it is being asked; without blocking all the same, since nobody may wait here.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(SOCK_DIAG))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// The socket of this host that is at `own` and connected to `other`, if it is open and connected.
    pub(super) fn find(&mut self, own: SocketAddr, other: SocketAddr) -> io::Result<Option<Diagnosis>> {
        self.sequence = self.sequence.wrapping_add(1);
        send(&self.socket, &question(self.sequence, own, other), SendFlags::empty())?;
        let mut space = [0; ROOM];
        loop {
            let (length, _) = recv(&self.socket, &mut space[..], RecvFlags::empty())?;
            let answer = &space[..length];
            // An answer to a question that somebody gave up waiting for.
            if number(answer, 8) == Some(self.sequence) {
                return Ok(diagnosis(answer, own, other));
            }
        }
    }
}

fn question(sequence: u32, own: SocketAddr, other: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + QUESTION);
    let length = u32::try_from(HEADER + QUESTION).unwrap_or_default();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    let family = if own.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    bytes.extend([family.as_raw().to_le_bytes()[0], TCP, 0, 0]);
    bytes.extend((1_u32 << ESTABLISHED).to_ne_bytes());
    bytes.extend(own.port().to_be_bytes());
    bytes.extend(other.port().to_be_bytes());
    bytes.extend(octets(own.ip()));
    bytes.extend(octets(other.ip()));
    // Any interface, and no cookie.
    bytes.extend([0; 4]);
    bytes.extend([0xff; 8]);
    bytes
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&address.octets());
            octets
        }
        IpAddr::V6(address) => address.octets(),
    }
}

/// What an answer says, if it is about that very connection. A question for one that is gone may bring the listener.
fn diagnosis(answer: &[u8], own: SocketAddr, other: SocketAddr) -> Option<Diagnosis> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let body = answer.get(HEADER..).filter(|_| kind == BY_FAMILY && kind != ERROR)?;
    let (family, state) = (*body.first()?, *body.get(1)?);
    let port = |at: usize| body.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes);
    let address = |at: usize| address(family, body.get(at..at + 16)?);
    let is_it = address(8)? == own.ip().to_canonical()
        && address(24)? == other.ip().to_canonical()
        && port(4)? == own.port()
        && port(6)? == other.port();
    let (uid, inode) = (number(body, 64)?, number(body, 68)?);
    // Without an inode it belongs to no process any more.
    let is_open = state == ESTABLISHED && inode != 0;
    (is_it && is_open).then(|| Diagnosis { uid, cgroup: cgroup(body.get(ANSWER..).unwrap_or_default()) })
}

fn address(family: u8, octets: &[u8]) -> Option<IpAddr> {
    let is_v4 = u16::from(family) == AddressFamily::INET.as_raw();
    Some(if is_v4 {
        IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&octets[..4]).ok()?))
    } else {
        Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).to_canonical()
    })
}

/// The attribute among those behind the answer: each is its length, its kind, its value, filled up to four bytes.
fn cgroup(mut attributes: &[u8]) -> Option<u64> {
    loop {
        let length = usize::from(u16::from_ne_bytes(attributes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?);
        if kind == CGROUP_ID {
            return Some(u64::from_ne_bytes(attributes.get(4..12)?.try_into().ok()?));
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use proptest::prelude::*;

    use super::*;

    fn connect(listen: &str, to: IpAddr) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(listen).unwrap();
        let client = TcpStream::connect((to, listener.local_addr().unwrap().port())).unwrap();
        (client, listener.accept().unwrap().0)
    }

    fn ask(own: SocketAddr, other: SocketAddr) -> Option<Diagnosis> {
        SockDiag::open().unwrap().find(own, other).unwrap()
    }

    #[test]
    fn the_other_end_is_found_by_the_four_numbers() {
        for (listen, to) in [
            ("127.0.0.1:0", IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ("[::1]:0", IpAddr::V6(Ipv6Addr::LOCALHOST)),
            // A client may speak IPv4 by a socket of the other kind.
            ("127.0.0.1:0", IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped())),
        ] {
            let (client, server) = connect(listen, to);
            let found = ask(server.peer_addr().unwrap(), server.local_addr().unwrap()).unwrap();
            assert_eq!(found.uid, rustix::process::geteuid().as_raw(), "{to}");
            drop(client);
        }
    }

    #[test]
    fn one_that_is_closed_or_never_was_is_not_found_nor_is_the_listener_in_its_place() {
        let (client, server) = connect("127.0.0.1:0", IpAddr::V4(Ipv4Addr::LOCALHOST));
        let (peer, own) = (server.peer_addr().unwrap(), server.local_addr().unwrap());
        drop(client);
        assert_eq!(ask(peer, own), None, "its inode is gone");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(ask(listener.local_addr().unwrap(), peer), None);
        assert_eq!(ask("127.0.0.1:1".parse().unwrap(), own), None);
    }

    proptest! {
        #[test]
        fn no_answer_breaks_the_reading(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let end = "127.0.0.1:1".parse().unwrap();
            let _ = (diagnosis(&bytes, end, end), cgroup(&bytes));
        }
    }
}
