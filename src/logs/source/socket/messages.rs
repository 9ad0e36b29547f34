//! Bytes from a socket become messages: lines, or syslog's frames. Bounded: what is longer than one event is handed out in
//! parts as it comes. Not what a message says, and not the socket.
//!
//! Syslog on a stream (RFC 6587) is framed by its length, `LENGTH SP <…`, or by what ends it, a line feed or a zero byte;
//! each message says which by what it begins with. A zero byte and a line feed between messages belong to none.

use memchr::{memchr, memchr2};

use crate::logs::Syntax;
use crate::logs::framing::{LONGEST_MESSAGE, LOOKED_BEHIND, Settings};

/// More digits no length has that anybody means.
const MOST_DIGITS: usize = 9;

/// Takes bytes and hands out messages.
#[derive(Debug)]
pub(super) struct Messages {
    syntax: Syntax,
    /// What is to be redacted, and so not to be cut.
    framing: Settings,
    buffer: Vec<u8>,
    /// Where what was not handed out yet begins.
    start: usize,
    /// Up to where no end was found.
    searched: usize,
    /// How much of a frame of known length is still to come.
    left: Option<usize>,
    /// Whether the message that comes next is the rest of one.
    is_rest: bool,
}

/// A message or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// Its text, without what ends it.
    pub(super) text: &'a [u8],
    /// Whether it goes on from the part before.
    pub(super) is_rest: bool,
    /// Whether it goes on.
    pub(super) is_continued: bool,
}

/// What comes next: where its text is in the buffer, where what follows begins, and whether it goes on.
struct Found {
    text: std::ops::Range<usize>,
    next: usize,
    is_continued: bool,
}

impl Messages {
    pub(super) fn new(syntax: Syntax, framing: Settings) -> Self {
        Self { syntax, framing, buffer: Vec::new(), start: 0, searched: 0, left: None, is_rest: false }
    }

    /// Adds what was received.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.searched = self.searched.saturating_sub(self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes wait for the rest of their message.
    pub(super) fn waiting(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Lets go of memory that is not needed while nothing waits.
    pub(super) fn shrink(&mut self) {
        if self.waiting() == 0 {
            self.buffer = Vec::new();
            (self.start, self.searched) = (0, 0);
        }
    }

    /// The next message, or part of one. `complete` says that nothing more will come.
    pub(super) fn next(&mut self, complete: bool) -> Option<Message<'_>> {
        let found = match self.syntax {
            Syntax::Line => self.find_line(complete)?,
            Syntax::Rfc3164 | Syntax::Rfc5424 => self.find_frame(complete)?,
        };
        self.start = found.next;
        self.searched = found.next;
        let is_rest = std::mem::replace(&mut self.is_rest, found.is_continued);
        Some(Message { text: &self.buffer[found.text], is_rest, is_continued: found.is_continued })
    }

