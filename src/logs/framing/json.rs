//! Records that are JSON objects: their time, their level, and whether they are metrics in the embedded metric format,
//! which are left alone. A record that is no JSON object has neither. Not the place for JSON that we write.

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::time::can_be_sent;

/// What is to be looked for in JSON records. Fields are dotted paths, `log.level`; a key that holds the dots itself is
/// taken first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Json {
    /// The field that holds the time.
    pub timestamp: Option<String>,
    /// The field that holds the level, and the lowest that is sent.
    pub level: Option<(String, Level)>,
}

/// How serious a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For following a program step by step.
    Trace,
    /// For whoever looks for a mistake.
    Debug,
    /// What goes on.
    Info,
    /// What goes on and matters.
    Notice,
    /// What may become an error.
    Warn,
    /// What went wrong.
    Error,
    /// What went wrong for good.
    Fatal,
}

/// The words for levels; the first of each is the one in the configuration.
const LEVELS: [(Level, &[&str]); 7] = [
    (Level::Trace, &["trace", "finest", "verbose"]),
    (Level::Debug, &["debug", "fine"]),
    (Level::Info, &["info", "information", "informational"]),
    (Level::Notice, &["notice"]),
    (Level::Warn, &["warn", "warning"]),
    (Level::Error, &["error", "err", "severe"]),
    (Level::Fatal, &["fatal", "critical", "crit", "alert", "emerg", "emergency", "panic"]),
];

impl Level {
    /// The words that the configuration knows.
    #[must_use]
    pub fn words() -> [(&'static str, Self); 7] {
        LEVELS.map(|(level, words)| (words[0], level))
    }

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        LEVELS[self as usize].1[0]
    }

    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(word) => {
                let known = |words: &[&str]| words.iter().any(|known| known.eq_ignore_ascii_case(word.trim()));
                LEVELS.iter().find(|(_, words)| known(words)).map(|(level, _)| *level)
            }
            Value::Number(number) => number.as_u64().map(Self::of_number),
            _ => None,
        }
    }

    /// Below 10 syslog's severities, from 10 on those of bunyan and pino.
    fn of_number(number: u64) -> Self {
        let levels: &[Self] = if number < 10 { &SEVERITIES } else { &TENS };
        let index = if number < 10 { number } else { number / 10 - 1 };
        usize::try_from(index).ok().and_then(|index| levels.get(index)).copied().unwrap_or(levels[levels.len() - 1])
    }
}

/// What syslog's severities mean (RFC 5424 §6.2.1).
const SEVERITIES: [Level; 8] =
    [Level::Fatal, Level::Fatal, Level::Fatal, Level::Error, Level::Warn, Level::Notice, Level::Info, Level::Debug];

/// What 10, 20 and so on mean.
const TENS: [Level; 6] = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Fatal];

/// The object that `text` is, if it is one.
pub(super) fn object(text: &str) -> Option<Map<String, Value>> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    serde_json::from_str(text).ok()
}

impl Json {
    /// Whether the record is serious enough; one without a known level is.
    pub(super) fn is_wanted(&self, object: &Map<String, Value>) -> bool {
        let Some((field, minimum)) = &self.level else { return true };
        find(object, field).and_then(Level::of).is_none_or(|level| level >= *minimum)
    }

    /// The record's time.
    pub(super) fn time(&self, object: &Map<String, Value>) -> Option<Timestamp> {
        let time = match find(object, self.timestamp.as_ref()?)? {
            Value::String(text) => of_text(text),
            Value::Number(number) => of_number(number.as_f64()?),
            _ => None,
        };
        time.filter(|time| can_be_sent(*time))
    }
}

fn find<'o>(object: &'o Map<String, Value>, path: &str) -> Option<&'o Value> {
    if let Some(found) = object.get(path) {
        return Some(found);
    }
    path.match_indices('.').find_map(|(dot, _)| {
        let inner = object.get(&path[..dot])?.as_object()?;
        find(inner, &path[dot + 1..])
    })
}

/// RFC 3339; without an offset, UTC. A number in quotes is one.
fn of_text(text: &str) -> Option<Timestamp> {
    let zoned = text.parse().ok();
    zoned.or_else(|| {
        let number: Option<f64> = text.parse().ok();
        number
            .map_or_else(|| text.parse::<DateTime>().ok()?.in_tz("UTC").ok().map(|zoned| zoned.timestamp()), of_number)
    })
}

/// Since the epoch, in the unit that gives a time of these centuries: seconds until 5138, milliseconds from 1973 on,
/// then micro- and nanoseconds.
fn of_number(number: f64) -> Option<Timestamp> {
    let millis = match number {
        seconds if seconds < 1e11 => seconds * 1e3,
        millis if millis < 1e14 => millis,
        micros if micros < 1e17 => micros / 1e3,
        nanos => nanos / 1e6,
    };
    #[expect(clippy::cast_possible_truncation, reason = "it saturates, and what is out of range is no time")]
    Timestamp::from_millisecond(millis as i64).ok()
}

