//! `credentials`: hands a role's credentials to whoever runs it, as far as the daemon lets them have it; has them
//! refreshed; shows who had which. Not the decision who may: that is the daemon's alone.
//!
//! Words go to stderr, so that stdout holds credentials or nothing.

mod door;
mod handed;
mod refresh;
mod who;

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;

use super::duration::duration;
use super::exit::{failed, print};
pub(super) use door::{Door, Error};
use handed::Format;
pub(super) use handed::{HandedOut, REGION_VARIABLES, region};

/// `imds-agent credentials …`
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The role, a [[role]] of the configuration; without it, the one that the daemon itself has
    #[arg(long, value_name = "NAME", value_parser = role_name)]
    role: Option<String>,
    /// How they are printed
    #[arg(long, value_enum, default_value_t = Format::Process)]
    format: Format,
    /// How long to wait where the daemon or the role is not there yet: 30s, 5m
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    wait: Duration,
}

#[derive(Subcommand)]
enum Command {
    /// Have a role's credentials fetched anew
    ///
    /// Those that are in use stay valid. Who may have the role may have it refreshed, and so may root.
    Refresh(refresh::Args),
    /// Show who was given which role lately, and who was refused
    ///
    /// Root and the group imds-agent see all of it, others what concerns themselves.
    Who(who::Args),
}

pub(crate) fn run(args: &Args) -> ExitCode {
    match &args.command {
        Some(Command::Refresh(args)) => refresh::run(args),
        Some(Command::Who(args)) => who::run(args),
        None => match hand_out(args.role.as_deref(), args.wait) {
            Ok(handed) => {
                let region = region(|name| std::env::var_os(name), handed.region.as_deref());
                print(&handed.written(args.format, region.as_deref()))
            }
            Err(error) => refused(&error),
        },
    }
}

/// The credentials of `role`, or of the daemon itself.
pub(super) fn hand_out(role: Option<&str>, wait: Duration) -> Result<HandedOut, Error> {
    let path = role.map_or_else(|| "/base".to_owned(), |name| format!("/role/{name}"));
    let target = |seconds| if seconds == 0 { path.clone() } else { format!("{path}?wait={seconds}") };
    let door = Door::of_system();
    let answer = door.get_within(wait, target)?;
    HandedOut::parse(&answer).map_err(|reason| door.garbage(reason))
}

/// Says why not.
pub(super) fn refused(error: &Error) -> ExitCode {
    failed(error.code(), error, error.hint())
}

/// A name that a role can have: with any other one, the question itself could mean something else.
pub(super) fn role_name(text: &str) -> Result<String, String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(is_allowed) {
        return Ok(text.to_owned());
    }
    Err("a role's name has 1 to 64 letters, digits, '_', '.' and '-'".to_owned())
}
