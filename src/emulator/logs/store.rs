//! Where accepted events stand: one arena of text a batch, so that a million events are a few thousand allocations.
//! Not what is accepted: that is `put`'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::super::clock::Millis;

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The caller's time, in milliseconds since the epoch.
    pub timestamp: i64,
    /// When it was accepted, by the emulator's clock.
    pub ingestion_time: i64,
    /// The text.
    pub message: String,
}

/// A stream in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamSummary {
    /// The group's name.
    pub group: String,
    /// The stream's name.
    pub stream: String,
    /// How many events it holds.
    pub events: u64,
    /// Bytes of their messages.
    pub bytes: u64,
    /// How many calls brought them.
    pub puts: u64,
}

/// A group as it was set up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupSummary {
    /// Its name.
    pub group: String,
    /// How long it keeps events, in days; `None`: for ever.
    pub retention_in_days: Option<u32>,
    /// `STANDARD`, `INFREQUENT_ACCESS` or `DELIVERY`.
    pub class: String,
    /// The KMS key that its events are encrypted with.
    pub kms_key_id: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// How often its retention was set.
    pub retention_calls: u64,
}

/// All groups by name.
#[derive(Debug, Default)]
pub(in super::super) struct Store {
    pub(super) groups: BTreeMap<String, Group>,
}

/// A group and its streams by name.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) created_at: Millis,
    pub(super) class: String,
    pub(super) kms_key_id: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) retention_in_days: Option<u32>,
    pub(super) retention_calls: u64,
    pub(super) streams: BTreeMap<String, Stream>,
}

/// A stream: its batches in the order of their arrival.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) created_at: Millis,
    batches: Vec<Arc<Batch>>,
    /// The number of each batch's first event.
    starts: Vec<usize>,
    events: usize,
    pub(super) bytes: u64,
    /// Whether no event is older than one that arrived before it, which makes the order of arrival that of time.
    in_order: bool,
    pub(super) first_timestamp: Option<Millis>,
    pub(super) last_timestamp: Option<Millis>,
}

/// The events of one call.
#[derive(Debug, Default)]
pub(in super::super) struct Batch {
    pub(in super::super) ingested_at: Millis,
    text: String,
    /// Each event's time, and where its text ends.
    entries: Vec<(Millis, usize)>,
}

impl Batch {
    pub(super) fn new(ingested_at: Millis, bytes: usize, events: usize) -> Self {
        Self { ingested_at, text: String::with_capacity(bytes), entries: Vec::with_capacity(events) }
    }

    pub(super) fn push(&mut self, timestamp: Millis, message: &str) {
        self.text.push_str(message);
        self.entries.push((timestamp, self.text.len()));
    }

    pub(in super::super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(in super::super) fn bytes(&self) -> usize {
        self.text.len()
    }

    fn get(&self, index: usize) -> (Millis, &str) {
        let begin = index.checked_sub(1).map_or(0, |before| self.entries[before].1);
        let (timestamp, end) = self.entries[index];
        (timestamp, &self.text[begin..end])
    }

    /// The events in order.
    pub(in super::super) fn iter(&self) -> impl Iterator<Item = (Millis, &str)> {
        (0..self.len()).map(|index| self.get(index))
    }
}

impl Stream {
    pub(super) fn new(created_at: Millis) -> Self {
        Self { created_at, in_order: true, ..Self::default() }
    }

    /// Appends what a call brought; its events are in the order of time.
    pub(super) fn append(&mut self, batch: Batch) {
        let (Some(first), Some(last)) = (batch.entries.first(), batch.entries.last()) else { return };
        self.in_order &= self.last_timestamp.is_none_or(|latest| latest <= first.0);
        self.first_timestamp = self.first_timestamp.min(Some(first.0)).or(Some(first.0));
        self.last_timestamp = self.last_timestamp.max(Some(last.0));
        self.starts.push(self.events);
        self.events += batch.len();
        self.bytes += batch.bytes() as u64;
        self.batches.push(Arc::new(batch));
    }

    pub(super) fn last_ingestion(&self) -> Option<Millis> {
        Some(self.batches.last()?.ingested_at)
    }

