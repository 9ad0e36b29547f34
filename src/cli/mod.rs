//! The command line: one file per subcommand; the only place that prints or exits.

mod completions;
mod config;
mod credentials;
#[cfg(feature = "emulator")]
mod demo;
mod doctor;
mod duration;
#[cfg(feature = "emulator")]
mod emulator;
mod exec;
mod exit;
mod explain;
mod firewall;
mod logs;
mod man;
mod metadata;
mod policy;
mod run;
mod status;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// Keeps an EC2 instance's credentials fresh and gets its log lines to `CloudWatch` Logs.
#[derive(Parser)]
#[command(name = "imds-agent", version, about = "Fresh role credentials and every log line in CloudWatch Logs")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon (what systemd starts)
    Run(run::Args),
    /// Show what the running daemon is doing now
    Status(status::Args),
    /// Say what is wrong on this host, and the cure
    Doctor(doctor::Args),
    /// Explain a denial, or another error, of AWS's
    Explain(explain::Args),
    /// Print a role's credentials, as far as the configuration lets this user have them
    Credentials(credentials::Args),
    /// Run a command that has a role
    ///
    /// SDKs in the command find the role's credentials by themselves, and fresh ones for as long as it runs, where the
    /// configuration has [endpoints.container]; else it is given credentials as they are, and their end is said.
    Exec(exec::Args),
    /// Check, show or begin a configuration
    Config(config::Args),
    /// Ask the instance metadata service
    Metadata(metadata::Args),
    /// Print the policy that the configuration needs, or hold an existing one against it
    Policy(policy::Args),
    /// Print what keeps other processes from the metadata service
    Firewall(firewall::Args),
    /// Send lines through the daemon, and look after what CloudWatch would not take
    Logs(logs::Args),
    /// Print the shell's completions for this command
    Completions(completions::Args),
    /// Print the manual page imds-agent(1), in roff
    Man,
    /// Show the whole thing on this machine, against the embedded emulator
    #[cfg(feature = "emulator")]
    Demo(demo::Args),
    /// Run `IMDSv2`, STS and `CloudWatch` Logs on loopback, for development
    #[cfg(feature = "emulator")]
    Emulator(emulator::Args),
}

/// The whole program: what `main` returns.
#[must_use]
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Credentials(args) => credentials::run(&args),
        Command::Exec(args) => exec::run(&args),
        Command::Config(args) => config::run(args),
        Command::Metadata(args) => metadata::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::Firewall(args) => firewall::run(&args),
        Command::Logs(args) => logs::run(args),
        Command::Completions(args) => completions::run(&args, Arguments::command()),
        Command::Man => man::run(Arguments::command()),
        #[cfg(feature = "emulator")]
        Command::Demo(args) => demo::run(&args),
        #[cfg(feature = "emulator")]
        Command::Emulator(args) => emulator::run(args),
    }
}
