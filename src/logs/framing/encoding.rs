//! The encodings a file can have: where its lines end, where it may be cut, and its text. A byte that means nothing
//! becomes U+FFFD. Not the place for what is UTF-8 already: that is passed on as it is.

use std::borrow::Cow;
use std::fmt;

use encoding_rs::{REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE};
use memchr::{memchr, memchr_iter};

/// An encoding of the Encoding Standard, by any of its labels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Encoding(&'static encoding_rs::Encoding);

impl Default for Encoding {
    fn default() -> Self {
        Self(UTF_8)
    }
}

impl fmt::Debug for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl Encoding {
    /// The encoding that `label` means (`utf-8`, `utf-16le`, `latin-1`, `shift_jis`…), without regard to case.
    #[must_use]
    pub fn for_label(label: &str) -> Option<Self> {
        // What everybody writes is no label of the standard's.
        let label = if label.eq_ignore_ascii_case("latin-1") { "latin1" } else { label };
        encoding_rs::Encoding::for_label(label.as_bytes()).filter(|found| *found != REPLACEMENT).map(Self)
    }

    /// Its name in the standard, in lower case: a label of itself.
    #[must_use]
    pub fn name(self) -> String {
        self.0.name().to_ascii_lowercase()
    }

    #[inline]
    pub(crate) fn is_utf8(self) -> bool {
        self.0 == UTF_8
    }

    #[inline]
    fn is_wide(self) -> bool {
        self.0 == UTF_16LE || self.0 == UTF_16BE
    }

    /// Where the first line of `block` ends: its text's length, and behind its line end.
    #[inline]
    pub(super) fn line_end(self, block: &[u8]) -> Option<(usize, usize)> {
        if !self.is_wide() {
            return memchr(b'\n', block).map(|at| (at, at + 1));
        }
        // The two bytes of a line feed, where a unit begins.
        let low = usize::from(self.0 == UTF_16BE);
        let unit = |at: &usize| at % 2 == low && block.get(at ^ 1) == Some(&0);
        memchr_iter(b'\n', block).find(unit).map(|at| (at & !1, (at & !1) + 2))
    }

    /// `line` without the carriage return at its end.
    #[inline]
    pub(super) fn without_return(self, line: &[u8]) -> &[u8] {
        let suffix: &[u8] = match self.0 {
            wide if wide == UTF_16LE => b"\r\0",
            wide if wide == UTF_16BE => b"\0\r",
            _ => b"\r",
        };
        line.strip_suffix(suffix).unwrap_or(line)
    }

    /// How many bytes the byte order mark that `block` begins with takes; 0 without one.
    pub(super) fn byte_order_mark(self, block: &[u8]) -> usize {
        match encoding_rs::Encoding::for_bom(block) {
            Some((found, length)) if found == self.0 => length,
            _ => 0,
        }
    }

    /// The largest cut at or before `at` that leaves whole characters before it; `at` where those can't be told.
    pub(super) fn boundary(self, text: &[u8], at: usize) -> usize {
        if at >= text.len() {
            return text.len();
        }
        let at = if self.is_wide() { at & !1 } else { at };
        // No character takes more than four bytes.
        let mut cuts = (at.saturating_sub(3)..=at).rev().filter(|cut| !self.is_wide() || cut % 2 == 0);
        let whole = |cut: &usize| self.0.decode_without_bom_handling_and_without_replacement(&text[..*cut]).is_some();
        cuts.find(whole).unwrap_or(at)
    }

    /// `bytes` as text, and whether some meant nothing.
    pub(crate) fn decode(self, bytes: &[u8]) -> (Cow<'_, str>, bool) {
        self.0.decode_without_bom_handling(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(label: &str) -> Encoding {
        Encoding::for_label(label).unwrap()
    }

    fn utf16le(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn labels_are_those_of_the_standard_and_what_everybody_writes() {
        assert_eq!(named("UTF-8"), Encoding::default());
        assert_eq!(named("latin-1").name(), "windows-1252");
        assert_eq!(named("iso-8859-1"), named("latin1"));
        assert_eq!(named("Shift_JIS").name(), "shift_jis");
        // A label for what must not be decoded, and no label.
        assert!([Encoding::for_label("iso-2022-kr"), Encoding::for_label("utf-7")].iter().all(Option::is_none));
    }

    #[test]
    fn a_name_is_a_label_of_itself() {
        for label in ["utf-8", "utf-16le", "utf-16be", "latin1", "shift_jis", "gb18030", "koi8-r", "macintosh"] {
            assert_eq!(named(&named(label).name()), named(label));
        }
    }

    #[test]
    fn a_line_feed_of_two_bytes_is_found_only_where_a_unit_begins() {
        // U+0A00 and U+000A side by side: 00 0A 0A 00.
        let block = utf16le("\u{a00}\nx");
        assert_eq!(named("utf-16le").line_end(&block), Some((2, 4)));
        let big: Vec<u8> = "\u{a00}\nx".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(named("utf-16be").line_end(&big), Some((2, 4)));
        assert_eq!(named("utf-16le").line_end(&utf16le("xy")), None);
        assert_eq!(named("utf-16le").line_end(b"\n"), None);
    }

    #[test]
    fn a_cut_never_parts_a_character() {
        let text = utf16le("a\u{1f600}b");
        assert_eq!(named("utf-16le").boundary(&text, 5), 2);
        assert_eq!(named("utf-16le").boundary(&text, 7), 6);
        let (japanese, _, _) = encoding_rs::SHIFT_JIS.encode("日本");
        assert_eq!(named("shift_jis").boundary(&japanese, 3), 2);
        assert_eq!(named("latin1").boundary(b"abc", 2), 2);
    }

    #[test]
    fn a_byte_order_mark_counts_only_for_its_own_encoding() {
        assert_eq!(named("utf-16le").byte_order_mark(b"\xff\xfea\0"), 2);
        assert_eq!(named("utf-8").byte_order_mark(b"\xef\xbb\xbfx"), 3);
        assert_eq!(named("utf-8").byte_order_mark(b"\xff\xfea\0"), 0);
    }

    #[test]
    fn what_means_nothing_is_replaced_and_said() {
        assert_eq!(named("utf-16le").decode(&[0x00, 0xd8, b'a', 0]), ("\u{fffd}a".into(), true));
        assert_eq!(named("latin1").decode(b"caf\xe9"), ("café".into(), false));
    }
}
