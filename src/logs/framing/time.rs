//! The time that stands in a record: found by a pattern, read by a format, in a zone. Not the clock, and not JSON's.
//!
//! A time without a year gets the one that brings it nearest to now, one without a day likewise. Where clocks are set
//! forward, a time that was skipped counts as later by the gap; where they are set back, one that comes twice counts
//! as its first. What is before 1970 is no time, whoever says so: CloudWatch would refuse it, and the whole batch with it.

use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use super::pattern::Pattern;

/// Where a record's time stands, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeRule {
    /// What it is found by: its first group, or without one all it matches.
    pub pattern: Pattern,
    /// How it is written.
    pub format: Format,
    /// Where its clock stood, if it does not say so itself.
    pub zone: Zone,
}

/// How a time is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// `2026-11-22T08:00:00.5Z`.
    Rfc3339,
    /// Seconds since the epoch, with or without a fraction.
    Epoch,
    /// Milliseconds since the epoch.
    EpochMillis,
    /// By strptime's directives.
    Strptime(String),
}

/// A time zone by its name.
#[derive(Clone, Debug)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

/// The words for formats that have no directives.
const WORDS: [(&str, Format); 3] =
    [("rfc3339", Format::Rfc3339), ("epoch", Format::Epoch), ("epoch_millis", Format::EpochMillis)];

/// A time that a format must be able to write and read again: every field has another value.
const SAMPLE: DateTime = DateTime::constant(2026, 11, 22, 13, 14, 15, 678_000_000);

impl Format {
    /// The format that `text` means: a word, or strptime's directives.
    ///
    /// # Errors
    /// When a directive is unknown, or what is written by it can't be read again to the minute.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some((_, format)) = WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(format.clone());
        }
        let format = Self::Strptime(text.to_owned());
        if !text.contains('%') {
            return Err("has no directive such as `%Y`; expected one, or rfc3339, epoch, epoch_millis".to_owned());
        }
        let sample = SAMPLE.to_zoned(TimeZone::UTC).map_err(|error| error.to_string())?;
        let written = strtime::format(text, &sample).map_err(|error| format!("can't be used: {error}"))?;
        BrokenDownTime::parse(text, &written).map_err(|error| format!("can't be read by: {error}"))?;
        let read = format.read(&written, &TimeZone::UTC, sample.timestamp());
        let near = |read: Timestamp| read.duration_until(sample.timestamp()).abs() < SignedDuration::from_mins(1);
        if read.is_some_and(near) { Ok(format) } else { Err("does not say which minute of the day it is".to_owned()) }
    }

    /// As the configuration writes it.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Strptime(text) => text,
            word => WORDS.iter().find(|(_, format)| format == word).map_or("", |(word, _)| word),
        }
    }

    fn read(&self, text: &str, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
        let time = match self {
            Self::Rfc3339 => text.parse().ok().or_else(|| in_zone(text.parse().ok()?, zone)),
            Self::Epoch => epoch_millis(text.parse::<f64>().ok()? * 1e3),
            Self::EpochMillis => epoch_millis(text.parse().ok()?),
            Self::Strptime(format) => by_directives(BrokenDownTime::parse(format, text).ok()?, zone, now),
        };
        time.filter(|time| can_be_sent(*time))
    }
}

/// Whether CloudWatch takes an event of this time: one from before 1970 costs the whole batch.
pub(super) fn can_be_sent(time: Timestamp) -> bool {
    time >= Timestamp::UNIX_EPOCH
}

impl Zone {
    /// The zone of that name in the time zone database; `local` is the machine's.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let zone = match name {
            "UTC" => TimeZone::UTC,
            "local" => TimeZone::try_system().ok()?,
            name => TimeZone::get(name).ok()?,
        };
        Some(Self { name: name.to_owned(), zone })
    }

    /// As the configuration writes it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self { name: "UTC".to_owned(), zone: TimeZone::UTC }
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl TimeRule {
    /// The time in `record`, if it holds one.
    pub(super) fn time(&self, record: &str, now: Timestamp) -> Option<Timestamp> {
        self.format.read(self.pattern.first_group(record)?, &self.zone.zone, now)
    }
}

