//! A batch that is ready to be sent, or on its way: any range of its events as a body, and whose they are.

use std::ops::Range;

use bytes::Bytes;
use jiff::Timestamp;

use super::{Batch, ENDS_RECORD, Entry, FileId, HEAD, Segment, memory, order};
use crate::logs::ledger::Count;

/// A part of a batch that was given up: so many records and bytes of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Which of the batch's segments.
    pub(crate) segment: usize,
    /// Which file.
    pub(crate) file: FileId,
    /// Records and bytes.
    pub(crate) count: Count,
}

/// A batch that is ready to be sent, or on its way.
#[derive(Debug)]
pub(crate) struct Sealed {
    body: Bytes,
    /// Where the events end in the body.
    tail: usize,
    entries: Vec<Entry>,
    segments: Vec<Segment>,
    /// Which event, as it was read, stands where; empty when they stand as they were read.
    order: Vec<u32>,
    first: i64,
    last: i64,
    full: bool,
    memory: usize,
}

impl Sealed {
    /// A batch whose body is whole; its events end at `tail`.
    pub(super) fn of(batch: Batch, tail: usize, order: Vec<u32>) -> Self {
        let memory = memory(&batch.body, &batch.entries, &batch.segments) + order.capacity() * size_of::<u32>();
        Self {
            body: batch.pool.lend(batch.body),
            tail,
            entries: batch.entries,
            segments: batch.segments,
            order,
            first: batch.first,
            last: batch.last,
            full: batch.full,
            memory,
        }
    }

    /// The number of events.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it was closed because no more fitted.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// The memory it takes, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    /// The time of the first event.
    pub(crate) fn first_at(&self) -> Timestamp {
        Timestamp::from_millisecond(self.first).unwrap_or_default()
    }

    /// The time of the last event.
    pub(crate) fn last_at(&self) -> Timestamp {
        Timestamp::from_millisecond(self.last).unwrap_or_default()
    }

    /// Whether the times of both touch, so that one that overtook the other would change the order that is shown.
    pub(crate) fn touches(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// What it covers.
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The request's body with the events of `range` only; nothing is copied for all of them.
    pub(crate) fn body_of(&self, range: Range<usize>) -> Bytes {
        if range == (0..self.len()) {
            return self.body.clone();
        }
        let events = self.events_json(range);
        let tail = &self.body[self.tail..];
        let mut body = Vec::with_capacity(HEAD.len() + events.len() + tail.len());
        body.extend_from_slice(HEAD);
        body.extend_from_slice(events);
        body.extend_from_slice(tail);
        Bytes::from(body)
    }

    /// The JSON of event `index`: `{"timestamp":…,"message":…}`.
    pub(crate) fn event(&self, index: usize) -> &[u8] {
        self.events_json(index..index + 1)
    }

    /// The time of event `index`.
    pub(crate) fn event_at(&self, index: usize) -> Timestamp {
        let json = self.event(index);
        let digits = json.iter().skip(b"{\"timestamp\":".len()).take_while(|byte| **byte != b',');
        let text: String = digits.map(|byte| char::from(*byte)).collect();
        text.parse().ok().and_then(|millis| Timestamp::from_millisecond(millis).ok()).unwrap_or_default()
    }

    fn events_json(&self, range: Range<usize>) -> &[u8] {
        let start = order::event(&self.entries, HEAD.len(), range.start).start;
        &self.body[start..self.entries[range.end - 1].body_end as usize]
    }

    /// Which records and bytes the events of `range` are, by segment.
    pub(crate) fn shares_of(&self, range: Range<usize>) -> Vec<Share> {
        let mut counts = vec![Count::default(); self.segments.len()];
        let ends = self.segment_ends();
        for index in range {
            let read = self.order.get(index).map_or(index, |&read| read as usize);
            let entry = self.entries[index];
            let (events, bytes) = (u64::from(entry.bytes & ENDS_RECORD != 0), u64::from(entry.bytes & !ENDS_RECORD));
            counts[ends.partition_point(|end| *end <= read)].add(Count { events, bytes });
        }
        let shares = counts.into_iter().enumerate().filter(|(_, count)| *count != Count::default());
        shares.map(|(segment, count)| Share { segment, file: self.segments[segment].file, count }).collect()
    }

    /// Behind which event, as they were read, each segment ends.
    fn segment_ends(&self) -> Vec<usize> {
        let mut end = 0;
        let ends = self.segments.iter().map(|segment| {
            end += segment.entries as usize;
            end
        });
        ends.collect()
    }
}
