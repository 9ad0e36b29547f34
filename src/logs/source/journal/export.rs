//! systemd's journal export format (`systemd.io/JOURNAL_EXPORT_FORMATS`), as a child writes it into a pipe: entries of
//! fields, text or binary, each ended by an empty line. Not what an entry means.
//!
//! What an entry takes is bounded, whatever a program wrote into the journal: a longer value is cut, and marked. It can't
//! be passed on in parts as it comes: who wrote it, which decides whether it is sent, is said behind it.

use std::ops::Range;

use memchr::{memchr, memchr2};

use super::cursor::Cursor;

/// The longest value kept whole, several events' worth, sent in parts: as much as the tapes of the default memory limit
/// take together.
const LONGEST_VALUE: usize = 4 << 20;

/// What all values of an entry take at most: room for the fields beside the longest.
const LARGEST_ENTRY: usize = 5 << 20;

/// journald's own fields, which begin with `_`, are few and short, and decide who wrote an entry: those are kept even
/// of an entry that is full.
const LONGEST_TRUSTED: usize = 4096;

/// The memory kept from one entry to the next: what most of them need.
const KEPT: usize = 64 * 1024;

/// The longest field name kept; journald takes 64 bytes.
const LONGEST_NAME: usize = 256;

/// One field of an entry; the ranges are bytes of its text.
#[derive(Clone, Debug)]
struct Field {
    name: Range<usize>,
    value: Range<usize>,
    /// How long the value was, if it was cut.
    cut_from: Option<u64>,
}

/// One entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    text: Vec<u8>,
    fields: Vec<Field>,
}

impl Entry {
    /// All fields, in the order in which journalctl writes them.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|field| (&self.text[field.name.clone()], &self.text[field.value.clone()]))
    }

    /// The values of a field: a program may give several.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields().filter(move |(field, _)| *field == name.as_bytes()).map(|(_, value)| value)
    }

    /// The first value of a field.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields().find(|(field, _)| *field == name.as_bytes()).map(|(_, value)| value)
    }

    /// The first value of a field, if it is text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// How long the first value of a field was before it was cut.
    pub(crate) fn cut_from(&self, name: &str) -> Option<u64> {
        self.fields.iter().find(|field| &self.text[field.name.clone()] == name.as_bytes())?.cut_from
    }

    /// Where it stands.
    pub(crate) fn cursor(&self) -> Option<Cursor> {
        self.text("__CURSOR")?.parse().ok()
    }

    fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(KEPT);
        self.fields.clear();
    }
}

/// Where in an entry the bytes read so far end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// In a field's name, or before one.
    #[default]
    Name,
    /// In a value that ends with the line.
    Text,
    /// In the eight bytes that say how long a binary value is: that many of them were read.
    Length { read: u32, length: u64 },
    /// In a binary value, so many bytes before its end.
    Binary { left: u64 },
}

/// Takes the format apart, however its bytes come.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    at: At,
    entry: Entry,
    /// Whether `entry` is complete, and was handed out.
    complete: bool,
    /// Where the current field's name and value begin in the entry's text.
    name: usize,
    value: usize,
    /// The bytes of the current value so far, those included that were not kept.
    length: u64,
}

