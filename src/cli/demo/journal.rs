//! The machine's journal as a source of the demo: whether it can be read, and where its last few entries begin. Not the
//! reading, which is the shipper's.

use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::logs::{JournalSettings, StartAt, Target};

/// The log stream of what comes from the journal.
pub(super) const STREAM: &str = "journal";

/// So many entries are shipped before those that come: something to see on the quietest machine, nothing to wait for on
/// the busiest.
const LAST: usize = 200;

/// Where it is looked for, as by the shipper.
const BINARY: &str = "/usr/bin/journalctl";

/// How long it may take to find those: seeking from the end is a matter of milliseconds, but not on every disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// Behind which entry the demo begins; behind none if there are so few.
#[derive(Debug)]
pub(super) struct Beginning(Option<String>);

/// Looks for it.
///
/// # Errors
/// When there is no journal, or it may not be read: why, in words.
pub(super) async fn look() -> Result<Beginning, String> {
    let lines = format!("--lines={}", LAST + 1);
    let mut journalctl = Command::new(BINARY);
    journalctl
        .args(["--quiet", "--no-pager", "--output=json", "--output-fields=MESSAGE_ID", &lines])
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    match timeout(PATIENCE, journalctl.output()).await {
        Ok(Ok(output)) => understand(&output),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Err(format!("there is no {BINARY}")),
        Ok(Err(error)) => Err(format!("{BINARY} can't be run: {error}")),
        Err(_) => Err("journalctl does not answer".to_owned()),
    }
}

/// The whole journal from there on.
pub(super) fn settings(target: Target, Beginning(after): &Beginning) -> JournalSettings {
    JournalSettings { start_at: StartAt::Beginning, after: after.clone(), ..JournalSettings::new(target) }
}

fn understand(output: &Output) -> Result<Beginning, String> {
    let complaint = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let complaint = complaint.lines().next().unwrap_or_default().trim();
        return Err(if complaint.is_empty() {
            format!("journalctl ended with {}", output.status)
        } else {
            complaint.to_owned()
        });
    }
    let entries = String::from_utf8_lossy(&output.stdout);
    let cursor = |line: &str| {
        let entry: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(entry.get("__CURSOR")?.as_str()?.to_owned())
    };
    match (entries.lines().count(), entries.lines().next().and_then(cursor)) {
        (0, _) => Err("it holds no entry that we may read".to_owned()),
        (_, None) => Err("journalctl's answer is not understood".to_owned()),
        (1..=LAST, _) => Ok(Beginning(None)),
        (_, after) => Ok(Beginning(after)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    fn answer(code: i32, entries: usize, stderr: &str) -> Result<Option<String>, String> {
        let stdout = (0..entries).flat_map(|entry| format!("{{\"__CURSOR\":\"i={entry}\"}}\n").into_bytes()).collect();
        let output = Output { status: ExitStatus::from_raw(code << 8), stdout, stderr: stderr.into() };
        understand(&output).map(|beginning| beginning.0)
    }

    #[test]
    fn the_demo_begins_with_the_last_few_entries() {
        assert_eq!(answer(0, LAST + 1, ""), Ok(Some("i=0".to_owned())));
        assert_eq!(answer(0, LAST, ""), Ok(None), "all there are");
    }

    #[test]
    fn a_journal_that_cant_be_read_is_left_out_with_its_reason() {
        assert!(answer(0, 0, "").is_err());
        assert_eq!(
            answer(1, 0, "No journal files were opened.\nmore\n"),
            Err("No journal files were opened.".to_owned())
        );
        assert!(answer(1, 0, "").unwrap_err().contains("exit status: 1"));
    }
}
