//! The names that rotations give to logs. Not which file such a name stands for, which is decided by content.

use std::path::PathBuf;

/// What stands between a log's name and what a rotation adds to it: `app.log.1`, `app.log-20261122`, `app.log~`.
const BEFORE_SUFFIX: [char; 4] = ['.', '-', '_', '~'];

/// What looks like a date has so many digits at least: `261122`. With fewer, `worker-1.log` may be another log.
const DIGITS_OF_A_DATE: usize = 6;

/// A file that no pattern names, but that may be a rotated one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rotated {
    /// The name that a pattern does mean, of which this one's is an extension; none for one that was only recognised
    /// by its inode.
    pub(crate) base: Option<PathBuf>,
    /// The name that a pattern does mean, of which this one's differs by a date before the extension. It says too little
    /// to follow a file that nobody knows.
    pub(crate) undated: Option<PathBuf>,
    /// The table that names the base.
    pub(crate) table: usize,
}

/// What `name` may be the name of with a suffix, the longest first: `app.log` among others for `app.log.1`.
pub(super) fn shortened(name: &str) -> impl Iterator<Item = &str> {
    name.char_indices().rev().filter(|(at, c)| *at > 0 && BEFORE_SUFFIX.contains(c)).map(|(end, _)| &name[..end])
}

/// `app.log` for `app-20261122.log`, `app.2026-11-22.0.log` and their like.
pub(super) fn without_date(name: &str) -> Option<String> {
    let (stem, extension) = name.rsplit_once('.')?;
    let kept = stem.trim_end_matches(|c: char| c.is_ascii_digit() || BEFORE_SUFFIX.contains(&c));
    let date = &stem[kept.len()..];
    let digits = date.bytes().filter(u8::is_ascii_digit).count();
    let is_date = digits >= DIGITS_OF_A_DATE && date.starts_with(BEFORE_SUFFIX);
    (is_date && !kept.is_empty()).then(|| format!("{kept}.{extension}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_before_the_extension_is_told_from_a_number() {
        assert_eq!(without_date("app-20261122.log").as_deref(), Some("app.log"));
        assert_eq!(without_date("app.2026-11-22.0.log").as_deref(), Some("app.log"));
        assert_eq!(without_date("my-app_261122.log").as_deref(), Some("my-app.log"));
        for other in ["worker-1.log", "20261122.log", "app20261122.log", "app-20261122", "app.log-20261122"] {
            assert_eq!(without_date(other), None, "{other}");
        }
    }

    #[test]
    fn a_suffix_is_whatever_stands_behind_a_sign() {
        assert_eq!(shortened("app.log-1.gz").collect::<Vec<_>>(), ["app.log-1", "app.log", "app"]);
        assert_eq!(shortened(".hidden").count(), 0);
    }
}
