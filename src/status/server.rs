//! What happens at the status socket: one JSON snapshot a connection, and nothing is read from it. Not how the socket
//! comes to be, and not the snapshot's content.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{GROUP, Report, SOCKET_NAME};
use crate::door::{self, Access, Error};
use crate::heartbeat::{Heartbeat, LONGEST_SLEEP};

/// Connections served side by side; more wait in the kernel's queue. Enough for a person, a monitor and a script each
/// twice over, and a bound on what snapshots in memory can amount to.
const CONNECTIONS: usize = 8;

/// Who may connect: the owner and the group.
const ACCESS: Access = Access { mode: 0o660, group: Some(GROUP) };

/// How long a peer may take to read its snapshot. A healthy one needs milliseconds.
const WRITE_DEADLINE: Duration = Duration::from_secs(2);

/// A wait after `accept` failed (out of file descriptors), so that the loop doesn't spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the snapshots come from.
pub type Reporter = Arc<dyn Fn() -> Report + Send + Sync>;

/// The open door. Clones share it, so that a panicked server can be run again on the same socket.
#[derive(Clone)]
pub struct StatusServer {
    listener: Arc<UnixListener>,
    path: PathBuf,
    report: Reporter,
    connections: Arc<Semaphore>,
    is_inherited: bool,
    is_left_behind: bool,
}

impl StatusServer {
    /// Opens `status.sock` in `runtime_dir`: `inherited`, if that still leads there, else a new one. A socket that nobody
    /// answers at is replaced.
    ///
    /// # Errors
    /// When another daemon answers there, or the system says no.
    pub async fn open(
        runtime_dir: &Path,
        inherited: Option<std::os::unix::net::UnixListener>,
        report: Reporter,
    ) -> Result<Self, Error> {
        let path = runtime_dir.join(SOCKET_NAME);
        let (listener, is_inherited) = door::open(&path, inherited, ACCESS).await?;
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        Ok(Self { listener: Arc::new(listener), path, report, connections, is_inherited, is_left_behind: false })
    }

    /// Whether it is the socket that a former process left.
    #[must_use]
    pub fn is_inherited(&self) -> bool {
        self.is_inherited
    }

    /// The listening socket, to be handed on.
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Somebody else holds the socket, too: at the end it stays where it is, for the next process.
    pub fn leave_behind(&mut self) {
        self.is_left_behind = true;
    }

