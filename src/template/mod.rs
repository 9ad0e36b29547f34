//! Names with holes: `{instance_id}/{file_name}`, each with an optional fallback, `{tag:Name|none}`. A hole that can't
//! be filled yet makes the whole name wait; it never becomes "unknown". Not the place for where the values come from.

use std::collections::BTreeMap;

/// The values that are known so far, by the name in the braces (`instance_id`, `tag:Name`, `environment`…).
pub type Names = BTreeMap<String, String>;

/// A name with holes, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
}

/// A template that can't be parsed, with the byte offset of the fault in its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Where in the text.
    pub offset: usize,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl Template {
    /// Parses `text`. `variables` are the names of `[variables]`; with the built-in ones they are all that may stand in braces.
    ///
    /// # Errors
    /// For an unclosed brace, an unknown name (the error lists the known ones) or an empty one.
    pub fn parse(_text: &str, _variables: &[&str]) -> Result<Self, Error> {
        unimplemented!("skeleton")
    }

    /// The text as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The name with its holes filled from `names`.
    ///
    /// # Errors
    /// The names that are neither known nor have a fallback.
    pub fn fill(&self, _names: &Names) -> Result<String, Vec<String>> {
        unimplemented!("skeleton")
    }
}
