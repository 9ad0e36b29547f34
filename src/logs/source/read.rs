//! From a feed's bytes into a batch: one pass over each block, no copy but the one into the request's body.

use std::borrow::Cow;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use memchr::memmem;

use super::feed::Content;
use crate::logs::batch::{Batch, FileId, Message};
use crate::logs::coverage::Place;
use crate::logs::framing::{self, End, Framed, Framer, Record, Sample, Verdict};
use crate::logs::ledger::Reason;

/// How much is read at once: large enough that the call costs nothing, small enough to stay in the cache.
const BLOCK: usize = 128 * 1024;

/// As much as the longest record needs: more than one event holds, so that its end or its part is certain.
const LARGEST_BLOCK: usize = 1_100_000;

/// So much is read in one turn although the batch is not full: where almost nothing is sent, others get theirs.
const LONGEST_TURN: u64 = 2 << 20;

/// For tests of what becomes of a record that makes us panic: this one does.
#[cfg(test)]
pub(crate) const PANICS: &[u8] = b"this record makes us panic";

/// The one buffer that all files are read through.
#[derive(Debug, Default)]
pub(crate) struct Buffer(Vec<u8>);

/// Which record is being handled, for finding out after a panic.
#[derive(Debug, Default)]
pub(crate) struct Suspect {
    file: AtomicU64,
    offset: AtomicU64,
}

impl Suspect {
    #[inline]
    fn at(&self, file: FileId, offset: u64) {
        self.file.store(file, Ordering::Relaxed);
        self.offset.store(offset, Ordering::Relaxed);
    }

    /// The record that was being handled last.
    pub(crate) fn last(&self) -> (FileId, u64) {
        (self.file.load(Ordering::Relaxed), self.offset.load(Ordering::Relaxed))
    }
}

/// What is to be read.
#[derive(Clone, Debug)]
pub(crate) struct Job<'a> {
    /// Which feed.
    pub(crate) id: FileId,
    /// Its bytes.
    pub(crate) content: &'a dyn Content,
    /// How its records are told.
    pub(crate) framer: &'a Framer,
    /// Where to begin.
    pub(crate) from: Place,
    /// Where to stop at the latest: others have read on from there.
    pub(crate) until: Option<u64>,
    /// What may follow its end.
    pub(crate) end: End,
    /// The time of reading, for events that have none.
    pub(crate) at: Timestamp,
    /// How large the body may become.
    pub(crate) limit: usize,
    /// The day, in UTC, that its events are of; another one's belong elsewhere. `None` when that makes no difference.
    pub(crate) day: Option<Date>,
    /// What may be spent, if there is a budget.
    pub(crate) allowance: Option<Allowance>,
}

/// What is left of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// So many bytes may be sent.
    pub(crate) left: u64,
    /// This share of what is above.
    pub(crate) sample: Sample,
}

/// How far a job came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Behind the last record that was taken.
    pub(crate) place: Place,
    /// Why it went no further.
    pub(crate) stop: Stop,
}

/// Why a job went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The batch has no more room.
    Full,
    /// The feed goes no further; a partial record may stand there.
    End {
        /// Whether whole lines stand there that may belong to what is still to come.
        held: bool,
    },
    /// Others have read on from there.
    Met,
    /// The next record is of another day.
    Day(Date),
    /// Enough for one turn, although the batch is not full: most of it was not sent.
    Turn,
    /// What stands there is damaged.
    Corrupt,
}

/// Fills `batch` from a feed until the batch is full, the feed's end or the job's.
///
/// # Errors
/// When the feed can't be read; what was taken before stays taken.
pub(crate) fn fill(job: &Job<'_>, batch: &mut Batch, buffer: &mut Buffer, suspect: &Suspect) -> io::Result<Progress> {
    batch.begin_segment(job.id, job.from.offset, job.from.parts);
    let mut reading = Reading { job, batch, suspect, place: job.from, spent: 0 };
    let stop = reading.go(buffer);
    let place = reading.place;
    // What panics from here on is no record's fault. No feed has number 0.
    suspect.at(0, 0);
    Ok(Progress { place, stop: stop? })
}

/// A record that can't be framed.
#[derive(Debug)]
pub(crate) struct Raw {
    /// Its bytes, with its line end.
    pub(crate) text: Vec<u8>,
    /// How many bytes it takes where it is read.
    pub(crate) length: u64,
}

