//! `logs`: what a person does with logs on this host, one file a subcommand. Not the logs themselves: that is the room of
//! the same name.

mod dead_letters;
pub(super) mod send;

use std::process::ExitCode;

use clap::Subcommand;

/// `imds-agent logs …`
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send the lines of stdin to a log group that a [[logs.socket]] of the configuration declares
    ///
    /// Ends when the daemon has all of them on its disk; it ships them from there. A daemon that restarts meanwhile is
    /// waited for.
    Send(send::Args),
    /// List the events that CloudWatch would not take, or have them sent again
    DeadLetters(dead_letters::Args),
}

pub(crate) fn run(args: Args) -> ExitCode {
    match args.command {
        Command::Send(args) => send::run(args),
        Command::DeadLetters(args) => dead_letters::run(&args),
    }
}
