//! How a failure is reported: when, what, and what cures it. Not an error type: rooms have their own, and turn them
//! into a [`Fault`] where a person will read them.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A failure as `status` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// When it happened last.
    pub at: Timestamp,
    /// The thing and the reason, in one sentence.
    pub message: String,
    /// What cures it, when that is known: an exact command or statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Something a person should know although nothing has failed, or although it recovers by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// A stable word for machines: `config_fallback`, `imds_v1`, `state_set_aside`…
    pub code: String,
    /// The thing and the reason, in one sentence.
    pub message: String,
    /// What cures it, when that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// `text` as one word of a shell command, so that a cure can be pasted whatever a file is called.
#[must_use]
pub fn shell_word(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    let mut word = String::from("$'");
    for character in text.chars() {
        if character.is_control() {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                let _ = write!(word, r"\x{byte:02x}");
            }
        } else {
            if matches!(character, '\'' | '\\') {
                word.push('\\');
            }
            word.push(character);
        }
    }
    word.push('\'');
    word
}

/// Text of others' making, without what could play tricks on a terminal.
#[must_use]
pub fn escape(text: &str) -> String {
    let dangerous = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut safe, c| {
        if dangerous(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
        safe
    })
}

/// An error and all its sources in one line: `a: b: c`. Printed at the edge, once.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_one_word_of_a_command_whatever_it_holds() {
        assert_eq!(shell_word("/var/log/a b.log"), "'/var/log/a b.log'");
        assert_eq!(shell_word("x'; reboot; '"), r"'x'\''; reboot; '\'''");
        assert_eq!(shell_word("x'\n\u{85}y"), r"$'x\'\x0a\xc2\x85y'");
    }
}
