//! A diagnosis as a person reads it: what is wrong first, with the cure, and then in one line what is well. Not whether
//! there is a terminal.

use std::fmt::Write as _;

use super::diagnosis::Checked;
use super::{Diagnosis, Finding, Outcome};
use crate::status::{Style, ascii, escape, wrap};

/// The column of what is said about a finding.
const INDENT: usize = 4;

/// Draws `diagnosis`.
#[must_use]
pub fn render(diagnosis: &Diagnosis, style: Style) -> String {
    let mut page = String::new();
    let _ = writeln!(page, "{}\n", headline(diagnosis, style));
    let mut outcomes = [Outcome::Fault, Outcome::Warning, Outcome::Unseen, Outcome::Note].into_iter();
    for outcome in outcomes.by_ref() {
        for checked in diagnosis.findings.iter().filter(|checked| checked.finding.outcome == outcome) {
            draw(&mut page, checked, style);
        }
    }
    for (word, outcome) in [("ok", Outcome::Ok), ("skipped", Outcome::Skipped)] {
        let those = of(diagnosis, outcome).filter(|checked| !found_more(diagnosis, &checked.check));
        let mut names: Vec<&str> = those.map(|checked| checked.check.as_str()).collect();
        names.dedup();
        if !names.is_empty() {
            list(&mut page, word, &names.join(", "), style);
        }
    }
    if style.unicode {
        return page;
    }
    // Colours are not text.
    page.split('\u{1b}').map(ascii).collect::<Vec<_>>().join("\u{1b}")
}

fn of(diagnosis: &Diagnosis, outcome: Outcome) -> impl Iterator<Item = &Checked> {
    diagnosis.findings.iter().filter(move |checked| checked.finding.outcome == outcome)
}

/// Whether not all of `check` is well: then its name stands above, and not in the line of what is.
fn found_more(diagnosis: &Diagnosis, check: &str) -> bool {
    diagnosis.findings.iter().any(|checked| checked.check == check && checked.finding.outcome > Outcome::Note)
}

fn headline(diagnosis: &Diagnosis, style: Style) -> String {
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
    format!("{} ({:.1} s)", coloured(&said.join(", "), outcome, style), diagnosis.seconds)
}

fn draw(page: &mut String, checked: &Checked, style: Style) {
    let Finding { outcome, subject, summary, evidence, why, cure } = &checked.finding;
    let subject = subject.as_ref().map(|subject| format!(" {}", escape(subject))).unwrap_or_default();
    let _ = writeln!(page, "{} {}{subject}", coloured(word(*outcome), *outcome, style), checked.check);
    put(page, "", summary, style);
    for (label, text) in [("seen: ", evidence), ("why: ", why)] {
        if let Some(text) = text {
            put(page, label, text, style);
        }
    }
    // A cure is pasted: its lines stay whole.
    for line in cure.iter().flat_map(|cure| cure.lines()) {
        let _ = writeln!(page, "{:INDENT$}→ {}", "", escape(line));
    }
    page.push('\n');
}

fn put(page: &mut String, label: &str, text: &str, style: Style) {
    for line in wrap(&format!("{label}{}", escape(text)), style.columns.saturating_sub(INDENT).max(1)) {
        let _ = writeln!(page, "{:INDENT$}{line}", "");
    }
}

