//! What the daemon says of itself: `tracing` events to the journal when systemd started it (fields kept as journal
//! fields), to stderr otherwise. Not metrics, and not what `status` shows.

mod fields;
mod output;
mod panics;

pub use panics::{named, report_panics};

use output::Output;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;

/// The variable that sets how much the daemon says: `off`, `error`, `warn`, `info`, `debug` or `trace`.
pub const LEVEL_VARIABLE: &str = "IMDS_AGENT_LOG";

/// Why nothing could be set up to hear the daemon.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The level is not one.
    #[error("{LEVEL_VARIABLE} is {value:?}, which is no level; use off, error, warn, info, debug or trace")]
    Level {
        /// What it was set to.
        value: String,
    },
    /// Somebody listens already: this was called twice.
    #[error("the log is set up already")]
    Twice(#[source] tracing::subscriber::SetGlobalDefaultError),
}

/// From now on, this process's events go to the journal if stderr is connected to it, else to stderr as text.
///
/// # Errors
/// When [`LEVEL_VARIABLE`] holds no level, or when it is called a second time.
pub fn start() -> Result<(), Error> {
    let level = level(std::env::var(LEVEL_VARIABLE).ok().as_deref())?;
    let subscriber = tracing_subscriber::registry().with(filter(level)).with(Output::of_this_process());
    tracing::subscriber::set_global_default(subscriber).map_err(Error::Twice)
}

fn level(variable: Option<&str>) -> Result<LevelFilter, Error> {
    match variable {
        None | Some("") => Ok(LevelFilter::INFO),
        Some(value) => value.parse().map_err(|_| Error::Level { value: value.to_owned() }),
    }
}

/// Ours at `level`; everybody else's at warn at most, since below that the SDK and its HTTP client show headers, and
/// with them session tokens.
fn filter(level: LevelFilter) -> Targets {
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target(env!("CARGO_CRATE_NAME"), level)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn without_the_variable_ours_are_heard_at_info() {
        let filter = filter(level(None).expect("a level"));
        assert!(filter.would_enable("imds_agent::logs", &Level::INFO));
        assert!(!filter.would_enable("imds_agent::logs", &Level::DEBUG));
    }

    #[test]
    fn foreign_crates_never_say_more_than_warnings() {
        let filter = filter(level(Some("trace")).expect("a level"));
        assert!(filter.would_enable("imds_agent::imds", &Level::TRACE));
        assert!(filter.would_enable("hyper::proto", &Level::WARN));
        assert!(!filter.would_enable("aws_smithy_runtime::client", &Level::INFO));
    }

    #[test]
    fn quieter_than_warnings_is_quieter_for_all() {
        let filter = filter(level(Some("error")).expect("a level"));
        assert!(!filter.would_enable("hyper::proto", &Level::WARN));
    }

    #[test]
    fn a_word_that_is_no_level_is_named() {
        let error = level(Some("loud")).expect_err("not a level");
        assert!(error.to_string().contains("\"loud\""), "{error}");
    }
}
