//! How a TCP listener of ours comes to be open: the one that a former process left, or a new one. Only for addresses of
//! this host. Not who is served.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait while nobody accepts: what a thousand clients that start together need.
const BACKLOG: u32 = 1024;

/// Why a port can't be listened at.
#[derive(Debug, thiserror::Error)]
#[error("nobody can be served at {address}: {source}")]
pub struct Error {
    /// Where.
    pub address: SocketAddr,
    /// The system's answer.
    pub source: io::Error,
}

impl Error {
    /// What cures it.
    #[must_use]
    pub fn hint(&self) -> String {
        let Self { address, source } = self;
        match source.kind() {
            io::ErrorKind::AddrInUse => {
                let port = address.port();
                format!("`ss -ltnp 'sport = :{port}'` shows who has the port; stop that, or choose another `listen`")
            }
            io::ErrorKind::AddrNotAvailable => {
                format!("the address must be on an interface first: ip address add {}/32 dev lo", address.ip())
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need CAP_NET_BIND_SERVICE; choose another `listen`, or give it in a drop-in of the unit"
                    .to_owned()
            }
            _ => "choose another `listen`".to_owned(),
        }
    }
}

/// Opens the listener at `address`: `inherited`, which listens there, or a new one.
///
/// # Errors
/// When somebody else has the port, or the system says no.
pub fn open_tcp(address: SocketAddr, inherited: Option<std::net::TcpListener>) -> Result<TcpListener, Error> {
    let open = || {
        if let Some(inherited) = inherited {
            inherited.set_nonblocking(true)?;
            return TcpListener::from_std(inherited);
        }
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Connections of an agent that just stopped must not keep the port from the next.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|source| Error { address, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_an_error_that_tells_how_to_find_out_by_whom() {
        let first = open_tcp("127.0.0.1:0".parse().unwrap(), None).unwrap();
        let address = first.local_addr().unwrap();
        let error = open_tcp(address, None).unwrap_err();
        assert!(error.to_string().starts_with(&format!("nobody can be served at {address}")), "{error}");
        assert!(error.hint().contains("ss -ltnp"), "{}", error.hint());
        let inherited = first.into_std().unwrap();
        assert_eq!(open_tcp(address, Some(inherited)).unwrap().local_addr().unwrap(), address);
    }
}
