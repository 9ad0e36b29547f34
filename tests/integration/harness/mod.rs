//! What every suite stands on: a host made of temporary directories, the agent's real binary on it, the emulator and
//! moto on loopback, and waiting for conditions with a deadline. Not the promises: those are the suites'.

mod agent;
mod emulator;
mod host;
pub(crate) mod http;
mod journal_file;
mod lines;
mod moto;
pub(crate) mod python;
mod report;
mod systemd;
mod terminal;
mod tls;

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

pub(crate) use agent::{Agent, STOP_WITHIN};
pub(crate) use emulator::{Change, Denial, Effect, Emulator, Fault, Policy};
pub(crate) use host::{Host, set_mode};
pub(crate) use journal_file::JournalFile;
pub(crate) use lines::{Fates, Writer, append, assert_same_lines, fates, numbered};
pub(crate) use moto::{Moto, REGION as MOTO_REGION};
pub(crate) use report::Report;
pub(crate) use systemd::Systemd;
pub(crate) use terminal::Terminal;
pub(crate) use tls::{Authority, TlsFront};

/// How long a condition may take that takes well under a second on an idle machine: CI machines are not idle.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// Between two looks at a condition: short against what is waited for, long against the cost of looking.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until `look` finds something, at most until `within` has passed.
///
/// # Errors
/// With the time that was waited.
pub(crate) fn look_until<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T, Duration> {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if start.elapsed() > within {
            return Err(start.elapsed());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// An address of loopback at which nobody listens.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket has an address")
}
