//! Lines of a screen that is printed once: labels, sentences, faults with their cures, in a terminal's width and colours.
//! Not what is said in them.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use super::words::{ascii, both, columns, duration, escape, padded, shortened, wrap};
use crate::fault::Fault;

/// The width of a terminal that nobody widened, and of what is no terminal.
const USUAL: usize = 80;

/// Wider than this, the eye no longer finds from a name to its state.
const WIDEST: usize = 132;

/// Narrower than this nothing is cut to fit; the terminal breaks the line.
const NARROWEST: usize = 20;

/// Below this a table has no room beside its names, nor a text beside its label.
const NARROW: usize = 64;

/// The label's column; the longest label, `credentials`, and two spaces.
const LABEL: usize = 13;

/// How the screen is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether ANSI colours are understood and wanted.
    pub colour: bool,
    /// Whether the locale knows more than ASCII.
    pub unicode: bool,
    /// The terminal's columns.
    pub columns: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self { colour: false, unicode: true, columns: USUAL }
    }
}

/// What a text says by its colour.
#[derive(Clone, Copy, Debug)]
pub(super) enum Paint {
    Good,
    Doubtful,
    Bad,
    Quiet,
    None,
}

/// What a row is about.
#[derive(Clone, Copy)]
pub(super) enum Name<'a> {
    One(&'a str),
    /// A group and a stream.
    Two(&'a str, &'a str),
}

/// The lines so far.
pub(super) struct Screen {
    text: String,
    style: Style,
    /// The daemon's own idea of now.
    pub(super) now: Timestamp,
    /// The last cure that was shown: many things that fail alike have the same.
    cured: Option<String>,
}

