//! Groups and streams: created, listed, given a retention, deleted. Not their events.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::answer::{Answer, Refusal};
use super::super::clock::Millis;
use super::super::shared::State;
use super::store::{Group, Stream};
use super::{arn, constraint, invalid, names, no_stream, nothing, reply};

/// What `PutRetentionPolicy` accepts, in days (CloudWatch Logs API).
const RETENTIONS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// The classes of `CreateLogGroup`; the first is the default.
const CLASSES: [&str; 3] = ["STANDARD", "INFREQUENT_ACCESS", "DELIVERY"];

/// The most tags of a group (CloudWatch Logs API, `CreateLogGroup`).
const MOST_TAGS: usize = 50;

/// Both lists give at most so many at once, and by default.
const LONGEST_PAGE: usize = 50;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewGroup {
    #[serde(default)]
    log_group_name: String,
    log_group_class: Option<String>,
    kms_key_id: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

/// `CreateLogGroup`.
pub(super) fn create_group(state: &mut State, new: NewGroup, now: Millis) -> Result<Answer, Refusal> {
    names::new_group(&new.log_group_name)?;
    let class = new.log_group_class.unwrap_or_else(|| CLASSES[0].into());
    if !CLASSES.contains(&class.as_str()) {
        let rule = "satisfy enum value set: [STANDARD, INFREQUENT_ACCESS, DELIVERY]";
        return Err(constraint(&class, "logGroupClass", rule));
    }
    if let Some(key) = new.kms_key_id.as_deref().filter(|key| !key.starts_with("arn:") || !key.contains(":kms:")) {
        return Err(invalid(format!("The specified KMS Key Id '{key}' is not a valid key ARN.")));
    }
    if new.tags.len() > MOST_TAGS {
        return Err(constraint("tags", "tags", &format!("have length less than or equal to {MOST_TAGS}")));
    }
    if state.store.groups.contains_key(&new.log_group_name) {
        return Err(Refusal::new("ResourceAlreadyExistsException", "The specified log group already exists"));
    }
    let note = new.log_group_name.clone();
    let group = Group {
        created_at: now,
        class,
        kms_key_id: new.kms_key_id,
        tags: new.tags,
        retention_in_days: None,
        retention_calls: 0,
        streams: BTreeMap::new(),
    };
    state.store.groups.insert(new.log_group_name, group);
    Ok(nothing(note))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Named {
    #[serde(default)]
    log_group_name: String,
    #[serde(default)]
    log_stream_name: String,
    retention_in_days: Option<u32>,
}

/// `DeleteLogGroup`.
pub(super) fn delete_group(state: &mut State, named: &Named) -> Result<Answer, Refusal> {
    names::group(&named.log_group_name)?;
    state.group(&named.log_group_name)?;
    state.store.groups.remove(&named.log_group_name);
    Ok(nothing(named.log_group_name.clone()))
}

/// `CreateLogStream`.
pub(super) fn create_stream(state: &mut State, named: Named, now: Millis) -> Result<Answer, Refusal> {
    names::group(&named.log_group_name)?;
    names::stream(&named.log_stream_name)?;
    let streams = &mut state.group_mut(&named.log_group_name)?.streams;
    if streams.contains_key(&named.log_stream_name) {
        return Err(Refusal::new("ResourceAlreadyExistsException", "The specified log stream already exists"));
    }
    let note = format!("{} {}", named.log_group_name, named.log_stream_name);
    streams.insert(named.log_stream_name, Stream::new(now));
    Ok(nothing(note))
}

/// `DeleteLogStream`.
pub(super) fn delete_stream(state: &mut State, named: &Named) -> Result<Answer, Refusal> {
    names::group(&named.log_group_name)?;
    names::stream(&named.log_stream_name)?;
    let streams = &mut state.group_mut(&named.log_group_name)?.streams;
    streams.remove(&named.log_stream_name).ok_or_else(no_stream)?;
    Ok(nothing(format!("{} {}", named.log_group_name, named.log_stream_name)))
}

/// `PutRetentionPolicy`.
pub(super) fn put_retention(state: &mut State, named: &Named) -> Result<Answer, Refusal> {
    names::group(&named.log_group_name)?;
    let Some(days) = named.retention_in_days.filter(|days| RETENTIONS.contains(days)) else {
        let value = named.retention_in_days.map_or_else(|| "null".into(), |days| days.to_string());
        let rule = format!("satisfy enum value set: {RETENTIONS:?}");
        return Err(constraint(&value, "retentionInDays", &rule));
    };
    let group = state.group_mut(&named.log_group_name)?;
    group.retention_in_days = Some(days);
    group.retention_calls += 1;
    Ok(nothing(format!("{} {days} days", named.log_group_name)))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Page {
    log_group_name: String,
    log_group_name_prefix: Option<String>,
    log_group_name_pattern: Option<String>,
    log_stream_name_prefix: Option<String>,
    order_by: Option<String>,
    descending: bool,
    limit: Option<usize>,
    next_token: Option<String>,
}

impl Page {
    /// The part of `items` that this page is, and the next page's token. A token is the number of its first item.
    fn cut<T>(&self, items: Vec<T>) -> Result<(Vec<T>, Option<String>), Refusal> {
        let limit = self.limit.unwrap_or(LONGEST_PAGE);
        if !(1..=LONGEST_PAGE).contains(&limit) {
            let rule = format!("have value between 1 and {LONGEST_PAGE}");
            return Err(constraint(&limit.to_string(), "limit", &rule));
        }
        let begin: usize = match &self.next_token {
            Some(token) => token.parse().map_err(|_| invalid("The specified nextToken is invalid."))?,
            None => 0,
        };
        let next = (begin + limit < items.len()).then(|| (begin + limit).to_string());
        Ok((items.into_iter().skip(begin).take(limit).collect(), next))
    }
}

fn page_document(member: &str, (items, next): (Vec<Value>, Option<String>)) -> Answer {
    let note = format!("{} found", items.len());
    let mut document = json!({ member: items });
    if let Some(token) = next {
        document["nextToken"] = token.into();
    }
    reply(&document, note)
}

/// `DescribeLogGroups`.
pub(super) fn describe_groups(state: &State, page: &Page) -> Result<Answer, Refusal> {
    let prefix = page.log_group_name_prefix.as_deref().unwrap_or_default();
    let pattern = page.log_group_name_pattern.as_deref().unwrap_or_default();
    if page.log_group_name_prefix.is_some() && page.log_group_name_pattern.is_some() {
        return Err(invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."));
    }
    let describe = |(name, group): (&String, &Group)| {
        let arn = arn(&state.options, name);
        let mut document = json!({
            "logGroupName": name,
            "logGroupArn": arn,
            "arn": format!("{arn}:*"),
            "creationTime": group.created_at,
            "logGroupClass": group.class,
            "metricFilterCount": 0,
            "storedBytes": group.streams.values().map(|stream| stream.bytes).sum::<u64>(),
        });
        if let Some(days) = group.retention_in_days {
            document["retentionInDays"] = days.into();
        }
        if let Some(key) = &group.kms_key_id {
            document["kmsKeyId"] = key.as_str().into();
        }
        document
    };
    let matching = state.store.groups.iter().filter(|(name, _)| name.starts_with(prefix) && name.contains(pattern));
    Ok(page_document("logGroups", page.cut(matching.map(describe).collect())?))
}

/// `DescribeLogStreams`.
pub(super) fn describe_streams(state: &State, page: &Page) -> Result<Answer, Refusal> {
    names::group(&page.log_group_name)?;
    let by_time = match page.order_by.as_deref() {
        None | Some("LogStreamName") => false,
        Some("LastEventTime") => true,
        Some(other) => {
            return Err(constraint(other, "orderBy", "satisfy enum value set: [LogStreamName, LastEventTime]"));
        }
    };
    if by_time && page.log_stream_name_prefix.is_some() {
        return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
    }
    let group_arn = arn(&state.options, &page.log_group_name);
    let prefix = page.log_stream_name_prefix.as_deref().unwrap_or_default();
    let streams = &state.group(&page.log_group_name)?.streams;
    let mut matching: Vec<_> = streams.iter().filter(|(name, _)| name.starts_with(prefix)).collect();
    if by_time {
        matching.sort_by_key(|(_, stream)| stream.last_timestamp);
    }
    if page.descending {
        matching.reverse();
    }
    let describe = |(name, stream): (&String, &Stream)| {
        let mut document = json!({
            "logStreamName": name,
            "arn": format!("{group_arn}:log-stream:{name}"),
            "creationTime": stream.created_at,
            "storedBytes": 0,
        });
        for (member, time) in [
            ("firstEventTimestamp", stream.first_timestamp),
            ("lastEventTimestamp", stream.last_timestamp),
            ("lastIngestionTime", stream.last_ingestion()),
        ] {
            if let Some(time) = time {
                document[member] = time.into();
            }
        }
        document
    };
    Ok(page_document("logStreams", page.cut(matching.into_iter().map(describe).collect())?))
}

#[cfg(test)]
mod tests {
    use super::super::super::answer::ReplyBody;
    use super::super::super::options::Options;
    use super::*;

    fn state(groups: &[&str]) -> State {
        let mut state = State::new(Options::default());
        for name in groups {
            create_group(&mut state, serde_json::from_value(json!({ "logGroupName": name })).unwrap(), 0).unwrap();
        }
        state
    }

    fn read(answer: Answer) -> Value {
        let ReplyBody::Whole(body) = answer.body else { panic!("a whole body") };
        serde_json::from_slice(&body).unwrap()
    }

    fn code(result: Result<Answer, Refusal>) -> String {
        result.unwrap_err().code.into_owned()
    }

    #[test]
    fn only_the_retentions_of_the_api_are_taken() {
        let mut state = state(&["g"]);
        let mut put = |days: Value| {
            let named = serde_json::from_value(json!({ "logGroupName": "g", "retentionInDays": days })).unwrap();
            put_retention(&mut state, &named)
        };
        for days in RETENTIONS {
            assert!(put(days.into()).is_ok(), "{days}");
        }
        for days in [json!(0), json!(2), json!(3654), Value::Null] {
            assert_eq!(code(put(days)), "InvalidParameterException");
        }
        assert_eq!(state.store.group_summaries()[0].retention_in_days, Some(3653));
        assert_eq!(state.store.group_summaries()[0].retention_calls, 22);
    }

    #[test]
    fn a_group_is_created_once_and_of_a_class_that_exists() {
        let mut state = state(&["g"]);
        let mut create = |new: Value| create_group(&mut state, serde_json::from_value(new).unwrap(), 0);
        assert_eq!(code(create(json!({ "logGroupName": "g" }))), "ResourceAlreadyExistsException");
        let wrong = json!({ "logGroupName": "h", "logGroupClass": "CHEAP" });
        assert_eq!(code(create(wrong)), "InvalidParameterException");
        assert!(create(json!({ "logGroupName": "h", "logGroupClass": "INFREQUENT_ACCESS" })).is_ok());
    }

    #[test]
    fn what_was_deleted_is_not_found() {
        let mut state = state(&["g"]);
        let named = |stream: &str| -> Named {
            serde_json::from_value(json!({ "logGroupName": "g", "logStreamName": stream })).unwrap()
        };
        create_stream(&mut state, named("s"), 0).unwrap();
        assert_eq!(code(create_stream(&mut state, named("s"), 0)), "ResourceAlreadyExistsException");
        delete_stream(&mut state, &named("s")).unwrap();
        assert_eq!(code(delete_stream(&mut state, &named("s"))), "ResourceNotFoundException");
        delete_group(&mut state, &named("s")).unwrap();
        assert_eq!(code(delete_group(&mut state, &named("s"))), "ResourceNotFoundException");
        assert_eq!(code(create_stream(&mut state, named("s"), 0)), "ResourceNotFoundException");
    }

    #[test]
    fn a_list_is_given_in_pages_that_lead_to_each_other() {
        let state = state(&["/a", "/b/1", "/b/2", "/b/3", "/c"]);
        let mut names = Vec::new();
        let mut page = Page { log_group_name_prefix: Some("/b".into()), limit: Some(2), ..Page::default() };
        loop {
            let answer = read(describe_groups(&state, &page).unwrap());
            let listed = answer["logGroups"].as_array().unwrap();
            names.extend(listed.iter().map(|group| group["logGroupName"].as_str().unwrap().to_string()));
            let Some(token) = answer["nextToken"].as_str() else { break };
            page.next_token = Some(token.into());
        }
        assert_eq!(names, ["/b/1", "/b/2", "/b/3"]);
        page.limit = Some(51);
        assert_eq!(code(describe_groups(&state, &page)), "InvalidParameterException");
    }
}