/// The record at `offset`, as far as it goes without framing it.
///
/// # Errors
/// When the feed can't be read.
pub(crate) fn raw_record(content: &dyn Content, framer: &Framer, offset: u64) -> io::Result<Raw> {
    let mut bytes = Vec::new();
    let block = read_block(content, offset, LARGEST_BLOCK, &mut bytes)?;
    let (head, length) = framer.raw(block);
    Ok(Raw { text: block[head..length].to_vec(), length: length as u64 })
}

/// Reads up to `room` bytes at `offset`; fewer only at the feed's end.
fn read_block<'a>(content: &dyn Content, offset: u64, room: usize, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
    if buffer.len() < room {
        buffer.resize(room, 0);
    }
    let mut got = 0;
    while got < room {
        match content.read_at(&mut buffer[got..room], offset + got as u64) {
            Ok(0) => break,
            Ok(count) => got += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(&buffer[..got])
}

/// A job that is being done.
struct Reading<'r> {
    job: &'r Job<'r>,
    batch: &'r mut Batch,
    suspect: &'r Suspect,
    /// Behind the last record that was taken.
    place: Place,
    /// The bytes of what is sent.
    spent: u64,
}

/// What is known of a block, so that it need not be found out record by record.
#[derive(Clone, Copy)]
struct Known<'b> {
    /// Its text up to the first byte that is not UTF-8.
    text: &'b str,
    /// Whether each record is sent as it is.
    as_it_is: bool,
}

impl Reading<'_> {
    fn go(&mut self, buffer: &mut Buffer) -> io::Result<Stop> {
        let job = self.job;
        let mut size = BLOCK;
        loop {
            let before = self.place;
            let left = job.until.map_or(u64::MAX, |until| until - before.offset);
            let room = size.min(usize::try_from(left).unwrap_or(size));
            let block = read_block(job.content, before.offset, room, &mut buffer.0)?;
            let last = block.len() as u64 == left;
            let short = block.len() < room;
            // Where others have read on, a record begins: so one ends here.
            let end = if last { End::Complete } else { job.end };
            if let Some(stop) = self.take_records(block, if last || short { end } else { End::Open }) {
                return Ok(stop);
            }
            let stuck = self.place == before;
            if job.until == Some(self.place.offset) {
                return Ok(Stop::Met);
            }
            if stuck && (short || room < size || size == LARGEST_BLOCK) {
                return Ok(Stop::End { held: job.framer.holds(block, before) });
            }
            if self.place.offset - job.from.offset >= LONGEST_TURN {
                return Ok(Stop::Turn);
            }
            // Only a record longer than the block gets stuck on a full one.
            size = if stuck { LARGEST_BLOCK } else { BLOCK };
        }
    }

    /// Puts the block's records into the batch, until the first that does not belong there.
    #[inline]
    fn take_records(&mut self, block: &[u8], end: End) -> Option<Stop> {
        let framer = self.job.framer;
        let known = Known {
            text: if framer.is_text() { valid_text(block) } else { "" },
            as_it_is: framer.is_plain() && memmem::find(block, framing::METRICS).is_none(),
        };
        let mut start = 0;
        loop {
            // Before it is framed: that may be what makes us panic.
            self.suspect.at(self.job.id, self.place.offset);
            let record = match framer.next(&block[start..], self.place, end) {
                Framed::Record(record) => record,
                Framed::Open => return None,
                Framed::Corrupt => return Some(Stop::Corrupt),
            };
            #[cfg(test)]
            assert_ne!(record.text, PANICS, "a record that makes us panic");
            let begin = start + record.head;
            let text = known.text.get(begin..begin + record.text.len());
            match self.take(&record, text, known) {
                Ok(parts) => self.place = Place { offset: self.place.offset + record.length as u64, parts },
                Err(stop) => return Some(stop),
            }
            start += record.length;
        }
    }

    /// Takes one record, and returns what stands for the parts before what follows; or says why it does not belong here.
    #[inline]
    fn take(&mut self, record: &Record<'_>, text: Option<&str>, known: Known<'_>) -> Result<u32, Stop> {
        if let Some(reason) = framing::held_back(self.place) {
            return Ok(self.hold_back(record, reason));
        }
        let (text, replaced) = match text {
            Some(text) => (Cow::Borrowed(text), false),
            None => self.job.framer.decode(record.text),
        };
        let message = Message { text: &text, replaced, ..Message::default() };
        if known.as_it_is {
            return self.push(record, message);
        }
        match self.job.framer.judge(record, &text, self.job.at) {
            Verdict::Filtered => Ok(self.hold_back(record, Reason::Filtered)),
            Verdict::Send { metrics, .. } if !metrics && !self.affords(record) => {
                Ok(self.hold_back(record, Reason::Budget))
            }
            Verdict::Send { text, time, unparsed, .. } => {
                self.push(record, Message { text: &text, time, unparsed, ..message })
            }
        }
    }

    #[inline]
    fn push(&mut self, record: &Record<'_>, message: Message<'_>) -> Result<u32, Stop> {
        // A line's parts stay together.
        if let Some(day) = self.job.day.filter(|_| self.place.parts == 0) {
            let own = TimeZone::UTC.to_datetime(message.time.unwrap_or(self.job.at)).date();
            if own != day {
                return Err(Stop::Day(own));
            }
        }
        if !self.batch.push(record, message, self.job.at, self.job.limit) {
            return Err(Stop::Full);
        }
        self.spent += record.bytes as u64;
        Ok(record.piece.next_part())
    }

    fn hold_back(&mut self, record: &Record<'_>, reason: Reason) -> u32 {
        let parts = framing::parts_behind(record, reason);
        self.batch.skip(record, reason, parts);
        parts
    }

    /// Whether the budget has room for a record, or the sample holds it. Parts that follow share the first one's fate.
    fn affords(&self, record: &Record<'_>) -> bool {
        let Some(Allowance { left, sample }) = self.job.allowance else { return true };
        let fits = self.spent + record.bytes as u64 <= left;
        self.place.parts > 0 || fits || sample.holds(self.place.offset)
    }
}