impl Screen {
    pub(super) fn new(style: Style, now: Timestamp) -> Self {
        let columns = style.columns.clamp(NARROWEST, WIDEST);
        Self { text: String::new(), style: Style { columns, ..style }, now, cured: None }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    /// Whether tables have no room.
    pub(super) fn is_narrow(&self) -> bool {
        self.style.columns < NARROW
    }

    /// A name of others' making, as it may be shown.
    fn name(&self, name: &str) -> String {
        let name = escape(name);
        if self.style.unicode { name } else { ascii(&name) }
    }

    /// `label`, a word that has a colour, and the rest.
    pub(super) fn row(&mut self, label: &str, word: &str, paint: Paint, rest: &str) {
        let text = self.speakable(&format!("{word}{rest}"));
        let indent = if self.is_narrow() { 2 } else { LABEL };
        if self.is_narrow() && !label.is_empty() {
            self.line(label);
        }
        for (index, line) in fitted(&text, self.style.columns - indent).iter().enumerate() {
            let label = if index == 0 && !self.is_narrow() { label } else { "" };
            let line = match line.strip_prefix(word) {
                Some(rest) if index == 0 => format!("{}{rest}", self.paint(word, paint)),
                _ => line.clone(),
            };
            self.line(&format!("{}{line}", padded(label, indent)));
        }
    }

    /// A row of a table: a name, a state in its colour, and cells on the right.
    pub(super) fn table_row(
        &mut self,
        name: Name<'_>,
        (state, width): (&str, usize),
        paint: Paint,
        cells: &[(String, usize)],
    ) {
        let room = if self.is_narrow() { self.style.columns } else { name_room(self.style.columns, width, cells) };
        let name = match name {
            Name::One(name) => shortened(&self.name(name), room),
            Name::Two(group, stream) => both(&self.name(group), &self.name(stream), room),
        };
        if self.is_narrow() {
            self.line(&name);
            let rest: Vec<&str> = cells.iter().map(|(cell, _)| cell.trim()).collect();
            return self.row("", state, paint, &format!(", {}", rest.join(", ")));
        }
        // Our own mark of what was cut off takes one column in ASCII, too.
        let name = padded(&name, room);
        let state = self.paint(&padded(state, width), paint);
        let cells = right_aligned(cells);
        self.line(&format!("{name}  {state}{cells}"));
    }

    /// The heading of a table, on a terminal that has room for tables only its first word otherwise.
    pub(super) fn table_heading(&mut self, name: &str, width: usize, cells: &[(&str, usize)]) {
        if self.is_narrow() {
            return self.heading(name);
        }
        let cells: Vec<(String, usize)> = cells.iter().map(|(cell, width)| ((*cell).to_owned(), *width)).collect();
        let room = name_room(self.style.columns, width, &cells);
        let cells = right_aligned(&cells);
        self.heading(&format!("{name:room$}  {:width$}{cells}", "STATE"));
    }

    pub(super) fn fault(&mut self, fault: Option<&Fault>) {
        if let Some(fault) = fault {
            let ago = duration(self.now.duration_since(fault.at).max(SignedDuration::ZERO));
            self.wrapped(&format!("! {} ({ago} ago)", escape(&fault.message)), Paint::Bad);
            self.hint(fault.hint.as_deref());
        }
    }

    /// A sentence, broken between words; its continuation lines up with its first word.
    pub(super) fn wrapped(&mut self, text: &str, paint: Paint) {
        let text = self.speakable(text);
        for (index, line) in wrap(&text, self.style.columns - 4).iter().enumerate() {
            let line = self.paint(line, paint);
            self.line(&format!("{}{line}", if index == 0 { "  " } else { "    " }));
        }
    }

    /// What cures the thing above; said once where many fail alike.
    pub(super) fn hint(&mut self, hint: Option<&str>) {
        let Some(hint) = hint else { return };
        if self.cured.as_deref() == Some(hint) {
            return self.line("  → as above");
        }
        self.cured = Some(hint.to_owned());
        // Not wrapped: it may be a command, or a policy statement of several lines, to be copied as it stands.
        for (index, line) in hint.lines().enumerate() {
            let mark = if index == 0 { "→" } else { " " };
            self.line(&format!("  {mark} {}", escape(line)));
        }
    }

    pub(super) fn heading(&mut self, text: &str) {
        let text = self.paint(text.trim_end(), Paint::Quiet);
        self.line(&text);
    }

    /// A line of our own words, broken where the terminal is narrower.
    pub(super) fn sentence(&mut self, text: &str, paint: Paint) {
        let text = self.speakable(text);
        for line in fitted(&text, self.style.columns) {
            let line = self.paint(&line, paint);
            self.line(&line);
        }
    }

    pub(super) fn line(&mut self, text: &str) {
        let text = self.speakable(text);
        self.text.push_str(text.trim_end());
        self.text.push('\n');
    }

    /// In ASCII where the locale knows nothing else; colours stay.
    fn speakable(&self, text: &str) -> String {
        if self.style.unicode {
            text.to_owned()
        } else {
            text.split('\u{1b}').map(ascii).collect::<Vec<_>>().join("\u{1b}")
        }
    }

    fn paint(&self, text: &str, paint: Paint) -> String {
        let code = match paint {
            Paint::Good => "32",
            Paint::Doubtful => "33",
            Paint::Bad => "31",
            Paint::Quiet => "2",
            Paint::None => return text.to_owned(),
        };
        if self.style.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

fn right_aligned(cells: &[(String, usize)]) -> String {
    cells.iter().fold(String::new(), |mut text, (cell, width)| {
        let _ = write!(text, " {cell:>width$}");
        text
    })
}

/// What a table's other columns leave to the names.
fn name_room(columns: usize, state: usize, cells: &[(String, usize)]) -> usize {
    let others: usize = cells.iter().map(|(_, width)| width + 1).sum();
    columns.saturating_sub(state + 2 + others)
}

/// `text` as it is where it fits, else broken between words.
fn fitted(text: &str, width: usize) -> Vec<String> {
    if columns(text) <= width { vec![text.to_owned()] } else { wrap(text, width) }
}
