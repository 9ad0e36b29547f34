//! The status socket: one JSON snapshot a connection, and nothing is read from it. Not who may connect beyond the
//! file's mode and group, and not the snapshot's content.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{GROUP, Report, SOCKET_NAME};
use crate::heartbeat::{Heartbeat, LONGEST_SLEEP};

/// Connections served side by side; more wait in the kernel's queue. Enough for a person, a monitor and a script each
/// twice over, and a bound on what snapshots in memory can amount to.
const CONNECTIONS: usize = 8;

/// How long a peer may take to read its snapshot. A healthy one needs milliseconds.
const WRITE_DEADLINE: Duration = Duration::from_secs(2);

/// How long to wait for a connection to whoever may hold the socket already: it is local, the kernel answers.
const PROBE_DEADLINE: Duration = Duration::from_secs(1);

/// A wait after `accept` failed (out of file descriptors), so that the loop doesn't spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who may connect: root and the group.
const MODE: u32 = 0o660;

/// Why the status socket can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another daemon answers there.
    #[error(
        "another imds-agent answers at {path}; stop it, or set IMDS_AGENT_RUNTIME_DIR to a directory of this one's own"
    )]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is not a socket has its name.
    #[error("{path} is in the way and not a socket; remove it")]
    NotASocket {
        /// The thing.
        path: PathBuf,
    },
    /// The system said no.
    #[error(
        "{operation} the status socket {path} failed; its directory must be writable for this user, or set IMDS_AGENT_RUNTIME_DIR to one that is"
    )]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// Where the snapshots come from.
pub type Reporter = Arc<dyn Fn() -> Report + Send + Sync>;

/// The open door. Clones share it, so that a panicked server can be run again on the same socket.
#[derive(Clone)]
pub struct StatusServer {
    listener: Arc<UnixListener>,
    path: PathBuf,
    report: Reporter,
    connections: Arc<Semaphore>,
}

impl StatusServer {
    /// Opens `status.sock` in `runtime_dir`. A socket that nobody answers at is replaced, atomically.
    ///
    /// # Errors
    /// When another daemon answers there, or the system says no.
    pub async fn bind(runtime_dir: &Path, report: Reporter) -> Result<Self, Error> {
        let path = runtime_dir.join(SOCKET_NAME);
        check_free(&path).await?;
        let listener = bind_and_rename(&path)?;
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        Ok(Self { listener: Arc::new(listener), path, report, connections })
    }

    /// Serves until `stop`, then closes the door.
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
        // A socket left behind would do no harm: the next start replaces it.
        let _ = std::fs::remove_file(&self.path);
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

async fn check_free(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Io { operation: "looking at", path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) => return Err(Error::NotASocket { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    }
    match tokio::time::timeout(PROBE_DEADLINE, UnixStream::connect(path)).await {
        Ok(Err(error)) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => Ok(()),
        // Connected, or a queue too full to connect: somebody is there.
        Ok(Ok(_)) | Err(_) => Err(Error::Taken { path: path.to_owned() }),
        Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Err(Error::Taken { path: path.to_owned() }),
        Ok(Err(error)) => Err(failed(error)),
    }
}

/// Binds beside `path` and renames, so that the name never leads to a socket with other rights than it should have.
fn bind_and_rename(path: &Path) -> Result<UnixListener, Error> {
    let failed = |operation| move |source| Error::Io { operation, path: path.to_owned(), source };
    let new = path.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("preparing")(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&new).map_err(failed("binding"))?;
    if let Some(group) = group_id(&std::fs::read_to_string("/etc/group").unwrap_or_default(), GROUP)
        && let Err(error) = std::os::unix::fs::chown(&new, None, Some(group))
    {
        tracing::warn!(group = GROUP, %error, "the status socket can't be given to the group; its members can't read it");
    }
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(MODE)).map_err(failed("setting the mode of"))?;
    std::fs::rename(&new, path).map_err(failed("naming"))?;
    Ok(listener)
}

/// A group's id by the text of `/etc/group` (group(5): `name:password:gid:members`).
fn group_id(groups: &str, name: &str) -> Option<u32> {
    let mut fields = groups
        .lines()
        .map(|line| line.split(':'))
        .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
    fields.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
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
        let server = StatusServer::bind(directory.path(), report).await.unwrap();
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
    async fn only_the_owner_and_the_group_may_connect() {
        let directory = tempfile::tempdir().unwrap();
        let server = StatusServer::bind(directory.path(), reporter()).await.unwrap();
        let mode = std::fs::metadata(&server.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left in the directory");
    }

    #[tokio::test]
    async fn a_socket_that_nobody_answers_at_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        drop(UnixListener::bind(directory.path().join(SOCKET_NAME)).unwrap());
        let server = StatusServer::bind(directory.path(), reporter()).await.unwrap();
        let (_stop, _task) = start(&server);
        assert!(read(&server.path).await.contains("\"schema\": 1"));
    }

    #[tokio::test]
    async fn a_daemon_that_answers_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let first = StatusServer::bind(directory.path(), reporter()).await.unwrap();
        let (_stop, _task) = start(&first);
        let second = StatusServer::bind(directory.path(), reporter()).await;
        assert!(matches!(second, Err(Error::Taken { .. })));
        assert!(read(&first.path).await.contains("\"schema\": 1"));
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(SOCKET_NAME), "mine").unwrap();
        let outcome = StatusServer::bind(directory.path(), reporter()).await;
        assert!(matches!(outcome, Err(Error::NotASocket { .. })));
        assert_eq!(std::fs::read(directory.path().join(SOCKET_NAME)).unwrap(), b"mine");
    }

    #[tokio::test(start_paused = true)]
    async fn peers_that_never_read_do_not_shut_out_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        // More than a unix socket buffers, so that writing to a peer that does not read blocks.
        let report: Reporter = Arc::new(|| Report { version: "x".repeat(4 << 20), ..sample() });
        let server = StatusServer::bind(directory.path(), report).await.unwrap();
        let (_stop, _task) = start(&server);
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS {
            idle.push(UnixStream::connect(&server.path).await.unwrap());
        }
        let text = read(&server.path).await;
        assert!(text.len() > 4 << 20);
    }

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let groups = "root:x:0:\nimds-agent-old:x:7:\nimds-agent:x:998:ops,web\n";
        assert_eq!(group_id(groups, "imds-agent"), Some(998));
        assert_eq!(group_id(groups, "imds"), None);
    }
}
