//! One `PutLogEvents` request: its body, written as records are read, within the limits that AWS counts by, and which
//! ranges of which sources it covers. Not the sending, nor the order between batches.

mod json;
mod pool;

use std::ops::Range;

use bytes::Bytes;
use jiff::Timestamp;

use super::framing::{Piece, Record};
pub(crate) use pool::Pool;

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
    /// Records that end in this segment, without the empty ones.
    pub(crate) records: u64,
    /// Empty lines.
    pub(crate) empty_records: u64,
    /// The bytes of empty lines.
    pub(crate) empty_bytes: u64,
    /// Records that were not UTF-8.
    pub(crate) invalid_utf8: u64,
}

impl Segment {
    /// The bytes it covers.
    pub(crate) fn bytes(&self) -> u64 {
        self.end - self.start
    }
}

/// A part of a batch that was given up: so many records and bytes of one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// Which file.
    pub(crate) file: FileId,
    /// Records.
    pub(crate) records: u64,
    /// The source's bytes.
    pub(crate) bytes: u64,
}

/// Room behind the events for the rest of the body: both names, escaped.
const TAIL_ROOM: usize = 2048;

/// What an event's JSON takes beside its text, with a timestamp of our age.
const EVENT_JSON: usize = 64;

/// What every body begins with.
const HEAD: &[u8] = b"{\"logEvents\":[";

/// A record's text, ready for JSON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    /// The text.
    pub(crate) text: &'a str,
    /// Whether bytes that are not UTF-8 were replaced in it.
    pub(crate) replaced: bool,
    /// Whether it is known to hold no control characters.
    pub(crate) plain: bool,
}

#[cfg(test)]
impl<'a> Message<'a> {
    /// A text of which nothing is known.
    pub(crate) fn of(text: &'a str) -> Self {
        Self { text, replaced: false, plain: false }
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
    full: bool,
    /// What stands before each message, for the time in `prefix_at`: formatting a number per event would cost more
    /// than copying the event.
    prefix: Vec<u8>,
    prefix_at: Option<i64>,
    pool: Pool,
}

impl Batch {
    /// An empty batch; no event of it is older than `not_before`. `expected` bytes are about to be read into it.
    pub(crate) fn new(not_before: Timestamp, expected: usize, pool: &Pool) -> Self {
        let mut body = pool.take(expected.min(LONGEST_BODY) + TAIL_ROOM);
        body.extend_from_slice(HEAD);
        let first = not_before.as_millisecond();
        Self {
            body,
            entries: Vec::new(),
            segments: Vec::new(),
            cost: 0,
            first,
            last: first,
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
        let segment = Segment { file, start, end: start, start_parts: parts, end_parts: parts, ..Segment::default() };
        self.segments.push(segment);
    }

    /// Adds a record to the run begun last. `false`, and nothing added, when the batch has no room for it.
    pub(crate) fn push(&mut self, record: &Record<'_>, text: Message<'_>, at: Timestamp, limit: usize) -> bool {
        if record.text.is_empty() && record.piece == Piece::Line {
            self.skip_empty(record);
            return true;
        }
        let at = at.as_millisecond().max(self.last);
        let marker = record.piece.marker();
        let cost = text.text.len() + marker.len() + EVENT_OVERHEAD;
        if self.has_no_room(cost, at, limit) {
            self.full = true;
            return false;
        }
        self.write_event(at, text, &marker);
        self.cost += cost;
        self.last = at;
        if self.entries.is_empty() {
            self.first = at;
        }
        self.enter(record, text.replaced);
        true
    }

    fn has_no_room(&self, cost: usize, at: i64, limit: usize) -> bool {
        !self.entries.is_empty()
            && (self.cost + cost > LARGEST_COST
                || self.entries.len() >= MOST_EVENTS
                || at - self.first >= LONGEST_SPAN
                || self.body.len() + cost + EVENT_JSON > limit.min(LONGEST_BODY))
    }

    fn write_event(&mut self, at: i64, text: Message<'_>, marker: &str) {
        if !self.entries.is_empty() {
            self.body.push(b',');
        }
        if self.prefix_at != Some(at) {
            self.prefix = format!("{{\"timestamp\":{at},\"message\":\"").into_bytes();
            self.prefix_at = Some(at);
        }
        // Doubling a body of a megabyte would waste half of what it takes.
        let needed = self.prefix.len() + text.text.len() + marker.len() + 2;
        if self.body.capacity() - self.body.len() < needed + TAIL_ROOM {
            self.body.reserve_exact(needed + TAIL_ROOM + self.body.len() / 4);
        }
        self.body.extend_from_slice(&self.prefix);
        json::escape_into(&mut self.body, text.text, text.plain);
        self.body.extend_from_slice(marker.as_bytes());
        self.body.extend_from_slice(b"\"}");
    }

    fn enter(&mut self, record: &Record<'_>, replaced: bool) {
        let ends_record = record.piece.next_part() == 0;
        let bytes = u32::try_from(record.length).unwrap_or(ENDS_RECORD - 1);
        self.entries.push(Entry {
            body_end: u32::try_from(self.body.len()).unwrap_or(u32::MAX),
            bytes: if ends_record { bytes | ENDS_RECORD } else { bytes },
        });
        if let Some(segment) = self.segments.last_mut() {
            segment.end += record.length as u64;
            segment.end_parts = record.piece.next_part();
            segment.entries += 1;
            segment.records += u64::from(ends_record);
            segment.invalid_utf8 += u64::from(replaced);
        }
    }

    fn skip_empty(&mut self, record: &Record<'_>) {
        if let Some(segment) = self.segments.last_mut() {
            segment.end += record.length as u64;
            segment.empty_records += 1;
            segment.empty_bytes += record.length as u64;
        }
    }

    /// The run begun last, if it is of `file`.
    pub(crate) fn last_segment(&self, file: FileId) -> Option<Segment> {
        self.segments.last().filter(|segment| segment.file == file).cloned()
    }

    /// Whether nothing was read into it.
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.iter().all(|segment| segment.start == segment.end)
    }

