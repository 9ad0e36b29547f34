//! `credentials who`: who was given which role lately, and who was refused. Not the record itself: that is the daemon's,
//! and for good the journal's.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;

use super::door::printable;
use super::{Door, refused};
use crate::cli::exit::print;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What happened, as the daemon tells it: the last first.
#[derive(Deserialize)]
struct Entry {
    at: String,
    times: u64,
    outcome: String,
    role: String,
    door: String,
    uid: Option<u32>,
    pid: Option<i32>,
    unit: Option<String>,
    container: Option<String>,
    command: Option<String>,
    key_id_suffix: Option<String>,
    expiration: Option<String>,
    reason: Option<String>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let door = Door::of_system();
    let answer = match door.ask("GET", "/who", Duration::ZERO) {
        Ok(answer) => answer,
        Err(error) => return refused(&error),
    };
    match serde_json::from_str::<Vec<Entry>>(&answer) {
        Ok(_) if args.json => print(&(answer + "\n")),
        Ok(entries) if entries.is_empty() => print("nobody asked since the daemon started, as far as you may see\n"),
        Ok(entries) => print(&entries.iter().map(shown).collect::<String>()),
        Err(error) => refused(&door.garbage(error.to_string())),
    }
}

/// An entry as a person wants to see it: when, what, by whom; and below it what was given or why not.
fn shown(entry: &Entry) -> String {
    // To the second: what is behind it helps nobody.
    let second = |time: &str| time.parse::<jiff::Timestamp>().map_or_else(|_| time.to_owned(), |at| format!("{at:.0}"));
    let mut text = format!("{}  {:<8} {:<16} {:<10}", second(&entry.at), entry.outcome, entry.role, entry.door);
    let numbers = [("uid", entry.uid.map(i64::from)), ("pid", entry.pid.map(i64::from))];
    for (name, number) in numbers.iter().filter_map(|(name, number)| Some((name, (*number)?))) {
        let _ = write!(text, " {name} {number}");
    }
    let container = entry.container.as_ref().map(|name| format!("container {name}"));
    for word in [entry.command.as_ref(), entry.unit.as_ref(), container.as_ref()].into_iter().flatten() {
        let _ = write!(text, " {word}");
    }
    if entry.times > 1 {
        let _ = write!(text, " ({} times)", entry.times);
    }
    let key = entry.key_id_suffix.as_ref().map(|suffix| {
        let end = entry.expiration.as_deref().map_or("for good".to_owned(), |end| format!("until {}", second(end)));
        format!("key …{suffix}, {end}")
    });
    let outcome = entry.reason.clone().or(key).unwrap_or_default();
    // A command calls itself what it likes.
    format!("{}\n    {}\n", printable(&text), printable(&outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<Entry> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_was_given_and_what_was_refused_are_told_each_on_two_lines() {
        let told = entries(
            r#"[{"at":"2026-11-22T12:00:00.123Z","since":"2026-11-22T11:00:00Z","times":3,"outcome":"served","role":"app",
                 "door":"unix","uid":1000,"pid":77,"unit":"app.service","container":null,"command":"python3",
                 "key_id_suffix":"WXYZ","expiration":"2026-11-22T13:00:00Z","reason":null},
                {"at":"2026-11-22T11:59:00Z","times":1,"outcome":"refused","role":"app","door":"container","uid":null,
                 "command":"a\u001b[2J","reason":"the token is another one"}]"#,
        );
        assert_eq!(
            told.iter().map(shown).collect::<String>(),
            "2026-11-22T12:00:00Z  served   app              unix       uid 1000 pid 77 python3 app.service (3 times)\n    \
             key …WXYZ, until 2026-11-22T13:00:00Z\n\
             2026-11-22T11:59:00Z  refused  app              container  a[2J\n    the token is another one\n"
        );
    }
}
