//! `run`: the daemon in the foreground, as systemd starts it. It prints nothing on stdout. Not the daemon itself.

use std::path::PathBuf;
use std::process::ExitCode;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::{CONFIGURATION, FAILED, NOT_ALLOWED, complain, failed};
use crate::agent::shutdown::{self, second_signal};
use crate::agent::{self, Configured, Daemon, Directories, Environment, Inherited};
use crate::config;
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
    #[error("the signals to the daemon can't be listened to")]
    Signals(#[source] std::io::Error),
}

pub(crate) fn run(args: &Args) -> ExitCode {
    live(args).unwrap_or_else(|error| match &error {
        // Cited places and carets, made to be shown as they are.
        Error::Configuration(errors) => {
            complain(&errors.to_string());
            ExitCode::from(CONFIGURATION)
        }
        Error::Telemetry(telemetry::Error::Level { .. }) => failed(CONFIGURATION, &error, None),
        Error::Agent(cause) if cause.is_configuration() => failed(CONFIGURATION, &error, cause.hint().as_deref()),
        Error::Agent(cause) if cause.is_denial() => failed(NOT_ALLOWED, &error, cause.hint().as_deref()),
        Error::Telemetry(_) | Error::Agent(_) | Error::Loop(_) | Error::Signals(_) => failed(FAILED, &error, None),
    })
}

/// The life of the process.
fn live(args: &Args) -> Result<ExitCode, Error> {
    // First, while nothing else is open: what is inherited is known by its number.
    let inherited = Inherited::from_process();
    let _listening = telemetry::start()?;
    telemetry::report_panics();
    forbid_core_dumps();
    let directories = Directories::of_daemon();
    let configured = Configured::at_start(args.config.as_deref(), &directories.state)?;
    let environment = Environment::from_process().map_err(agent::Error::from)?;
    let event_loop = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(Error::Loop)?;
    let end = event_loop.block_on(async {
        // Before anything else: until it is listened to, SIGHUP ends a process.
        let signals = Signals::listen()?;
        let stop = CancellationToken::new();
        let daemon = Daemon::start(configured, &directories, environment, inherited, stop.clone()).await?;
        Ok(until_stopped(daemon, signals, &stop).await)
    });
    // A read that hangs on a dead disk must not keep the process from ending.
    event_loop.shutdown_background();
    end
}

/// The signals that the daemon heeds.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(Error::Signals);
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }
}

async fn until_stopped(daemon: Daemon, signals: Signals, stop: &CancellationToken) -> ExitCode {
    let Signals { mut terminate, mut interrupt, mut hangup } = signals;
    let next = async || {
        tokio::select! {
            _ = terminate.recv() => shutdown::Signal::Terminate,
            _ = interrupt.recv() => shutdown::Signal::Interrupt,
        }
    };
    let reload_asked = async || {
        hangup.recv().await;
    };
    tokio::select! {
        () = daemon.run(reload_asked) => ExitCode::SUCCESS,
        second = second_signal(next, stop) => ExitCode::from(second.exit_code()),
    }
}

/// Memory holds credentials, and a core dump would write them to disk. It also keeps other processes of the same user
/// from looking into this one (ptrace(2)).
fn forbid_core_dumps() {
    // For a kernel that writes dumps of such processes all the same (fs.suid_dumpable). systemd has set it already, and
    // lets nobody set it again.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "core dumps can't be forbidden");
    }
}
