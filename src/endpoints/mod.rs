//! Credentials for the processes of this host: the doors at which they are had, who is let in at each, and the record of
//! it. Not where credentials come from, nor when they are fetched anew (`credentials`); not how sockets come to be open.
//!
//! * `unix`: `credentials.sock`, for `imds-agent credentials` and `exec`; the kernel says who calls.
//! * `container`: the container protocol on loopback; a token, and the user whose socket is the other end.
//! * `metadata`: a look-alike of the metadata service on loopback; that user alone.
//! * `telemetry`: no credentials, but how the agent is: `/health` and `/metrics`, for whoever can reach it.
//! * `credentials_file`: no door, but a file that is kept fresh.
//!
//! Each answers from memory. `http` takes only requests that are worth a look, `desk` decides, `audit` writes it down.

mod audit;
mod container;
mod credentials_file;
mod desk;
mod http;
mod metadata;
mod server;
mod telemetry;
mod tokens;
mod unix;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use self::audit::{Copy, DoorKind, Entry, Snapshot};
pub use self::telemetry::{Page, Question, Teller};
pub use self::tokens::DIRECTORY as TOKENS;
use crate::caller::{Accounts, Rules};
use crate::clock::Clock;
use crate::credentials::Roles;
use crate::fault::Warning;
use crate::heartbeat::Heartbeat;
use crate::template::Names;

/// The unix door's name in the runtime directory.
pub const SOCKET_NAME: &str = "credentials.sock";

/// Whose members see what others were given.
const GROUP: &str = "imds-agent";

/// The address beside loopback at which SDKs take the container protocol, and which containers can reach by way of a
/// bridge. Who calls from there can't be seen.
pub const LINK_LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23));

/// The `[endpoints]` table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `[endpoints.container]`.
    pub container: Option<SocketAddr>,
    /// `[endpoints.metadata]`.
    pub metadata: Option<Metadata>,
    /// `[endpoints.telemetry]`: where it listens.
    pub telemetry: Option<SocketAddr>,
    /// `[endpoints.credentials_file]`.
    pub credentials_file: Option<CredentialsFile>,
}

impl Settings {
    /// What who checks the configuration should know of it.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let listen = self.telemetry.filter(|address| !address.ip().is_loopback())?;
        let reached = if listen.ip().is_unspecified() { "this host at any address" } else { "that address" };
        Some(format!(
            "[endpoints.telemetry] listens at {listen}: everybody who reaches {reached} can read /health and /metrics, \
             which hold names of roles, files and log groups, and no secret; a security group or a firewall says who that is"
        ))
    }
}

/// The look-alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The one role that it serves.
    pub role: String,
}

/// A shared credentials file, as the SDKs and tools read one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialsFile {
    /// Where it is.
    pub path: PathBuf,
    /// The section that is kept fresh in it.
    pub profile: String,
    /// Whose credentials stand there; the base ones, if nothing is said.
    pub role: Option<String>,
}

/// Which `allow` of these roles names users or groups that this host does not have: a rule with a slip of the pen in it
/// refuses whom it was made for, without another sign.
pub fn unknown_accounts<'r>(roles: impl Iterator<Item = (&'r str, &'r Rules)>, accounts: &Accounts) -> Vec<Warning> {
    let unknown = roles.map(|(role, allow)| (role, allow.unknown(accounts))).filter(|(_, names)| !names.is_empty());
    let warning = |(role, names): (&str, Vec<String>)| Warning {
        code: "unknown_account".to_owned(),
        message: format!("`allow` of the role {role} names {}, which this host does not have", names.join(", ")),
        hint: Some(
            "correct the name or create the account; one of a directory service is named by its number".to_owned(),
        ),
    };
    unknown.map(warning).collect()
}

/// A door that is open.
#[derive(Clone, Debug)]
pub struct Door {
    /// What is spoken there.
    pub kind: DoorKind,
    /// Where people come in.
    pub socket: DoorSocket,
}

/// Shared with who opened it.
#[derive(Clone, Debug)]
pub enum DoorSocket {
    /// `credentials.sock`.
    Unix(Arc<UnixListener>),
    /// On loopback.
    Tcp(Arc<TcpListener>),
}

impl DoorSocket {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(one), Self::Unix(other)) => Arc::ptr_eq(one, other),
            (Self::Tcp(one), Self::Tcp(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

/// All doors; clones share them. They outlive every configuration.
#[derive(Clone)]
pub struct Endpoints(Arc<server::Inner>);

impl Endpoints {
    /// With tokens in `runtime_dir`. Nobody is served yet.
    #[must_use]
    pub fn new(runtime_dir: &Path, clock: Clock) -> Self {
        Self(Arc::new(server::Inner::new(runtime_dir, clock)))
    }

    /// From now on these roles are handed out, as these settings say, also to who is connected.
    pub fn configure(&self, settings: &Settings, roles: Roles, names: watch::Receiver<Names>) {
        self.0.configure(settings, roles, names);
    }

    /// From now on these doors are served; who is connected to one that is not any more gets what it has asked for.
    pub fn serve(&self, doors: Vec<Door>) {
        self.0.serve(doors);
    }

    /// From now on the record goes there, too.
    pub fn copy_record(&self, copy: Option<Copy>) {
        self.0.copy_record(copy);
    }

    /// From now on who asks how the agent is, is told this.
    pub fn tell(&self, teller: Teller) {
        self.0.tell(teller);
    }

    /// What happened at each door at which credentials are had, since the start.
    #[must_use]
    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.0.snapshots()
    }

    /// Serves until `stop`, and keeps the credentials file.
    pub async fn run(&self, stop: CancellationToken, heartbeat: Heartbeat) {
        let keeping = credentials_file::keep(&self.0, stop.clone());
        let following = self.0.follow_accounts(stop.clone());
        tokio::join!(self.0.run(stop, heartbeat), keeping, following);
    }

    /// What a person should know.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        self.0.warnings()
    }
}
