//! Where lines go: the journal, with every field as a journal field, or stderr as text. Not which lines, and not when.

use std::io::Write as _;

use jiff::Timestamp;
use systemd_journal_logger::{JournalLog, connected_to_journal};
use tracing::{Level, Metadata};

use super::fields::Fields;

/// One event, ready to be written.
pub(super) struct Line {
    pub(super) at: Timestamp,
    pub(super) metadata: &'static Metadata<'static>,
    pub(super) fields: Fields,
}

/// One of the two places.
pub(super) enum Output {
    Journal(JournalLog),
    Stderr,
}

impl Output {
    /// The journal if `JOURNAL_STREAM` says that stderr leads there and journald answers.
    pub(super) fn of_this_process() -> Self {
        if connected_to_journal()
            && let Ok(journal) = JournalLog::new()
        {
            Self::Journal(journal)
        } else {
            Self::Stderr
        }
    }

    pub(super) fn write(&self, line: &Line) {
        // Nobody could be told that telling failed; above all, a closed stderr must not stop the daemon.
        let _ = match self {
            Self::Journal(journal) => to_journal(journal, line),
            Self::Stderr => std::io::stderr().write_all(text(line).as_bytes()),
        };
    }
}

/// The fields stand in the message too: `journalctl` shows nothing else unless asked.
fn to_journal(journal: &JournalLog, line: &Line) -> std::io::Result<()> {
    let Line { metadata, fields, .. } = line;
    let pairs: Vec<(&str, &str)> = fields.pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let message = fields.line();
    journal.journal_send(
        &log::Record::builder()
            .level(log_level(*metadata.level()))
            .target(metadata.target())
            .module_path(metadata.module_path())
            .file(metadata.file())
            .line(metadata.line())
            .key_values(&pairs)
            .args(format_args!("{message}"))
            .build(),
    )
}

pub(super) fn text(line: &Line) -> String {
    format!("{:.3} {:5} {}\n", line.at, line.metadata.level().as_str(), line.fields.line())
}

fn log_level(level: Level) -> log::Level {
    match level {
        Level::ERROR => log::Level::Error,
        Level::WARN => log::Level::Warn,
        Level::INFO => log::Level::Info,
        Level::DEBUG => log::Level::Debug,
        Level::TRACE => log::Level::Trace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_keeps_its_place_in_the_journal() {
        let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        assert_eq!(levels.map(log_level).map(|level| level as usize), [1, 2, 3, 4, 5]);
    }
}
