//! `GetLogEvents` and `FilterLogEvents`: stored events, in the order CloudWatch shows them. Of filter patterns only
//! plain words and quoted phrases, all of which must occur.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::answer::{Answer, Refusal};
use super::super::clock::Millis;
use super::super::shared::State;
use super::store::Stream;
use super::{constraint, invalid, names, no_stream, reply};

/// A page holds at most so many events, and by default…
const LONGEST_PAGE: usize = 10_000;

/// …and at most so many bytes (CloudWatch Logs API, `GetLogEvents`).
const LARGEST_PAGE: usize = 1_048_576;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Query {
    log_group_name: String,
    log_stream_name: String,
    log_stream_names: Vec<String>,
    log_stream_name_prefix: Option<String>,
    start_time: Option<Millis>,
    end_time: Option<Millis>,
    start_from_head: bool,
    filter_pattern: Option<String>,
    limit: Option<usize>,
    next_token: Option<String>,
}

impl Query {
    fn limit(&self) -> Result<usize, Refusal> {
        let limit = self.limit.unwrap_or(LONGEST_PAGE);
        if (1..=LONGEST_PAGE).contains(&limit) {
            return Ok(limit);
        }
        Err(constraint(&limit.to_string(), "limit", &format!("have value between 1 and {LONGEST_PAGE}")))
    }

    /// From the start inclusively to the end exclusively.
    fn wants_time(&self, timestamp: Millis) -> bool {
        self.start_time.is_none_or(|start| timestamp >= start) && self.end_time.is_none_or(|end| timestamp < end)
    }

    fn wants_stream(&self, name: &str) -> bool {
        let named = self.log_stream_names.is_empty() || self.log_stream_names.iter().any(|wanted| wanted == name);
        named && self.log_stream_name_prefix.as_deref().is_none_or(|prefix| name.starts_with(prefix))
    }

    /// The numbers of the stream's events that this query is about, in the order they are shown.
    fn select(&self, stream: &Stream) -> Vec<usize> {
        let mut order = stream.shown();
        if self.start_time.is_some() || self.end_time.is_some() {
            order.retain(|index| self.wants_time(stream.get(*index).1));
        }
        order
    }
}

fn bad_token() -> Refusal {
    invalid("The specified nextToken is invalid.")
}

/// `GetLogEvents`. A token is a direction and a position: `f/120` reads on from the 121st, `b/120` back from the 120th.
pub(super) fn get_events(state: &State, query: &Query) -> Result<Answer, Refusal> {
    names::group(&query.log_group_name)?;
    names::stream(&query.log_stream_name)?;
    let streams = &state.group(&query.log_group_name)?.streams;
    let stream = streams.get(&query.log_stream_name).ok_or_else(no_stream)?;
    let order = query.select(stream);
    let limit = query.limit()?;
    let position = |text: &str| text.parse::<usize>().map(|at| at.min(order.len())).map_err(|_| bad_token());
    let (forward, from) = match query.next_token.as_deref().map(|token| token.split_once('/')) {
        None if query.start_from_head => (true, 0),
        None => (false, order.len()),
        Some(Some(("f", text))) => (true, position(text)?),
        Some(Some(("b", text))) => (false, position(text)?),
        Some(_) => return Err(bad_token()),
    };
    let mut room = LARGEST_PAGE;
    let fits = |index: &&usize| {
        let size = stream.get(**index).2.len();
        let fits = size <= room;
        room = room.saturating_sub(size);
        fits
    };
    let (begin, end) = if forward {
        (from, from + order[from..].iter().take(limit).take_while(fits).count())
    } else {
        (from - order[..from].iter().rev().take(limit).take_while(fits).count(), from)
    };
    let events: Vec<Value> = order[begin..end].iter().map(|index| output(stream, *index)).collect();
    let note = format!("{} {} events={}", query.log_group_name, query.log_stream_name, events.len());
    let document = json!({
        "events": events,
        "nextForwardToken": format!("f/{end:056}"),
        "nextBackwardToken": format!("b/{begin:056}"),
    });
    Ok(reply(&document, note))
}

fn output(stream: &Stream, index: usize) -> Value {
    let (ingested_at, timestamp, message) = stream.get(index);
    json!({ "timestamp": timestamp, "ingestionTime": ingested_at, "message": message })
}

/// `FilterLogEvents`. A token is the number of events before the page.
pub(super) fn filter_events(state: &State, query: &Query) -> Result<Answer, Refusal> {
    names::group(&query.log_group_name)?;
    let limit = query.limit()?;
    let terms = terms(query.filter_pattern.as_deref().unwrap_or_default());
    let begin: usize = match &query.next_token {
        Some(token) => token.parse().map_err(|_| bad_token())?,
        None => 0,
    };
    let streams = &state.group(&query.log_group_name)?.streams;
    let mut found: Vec<(Millis, &String, &Stream, usize)> = Vec::new();
    for (name, stream) in streams.iter().filter(|(name, _)| query.wants_stream(name)) {
        for index in query.select(stream) {
            let (_, timestamp, message) = stream.get(index);
            if terms.iter().all(|term| message.contains(term)) {
                found.push((timestamp, name, stream, index));
            }
        }
    }
    found.sort_by_key(|(timestamp, ..)| *timestamp);
    let page = found.iter().enumerate().skip(begin).take(limit).map(|(number, (_, name, stream, index))| {
        let mut event = output(stream, *index);
        event["logStreamName"] = name.as_str().into();
        event["eventId"] = format!("{number:056}").into();
        event
    });
    let mut document = json!({ "events": page.collect::<Vec<_>>(), "searchedLogStreams": [] });
    if begin + limit < found.len() {
        document["nextToken"] = (begin + limit).to_string().into();
    }
    Ok(reply(&document, format!("{} found={}", query.log_group_name, found.len())))
}

/// The words and `"quoted phrases"` of a filter pattern.
fn terms(pattern: &str) -> Vec<&str> {
    let quoted_or_not = pattern.split('"').enumerate();
    quoted_or_not
        .flat_map(|(number, part)| {
            let quoted = number % 2 == 1;
            let words = if quoted { vec![part] } else { part.split_whitespace().collect() };
            words.into_iter().filter(|word| !word.is_empty())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_words_and_phrases() {
        assert_eq!(terms("ERROR \"disk full\" sda"), ["ERROR", "disk full", "sda"]);
        assert!(terms("").is_empty());
    }
}
