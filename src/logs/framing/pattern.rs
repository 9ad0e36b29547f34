//! A regular expression that was compiled where it was read, so that one that is none never gets further. Not its
//! meaning.

use regex::Regex;

/// The most memory that one compiled expression may take: a table has a handful, and what needs more is a mistake such
/// as `(\w{1000}){1000}`.
const LARGEST_PROGRAM: usize = 2 << 20;

/// A compiled regular expression, equal to another one of the same text.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

/// Why a text is no regular expression, on one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(String);

impl Pattern {
    /// Compiles `text`, in the syntax of the crate `regex`.
    ///
    /// # Errors
    /// When it is none, or would need too much memory.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let compiled = regex::RegexBuilder::new(text).size_limit(LARGEST_PROGRAM).build();
        compiled.map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => {
                PatternError(format!("is too large: compiled, it would take more than {limit} bytes"))
            }
            // The last line of a syntax error holds the reason, the others draw where it is.
            error => {
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default();
                PatternError(format!("is no regular expression: {}", reason.trim_start_matches("error: ")))
            }
        })
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.as_str()
    }

    /// The group that `name` means in a replacement: a number or a name.
    #[must_use]
    pub fn has_group(&self, name: &str) -> bool {
        match name.parse::<usize>() {
            Ok(number) => number < self.0.captures_len(),
            Err(_) => self.0.capture_names().flatten().any(|known| known == name),
        }
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// What the first group matched; without a group, the whole match.
    pub(crate) fn first_group<'t>(&self, text: &'t str) -> Option<&'t str> {
        if self.0.captures_len() == 1 {
            return self.0.find(text).map(|found| found.as_str());
        }
        self.0.captures(text)?.get(1).map(|found| found.as_str())
    }

    /// `cut`, or where in `text` the match begins that goes across it.
    pub(super) fn spare(&self, text: &str, cut: usize) -> usize {
        let across = self.0.find_iter(text).find(|found| found.end() > cut);
        across.map_or(cut, |found| found.start().min(cut))
    }

    pub(super) fn replace<'t>(&self, text: &'t str, replacement: &str) -> std::borrow::Cow<'t, str> {
        self.0.replace_all(text, replacement)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_expression_says_why_on_one_line() {
        let error = Pattern::parse("a(b").unwrap_err().to_string();
        assert_eq!(error, "is no regular expression: unclosed group");
        let error = Pattern::parse(r"(\w{1000}){1000}").unwrap_err().to_string();
        assert!(error.starts_with("is too large"), "{error}");
    }

    #[test]
    fn a_group_is_known_by_number_and_by_name() {
        let pattern = Pattern::parse("(?<key>a)(b)").unwrap();
        assert!(["0", "1", "2", "key"].iter().all(|name| pattern.has_group(name)));
        assert!(["3", "value", "1x"].iter().all(|name| !pattern.has_group(name)));
    }

    #[test]
    fn the_first_group_counts_or_else_the_whole_match() {
        assert_eq!(Pattern::parse("a(b)c").unwrap().first_group("xabc"), Some("b"));
        assert_eq!(Pattern::parse("abc").unwrap().first_group("xabcx"), Some("abc"));
        assert_eq!(Pattern::parse("a(b)?").unwrap().first_group("a"), None);
    }
}
