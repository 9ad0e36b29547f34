//! `PutLogEvents`, the one action with many rules. The events are read from the body without a copy each, checked, and
//! laid down in one arena.
//!
//! | found | answer |
//! |---|---|
//! | no event or more than 10,000, an empty message, a negative time | the call fails |
//! | Σ(UTF-8 bytes + 26) above 1,048,576, or an event above 1,048,550 | the call fails |
//! | events not in the order of time, or valid ones more than 24 h apart | the call fails |
//! | group or stream missing | `ResourceNotFoundException` |
//! | events older than 14 days, or than the group's retention | rejected, by an **exclusive** end index, in a 200 |
//! | events more than 2 h ahead | rejected, by an **inclusive** start index, in a 200 |

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::answer::{Answer, Refusal};
use super::super::clock::Millis;
use super::super::shared::Shared;
use super::store::Batch;
use super::{constraint, invalid, names, no_stream, reply, unreadable};

/// The most events in a batch (CloudWatch Logs API, `PutLogEvents`).
const MOST_EVENTS: usize = 10_000;

/// The most bytes in a batch, as AWS counts them.
const MOST_BYTES: usize = 1_048_576;

/// What AWS counts for each event besides its UTF-8 bytes.
const EVENT_OVERHEAD: usize = 26;

/// The largest event: one that fills a batch.
const LARGEST_EVENT: usize = MOST_BYTES - EVENT_OVERHEAD;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// Events may be at most so old…
const OLDEST: i64 = 14 * DAY;

/// …at most so far ahead…
const NEWEST: i64 = 2 * HOUR;

/// …and in one batch at most so far apart.
const LONGEST_SPAN: i64 = DAY;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Put<'a> {
    #[serde(borrow, default)]
    log_group_name: Cow<'a, str>,
    #[serde(borrow, default)]
    log_stream_name: Cow<'a, str>,
    #[serde(borrow, default)]
    log_events: Vec<InputEvent<'a>>,
}

#[derive(Debug, Deserialize)]
struct InputEvent<'a> {
    timestamp: i64,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

/// How many events at either end are not taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rejected {
    too_old_end: usize,
    expired_end: usize,
    too_new_start: Option<usize>,
}

/// Answers a call. Reading and checking hold no lock; appending does.
pub(super) fn answer(body: &[u8], shared: &Shared, now: Millis) -> Result<Answer, Refusal> {
    let put: Put<'_> = serde_json::from_slice(body).map_err(|error| unreadable(&error.to_string()))?;
    let (group, stream) = (put.log_group_name.as_ref(), put.log_stream_name.as_ref());
    names::group(group)?;
    names::stream(stream)?;
    check(&put.log_events)?;
    let retention = {
        let state = shared.state();
        let found = state.group(group)?;
        found.streams.get(stream).ok_or_else(no_stream)?;
        found.retention_in_days
    };
    let rejected = reject(&put.log_events, now, retention);
    let end = rejected.too_new_start.unwrap_or(put.log_events.len());
    let begin = rejected.too_old_end.max(rejected.expired_end).min(end);
    let valid = &put.log_events[begin..end];
    check_span(valid)?;
    let bytes = valid.iter().map(|event| event.message.len()).sum();
    let mut batch = Batch::new(now, bytes, valid.len());
    for event in valid {
        batch.push(event.timestamp, &event.message);
    }
    let turned_away = put.log_events.len() - valid.len();
    store(shared, group, stream, batch, turned_away)?;
    let note = format!("{group} {stream} events={} rejected={turned_away}", valid.len());
    Ok(reply(&document(rejected), note))
}

fn store(shared: &Shared, group: &str, stream: &str, batch: Batch, rejected: usize) -> Result<(), Refusal> {
    let mut state = shared.state();
    let puts = &mut state.counts.puts;
    puts.calls += 1;
    puts.events += batch.len() as u64;
    puts.bytes += batch.bytes() as u64;
    puts.rejected += rejected as u64;
    let found = state.group_mut(group)?;
    found.streams.get_mut(stream).ok_or_else(no_stream)?.append(batch);
    Ok(())
}

