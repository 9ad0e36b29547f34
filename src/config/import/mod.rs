//! A configuration of Amazon's CloudWatch agent becomes one of ours: what both agents have is taken over, and of every
//! other setting it is said what became of it. Nothing is left out silently: each value is taken by somebody, or noted.
//! Pure. Not the reading of files, and not the check of the result.
//!
//! What the settings mean is in the CloudWatch user guide, "Manually create or edit the CloudWatch agent configuration
//! file".

mod document;
mod files;
mod general;
mod journal;
mod names;
mod patterns;
mod text;
mod time;

use std::fmt;

use document::{Log, Section};

use super::source::Attached;
use super::{Errors, Source};

/// Why a text is no such configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no JSON.
    #[error("{file}: {source}")]
    Json {
        /// The file.
        file: String,
        /// Where it is wrong, and how.
        source: serde_json::Error,
    },
    /// It is JSON, and not a configuration.
    #[error(
        "{file} is not a configuration of Amazon's CloudWatch agent: expected an object with `agent`, `logs` or `metrics`"
    )]
    NotAConfiguration {
        /// The file.
        file: String,
    },
    /// Two files that are to be merged contradict each other.
    #[error("{file} sets {path} to another value than a file before it; the CloudWatch agent would refuse that, too")]
    Contradiction {
        /// The second file.
        file: String,
        /// The setting.
        path: String,
    },
}

/// What became of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Which: `logs.logs_collected.files.collect_list[0].blacklist`.
    pub path: String,
    /// Its value, shortened; empty if it is not set.
    pub value: String,
    /// What became of it, and what to do.
    pub text: String,
    /// Whether it was taken over, and behaves differently.
    pub is_taken: bool,
}

impl Note {
    /// As it is said where everything is about what stands at `path`.
    fn below(&self, path: &str) -> String {
        let own = self.path.strip_prefix(path).map_or(self.path.as_str(), |rest| rest.trim_start_matches('.'));
        Self { path: own.to_owned(), ..self.clone() }.to_string()
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::one_line(&self.path))?;
        if !self.value.is_empty() {
            write!(f, " = {}", self.value)?;
        }
        write!(f, ": {}", self.text)
    }
}

/// The result.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The configuration.
    pub toml: String,
    /// What was not taken over, and what behaves differently.
    pub notes: Vec<Note>,
    /// The settings that were taken over.
    pub taken: Vec<String>,
}

/// Reads `files`, each a name and its text, as the CloudWatch agent merges them.
///
/// # Errors
/// When one is no JSON or no such configuration, or when two contradict each other.
pub fn import(files: &[(String, String)]) -> Result<Imported, Error> {
    let document = document::merged(files)?;
    let log = Log::default();
    let mut root = Section::root(document, &log);
    let mut body = String::new();
    general::agent(&mut root, &mut body);
    general::logs(&mut root, &mut body);
    general::unknown_to_us(&mut root);
    root.finish("the CloudWatch agent's documentation knows no such section, and this agent has none");
    let (notes, taken) = log.finish();
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    let toml = text::whole(&names, &notes, taken.len(), &body);
    Ok(Imported { toml, notes, taken })
}

/// Whether what was made is right.
///
/// # Errors
/// All that `config check` would say.
pub fn check(imported: &Imported) -> Result<(), Errors> {
    let source = Source::new("the configuration that was made".into(), imported.toml.clone());
    super::parse(vec![Ok(source)], Attached::Kept(Vec::new())).map(|_| ())
}

#[cfg(test)]
mod tests;