    /// Whether a record found no room in it.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// What it covers.
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The time of its first event.
    pub(crate) fn first_at(&self) -> Timestamp {
        Timestamp::from_millisecond(self.first).unwrap_or_default()
    }

    /// The time of its last event; the next batch of the stream begins after it.
    pub(crate) fn last_at(&self) -> Timestamp {
        Timestamp::from_millisecond(self.last).unwrap_or_default()
    }

    /// The memory it takes, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.body.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Closes the body: nothing is added any more.
    pub(crate) fn seal(mut self, log_group: &str, log_stream: &str) -> Sealed {
        let tail = self.body.len();
        self.body.extend_from_slice(b"],\"logGroupName\":\"");
        json::escape_into(&mut self.body, log_group, false);
        self.body.extend_from_slice(b"\",\"logStreamName\":\"");
        json::escape_into(&mut self.body, log_stream, false);
        self.body.extend_from_slice(b"\"}");
        let memory = self.memory();
        Sealed {
            body: self.pool.lend(self.body),
            tail,
            entries: self.entries,
            segments: self.segments,
            first: self.first,
            last: self.last,
            full: self.full,
            memory,
        }
    }
}

/// A batch that is ready to be sent, or on its way.
#[derive(Debug)]
pub(crate) struct Sealed {
    body: Bytes,
    /// Where the events end in the body.
    tail: usize,
    entries: Vec<Entry>,
    segments: Vec<Segment>,
    first: i64,
    last: i64,
    full: bool,
    memory: usize,
}

impl Sealed {
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

    fn events_json(&self, range: Range<usize>) -> &[u8] {
        let start = match range.start {
            0 => HEAD.len(),
            // Behind the comma that follows the event before.
            index => self.entries[index - 1].body_end as usize + 1,
        };
        &self.body[start..self.entries[range.end - 1].body_end as usize]
    }

    /// Which records and bytes the events of `range` are, by file.
    pub(crate) fn shares_of(&self, range: Range<usize>) -> Vec<Share> {
        let mut shares = Vec::new();
        let mut first = 0;
        for segment in &self.segments {
            let next = first + segment.entries as usize;
            let inside = range.start.clamp(first, next)..range.end.clamp(first, next);
            if !inside.is_empty() {
                let mut share = Share { file: segment.file, ..Share::default() };
                for entry in &self.entries[inside] {
                    share.records += u64::from(entry.bytes & ENDS_RECORD != 0);
                    share.bytes += u64::from(entry.bytes & !ENDS_RECORD);
                }
                shares.push(share);
            }
            first = next;
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).expect("a time")
    }

