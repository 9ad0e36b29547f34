//! Bytes become records: lines, without their line end. A line too long for one event becomes parts. Not the place for
//! lines that belong together, nor for what a record means.

use jiff::Timestamp;

use super::End;
use super::encoding::Encoding;

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
    #[inline]
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

/// One record, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// Its bytes, without the line end.
    pub(crate) text: &'a [u8],
    /// How many bytes stand before the text: a byte order mark, or the header of what was recorded.
    pub(crate) head: usize,
    /// How many bytes it takes where it is read, head and line end included.
    pub(crate) length: usize,
    /// How many of the source's bytes it is.
    pub(crate) bytes: usize,
    /// How it lies in its line.
    pub(crate) piece: Piece,
    /// The time that its sender gave it.
    pub(crate) sent: Option<Timestamp>,
}

impl<'a> Record<'a> {
    /// A record whose text stands at its beginning.
    #[inline]
    pub(crate) fn of(text: &'a [u8], length: usize, piece: Piece) -> Self {
        Self { text, head: 0, length, bytes: length, piece, sent: None }
    }
}

/// The most bytes of one record in that encoding: whatever they mean, they fit one event.
pub(super) fn longest(encoding: Encoding) -> usize {
    if encoding.is_utf8() { LONGEST_MESSAGE } else { LONGEST_BROKEN }
}

/// The first line of `block`, or `None` when its end is not there yet. `parts` is how many parts of this line came
/// before.
#[inline]
pub(super) fn next_line(block: &[u8], parts: u32, encoding: Encoding, end: End) -> Option<Record<'_>> {
    // A line end takes four bytes at most.
    let longest = longest(encoding);
    let window = &block[..block.len().min(longest + 4)];
    if let Some((length, behind)) = encoding.line_end(window) {
        return Some(whole(&block[..length], behind, parts, encoding));
    }
    if block.len() >= longest + 4 {
        let text = longest_part(block, encoding);
        return Some(Record::of(text, text.len(), Piece::Part(parts + 1)));
    }
    (end == End::Complete && !block.is_empty()).then(|| whole(block, block.len(), parts, encoding))
}

/// A record that ends its line. One that is not UTF-8 may still be too long once its bytes are replaced.
#[inline]
pub(super) fn whole(line: &[u8], length: usize, parts: u32, encoding: Encoding) -> Record<'_> {
    let text = encoding.without_return(line);
    if text.len() > LONGEST_BROKEN {
        let fitting = longest_part(text, encoding);
        if fitting.len() < text.len() {
            return Record::of(fitting, fitting.len(), Piece::Part(parts + 1));
        }
    }
    let piece = if parts == 0 { Piece::Line } else { Piece::LastPart(parts + 1) };
    Record::of(text, length, piece)
}

/// As much of `text` as fits one event, cut at a character's boundary.
pub(super) fn longest_part(text: &[u8], encoding: Encoding) -> &[u8] {
    if !encoding.is_utf8() {
        return &text[..encoding.boundary(text, LONGEST_BROKEN)];
    }
    let candidate = &text[..utf8_boundary(text, LONGEST_MESSAGE)];
    match simdutf8::basic::from_utf8(candidate) {
        Ok(_) => candidate,
        Err(_) => &text[..utf8_boundary(text, LONGEST_BROKEN)],
    }
}

/// The last beginning of a character at or before `at`; a character has at most three continuation bytes.
pub(super) fn utf8_boundary(text: &[u8], at: usize) -> usize {
    if at >= text.len() {
        return text.len();
    }
    let starts_character = |index: &usize| text[*index] & 0b1100_0000 != 0b1000_0000;
    (at.saturating_sub(3)..=at).rev().find(starts_character).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(block: &[u8], complete: bool) -> Vec<(Vec<u8>, Piece)> {
        texts_in(Encoding::default(), block, complete)
    }

    fn texts_in(encoding: Encoding, mut block: &[u8], complete: bool) -> Vec<(Vec<u8>, Piece)> {
        let mut records = Vec::new();
        let mut parts = 0;
        let end = if complete { End::Complete } else { End::Open };
        while let Some(record) = next_line(block, parts, encoding, end) {
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

    #[test]
    fn a_long_line_in_another_encoding_is_cut_between_characters() {
        let line = "x\u{1f600}".repeat(LONGEST_BROKEN / 4);
        let block: Vec<u8> = format!("{line}\r\nnext\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
        let encoding = Encoding::for_label("utf-16le").unwrap();
        let found = texts_in(encoding, &block, false);
        let decoded: Vec<_> = found.iter().map(|(text, _)| encoding.decode(text)).collect();
        assert!(decoded.iter().all(|(text, replaced)| !replaced && text.len() <= LONGEST_MESSAGE));
        let joined: String = decoded[..decoded.len() - 1].iter().map(|(text, _)| &**text).collect();
        assert!(joined == line, "{} pieces", found.len());
        assert_eq!(decoded.last().unwrap().0, "next");
    }
}
