//! Where events go: the journal, with every field as a journal field, or stderr as text. Not which events: the filter
//! decides that.

use std::io::Write as _;

use jiff::Timestamp;
use systemd_journal_logger::{JournalLog, connected_to_journal};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::fields::Fields;

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
}

impl<S: Subscriber> Layer<S> for Output {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        // Nobody could be told that telling failed; above all, a closed stderr must not stop the daemon.
        let _ = match self {
            Self::Journal(journal) => to_journal(journal, event.metadata(), &fields),
            Self::Stderr => std::io::stderr().write_all(text(Timestamp::now(), event.metadata(), &fields).as_bytes()),
        };
    }
}

/// The fields stand in the message too: `journalctl` shows nothing else unless asked.
fn to_journal(journal: &JournalLog, metadata: &Metadata<'_>, fields: &Fields) -> std::io::Result<()> {
    let pairs: Vec<(&str, &str)> = fields.pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let line = fields.line();
    journal.journal_send(
        &log::Record::builder()
            .level(log_level(*metadata.level()))
            .target(metadata.target())
            .module_path(metadata.module_path())
            .file(metadata.file())
            .line(metadata.line())
            .key_values(&pairs)
            .args(format_args!("{line}"))
            .build(),
    )
}

fn text(at: Timestamp, metadata: &Metadata<'_>, fields: &Fields) -> String {
    format!("{at:.3} {:5} {}\n", metadata.level().as_str(), fields.line())
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
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Keeps the lines instead of writing them.
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            let at = "2026-11-22T12:00:00.5Z".parse().expect("a timestamp");
            self.0.lock().expect("not poisoned").push(text(at, event.metadata(), &fields));
        }
    }

    fn lines_of(say: impl FnOnce()) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::registry().with(Kept(lines.clone()));
        tracing::subscriber::with_default(subscriber, say);
        std::mem::take(&mut *lines.lock().expect("not poisoned"))
    }

    #[test]
    fn a_line_has_time_level_message_and_fields() {
        let lines = lines_of(|| tracing::warn!(role = "app", attempt = 3, error = %"no route: gone", "refresh failed"));
        let expected = "2026-11-22T12:00:00.500Z WARN  refresh failed role=app attempt=3 error=\"no route: gone\"\n";
        assert_eq!(lines, [expected]);
    }

    #[test]
    fn each_level_keeps_its_place_in_the_journal() {
        let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        assert_eq!(levels.map(log_level).map(|level| level as usize), [1, 2, 3, 4, 5]);
    }
}
