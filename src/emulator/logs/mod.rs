//! CloudWatch Logs: what each action demands, what it stores, what it refuses. Pure: a request and a time in, an answer
//! out. Not authentication, nor HTTP.

mod groups;
mod names;
mod put;
mod read;
mod store;

use std::borrow::Cow;
use std::io::Read as _;

use hyper::Request;
use hyper::body::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answer::{Answer, Refusal};
use super::clock::Millis;
use super::metadata::partition;
use super::operation::header;
use super::options::{Gzip, Options};
use super::shared::{Shared, State};

pub(super) use store::{Batch, Store};
pub use store::{Event, GroupSummary, StreamSummary};

/// The most that a request may be, unpacked: a full batch whose every byte is escaped as `\u0000`, with room for the
/// JSON round 10,000 events.
const LARGEST_BODY: u64 = 8 << 20;

/// Answers a call of `action`. The caller is known and allowed.
pub(super) fn answer(action: &str, request: &Request<Bytes>, shared: &Shared, now: Millis) -> Result<Answer, Refusal> {
    let gzip = shared.state().gzip;
    if action == "PutLogEvents" && is_gzip(request) {
        shared.state().counts.puts.compressed += 1;
        if gzip == Gzip::Unsupported {
            return Err(Refusal::new("UnsupportedMediaTypeException", "").status(415));
        }
    }
    let body = if gzip == Gzip::Unreadable { request.body().clone() } else { unpack(request)? };
    let state = || shared.state();
    match action {
        "PutLogEvents" => put::answer(&body, shared, now),
        "CreateLogGroup" => groups::create_group(&mut state(), parse(&body)?, now),
        "DeleteLogGroup" => groups::delete_group(&mut state(), &parse(&body)?),
        "CreateLogStream" => groups::create_stream(&mut state(), parse(&body)?, now),
        "DeleteLogStream" => groups::delete_stream(&mut state(), &parse(&body)?),
        "PutRetentionPolicy" => groups::put_retention(&mut state(), &parse(&body)?),
        "DescribeLogGroups" => groups::describe_groups(&state(), &parse(&body)?),
        "DescribeLogStreams" => groups::describe_streams(&state(), &parse(&body)?),
        "GetLogEvents" => read::get_events(&state(), &parse(&body)?),
        "FilterLogEvents" => read::filter_events(&state(), &parse(&body)?),
        _ => Err(Refusal::new("UnknownOperationException", "")),
    }
}

/// The group and stream that a request names, as far as it can be read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Place<'a> {
    #[serde(borrow, default)]
    pub(super) log_group_name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) log_stream_name: Option<Cow<'a, str>>,
}

impl Place<'_> {
    /// Looks into a request's body.
    pub(super) fn of(request: &Request<Bytes>) -> Place<'static> {
        let body = unpack(request).unwrap_or_default();
        let place: Place<'_> = serde_json::from_slice(&body).unwrap_or_default();
        let own = |name: Option<Cow<'_, str>>| name.map(|name| Cow::Owned(name.into_owned()));
        Place { log_group_name: own(place.log_group_name), log_stream_name: own(place.log_stream_name) }
    }

    /// The ARN that a denial names (Service Authorization Reference, "Amazon CloudWatch Logs").
    pub(super) fn arn(&self, options: &Options) -> String {
        let (group, stream) = (self.log_group_name.as_deref(), self.log_stream_name.as_deref());
        let stream_arn = arn(options, group.unwrap_or_default());
        format!("{stream_arn}:log-stream:{}", stream.unwrap_or_default())
    }
}

/// A group's ARN without the `:*` that some answers append.
fn arn(options: &Options, group: &str) -> String {
    let (partition, _) = partition(&options.region);
    format!("arn:{partition}:logs:{}:{}:log-group:{group}", options.region, options.account_id)
}

fn is_gzip(request: &Request<Bytes>) -> bool {
    header(request, "content-encoding") == Some("gzip")
}

/// The body, with `Content-Encoding: gzip` undone.
fn unpack(request: &Request<Bytes>) -> Result<Bytes, Refusal> {
    match header(request, "content-encoding") {
        None | Some("" | "identity") => Ok(request.body().clone()),
        Some("gzip") => {
            let mut plain = Vec::new();
            let packed: &[u8] = request.body();
            flate2::read::GzDecoder::new(packed)
                .take(LARGEST_BODY)
                .read_to_end(&mut plain)
                .map_err(|error| unreadable(&format!("the body is no gzip: {error}")))?;
            Ok(plain.into())
        }
        Some(other) => Err(unreadable(&format!("unknown content encoding {other}"))),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| unreadable(&error.to_string()))
}

fn unreadable(reason: &str) -> Refusal {
    Refusal::new("SerializationException", reason)
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new("InvalidParameterException", message)
}

/// The sentence that all of AWS's services share when a member breaks a constraint of the API's model.
fn constraint(value: &str, member: &str, rule: &str) -> Refusal {
    invalid(format!(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: Member must {rule}"
    ))
}

/// An answer of 200 with what a JSON document says.
fn reply(document: &serde_json::Value, note: String) -> Answer {
    let mut answer = Answer::new(200, "application/x-amz-json-1.1", document.to_string());
    answer.note = note;
    answer
}

/// The answer of actions that return nothing: 200 and not a byte.
fn nothing(note: String) -> Answer {
    let mut answer = Answer::new(200, "application/x-amz-json-1.1", Bytes::new());
    answer.note = note;
    answer
}

impl State {
    fn group(&self, name: &str) -> Result<&store::Group, Refusal> {
        self.store.groups.get(name).ok_or_else(no_group)
    }

    fn group_mut(&mut self, name: &str) -> Result<&mut store::Group, Refusal> {
        self.store.groups.get_mut(name).ok_or_else(no_group)
    }
}

fn no_group() -> Refusal {
    Refusal::new("ResourceNotFoundException", "The specified log group does not exist.")
}

fn no_stream() -> Refusal {
    Refusal::new("ResourceNotFoundException", "The specified log stream does not exist.")
}
