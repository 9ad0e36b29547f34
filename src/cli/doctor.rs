//! `doctor`: what is wrong on this host, and the cure. Not the checks.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::exit::{CONFIGURATION, FAILED, USAGE, failed, print};
use crate::agent::{Directories, Environment, EnvironmentError};
use crate::clock::Clock;
use crate::config;
use crate::doctor::{self, Diagnosis, Ground, Step, UnknownCheck};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The configuration, if not the daemon's own
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Make this check and those it needs; may be given several times
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    only: Vec<String>,
    /// How far back the daemon's past failures count
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = super::duration::duration)]
    since: Duration,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error(transparent)]
    UnknownCheck(#[from] UnknownCheck),
    #[error("the event loop can't be started")]
    Loop(#[source] std::io::Error),
}

pub(crate) fn run(args: &Args) -> ExitCode {
    match examine(args) {
        Ok(diagnosis) => show(args, &diagnosis),
        Err(Error::Environment(error)) => failed(CONFIGURATION, &error, error.hint().as_deref()),
        Err(error @ Error::UnknownCheck(_)) => failed(USAGE, &error, None),
        Err(error @ Error::Loop(_)) => failed(FAILED, &error, None),
    }
}

fn examine(args: &Args) -> Result<Diagnosis, Error> {
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Loop)?;
    let diagnosis = event_loop.block_on(async {
        let of_service = doctor::service_environment(own_variable).await;
        let ground = ground(args, of_service)?;
        Ok::<_, Error>(doctor::visit(ground, &args.only, progress()).await?)
    })?;
    // A look that hangs on a dead disk must not keep the process from ending.
    event_loop.shutdown_background();
    Ok(diagnosis)
}

fn own_variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// `of_service`: what counts where this environment says nothing, if it can be used. If not, the service's end says so.
fn ground(args: &Args, mut of_service: BTreeMap<String, String>) -> Result<Ground, EnvironmentError> {
    let variable = |name: &str| own_variable(name).or_else(|| of_service.get(name).cloned());
    let environment = Environment::read(&variable).or_else(|_| {
        of_service.clear();
        Environment::from_process()
    })?;
    let Environment { imds, credentials, aws, region, .. } = environment;
    let Directories { state, runtime } = Directories::of_client();
    Ok(Ground {
        config_path: args.config.clone(),
        config: config::load(args.config.as_deref()),
        imds,
        credentials,
        aws,
        region,
        state_dir: state,
        runtime_dir: runtime,
        clock: Clock::system(),
        since: args.since,
        of_service: of_service.into_keys().collect(),
    })
}

/// Where somebody watches, one line that is written over.
fn progress() -> impl FnMut(&Step) {
    let is_watched = std::io::stderr().is_terminal();
    move |step| {
        if !is_watched {
            return;
        }
        let mut stderr = std::io::stderr().lock();
        let _ = match step.under_way.first() {
            None => write!(stderr, "\r\x1b[K"),
            Some(name) => write!(stderr, "\r\x1b[K{} of {}: {name}", step.done, step.all),
        };
        let _ = stderr.flush();
    }
}

fn show(args: &Args, diagnosis: &Diagnosis) -> ExitCode {
    let text = if args.json {
        match serde_json::to_string_pretty(diagnosis) {
            Ok(json) => json + "\n",
            Err(error) => return failed(FAILED, &error, None),
        }
    } else {
        doctor::render(diagnosis, super::status::style())
    };
    match print(&text) {
        ExitCode::SUCCESS if diagnosis.has_fault() => ExitCode::from(FAILED),
        code => code,
    }
}
