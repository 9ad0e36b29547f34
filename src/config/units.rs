//! Values with units: durations (`"5s"`, `"1h30m"`) and sizes (`"64MiB"`), read and written. Not their limits.

use std::fmt;
use std::time::Duration;

/// A duration as the configuration writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span(pub(super) Duration);

/// A number of bytes as the configuration writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(pub(super) u64);

/// Units of time in milliseconds, largest first.
const TIME_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of size in bytes: the binary ones, then the decimal ones, largest first.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl Span {
    /// Reads `"250ms"`, `"5s"`, `"1h30m"`: whole numbers, larger units first.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut units = TIME_UNITS.iter();
        let mut millis = 0_u64;
        let mut rest = text;
        loop {
            let (number, unit, behind) = quantity(rest, text, &TIME_UNITS)?;
            let Some((_, factor)) = units.find(|(name, _)| *name == unit) else {
                return Err(format!("can't be \"{text}\": larger units come first, and each once"));
            };
            let part = number.checked_mul(*factor);
            millis = part.and_then(|part| millis.checked_add(part)).ok_or_else(|| too_large(text))?;
            if behind.is_empty() {
                return Ok(Self(Duration::from_millis(millis)));
            }
            rest = behind;
        }
    }
}

impl Size {
    /// Reads `"64MiB"`, `"500kB"`: a whole number and one unit.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (number, unit, behind) = quantity(text, text, &SIZE_UNITS)?;
        match SIZE_UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, factor)) if behind.is_empty() => {
                number.checked_mul(*factor).map(Self).ok_or_else(|| too_large(text))
            }
            _ => Err(format!("can't be \"{text}\": expected a whole number and a unit")),
        }
    }
}

/// The number and the unit that `text` begins with, and what follows. `whole` is for the error.
fn quantity<'t>(text: &'t str, whole: &str, units: &[(&str, u64)]) -> Result<(u64, &'t str, &'t str), String> {
    let listed: Vec<&str> = units.iter().rev().map(|(name, _)| *name).collect();
    let listed = listed.join(", ");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if digits == 0 {
        return Err(format!("can't be \"{whole}\": expected a whole number and a unit ({listed})"));
    }
    let number = text[..digits].parse().map_err(|_| too_large(whole))?;
    let behind = &text[digits..];
    let length = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
    match &behind[..length] {
        "" => Err(format!("can't be \"{whole}\": a unit is missing ({listed})")),
        unit if units.iter().any(|(name, _)| *name == unit) => Ok((number, unit, &behind[length..])),
        unit => Err(format!("can't be \"{whole}\": unknown unit \"{unit}\" ({listed})")),
    }
}

fn too_large(text: &str) -> String {
    format!("can't be \"{text}\": that is too large")
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if millis == 0 {
            return f.write_str("0s");
        }
        for (unit, factor) in TIME_UNITS {
            if millis >= factor {
                write!(f, "{}{unit}", millis / factor)?;
                millis %= factor;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |factor: u64| self.0 >= factor && self.0.is_multiple_of(factor);
        match SIZE_UNITS.iter().find(|(_, factor)| fits(*factor)) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(text: &str) -> Result<u128, String> {
        Span::parse(text).map(|span| span.0.as_millis())
    }

    #[test]
    fn durations_are_read() {
        assert_eq!(millis("250ms"), Ok(250));
        assert_eq!(millis("5s"), Ok(5_000));
        assert_eq!(millis("1h30m"), Ok(5_400_000));
        assert_eq!(millis("0s"), Ok(0));
    }

    #[test]
    fn a_duration_that_is_none_says_why() {
        for (text, reason) in [
            ("", "expected a whole number"),
            ("5", "a unit is missing (ms, s, m, h)"),
            ("5d", "unknown unit \"d\""),
            ("s", "expected a whole number"),
            ("1.5s", "a unit is missing"),
            ("-1s", "expected a whole number"),
            ("5 s", "a unit is missing"),
            ("30m1h", "larger units come first"),
            ("1s1s", "larger units come first"),
            ("99999999999999999999s", "too large"),
            ("9999999999999999h", "too large"),
        ] {
            let error = millis(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(Size::parse("64MiB"), Ok(Size(64 << 20)));
        assert_eq!(Size::parse("512KiB"), Ok(Size(512 << 10)));
        assert_eq!(Size::parse("1GiB"), Ok(Size(1 << 30)));
        assert_eq!(Size::parse("5MB"), Ok(Size(5_000_000)));
        assert_eq!(Size::parse("5kB"), Ok(Size(5_000)));
    }

    #[test]
    fn a_size_that_is_none_says_why() {
        for (text, reason) in [
            ("64", "a unit is missing"),
            ("64mib", "unknown unit \"mib\""),
            ("1GiB1MiB", "a whole number and a unit"),
            ("99999999999GiB", "too large"),
        ] {
            let error = Size::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn durations_survive_being_written(millis in 0_u64..1 << 40) {
            let span = Span(Duration::from_millis(millis));
            prop_assert_eq!(Span::parse(&span.to_string()), Ok(span));
        }

        #[test]
        fn sizes_survive_being_written(size in any::<u64>(), shift in 0_u32..63) {
            let size = Size(size >> shift);
            prop_assert_eq!(Size::parse(&size.to_string()), Ok(size));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,20}|[0-9hms]{0,10}") {
            let _ = (Span::parse(&text), Size::parse(&text));
        }
    }
}
