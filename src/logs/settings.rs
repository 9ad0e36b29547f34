//! The `[logs]` table, validated. Not its syntax: that is `config`'s.

use std::time::Duration;

use serde::Serialize;

use crate::template::Template;

/// What `PutRetentionPolicy` accepts, in days (CloudWatch Logs API reference).
pub const RETENTION_DAYS: [u16; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// The longest log group name, in characters.
pub const LONGEST_GROUP_NAME: usize = 512;

/// The longest log stream name, in characters.
pub const LONGEST_STREAM_NAME: usize = 512;

/// Where to begin in a file that the state does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StartAt {
    /// At the beginning on an instance that is new to our state, else at the end. Files that appear later: beginning.
    #[default]
    Auto,
    /// At the beginning.
    Beginning,
    /// At the end. Files that appear later: beginning.
    End,
}

/// Everything the log shipper needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The most a busy stream lingers before it sends what it has.
    pub flush_interval: Duration,
    /// The ceiling of all buffers, in bytes.
    pub memory_limit: u64,
    /// The `[[logs.file]]` tables.
    pub files: Vec<FileSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { flush_interval: Duration::from_secs(5), memory_limit: 16 << 20, files: Vec::new() }
    }
}

/// One `[[logs.file]]` table, its defaults from `[logs]` filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// Absolute glob patterns of files to follow.
    pub include: Vec<String>,
    /// Glob patterns of files to leave alone: of the whole path if they hold a `/`, else of the file's name.
    pub exclude: Vec<String>,
    /// The group events go to.
    pub log_group: Template,
    /// The stream events go to.
    pub log_stream: Template,
    /// How long CloudWatch keeps the group's events; `None` leaves that alone.
    pub retention_in_days: Option<u16>,
    /// Where to begin in a file seen for the first time.
    pub start_at: StartAt,
}
