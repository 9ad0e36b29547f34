//! Who the agent's service runs as, and whether the doctor sees what it sees. Not what is looked at.

use std::ffi::OsString;
use std::process::Output;

use rustix::process::geteuid;

use super::{command, systemd};
use crate::caller::Accounts;

/// With it every file may be read, whatever its mode (`capabilities(7)`).
const READS_ALL: &str = "cap_dac_read_search";

/// The service, as its unit describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) user: String,
    /// Whether it may read whatever there is.
    pub(super) reads_all: bool,
}

/// With whose eyes the doctor looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Eyes {
    /// Its own, which see what the service sees.
    Own,
    /// The service's user's, which root may borrow.
    Of(String),
    /// It can't see what that user sees.
    Nobodys(String),
}

impl Service {
    /// As the unit says, where it is installed.
    pub(super) async fn installed() -> Option<Self> {
        let shown = systemd::show(systemd::AGENT, &["LoadState", "User", "AmbientCapabilities"]).await;
        let unit = shown.first().filter(|unit| unit.get("LoadState").is_some_and(|state| state == "loaded"))?;
        let property = |name: &str| unit.get(name).map(String::as_str).unwrap_or_default();
        let user = Some(property("User")).filter(|user| !user.is_empty()).unwrap_or("root");
        let reads_all = user == "root" || property("AmbientCapabilities").to_ascii_lowercase().contains(READS_ALL);
        Some(Self { user: user.to_owned(), reads_all })
    }

    /// Its user's number.
    pub(super) fn uid(&self) -> Option<u32> {
        Accounts::of_system().user(&self.user)
    }
}

impl Eyes {
    /// Those that see what `service` sees; where none is installed, who starts the agent is who looks.
    pub(super) fn for_service(service: Option<Service>) -> Self {
        match service {
            None => Self::Own,
            Some(service) if service.uid() == Some(geteuid().as_raw()) => Self::Own,
            Some(Service { user, reads_all }) => match (geteuid().is_root(), reads_all) {
                (true, true) => Self::Own,
                (true, false) => Self::Of(user),
                (false, _) => Self::Nobodys(user),
            },
        }
    }
}

/// What becomes of a program that `user` runs, with that user's groups; only root can do that.
pub(super) async fn run_as(user: &str, program: &str, arguments: Vec<OsString>) -> Option<Output> {
    let mut all: Vec<OsString> = Vec::from([
        format!("--reuid={user}").into(),
        format!("--regid={user}").into(),
        "--init-groups".into(),
        "--inh-caps=-all".into(),
        "--".into(),
        program.into(),
    ]);
    all.extend(arguments);
    command::ask("setpriv", &all).await
}