/// A record in the embedded metric format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Metrics {
    /// Its `_aws.Timestamp`.
    pub(super) time: Option<Timestamp>,
}

/// What says that a record may be metrics; worth a look at a whole block at once.
pub(crate) const METRICS: &[u8] = b"\"CloudWatchMetrics\"";

/// Whether `text` is an object with `_aws.CloudWatchMetrics` (CloudWatch's Embedded Metric Format specification).
pub(super) fn metrics(text: &str) -> Option<Metrics> {
    #[derive(Deserialize)]
    struct Whole {
        #[serde(rename = "_aws")]
        aws: Aws,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Aws {
        timestamp: Option<i64>,
        #[serde(rename = "CloudWatchMetrics")]
        _metrics: Vec<IgnoredAny>,
    }
    if !text.starts_with('{') || memchr::memmem::find(text.as_bytes(), METRICS).is_none() {
        return None;
    }
    let whole: Whole = serde_json::from_str(text).ok()?;
    let time = whole.aws.timestamp.and_then(|millis| Timestamp::from_millisecond(millis).ok());
    Some(Metrics { time: time.filter(|time| can_be_sent(*time)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time_of(value: &str) -> Option<String> {
        let json = Json { timestamp: Some("at.time".to_owned()), level: None };
        let object = object(&format!(r#"{{"at":{{"time":{value}}}}}"#))?;
        json.time(&object).map(|time| time.to_string())
    }

    #[test]
    fn times_are_read_as_text_and_as_numbers() {
        let expected = Some("2026-11-22T08:00:00.5Z".to_owned());
        for value in [
            r#""2026-11-22T08:00:00.5Z""#,
            r#""2026-11-22T10:00:00.500+02:00""#,
            r#""2026-11-22 08:00:00.5""#,
            "1795334400.5",
            "1795334400500",
            "1795334400500000",
            "1795334400500000000",
            r#""1795334400500""#,
        ] {
            assert_eq!(time_of(value), expected, "{value}");
        }
        for value in [r#""yesterday""#, "true", "1e300", "null", "-5", r#""1969-12-31T23:59:59Z""#] {
            assert_eq!(time_of(value), None, "{value}");
        }
    }

    #[test]
    fn a_path_with_dots_is_a_key_or_a_way() {
        for text in [r#"{"log.level":"debug"}"#, r#"{"log":{"level":"DEBUG"}}"#, r#"{"log.level":20}"#] {
            let object = object(text).unwrap();
            let wanted =
                |level| Json { timestamp: None, level: Some(("log.level".to_owned(), level)) }.is_wanted(&object);
            assert!(wanted(Level::Debug) && !wanted(Level::Info), "{text}");
        }
    }

    #[test]
    fn what_has_no_level_is_wanted() {
        let json = Json { timestamp: None, level: Some(("level".to_owned(), Level::Fatal)) };
        for text in ["{}", r#"{"level":"purple"}"#, r#"{"level":null}"#, r#"{"level":{}}"#] {
            assert!(json.is_wanted(&object(text).unwrap()), "{text}");
        }
        assert!(!json.is_wanted(&object(r#"{"level":6}"#).unwrap()));
    }

    #[test]
    fn every_level_has_its_word() {
        for (word, level) in Level::words() {
            assert_eq!((level.word(), Level::of(&Value::from(word))), (word, Some(level)));
        }
    }

    #[test]
    fn numbers_are_syslogs_or_pinos() {
        let levels = [0, 3, 6, 7, 9, 10, 29, 30, 50, 60, 1000].map(Level::of_number);
        let words = levels.map(Level::word);
        let expected =
            ["fatal", "error", "info", "debug", "debug", "trace", "debug", "info", "error", "fatal", "fatal"];
        assert_eq!(words, expected);
    }

    #[test]
    fn metrics_are_recognised_by_their_directive_alone() {
        let text = r#"{"a":1,"_aws":{"Timestamp":1795334400500,"CloudWatchMetrics":[{"Namespace":"n"}]}}"#;
        assert_eq!(metrics(text), Some(Metrics { time: Timestamp::from_millisecond(1_795_334_400_500).ok() }));
        let early = r#"{"_aws":{"Timestamp":-1,"CloudWatchMetrics":[]}}"#;
        assert_eq!(metrics(early), Some(Metrics { time: None }));
        for text in [
            r#"{"_aws":{"Timestamp":1}}"#,
            r#"{"text":"_aws \"CloudWatchMetrics\""}"#,
            r#"x {"_aws":{"CloudWatchMetrics":[]}}"#,
            r#"{"_aws":{"CloudWatchMetrics":[]}"#,
        ] {
            assert_eq!(metrics(text), None, "{text}");
        }
    }
}
