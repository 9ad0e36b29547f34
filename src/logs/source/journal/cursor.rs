//! Where an entry stands in the journal, as systemd writes it (systemd.journal-fields(7), "Address fields"). Not a
//! position to seek to by ourselves: journalctl does that.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The address of one entry: `s=…;i=…;b=…;m=…;t=…;x=…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Cursor {
    /// Whose numbers these are: a journald that lost its count begins another series.
    pub(crate) series: u128,
    /// The entry's number in its series.
    pub(crate) number: u64,
    /// The boot it was written in.
    pub(crate) boot: u128,
    /// When, in microseconds since that boot.
    pub(crate) monotonic: u64,
    /// When, in microseconds since 1970.
    pub(crate) realtime: u64,
    /// A hash of what it holds.
    pub(crate) content: u64,
}

/// Text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a journal cursor")]
pub(crate) struct NoCursor;

impl Cursor {
    /// Whether the entry is `other`'s or stands before it, for sure: by number in one series, by the time since boot in
    /// one boot. The clock proves nothing, since it can be set.
    pub(crate) fn is_at_or_before(&self, other: &Self) -> bool {
        if self.series == other.series {
            self.number <= other.number
        } else {
            self.boot == other.boot && self.monotonic <= other.monotonic
        }
    }

    /// Of the two, the one that stands first, by the clock where nothing better is to be had.
    pub(crate) fn first(self, other: Self) -> Self {
        let is_first =
            self.is_at_or_before(&other) || (!other.is_at_or_before(&self) && self.realtime <= other.realtime);
        if is_first { self } else { other }
    }

    /// The place before the entry, where nothing stands that is not known.
    pub(crate) fn just_before(self) -> Self {
        Self { number: self.number.saturating_sub(1), monotonic: self.monotonic.saturating_sub(1), ..self }
    }

    /// How many entries stood between this one and `next`, as far as their numbers tell.
    pub(crate) fn entries_until(&self, next: &Self) -> Option<u64> {
        (self.series == next.series).then(|| next.number.saturating_sub(self.number).saturating_sub(1))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { series, number, boot, monotonic, realtime, content } = self;
        write!(f, "s={series:032x};i={number:x};b={boot:032x};m={monotonic:x};t={realtime:x};x={content:x}")
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let part = |key: &str| text.split(';').find_map(|part| part.strip_prefix(key)).ok_or(NoCursor);
        let number = |key: &str| u64::from_str_radix(part(key)?, 16).map_err(|_| NoCursor);
        let id = |key: &str| u128::from_str_radix(part(key)?, 16).map_err(|_| NoCursor);
        Ok(Self {
            series: id("s=")?,
            number: number("i=")?,
            boot: id("b=")?,
            monotonic: number("m=")?,
            realtime: number("t=")?,
            content: number("x=")?,
        })
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.to_string()
    }
}

impl TryFrom<String> for Cursor {
    type Error = NoCursor;

    fn try_from(text: String) -> Result<Self, NoCursor> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AS_WRITTEN: &str = "s=1516b72bf22e46b9a1886055b1c07d3a;i=32;b=28ba708b4ff24917b16dfea997a9628c;m=58072bf46;t=660d93d0de361;x=ec3824d23d5d0941";

    fn cursor(series: u128, number: u64, boot: u128, time: u64) -> Cursor {
        Cursor { series, number, boot, monotonic: time, realtime: time, content: 0 }
    }

    #[test]
    fn a_cursor_is_written_as_systemd_wrote_it() {
        let parsed: Cursor = AS_WRITTEN.parse().expect("a cursor");
        assert_eq!(parsed.to_string(), AS_WRITTEN);
        assert_eq!("garbage".parse::<Cursor>(), Err(NoCursor));
    }

    #[test]
    fn numbers_tell_how_much_is_missing_between_two_entries() {
        let last = cursor(1, 50, 1, 1);
        assert_eq!(last.entries_until(&cursor(1, 51, 1, 2)), Some(0));
        assert_eq!(last.entries_until(&cursor(1, 103, 1, 2)), Some(52));
        assert_eq!(last.entries_until(&cursor(2, 103, 1, 2)), None);
    }

    #[test]
    fn the_clock_proves_nothing() {
        // It was set back: the numbers were not.
        assert!(cursor(1, 1, 1, 9).is_at_or_before(&cursor(1, 2, 1, 5)));
        assert!(cursor(1, 7, 1, 5).is_at_or_before(&cursor(2, 1, 1, 9)));
        // Another journald's entries of another boot may be older or newer.
        assert!(!cursor(2, 1, 2, 1).is_at_or_before(&cursor(1, 7, 1, 9)));
        assert_eq!(cursor(2, 1, 2, 1).first(cursor(1, 7, 1, 9)), cursor(2, 1, 2, 1));
    }

    #[test]
    fn nothing_hostile_makes_a_cursor_panic() {
        crate::fuzz::hostile(&[AS_WRITTEN.as_bytes(), b"s=1;i=2;b=3;m=4;t=5;x=6"], |input| {
            let text = String::from_utf8_lossy(input);
            if let Ok(cursor) = text.parse::<Cursor>() {
                assert_eq!(cursor.to_string().parse(), Ok(cursor));
                let _ = (cursor.just_before(), cursor.entries_until(&cursor));
            }
        });
    }

    proptest! {
        #[test]
        fn any_cursor_survives_being_written(series: u128, number: u64, boot: u128, monotonic: u64, realtime: u64, content: u64) {
            let cursor = Cursor { series, number, boot, monotonic, realtime, content };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }
}
