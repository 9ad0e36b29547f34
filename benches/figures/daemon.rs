//! The agent's release binary in temporary directories, at a sink. Not what is measured on it: those are the rows.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::sink::Sink;

/// The binary that is measured: the one of the benchmark's own profile.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_imds-agent");

/// Past this, something is broken rather than slow.
const PATIENCE: Duration = Duration::from_mins(10);

/// Between two looks at the sink: short against what is timed, long enough to leave the processors to what is measured.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long every line is, its line feed included, as the design's figures assume.
pub(crate) const LINE: usize = 200;

/// Directories and a configuration that ships `logs/*.log`, one stream a file.
pub(crate) struct Host {
    root: TempDir,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// The same, with more keys for the source.
    pub(crate) fn with(keys: &str) -> Self {
        Self::configured(|root| {
            format!(
                "[logs]\nlog_group = \"/figures\"\nlog_stream = \"{{file_name}}\"\n\n\
                 [[logs.file]]\ninclude = [\"{}/*.log\"]\nstart_at = \"beginning\"\n{keys}\n",
                root.join("logs").display()
            )
        })
    }

    /// The directories, with another configuration.
    pub(crate) fn configured(config: impl FnOnce(&Path) -> String) -> Self {
        let root = tempfile::Builder::new().prefix("figures-").tempdir().expect("a temporary directory");
        for directory in ["state", "run", "logs"] {
            std::fs::create_dir(root.path().join(directory)).expect("a directory in a temporary directory");
        }
        std::fs::write(root.path().join("config.toml"), config(root.path())).expect("a file in a temporary directory");
        Self { root }
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.path("logs")
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// Writes lines `first..first + count` to a log, all at once.
    pub(crate) fn write(&self, name: &str, first: usize, count: usize) {
        self.write_long(name, first, count, LINE);
    }

    /// The same, with lines of `length` bytes.
    pub(crate) fn write_long(&self, name: &str, first: usize, count: usize, length: usize) {
        let mut file =
            BufWriter::new(File::options().create(true).append(true).open(self.logs().join(name)).expect("a log"));
        for number in first..first + count {
            file.write_all(&line(number, length)).expect("there is room for the logs");
        }
        file.flush().expect("there is room for the logs");
    }

    /// Starts the agent at `sink`.
    pub(crate) fn start(&self, sink: &Sink) -> Daemon {
        let notify = self.path("notify");
        // One that died left its socket behind.
        let _ = std::fs::remove_file(&notify);
        let systemd = UnixDatagram::bind(&notify).expect("a socket in a temporary directory");
        systemd.set_read_timeout(Some(LOOK_EVERY)).expect("a timeout that is not zero");
        let started = Instant::now();
        let child = Command::new(BINARY)
            .args([Path::new("run"), Path::new("--config"), &self.path("config.toml")])
            .env_clear()
            .env("HOME", self.root.path())
            // As the unit does.
            .env("MALLOC_ARENA_MAX", "1")
            .env("NOTIFY_SOCKET", &notify)
            .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", sink.url())
            .env("AWS_ENDPOINT_URL", sink.url())
            .env("IMDS_AGENT_STATE_DIR", self.path("state"))
            .env("IMDS_AGENT_RUNTIME_DIR", self.path("run"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.path("stderr")).expect("a file in a temporary directory"))
            .spawn()
            .expect("the release binary can be started");
        Daemon { child, started, systemd, stderr: self.path("stderr") }
    }
}

/// A line that says which it is, with what real lines have in them: quotes that JSON escapes.
pub(crate) fn line(number: usize, length: usize) -> Vec<u8> {
    let mut line =
        format!("line {number:08} 2026-11-22T12:00:00.000Z INFO http \"GET /orders/{number} HTTP/1.1\" 200 ")
            .into_bytes();
    line.resize(length - 1, b'x');
    line.push(b'\n');
    line
}

/// A running agent; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) started: Instant,
    systemd: UnixDatagram,
    stderr: PathBuf,
}

impl Daemon {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for `READY=1`; returns how long that was from the start.
    pub(crate) fn wait_until_ready(&mut self) -> Duration {
        let mut datagram = [0; 4096];
        loop {
            match self.systemd.recv(&mut datagram) {
                Ok(length) if datagram[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") => {
                    return self.started.elapsed();
                }
                Ok(_) => {}
                Err(_) => self.assert_alive("it is not ready"),
            }
        }
    }

    /// Waits until `sink` holds `count` different lines; returns how long that was from the start.
    pub(crate) fn wait_until_shipped(&mut self, sink: &Sink, count: u64) -> Duration {
        loop {
            let shipped = sink.tally().distinct;
            if shipped >= count {
                return self.started.elapsed();
            }
            self.assert_alive(&format!("{shipped} of {count} lines have come"));
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn assert_alive(&mut self, so_far: &str) {
        let ended = self.child.try_wait().expect("our own child can be waited for");
        assert!(ended.is_none(), "the agent ended with {ended:?}, and {so_far}; it said:\n{}", self.said());
        assert!(self.started.elapsed() < PATIENCE, "after {PATIENCE:?} {so_far}; it said:\n{}", self.said());
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
