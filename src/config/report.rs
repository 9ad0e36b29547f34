//! Collects what is wrong, by place, while a configuration is read, and turns places into lines and columns at the end.
//! Not how it is shown.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use super::error::{Diagnostic, Errors, Excerpt, OtherPlace};
use super::source::{self, Attached, Source};

/// How many faults are shown in one go: more than anybody cures before trying again.
const MOST_SHOWN: usize = 100;

/// A stretch of bytes in one of the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Index of the file, in the order they were read.
    pub(super) file: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// One fault, where it is.
#[derive(Debug)]
pub(super) struct Problem {
    place: Place,
    message: String,
    hint: Option<String>,
    other: Option<(String, Place)>,
    syntax: bool,
}

impl Problem {
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into(), hint: None, other: None, syntax: false }
    }

    /// The text is not TOML there, so that what was understood of that line is a guess.
    pub(super) fn syntax(self) -> Self {
        Self { syntax: true, ..self }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(super) fn also(self, label: impl Into<String>, place: Place) -> Self {
        Self { other: Some((label.into(), place)), ..self }
    }
}

/// The files, what is wrong in them, and where each setting was found.
#[derive(Debug)]
pub(super) struct Report {
    sources: Vec<Source>,
    unusable: Vec<source::Error>,
    /// The byte offsets at which lines begin, by file.
    line_starts: Vec<Vec<usize>>,
    problems: RefCell<Vec<Problem>>,
    has_broken_lines: Cell<bool>,
    origins: RefCell<BTreeMap<String, Place>>,
    attached: Attached,
    /// What was read of them.
    attachments: RefCell<Vec<Source>>,
}

/// What a configuration without faults was read from.
pub(super) struct Read {
    /// The files, in the order they were read.
    pub(super) files: Vec<Source>,
    /// The files that these name.
    pub(super) attachments: Vec<Source>,
    /// Where each setting was found, as `file:line`.
    pub(super) origins: BTreeMap<String, String>,
}

impl Report {
    pub(super) fn new(results: Vec<Result<Source, source::Error>>, attached: Attached) -> Self {
        let (mut sources, mut unusable) = (Vec::new(), Vec::new());
        for result in results {
            match result {
                Ok(source) => sources.push(source),
                // A directory can be what is wrong with several files.
                Err(error) if unusable.contains(&error) => {}
                Err(error) => unusable.push(error),
            }
        }
        let line_starts = sources.iter().map(|source| line_starts(&source.text)).collect();
        Self {
            sources,
            unusable,
            line_starts,
            problems: RefCell::default(),
            has_broken_lines: Cell::default(),
            origins: RefCell::default(),
            attached,
            attachments: RefCell::default(),
        }
    }

    /// The text of a file that the configuration names.
    pub(super) fn attachment(&self, path: &Path) -> Result<String, source::Error> {
        let file = self.attached.read(path)?;
        let text = file.text.clone();
        let mut attachments = self.attachments.borrow_mut();
        if !attachments.iter().any(|known| known.path == file.path) {
            attachments.push(file);
        }
        Ok(text)
    }

    pub(super) fn sources(&self) -> &[Source] {
        &self.sources
    }

    pub(super) fn add(&self, problem: Problem) {
        if problem.syntax {
            self.has_broken_lines.set(true);
        }
        self.problems.borrow_mut().push(problem);
    }

    /// Whether some of what was written may not have been understood, so that nothing can be said to be missing.
    pub(super) fn has_gaps(&self) -> bool {
        !self.unusable.is_empty() || self.has_broken_lines.get()
    }

    /// Remembers where the setting with this dotted name was found.
    pub(super) fn found(&self, setting: String, place: Place) {
        self.origins.borrow_mut().insert(setting, place);
    }

    /// The stretch of the string at `place` that holds the bytes `range` of its value; all of it when escapes make
    /// that unclear.
    pub(super) fn inside(&self, place: Place, string: &str, range: Range<usize>) -> Place {
        let raw = &self.sources[place.file].text[place.start..place.end];
        match raw.find(string).map(|content| place.start + content) {
            Some(start) => Place { start: start + range.start, end: start + range.end, ..place },
            None => place,
        }
    }

    /// The files, and where each setting was found; or all that is wrong, by file and place.
    pub(super) fn finish(self) -> Result<Read, Errors> {
        let mut problems = self.problems.take();
        let line = |problem: &Problem| (problem.place.file, self.line(problem.place));
        // What a broken line seems to mean is no second fault.
        let broken: BTreeSet<_> = problems.iter().filter(|problem| problem.syntax).map(line).collect();
        problems.retain(|problem| problem.syntax || !broken.contains(&line(problem)));
        problems.sort_by_key(|problem| problem.place);
        problems.dedup_by(|b, a| a.syntax && b.syntax && line(a) == line(b));
        let count = self.unusable.len() + problems.len();
        if count == 0 {
            let places = self.origins.take();
            let origins = places.into_iter().map(|(setting, place)| (setting, self.cite(place))).collect();
            return Ok(Read { files: self.sources, attachments: self.attachments.take(), origins });
        }
        let unusable = self.unusable.iter().map(|error| Diagnostic {
            file: error.path.clone(),
            line: None,
            column: None,
            message: error.to_string(),
            hint: error.hint.clone(),
            other: None,
            excerpt: None,
        });
        let placed = problems.into_iter().map(|problem| self.diagnose(problem));
        Err(Errors::new(unusable.chain(placed).take(MOST_SHOWN).collect(), count))
    }

    fn diagnose(&self, problem: Problem) -> Diagnostic {
        let (line, column, excerpt) = self.locate(problem.place);
        let other = problem.other.map(|(label, place)| {
            let (line, column, excerpt) = self.locate(place);
            OtherPlace { label, file: self.path(place).to_owned(), line, column, excerpt }
        });
        Diagnostic {
            file: self.path(problem.place).to_owned(),
            line: Some(line),
            column: Some(column),
            message: problem.message,
            hint: problem.hint,
            other,
            excerpt: Some(excerpt),
        }
    }

    fn cite(&self, place: Place) -> String {
        format!("{}:{}", self.path(place).display(), self.line(place))
    }

    fn path(&self, place: Place) -> &Path {
        &self.sources[place.file].path
    }

    /// The number of the line in which `place` begins, from 1. What is missing at the end belongs to the last line.
    fn line(&self, place: Place) -> usize {
        let starts = &self.line_starts[place.file];
        starts.partition_point(|start| *start <= place.start).max(1)
    }

    fn locate(&self, place: Place) -> (usize, usize, Excerpt) {
        let text = &self.sources[place.file].text;
        let line = self.line(place);
        let start = self.line_starts[place.file].get(line - 1).copied().unwrap_or(0);
        let rest = &text[start..];
        let content = rest.split('\n').next().unwrap_or(rest);
        let content = content.strip_suffix('\r').unwrap_or(content);
        let characters = |until: usize| content.char_indices().take_while(|(at, _)| start + at < until).count();
        let column = characters(place.start);
        let excerpt = Excerpt::new(line, content, column, characters(place.end).saturating_sub(column));
        (line, column + 1, excerpt)
    }
}

/// Where lines begin; what follows the last newline is a line only if there is something.
fn line_starts(text: &str) -> Vec<usize> {
    let after_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(after_newlines).filter(|start| *start == 0 || *start < text.len()).collect()
}
