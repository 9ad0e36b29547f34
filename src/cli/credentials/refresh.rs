//! `credentials refresh`: has the daemon fetch a role's credentials anew, or give it another token. Not the fetching.

use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;

use super::{Door, refused, role_name};
use crate::cli::exit::print;

/// How long the daemon may take to fetch: longer than it takes itself before it gives up.
const FETCH: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub(super) struct Args {
    /// The role; without it, the one that the daemon itself has
    #[arg(long, value_name = "NAME", value_parser = role_name)]
    role: Option<String>,
    /// Not its credentials but its token: make it another one, so that who holds the old one has to read the file again
    #[arg(long, requires = "role")]
    token: bool,
}

/// What the daemon fetched.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refreshed {
    expiration: Option<String>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let target = match &args.role {
        Some(name) if args.token => format!("/refresh?role={name}&token=true"),
        Some(name) => format!("/refresh?role={name}"),
        None => "/refresh".to_owned(),
    };
    let door = Door::of_system();
    let answer = match door.ask("POST", &target, FETCH) {
        Ok(answer) => answer,
        Err(error) => return refused(&error),
    };
    let role = args.role.as_deref().unwrap_or("the daemon's own role");
    match serde_json::from_str(&answer) {
        Ok(Refreshed { .. }) if args.token => print(&format!("{role} has another token\n")),
        Ok(Refreshed { expiration: Some(end) }) => print(&format!("{role} is refreshed, until {end}\n")),
        Ok(Refreshed { expiration: None }) => print(&format!("{role} is refreshed\n")),
        Err(error) => refused(&door.garbage(error.to_string())),
    }
}
