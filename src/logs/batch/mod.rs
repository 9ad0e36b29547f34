//! One `PutLogEvents` request: its body, written as records are read, within the limits that AWS counts by, and which
//! ranges of which sources it covers. Not the sending, nor the order between batches.
//!
//! Events are written as they come. Those that have a time of their own may come out of order: then, and only then, the
//! sealed body is put in order, and which event was whose is remembered as a permutation.

mod json;
mod order;
mod pool;
mod sealed;

use std::collections::BTreeMap;
use std::io::Write as _;

use jiff::Timestamp;

use super::framing::{Piece, Record};
use super::ledger::{Count, Reason};
pub(crate) use pool::Pool;
pub(crate) use sealed::Sealed;

/// What AWS adds to each event's bytes when it counts a batch (CloudWatch Logs API reference, `PutLogEvents`).
const EVENT_OVERHEAD: usize = 26;

/// The most a batch may count.
const LARGEST_COST: usize = 1_048_576;

/// The most events a batch may hold.
const MOST_EVENTS: usize = 10_000;

/// The longest span of a batch's events, in milliseconds: 24 hours.
const LONGEST_SPAN: i64 = 24 * 60 * 60 * 1000;

/// A body longer than this is sent although AWS would count less: a control character of one byte is six in JSON.
const LONGEST_BODY: usize = 2 << 20;

/// Where a source is read: the file and how the byte offset lies in its line.
pub(crate) type FileId = u64;

/// One event of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// Where its JSON ends in the body.
    body_end: u32,
    /// How many of the source's bytes it covers; the highest bit says whether it ends its record (parts of a line are
    /// one record). Two words an event, as there are thousands in memory.
    bytes: u32,
}

/// The bit of [`Entry::bytes`] that says "ends its record".
const ENDS_RECORD: u32 = 1 << 31;

/// A run of records of one file that stand in a batch together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Which file.
    pub(crate) file: FileId,
    /// The first byte.
    pub(crate) start: u64,
    /// One past the last byte.
    pub(crate) end: u64,
    /// How many parts of the line at `start` stood before it.
    pub(crate) start_parts: u32,
    /// How many parts of the line at `end` stand before it.
    pub(crate) end_parts: u32,
    /// How many events of the batch are this segment's.
    pub(crate) entries: u32,
    /// Records that end in this segment, without those that are not sent.
    pub(crate) records: u64,
    /// The source's bytes it covers; where records have headers of ours, less than from its first to its last.
    pub(crate) bytes: u64,
    /// What of it is not sent.
    pub(crate) skipped: BTreeMap<Reason, Count>,
    /// Records that were not valid in their encoding.
    pub(crate) invalid_utf8: u64,
    /// Records whose time was looked for and not found.
    pub(crate) unparsed_timestamps: u64,
}

impl Segment {
    /// All it covers: what is sent and what is not.
    pub(crate) fn count(&self) -> Count {
        Count { events: self.records + self.skipped.values().map(|count| count.events).sum::<u64>(), bytes: self.bytes }
    }

    /// What of it is sent.
    pub(crate) fn sent(&self) -> Count {
        Count { events: self.records, bytes: self.bytes - self.skipped.values().map(|count| count.bytes).sum::<u64>() }
    }
}

/// Room behind the events for the rest of the body: both names, escaped.
const TAIL_ROOM: usize = 2048;

/// What an event's JSON takes beside its text, with a timestamp of our age.
const EVENT_JSON: usize = 64;

/// What every body begins with.
const HEAD: &[u8] = b"{\"logEvents\":[";

/// A record's text, ready for JSON.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Message<'a> {
    /// The text.
    pub(crate) text: &'a str,
    /// Whether bytes that mean nothing were replaced in it.
    pub(crate) replaced: bool,
    /// Its own time; without one it gets the time of reading.
    pub(crate) time: Option<Timestamp>,
    /// Whether a time was looked for and not found.
    pub(crate) unparsed: bool,
}

#[cfg(test)]
impl<'a> Message<'a> {
    /// A text of which nothing is known.
    pub(crate) fn of(text: &'a str) -> Self {
        Self { text, ..Self::default() }
    }
}

/// A batch being filled.
#[derive(Debug)]
pub(crate) struct Batch {
    body: Vec<u8>,
    entries: Vec<Entry>,
    segments: Vec<Segment>,
    cost: usize,
    first: i64,
    last: i64,
    /// The last time of reading that an event got; before the first, the least that it may get.
    read_until: i64,
    /// Whether an event is older than one before it.
    unordered: bool,
    full: bool,
    /// What stands before each message, for the time in `prefix_at`: formatting a number per event would cost more
    /// than copying the event.
    prefix: Vec<u8>,
    prefix_at: Option<i64>,
    pool: Pool,
}

