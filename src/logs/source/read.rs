//! From a feed's bytes into a batch: one pass over each block, no copy but the one into the request's body.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use super::feed::Content;
use crate::logs::batch::{Batch, FileId, Message};
use crate::logs::coverage::Place;
use crate::logs::framing::{self, Record};

/// How much is read at once: large enough that the call costs nothing, small enough to stay in the cache.
const BLOCK: usize = 128 * 1024;

/// As much as the longest record needs: more than one event holds, so that its end or its part is certain.
const LARGEST_BLOCK: usize = 1_100_000;

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
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job<'a> {
    /// Which file.
    pub(crate) id: FileId,
    /// Its bytes.
    pub(crate) content: &'a dyn Content,
    /// Whether it holds recorded records.
    pub(crate) recorded: bool,
    /// Where to begin.
    pub(crate) from: Place,
    /// Where to stop at the latest.
    pub(crate) until: Option<u64>,
    /// Whether nothing will follow its end, so that a last line without an end is one.
    pub(crate) complete: bool,
    /// The time that its events get.
    pub(crate) at: Timestamp,
    /// How large the body may become.
    pub(crate) limit: usize,
}

/// How far a job came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Behind the last record that was taken.
    pub(crate) place: Place,
    /// Whether the file's end was reached (a partial last line may stand there).
    pub(crate) at_end: bool,
}

/// Fills `batch` from a file until the batch is full, the file's end or the job's.
///
/// # Errors
/// When the file can't be read; what was taken before stays taken.
pub(crate) fn fill(job: Job<'_>, batch: &mut Batch, buffer: &mut Buffer, suspect: &Suspect) -> io::Result<Progress> {
    let progress = read_records(&job, batch, buffer, suspect);
    // What panics from here on is no record's fault. No file has number 0.
    suspect.at(0, 0);
    progress
}

fn read_records(job: &Job<'_>, batch: &mut Batch, buffer: &mut Buffer, suspect: &Suspect) -> io::Result<Progress> {
    let mut place = job.from;
    let mut size = BLOCK;
    batch.begin_segment(job.id, place.offset, place.parts);
    loop {
        let room = job.until.map_or(size, |until| size.min(usize::try_from(until - place.offset).unwrap_or(size)));
        let block = read_block(job.content, place.offset, room, &mut buffer.0)?;
        let short = block.len() < room;
        let next = take_records(job, block, place, short, batch, suspect);
        let stuck = next == place;
        place = next;
        if batch.is_full() || job.until == Some(place.offset) {
            return Ok(Progress { place, at_end: false });
        }
        if stuck && (short || room < size || size == LARGEST_BLOCK) {
            return Ok(Progress { place, at_end: true });
        }
        // Only a record longer than the block gets stuck on a full one.
        size = if stuck { LARGEST_BLOCK } else { BLOCK };
    }
}

/// The bytes of the record at `offset`, its line end included, as far as they go without framing them.
///
/// # Errors
/// When the file can't be read.
pub(crate) fn raw_record(content: &dyn Content, offset: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let length = read_block(content, offset, framing::LONGEST_MESSAGE, &mut bytes)?.len();
    let end = memchr::memchr(b'\n', &bytes[..length]).map_or(length, |end| end + 1);
    bytes.truncate(end);
    Ok(bytes)
}

/// Reads up to `room` bytes at `offset`; fewer only at the file's end.
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

/// Puts the block's records into the batch; returns the place behind the last one taken.
fn take_records(job: &Job<'_>, block: &[u8], from: Place, short: bool, batch: &mut Batch, suspect: &Suspect) -> Place {
    let mut place = from;
    let valid = valid_text(block);
    let plain = !job.recorded && holds_no_controls(block);
    let mut rest = block;
    while let Some((record, sent)) = next_record(job, rest, place.parts, job.complete && short) {
        let job = &Job { at: sent.unwrap_or(job.at), ..*job };
        suspect.at(job.id, place.offset);
        #[cfg(test)]
        assert_ne!(record.text, PANICS, "a record that makes us panic");
        let start = block.len() - rest.len() + if job.recorded { record.length - record.text.len() } else { 0 };
        let known = valid.get(start..start + record.text.len());
        if !push(batch, job, &record, known.map(|text| Message { text, replaced: false, plain })) {
            break;
        }
        place = Place { offset: place.offset + record.length as u64, parts: record.piece.next_part() };
        rest = &rest[record.length..];
    }
    place
}

