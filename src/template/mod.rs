//! Names with holes: `{instance_id}/{file_name}`, each with an optional fallback, `{tag:Name|none}`. A hole that can't
//! be filled yet makes the whole name wait; it never becomes "unknown". A fallback is for what is not there, not for
//! what was not asked for yet. Not the place for where the values come from, nor for what a log group's or a stream's
//! name may hold.

use std::collections::BTreeMap;
use std::ops::Range;

/// The values that are known so far, by the name in the braces (`instance_id`, `tag:Name`, `environment`…), and whether
/// to wait for more of them before a fallback stands in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    known: BTreeMap<String, String>,
    complete: bool,
}

impl Names {
    /// What stands for `name`, if that is known.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.known.get(name).map(String::as_str)
    }

    /// From now on `value` stands for `name`.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.known.insert(name.into(), value.into());
    }

    /// What is not known by now is not waited for: fallbacks stand in.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    /// Whether fallbacks stand in for what is not known.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// All that is known.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.known.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl Extend<(String, String)> for Names {
    fn extend<T: IntoIterator<Item = (String, String)>>(&mut self, more: T) {
        self.known.extend(more);
    }
}

impl FromIterator<(String, String)> for Names {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(known: T) -> Self {
        Self { known: known.into_iter().collect(), complete: false }
    }
}

/// The names that may always stand in braces; beside them, `tag:KEY` and the names of `[variables]`.
pub const BUILT_IN: [&str; 12] = [
    "instance_id",
    "region",
    "availability_zone",
    "account_id",
    "instance_type",
    "image_id",
    "hostname",
    "private_ip",
    "file_name",
    "file_path",
    "unit",
    "date",
];

/// Those of them that only some kinds of source know.
pub const OF_SOURCES: [&str; 3] = ["file_name", "file_path", "unit"];

/// What stands before the key of an instance tag.
const TAG: &str = "tag:";

/// A name with holes, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

/// A stretch of a template; the ranges are bytes of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Range<usize>),
    Hole { name: Range<usize>, fallback: Option<Range<usize>> },
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
    /// For a brace without its partner, an unknown name (the error lists the known ones) or an empty one.
    pub fn parse(text: &str, variables: &[&str]) -> Result<Self, Error> {
        let mut parts = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let brace = text[at..].find(['{', '}']).map_or(text.len(), |found| at + found);
            if brace > at {
                parts.push(Part::Literal(at..brace));
            }
            at = brace;
            if at < text.len() {
                let (hole, end) = hole(text, at, variables)?;
                parts.push(hole);
                at = end;
            }
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// The text as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names in braces, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Hole { name, .. } => Some(&self.text[name.clone()]),
            Part::Literal(_) => None,
        })
    }

    /// The names in braces that have no fallback.
    pub fn needed(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Hole { name, fallback: None } => Some(&self.text[name.clone()]),
            Part::Hole { .. } | Part::Literal(_) => None,
        })
    }

    /// The text outside braces, each stretch with its byte offset.
    pub fn literal_parts(&self) -> impl Iterator<Item = (usize, &str)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(range) => Some((range.start, &self.text[range.clone()])),
            Part::Hole { .. } => None,
        })
    }

    /// The fallbacks, each with its byte offset.
    pub fn fallbacks(&self) -> impl Iterator<Item = (usize, &str)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Hole { fallback: Some(range), .. } => Some((range.start, &self.text[range.clone()])),
            Part::Hole { fallback: None, .. } | Part::Literal(_) => None,
        })
    }

    /// The name with its holes filled from `names`.
    ///
    /// # Errors
    /// The names that are not known, and for which no fallback stands in: there is none, or it is too soon for it.
    pub fn fill(&self, names: &Names) -> Result<String, Vec<String>> {
        let mut filled = String::with_capacity(self.text.len());
        let mut missing = Vec::new();
        for part in &self.parts {
            match part {
                Part::Literal(range) => filled.push_str(&self.text[range.clone()]),
                Part::Hole { name, fallback } => {
                    let name = &self.text[name.clone()];
                    match (names.get(name), fallback) {
                        (Some(value), _) => filled.push_str(value),
                        (None, Some(fallback)) if names.complete => filled.push_str(&self.text[fallback.clone()]),
                        (None, _) if missing.iter().any(|known| known == name) => {}
                        (None, _) => missing.push(name.to_owned()),
                    }
                }
            }
        }
        if missing.is_empty() { Ok(filled) } else { Err(missing) }
    }
}