    /// Serves until `stop`, then closes the door. Who came in before that gets an answer.
    pub async fn run(&self, stop: CancellationToken, heartbeat: Heartbeat) {
        loop {
            heartbeat.beat();
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(LONGEST_SLEEP) => {}
                accepted = self.accept() => match accepted {
                    Ok((peer, permit)) => {
                        tokio::spawn(serve(peer, self.report.clone(), permit));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a status connection can't be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        if !self.is_left_behind {
            // One that stayed would do no harm: the next start replaces it.
            let _ = std::fs::remove_file(&self.path);
        }
        let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(WRITE_DEADLINE, self.connections.acquire_many(all)).await;
    }

    async fn accept(&self) -> io::Result<(UnixStream, OwnedSemaphorePermit)> {
        let permit = self.connections.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (peer, _) = self.listener.accept().await?;
        Ok((peer, permit))
    }
}

async fn serve(mut peer: UnixStream, report: Reporter, permit: OwnedSemaphorePermit) {
    let Ok(mut json) = serde_json::to_vec_pretty(&report()) else {
        return;
    };
    json.push(b'\n');
    // A peer that went away or does not read gets no more; that is its business, and no news.
    let _ = tokio::time::timeout(WRITE_DEADLINE, async {
        peer.write_all(&json).await?;
        peer.shutdown().await
    })
    .await;
    drop(permit);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::io::AsyncReadExt as _;

    use super::super::report::tests::sample;
    use super::*;

    fn reporter() -> Reporter {
        Arc::new(sample)
    }

    async fn read(path: &Path) -> String {
        let mut text = String::new();
        UnixStream::connect(path).await.unwrap().read_to_string(&mut text).await.unwrap();
        text
    }

    fn start(server: &StatusServer) -> (CancellationToken, tokio::task::JoinHandle<()>) {
        let (server, stop) = (server.clone(), CancellationToken::new());
        let token = stop.clone();
        (stop, tokio::spawn(async move { server.run(token, Heartbeat::new()).await }))
    }

    #[tokio::test]
    async fn each_connection_gets_one_whole_snapshot() {
        let directory = tempfile::tempdir().unwrap();
        let asked = Arc::new(AtomicU32::new(0));
        let counter = asked.clone();
        let report: Reporter = Arc::new(move || Report { pid: counter.fetch_add(1, Ordering::Relaxed), ..sample() });
        let server = StatusServer::open(directory.path(), None, report).await.unwrap();
        let (stop, task) = start(&server);
        for pid in 0..3 {
            let report: Report = serde_json::from_str(&read(&server.path).await).unwrap();
            assert_eq!(report.pid, pid);
        }
        stop.cancel();
        task.await.unwrap();
        assert!(!server.path.exists(), "a clean stop leaves no socket behind");
    }

    #[tokio::test]
    async fn who_came_in_before_the_stop_gets_the_whole_answer() {
        let directory = tempfile::tempdir().unwrap();
        let report: Reporter = Arc::new(|| Report { version: "x".repeat(4 << 20), ..sample() });
        let server = StatusServer::open(directory.path(), None, report).await.unwrap();
        let (stop, task) = start(&server);
        let mut peer = UnixStream::connect(&server.path).await.unwrap();
        peer.readable().await.unwrap();
        stop.cancel();
        tokio::task::yield_now().await;
        assert!(!task.is_finished());
        let mut text = String::new();
        peer.read_to_string(&mut text).await.unwrap();
        assert!(text.ends_with("}\n"), "cut off at {} bytes", text.len());
        task.await.unwrap();
    }

    #[tokio::test]
    async fn only_the_owner_and_the_group_may_connect() {
        let directory = tempfile::tempdir().unwrap();
        let server = StatusServer::open(directory.path(), None, reporter()).await.unwrap();
        let mode = std::fs::metadata(&server.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left in the directory");
    }

    #[tokio::test]
    async fn a_socket_that_nobody_answers_at_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        drop(UnixListener::bind(directory.path().join(SOCKET_NAME)).unwrap());
        let server = StatusServer::open(directory.path(), None, reporter()).await.unwrap();
        let (_stop, _task) = start(&server);
        assert!(read(&server.path).await.contains("\"schema\": 1"));
    }

    #[tokio::test]
    async fn a_daemon_that_answers_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let first = StatusServer::open(directory.path(), None, reporter()).await.unwrap();
        let (_stop, _task) = start(&first);
        let second = StatusServer::open(directory.path(), None, reporter()).await;
        assert!(matches!(second, Err(Error::Taken { .. })));
        assert!(read(&first.path).await.contains("\"schema\": 1"));
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(SOCKET_NAME), "mine").unwrap();
        let outcome = StatusServer::open(directory.path(), None, reporter()).await;
        assert!(matches!(outcome, Err(Error::NotASocket { .. })));
        assert_eq!(std::fs::read(directory.path().join(SOCKET_NAME)).unwrap(), b"mine");
    }

    #[tokio::test(start_paused = true)]
    async fn peers_that_never_read_do_not_shut_out_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        // More than a unix socket buffers, so that writing to a peer that does not read blocks.
        let report: Reporter = Arc::new(|| Report { version: "x".repeat(4 << 20), ..sample() });
        let server = StatusServer::open(directory.path(), None, report).await.unwrap();
        let (_stop, _task) = start(&server);
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS {
            idle.push(UnixStream::connect(&server.path).await.unwrap());
        }
        let text = read(&server.path).await;
        assert!(text.len() > 4 << 20);
    }
}