    /// All that waits, as a part of a message that goes on; but for what may be the beginning of something to be redacted.
    pub(super) fn part(&mut self) -> Message<'_> {
        let end = self.buffer.len().saturating_sub(self.behind()).max(self.start);
        let text = self.start..self.cut(self.boundary(end), self.buffer.len());
        self.left = self.left.map(|left| left - text.len());
        (self.start, self.searched) = (text.end, text.end);
        let is_rest = std::mem::replace(&mut self.is_rest, true);
        Message { text: &self.buffer[text], is_rest, is_continued: true }
    }

    fn find_line(&mut self, complete: bool) -> Option<Found> {
        let end = memchr(b'\n', &self.buffer[self.searched..]).map(|at| self.searched + at);
        self.ended_at(end, complete).map(|found| {
            let text = self.buffer[found.text.clone()].strip_suffix(b"\r").map_or(found.text.len(), <[u8]>::len);
            let whole = !found.is_continued;
            let end = if whole { found.text.start + text } else { found.text.end };
            Found { text: found.text.start..end, ..found }
        })
    }

    fn find_frame(&mut self, complete: bool) -> Option<Found> {
        if self.left.is_none() && !self.is_rest {
            while self.buffer.get(self.start).is_some_and(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
                self.start += 1;
            }
            self.searched = self.searched.max(self.start);
            match length_of(&self.buffer[self.start..]) {
                Head::Length { digits, length } => {
                    self.start += digits + 1;
                    self.searched = self.start;
                    self.left = Some(length);
                }
                Head::Unknown if !complete => return None,
                Head::Unknown | Head::None => {}
            }
        }
        if let Some(left) = self.left {
            return self.find_rest(left, complete);
        }
        let end = memchr2(b'\n', 0, &self.buffer[self.searched..]).map(|at| self.searched + at);
        self.ended_at(end, complete)
    }

    /// The rest of a frame of known length.
    fn find_rest(&mut self, left: usize, complete: bool) -> Option<Found> {
        let (start, there) = (self.start, self.waiting());
        let length = left.min(LONGEST_MESSAGE);
        let seen = left.min(LONGEST_MESSAGE + self.behind());
        if there < seen && !complete {
            return None;
        }
        let length = length.min(there);
        let is_continued = length < left && !(complete && length == there);
        let cut = || self.cut(self.boundary(start + length), start + seen.min(there)) - start;
        let length = if is_continued { cut() } else { length };
        self.left = is_continued.then(|| left - length);
        // Cut off at the beginning: nothing came of it.
        (length > 0 || self.is_rest).then(|| Found { text: start..start + length, next: start + length, is_continued })
    }

    /// How much behind a cut has to be there.
    fn behind(&self) -> usize {
        if self.framing.redact.is_empty() { 0 } else { LOOKED_BEHIND }
    }

    /// `at`, or where what would be cut there and is to be redacted begins; `end` is how far the message is known.
    fn cut(&self, at: usize, end: usize) -> usize {
        let known = &self.buffer[self.start..end.min(at + self.behind())];
        if at <= self.start { at } else { self.start + self.framing.spare(known, at - self.start) }
    }

    /// `at`, or what is left of it of the character that would be cut there.
    fn boundary(&self, at: usize) -> usize {
        let from = at.saturating_sub(3).max(self.start);
        let last = (from..at).rev().find(|index| self.buffer[*index] & 0b1100_0000 != 0b1000_0000);
        // How long a character is says its first byte.
        let is_whole = |first: usize| match self.buffer[first] {
            0b1100_0000..=0b1101_1111 => first + 2 <= at,
            0b1110_0000..=0b1110_1111 => first + 3 <= at,
            0b1111_0000..=0b1111_0111 => first + 4 <= at,
            _ => true,
        };
        last.filter(|first| *first > self.start && !is_whole(*first)).unwrap_or(at)
    }

    /// What ends at `end`, or is too long to wait for its end, or will have none.
    fn ended_at(&mut self, end: Option<usize>, complete: bool) -> Option<Found> {
        let (start, all) = (self.start, self.buffer.len());
        let longest = start + LONGEST_MESSAGE;
        match end {
            Some(end) if end <= longest => Some(Found { text: start..end, next: end + 1, is_continued: false }),
            _ if all > longest + self.behind() || (all > longest && (end.is_some() || complete)) => {
                let end = self.cut(self.boundary(longest), end.unwrap_or(all));
                Some(Found { text: start..end, next: end, is_continued: true })
            }
            _ if complete && (all > start || self.is_rest) => {
                Some(Found { text: start..all, next: all, is_continued: false })
            }
            _ => {
                self.searched = all;
                None
            }
        }
    }
}

/// What a frame begins with.
enum Head {
    /// Its length.
    Length { digits: usize, length: usize },
    /// No length.
    None,
    /// Too little has come to tell.
    Unknown,
}

