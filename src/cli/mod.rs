//! The command line: one file per subcommand; the only place that prints or exits.

/// The whole program: what `main` returns.
#[must_use]
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