impl Decoder {
    /// Reads on in `bytes`, at most to the end of an entry; says how many it took, and whether an entry is complete:
    /// that is then to be had from [`Decoder::entry`] until the next call.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> (usize, bool) {
        if std::mem::take(&mut self.complete) {
            self.entry.clear();
            self.begin_field();
        }
        let mut rest = bytes;
        while !rest.is_empty() && !self.complete {
            rest = self.advance(rest);
        }
        (bytes.len() - rest.len(), self.complete)
    }

    /// The entry that was completed last.
    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The memory it takes, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.entry.text.capacity() + self.entry.fields.capacity() * size_of::<Field>()
    }

    fn begin_field(&mut self) {
        self.at = At::Name;
        self.name = self.entry.text.len();
        self.value = self.name;
        self.length = 0;
    }

    /// Takes the next stretch of `bytes` in; returns what is left of them.
    fn advance<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match self.at {
            At::Name => self.read_name(bytes),
            At::Text => {
                if let Some(end) = memchr(b'\n', bytes) {
                    self.keep(&bytes[..end]);
                    self.end_field();
                    return &bytes[end + 1..];
                }
                self.keep(bytes);
                &[]
            }
            At::Length { read: 8, length } => {
                self.at = At::Binary { left: length };
                bytes
            }
            At::Length { read, length } => {
                self.at = At::Length { read: read + 1, length: length | u64::from(bytes[0]) << (8 * read) };
                &bytes[1..]
            }
            At::Binary { left: 0 } => {
                // The line end behind it.
                self.end_field();
                &bytes[1..]
            }
            At::Binary { left } => {
                let length = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                self.keep(&bytes[..length]);
                self.at = At::Binary { left: left - length as u64 };
                &bytes[length..]
            }
        }
    }

    fn read_name<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = memchr2(b'=', b'\n', bytes) else {
            self.keep_name(bytes);
            return &[];
        };
        self.keep_name(&bytes[..end]);
        let is_empty = self.entry.text.len() == self.name;
        match bytes[end] {
            b'\n' if is_empty && self.entry.fields.is_empty() => {}
            b'\n' if is_empty => self.complete = true,
            b'\n' => self.at = At::Length { read: 0, length: 0 },
            _ => self.at = At::Text,
        }
        self.value = self.entry.text.len();
        &bytes[end + 1..]
    }

    fn keep_name(&mut self, bytes: &[u8]) {
        let room = LONGEST_NAME - (self.entry.text.len() - self.name).min(LONGEST_NAME);
        self.entry.text.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Adds to the value as much as may be kept of it.
    fn keep(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        let kept = self.entry.text.len() - self.value;
        let trusted = self.entry.text.get(self.name) == Some(&b'_');
        let longest =
            if trusted { LONGEST_TRUSTED } else { LONGEST_VALUE.min(LARGEST_ENTRY.saturating_sub(self.value)) };
        let room = longest.saturating_sub(kept);
        self.entry.text.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_field(&mut self) {
        let end = self.entry.text.len();
        let cut_from = (self.length > (end - self.value) as u64).then_some(self.length);
        self.entry.fields.push(Field { name: self.name..self.value, value: self.value..end, cut_from });
        self.begin_field();
    }
}

/// For tests: an entry with these fields.
#[cfg(test)]
pub(crate) fn entry(fields: &[(&str, &str)]) -> Entry {
    let mut decoder = Decoder::default();
    for (name, value) in fields {
        decoder.read(format!("{name}\n").as_bytes());
        decoder.read(&(value.len() as u64).to_le_bytes());
        decoder.read(format!("{value}\n").as_bytes());
    }
    decoder.read(b"\n");
    decoder.entry
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Fields = Vec<(Vec<u8>, Vec<u8>)>;

    /// Writes as journalctl does: what is no plain text of one line goes as binary.
    fn write(entries: &[Fields]) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in entries {
            for (name, value) in entry {
                out.extend_from_slice(name);
                if value.iter().all(|byte| (0x20..0x7f).contains(byte)) {
                    out.push(b'=');
                } else {
                    out.push(b'\n');
                    out.extend_from_slice(&(value.len() as u64).to_le_bytes());
                }
                out.extend_from_slice(value);
                out.push(b'\n');
            }
            out.push(b'\n');
        }
        out
    }

    fn read(decoder: &mut Decoder, mut bytes: &[u8], entries: &mut Vec<Fields>) {
        while !bytes.is_empty() {
            let (taken, complete) = decoder.read(bytes);
            bytes = &bytes[taken..];
            if complete {
                let fields = decoder.entry().fields().map(|(name, value)| (name.to_vec(), value.to_vec()));
                entries.push(fields.collect());
            }
        }
    }

    fn field(name: &str, value: &[u8]) -> (Vec<u8>, Vec<u8>) {
        (name.as_bytes().to_vec(), value.to_vec())
    }

    #[test]
    fn a_message_of_several_lines_is_one_value() {
        let written = write(&[vec![field("MESSAGE", b"one\n\ntwo=2\n"), field("PRIORITY", b"6")]]);
        let mut decoder = Decoder::default();
        assert_eq!(decoder.read(&written), (written.len(), true));
        assert_eq!(decoder.entry().get("MESSAGE"), Some(b"one\n\ntwo=2\n".as_slice()));
        assert_eq!(decoder.entry().text("PRIORITY"), Some("6"));
    }

    #[test]
    fn a_value_longer_than_may_be_kept_is_cut_and_the_next_field_is_whole() {
        let long = vec![b'x'; LONGEST_VALUE + 17];
        let written = write(&[vec![field("MESSAGE", &long), field("_PID", b"7")], vec![field("MESSAGE", b"next")]]);
        let mut decoder = Decoder::default();
        let (taken, _) = decoder.read(&written);
        assert_eq!(decoder.entry().get("MESSAGE").map(<[u8]>::len), Some(LONGEST_VALUE));
        assert_eq!(decoder.entry().cut_from("MESSAGE"), Some(long.len() as u64));
        assert_eq!((decoder.entry().text("_PID"), decoder.entry().cut_from("_PID")), (Some("7"), None));
        decoder.read(&written[taken..]);
        assert_eq!(decoder.entry().text("MESSAGE"), Some("next"));
    }

    #[test]
    fn however_much_a_program_writes_journalds_own_fields_are_kept() {
        let large = vec![b'x'; LONGEST_VALUE];
        let mut fields: Fields = (0..5).map(|index| field(&format!("F{index}"), &large)).collect();
        fields.push(field("_SYSTEMD_UNIT", b"app.service"));
        let mut decoder = Decoder::default();
        decoder.read(&write(&[fields]));
        assert_eq!(decoder.entry().text("_SYSTEMD_UNIT"), Some("app.service"));
        assert!(decoder.entry.text.len() < LARGEST_ENTRY + 1024);
    }

    #[test]
    fn the_address_of_an_entry_is_read() {
        let mut decoder = Decoder::default();
        decoder.read(b"__CURSOR=s=1;i=2;b=3;m=4;t=5;x=6\n__REALTIME_TIMESTAMP=5\n\n");
        assert_eq!(decoder.entry().cursor().map(|cursor| cursor.number), Some(2));
    }

    #[test]
    fn nothing_hostile_makes_the_decoder_panic_or_hold_more_than_it_was_given() {
        let entry = |fields: &[(&str, &[u8])]| -> Fields {
            fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect()
        };
        let cursor = b"s=1f;i=1a;b=2e;m=4d2;t=5c3;x=9ab";
        let plain = write(&[entry(&[("__CURSOR", cursor), ("MESSAGE", b"text"), ("PRIORITY", b"6")])]);
        let binary = write(&[entry(&[("MESSAGE", b"\xff\0two\nlines")]), entry(&[("MESSAGE", b"")])]);
        crate::fuzz::hostile(&[&plain, &binary], |input| {
            let mut decoder = Decoder::default();
            for piece in input.chunks(7) {
                let mut rest = piece;
                while !rest.is_empty() {
                    let (taken, complete) = decoder.read(rest);
                    assert!(taken > 0, "it stands still");
                    rest = &rest[taken..];
                    if complete {
                        let entry = decoder.entry();
                        let _ = (entry.cursor(), entry.text("MESSAGE"), entry.cut_from("MESSAGE"));
                        assert!(
                            entry.fields().map(|(name, value)| name.len() + value.len()).sum::<usize>() <= input.len()
                        );
                    }
                }
            }
            // Text, and a range of it for each field, in vectors that double.
            assert!(decoder.memory() <= KEPT + 256 * (input.len() + 16), "{} bytes", decoder.memory());
        });
    }

    proptest! {
        /// The model: what was written. However the bytes are cut on their way, the same entries come out.
        #[test]
        fn what_was_written_comes_out_however_it_is_cut(
            entries in prop::collection::vec(prop::collection::vec(("[A-Z_]{1,12}", prop::collection::vec(any::<u8>(), 0..40)), 1..6), 0..6),
            cuts in prop::collection::vec(1_usize..30, 1..20),
        ) {
            let entries: Vec<Fields> = entries.into_iter()
                .map(|entry| entry.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect())
                .collect();
            let written = write(&entries);
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            let mut rest = written.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, tail) = rest.split_at((*cut).min(rest.len()));
                read(&mut decoder, piece, &mut found);
                rest = tail;
            }
            prop_assert_eq!(found, entries);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            read(&mut Decoder::default(), &bytes, &mut Vec::new());
        }
    }
}