/// The rules that make the whole call fail and need no clock.
fn check(events: &[InputEvent<'_>]) -> Result<(), Refusal> {
    if events.is_empty() {
        return Err(constraint("[]", "logEvents", "have length greater than or equal to 1"));
    }
    if events.len() > MOST_EVENTS {
        let rule = format!("have length less than or equal to {MOST_EVENTS}");
        return Err(constraint(&format!("[{} events]", events.len()), "logEvents", &rule));
    }
    let mut total = 0;
    for (index, event) in events.iter().enumerate() {
        let member = |name: &str| format!("logEvents.{}.member.{name}", index + 1);
        if event.message.is_empty() {
            return Err(constraint("", &member("message"), "have length greater than or equal to 1"));
        }
        if event.timestamp < 0 {
            let rule = "have value greater than or equal to 0";
            return Err(constraint(&event.timestamp.to_string(), &member("timestamp"), rule));
        }
        if event.message.len() > LARGEST_EVENT {
            let size = event.message.len() + EVENT_OVERHEAD;
            return Err(invalid(format!("Log event too large: {size} bytes exceeds limit of {MOST_BYTES}")));
        }
        total += event.message.len() + EVENT_OVERHEAD;
    }
    if total > MOST_BYTES {
        return Err(invalid(format!("Upload too large: {total} bytes exceeds limit of {MOST_BYTES}")));
    }
    if events.windows(2).any(|pair| pair[0].timestamp > pair[1].timestamp) {
        return Err(invalid("Log events in a single PutLogEvents request must be in chronological order."));
    }
    Ok(())
}

/// Which events are turned away one by one. They are in the order of time, so those are at the ends.
fn reject(events: &[InputEvent<'_>], now: Millis, retention_in_days: Option<u32>) -> Rejected {
    let before = |limit: Millis| events.partition_point(|event| event.timestamp < limit);
    let too_new = events.partition_point(|event| event.timestamp <= now + NEWEST);
    Rejected {
        too_old_end: before(now - OLDEST),
        expired_end: retention_in_days.map_or(0, |days| before(now - i64::from(days) * DAY)),
        too_new_start: (too_new < events.len()).then_some(too_new),
    }
}

fn check_span(valid: &[InputEvent<'_>]) -> Result<(), Refusal> {
    match (valid.first(), valid.last()) {
        (Some(first), Some(last)) if last.timestamp - first.timestamp > LONGEST_SPAN => {
            Err(invalid("The batch of log events in a single PutLogEvents request cannot span more than 24 hours."))
        }
        _ => Ok(()),
    }
}

fn document(rejected: Rejected) -> Value {
    // Sequence tokens have meant nothing since 2023, and are still handed out.
    let mut document = json!({ "nextSequenceToken": format!("{:056}", fastrand::u128(..)) });
    let mut info = Map::new();
    if rejected.too_old_end > 0 {
        info.insert("tooOldLogEventEndIndex".into(), rejected.too_old_end.into());
    }
    if rejected.expired_end > 0 {
        info.insert("expiredLogEventEndIndex".into(), rejected.expired_end.into());
    }
    if let Some(start) = rejected.too_new_start {
        info.insert("tooNewLogEventStartIndex".into(), start.into());
    }
    if !info.is_empty() {
        document["rejectedLogEventsInfo"] = info.into();
    }
    document
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::answer::ReplyBody;
    use super::super::super::options::Options;
    use super::super::groups;
    use super::*;

    const NOW: Millis = 1_795_348_800_000;

    fn shared() -> Arc<Shared> {
        let shared = Shared::new(Options::default());
        let mut state = shared.state();
        groups::create_group(&mut state, serde_json::from_value(json!({"logGroupName": "g"})).unwrap(), NOW).unwrap();
        let stream = json!({"logGroupName": "g", "logStreamName": "s"});
        groups::create_stream(&mut state, serde_json::from_value(stream).unwrap(), NOW).unwrap();
        drop(state);
        shared
    }

    fn put(shared: &Shared, events: &Value) -> Result<Value, Refusal> {
        let body = json!({"logGroupName": "g", "logStreamName": "s", "logEvents": events}).to_string();
        let answer = answer(body.as_bytes(), shared, NOW)?;
        let ReplyBody::Whole(body) = answer.body else { panic!("a whole body") };
        Ok(serde_json::from_slice(&body).unwrap())
    }

    fn at(times: &[Millis]) -> Value {
        times.iter().map(|time| json!({"timestamp": time, "message": format!("at {time}")})).collect()
    }

    fn stored(shared: &Shared) -> u64 {
        shared.state().store.stream_summaries()[0].events
    }

    fn fails(events: &Value, says: &str) {
        let shared = shared();
        let refusal = put(&shared, events).unwrap_err();
        assert_eq!(refusal.code, "InvalidParameterException");
        assert!(refusal.message.contains(says), "{}", refusal.message);
        assert_eq!(stored(&shared), 0, "a call that fails stores nothing");
    }

    #[test]
    fn a_batch_may_be_full_to_the_last_byte() {
        let full = json!([{"timestamp": NOW, "message": "x".repeat(LARGEST_EVENT)}]);
        assert!(put(&shared(), &full).is_ok());
        fails(&json!([{"timestamp": NOW, "message": "x".repeat(LARGEST_EVENT + 1)}]), "Log event too large");
        // Two bytes a character: what counts is UTF-8.
        let half = "ü".repeat((MOST_BYTES / 2 - EVENT_OVERHEAD) / 2);
        let two = |extra: &str| json!([{"timestamp": NOW, "message": half}, {"timestamp": NOW, "message": format!("{half}{extra}")}]);
        assert!(put(&shared(), &two("")).is_ok());
        fails(&two("x"), "Upload too large: 1048577 bytes exceeds limit of 1048576");
    }

    #[test]
    fn a_batch_has_between_one_event_and_ten_thousand() {
        assert!(put(&shared(), &at(&[NOW; 10_000])).is_ok());
        fails(&at(&[NOW; 10_001]), "less than or equal to 10000");
        fails(&at(&[]), "greater than or equal to 1");
    }

    #[test]
    fn one_bad_event_fails_the_whole_call() {
        fails(&json!([{"timestamp": NOW, "message": "x"}, {"timestamp": NOW, "message": ""}]), "logEvents.2.member");
        fails(&at(&[-1, NOW]), "logEvents.1.member.timestamp");
        fails(&at(&[NOW, NOW - 1]), "chronological order");
    }

    #[test]
    fn valid_events_span_a_day_at_most() {
        assert!(put(&shared(), &at(&[NOW - DAY, NOW])).is_ok());
        fails(&at(&[NOW - DAY - 1, NOW]), "24 hours");
        // The one that is too old anyway does not count.
        assert!(put(&shared(), &at(&[NOW - 20 * DAY, NOW])).is_ok());
    }

    #[test]
    fn too_old_ends_exclusively_and_too_new_starts_inclusively() {
        let shared = shared();
        let limits = [NOW - OLDEST - 1, NOW - OLDEST];
        let answer = put(&shared, &at(&limits)).unwrap();
        assert_eq!(answer["rejectedLogEventsInfo"], json!({"tooOldLogEventEndIndex": 1}));
        let answer = put(&shared, &at(&[NOW, NOW + NEWEST, NOW + NEWEST + 1])).unwrap();
        assert_eq!(answer["rejectedLogEventsInfo"], json!({"tooNewLogEventStartIndex": 2}));
        assert_eq!(stored(&shared), 3);
        let answer = put(&shared, &at(&[NOW])).unwrap();
        assert_eq!(answer.get("rejectedLogEventsInfo"), None);
    }

    #[test]
    fn events_that_the_retention_would_delete_are_expired() {
        let shared = shared();
        shared.state().group_mut("g").unwrap().retention_in_days = Some(1);
        let answer = put(&shared, &at(&[NOW - 20 * DAY, NOW - 2 * DAY, NOW - DAY])).unwrap();
        let expected = json!({"tooOldLogEventEndIndex": 1, "expiredLogEventEndIndex": 2});
        assert_eq!(answer["rejectedLogEventsInfo"], expected);
        let counts = shared.state().counts.puts.clone();
        assert_eq!((counts.calls, counts.events, counts.rejected), (1, 1, 2));
    }

    #[test]
    fn a_missing_group_and_a_missing_stream_are_not_found() {
        let shared = shared();
        for (group, stream, says) in [("other", "s", "log group"), ("g", "other", "log stream")] {
            let body = json!({"logGroupName": group, "logStreamName": stream, "logEvents": at(&[NOW])}).to_string();
            let refusal = answer(body.as_bytes(), &shared, NOW).unwrap_err();
            assert_eq!(refusal.code, "ResourceNotFoundException");
            assert!(refusal.message.contains(says));
        }
    }

    #[test]
    fn what_is_no_json_is_a_serialization_exception() {
        let refusal = answer(b"{\"logEvents\":", &shared(), NOW).unwrap_err();
        assert_eq!(refusal.code, "SerializationException");
    }
}
