//! `credentials who`: who was given which role lately, and who was refused. Not the record itself: that is the daemon's,
//! and for good the journal's.

use std::process::ExitCode;
use std::time::Duration;

use super::{Door, refused};
use crate::cli::exit::print;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> ExitCode {
    match Door::of_system().ask("GET", "/who", Duration::ZERO) {
        Ok(answer) if args.json => print(&answer),
        Ok(answer) => print(&answer),
        Err(error) => refused(&error),
    }
}