/// `LENGTH SP <`: a line that begins with a number is none.
fn length_of(bytes: &[u8]) -> Head {
    let digits = bytes.iter().take(MOST_DIGITS).take_while(|byte| byte.is_ascii_digit()).count();
    if bytes.is_empty() {
        return Head::Unknown;
    }
    if digits == 0 || bytes[0] == b'0' {
        return Head::None;
    }
    match bytes[digits..] {
        [] | [b' '] => Head::Unknown,
        [b' ', b'<', ..] => {
            let length = std::str::from_utf8(&bytes[..digits]).ok().and_then(|text| text.parse().ok());
            length.map_or(Head::None, |length| Head::Length { digits, length })
        }
        _ => Head::None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All messages, joined from their parts, of what comes in pieces of `size`.
    fn messages(syntax: Syntax, bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
        let (mut splitter, mut found) = (Messages::new(syntax, Settings::default()), Vec::<Vec<u8>>::new());
        let mut take = |splitter: &mut Messages, complete| {
            while let Some(message) = splitter.next(complete) {
                match found.last_mut().filter(|_| message.is_rest) {
                    Some(whole) => whole.extend_from_slice(message.text),
                    None => found.push(message.text.to_vec()),
                }
            }
        };
        for piece in bytes.chunks(size.max(1)) {
            splitter.push(piece);
            take(&mut splitter, false);
        }
        take(&mut splitter, true);
        assert_eq!(splitter.waiting(), 0);
        found
    }

    fn texts(syntax: Syntax, bytes: &[u8]) -> Vec<String> {
        messages(syntax, bytes, 1).into_iter().map(|text| String::from_utf8(text).unwrap()).collect()
    }

    #[test]
    fn lines_end_at_line_feeds_and_lose_a_carriage_return() {
        assert_eq!(texts(Syntax::Line, b"one\ntwo\r\n\nthree"), ["one", "two", "", "three"]);
        assert_eq!(texts(Syntax::Line, b"5 <13>\n"), ["5 <13>"]);
    }

    #[test]
    fn syslog_is_framed_by_length_or_by_its_end() {
        assert_eq!(texts(Syntax::Rfc5424, b"6 <13>a\n7 <13>b\nc"), ["<13>a\n", "<13>b\nc"]);
        assert_eq!(texts(Syntax::Rfc3164, b"<13>a\n<13>b\0<13>c\n\n"), ["<13>a", "<13>b", "<13>c"]);
        assert_eq!(texts(Syntax::Rfc3164, b"5 <13>a<13>b\n5 <13>c"), ["<13>a", "<13>b", "<13>c"]);
        assert_eq!(texts(Syntax::Rfc3164, b"12 monkeys\n0 <13>x\n"), ["12 monkeys", "0 <13>x"]);
        assert_eq!(texts(Syntax::Rfc3164, b"99 <13>cut off"), ["<13>cut off"]);
    }

    #[test]
    fn what_is_longer_than_an_event_comes_in_parts_that_join_to_it() {
        for (syntax, head) in [(Syntax::Line, String::new()), (Syntax::Rfc3164, "2100004 ".to_owned())] {
            let line = format!("<13>{}", "x".repeat(2_100_000));
            let bytes = format!("{head}{line}\nnext\n");
            let found = messages(syntax, bytes.as_bytes(), 65_536);
            assert_eq!(found.len(), 2);
            assert!(found[0] == line.as_bytes() && found[1] == b"next");
            let mut splitter = Messages::new(syntax, Settings::default());
            splitter.push(bytes.as_bytes());
            let first = splitter.next(false).unwrap();
            assert!(first.text.len() <= LONGEST_MESSAGE && first.is_continued && !first.is_rest);
        }
    }

    #[test]
    fn no_character_is_cut() {
        let line = "é".repeat(LONGEST_MESSAGE);
        for bytes in [format!("x{line}\n"), format!("{} x{line}", line.len() + 1)] {
            let mut splitter = Messages::new(Syntax::Rfc3164, Settings::default());
            splitter.push(bytes.replace(" x", " <").as_bytes());
            while let Some(message) = splitter.next(true) {
                assert!(std::str::from_utf8(message.text).is_ok());
            }
        }
    }

    #[test]
    fn what_waits_can_be_taken_as_a_part() {
        let mut splitter = Messages::new(Syntax::Line, Settings::default());
        splitter.push(b"half");
        assert_eq!(splitter.next(false), None);
        assert_eq!(splitter.part(), Message { text: b"half", is_rest: false, is_continued: true });
        splitter.push(b" a line\nnext\n");
        assert_eq!(splitter.next(false), Some(Message { text: b" a line", is_rest: true, is_continued: false }));
        assert_eq!(splitter.next(false), Some(Message { text: b"next", is_rest: false, is_continued: false }));
    }

    #[test]
    fn nothing_hostile_makes_framing_panic_or_make_more_of_it_than_there_was() {
        let samples: [&[u8]; 4] = [
            b"one line\r\nand another\n",
            b"<34>Oct 11 22:14:15 host su: text\n<34>Oct 11 22:14:16 host su: text\0",
            b"42 <34>1 2003-10-11T22:14:15.003Z h a - - - x7 <34>1 -",
            b"999999999 <34>1 2003-10-11T22:14:15.003Z h a",
        ];
        for syntax in [Syntax::Line, Syntax::Rfc3164, Syntax::Rfc5424] {
            crate::fuzz::hostile(&samples, |input| {
                for size in [1, 13, input.len()] {
                    let found = messages(syntax, input, size);
                    assert!(found.iter().map(Vec::len).sum::<usize>() <= input.len());
                }
            });
        }
    }

    proptest! {
        /// However the bytes are cut on their way, the messages are the same.
        #[test]
        fn pieces_do_not_matter(text in "[ab<1> 0-9\n\0\r]{0,60}", size in 1_usize..20) {
            for syntax in [Syntax::Line, Syntax::Rfc3164] {
                prop_assert_eq!(messages(syntax, text.as_bytes(), size), messages(syntax, text.as_bytes(), 1000));
            }
        }

        /// Nothing is lost of lines.
        #[test]
        fn lines_are_what_split_says(lines in prop::collection::vec("[a-z]{0,9}", 0..20), size in 1_usize..20) {
            let bytes: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
            let found = messages(Syntax::Line, bytes.as_bytes(), size);
            prop_assert_eq!(found, lines.iter().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>());
        }
    }
}
