//! Checks the templates of log group and log stream names: that they parse, and that what is fixed in them is
//! allowed. Not what will be filled in: that is known only later.

use super::report::Problem;
use super::table::{Located, Reader, suggest};
use crate::logs::{LONGEST_GROUP_NAME, LONGEST_STREAM_NAME};
use crate::template::{BUILT_IN, Template};

/// A template for `[.\-_/#A-Za-z0-9]{1,512}` that does not begin with `aws/` (`CreateLogGroup` in the API reference).
pub(super) fn log_group(table: &Reader<'_>, text: &Located<String>, variables: &[&str]) -> Option<Template> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_/#".contains(c);
    let template = parse(table, "log_group", text, variables)?;
    if text.value.starts_with("aws/") {
        let hint = "names that begin with `aws/` are AWS's own; \"/aws/…\" is allowed";
        table.report().add(Problem::new(text.place, "a log group's name can't begin with `aws/`").hint(hint));
        return None;
    }
    check(table, "log group", text, &template, allowed, "letters, digits, `.`, `-`, `_`, `/` and `#`")?;
    check_length(table, "log group", text, &template, LONGEST_GROUP_NAME)?;
    Some(template)
}

/// A template for 1 to 512 characters without `:` and `*` (`CreateLogStream` in the API reference).
pub(super) fn log_stream(table: &Reader<'_>, text: &Located<String>, variables: &[&str]) -> Option<Template> {
    let allowed = |c: char| c != ':' && c != '*';
    let template = parse(table, "log_stream", text, variables)?;
    check(table, "log stream", text, &template, allowed, "anything but `:` and `*`")?;
    check_length(table, "log stream", text, &template, LONGEST_STREAM_NAME)?;
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

fn check_length(
    table: &Reader<'_>,
    what: &str,
    text: &Located<String>,
    template: &Template,
    longest: usize,
) -> Option<()> {
    let fixed: usize = template.literal_parts().map(|(_, part)| part.chars().count()).sum();
    let holes = template.names().count();
    let empty_fallbacks = template.fallbacks().filter(|(_, fallback)| fallback.is_empty()).count();
    let fault = if fixed > longest {
        format!("a {what}'s name has at most {longest} characters, not {fixed}")
    } else if fixed == 0 && holes == empty_fallbacks {
        format!("a {what}'s name can't be empty")
    } else {
        return Some(());
    };
    table.report().add(Problem::new(text.place, fault));
    None
}
