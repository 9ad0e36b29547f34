//! A CloudWatch that stores what it accepts, checks what it is sent as strictly as AWS does, and whose weather changes.
//! Not the decision when the weather changes: that is the driver's.

use std::sync::Arc;

use fastrand::Rng;
use serde_json::Value;

use super::super::Ticket;
use crate::logs::sink::{Accepted, Failure, Kind};

/// What a batch may count by AWS's rule, and how many events it may hold.
const LARGEST_COST: usize = 1_048_576;
const MOST_EVENTS: usize = 10_000;

/// A message with this in it is refused together with its batch.
pub(super) const POISON: &str = "poison";

/// Trouble that weather may bring.
const TROUBLE: [Kind; 10] = [
    Kind::Throttled,
    Kind::Unavailable,
    Kind::Unreachable,
    Kind::NoCredentials,
    Kind::CredentialsRejected,
    Kind::Denied,
    Kind::NotFound,
    Kind::ClockSkew,
    Kind::Refused,
    Kind::InvalidEvents,
];

/// How requests fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    Fine,
    Failing(Kind),
    /// What arrives is stored, and the answer never comes.
    LosingReplies,
    /// Some events are rejected one by one, inside a success.
    Rejecting,
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Put {
    pub(super) stream: usize,
    pub(super) ticket: Ticket,
    log_stream: Arc<str>,
    pub(super) events: Vec<(i64, String)>,
}

/// An event that CloudWatch holds.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) log_stream: Arc<str>,
    pub(super) at: i64,
    pub(super) text: String,
    /// Which of the agent's lives sent it.
    pub(super) life: usize,
}

/// The other end.
#[derive(Debug)]
pub(super) struct Cloud {
    weather: Vec<Weather>,
    pub(super) flying: Vec<Put>,
    pub(super) stored: Vec<Stored>,
    /// Events that were stored although nobody will hear of it.
    pub(super) unheard: usize,
    /// Events that somebody heard of.
    pub(super) heard: usize,
}

impl Put {
    /// How many records of sources it brings: an event that says a gap stands for none.
    fn records(&self) -> usize {
        self.events.iter().filter(|(_, text)| !text.starts_with("[imds-agent: gap: ")).count()
    }
}

impl Cloud {
    pub(super) fn new() -> Self {
        Self { weather: Vec::new(), flying: Vec::new(), stored: Vec::new(), unheard: 0, heard: 0 }
    }

    /// The weather over some streams is another. Says what.
    pub(super) fn change_weather(&mut self, random: &mut Rng) -> String {
        let index = random.usize(..4);
        self.weather.resize(self.weather.len().max(index + 1), Weather::Fine);
        let weather = match random.u8(..6) {
            0 | 1 => Weather::Fine,
            2 => Weather::LosingReplies,
            3 => Weather::Rejecting,
            // Poison is found by its content.
            _ => Weather::Failing(TROUBLE[random.usize(..TROUBLE.len() - 1)]),
        };
        self.weather[index] = weather;
        format!("weather over {index}: {weather:?}")
    }

    /// It is fine for good.
    pub(super) fn calm_down(&mut self) {
        self.weather.clear();
    }

    /// A request arrives; AWS's rules are looked at at once. Returns its first event's time and the beginning of its text.
    pub(super) fn receive(
        &mut self,
        stream: usize,
        ticket: Ticket,
        log_stream: Arc<str>,
        body: &[u8],
    ) -> (i64, String) {
        let request: Value = serde_json::from_slice(body).expect("a body is JSON");
        assert_eq!(request["logStreamName"], *log_stream, "the body names its stream");
        let event = |event: &Value| {
            let text = event["message"].as_str().expect("a message").to_owned();
            (event["timestamp"].as_i64().expect("a time"), text)
        };
        let events: Vec<_> = request["logEvents"].as_array().expect("events").iter().map(event).collect();
        assert!(!events.is_empty() && events.len() <= MOST_EVENTS, "{} events", events.len());
        assert!(events.iter().all(|(_, text)| !text.is_empty()), "an empty message");
        assert!(events.iter().map(|(_, text)| text.len() + 26).sum::<usize>() <= LARGEST_COST, "too large");
        assert!(events.is_sorted_by_key(|(at, _)| *at), "not chronological");
        assert!(events[events.len() - 1].0 - events[0].0 < 24 * 3_600_000, "more than a day");
        let first = (events[0].0, events[0].1.chars().take(30).collect());
        self.flying.push(Put { stream, ticket, log_stream, events });
        first
    }

    /// Takes one request from those on their way, in any order.
    pub(super) fn take(&mut self, random: &mut Rng) -> Option<Put> {
        (!self.flying.is_empty()).then(|| self.flying.swap_remove(random.usize(..self.flying.len())))
    }

    /// The answer to a request, by the weather over its stream.
    pub(super) fn answer(&mut self, put: &Put, life: usize, random: &mut Rng) -> Result<Accepted, Failure> {
        let weather = self.weather.get(put.stream).copied().unwrap_or(Weather::Fine);
        let poisoned = put.events.iter().any(|(_, text)| text.contains(POISON));
        match weather {
            Weather::Failing(kind) => Err(failure(kind)),
            _ if poisoned => Err(failure(Kind::InvalidEvents)),
            Weather::LosingReplies => {
                self.unheard += put.records();
                self.store(put, 0..put.events.len(), life);
                Err(failure(Kind::Unreachable))
            }
            Weather::Rejecting => {
                let mut ends = [0; 3].map(|_| random.usize(..=put.events.len()));
                ends.sort_unstable();
                self.heard += put.records();
                self.store(put, ends[1]..ends[2], life);
                let new = Some(ends[2]).filter(|start| *start < put.events.len());
                Ok(Accepted { too_old_end: Some(ends[0]), expired_end: Some(ends[1]), too_new_start: new })
            }
            Weather::Fine => {
                self.heard += put.records();
                self.store(put, 0..put.events.len(), life);
                Ok(Accepted::default())
            }
        }
    }

    /// The agent was killed: of what was on its way some has arrived, and nobody hears of it.
    pub(super) fn forget_flying(&mut self, life: usize, random: &mut Rng) {
        for put in std::mem::take(&mut self.flying) {
            if random.bool() && self.weather.get(put.stream).is_none_or(|weather| *weather == Weather::Fine) {
                self.unheard += put.records();
                self.store(&put, 0..put.events.len(), life);
            }
        }
    }

    fn store(&mut self, put: &Put, which: std::ops::Range<usize>, life: usize) {
        if put.records() == 0 {
            return;
        }
        for (at, text) in &put.events[which] {
            let (log_stream, text) = (put.log_stream.clone(), text.clone());
            self.stored.push(Stored { log_stream, at: *at, text, life });
        }
    }
}

pub(super) fn failure(kind: Kind) -> Failure {
    Failure { kind, message: format!("{kind:?}"), hint: None, retry_after: None }
}
