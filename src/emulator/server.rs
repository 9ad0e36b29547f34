//! Listeners and connections: accepting them, refusing them, or leaving them unanswered, as the door says. Not what
//! goes over them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::exchange::{Manner, exchange};
use super::options::Door;
use super::shared::Shared;

/// Connections that may wait to be accepted: what a thousand clients that start together need.
const BACKLOG: u16 = 1024;

/// How long to wait before a port that was given up is tried again, should another program hold it for a moment.
const REBIND_PAUSE: Duration = Duration::from_millis(50);

/// Loopback connects at once or, with the queue full, not at all.
const FILLER_PATIENCE: Duration = Duration::from_millis(200);

/// Opens a listener.
///
/// # Errors
/// When the address can't be bound.
pub(super) fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections of an emulator that just stopped must not keep the port from the next.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG.into())
}

/// Serves a listener for ever; dropping the future closes it and all its connections.
pub(super) async fn run(mut listener: TcpListener, shared: Arc<Shared>) {
    let mut door = shared.door.subscribe();
    let mut connections = JoinSet::new();
    loop {
        let state = *door.borrow_and_update();
        match state {
            Door::Open => accept(&listener, &shared, &mut door, &mut connections).await,
            Door::Hang => leave_waiting(&listener, &mut door).await,
            Door::Refuse => {
                let Ok(addr) = listener.local_addr() else { return };
                drop(listener);
                connections.shutdown().await;
                let _ = door.wait_for(|door| *door != Door::Refuse).await;
                listener = bind_again(addr).await;
            }
        }
    }
}

async fn bind_again(addr: SocketAddr) -> TcpListener {
    loop {
        match bind(addr) {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(REBIND_PAUSE).await,
        }
    }
}

/// Accepts connections until the door changes.
async fn accept(
    listener: &TcpListener,
    shared: &Arc<Shared>,
    door: &mut watch::Receiver<Door>,
    connections: &mut JoinSet<()>,
) {
    loop {
        tokio::select! {
            _ = door.changed() => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => { connections.spawn(connection(stream, Arc::clone(shared))); }
                // Out of file descriptors, most likely: give connections time to end.
                Err(_) => tokio::time::sleep(REBIND_PAUSE).await,
            },
        }
    }
}

/// Lets the kernel drop whatever knocks: a queue of length nought that one connection of our own fills.
async fn leave_waiting(listener: &TcpListener, door: &mut watch::Receiver<Door>) {
    let _ = rustix::net::listen(listener, 0);
    let filler = match listener.local_addr() {
        Ok(addr) => tokio::time::timeout(FILLER_PATIENCE, TcpStream::connect(addr)).await.ok(),
        Err(_) => None,
    };
    let _ = door.changed().await;
    drop(filler);
    let _ = rustix::net::listen(listener, BACKLOG.into());
}

/// Serves one connection until it ends.
async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    // Answers are small and written at once; waiting for an acknowledgement would cost 40 ms each.
    let _ = stream.set_nodelay(true);
    let manner = Arc::<Manner>::default();
    let wire = Wire { stream, manner: Arc::clone(&manner) };
    let service = service_fn(|request| exchange(Arc::clone(&shared), Arc::clone(&manner), request));
    // How a connection ends is the client's affair, or a fault's.
    let _ = http1::Builder::new().auto_date_header(false).serve_connection(TokioIo::new(wire), service).await;
}

/// A socket whose output goes out in the manner that an exchange sets.
struct Wire {
    stream: TcpStream,
    manner: Arc<Manner>,
}

impl Wire {
    /// Sets how far the packets go, if that was asked for since the last write.
    fn set_hops(&self) -> io::Result<()> {
        match self.manner.hops.swap(0, Ordering::Relaxed) {
            0 => Ok(()),
            // An IPv4 client of an IPv6 socket gets IPv4 packets.
            hops if self.stream.peer_addr()?.ip().to_canonical().is_ipv6() => {
                Ok(sockopt::set_ipv6_unicast_hops(&self.stream, Some(hops))?)
            }
            hops => Ok(sockopt::set_ip_ttl(&self.stream, hops.into())?),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.set_hops()?;
        if self.manner.noise.load(Ordering::Relaxed) {
            // High bytes only, so that no line of it can pass for HTTP.
            let noise: Vec<u8> = bytes.iter().map(|_| fastrand::u8(128..)).collect();
            return Pin::new(&mut self.stream).poll_write(context, &noise);
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