fn epoch_millis(millis: f64) -> Option<Timestamp> {
    #[expect(clippy::cast_possible_truncation, reason = "it saturates, and what is out of range is no time")]
    millis.is_finite().then(|| Timestamp::from_millisecond(millis as i64).ok())?
}

fn in_zone(time: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    zone.to_ambiguous_timestamp(time).compatible().ok()
}

fn by_directives(mut time: BrokenDownTime, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    if time.timestamp().is_some() || time.year().is_some() || time.iso_week_year().is_some() {
        return resolve(&time, zone);
    }
    let today = now.to_zoned(zone.clone()).date();
    let dated = time.month().is_some() || time.day().is_some() || time.day_of_year().is_some();
    let near = |offset: i16| {
        if dated { today.checked_add(i32::from(offset).years()) } else { today.checked_add(i32::from(offset).days()) }
    };
    let candidates: Vec<Timestamp> =
        (-1..=1).filter_map(|offset| put(&mut time, near(offset).ok()?, dated, zone)).collect();
    candidates.into_iter().min_by_key(|time| time.duration_until(now).abs())
}

/// The time on that date, or, where it has a date of its own, in that year.
fn put(time: &mut BrokenDownTime, date: Date, dated: bool, zone: &TimeZone) -> Option<Timestamp> {
    time.set_year(Some(date.year())).ok()?;
    if !dated {
        time.set_month(Some(date.month())).ok()?;
        time.set_day(Some(date.day())).ok()?;
    }
    resolve(time, zone)
}

