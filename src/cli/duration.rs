//! Durations as a person types them behind an option: `30s`, `20m`, `1h 30m`. Not those of the configuration, which has
//! its own units.

use std::time::Duration;

use jiff::SignedDuration;

/// What clap takes for a duration.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed: SignedDuration = text.parse().map_err(|error| format!("{error}; a duration is like 30s, 20m or 6h"))?;
    Duration::try_from(parsed).map_err(|_| "a duration can't be negative".into())
}
