//! Whether every line arrived, once and in order: what was read and what the emulator holds are reduced to the same text
//! and compared by their checksums. Not by the agent's own counters: those are what is to be proved.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::emulator::Emulator;

use super::{Error, LOG_GROUP};

/// A file that is shipped.
#[derive(Clone, Debug)]
pub(super) struct Text {
    /// Its path, without links.
    pub(super) path: PathBuf,
    /// Where its last complete line ended when it was looked at; `None` while it grows.
    pub(super) complete_bytes: Option<u64>,
}

/// Lines, and a checksum of them in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    /// Lines that are not empty.
    pub(super) lines: u64,
    checksum: u32,
    /// The sum of each line's own checksum, which is the same in any order.
    sum: u64,
}

impl Digest {
    /// Whether the lines are the same, in whatever order.
    pub(super) fn has_lines_of(&self, other: &Self) -> bool {
        (self.lines, self.sum) == (other.lines, other.sum)
    }
}

/// What there is to ship.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Its lines.
    pub(super) digest: Digest,
    /// Empty lines, which are not sent.
    pub(super) empty: u64,
}

/// What the emulator holds of one source.
#[derive(Debug)]
pub(super) struct Arrived {
    /// Its lines.
    pub(super) digest: Digest,
    /// Events: more than lines when long lines were split.
    pub(super) events: u64,
    /// Whether a line was longer than an event.
    pub(super) is_split: bool,
}

impl Text {
    /// A file as it is now.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let mut complete = 0;
        let mut offset = 0;
        each_line(path, u64::MAX, |line| {
            offset += line.len() as u64;
            if line.ends_with(b"\n") {
                complete = offset;
            }
        })?;
        Ok(Self { path: path.to_owned(), complete_bytes: Some(complete) })
    }

    /// A file that grows until told otherwise.
    pub(super) fn growing(path: &Path) -> Self {
        Self { path: path.to_owned(), complete_bytes: None }
    }

    /// The same file, as it is now.
    pub(super) fn at(text: &Self) -> Result<Self, Error> {
        Self::of(&text.path).map_err(|source| Error::File { path: text.path.display().to_string(), source })
    }

    /// What stands in the first `delivered` bytes of the file.
    pub(super) fn written(&self, delivered: u64) -> io::Result<Written> {
        let mut writing = Writing::default();
        each_line(&self.path, delivered, |line| writing.take(line))?;
        Ok(writing.finish())
    }
}

impl Arrived {
    /// What the emulator holds in that stream.
    pub(super) fn at(emulator: &Emulator, log_stream: &str) -> Self {
        let mut digester = Digester::default();
        let (mut events, mut is_split) = (0, false);
        emulator.each_event(LOG_GROUP, log_stream, |_, _, message| {
            events += 1;
            match part(message) {
                Some((text, last)) => {
                    is_split = true;
                    digester.take_part(text, last);
                }
                None => digester.take(message),
            }
        });
        Self { digest: digester.finish(), events, is_split }
    }
}

/// Takes in what there is to ship, as it is read.
#[derive(Default)]
pub(super) struct Writing {
    digester: Digester,
    empty: u64,
    /// A line whose end did not come yet.
    begun: Vec<u8>,
}

impl Writing {
    /// Some bytes, wherever they were cut.
    pub(super) fn take_piece(&mut self, piece: &[u8]) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.begun);
                self.take(&line);
            }
        }
    }

    /// Whether the last line has no end yet.
    pub(super) fn is_within_line(&self) -> bool {
        !self.begun.is_empty()
    }

    fn take(&mut self, line: &[u8]) {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.is_empty() {
            self.empty += 1;
        } else {
            self.digester.take(&String::from_utf8_lossy(text));
        }
    }

    pub(super) fn finish(self) -> Written {
        Written { digest: self.digester.finish(), empty: self.empty }
    }
}

/// A part of a long line: its text, and whether it is the last one.
fn part(message: &str) -> Option<(&str, bool)> {
    let (text, marker) = message.rsplit_once(" [imds-agent: part ")?;
    let (number, kind) = marker.strip_suffix(']')?.split_once(", ")?;
    number.parse::<u32>().ok()?;
    Some((text, kind == "last"))
}

#[derive(Default)]
struct Digester {
    lines: u64,
    hasher: crc32fast::Hasher,
    /// Of the parts of a long line: whole lines may come between them.
    parts: crc32fast::Hasher,
    sum: u64,
}

impl Digester {
    fn take(&mut self, line: &str) {
        self.hasher.update(line.as_bytes());
        self.end_line(crc32fast::hash(line.as_bytes()));
    }

    fn take_part(&mut self, text: &str, is_last: bool) {
        self.hasher.update(text.as_bytes());
        self.parts.update(text.as_bytes());
        if is_last {
            let parts = std::mem::take(&mut self.parts);
            self.end_line(parts.finalize());
        }
    }

    fn end_line(&mut self, own: u32) {
        self.hasher.update(b"\n");
        self.sum = self.sum.wrapping_add(u64::from(own));
        self.lines += 1;
    }

    fn finish(self) -> Digest {
        Digest { lines: self.lines, checksum: self.hasher.finalize(), sum: self.sum }
    }
}

/// Hands out the lines of the first `end` bytes, line ends included.
fn each_line(path: &Path, end: u64, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    use std::io::Read as _;
    let mut reader = BufReader::new(File::open(path)?.take(end));
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        take(&line);
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_from_lines() {
        assert_eq!(part("abc [imds-agent: part 2, continued]"), Some(("abc", false)));
        assert_eq!(part("abc [imds-agent: part 3, last]"), Some(("abc", true)));
        assert_eq!(part("abc [imds-agent: part of it]"), None);
    }

    #[test]
    fn parts_digest_like_the_line_they_are_of() {
        let (mut whole, mut parts) = (Digester::default(), Digester::default());
        whole.take("abcdef");
        parts.take_part("abc", false);
        parts.take_part("def", true);
        assert_eq!(whole.finish(), parts.finish());
    }

    #[test]
    fn lines_count_the_same_wherever_they_were_cut() {
        let (mut whole, mut cut) = (Writing::default(), Writing::default());
        whole.take_piece(b"one\r\n\ntwo\n");
        for byte in b"one\r\n\ntwo\n" {
            cut.take_piece(&[*byte]);
        }
        let written = whole.finish();
        assert_eq!((written.digest.lines, written.empty), (2, 1));
        assert_eq!(written, cut.finish());
    }

    #[test]
    fn another_order_is_another_digest() {
        let digest = |lines: [&str; 2]| {
            let mut digester = Digester::default();
            for line in lines {
                digester.take(line);
            }
            digester.finish()
        };
        assert_ne!(digest(["a", "b"]), digest(["b", "a"]));
        assert!(digest(["a", "b"]).has_lines_of(&digest(["b", "a"])));
        assert!(!digest(["a", "b"]).has_lines_of(&digest(["b", "c"])));
    }
}