/// The hole that begins with the brace at `open`, and where the text goes on behind it.
fn hole(text: &str, open: usize, variables: &[&str]) -> Result<(Part, usize), Error> {
    let error = |offset, message: &str| Err(Error { offset, message: message.to_owned() });
    let inside = open + 1;
    if text[open..].starts_with('}') {
        return error(open, "`}` without a `{` before it");
    }
    let Some(end) = text[inside..].find(['{', '}']).map(|found| inside + found) else {
        return error(open, "`{` is never closed; expected a name and `}`, as in `{instance_id}`");
    };
    if text[end..].starts_with('{') {
        return error(end, "`{` inside braces; a name or a fallback is plain text");
    }
    let (name_end, fallback) = match text[inside..end].find('|') {
        Some(bar) => (inside + bar, Some(inside + bar + 1..end)),
        None => (end, None),
    };
    let name = &text[inside..name_end];
    match name.strip_prefix(TAG) {
        Some("") => return error(name_end, "`tag:` needs the key of an instance tag, as in `{tag:Name}`"),
        Some(_) => {}
        None if BUILT_IN.contains(&name) || variables.contains(&name) => {}
        None => return Err(Error { offset: inside, message: unknown(name, variables) }),
    }
    Ok((Part::Hole { name: inside..name_end, fallback }, end + 1))
}

fn unknown(name: &str, variables: &[&str]) -> String {
    let what = if name.is_empty() { "empty braces".to_owned() } else { format!("unknown name `{name}`") };
    let known: Vec<&str> = BUILT_IN.iter().chain(&["tag:KEY"]).chain(variables).copied().collect();
    format!("{what}; expected one of {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(pairs: &[(&str, &str)]) -> Names {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn holes_are_filled_and_the_rest_is_kept() {
        let template = Template::parse("/aws/{environment}/{instance_id}-x", &["environment"]).unwrap();
        let filled = template.fill(&names(&[("environment", "prod"), ("instance_id", "i-1")]));
        assert_eq!(filled.unwrap(), "/aws/prod/i-1-x");
    }

    #[test]
    fn a_fallback_stands_in_for_what_is_not_known_as_soon_as_nothing_more_is_waited_for() {
        let template = Template::parse("{tag:Name|none}/{tag:Team|}", &[]).unwrap();
        let mut known = Names::default();
        assert_eq!(template.fill(&known).unwrap_err(), ["tag:Name", "tag:Team"]);
        known.complete();
        assert_eq!(template.fill(&known).unwrap(), "none/");
        assert_eq!(template.fill(&names(&[("tag:Name", "web"), ("tag:Team", "a")])).unwrap(), "web/a");
    }

    #[test]
    fn what_can_not_be_filled_is_named_once() {
        let template = Template::parse("{region}/{instance_id}/{region}", &[]).unwrap();
        assert_eq!(template.fill(&Names::default()).unwrap_err(), ["region", "instance_id"]);
    }

    #[test]
    fn faults_are_cited_where_they_are() {
        let offset = |text| Template::parse(text, &[]).unwrap_err().offset;
        assert_eq!(offset("ab{region"), 2);
        assert_eq!(offset("ab}"), 2);
        assert_eq!(offset("{region}{{"), 9);
        assert_eq!(offset("a{regoin}"), 2);
        assert_eq!(offset("a{}"), 2);
        assert_eq!(offset("{tag:}"), 5);
    }

    #[test]
    fn an_unknown_name_brings_the_known_ones() {
        let message = Template::parse("{env}", &["environment"]).unwrap_err().message;
        assert!(message.starts_with("unknown name `env`; expected one of instance_id, "), "{message}");
        assert!(message.ends_with("tag:KEY, environment"), "{message}");
    }

    #[test]
    fn parts_can_be_walked() {
        let template = Template::parse("a{region|b}c{tag:K}", &[]).unwrap();
        assert_eq!(template.literal_parts().collect::<Vec<_>>(), [(0, "a"), (11, "c")]);
        assert_eq!(template.fallbacks().collect::<Vec<_>>(), [(9, "b")]);
        assert_eq!(template.names().collect::<Vec<_>>(), ["region", "tag:K"]);
    }

    #[test]
    fn nothing_hostile_makes_a_template_panic() {
        let samples: [&[u8]; 3] = [b"/aws/{environment}/{instance_id}-x", b"{tag:Name|none}{date}", b"{{literal}} {"];
        crate::fuzz::hostile(&samples, |input| {
            let text = String::from_utf8_lossy(input);
            match Template::parse(&text, &["environment"]) {
                Ok(template) => drop(template.fill(&names(&[("environment", "{date}")]))),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        });
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_inside_itself(text in "\\PC*|[{}|a:é]{0,12}") {
            match Template::parse(&text, &["a"]) {
                Ok(template) => prop_assert_eq!(template.text(), &text),
                Err(error) => prop_assert!(error.offset <= text.len() && text.is_char_boundary(error.offset)),
            }
        }

        #[test]
        fn a_text_without_braces_fills_to_itself(text in "[^{}]*") {
            prop_assert_eq!(Template::parse(&text, &[]).unwrap().fill(&Names::default()).unwrap(), text);
        }
    }
}