fn list(page: &mut String, word: &str, names: &str, style: Style) {
    for line in wrap(&format!("{word}: {names}"), style.columns.max(1)) {
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

fn coloured(text: &str, outcome: Outcome, style: Style) -> String {
    let code = match outcome {
        Outcome::Ok => 32,
        Outcome::Fault => 31,
        Outcome::Warning | Outcome::Unseen => 33,
        Outcome::Note | Outcome::Skipped => 2,
    };
    if style.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn checked(check: &str, finding: Finding) -> Checked {
        Checked { check: check.to_owned(), title: "it is well".to_owned(), finding }
    }

    fn diagnosis() -> Diagnosis {
        let fault = Finding::fault("the metadata service is switched off for this instance")
            .about("http://169.254.169.254")
            .evidence("PUT /latest/api/token: 403")
            .why("the instance's metadata options say so")
            .cure("aws ec2 modify-instance-metadata-options --instance-id i-0abc --http-endpoint enabled");
        let mut diagnosis = Diagnosis::new(
            vec![
                checked("configuration", Finding::ok("it can be used")),
                checked("daemon", Finding::note("no daemon runs")),
                checked("imds-token", fault),
                checked("imds-identity", Finding::skipped("not looked at")),
                checked("files", Finding::warning("a file called \u{1b}[31m\nred")),
            ],
            Duration::from_millis(1234),
        );
        "1.2.3".clone_into(&mut diagnosis.version);
        diagnosis
    }

    #[test]
    fn what_is_wrong_comes_first_with_its_cure_and_what_is_well_is_one_line() {
        let expected = "1 fault, 1 warning (1.2 s)\n\n\
            fault imds-token http://169.254.169.254\n    \
            the metadata service is switched off for this instance\n    \
            seen: PUT /latest/api/token: 403\n    \
            why: the instance's metadata options say so\n    \
            → aws ec2 modify-instance-metadata-options --instance-id i-0abc --http-endpoint enabled\n\n\
            warning files\n    a file called \\u{1b}[31m\\nred\n\n\
            note daemon\n    no daemon runs\n\n\
            ok: configuration\nskipped: imds-identity\n";
        assert_eq!(render(&diagnosis(), Style { colour: false, unicode: true, columns: 80 }), expected);
    }

    #[test]
    fn a_check_of_which_not_all_is_well_is_not_called_well() {
        let findings = vec![
            checked("roles", Finding::fault("the role a can't be assumed")),
            checked("roles", Finding::ok("the role b can be assumed")),
            checked("clock", Finding::ok("it is right")),
        ];
        let page = render(&Diagnosis::new(findings, std::time::Duration::ZERO), Style::default());
        assert!(page.ends_with("\nok: clock\n"), "{page}");
    }

    #[test]
    fn on_a_narrow_terminal_text_is_wrapped_and_a_cure_stays_whole() {
        let page = render(&diagnosis(), Style { colour: false, unicode: true, columns: 20 });
        let is_cure = |line: &str| line.trim_start().starts_with('→');
        let fits = |line: &str| line.chars().count() <= 20 || !line.trim().contains(' ');
        let label = |line: &str| line.starts_with("fault ");
        let too_long: Vec<&str> =
            page.lines().skip(1).filter(|line| !fits(line) && !is_cure(line) && !label(line)).collect();
        assert_eq!(too_long, [""; 0], "{page}");
        assert!(page.contains("--instance-id i-0abc --http-endpoint enabled\n"), "{page}");
        assert!(!render(&diagnosis(), Style { colour: false, unicode: true, columns: 0 }).is_empty());
    }

    #[test]
    fn where_only_ascii_is_known_only_ascii_is_written() {
        let finding = Finding::fault("a file called grün.log").cure("rm 'grün.log'");
        let diagnosis = Diagnosis::new(vec![checked("files", finding)], Duration::ZERO);
        let page = render(&diagnosis, Style { colour: false, unicode: false, columns: 80 });
        assert!(page.is_ascii() && page.contains("-> rm 'gr\\u{fc}n.log'"), "{page}");
        let coloured = render(&diagnosis, Style { colour: true, unicode: false, columns: 80 });
        assert!(coloured.contains("\x1b[31mfault\x1b[0m files"), "{coloured}");
    }

    #[test]
    fn colour_is_only_there_where_it_is_wanted() {
        let coloured = render(&diagnosis(), Style { colour: true, unicode: true, columns: 80 });
        assert!(coloured.contains("\x1b[31mfault\x1b[0m imds-token"), "{coloured}");
        assert!(!render(&diagnosis(), Style { colour: false, unicode: true, columns: 80 }).contains('\x1b'));
    }

    #[test]
    fn the_json_is_as_scripts_know_it() {
        let expected = serde_json::json!({
            "schema": 1,
            "version": "1.2.3",
            "outcome": "fault",
            "seconds": 1.234,
            "findings": [
                {
                    "check": "configuration", "title": "it is well", "outcome": "ok", "subject": null,
                    "summary": "it can be used", "evidence": null, "why": null, "cure": null,
                },
                {
                    "check": "daemon", "title": "it is well", "outcome": "note", "subject": null,
                    "summary": "no daemon runs", "evidence": null, "why": null, "cure": null,
                },
                {
                    "check": "imds-token", "title": "it is well", "outcome": "fault",
                    "subject": "http://169.254.169.254",
                    "summary": "the metadata service is switched off for this instance",
                    "evidence": "PUT /latest/api/token: 403", "why": "the instance's metadata options say so",
                    "cure": "aws ec2 modify-instance-metadata-options --instance-id i-0abc --http-endpoint enabled",
                },
                {
                    "check": "imds-identity", "title": "it is well", "outcome": "skipped", "subject": null,
                    "summary": "not looked at", "evidence": null, "why": null, "cure": null,
                },
                {
                    "check": "files", "title": "it is well", "outcome": "warning", "subject": null,
                    "summary": "a file called \u{1b}[31m\nred", "evidence": null, "why": null, "cure": null,
                },
            ],
        });
        assert_eq!(serde_json::to_value(diagnosis()).expect("JSON"), expected);
    }
}
