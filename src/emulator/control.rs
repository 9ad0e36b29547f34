//! What tests in other processes set and read, over HTTP. Not signed, not counted, never hit by a fault.
//!
//! | request | effect |
//! |---|---|
//! | `GET /_emulator/state` | settings, credentials (without secrets), counters, groups, streams and faults, as JSON |
//! | `GET /_emulator/events?group=G&stream=S` | the stream's events as JSON, one a line: `timestamp`, `ingestion_time`, `message` |
//! | `… &format=text` | their messages only, one a line |
//! | `… &order=shown` | in the order CloudWatch shows them (by time) instead of that of arrival |
//! | `POST /_emulator/faults` | adds a [`Fault`], or a list of them |
//! | `DELETE /_emulator/faults` | removes all faults |
//! | `POST /_emulator/settings` | applies a [`Change`](super::Change) |
//! | `POST /_emulator/credentials/rotate` | IMDS issues others at the next request |
//! | `POST /_emulator/credentials/expire` | those that IMDS serves expire now |
//! | `POST /_emulator/credentials/revoke` | APIs refuse those that IMDS serves as expired; IMDS serves them still |
//! | `POST /_emulator/tokens/forget` | all metadata tokens are invalid |
//! | `POST /_emulator/door` | `{"door": "open"}`, `"refuse"` or `"hang"`, back to open after `for_ms` (if given) |
//!
//! A shut door shuts this out too: give `for_ms`, or keep a connection.

use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Answer, ReplyBody};
use super::clock::{Millis, iso};
use super::fault::Fault;
use super::logs::Batch;
use super::operation::form;
use super::options::{Change, Door};
use super::shared::{Shared, State};

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Faults {
    Many(Vec<Fault>),
    One(Box<Fault>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DoorChange {
    door: Door,
    for_ms: Option<u64>,
}

/// An event as `GET /_emulator/events` shows it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    timestamp: Millis,
    ingestion_time: Millis,
    message: &'a str,
}

/// Answers a control request.
pub(super) fn answer(request: &Request<Bytes>, shared: &Arc<Shared>) -> Answer {
    let path = request.uri().path().trim_start_matches("/_emulator/");
    let done = match (request.method().as_str(), path) {
        ("GET", "state") => return plain(200, format!("{:#}\n", document(&shared.state(), shared))),
        ("GET", "events") => return events(request, shared),
        ("POST", "faults") => parse(request).map(|faults| add_faults(shared, faults)),
        ("DELETE", "faults") => {
            shared.state().faults.clear();
            Ok(())
        }
        ("POST", "settings") => parse(request).map(|change: Change| shared.change(&change)),
        ("POST", "door") => parse(request).map(|change| set_door(shared, &change)),
        ("POST", "tokens/forget") => {
            shared.state().tokens.clear();
            Ok(())
        }
        ("POST", "credentials/rotate") => {
            shared.state().keyring.rotate();
            Ok(())
        }
        ("POST", "credentials/expire") => {
            shared.state().keyring.expire(shared.clock.now());
            Ok(())
        }
        ("POST", "credentials/revoke") => {
            shared.state().keyring.revoke();
            Ok(())
        }
        (method, _) => return plain(404, format!("the emulator has no {method} /_emulator/{path}\n")),
    };
    match done {
        Ok(()) => {
            let what = String::from_utf8_lossy(request.body());
            shared.tell("emulator".into(), Some(200), format!("{} {path} {what}", request.method()));
            Answer::new(200, "application/json", "{}\n")
        }
        Err(reason) => plain(400, reason),
    }
}

fn plain(status: u16, text: String) -> Answer {
    Answer::new(status, if status == 200 { "application/json" } else { "text/plain" }, text)
}

fn parse<T: DeserializeOwned>(request: &Request<Bytes>) -> Result<T, String> {
    serde_json::from_slice(request.body()).map_err(|error| format!("{}: {error}\n", request.uri().path()))
}

fn add_faults(shared: &Shared, faults: Faults) {
    let mut state = shared.state();
    match faults {
        Faults::Many(faults) => faults.into_iter().for_each(|fault| state.faults.add(fault)),
        Faults::One(fault) => state.faults.add(*fault),
    }
}

fn set_door(shared: &Arc<Shared>, change: &DoorChange) {
    shared.door.send_replace(change.door);
    if let Some(millis) = change.for_ms {
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            shared.door.send_replace(Door::Open);
        });
    }
}

/// The state as JSON. No secrets, although these open nothing: habits matter.
pub(super) fn document(state: &State, shared: &Shared) -> Value {
    let served = state.keyring.served().map(|issued| {
        json!({
            "access_key_id": issued.key_id,
            "arn": issued.arn,
            "last_updated": iso(issued.begins_at),
            "expiration": iso(issued.expires_at),
            "revoked": issued.revoked,
        })
    });
    json!({
        "now": iso(shared.clock.now()),
        "door": *shared.door.borrow(),
        "settings": {
            "instance_id": state.options.instance_id,
            "region": state.options.region,
            "account_id": state.options.account_id,
            "role_name": state.role_name,
            "credentials_lifetime_seconds": state.credentials_lifetime / 1000,
            "freeze_credentials": state.keyring.frozen,
            "clock_skew_seconds": shared.clock.skew(),
            "hop_limit": state.hop_limit,
            "imds_off": state.imds_off,
            "imds_v1": state.imds_v1,
            "gzip": state.gzip,
            "put_latency_ms": u64::try_from(state.put_latency.as_millis()).unwrap_or(u64::MAX),
        },
        "credentials": served,
        "tokens": state.tokens.len(),
        "counts": state.counts,
        "groups": state.store.group_summaries(),
        "streams": state.store.stream_summaries(),
        "faults": state.faults,
    })
}

fn events(request: &Request<Bytes>, shared: &Shared) -> Answer {
    let query = request.uri().query().unwrap_or_default().as_bytes();
    let field = |name: &str| form(query, name).unwrap_or_default();
    let (group, stream) = (field("group"), field("stream"));
    let batches = match field("order").as_ref() {
        "" | "arrival" => shared.state().store.batches(&group, &stream),
        "shown" => shared.state().store.shown_batches(&group, &stream),
        other => return plain(400, format!("order is arrival or shown, not {other}\n")),
    };
    let Some(batches) = batches else {
        return plain(404, format!("there is no stream {stream} in a group {group}\n"));
    };
    let render: fn(&Batch) -> Bytes = match field("format").as_ref() {
        "" | "json" => json_lines,
        "text" => text_lines,
        other => return plain(400, format!("format is json or text, not {other}\n")),
    };
    let mut answer = Answer::new(200, "text/plain; charset=utf-8", Bytes::new());
    answer.body = ReplyBody::Pieces(Box::new(batches.into_iter().map(move |batch| render(&batch))));
    answer
}

fn json_lines(batch: &Batch) -> Bytes {
    // Room for the members' names and two times an event, and for some quotes to escape.
    let mut lines = Vec::with_capacity(batch.bytes() + batch.len() * 80);
    for (timestamp, message) in batch.iter() {
        let line = Line { timestamp, ingestion_time: batch.ingested_at, message };
        serde_json::to_writer(&mut lines, &line).expect("numbers and text always serialise into memory");
        lines.push(b'\n');
    }
    lines.into()
}

fn text_lines(batch: &Batch) -> Bytes {
    let mut text = String::with_capacity(batch.bytes() + batch.len());
    for (_, message) in batch.iter() {
        text.push_str(message);
        text.push('\n');
    }
    text.into()
}
