//! What becomes of one record: is it sent, at what time, with what text. Pure. Not the place for budgets, which depend
//! on what was sent before.

use std::borrow::Cow;

use jiff::Timestamp;

use super::json;
use super::lines::LONGEST_MESSAGE;
use super::settings::Settings;

/// What becomes of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict<'t> {
    /// It is sent.
    Send {
        /// The text that may leave.
        text: Cow<'t, str>,
        /// Its own time; without one it gets the time of reading.
        time: Option<Timestamp>,
        /// Whether a time was looked for and not found.
        unparsed: bool,
        /// Whether it is metrics, which no budget holds back.
        metrics: bool,
    },
    /// A filter holds it back.
    Filtered,
}

/// Behind a text that redaction made longer than an event.
const CUT: &str = " [imds-agent: cut, redaction made it longer than an event]";

impl Settings {
    /// Whether each record is sent as it is.
    pub(crate) fn says_nothing(&self) -> bool {
        let Self { encoding: _, multiline: _, timestamp, json, keep, drop, redact, budget } = self;
        timestamp.is_none()
            && json.is_none()
            && keep.is_empty()
            && drop.is_empty()
            && redact.is_empty()
            && budget.is_none()
    }

    /// What becomes of a record, or of the first part of one. `sent` is the time that its sender gave it.
    pub(super) fn judge<'t>(&self, text: &'t str, sent: Option<Timestamp>, now: Timestamp) -> Verdict<'t> {
        if let Some(metrics) = json::metrics(text) {
            let time = metrics.time.or(sent);
            return Verdict::Send { text: text.into(), time, unparsed: false, metrics: true };
        }
        let held = !self.keep.is_empty() && !self.keep.iter().any(|pattern| pattern.is_match(text));
        if held || self.drop.iter().any(|pattern| pattern.is_match(text)) {
            return Verdict::Filtered;
        }
        let object = self.json.as_ref().and_then(|json| Some((json, json::object(text)?)));
        if object.as_ref().is_some_and(|(json, object)| !json.is_wanted(object)) {
            return Verdict::Filtered;
        }
        let by_json = object.and_then(|(json, object)| json.time(&object));
        let own = by_json.or_else(|| self.timestamp.as_ref()?.time(text, now));
        let unparsed = own.is_none() && self.looks_for_time();
        Verdict::Send { text: self.redacted(text), time: own.or(sent), unparsed, metrics: false }
    }

    /// What may leave of a part that is not the first: it shares the first one's fate, not its time.
    pub(super) fn redacted<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut redacted = Cow::Borrowed(text);
        for redaction in &self.redact {
            if let Cow::Owned(changed) = redaction.pattern.replace(&redacted, &redaction.replace) {
                redacted = Cow::Owned(changed);
            }
        }
        if redacted.len() > LONGEST_MESSAGE && redacted.len() > text.len() {
            let mut cut = redacted.into_owned();
            cut.truncate(cut.floor_char_boundary(LONGEST_MESSAGE - CUT.len()));
            return Cow::Owned(cut + CUT);
        }
        redacted
    }

    fn looks_for_time(&self) -> bool {
        self.timestamp.is_some() || self.json.as_ref().is_some_and(|json| json.timestamp.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::{Json, Level};
    use super::super::pattern::Pattern;
    use super::super::settings::Redaction;
    use super::super::time::{Format, TimeRule, Zone};
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    fn redact(pattern: &str, replace: &str) -> Redaction {
        Redaction { pattern: Pattern::parse(pattern).unwrap(), replace: replace.to_owned() }
    }

    fn judge<'t>(settings: &Settings, text: &'t str) -> Verdict<'t> {
        settings.judge(text, None, Timestamp::UNIX_EPOCH)
    }

    fn text_of(settings: &Settings, text: &str) -> Option<String> {
        match judge(settings, text) {
            Verdict::Send { text, .. } => Some(text.into_owned()),
            Verdict::Filtered => None,
        }
    }

    fn time_of(settings: &Settings, text: &str) -> (Option<i64>, bool) {
        match judge(settings, text) {
            Verdict::Send { time, unparsed, .. } => (time.map(Timestamp::as_second), unparsed),
            Verdict::Filtered => panic!("filtered"),
        }
    }

    #[test]
    fn what_keep_matches_and_drop_does_not_is_sent() {
        let settings =
            Settings { keep: vec![pattern("a"), pattern("b")], drop: vec![pattern("x")], ..Settings::default() };
        let sent: Vec<_> = ["a", "b", "c", "ax"].map(|text| text_of(&settings, text).is_some()).to_vec();
        assert_eq!(sent, [true, true, false, false]);
    }

    #[test]
    fn redactions_run_one_after_the_other_everywhere_in_a_record() {
        let redact = vec![redact(r"(password)=\S+", "$1=***"), redact(r"\d{16}", "card")];
        let settings = Settings { redact, ..Settings::default() };
        let text = "password=a b\npassword=1234123412341234 1234123412341234";
        assert_eq!(text_of(&settings, text).unwrap(), "password=*** b\npassword=*** card");
        assert!(matches!(judge(&settings, "clean"), Verdict::Send { text: Cow::Borrowed("clean"), .. }));
    }

    #[test]
    fn a_redaction_can_not_make_a_record_longer_than_an_event() {
        let settings = Settings { redact: vec![redact("x", "ä-ä")], ..Settings::default() };
        let text = text_of(&settings, &"x".repeat(LONGEST_MESSAGE)).unwrap();
        assert!(text.len() <= LONGEST_MESSAGE && text.ends_with(CUT), "{}", text.len());
    }

    #[test]
    fn a_time_is_looked_for_in_json_then_by_the_pattern_and_before_redaction() {
        let rule = TimeRule { pattern: pattern(r"^(\d+)"), format: Format::Epoch, zone: Zone::default() };
        let json = Json { timestamp: Some("t".to_owned()), level: None };
        let settings = Settings {
            timestamp: Some(rule),
            json: Some(json),
            redact: vec![redact(r"\d", "_")],
            ..Settings::default()
        };
        assert_eq!(time_of(&settings, r#"{"t":5}"#), (Some(5), false));
        assert_eq!(time_of(&settings, "7 seconds"), (Some(7), false));
        assert_eq!(time_of(&settings, r#"{"t":null}"#), (None, true));
        assert_eq!(time_of(&Settings::default(), "7"), (None, false));
    }

    #[test]
    fn the_senders_time_stands_in_for_one_that_is_not_found() {
        let rule = TimeRule { pattern: pattern(r"^(\d+)"), format: Format::Epoch, zone: Zone::default() };
        let settings = Settings { timestamp: Some(rule), ..Settings::default() };
        let sent = Timestamp::from_second(9).ok();
        let verdict = settings.judge("soon", sent, Timestamp::UNIX_EPOCH);
        assert_eq!(verdict, Verdict::Send { text: "soon".into(), time: sent, unparsed: true, metrics: false });
    }

    #[test]
    fn records_below_the_minimum_level_are_filtered() {
        let json = Json { timestamp: None, level: Some(("level".to_owned(), Level::Info)) };
        let settings = Settings { json: Some(json), ..Settings::default() };
        assert_eq!(text_of(&settings, r#"{"level":"debug"}"#), None);
        assert!(text_of(&settings, r#"{"level":"warn"}"#).is_some() && text_of(&settings, "debug").is_some());
    }

    #[test]
    fn metrics_are_passed_whole_whatever_the_rules() {
        let metrics = r#"{"password=x":1,"_aws":{"Timestamp":5000,"CloudWatchMetrics":[]}}"#;
        let settings =
            Settings { drop: vec![pattern("")], redact: vec![redact("password", "*")], ..Settings::default() };
        let time = Timestamp::from_second(5).ok();
        let expected = Verdict::Send { text: metrics.into(), time, unparsed: false, metrics: true };
        assert_eq!(judge(&settings, metrics), expected);
    }
}