fn resolve(time: &BrokenDownTime, zone: &TimeZone) -> Option<Timestamp> {
    if time.timestamp().is_some() || time.offset().is_some() {
        return time.to_timestamp().ok();
    }
    if time.iana_time_zone().is_some() {
        return time.to_zoned().ok().map(|zoned| zoned.timestamp());
    }
    in_zone(time.to_datetime().ok()?, zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `text` is read as by `format` in `zone`, at half past eight on 1 January 2026 (UTC).
    fn read(format: &str, zone: &str, text: &str) -> Option<String> {
        let now: Timestamp = "2026-01-01T08:30:00Z".parse().unwrap();
        let zone = Zone::named(zone).unwrap();
        Format::parse(format).unwrap().read(text, &zone.zone, now).map(|time| time.to_string())
    }

    #[test]
    fn what_people_write_is_read() {
        let cases = [
            ("%Y-%m-%d %H:%M:%S", "UTC", "2025-12-31 23:59:59", "2025-12-31T23:59:59Z"),
            ("%Y-%m-%d %H:%M:%S,%f", "UTC", "2025-12-31 23:59:59,250", "2025-12-31T23:59:59.25Z"),
            ("%Y-%m-%dT%H:%M:%S%.f%:z", "UTC", "2026-01-01T10:00:00.5+02:00", "2026-01-01T08:00:00.5Z"),
            ("%d/%b/%Y:%H:%M:%S %z", "UTC", "01/Jan/2026:09:00:00 +0100", "2026-01-01T08:00:00Z"),
            ("%Y-%m-%d %H:%M:%S", "Europe/Berlin", "2026-01-01 09:00:00", "2026-01-01T08:00:00Z"),
            ("%m/%d/%Y %I:%M:%S %p", "UTC", "01/01/2026 12:00:00 AM", "2026-01-01T00:00:00Z"),
            ("%s", "UTC", "1767225600", "2026-01-01T00:00:00Z"),
            ("rfc3339", "UTC", "2026-01-01T09:00:00+01:00", "2026-01-01T08:00:00Z"),
            ("rfc3339", "Europe/Berlin", "2026-01-01T09:00:00", "2026-01-01T08:00:00Z"),
            ("epoch", "UTC", "1767225600.25", "2026-01-01T00:00:00.25Z"),
            ("epoch_millis", "UTC", "1767225600250", "2026-01-01T00:00:00.25Z"),
        ];
        for (format, zone, text, expected) in cases {
            assert_eq!(read(format, zone, text).as_deref(), Some(expected), "{format} of {text}");
        }
    }

    #[test]
    fn a_time_without_a_year_is_of_the_nearest() {
        let read = |text| read("%b %e %H:%M:%S", "UTC", text).unwrap();
        assert_eq!(read("Dec 31 23:59:59"), "2025-12-31T23:59:59Z");
        assert_eq!(read("Jan  1 08:00:00"), "2026-01-01T08:00:00Z");
        assert_eq!(read("Feb 28 08:00:00"), "2026-02-28T08:00:00Z");
        assert_eq!(read("Jun 30 08:00:00"), "2026-06-30T08:00:00Z");
        assert_eq!(read("Jul 15 08:00:00"), "2025-07-15T08:00:00Z");
    }

    #[test]
    fn a_leap_day_is_found_in_the_year_that_has_one() {
        let now: Timestamp = "2025-01-10T00:00:00Z".parse().unwrap();
        let read = Format::parse("%b %d %H:%M").unwrap().read("Feb 29 12:00", &TimeZone::UTC, now);
        assert_eq!(read.unwrap().to_string(), "2024-02-29T12:00:00Z");
    }

    #[test]
    fn a_time_without_a_day_is_of_the_nearest() {
        assert_eq!(read("%H:%M:%S", "UTC", "08:29:00").as_deref(), Some("2026-01-01T08:29:00Z"));
        assert_eq!(read("%H:%M:%S", "UTC", "23:59:00").as_deref(), Some("2025-12-31T23:59:00Z"));
    }

    #[test]
    fn a_skipped_hour_is_later_and_a_repeated_one_is_its_first() {
        let read = |text| read("%Y-%m-%d %H:%M", "Europe/Berlin", text).unwrap();
        assert_eq!(read("2025-03-30 02:30"), "2025-03-30T01:30:00Z");
        assert_eq!(read("2025-10-26 02:30"), "2025-10-26T00:30:00Z");
    }

    #[test]
    fn what_is_no_time_is_none() {
        let format = "%Y-%m-%d %H:%M:%S";
        for text in ["", "2026-13-01 00:00:00", "2026-02-30 00:00:00", "1969-12-31 23:59:59", "soon"] {
            assert_eq!(read(format, "UTC", text), None, "{text}");
        }
        assert_eq!((read("epoch", "UTC", "nan"), read("epoch", "UTC", "1e300")), (None, None));
    }

    #[test]
    fn a_format_that_does_not_tell_the_time_is_refused() {
        for (format, reason) in [
            ("%Y-%m-%d", "does not say which minute"),
            ("%I:%M", "does not say which minute"),
            ("iso8601", "has no directive"),
            ("%Y-%m-%d %J", "can't be used"),
            ("%Y-%m-%d %H:%M:%S %Z", "can't be read by"),
        ] {
            let error = Format::parse(format).unwrap_err();
            assert!(error.contains(reason), "{format}: {error}");
        }
        for (word, format) in WORDS {
            assert_eq!((Format::parse(word), format.text()), (Ok(format.clone()), word));
        }
    }

    #[test]
    fn a_zone_is_of_the_database() {
        assert_eq!(Zone::named("Mars/Olympus"), None);
        assert_eq!(Zone::named("UTC"), Some(Zone::default()));
        assert_eq!(Zone::named("local").unwrap().name(), "local");
    }

    #[test]
    fn the_group_counts_and_the_rest_may_be_anything() {
        let pattern = Pattern::parse(r"^\[([^\]]+)\]").unwrap();
        let rule = TimeRule { pattern, format: Format::Rfc3339, zone: Zone::default() };
        let time = rule.time("[2026-01-01T00:00:00Z] hello", Timestamp::UNIX_EPOCH);
        assert_eq!(time.unwrap().to_string(), "2026-01-01T00:00:00Z");
        assert_eq!(rule.time("hello", Timestamp::UNIX_EPOCH), None);
    }
}
