//! What the shell learns, and how a command says why it failed. Usage errors (2) are clap's.

use std::io::Write as _;
use std::process::ExitCode;

use crate::fault::chain;

/// The command failed.
pub(super) const FAILED: u8 = 1;

/// The daemon or service is unreachable (`EX_UNAVAILABLE` of sysexits).
pub(super) const UNREACHABLE: u8 = 69;

/// This user may not (`EX_NOPERM`).
pub(super) const NOT_ALLOWED: u8 = 77;

/// The configuration is wrong (`EX_CONFIG`).
pub(super) const CONFIGURATION: u8 = 78;

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