impl Batch {
    /// An empty batch; no event of it that gets the time of reading is older than `not_before`. `expected` bytes are
    /// about to be read into it.
    pub(crate) fn new(not_before: Timestamp, expected: usize, pool: &Pool) -> Self {
        let mut body = pool.take(expected.min(LONGEST_BODY) + TAIL_ROOM);
        body.extend_from_slice(HEAD);
        let not_before = not_before.as_millisecond();
        Self {
            body,
            entries: Vec::new(),
            segments: Vec::new(),
            cost: 0,
            first: not_before,
            last: not_before,
            read_until: not_before,
            unordered: false,
            full: false,
            prefix: Vec::new(),
            prefix_at: None,
            pool: pool.clone(),
        }
    }

    /// Begins a run of `file` at `start`, unless the last run goes on there.
    pub(crate) fn begin_segment(&mut self, file: FileId, start: u64, parts: u32) {
        if self.segments.last().is_some_and(|last| last.file == file && last.end == start) {
            return;
        }
        self.drop_empty_segment();
        let segment = Segment { file, start, end: start, start_parts: parts, end_parts: parts, ..Segment::default() };
        self.segments.push(segment);
    }

    /// A run of which nothing was read ends: another batch may begin its own run at the same place.
    fn drop_empty_segment(&mut self) {
        self.segments.pop_if(|last| last.start == last.end && last.entries == 0);
    }

    /// Adds a record to the run begun last; `at` is the time of reading. `false`, and nothing added, when the batch has
    /// no room for it.
    #[inline]
    pub(crate) fn push(&mut self, record: &Record<'_>, text: Message<'_>, at: Timestamp, limit: usize) -> bool {
        if record.piece == Piece::Line && is_empty(text.text) {
            self.skip(record, Reason::Empty, 0);
            return true;
        }
        let marker = record.piece.marker();
        if !self.push_event(text, &marker, at, limit) {
            return false;
        }
        self.enter(record, text);
        true
    }

    /// Passes over a record of the run begun last, or a part of one; `parts` of its line stand before what follows.
    pub(crate) fn skip(&mut self, record: &Record<'_>, reason: Reason, parts: u32) {
        let Some(segment) = self.segments.last_mut() else { return };
        let events = u64::from(record.piece.next_part() == 0);
        segment.end += record.length as u64;
        segment.end_parts = parts;
        segment.bytes += record.bytes as u64;
        segment.skipped.entry(reason).or_default().add(Count { events, bytes: record.bytes as u64 });
    }

    /// Adds an event of our own, which is no source's: it costs nothing in any account. `false`, and nothing added, when
    /// the batch has no room for it.
    pub(crate) fn push_marker(&mut self, text: &str, at: Timestamp) -> bool {
        let text = Message { text, time: Some(at), ..Message::default() };
        if !self.push_event(text, "", at, usize::MAX) {
            return false;
        }
        let body_end = self.body_end();
        self.entries.push(Entry { body_end, bytes: 0 });
        // No feed has number 0.
        self.segments.push(Segment { entries: 1, ..Segment::default() });
        true
    }

    #[inline]
    fn push_event(&mut self, text: Message<'_>, marker: &str, read_at: Timestamp, limit: usize) -> bool {
        let read_at = read_at.as_millisecond().max(self.read_until);
        let at = text.time.map_or(read_at, Timestamp::as_millisecond);
        let cost = text.text.len() + marker.len() + EVENT_OVERHEAD;
        if self.has_no_room(cost, at, limit) {
            self.full = true;
            return false;
        }
        self.write_event(at, text, marker);
        self.cost += cost;
        if text.time.is_none() {
            self.read_until = at;
        }
        if self.entries.is_empty() {
            (self.first, self.last) = (at, at);
        }
        self.unordered |= at < self.last;
        self.first = self.first.min(at);
        self.last = self.last.max(at);
        true
    }

    #[inline]
    fn has_no_room(&self, cost: usize, at: i64, limit: usize) -> bool {
        !self.entries.is_empty()
            && (self.cost + cost > LARGEST_COST
                || self.entries.len() >= MOST_EVENTS
                || self.last.max(at) - self.first.min(at) >= LONGEST_SPAN
                || self.body.len() + cost + EVENT_JSON > limit.min(LONGEST_BODY))
    }

