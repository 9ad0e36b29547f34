//! `status --watch --json`: one report a line, for programs. Not the screen.

use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::super::exit::{FAILED, complain, failed};
use crate::fault::chain;
use crate::status::fetch;

/// Prints until nobody reads any more. While the daemon is away that is said once, on stderr.
pub(super) fn run(runtime: &Path, interval: Duration) -> ExitCode {
    let mut is_away = false;
    loop {
        match fetch(runtime) {
            Ok(report) => {
                is_away = false;
                match write(&report) {
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
                    Err(error) => return failed(FAILED, &error, None),
                    Ok(()) => {}
                }
            }
            Err(error) if !is_away => {
                is_away = true;
                complain(&format!("imds-agent: {}; it is asked again\n  → {}", chain(&error), error.hint()));
            }
            Err(_) => {}
        }
        std::thread::sleep(interval);
    }
}

fn write(report: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", in_one_line(report))?;
    stdout.flush()
}

/// JSON without what makes it pretty: no text in it holds a line's end.
fn in_one_line(json: &str) -> String {
    json.lines().map(str::trim_start).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_in_one_line_is_the_same_report() {
        let json = serde_json::json!({"a": [1, {"b": "two  spaces\nand a line"}], "c": ""});
        let pretty = serde_json::to_string_pretty(&json).unwrap() + "\n";
        let line = in_one_line(&pretty);
        assert!(pretty.lines().count() > 5 && !line.contains('\n'));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), json);
    }
}
