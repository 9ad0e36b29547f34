//! `credentials refresh`: has the daemon fetch a role's credentials anew, or give it another token. Not the fetching.

use std::process::ExitCode;
use std::time::Duration;

use super::{Door, refused, role_name};
use crate::cli::exit::print;

/// How long the daemon may take to fetch: as long as it takes itself before it gives up an attempt.
const FETCH: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub(super) struct Args {
    /// The role; without it, the one that the daemon itself has
    #[arg(long, value_name = "NAME", value_parser = role_name)]
    role: Option<String>,
    /// Make the token of the role's address another one: who holds the old one has to read the file again
    #[arg(long, requires = "role")]
    token: bool,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let name = args.role.as_deref();
    let role = name.map(|name| format!("role={name}"));
    let token = args.token.then(|| "token=true".to_owned());
    let query = [role, token].into_iter().flatten().collect::<Vec<_>>().join("&");
    let target = if query.is_empty() { "/refresh".to_owned() } else { format!("/refresh?{query}") };
    match Door::of_system().ask("POST", &target, FETCH) {
        Ok(_) => {
            let token = if args.token { ", with another token" } else { "" };
            print(&format!("{} refreshed{token}\n", name.unwrap_or("the daemon's own role")))
        }
        Err(error) => refused(&error),
    }
}
