//! The file and its drop-ins become validated settings of each room, or errors that cite the place: file, line,
//! column, the cited line, a caret and the names that were expected; all of them in one go. Not the meaning of the
//! settings: rooms own theirs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{credentials, imds, logs};

/// The whole configuration, validated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `None` for `"auto"`: `AWS_REGION`, then IMDS.
    pub region: Option<String>,
    /// The `[imds]` table.
    pub imds: imds::Settings,
    /// The `[credentials]` table.
    pub credentials: credentials::Settings,
    /// The `[variables]` table.
    pub variables: BTreeMap<String, String>,
    /// The `[logs]` table.
    pub logs: logs::Settings,
}

/// All that is wrong with a configuration, ready to be shown.
#[derive(Debug, thiserror::Error)]
#[error("skeleton")]
pub struct Errors {}

/// Where the configuration is unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/imds-agent/config.toml";

/// A configuration and the files it was read from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// The files, in the order they were read; empty when there is none at the default path.
    pub files: Vec<PathBuf>,
}

/// Reads `path` (or the default path, where a missing file means all defaults) and the drop-ins beside it.
///
/// # Errors
/// All that is wrong, in one go.
pub fn load(_path: Option<&Path>) -> Result<Loaded, Errors> {
    unimplemented!("skeleton")
}
