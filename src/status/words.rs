//! Sizes, times and names of others' making, as a person reads them on a screen. Not where they stand on it.

use jiff::SignedDuration;

pub use crate::fault::escape;

/// `text` in lines of at most `width` characters, but for words that are longer.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The last `width` characters, since a path's end says more than its beginning.
pub(super) fn shortened(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    std::iter::once('…').chain(text.chars().skip(length - width + 1)).collect()
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