    #[inline]
    fn write_event(&mut self, at: i64, text: Message<'_>, marker: &str) {
        if !self.entries.is_empty() {
            self.body.push(b',');
        }
        if self.prefix_at != Some(at) {
            self.prefix.clear();
            // Writing to memory can't fail.
            let _ = write!(self.prefix, "{{\"timestamp\":{at},\"message\":\"");
            self.prefix_at = Some(at);
        }
        // Doubling a body of a megabyte would waste half of what it takes.
        let needed = self.prefix.len() + text.text.len() + marker.len() + 2;
        if self.body.capacity() - self.body.len() < needed + TAIL_ROOM {
            self.body.reserve_exact(needed + TAIL_ROOM + self.body.len() / 4);
        }
        self.body.extend_from_slice(&self.prefix);
        json::escape_into(&mut self.body, text.text);
        self.body.extend_from_slice(marker.as_bytes());
        self.body.extend_from_slice(b"\"}");
    }

    #[inline]
    fn body_end(&self) -> u32 {
        u32::try_from(self.body.len()).unwrap_or(u32::MAX)
    }

    #[inline]
    fn enter(&mut self, record: &Record<'_>, text: Message<'_>) {
        let ends_record = record.piece.next_part() == 0;
        let bytes = u32::try_from(record.bytes).unwrap_or(ENDS_RECORD - 1);
        let body_end = self.body_end();
        self.entries.push(Entry { body_end, bytes: if ends_record { bytes | ENDS_RECORD } else { bytes } });
        if let Some(segment) = self.segments.last_mut() {
            segment.end += record.length as u64;
            segment.end_parts = record.piece.next_part();
            segment.entries += 1;
            segment.bytes += record.bytes as u64;
            segment.records += u64::from(ends_record);
            segment.invalid_utf8 += u64::from(text.replaced);
            segment.unparsed_timestamps += u64::from(text.unparsed);
        }
    }

    /// The run begun last, if it is of `file`.
    pub(crate) fn last_segment(&self, file: FileId) -> Option<Segment> {
        self.segments.last().filter(|segment| segment.file == file).cloned()
    }

    /// Whether nothing was read into it.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.segments.iter().all(|segment| segment.start == segment.end)
    }

    /// Whether a record found no room in it.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// What it covers.
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The time of its oldest event.
    pub(crate) fn first_at(&self) -> Timestamp {
        Timestamp::from_millisecond(self.first).unwrap_or_default()
    }

    /// The last time of reading that an event of it got: those of the stream's next batch come after it.
    pub(crate) fn read_until(&self) -> Timestamp {
        Timestamp::from_millisecond(self.read_until).unwrap_or_default()
    }

    /// The memory it takes, in bytes.
    pub(crate) fn memory(&self) -> usize {
        memory(&self.body, &self.entries, &self.segments)
    }

    /// Closes the body: nothing is added any more.
    pub(crate) fn seal(mut self, log_group: &str, log_stream: &str) -> Sealed {
        self.drop_empty_segment();
        let order = if self.unordered { self.put_in_order() } else { Vec::new() };
        let tail = self.body.len();
        self.body.extend_from_slice(b"],\"logGroupName\":\"");
        json::escape_into(&mut self.body, log_group);
        self.body.extend_from_slice(b"\",\"logStreamName\":\"");
        json::escape_into(&mut self.body, log_stream);
        self.body.extend_from_slice(b"\"}");
        Sealed::of(self, tail, order)
    }

    /// Puts the events in order of time, those of the same time as they came; returns which event, as it came, stands
    /// where.
    fn put_in_order(&mut self) -> Vec<u32> {
        let order = order::by_time(&self.body, HEAD.len(), &self.entries);
        let mut body = self.pool.take(self.body.len() + TAIL_ROOM);
        body.extend_from_slice(HEAD);
        let mut entries = Vec::with_capacity(self.entries.len());
        for &index in &order {
            if !entries.is_empty() {
                body.push(b',');
            }
            body.extend_from_slice(&self.body[order::event(&self.entries, HEAD.len(), index as usize)]);
            let body_end = u32::try_from(body.len()).unwrap_or(u32::MAX);
            entries.push(Entry { body_end, ..self.entries[index as usize] });
        }
        self.entries = entries;
        drop(self.pool.lend(std::mem::replace(&mut self.body, body)));
        order
    }
}

/// Whether there is nothing to be sent of a text: CloudWatch takes no empty message, and line ends alone are none.
#[inline]
fn is_empty(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\n' || byte == b'\r')
}

fn memory(body: &Vec<u8>, entries: &Vec<Entry>, segments: &Vec<Segment>) -> usize {
    body.capacity() + entries.capacity() * size_of::<Entry>() + segments.capacity() * size_of::<Segment>()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