/// The block's text up to the first byte that is not UTF-8.
fn valid_text(block: &[u8]) -> &str {
    match simdutf8::compat::from_utf8(block) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&block[..error.valid_up_to()]).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::logs::batch::{Pool, Sealed, Segment};
    use crate::logs::framing::{Form, recorded};

    struct Case {
        file: tempfile::NamedTempFile,
        batch: Batch,
    }

    impl Case {
        fn new(content: &[u8]) -> Self {
            let mut file = tempfile::NamedTempFile::new().expect("a file");
            file.write_all(content).expect("writable");
            Self { file, batch: Batch::new(Timestamp::UNIX_EPOCH, 0, &Pool::default()) }
        }

        fn fill(&mut self, from: Place, until: Option<u64>, complete: bool) -> Progress {
            let end = if complete { End::Complete } else { End::Open };
            let framer = Framer::new(framing::Settings::default(), Form::Lines);
            let job = Job { until, end, ..job(self.file.as_file(), &framer, from) };
            fill(&job, &mut self.batch, &mut Buffer::default(), &Suspect::default()).expect("readable")
        }

        fn messages(self) -> Vec<String> {
            let sealed = self.batch.seal("g", "s");
            let message = |index| {
                let event: serde_json::Value = serde_json::from_slice(sealed.event(index)).expect("JSON");
                event["message"].as_str().expect("text").to_owned()
            };
            (0..sealed.len()).map(message).collect()
        }
    }

    fn job<'a>(content: &'a dyn Content, framer: &'a Framer, from: Place) -> Job<'a> {
        let at = Timestamp::UNIX_EPOCH;
        Job {
            id: 1,
            content,
            framer,
            from,
            until: None,
            end: End::Open,
            at,
            limit: usize::MAX,
            day: None,
            allowance: None,
        }
    }

    fn at_end(place: Place) -> Progress {
        Progress { place, stop: Stop::End { held: false } }
    }

    fn line(offset: u64) -> Place {
        Place { offset, parts: 0 }
    }

    #[test]
    fn lines_are_read_to_the_end_and_the_partial_one_waits() {
        let mut case = Case::new(b"one\ntwo\nthr");
        assert_eq!(case.fill(line(0), None, false), at_end(line(8)));
        assert_eq!(case.fill(line(8), None, true), at_end(line(11)));
        assert_eq!(case.messages(), ["one", "two", "thr"]);
    }

    #[test]
    fn reading_stops_where_others_have_read() {
        let mut case = Case::new(b"one\ntwo\nthree\n");
        assert_eq!(case.fill(line(4), Some(8), false), Progress { place: line(8), stop: Stop::Met });
        assert_eq!(case.messages(), ["two"]);
    }

    #[test]
    fn a_line_longer_than_a_block_is_read_whole() {
        let long = "x".repeat(BLOCK * 3);
        let mut case = Case::new(format!("{long}\nshort\n").as_bytes());
        case.fill(line(0), None, false);
        assert_eq!(case.messages(), [long.as_str(), "short"]);
    }

    #[test]
    fn a_line_longer_than_an_event_goes_on_in_the_next_batch() {
        let long = "x".repeat(framing::LONGEST_MESSAGE + 5);
        let mut case = Case::new(format!("{long}\n").as_bytes());
        let progress = case.fill(line(0), None, false);
        assert_eq!(progress.place, Place { offset: framing::LONGEST_MESSAGE as u64, parts: 1 });
        let file = case.file.reopen().expect("opens");
        let framer = Framer::new(framing::Settings::default(), Form::Lines);
        let job = job(&file, &framer, progress.place);
        let mut next = Batch::new(Timestamp::UNIX_EPOCH, 0, &Pool::default());
        fill(&job, &mut next, &mut Buffer::default(), &Suspect::default()).expect("readable");
        let sealed = next.seal("g", "s");
        assert!(sealed.event(0).ends_with(b"\"xxxxx [imds-agent: part 2, last]\"}"));
    }

    impl Content for Vec<u8> {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let rest = self.get(usize::try_from(offset).expect("small")..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }
    }

    #[test]
    fn what_was_recorded_is_read_with_its_time_and_counts_without_its_header() {
        let mut content = Vec::new();
        recorded::encode(&mut content, Timestamp::from_second(5).ok(), b"two\nlines");
        recorded::encode(&mut content, None, "ä".repeat(framing::LONGEST_MESSAGE).as_bytes());
        let framer = Framer::new(framing::Settings::default(), Form::Recorded);
        let (mut place, mut sealed) = (line(0), Vec::new());
        while place.offset < content.len() as u64 {
            let mut batch = Batch::new(Timestamp::UNIX_EPOCH, 0, &Pool::default());
            let job = job(&content, &framer, place);
            place = fill(&job, &mut batch, &mut Buffer::default(), &Suspect::default()).expect("readable").place;
            sealed.push(batch.seal("g", "s"));
        }
        assert_eq!(sealed[0].event(0), br#"{"timestamp":5000,"message":"two\nlines"}"#);
        let counts: Vec<_> = sealed.iter().flat_map(Sealed::segments).map(Segment::count).collect();
        let (events, bytes) = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.events, sum.1 + count.bytes));
        assert_eq!((events, bytes), (2, 9 + 2 * framing::LONGEST_MESSAGE as u64));
    }

    #[test]
    fn what_is_damaged_is_said_and_nothing_behind_it_is_read() {
        let mut content = Vec::new();
        recorded::encode(&mut content, None, b"whole");
        let whole = content.len() as u64;
        recorded::encode(&mut content, None, b"damaged");
        *content.last_mut().expect("bytes") ^= 1;
        let framer = Framer::new(framing::Settings::default(), Form::Recorded);
        let mut batch = Batch::new(Timestamp::UNIX_EPOCH, 0, &Pool::default());
        let job = job(&content, &framer, line(0));
        let progress = fill(&job, &mut batch, &mut Buffer::default(), &Suspect::default()).expect("readable");
        assert_eq!(progress, Progress { place: line(whole), stop: Stop::Corrupt });
    }

    #[test]
    fn where_others_have_read_on_a_record_ends() {
        let rule = framing::Rule::Start(framing::Pattern::parse("^x").expect("a pattern"));
        let timeout = std::time::Duration::from_secs(1);
        let multiline = framing::Multiline { rule, timeout, max_lines: 10, max_bytes: 1000 };
        let settings = framing::Settings { multiline: Some(multiline), ..framing::Settings::default() };
        let framer = Framer::new(settings, Form::Lines);
        let content = b"x1\n a\nx2\n".to_vec();
        let mut batch = Batch::new(Timestamp::UNIX_EPOCH, 0, &Pool::default());
        let job = Job { until: Some(6), ..job(&content, &framer, line(0)) };
        let progress = fill(&job, &mut batch, &mut Buffer::default(), &Suspect::default()).expect("readable");
        assert_eq!(progress, Progress { place: line(6), stop: Stop::Met });
    }

    #[test]
    fn what_is_not_utf8_is_replaced_and_its_neighbours_are_not_touched() {
        let mut case = Case::new(b"gut\n\xff\xfe\nb\xc3\xb6se\n");
        case.fill(line(0), None, false);
        assert_eq!(case.messages(), ["gut", "\u{fffd}\u{fffd}", "böse"]);
    }
}
