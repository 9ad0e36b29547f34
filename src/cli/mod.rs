//! The command line: one file per subcommand; the only place that prints or exits.

mod config;

use clap::Parser;

#[derive(Parser)]
#[command(name = "imds-agent", version)]
enum Command {
    /// Check, show or begin a configuration
    Config(config::Args),
}

/// The whole program: what `main` returns.
#[must_use]
pub fn main() -> std::process::ExitCode {
    match Command::parse() {
        Command::Config(args) => config::run(args),
    }
}
