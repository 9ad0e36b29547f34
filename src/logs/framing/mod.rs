//! Bytes of a file become records: lines, without their line end. A line too long for one event becomes parts. Not
//! the place for what a record means, nor for reading.

#[allow(dead_code, reason = "its users come with the spool and the journal")]
pub(crate) mod recorded;

use memchr::memchr;

/// What one event's message may hold in bytes. CloudWatch takes 1,048,576 − 26; the rest is room for the part marker.
pub(crate) const LONGEST_MESSAGE: usize = 1_048_550 - LONGEST_MARKER;

/// Room for ` [imds-agent: part 4294967295, continued]`.
const LONGEST_MARKER: usize = 48;

/// Each byte that is not UTF-8 becomes the three of U+FFFD, so this much of a broken line is sure to fit.
const LONGEST_BROKEN: usize = LONGEST_MESSAGE / 3;

/// How a record lies in its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The whole line.
    Line,
    /// Part number `n` (from 1) of a line that goes on.
    Part(u32),
    /// Part number `n`, the last one.
    LastPart(u32),
}

impl Piece {
    /// The number that the next record's part would have: 0 at the beginning of a line.
    pub(crate) fn next_part(self) -> u32 {
        match self {
            Self::Part(number) => number,
            Self::Line | Self::LastPart(_) => 0,
        }
    }

    /// What is put behind the text, so that a reader of the stream can join the parts.
    pub(crate) fn marker(self) -> String {
        match self {
            Self::Line => String::new(),
            Self::Part(number) => format!(" [imds-agent: part {number}, continued]"),
            Self::LastPart(number) => format!(" [imds-agent: part {number}, last]"),
        }
    }
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// Its bytes, without the line end.
    pub(crate) text: &'a [u8],
    /// How many of the source's bytes it covers, line end included.
    pub(crate) length: usize,
    /// How it lies in its line.
    pub(crate) piece: Piece,
}

/// The first record of `block`, or `None` when its end is not there yet. `parts` is how many parts of this line came
/// before; `complete` says that nothing will ever follow `block`.
pub(crate) fn next_record(block: &[u8], parts: u32, complete: bool) -> Option<Record<'_>> {
    let window = &block[..block.len().min(LONGEST_MESSAGE + 2)];
    if let Some(end) = memchr(b'\n', window) {
        return Some(whole(&block[..end], end + 1, parts));
    }
    if block.len() >= LONGEST_MESSAGE + 2 {
        let text = longest_part(block);
        return Some(Record { text, length: text.len(), piece: Piece::Part(parts + 1) });
    }
    (complete && !block.is_empty()).then(|| whole(block, block.len(), parts))
}

/// A record that ends its line. One that is not UTF-8 may still be too long once its bytes are replaced.
fn whole(line: &[u8], length: usize, parts: u32) -> Record<'_> {
    let text = line.strip_suffix(b"\r").unwrap_or(line);
    if text.len() > LONGEST_BROKEN {
        let fitting = longest_part(text);
        if fitting.len() < text.len() {
            return Record { text: fitting, length: fitting.len(), piece: Piece::Part(parts + 1) };
        }
    }
    let piece = if parts == 0 { Piece::Line } else { Piece::LastPart(parts + 1) };
    Record { text, length, piece }
}

/// As much of `text` as fits one event, cut at a character's boundary.
fn longest_part(text: &[u8]) -> &[u8] {
    let candidate = &text[..boundary(text, LONGEST_MESSAGE)];
    match simdutf8::basic::from_utf8(candidate) {
        Ok(_) => candidate,
        Err(_) => &text[..boundary(text, LONGEST_BROKEN)],
    }
}

/// The last beginning of a character at or before `at`; a character has at most three continuation bytes.
fn boundary(text: &[u8], at: usize) -> usize {
    if at >= text.len() {
        return text.len();
    }
    let starts_character = |index: &usize| text[*index] & 0b1100_0000 != 0b1000_0000;
    (at.saturating_sub(3)..=at).rev().find(starts_character).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(mut block: &[u8], complete: bool) -> Vec<(Vec<u8>, Piece)> {
        let mut records = Vec::new();
        let mut parts = 0;
        while let Some(record) = next_record(block, parts, complete) {
            records.push((record.text.to_vec(), record.piece));
            parts = record.piece.next_part();
            block = &block[record.length..];
        }
        records
    }

    #[test]
    fn lines_end_at_line_feeds_and_lose_a_carriage_return() {
        let found = texts(b"one\ntwo\r\n\nthree", false);
        let lines: Vec<_> = found.iter().map(|(text, _)| text.as_slice()).collect();
        assert_eq!(lines, [b"one".as_slice(), b"two", b""]);
    }

    #[test]
    fn a_partial_last_line_waits_until_the_file_is_complete() {
        assert_eq!(texts(b"partial", false), []);
        assert_eq!(texts(b"partial", true), [(b"partial".to_vec(), Piece::Line)]);
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_one_record() {
        let mut block = vec![b'x'; LONGEST_MESSAGE];
        block.push(b'\n');
        let found = texts(&block, false);
        assert_eq!((found.len(), found[0].1), (1, Piece::Line));
    }

    #[test]
    fn a_longer_line_becomes_parts_that_join_to_the_whole() {
        let line = "ä".repeat(LONGEST_MESSAGE + 10);
        let found = texts(format!("{line}\nnext\n").as_bytes(), false);
        let pieces: Vec<_> = found.iter().map(|(_, piece)| *piece).collect();
        assert_eq!(pieces, [Piece::Part(1), Piece::Part(2), Piece::LastPart(3), Piece::Line]);
        let joined: Vec<u8> = found[..3].iter().flat_map(|(text, _)| text.clone()).collect();
        assert_eq!(joined, line.as_bytes());
        assert!(found.iter().all(|(text, _)| std::str::from_utf8(text).is_ok()));
    }

    #[test]
    fn a_long_line_without_an_end_does_not_wait_for_it() {
        let found = texts(&vec![b'x'; LONGEST_MESSAGE * 2 + 7], false);
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_long_line_that_is_not_utf8_still_fits_after_replacement() {
        let mut block = vec![0xff_u8; LONGEST_MESSAGE];
        block.push(b'\n');
        for (text, piece) in texts(&block, false) {
            let message = String::from_utf8_lossy(&text).len() + piece.marker().len();
            assert!(message <= 1_048_550, "{message}");
        }
    }

    #[test]
    fn the_longest_marker_has_room() {
        assert!(Piece::Part(u32::MAX).marker().len() <= LONGEST_MARKER);
    }
}
