//! How the result is written: TOML's strings, and comments that hold whatever another file said. Not what is in them.

use std::fmt::Write as _;

use super::Note;

/// A value in a comment is shown up to this many characters: enough to know it again.
const LONGEST_VALUE: usize = 80;

/// Comments end here, as the lines of our own configuration do.
const WIDTH: usize = 116;

/// A string as TOML writes it: as it is between single quotes, if that spares escapes.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = !text.chars().any(|c| c.is_control() || c == '\'');
    if text.contains(['\\', '"']) && is_plain {
        return format!("'{text}'");
    }
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A list of strings as TOML writes it.
pub(super) fn list(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
}

/// A key and its value.
pub(super) fn line(out: &mut String, key: &str, value: &str) {
    out.extend([key, " = ", value, "\n"]);
}

/// On one line, shortened, and without what could play tricks on a terminal.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for character in text.chars().take(LONGEST_VALUE) {
        if character.is_control()
            || matches!(character, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            line.extend(character.escape_unicode());
        } else {
            line.push(character);
        }
    }
    if text.chars().nth(LONGEST_VALUE).is_some() {
        line.push('…');
    }
    line
}

/// `text` as lines of comment.
pub(super) fn comment(text: &str, out: &mut String) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH && line.len() > 1 {
            let _ = writeln!(out, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}

/// The configuration behind what is to be said first.
pub(super) fn whole(files: &[&str], notes: &[Note], taken: usize, body: &str) -> String {
    let mut out = String::new();
    let files = files.iter().map(|file| one_line(file)).collect::<Vec<_>>().join(", ");
    comment(
        &format!("Made of a configuration of Amazon's CloudWatch agent ({files}): {taken} settings were taken over."),
        &mut out,
    );
    for (is_taken, heading) in [(false, "Not taken over:"), (true, "Taken over, and different here:")] {
        let of_kind: Vec<&Note> = notes.iter().filter(|note| note.is_taken == is_taken).collect();
        if !of_kind.is_empty() {
            out.push_str("#\n");
            comment(heading, &mut out);
        }
        for note in of_kind {
            comment(&format!("* {}", note.to_string().replacen(": not taken over: ", ": ", 1)), &mut out);
        }
    }
    out.push_str(body);
    out
}
