//! `logs dead-letters`: looks at the events that CloudWatch would not take, and has them sent again. Not the keeping of
//! them: that is the room of the same name.

use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use jiff::Timestamp;
use serde_json::json;

use crate::agent::Directories;
use crate::cli::exit::{FAILED, NOT_ALLOWED, complain, failed, print};
use crate::logs::dead_letters::{self, Error, Letter, Letters, Moved, REASONS, Selection};
use crate::status::fetch;

/// How much of a letter's text the list shows, in characters: what a line has room for.
const EXCERPT: usize = 100;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    which: Which,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Have them sent again, to the groups and streams they name
    Resend(Which),
}

#[derive(clap::Args)]
struct Which {
    /// Only those given up for this reason, in the words of `imds-agent status`
    #[arg(long, value_parser = REASONS)]
    reason: Option<String>,
    /// Only those for this log group
    #[arg(long, value_name = "LOG_GROUP")]
    group: Option<String>,
}

impl Which {
    fn selection(&self) -> Selection {
        Selection { reason: self.reason.clone(), log_group: self.group.clone() }
    }
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let state = Directories::of_client().state;
    match &args.command {
        None => list(&state, args),
        Some(Command::Resend(which)) => resend(&state, which),
    }
}

fn list(state: &Path, args: &Args) -> ExitCode {
    let found = match dead_letters::list(state, &args.which.selection()) {
        Ok(found) => found,
        // Where no daemon ever ran there is none.
        Err(error) if error.source.kind() == ErrorKind::NotFound => Letters::default(),
        Err(error) => return refused(&error),
    };
    if found.torn > 0 {
        complain(&format!("imds-agent: {} lines of '{}' are torn", found.torn, found.path.display()));
    }
    if args.json {
        let letters = json!({ "path": found.path, "letters": found.letters });
        return print(&format!("{letters:#}\n"));
    }
    if found.letters.is_empty() {
        return print("no dead letters\n");
    }
    print(&found.letters.iter().map(shown).collect::<String>())
}

/// A letter as a person wants to see it: when, why, where it was to go, where it came from, how it begins.
fn shown(letter: &Letter) -> String {
    let Letter { at, reason, log_group, log_stream, source, event } = letter;
    let text: String = event.message.chars().take(EXCERPT).collect();
    let more = if event.message.chars().nth(EXCERPT).is_some() { "…" } else { "" };
    let place = printable(&format!("{log_group} {log_stream}"));
    format!("{at:.0}  {}  {place}  {}\n    {}{more}\n", printable(reason), printable(source), printable(&text))
}

/// Text of others' making, without what could play tricks on a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn resend(state: &Path, which: &Which) -> ExitCode {
    let moved = match dead_letters::resend(state, &which.selection(), Timestamp::now()) {
        Ok(moved) => moved,
        Err(error) => return refused(&error),
    };
    let Moved { events, too_old, without_place } = moved;
    for (count, why) in [
        (too_old, "older than the 14 days that CloudWatch takes, and stay where they are"),
        (without_place, "without a group and a stream to go to, and stay where they are"),
    ] {
        if count > 0 {
            complain(&format!("imds-agent: {count} of them are {why}"));
        }
    }
    if events == 0 {
        let nothing_meant = too_old + without_place == 0;
        return if nothing_meant { print("no dead letters to send again\n") } else { ExitCode::from(FAILED) };
    }
    let who = match fetch(&Directories::of_client().runtime) {
        Ok(_) => "the daemon sends them within seconds: see `dead_letters` in imds-agent status",
        Err(_) => "they are sent when the daemon runs",
    };
    print(&format!("{events} to be sent again; {who}\n"))
}

fn refused(error: &Error) -> ExitCode {
    match error.source.kind() {
        ErrorKind::PermissionDenied => failed(NOT_ALLOWED, error, Some("run it as root: letters hold log data")),
        ErrorKind::WouldBlock => failed(FAILED, error, Some("the daemon is writing them: try again")),
        ErrorKind::NotFound => {
            failed(FAILED, error, Some("no daemon ever ran here; IMDS_AGENT_STATE_DIR names another"))
        }
        _ => failed(FAILED, error, None),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Arguments;
    use crate::logs::dead_letters::LetterEvent;

    #[test]
    fn a_reason_that_no_letter_can_have_is_refused_with_those_that_it_can_have() {
        let parsed = |arguments: &[&str]| {
            let words = ["imds-agent", "logs", "dead-letters"].iter().chain(arguments);
            Arguments::try_parse_from(words).map(|_| ()).map_err(|error| error.to_string())
        };
        for wrong in [["--reason", "to_new"].as_slice(), &["resend", "--reason", "filtered"]] {
            let said = parsed(wrong).unwrap_err();
            assert!(said.contains("too_old, too_new, expired, invalid"), "{said}");
        }
        assert_eq!(parsed(&["resend", "--reason", "too_new"]), Ok(()));
    }

    #[test]
    fn a_letter_is_shown_on_two_lines_whatever_it_holds() {
        let letter = Letter {
            at: "2026-11-22T12:00:00.5Z".parse().unwrap(),
            reason: "invalid".to_owned(),
            log_group: "/g".to_owned(),
            log_stream: "s".to_owned(),
            source: "/var/log/x".to_owned(),
            event: LetterEvent { timestamp: 1, message: format!("a\u{1b}[31m\nb{}", "x".repeat(200)) },
        };
        let text = shown(&letter);
        assert!(text.starts_with("2026-11-22T12:00:00Z  invalid  /g s  /var/log/x\n    a\u{fffd}[31m\u{fffd}bxxx"));
        assert!(text.ends_with("x…\n") && text.lines().count() == 2, "{text}");
    }
}
