//! The file and its drop-ins become validated settings of each room, or errors that cite the place: file, line,
//! column, the cited line, a caret and the names that were expected; all of them in one go. Not the meaning of the
//! settings: rooms own theirs.
//!
//! The way of a configuration: `source` reads the files, `document` makes them one tree in which every value knows
//! its place, `root` and the file of each table take the tree apart through `table::Reader`, and `report` turns
//! what was found wrong into [`Errors`].

mod allow;
mod credentials;
mod doctor;
mod document;
mod endpoints;
mod error;
mod globs;
mod imds;
pub mod import;
pub mod last_good;
mod logs;
mod names;
mod needs;
mod report;
mod role;
mod root;
mod session_policy;
mod show;
mod source;
mod spelling;
mod table;
mod units;
mod variables;

use std::collections::BTreeMap;
use std::path::Path;

use rustix::thread::{CapabilitySet, capabilities};

pub use error::{Diagnostic, Errors, OtherPlace};
pub use show::Effective;
pub use source::Source;

use report::{Read, Report};
use source::Attached;

/// The whole configuration, validated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `None` for `"auto"`: `AWS_REGION`, then IMDS.
    pub region: Option<String>,
    /// The `[imds]` table.
    pub imds: crate::imds::Settings,
    /// The `[credentials]` table and the `[[role]]` tables.
    pub credentials: crate::credentials::Settings,
    /// The `[endpoints]` table.
    pub endpoints: crate::endpoints::Settings,
    /// The `[variables]` table.
    pub variables: BTreeMap<String, String>,
    /// The `[logs]` table.
    pub logs: crate::logs::Settings,
    /// The `[doctor]` table.
    pub doctor: crate::policy::Settings,
}

/// Where the configuration is unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/imds-agent/config.toml";

/// A commented configuration that changes no default: what `config init` prints and packages install.
pub const SAMPLE: &str = include_str!("../../packaging/config.toml");

/// A configuration and the files it was read from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// The files, in the order they were read; empty when there is none at the default path.
    pub files: Vec<Source>,
    /// The files that these name, such as session policies.
    pub attachments: Vec<Source>,
}

/// Where each setting was found, as `file:line`, by its dotted name.
type Origins = BTreeMap<String, String>;

/// Reads `path` (or the default path, where a missing file means all defaults) and the drop-ins beside it.
///
/// # Errors
/// All that is wrong, in one go.
pub fn load(path: Option<&Path>) -> Result<Loaded, Errors> {
    read(path, trusted_user()).map(|(loaded, _)| loaded)
}

/// As [`load`], with where each setting comes from: what `config show` shows.
///
/// # Errors
/// All that is wrong, in one go.
pub fn effective(path: Option<&Path>) -> Result<Effective, Errors> {
    read(path, trusted_user()).map(|(loaded, origins)| Effective::new(loaded, origins))
}

/// Who alone may be able to write the configuration that this process reads, if that matters.
fn trusted_user() -> Option<u32> {
    trusted(rustix::process::geteuid().is_root(), capabilities(None).map(|sets| sets.effective))
}

/// Root, when the process may do more than its user: who writes the configuration of a privileged reader decides what
/// it ships. In doubt it is privileged.
fn trusted(is_root: bool, capabilities: rustix::io::Result<CapabilitySet>) -> Option<u32> {
    const ROOT: u32 = 0;
    let is_privileged = is_root || capabilities.map_or(true, |effective| !effective.is_empty());
    is_privileged.then_some(ROOT)
}

/// The main file.
fn main_file(path: Option<&Path>) -> &Path {
    path.unwrap_or(Path::new(DEFAULT_PATH))
}

fn read(path: Option<&Path>, trusted: Option<u32>) -> Result<(Loaded, Origins), Errors> {
    parse(source::read_all(main_file(path), path.is_some(), trusted), Attached::Disk(trusted))
}

fn parse(sources: Vec<Result<Source, source::Error>>, attached: Attached) -> Result<(Loaded, Origins), Errors> {
    let report = Report::new(sources, attached);
    let config = root::read(&report, document::read(&report));
    let Read { files, attachments, origins } = report.finish()?;
    Ok((Loaded { config, files, attachments }, origins))
}

#[cfg(test)]
mod manual;
#[cfg(test)]
mod role_tests;
#[cfg(test)]
mod tests;
