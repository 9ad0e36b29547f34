//! `status`: what the running daemon is doing now, as a screen, as JSON, or as a screen that goes on. Not the drawing.

mod lines;
mod watch;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use super::exit::{FAILED, NOT_ALLOWED, UNREACHABLE, USAGE, complain, failed, print};
use crate::agent::Directories;
use crate::status::{ClientError, Report, Style, fetch, render};

/// How often a person wants to see figures move.
const USUAL_INTERVAL: &str = "1s";

/// Asked more often, a daemon with many sources would be kept busy by being watched.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print the daemon's report as JSON
    #[arg(long)]
    json: bool,
    /// Go on showing it, on the whole screen; with --json, print one report a line
    #[arg(long)]
    watch: bool,
    /// How often to look
    #[arg(long, value_name = "DURATION", requires = "watch", default_value = USUAL_INTERVAL, value_parser = interval)]
    interval: Duration,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = super::duration::duration(text)?;
    if interval < SHORTEST_INTERVAL {
        return Err(format!("at least {} ms: being watched costs the daemon, too", SHORTEST_INTERVAL.as_millis()));
    }
    Ok(interval)
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let runtime = Directories::of_client().runtime;
    if args.watch && args.json {
        return lines::run(&runtime, args.interval);
    }
    if args.watch {
        if !std::io::stdout().is_terminal() {
            complain(
                "imds-agent: --watch draws on a terminal, and stdout is none\n  \
                 → imds-agent status --watch --json prints a report a line, imds-agent status prints the screen once",
            );
            return ExitCode::from(USAGE);
        }
        return watch::run(&runtime, args.interval, style());
    }
    let json = match fetch(&runtime) {
        Ok(json) => json,
        Err(error) => return failed(code(&error), &error, Some(&error.hint())),
    };
    if args.json {
        return print(&json);
    }
    match serde_json::from_str::<Report>(&json) {
        Ok(report) => print(&render(&report, style())),
        Err(error) => {
            let (message, hint) = undrawable(&error);
            complain(&format!("imds-agent: {message}\n  → {hint}"));
            ExitCode::from(FAILED)
        }
    }
}

/// What is said of a report by a daemon of another version, and the cure.
fn undrawable(error: &serde_json::Error) -> (String, &'static str) {
    let message = format!("the daemon's report is not one that this version can draw: {error}");
    (message, "imds-agent status --json prints it as it is; systemctl restart imds-agent starts this version")
}

fn code(error: &ClientError) -> u8 {
    match error {
        ClientError::Unreachable { .. } | ClientError::Silent { .. } => UNREACHABLE,
        ClientError::NotAllowed { .. } => NOT_ALLOWED,
        ClientError::Garbage { .. } => FAILED,
    }
}

/// Colour for a person at a terminal who did not ask for none (no-color.org), its width, and what the locale can show.
pub(super) fn style() -> Style {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let stdout = std::io::stdout();
    let is_terminal = stdout.is_terminal();
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let size = rustix::termios::tcgetwinsize(&stdout).ok().filter(|size| is_terminal && size.ws_col > 0);
    Style {
        colour: is_terminal && !set("NO_COLOR") && !dumb,
        unicode: is_unicode(|name| std::env::var(name).ok()),
        columns: size.map_or(Style::default().columns, |size| size.ws_col.into()),
    }
}

/// Whether the locale is one of UTF-8, by the first of its variables that is set (POSIX, "Internationalization
/// Variables"). With none at all, as in a unit or a container, what is printed is UTF-8 like all of Linux.
fn is_unicode(variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty());
    locale.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_decides_on_unicode() {
        let with = |variables: &'static [(&str, &str)]| {
            is_unicode(|name| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned()))
        };
        assert!(with(&[]));
        assert!(with(&[("LANG", "de_DE.UTF-8")]) && with(&[("LC_ALL", "C.utf8"), ("LANG", "C")]));
        assert!(with(&[("LC_ALL", ""), ("LC_CTYPE", "C.UTF-8"), ("LANG", "C")]));
        assert!(!with(&[("LANG", "C")]) && !with(&[("LC_ALL", "POSIX"), ("LANG", "en_US.UTF-8")]));
        assert!(!with(&[("LANG", "de_DE.ISO-8859-1")]));
    }

    #[test]
    fn an_interval_that_would_keep_the_daemon_busy_is_refused() {
        assert_eq!(interval("100ms"), Ok(Duration::from_millis(100)));
        assert!(interval("0s").unwrap_err().contains("at least 100 ms"));
    }
}
