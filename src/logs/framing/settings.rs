//! How a table's bytes become records, and what becomes of each: validated. Not the syntax: that is `config`'s.

use super::encoding::Encoding;
use super::json::Json;
use super::multiline::Multiline;
use super::pattern::Pattern;
use super::time::TimeRule;

/// What a source's table says about its records. The default: each line is one, sent as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// How the bytes are to be read.
    pub encoding: Encoding,
    /// Which lines belong together.
    pub multiline: Option<Multiline>,
    /// Where a record's time stands.
    pub timestamp: Option<TimeRule>,
    /// What is known of records that are JSON objects.
    pub json: Option<Json>,
    /// Only records that one of these matches are sent, if there are any.
    pub keep: Vec<Pattern>,
    /// Records that one of these matches are not sent.
    pub drop: Vec<Pattern>,
    /// What is replaced in each record before it leaves.
    pub redact: Vec<Redaction>,
    /// How much may be sent.
    pub budget: Option<Budget>,
}

/// Everywhere in a record, what `pattern` matches becomes `replace`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redaction {
    /// What must not leave.
    pub pattern: Pattern,
    /// What stands there instead; `$1` and `${name}` are the pattern's groups.
    pub replace: String,
}

/// How many of a source's bytes may be sent each UTC day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// So many bytes of the source are sent whole.
    pub per_day: u64,
    /// This share of the records above that is sent.
    pub sample: Sample,
}

/// A share of records, from none to all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    per_million: u32,
}

impl Sample {
    /// `share` of all, from 0 to 1.
    #[must_use]
    pub fn of(share: f64) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and a million")]
        let per_million = (0.0..=1.0).contains(&share).then(|| (share * 1e6).round() as u32)?;
        Some(Self { per_million })
    }

    /// As a share of all.
    #[must_use]
    pub fn share(self) -> f64 {
        f64::from(self.per_million) / 1e6
    }

    /// Whether the record at `offset` is of the sample: the same again when it is read again.
    pub(crate) fn holds(self, offset: u64) -> bool {
        let spread = u64::from(crc32fast::hash(&offset.to_le_bytes()));
        spread * 1_000_000 < u64::from(self.per_million) << 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_share_and_holds_about_so_many() {
        assert_eq!(Sample::of(1.1), None);
        assert_eq!(Sample::of(f64::NAN), None);
        assert_eq!(Sample::of(0.01).unwrap().share().to_string(), "0.01");
        let held = |share| (0..10_000_u64).filter(|at| Sample::of(share).unwrap().holds(at * 137)).count();
        assert_eq!((held(0.0), held(1.0)), (0, 10_000));
        assert!((50..200).contains(&held(0.01)), "{}", held(0.01));
    }
}
