//! One running journalctl: what it writes is read when it is asked for, and not before, so that a full pipe holds it.
//! It never outlives us: it is killed when it is dropped, and one that is left over finds its pipe closed. Not what it
//! is asked, nor what it says.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child as Process, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use super::reader::{Order, ReaderId};

/// Where distributions have it; not looked for in PATH, which others may set.
const BINARIES: [&str; 2] = ["/usr/bin/journalctl", "/bin/journalctl"];

/// How much is read at once: what a pipe holds.
const CHUNK: usize = 64 * 1024;

/// How much of what it complains of is kept: a few lines.
const COMPLAINT: usize = 2048;

/// What became of a request to read.
#[derive(Debug)]
pub(crate) enum Output {
    /// It wrote this.
    Bytes(Bytes),
    /// It ended well.
    End,
    /// It failed; why, in its own words.
    Failed(String),
}

/// All that run, by name.
#[derive(Debug, Default)]
pub(crate) struct Children(HashMap<ReaderId, (Child, AbortHandle)>);

impl Children {
    /// Does what is ordered. What is read comes out of `tasks`, as `event` makes it.
    pub(crate) fn obey<E: Send + 'static>(
        &mut self,
        order: Order,
        tasks: &mut JoinSet<E>,
        event: fn(ReaderId, Output) -> E,
    ) {
        match order {
            Order::Start { reader, arguments } => match Child::start(&arguments) {
                Ok(child) => {
                    let reading = read(reader, child.clone(), tasks, event);
                    self.0.insert(reader, (child, reading));
                }
                Err(error) => drop(tasks.spawn(async move { event(reader, Output::Failed(error.to_string())) })),
            },
            Order::Read(reader) => {
                if let Some((child, reading)) = self.0.get_mut(&reader) {
                    *reading = read(reader, child.clone(), tasks, event);
                }
            }
            Order::Stop(reader) => {
                if let Some((_, reading)) = self.0.remove(&reader) {
                    reading.abort();
                }
            }
        }
    }
}

fn read<E: Send + 'static>(
    reader: ReaderId,
    child: Child,
    tasks: &mut JoinSet<E>,
    event: fn(ReaderId, Output) -> E,
) -> AbortHandle {
    tasks.spawn(async move { event(reader, child.read().await) })
}

/// A running journalctl; clones share it.
#[derive(Clone, Debug)]
struct Child(Arc<Mutex<Running>>);

#[derive(Debug)]
struct Running {
    process: Process,
    stdout: ChildStdout,
    complaint: Option<JoinHandle<String>>,
}

impl Child {
    /// Starts it.
    ///
    /// # Errors
    /// When there is none, or it may not be run.
    fn start(arguments: &[String]) -> io::Result<Self> {
        let binary = BINARIES.iter().map(Path::new).find(|path| path.exists());
        let binary =
            binary.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no /usr/bin/journalctl"))?;
        let mut process = Command::new(binary)
            .args(arguments)
            .env_clear()
            // Its complaints are told apart by their words.
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir("/")
            .kill_on_drop(true)
            .spawn()?;
        let (Some(stdout), Some(stderr)) = (process.stdout.take(), process.stderr.take()) else {
            return Err(io::Error::other("journalctl has no pipes"));
        };
        let complaint = Some(tokio::spawn(listen(stderr)));
        Ok(Self(Arc::new(Mutex::new(Running { process, stdout, complaint }))))
    }

    /// What it writes next.
    async fn read(&self) -> Output {
        let mut running = self.0.lock().await;
        let mut buffer = Vec::with_capacity(CHUNK);
        match running.stdout.read_buf(&mut buffer).await {
            Ok(0) => running.end().await,
            Ok(_) => Output::Bytes(buffer.into()),
            Err(error) => Output::Failed(error.to_string()),
        }
    }
}

impl Running {
    async fn end(&mut self) -> Output {
        let status = self.process.wait().await;
        let complaint = match self.complaint.take() {
            Some(listening) => listening.await.unwrap_or_default(),
            None => String::new(),
        };
        match status {
            Ok(status) if status.success() => Output::End,
            Ok(status) if complaint.is_empty() => Output::Failed(format!("journalctl ended with {status}")),
            Ok(_) => Output::Failed(complaint),
            Err(error) => Output::Failed(error.to_string()),
        }
    }
}

/// The beginning of what it complains of; the rest is read, so that it is not held.
async fn listen(mut stderr: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..count.min(COMPLAINT.saturating_sub(kept.len()))]);
    }
    String::from_utf8_lossy(&kept).lines().next().unwrap_or_default().trim().to_owned()
}
