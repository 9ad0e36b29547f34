//! The command line: one file per subcommand; the only place that prints or exits.

#[cfg(feature = "emulator")]
mod emulator;

/// What the emulator's worktree needs of the command line to be tried.
#[derive(Debug, clap::Parser)]
enum Command {
    /// IMDSv2, STS and CloudWatch Logs for development, on loopback
    #[cfg(feature = "emulator")]
    Emulator(emulator::Args),
}

/// The whole program: what `main` returns.
#[must_use]
pub fn main() -> std::process::ExitCode {
    match <Command as clap::Parser>::parse() {
        #[cfg(feature = "emulator")]
        Command::Emulator(args) => emulator::run(args),
    }
}
