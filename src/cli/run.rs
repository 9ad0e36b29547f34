//! `run`: the daemon in the foreground, as systemd starts it. It prints nothing on stdout. Not the daemon itself.

use std::path::PathBuf;
use std::process::ExitCode;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::{CONFIGURATION, FAILED, NOT_ALLOWED, complain, failed};
use crate::agent::shutdown::{Signal, second_signal};
use crate::agent::{self, Daemon, Directories, Environment};
use crate::config::{self, Loaded};
use crate::telemetry;

/// Threads for what would block the loop: reading files, syncing, looking up names. Enough that name servers that
/// don't answer (one thread a lookup) leave some for the files, few enough that their stacks don't count.
const BLOCKING_THREADS: usize = 16;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration; drop-ins are read from conf.d/ beside it
    #[arg(long, value_name = "FILE", help = format!("The configuration, instead of {}", config::DEFAULT_PATH))]
    config: Option<PathBuf>,
}

/// Why the daemon did not start, or ended.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    #[error(transparent)]
    Configuration(#[from] config::Errors),
    #[error(transparent)]
    Agent(#[from] agent::Error),
    #[error("the event loop can't be started")]
    Loop(#[source] std::io::Error),
    #[error("the signals that stop the daemon can't be listened to")]
    Signals(#[source] std::io::Error),
}

pub(crate) fn run(args: &Args) -> ExitCode {
    live(args).unwrap_or_else(|error| match &error {
        // Cited places and carets, made to be shown as they are.
        Error::Configuration(errors) => {
            complain(&errors.to_string());
            ExitCode::from(CONFIGURATION)
        }
        Error::Telemetry(_) => failed(CONFIGURATION, &error, None),
        Error::Agent(cause) if cause.is_configuration() => failed(CONFIGURATION, &error, cause.hint().as_deref()),
        Error::Agent(cause) if cause.is_denial() => failed(NOT_ALLOWED, &error, cause.hint().as_deref()),
        Error::Agent(_) | Error::Loop(_) | Error::Signals(_) => failed(FAILED, &error, None),
    })
}

/// The life of the process.
fn live(args: &Args) -> Result<ExitCode, Error> {
    telemetry::start()?;
    telemetry::report_panics();
    forbid_core_dumps();
    let loaded = config::load(args.config.as_deref())?;
    let environment = Environment::from_process().map_err(agent::Error::from)?;
    let event_loop = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(Error::Loop)?;
    let end = event_loop.block_on(until_stopped(loaded, environment));
    // A read that hangs on a dead disk must not keep the process from ending.
    event_loop.shutdown_background();
    end
}

async fn until_stopped(loaded: Loaded, environment: Environment) -> Result<ExitCode, Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let next = async || {
        tokio::select! {
            _ = terminate.recv() => Signal::Terminate,
            _ = interrupt.recv() => Signal::Interrupt,
        }
    };
    let stop = CancellationToken::new();
    let daemon = Daemon::start(loaded, &Directories::of_daemon(), environment, stop.clone()).await?;
    tokio::select! {
        () = daemon.finish() => Ok(ExitCode::SUCCESS),
        second = second_signal(next, &stop) => Ok(ExitCode::from(second.exit_code())),
    }
}

/// Memory holds credentials, and a core dump would write them to disk. It also keeps other processes of the same user
/// from looking into this one (ptrace(2)).
fn forbid_core_dumps() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "core dumps can't be forbidden");
    }
}
