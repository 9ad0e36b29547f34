//! A diagnosis as a person reads it: what is wrong first, with the cure, and then in one line what is well. Not whether
//! there is a terminal.

use std::fmt::Write as _;

use super::diagnosis::Checked;
use super::{Diagnosis, Finding, Outcome};
use crate::status::{escape, wrap};

/// How the page is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paint {
    /// Whether ANSI colours are understood and wanted.
    pub colour: bool,
    /// The terminal's columns.
    pub columns: usize,
}

/// The column of what is said about a finding.
const INDENT: usize = 4;

/// Draws `diagnosis`.
#[must_use]
pub fn render(diagnosis: &Diagnosis, paint: Paint) -> String {
    let mut page = String::new();
    let _ = writeln!(page, "{}\n", headline(diagnosis, paint));
    let mut outcomes = [Outcome::Fault, Outcome::Warning, Outcome::Unseen, Outcome::Note].into_iter();
    for outcome in outcomes.by_ref() {
        for checked in diagnosis.findings.iter().filter(|checked| checked.finding.outcome == outcome) {
            draw(&mut page, checked, paint);
        }
    }
    for (word, outcome) in [("ok", Outcome::Ok), ("skipped", Outcome::Skipped)] {
        let mut names: Vec<&str> = of(diagnosis, outcome).map(|checked| checked.check.as_str()).collect();
        names.dedup();
        if !names.is_empty() {
            list(&mut page, word, &names.join(", "), paint);
        }
    }
    page
}

fn of(diagnosis: &Diagnosis, outcome: Outcome) -> impl Iterator<Item = &Checked> {
    diagnosis.findings.iter().filter(move |checked| checked.finding.outcome == outcome)
}

fn headline(diagnosis: &Diagnosis, paint: Paint) -> String {
    let counts = [(Outcome::Fault, "fault"), (Outcome::Warning, "warning"), (Outcome::Unseen, "unseen")]
        .into_iter()
        .map(|(outcome, word)| (diagnosis.count(outcome), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| match (count, word) {
            (1, word) | (_, word @ "unseen") => format!("{count} {word}"),
            (count, word) => format!("{count} {word}s"),
        });
    let mut said: Vec<String> = counts.collect();
    if !diagnosis.has_fault() {
        said.insert(0, "nothing is wrong".to_owned());
    }
    let outcome = if diagnosis.has_fault() { Outcome::Fault } else { Outcome::Ok };
    format!("{} ({:.1} s)", coloured(&said.join(", "), outcome, paint), diagnosis.seconds)
}

fn draw(page: &mut String, checked: &Checked, paint: Paint) {
    let Finding { outcome, subject, summary, evidence, why, cure } = &checked.finding;
    let subject = subject.as_ref().map(|subject| format!(" {}", escape(subject))).unwrap_or_default();
    let _ = writeln!(page, "{} {}{subject}", coloured(word(*outcome), *outcome, paint), checked.check);
    put(page, "", summary, paint);
    for (label, text) in [("seen: ", evidence), ("why: ", why)] {
        if let Some(text) = text {
            put(page, label, text, paint);
        }
    }
    // A cure is pasted: its lines stay whole.
    for line in cure.iter().flat_map(|cure| cure.lines()) {
        let _ = writeln!(page, "{:INDENT$}→ {}", "", escape(line));
    }
    page.push('\n');
}

fn put(page: &mut String, label: &str, text: &str, paint: Paint) {
    for line in wrap(&format!("{label}{}", escape(text)), paint.columns.saturating_sub(INDENT).max(1)) {
        let _ = writeln!(page, "{:INDENT$}{line}", "");
    }
}

fn list(page: &mut String, word: &str, names: &str, paint: Paint) {
    for line in wrap(&format!("{word}: {names}"), paint.columns.max(1)) {
        let _ = writeln!(page, "{line}");
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Skipped => "skipped",
        Outcome::Note => "note",
        Outcome::Unseen => "unseen",
        Outcome::Warning => "warning",
        Outcome::Fault => "fault",
    }
}

fn coloured(text: &str, outcome: Outcome, paint: Paint) -> String {
    let code = match outcome {
        Outcome::Ok => 32,
        Outcome::Fault => 31,
        Outcome::Warning | Outcome::Unseen => 33,
        Outcome::Note | Outcome::Skipped => 2,
    };
    if paint.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}
