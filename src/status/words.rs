//! Sizes, times and names of others' making, as a person reads them on a screen. Not where they stand on it.

use jiff::SignedDuration;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

pub use crate::fault::escape;

/// `text` for a terminal that knows ASCII only: our own marks become words of ASCII, what else is not is escaped.
#[must_use]
pub fn ascii(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut plain, c| {
        match c {
            '→' => plain.push_str("->"),
            '…' => plain.push('~'),
            '·' => plain.push('-'),
            '\n' => plain.push('\n'),
            c if c.is_ascii() => plain.push(c),
            c => plain.extend(c.escape_default()),
        }
        plain
    })
}

/// How many columns of a terminal `text` takes: none for a mark that stands over a letter, two for a wide one.
#[must_use]
pub fn columns(text: &str) -> usize {
    text.width()
}

/// `text` in lines of at most `width` columns, but for words that are longer.
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if columns(line) + 1 + columns(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// What of `text`'s end fits into `width` columns, since a path's end says more than its beginning.
pub(super) fn shortened(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let mut start = text.len();
    for (at, c) in text.char_indices().rev() {
        let Some(left) = room.checked_sub(c.width().unwrap_or(0)) else { break };
        (room, start) = (left, at);
    }
    format!("…{}", &text[start..])
}

/// A group and a stream in `width` columns: each in its half, and more where the other does not need it.
pub(super) fn both(group: &str, stream: &str, width: usize) -> String {
    let half = (width.saturating_sub(1) / 2).max(width.saturating_sub(1 + columns(stream)));
    let group = shortened(group, half);
    let stream = shortened(stream, width.saturating_sub(1 + columns(&group)));
    format!("{group} {stream}")
}

/// `text`, with spaces up to `width` columns.
pub(super) fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// The two largest units: `5 h 12 min`, `3 d 4 h`, `0 s`.
#[must_use]
pub fn duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// `9.8 MiB`, with one decimal.
pub(super) fn bytes(n: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if n < 1_024 {
        return format!("{n} B");
    }
    // Tenths of a unit, in whole numbers: exact at any size.
    let mut tenths = u128::from(n) * 10 / 1_024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < units.len() {
        tenths /= 1_024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, units[unit])
}

/// How much of `whole` `part` is.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let percent = (u128::from(part) * 100).checked_div(u128::from(whole)).unwrap_or(100).min(100);
    format!("{percent} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_its_end() {
        assert_eq!(shortened("/var/log/app.log", 8), "…app.log");
        assert_eq!(shortened("short", 8), "short");
    }

    #[test]
    fn widths_are_counted_in_columns() {
        assert_eq!(columns("日本/e\u{301}"), 6);
        assert_eq!(shortened("/var/log/日本語.log", 10), "…本語.log");
        assert_eq!(padded("日本", 6), "日本  ");
        assert_eq!(both("/aws/ec2/app", "i-0e1/app.log", 40), "/aws/ec2/app i-0e1/app.log");
        assert_eq!(both("/aws/ec2/app", "i-0e0000001/app.log", 25), "/aws/ec2/app …001/app.log");
        assert_eq!(both("/aws/ec2/audit", "i-0e0000001/app.log", 17), "…2/audit …app.log");
        assert_eq!(wrap("日本 日本", 8), ["日本", "日本"]);
    }

    #[test]
    fn without_unicode_all_is_ascii() {
        assert_eq!(ascii("a → b… · é"), r"a -> b~ - \u{e9}");
    }

    #[test]
    fn sizes_and_times_have_their_units() {
        assert_eq!(
            [0, 1_023, 1_536, 10_276_045, u64::MAX].map(bytes),
            ["0 B", "1023 B", "1.5 KiB", "9.8 MiB", "16777215.9 TiB"]
        );
        let durations = [59, 61, 3_700, 100_000].map(|s| duration(SignedDuration::from_secs(s)));
        assert_eq!(durations, ["59 s", "1 min", "1 h 1 min", "1 d 3 h"]);
        assert_eq!([percent(0, 0), percent(1, 3), percent(9, 3)], ["100 %", "33 %", "100 %"]);
    }
}
