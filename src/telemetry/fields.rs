//! An event's message and fields, collected, and the one line of text a person reads. Not where the line goes.

use std::fmt::{Debug, Write as _};

use tracing::field::{Field, Visit};

/// What one event carries.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    /// The message, control characters escaped.
    pub(super) message: String,
    /// The fields in the order they were written.
    pub(super) pairs: Vec<(&'static str, String)>,
}

impl Fields {
    /// `message key=value key="a value with spaces"`, on one line whatever the values hold.
    pub(super) fn line(&self) -> String {
        let mut line = self.message.clone();
        for (name, value) in &self.pairs {
            // Writing to a String can't fail.
            let _ =
                if needs_quotes(value) { write!(line, " {name}={value:?}") } else { write!(line, " {name}={value}") };
        }
        line
    }

    fn push(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = escaped(&value);
        } else {
            self.pairs.push((field.name(), value));
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.push(field, format!("{value:?}"));
    }
}

/// A value that was quoted by its own `Debug` stays as it is; anything else that could be misread is quoted.
fn needs_quotes(value: &str) -> bool {
    let quoted = value.len() > 1 && value.starts_with('"') && value.ends_with('"');
    let inner = if quoted { &value[1..value.len() - 1] } else { value };
    inner.chars().any(char::is_control)
        || (!quoted && (value.is_empty() || value.contains(|c: char| c.is_whitespace() || c == '"')))
}

fn escaped(text: &str) -> String {
    if text.chars().any(char::is_control) { text.escape_debug().to_string() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(message: &str, pairs: &[(&'static str, &str)]) -> Fields {
        let pairs = pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Fields { message: escaped(message), pairs }
    }

    #[test]
    fn plain_values_stand_bare_and_others_are_quoted() {
        let fields = fields("file opened", &[("path", "/var/log/a b"), ("inode", "7"), ("unit", "")]);
        assert_eq!(fields.line(), r#"file opened path="/var/log/a b" inode=7 unit="""#);
    }

    #[test]
    fn a_value_that_debug_quoted_is_not_quoted_twice() {
        assert_eq!(fields("x", &[("path", r#""/a b""#)]).line(), r#"x path="/a b""#);
    }

    #[test]
    fn a_line_end_in_a_value_or_message_cannot_forge_a_second_line() {
        let line = fields("a\nb", &[("path", "/x\n2026 ERROR gone"), ("other", "\"\u{1b}[2J\"")]).line();
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}
