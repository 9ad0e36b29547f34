//! `status`: what the running daemon is doing now, as a screen or as JSON. Not the drawing.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use super::exit::{FAILED, NOT_ALLOWED, UNREACHABLE, complain, failed, print};
use crate::agent::Directories;
use crate::status::{ClientError, Report, Style, fetch, render};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print the daemon's report as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let json = match fetch(&Directories::of_client().runtime) {
        Ok(json) => json,
        Err(error) => return failed(code(&error), &error, Some(&error.hint())),
    };
    if args.json {
        return print(&json);
    }
    match serde_json::from_str::<Report>(&json) {
        Ok(report) => print(&render(&report, style())),
        Err(error) => {
            complain(&format!(
                "imds-agent: the daemon's report is not one that this version can draw: {error}\n  \
                 → imds-agent status --json prints it as it is; systemctl restart imds-agent starts this version"
            ));
            ExitCode::from(FAILED)
        }
    }
}

fn code(error: &ClientError) -> u8 {
    match error {
        ClientError::Unreachable { .. } | ClientError::Silent { .. } => UNREACHABLE,
        ClientError::NotAllowed { .. } => NOT_ALLOWED,
        ClientError::Garbage { .. } => FAILED,
    }
}

/// Colour for a person at a terminal who did not ask for none (no-color.org).
pub(super) fn style() -> Style {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    Style { colour: std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb }
}
