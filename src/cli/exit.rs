//! How a command ends: what it prints, how it says why it failed, and what the shell learns.

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use crate::fault::chain;

/// It worked.
const FINE: u8 = 0;

/// The command failed.
pub(super) const FAILED: u8 = 1;

/// What clap exits with when the command line is wrong.
pub(super) const USAGE: u8 = 2;

/// The daemon or service is unreachable (`EX_UNAVAILABLE` of sysexits).
pub(super) const UNREACHABLE: u8 = 69;

/// This user may not (`EX_NOPERM`).
pub(super) const NOT_ALLOWED: u8 = 77;

/// The configuration is wrong (`EX_CONFIG`).
pub(super) const CONFIGURATION: u8 = 78;

/// `exec`: the command is there and can't be run, as shells and env(1) say it.
pub(super) const CANNOT_RUN: u8 = 126;

/// `exec`: there is no such command, as shells and env(1) say it.
pub(super) const NO_COMMAND: u8 = 127;

/// What each code means, for the manual page.
pub(super) const MEANINGS: [(u8, &str); 8] = [
    (FINE, "It worked. Also the status of a daemon that is degraded."),
    (FAILED, "The command failed. Of explain: the error is not known. Of policy --compare: something is lacking."),
    (USAGE, "The command line is wrong."),
    (UNREACHABLE, "The daemon or service is unreachable."),
    (NOT_ALLOWED, "This user may not do that."),
    (CONFIGURATION, "The configuration is wrong."),
    (CANNOT_RUN, "exec: the command can't be run. Once it runs, its own exit status is that of exec."),
    (NO_COMMAND, "exec: there is no such command."),
];

/// Says on stderr what failed, with all its causes, and what cures it; returns `code`.
pub(super) fn failed(code: u8, error: &dyn std::error::Error, hint: Option<&str>) -> ExitCode {
    let cure = hint.map(|hint| format!("\n  → {hint}")).unwrap_or_default();
    complain(&format!("imds-agent: {}{cure}", chain(error)));
    ExitCode::from(code)
}

/// Says `text` on stderr. If even that is closed, nobody is left to be told.
pub(super) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", text.trim_end());
}

/// To stdout; a reader that has seen enough (`| head`) is no failure.
pub(super) fn print(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => failed(FAILED, &error, None),
        _ => ExitCode::SUCCESS,
    }
}
