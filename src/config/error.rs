//! All that is wrong with a configuration, drawn for a person: `file:line:column: what`, the cited line, a caret under
//! the fault, and the cure. Not how faults are found.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// How much of a long line is shown around the fault: what fits a usual terminal beside the line's number.
const EXCERPT_CHARS: usize = 100;

/// All that is wrong with a configuration, ready to be shown.
#[derive(Debug)]
pub struct Errors {
    diagnostics: Vec<Diagnostic>,
    count: usize,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The file it is in, or could not be read.
    #[serde(serialize_with = "lossy")]
    pub file: PathBuf,
    /// The line, from 1; `None` when the fault is the file itself.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// What is wrong, and what was expected.
    pub message: String,
    /// What cures it, when more can be said than the message does.
    pub hint: Option<String>,
    /// The other place, of a key that is set twice.
    pub other: Option<OtherPlace>,
    #[serde(skip)]
    pub(super) excerpt: Option<Excerpt>,
}

/// A second place that a diagnostic is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OtherPlace {
    /// What is there.
    pub label: String,
    /// The file.
    #[serde(serialize_with = "lossy")]
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    #[serde(skip)]
    pub(super) excerpt: Excerpt,
}

/// The cited line, cut to what can be shown, with no control characters in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    line: usize,
    text: String,
    /// Where the caret stands and how many there are, in characters of `text`.
    caret: (usize, usize),
}

impl Errors {
    /// `diagnostics` are those to show; `count` is how many there are in all.
    pub(super) fn new(diagnostics: Vec<Diagnostic>, count: usize) -> Self {
        Self { diagnostics, count }
    }

    /// How many things are wrong, those not shown included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The first thing that is wrong and where, in one line, and how many more there are.
    #[must_use]
    pub fn summary(&self) -> String {
        let first = self.diagnostics.first().map(Diagnostic::line).unwrap_or_default();
        match self.count.saturating_sub(1) {
            0 => first,
            1 => format!("{first} (and 1 more error)"),
            more => format!("{first} (and {more} more errors)"),
        }
    }

    /// What is wrong, by file and place.
    pub fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter()
    }
}

impl Diagnostic {
    /// `file:line:column: what`.
    #[must_use]
    pub fn line(&self) -> String {
        let place = match (self.line, self.column) {
            (Some(line), Some(column)) => format!(":{line}:{column}"),
            _ => String::new(),
        };
        format!("{}{place}: {}", printable(&self.file.to_string_lossy()), printable(&self.message))
    }
}

impl std::error::Error for Errors {}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.diagnostics {
            writeln!(f, "{diagnostic}")?;
        }
        let plural = if self.count == 1 { "" } else { "s" };
        write!(f, "{} error{plural} in the configuration", self.count)?;
        if self.count > self.diagnostics.len() {
            write!(f, ", the first {} shown", self.diagnostics.len())?;
        }
        Ok(())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.line())?;
        let excerpts = self.excerpt.iter().chain(self.other.as_ref().map(|other| &other.excerpt));
        let margin = excerpts.map(|excerpt| excerpt.line.to_string().len()).max().unwrap_or(0);
        if let Some(excerpt) = &self.excerpt {
            excerpt.draw(f, margin)?;
        }
        if let Some(other) = &self.other {
            let place = format!("{} at {}:{}:{}", other.label, other.file.display(), other.line, other.column);
            writeln!(f, "{:margin$} = {}", "", printable(&place))?;
            other.excerpt.draw(f, margin)?;
        }
        if let Some(hint) = &self.hint {
            writeln!(f, "{:margin$} = {}", "", printable(hint))?;
        }
        Ok(())
    }
}

impl Excerpt {
    /// Cites `text`, which is line number `line`, with carets under `length` characters from character `start`.
    pub(super) fn new(line: usize, text: &str, start: usize, length: usize) -> Self {
        let skipped = if start > EXCERPT_CHARS { start - EXCERPT_CHARS / 2 } else { 0 };
        let mut shown = String::new();
        if skipped > 0 {
            shown.push('…');
        }
        let mut rest = text.chars().skip(skipped);
        shown.extend(rest.by_ref().take(EXCERPT_CHARS));
        if rest.next().is_some() {
            shown.push('…');
        }
        let start = start - skipped + usize::from(skipped > 0);
        let room = shown.chars().count().saturating_sub(start);
        Self { line, text: printable(&shown), caret: (start, length.clamp(1, room.max(1))) }
    }

    fn draw(&self, f: &mut fmt::Formatter<'_>, margin: usize) -> fmt::Result {
        let (start, length) = self.caret;
        let mut drawing = String::new();
        writeln!(drawing, "{:margin$} |", "")?;
        writeln!(drawing, "{:>margin$} | {}", self.line, self.text)?;
        writeln!(drawing, "{:margin$} | {:start$}{:^<length$}", "", "", "")?;
        f.write_str(&drawing)
    }
}

/// JSON has no other way to hold a path that is not UTF-8.
fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// Text of the configuration as a terminal may see it: no control characters, which could rewrite the screen.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c == '\t' { ' ' } else { c }).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(excerpt: &Excerpt) -> String {
        let file = PathBuf::from("a.toml");
        let (message, excerpt) = ("wrong".to_owned(), Some(excerpt.clone()));
        Diagnostic { file, line: Some(12), column: Some(1), message, hint: None, other: None, excerpt }.to_string()
    }

    #[test]
    fn the_caret_stands_under_the_fault() {
        let excerpt = Excerpt::new(12, "key = valeu", 6, 5);
        assert_eq!(drawn(&excerpt), "a.toml:12:1: wrong\n   |\n12 | key = valeu\n   |       ^^^^^\n");
    }

    #[test]
    fn a_long_line_is_cut_around_the_fault() {
        let line = format!("{}X{}", "a".repeat(5000), "b".repeat(5000));
        let excerpt = Excerpt::new(1, &line, 5000, 1);
        assert!(excerpt.text.chars().count() <= EXCERPT_CHARS + 2);
        assert_eq!(excerpt.text.chars().nth(excerpt.caret.0), Some('X'));
    }

    #[test]
    fn a_fault_behind_the_end_of_a_line_has_one_caret() {
        assert_eq!(Excerpt::new(1, "key =", 5, 30).caret, (5, 1));
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let excerpt = Excerpt::new(1, "a\t\u{1b}[2Jb", 0, 1);
        assert_eq!(excerpt.text, "a \u{fffd}[2Jb");
    }
}
