//! Formats of times: what their directives mean, as a regular expression that finds a time and a format that reads it.
//! Not the reading.

use crate::logs::framing::Format;

/// Their directives, and what each may look like. Those of month and day may have a space for their leading zero.
const DIRECTIVES: [(&str, &str); 21] = [
    ("%B", r"\w+"),
    ("%b", r"\w{3}"),
    ("%-m", r"\s?\d{1,2}"),
    ("%m", r"\s?\d{1,2}"),
    ("%A", r"\w+"),
    ("%a", r"\w{3}"),
    ("%-d", r"\s?\d{1,2}"),
    ("%d", r"\s?\d{1,2}"),
    ("%H", r"\d{2}"),
    ("%-I", r"\d{1,2}"),
    ("%I", r"\d{2}"),
    ("%-M", r"\d{1,2}"),
    ("%M", r"\d{2}"),
    ("%-S", r"\d{1,2}"),
    ("%S", r"\d{2}"),
    ("%Y", r"\d{4}"),
    ("%y", r"\d{2}"),
    ("%p", r"\w{2}"),
    ("%Z", r"\w{3}"),
    ("%z", r"[+-]\d{4}"),
    ("%f", r"\d{1,9}"),
];

/// What finds and reads times of one format.
#[derive(Debug)]
pub(super) struct Rule {
    /// With no group but the whole.
    pub(super) regex: String,
    /// By our strftime.
    pub(super) format: String,
}

/// The rule for their `format`.
///
/// # Errors
/// Why there is none.
pub(super) fn rule(format: &str) -> Result<Rule, String> {
    let (mut regex, mut rest) = (String::new(), format);
    while let Some(first) = rest.chars().next() {
        if let Some((directive, pattern)) = DIRECTIVES.iter().find(|(directive, _)| rest.starts_with(directive)) {
            // A time does not begin with a space.
            regex.push_str(if regex.is_empty() { pattern.trim_start_matches(r"\s?") } else { pattern });
            rest = &rest[directive.len()..];
        } else if first == '%' {
            return Err(format!("the CloudWatch agent documents no {}", rest.chars().take(2).collect::<String>()));
        } else {
            if !first.is_alphanumeric()
                && first.is_ascii()
                && !first.is_whitespace()
                && !"-_/:,;'\"@#&=<>~`!%".contains(first)
            {
                regex.push('\\');
            }
            regex.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    match Format::parse(format) {
        Ok(_) => Ok(Rule { regex: format!("({regex})"), format: format.to_owned() }),
        Err(reason) => Err(format!("such times can't be read here: the format {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::framing::Pattern;

    #[test]
    fn each_documented_kind_of_time_is_found_and_can_be_read() {
        for (format, line, time) in [
            ("%b %d %H:%M:%S", "Nov  2 09:08:07 web-1 sshd[1]: x", "Nov  2 09:08:07"),
            ("%Y-%m-%d %H:%M:%S,%f", "[x] 2026-11-22 08:00:00,123 INFO", "2026-11-22 08:00:00,123"),
            ("%d/%b/%Y:%H:%M:%S %z", "h - - [22/Nov/2026:08:00:00 +0000] \"GET", "22/Nov/2026:08:00:00 +0000"),
            ("%Y-%m-%dT%H:%M:%S.%fZ", "2026-11-22T08:00:00.5Z x", "2026-11-22T08:00:00.5Z"),
            ("%-m/%-d/%y %-I:%M %p", "1/2/26 9:05 PM x", "1/2/26 9:05 PM"),
            ("%B %d (%H.%M)", "November 22 (08.15) x", "November 22 (08.15)"),
        ] {
            let rule = rule(format).unwrap_or_else(|error| panic!("{format}: {error}"));
            let pattern = Pattern::parse(&rule.regex).unwrap_or_else(|error| panic!("{}: {error}", rule.regex));
            assert_eq!(pattern.first_group(line), Some(time), "{}", rule.regex);
            let read = jiff::fmt::strtime::parse(&rule.format, time);
            assert!(read.is_ok(), "{format}: {read:?}");
        }
    }

    #[test]
    fn what_can_not_be_read_here_has_a_reason() {
        for (format, reason) in [("%Y-%m-%d", "which minute"), ("%H:%M:%S %Q", "no %Q"), ("today", "no directive")] {
            let error = rule(format).unwrap_err();
            assert!(error.contains(reason), "{format}: {error}");
        }
    }
}