    /// The event that arrived as number `index`: when it arrived, its time, its text.
    pub(super) fn get(&self, index: usize) -> (Millis, Millis, &str) {
        let batch = self.starts.partition_point(|start| *start <= index) - 1;
        let (timestamp, message) = self.batches[batch].get(index - self.starts[batch]);
        (self.batches[batch].ingested_at, timestamp, message)
    }

    /// The numbers of all events in the order CloudWatch shows them: by time, then by arrival.
    pub(super) fn shown(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.events).collect();
        if !self.in_order {
            let times: Vec<Millis> = self.batches.iter().flat_map(|batch| batch.iter().map(|event| event.0)).collect();
            order.sort_by_key(|index| times[*index]);
        }
        order
    }
}

impl Store {
    /// The stream's batches in the order of their arrival; `None`: no such stream.
    pub(in super::super) fn batches(&self, group: &str, stream: &str) -> Option<Vec<Arc<Batch>>> {
        Some(self.stream(group, stream)?.batches.clone())
    }

    /// The stream's events as one batch a thousand, in the order CloudWatch shows them; `None`: no such stream.
    pub(in super::super) fn shown_batches(&self, group: &str, stream: &str) -> Option<Vec<Arc<Batch>>> {
        let stream = self.stream(group, stream)?;
        if stream.in_order {
            return Some(stream.batches.clone());
        }
        let regroup = |indices: &[usize]| {
            let mut batch = Batch::default();
            for index in indices {
                let (ingested_at, timestamp, message) = stream.get(*index);
                batch.ingested_at = ingested_at;
                batch.push(timestamp, message);
            }
            Arc::new(batch)
        };
        Some(stream.shown().chunks(1000).map(regroup).collect())
    }

    fn stream(&self, group: &str, stream: &str) -> Option<&Stream> {
        self.groups.get(group)?.streams.get(stream)
    }

    pub(in super::super) fn stream_summaries(&self) -> Vec<StreamSummary> {
        let of_group = |(group, inside): (&String, &Group)| {
            let summary = |(stream, held): (&String, &Stream)| StreamSummary {
                group: group.clone(),
                stream: stream.clone(),
                events: held.events as u64,
                bytes: held.bytes,
                puts: held.batches.len() as u64,
            };
            inside.streams.iter().map(summary).collect::<Vec<_>>()
        };
        self.groups.iter().flat_map(of_group).collect()
    }

    pub(in super::super) fn group_summaries(&self) -> Vec<GroupSummary> {
        let summary = |(group, inside): (&String, &Group)| GroupSummary {
            group: group.clone(),
            retention_in_days: inside.retention_in_days,
            class: inside.class.clone(),
            kms_key_id: inside.kms_key_id.clone(),
            tags: inside.tags.clone(),
            retention_calls: inside.retention_calls,
        };
        self.groups.iter().map(summary).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(events: &[(Millis, &str)]) -> Batch {
        let mut batch = Batch::new(7, 0, 0);
        for (timestamp, message) in events {
            batch.push(*timestamp, message);
        }
        batch
    }

    fn shown(stream: &Stream) -> Vec<&str> {
        stream.shown().into_iter().map(|index| stream.get(index).2).collect()
    }

    #[test]
    fn events_are_found_by_the_number_of_their_arrival() {
        let mut stream = Stream::new(0);
        stream.append(batch(&[(1, "a"), (2, "bc")]));
        stream.append(batch(&[(2, "d")]));
        assert_eq!((stream.get(0), stream.get(1), stream.get(2)), ((7, 1, "a"), (7, 2, "bc"), (7, 2, "d")));
        assert!(stream.in_order);
        assert_eq!((stream.events, stream.bytes), (3, 4));
    }

    #[test]
    fn a_batch_of_older_events_is_shown_before_and_kept_behind() {
        let mut stream = Stream::new(0);
        stream.append(batch(&[(5, "late"), (6, "later")]));
        stream.append(batch(&[(1, "early"), (5, "as late")]));
        assert_eq!(shown(&stream), ["early", "late", "as late", "later"]);
        assert_eq!((stream.first_timestamp, stream.last_timestamp), (Some(1), Some(6)));
    }
}