fn next_record<'a>(
    job: &Job<'_>,
    rest: &'a [u8],
    parts: u32,
    complete: bool,
) -> Option<(Record<'a>, Option<Timestamp>)> {
    if !job.recorded {
        return framing::next_record(rest, parts, complete).map(|record| (record, None));
    }
    let recorded = framing::recorded::next_recorded(rest).ok()??;
    let piece = match (recorded.continued, parts) {
        (true, parts) => framing::Piece::Part(parts + 1),
        (false, 0) => framing::Piece::Line,
        (false, parts) => framing::Piece::LastPart(parts + 1),
    };
    Some((Record { text: recorded.text, length: recorded.length, piece }, recorded.time))
}

/// The block's text up to the first byte that is not UTF-8.
fn valid_text(block: &[u8]) -> &str {
    match simdutf8::compat::from_utf8(block) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&block[..error.valid_up_to()]).unwrap_or_default(),
    }
}

/// Whether the block's records hold no control characters; line feeds only stand between them. No early exit: that
/// would keep the compiler from using vectors.
fn holds_no_controls(block: &[u8]) -> bool {
    block.iter().fold(0, |found, &byte| found | u8::from(byte < 0x20 && byte != b'\n')) == 0
}

fn push(batch: &mut Batch, job: &Job<'_>, record: &Record<'_>, known: Option<Message<'_>>) -> bool {
    if let Some(text) = known {
        return batch.push(record, text, job.at, job.limit);
    }
    let text = String::from_utf8_lossy(record.text);
    let replaced = matches!(text, std::borrow::Cow::Owned(_));
    batch.push(record, Message { text: &text, replaced, plain: false }, job.at, job.limit)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::logs::batch::Pool;

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
            let content = self.file.as_file();
            let job = Job {
                id: 1,
                content,
                recorded: false,
                from,
                until,
                complete,
                at: Timestamp::UNIX_EPOCH,
                limit: usize::MAX,
            };
            fill(job, &mut self.batch, &mut Buffer::default(), &Suspect::default()).expect("readable")
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

    fn line(offset: u64) -> Place {
        Place { offset, parts: 0 }
    }

    #[test]
    fn lines_are_read_to_the_end_and_the_partial_one_waits() {
        let mut case = Case::new(b"one\ntwo\nthr");
        assert_eq!(case.fill(line(0), None, false), Progress { place: line(8), at_end: true });
        assert_eq!(case.fill(line(8), None, true), Progress { place: line(11), at_end: true });
        assert_eq!(case.messages(), ["one", "two", "thr"]);
    }

    #[test]
    fn reading_stops_where_others_have_read() {
        let mut case = Case::new(b"one\ntwo\nthree\n");
        assert_eq!(case.fill(line(4), Some(8), false), Progress { place: line(8), at_end: false });
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
        let job = Job {
            id: 1,
            content: &file,
            recorded: false,
            from: progress.place,
            until: None,
            complete: false,
            at: Timestamp::UNIX_EPOCH,
            limit: usize::MAX,
        };
        let mut next = Batch::new(Timestamp::UNIX_EPOCH, 0, &Pool::default());
        fill(job, &mut next, &mut Buffer::default(), &Suspect::default()).expect("readable");
        let sealed = next.seal("g", "s");
        assert!(sealed.event(0).ends_with(b"\"xxxxx [imds-agent: part 2, last]\"}"));
    }

    #[test]
    fn what_is_not_utf8_is_replaced_and_its_neighbours_are_not_touched() {
        let mut case = Case::new(b"gut\n\xff\xfe\nb\xc3\xb6se\n");
        case.fill(line(0), None, false);
        assert_eq!(case.messages(), ["gut", "\u{fffd}\u{fffd}", "böse"]);
    }
}
