//! Checks the templates of log group and log stream names: that they parse, that what is fixed in them is allowed, and
//! that they are neither too long nor empty with the variables filled in. Not what else will be filled in: that is known
//! only later.

use super::report::Problem;
use super::table::{Located, Reader, suggest};
use super::variables::Variables;
use crate::logs::{LONGEST_GROUP_NAME, LONGEST_STREAM_NAME};
use crate::template::{BUILT_IN, Names, Template};

/// Stands for what is known only later, and is at least so long.
const HOLE: &str = "?";

/// A template for `[.\-_/#A-Za-z0-9]{1,512}` that does not begin with `aws/` (`CreateLogGroup` in the API reference).
pub(super) fn log_group(table: &Reader<'_>, text: &Located<String>, variables: &Variables) -> Option<Template> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_/#".contains(c);
    let template = parse(table, "log_group", text, &names_of(variables))?;
    let filled = filled(&template, variables);
    if filled.starts_with("aws/") {
        let hint = "names that begin with `aws/` are AWS's own; \"/aws/…\" is allowed";
        table.report().add(Problem::new(text.place, "a log group's name can't begin with `aws/`").hint(hint));
        return None;
    }
    check(table, "log group", text, &template, allowed, "letters, digits, `.`, `-`, `_`, `/` and `#`")?;
    check_length(table, "log group", text, &filled, LONGEST_GROUP_NAME)?;
    Some(template)
}

/// A template for 1 to 512 characters without `:` and `*` (`CreateLogStream` in the API reference).
pub(super) fn log_stream(table: &Reader<'_>, text: &Located<String>, variables: &Variables) -> Option<Template> {
    let allowed = |c: char| c != ':' && c != '*';
    let template = parse(table, "log_stream", text, &names_of(variables))?;
    check(table, "log stream", text, &template, allowed, "anything but `:` and `*`")?;
    check_length(table, "log stream", text, &filled(&template, variables), LONGEST_STREAM_NAME)?;
    Some(template)
}

/// A template, or what is wrong with its braces.
pub(super) fn parse(table: &Reader<'_>, key: &str, text: &Located<String>, variables: &[&str]) -> Option<Template> {
    match Template::parse(&text.value, variables) {
        Ok(template) => Some(template),
        Err(error) => {
            let rest = &text.value[error.offset..];
            let word = rest.split(['{', '|', '}']).next().unwrap_or(rest);
            let place = table.report().inside(text.place, &text.value, error.offset..error.offset + word.len());
            let known: Vec<&str> = BUILT_IN.iter().chain(variables).copied().collect();
            table.report().add(suggest(Problem::new(place, format!("`{key}`: {error}")), word, &known));
            None
        }
    }
}

fn check(
    table: &Reader<'_>,
    what: &str,
    text: &Located<String>,
    template: &Template,
    allowed: impl Fn(char) -> bool,
    listed: &str,
) -> Option<()> {
    let mut fixed = template.literal_parts().chain(template.fallbacks());
    let wrong = fixed.find_map(|(offset, part)| {
        let (at, character) = part.char_indices().find(|(_, c)| !allowed(*c))?;
        Some((offset + at, character))
    });
    let Some((offset, character)) = wrong else {
        return Some(());
    };
    let place = table.report().inside(text.place, &text.value, offset..offset + character.len_utf8());
    let message = format!("a {what}'s name can't hold `{character}`; it may hold {listed}");
    table.report().add(Problem::new(place, message));
    None
}

fn check_length(table: &Reader<'_>, what: &str, text: &Located<String>, filled: &str, longest: usize) -> Option<()> {
    let length = filled.chars().count();
    let known = if filled == text.value { "" } else { ", with what is known filled in" };
    let fault = if length > longest {
        format!("a {what}'s name has at most {longest} characters, not {length}{known}")
    } else if length == 0 {
        format!("a {what}'s name can't be empty{known}")
    } else {
        return Some(());
    };
    table.report().add(Problem::new(text.place, fault));
    None
}

fn names_of(variables: &Variables) -> Vec<&str> {
    variables.keys().map(String::as_str).collect()
}

/// The shortest that a name becomes where its fallbacks stand in: with the variables' values, and [`HOLE`] for what is
/// known only later. What no name can hold becomes one sign there, so its length is what counts.
fn filled(template: &Template, variables: &Variables) -> String {
    let mut names = Names::from_iter(variables.clone());
    names.complete();
    for name in template.needed() {
        if names.get(name).is_none() {
            names.insert(name, HOLE);
        }
    }
    template.fill(&names).unwrap_or_default()
}