    /// Fills a batch with `lines`, all read at `time`; how many found room.
    fn fill(batch: &mut Batch, file: FileId, start: u64, lines: &[&str], time: i64) -> usize {
        batch.begin_segment(file, start, 0);
        let fits = |line: &&&str| {
            let record = Record { text: line.as_bytes(), length: line.len() + 1, piece: Piece::Line };
            batch.push(&record, Message::of(line), at(time), usize::MAX)
        };
        lines.iter().take_while(fits).count()
    }

    fn parse(body: &[u8]) -> Value {
        serde_json::from_slice(body).expect("the body is JSON")
    }

    #[test]
    fn the_body_is_what_the_api_wants() {
        let mut batch = Batch::new(at(5), 0, &Pool::default());
        fill(&mut batch, 1, 0, &["a \"quoted\" one", "two"], 7);
        let sealed = batch.seal("/g", "s\"x");
        let expected = serde_json::json!({
            "logEvents": [{"timestamp": 7, "message": "a \"quoted\" one"}, {"timestamp": 7, "message": "two"}],
            "logGroupName": "/g", "logStreamName": "s\"x",
        });
        assert_eq!(parse(&sealed.body_of(0..2)), expected);
        assert_eq!(parse(&sealed.body_of(1..2))["logEvents"], serde_json::json!([{"timestamp": 7, "message": "two"}]));
        assert_eq!(parse(sealed.event(0))["message"], "a \"quoted\" one");
    }

    #[test]
    fn a_batch_holds_ten_thousand_events() {
        let lines = vec!["x"; 10_001];
        assert_eq!(fill(&mut Batch::new(at(0), 0, &Pool::default()), 1, 0, &lines, 0), 10_000);
    }

    #[test]
    fn a_batch_counts_each_event_with_26_bytes_more() {
        let line = "x".repeat(1000 - 26);
        let lines = vec![line.as_str(); 2000];
        assert_eq!(fill(&mut Batch::new(at(0), 0, &Pool::default()), 1, 0, &lines, 0), 1_048_576 / 1000);
    }

    #[test]
    fn the_largest_event_fits_alone() {
        let line = "x".repeat(1_048_550);
        let mut batch = Batch::new(at(0), 0, &Pool::default());
        assert_eq!(fill(&mut batch, 1, 0, &[line.as_str(), "y"], 0), 1);
        assert!(batch.is_full());
    }

    #[test]
    fn a_batch_spans_less_than_a_day_and_never_goes_back_in_time() {
        let mut batch = Batch::new(at(100), 0, &Pool::default());
        assert_eq!(fill(&mut batch, 1, 0, &["early"], 50), 1);
        assert_eq!(fill(&mut batch, 1, 6, &["late"], 100 + LONGEST_SPAN), 0);
        assert_eq!(batch.seal("g", "s").first_at(), at(100));
    }

    #[test]
    fn empty_lines_are_covered_but_not_sent() {
        let mut batch = Batch::new(at(0), 0, &Pool::default());
        fill(&mut batch, 1, 10, &["", "a", ""], 0);
        let sealed = batch.seal("g", "s");
        let segment = &sealed.segments()[0];
        assert_eq!((sealed.len(), segment.start, segment.end), (1, 10, 14));
        assert_eq!((segment.records, segment.empty_records, segment.empty_bytes), (1, 2, 2));
    }

    #[test]
    fn shares_tell_whose_events_a_range_is() {
        let mut batch = Batch::new(at(0), 0, &Pool::default());
        fill(&mut batch, 1, 0, &["aa", "bb"], 0);
        fill(&mut batch, 2, 0, &["cccc"], 0);
        fill(&mut batch, 2, 5, &["d"], 0);
        let sealed = batch.seal("g", "s");
        assert_eq!(sealed.segments().len(), 2);
        let shares = sealed.shares_of(1..3);
        assert_eq!(shares, [Share { file: 1, records: 1, bytes: 3 }, Share { file: 2, records: 1, bytes: 5 }]);
    }
}
