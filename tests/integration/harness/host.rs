//! A host for the agent: directories that outlive its processes, a configuration, and an environment in which nothing
//! but loopback can be reached. Not the process itself.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use url::Url;

use super::{Agent, Emulator, SOON, look_until};

/// Nobody's uid and gid on every Linux.
const NOBODY: u32 = 65_534;

/// A temporary host.
pub(crate) struct Host {
    root: TempDir,
    environment: Vec<(String, String)>,
    binary: PathBuf,
    as_nobody: bool,
}

impl Host {
    /// A host whose metadata service and AWS endpoints are all at `aws`, a loopback URL.
    pub(crate) fn new(aws: &str) -> Self {
        let root = tempfile::Builder::new().prefix("imds-agent-").tempdir().expect("a temporary directory");
        for directory in ["state", "run", "logs"] {
            std::fs::create_dir(root.path().join(directory)).expect("a directory in a temporary directory");
        }
        // tests/slow.sh names the release binary: what ships is what is tortured, and it need not be built twice.
        let given = std::env::var_os("IMDS_AGENT_TEST_BINARY");
        let binary = given.map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_imds-agent")), PathBuf::from);
        let mut host = Self { root, environment: Vec::new(), binary, as_nobody: false };
        host.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", aws);
        host.set("AWS_ENDPOINT_URL", aws);
        host.set("HOME", &host.path("").display().to_string());
        host.set("IMDS_AGENT_STATE_DIR", &host.path("state").display().to_string());
        host.set("IMDS_AGENT_RUNTIME_DIR", &host.path("run").display().to_string());
        host
    }

    /// A host at an emulator of its own, shipping `logs/*.log` to the stream `app` of `/test/app` without lingering.
    pub(crate) fn with_emulator() -> (Self, Emulator) {
        let emulator = Emulator::start();
        let host = Self::new(&emulator.url());
        host.configure(&host.one_source(""));
        (host, emulator)
    }

    /// The configuration of [`Host::with_emulator`], with more keys for the source.
    pub(crate) fn one_source(&self, more: &str) -> String {
        format!(
            "[logs]\nlog_group = \"/test/app\"\nlog_stream = \"app\"\nflush_interval = \"250ms\"\n\n\
             [[logs.file]]\ninclude = [\"{}/*.log\"]\nstart_at = \"beginning\"\n{more}\n",
            self.path("logs").display()
        )
    }

    /// A path on this host.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// A file among the logs.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.path("logs").join(name)
    }

    /// Writes the configuration.
    pub(crate) fn configure(&self, toml: &str) {
        std::fs::write(self.config(), toml).expect("the configuration can be written");
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("config.toml")
    }

    /// Sets a variable of the agent's environment.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// AWS's own hosts are asked, all of them through a proxy of the test's.
    pub(crate) fn only_through_proxy(&mut self, proxy: SocketAddr) {
        self.environment.retain(|(name, _)| name != "AWS_ENDPOINT_URL" && name != "NO_PROXY");
        self.set("HTTPS_PROXY", &format!("http://{proxy}"));
    }

    /// Makes sure that permissions hold for the agent: where the tests run as root, it runs as nobody, from a copy of
    /// the binary that nobody can reach.
    pub(crate) fn without_root(&mut self) {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let copy = self.path("imds-agent");
        std::fs::copy(&self.binary, &copy).expect("the binary can be copied");
        for path in ["", "state", "run", "logs", "config.toml"] {
            std::os::unix::fs::chown(self.path(path), Some(NOBODY), Some(NOBODY)).expect("root can give files away");
        }
        set_mode(&self.path(""), 0o755);
        self.binary = copy;
        self.as_nobody = true;
    }

    /// The agent may open no more than `most` descriptors.
    pub(crate) fn with_few_descriptors(&mut self, most: u32) {
        let script = self.path("with-few-descriptors");
        let text = format!("#!/bin/sh\nulimit -n {most}\nexec '{}' \"$@\"\n", self.binary.display());
        std::fs::write(&script, text).expect("a script can be written");
        set_mode(&script, 0o755);
        self.binary = script;
    }

    /// A command of the binary on this host, with nothing of the test's own environment but `PATH`.
    ///
    /// # Panics
    /// When the environment lets it reach anything but loopback.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        assert_reaches_loopback_only(&self.environment);
        let mut command = Command::new(&self.binary);
        command.args(arguments).env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
        if self.as_nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Runs a command of the binary to its end, which must come soon.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("the binary can be started");
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a child has a pid");
        let reader = std::thread::spawn(|| child.wait_with_output());
        let ended = look_until(SOON, || reader.is_finished().then_some(()));
        if ended.is_err() {
            // Not waited for yet, so the pid is still its own.
            kill_process(pid, Signal::KILL).expect("our own child can be killed");
        }
        let output = reader.join().expect("the reader does not panic").expect("a pipe can be read");
        assert!(ended.is_ok(), "{arguments:?} did not end within {SOON:?}: {output:?}");
        output
    }

    /// Starts the daemon and waits for its door.
    pub(crate) fn start(&self) -> Agent {
        let config = self.config().display().to_string();
        Agent::start(self.command(&["run", "--config", &config]), self.path("run/status.sock"))
    }
}

/// Changes a path's permissions.
pub(crate) fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("our own files' modes can be set");
}

/// The address that instance metadata has on EC2 is link-local, and on some networks it answers. No test goes there.
fn assert_reaches_loopback_only(environment: &[(String, String)]) {
    let value = |name: &str| environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let is_loopback = |name: &str| value(name).is_some_and(is_loopback_url);
    let metadata =
        is_loopback("AWS_EC2_METADATA_SERVICE_ENDPOINT") || value("AWS_EC2_METADATA_DISABLED") == Some("true");
    assert!(metadata, "refusing to start the agent: AWS_EC2_METADATA_SERVICE_ENDPOINT is no loopback URL");
    let aws = is_loopback("AWS_ENDPOINT_URL");
    let proxied = value("AWS_ENDPOINT_URL").is_none() && is_loopback("HTTPS_PROXY") && value("NO_PROXY").is_none();
    assert!(aws || proxied, "refusing to start the agent: AWS_ENDPOINT_URL is no loopback URL, and no proxy is one");
    let urls = |name: &str| name.contains("ENDPOINT_URL") || name == "HTTPS_PROXY";
    for (name, value) in environment.iter().filter(|(name, _)| urls(name)) {
        assert!(is_loopback_url(value), "refusing to start the agent: {name} is no loopback URL");
    }
}

fn is_loopback_url(value: &str) -> bool {
    match Url::parse(value).ok().as_ref().and_then(Url::host) {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        // A name may resolve to anything.
        Some(url::Host::Domain(_)) | None => false,
    }
}

#[test]
fn the_harness_refuses_to_start_an_agent_that_could_leave_this_machine() {
    let refuses = |aws: &'static str, name: &'static str, value: &'static str| {
        std::panic::catch_unwind(|| {
            let mut host = Host::new(aws);
            host.set(name, value);
            drop(host.command(&["run"]));
        })
        .is_err()
    };
    assert!(refuses("http://198.51.100.1", "A", "b"));
    assert!(refuses("http://localhost.example:80", "A", "b"));
    assert!(refuses("http://127.0.0.1:9", "AWS_ENDPOINT_URL_STS", "https://sts.example"));
    assert!(refuses("http://127.0.0.1:9", "AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://198.51.100.1"));
    assert!(!refuses("http://127.0.0.1:9", "AWS_EC2_METADATA_DISABLED", "true"));
}
