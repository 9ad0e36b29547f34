//! When a syslog message says it was: RFC 5424's time, or the older kind's without a year (RFC 3164 §4.1.2). Pure. Not
//! what else stands in it: the event is the whole message.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::logs::Syntax;

/// `Mmm dd hh:mm:ss`.
const OLD_LENGTH: usize = 15;

/// The months as syslog has them, whatever the language.
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The time in `message`, if it says one. `zone` is where its clock stood, if it does not say that; `now` tells the year.
pub(super) fn time_of(syntax: Syntax, message: &[u8], zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    let head = &message[..message.len().min(80)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).ok()?,
    };
    let text = match text.strip_prefix('<') {
        Some(behind) => behind.split_once('>')?.1,
        None => text,
    };
    match syntax {
        Syntax::Line => None,
        // Who is configured to send one kind sends the other after an upgrade: both are told apart by how they begin.
        Syntax::Rfc3164 | Syntax::Rfc5424 => match text.strip_prefix("1 ") {
            Some(newer) => rfc3339(newer),
            None => without_year(text, zone, now).or_else(|| rfc3339(text)),
        },
    }
}

fn rfc3339(text: &str) -> Option<Timestamp> {
    text.split(' ').next()?.parse().ok()
}

/// The year is the one that brings it nearest to now.
fn without_year(text: &str, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    let text = text.get(..OLD_LENGTH)?;
    let month = MONTHS.iter().position(|month| text.starts_with(month))? + 1;
    let number = |from: usize| text.get(from..from + 2)?.trim_start().parse::<i8>().ok();
    let (day, hour, minute, second) = (number(4)?, number(7)?, number(10)?, number(13)?);
    let today = now.to_zoned(zone.clone());
    let in_year = |offset: i32| {
        let year = today.checked_add(offset.years()).ok()?.year();
        let time = DateTime::new(year, i8::try_from(month).ok()?, day, hour, minute, second, 0).ok()?;
        zone.to_ambiguous_timestamp(time).compatible().ok()
    };
    (-1..=1).filter_map(in_year).min_by_key(|time| time.duration_until(now).abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(message: &str, now: &str) -> Option<String> {
        let time = time_of(Syntax::Rfc5424, message.as_bytes(), &TimeZone::UTC, now.parse().unwrap());
        assert_eq!(time, time_of(Syntax::Rfc3164, message.as_bytes(), &TimeZone::UTC, now.parse().unwrap()));
        time.map(|time| time.to_string())
    }

    #[test]
    fn the_time_is_found_in_either_kind() {
        let now = "2026-11-22T08:00:00Z";
        for (message, expected) in [
            ("<34>1 2026-11-22T07:59:58.123+02:00 host app 1 ID - text", "2026-11-22T05:59:58.123Z"),
            ("<34>Nov 22 07:59:58 host app[1]: text", "2026-11-22T07:59:58Z"),
            ("<34>Nov  2 07:59:58 host app: text", "2026-11-02T07:59:58Z"),
            ("Nov 22 07:59:58 host app: text", "2026-11-22T07:59:58Z"),
            ("<34>2026-11-22T07:59:58Z host app: text", "2026-11-22T07:59:58Z"),
        ] {
            assert_eq!(time(message, now).as_deref(), Some(expected), "{message}");
        }
        for message in ["", "<34>", "<34>1 - host app - - - text", "<34>Nov 31 07:59:58 x", "<34>hello", "<34", "é"] {
            assert_eq!(time(message, now), None, "{message}");
        }
    }

    #[test]
    fn a_time_without_a_year_is_the_nearest() {
        assert_eq!(time("<1>Dec 31 23:59:59 h", "2026-01-01T00:00:05Z").as_deref(), Some("2025-12-31T23:59:59Z"));
        assert_eq!(time("<1>Jan  1 00:00:01 h", "2025-12-31T23:59:58Z").as_deref(), Some("2026-01-01T00:00:01Z"));
    }

    #[test]
    fn a_message_cut_inside_a_character_is_read_up_to_it() {
        let message = format!("<1>Nov 22 07:59:58 {}", "é".repeat(60));
        assert!(time(&message, "2026-11-22T08:00:00Z").is_some());
        assert_eq!(time_of(Syntax::Line, message.as_bytes(), &TimeZone::UTC, Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn nothing_hostile_makes_looking_for_the_time_panic() {
        let samples: [&[u8]; 4] = [
            b"<34>Oct 11 22:14:15 host su: text",
            b"<34>Feb 29 23:59:60 host su: text",
            b"<34>1 2003-10-11T22:14:15.003Z host app 1 id - text",
            b"<191>1 9999-12-31T23:59:59.999999999+23:59 - - - - -",
        ];
        let now = "2026-11-22T08:00:00Z".parse().unwrap();
        for syntax in [Syntax::Rfc3164, Syntax::Rfc5424] {
            crate::fuzz::hostile(&samples, |input| {
                let _ = time_of(syntax, input, &TimeZone::UTC, now);
            });
        }
    }
}
