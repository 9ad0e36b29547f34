//! Where a text that is too long for one event is cut: not inside of what is to be redacted, or half a secret would stand
//! at each side and neither be found. Pure. Not the redaction itself.
//!
//! What stands behind the cut is looked at as far as [`LOOKED_BEHIND`]: what a pattern matches across the cut goes whole
//! into the next part, wherever it ends. Only a match that is longer than a part is cut all the same, since there is no
//! other place.

use super::encoding::Encoding;
use super::lines::{longest_part, utf8_boundary};
use super::settings::Settings;

/// How much behind a cut is looked at: tokens and keys are shorter, and with the longest part it is less than the largest
/// block that is read (`source::read`).
pub(crate) const LOOKED_BEHIND: usize = 32 * 1024;

impl Settings {
    /// How much of `text` goes into one event, if no more of it is to be known.
    pub(crate) fn part_of(&self, text: &[u8]) -> usize {
        let fits = longest_part(text, self.encoding).len();
        if fits == text.len() { fits } else { self.spare(&text[..text.len().min(fits + LOOKED_BEHIND)], fits) }
    }

    /// Where `text` is cut if `fits` bytes of it fit: there, or before what is redacted there.
    pub(crate) fn spare(&self, text: &[u8], fits: usize) -> usize {
        if self.redact.is_empty() {
            return fits;
        }
        let (all, _) = self.encoding.decode(text);
        let (before, _) = self.encoding.decode(&text[..fits]);
        let mut cut = before.len();
        // Where one pattern moves it, another one may match.
        for _ in &self.redact {
            let moved = self.redact.iter().fold(cut, |cut, redaction| redaction.pattern.spare(&all, cut));
            if moved == cut {
                break;
            }
            cut = moved;
        }
        if cut == before.len() || cut == 0 {
            return fits;
        }
        match place_of(cut, &text[..fits], self.encoding) {
            0 => fits,
            place => place,
        }
    }
}

/// The last place in `text` up to which it decodes to no more than `length` bytes.
fn place_of(length: usize, text: &[u8], encoding: Encoding) -> usize {
    if encoding.is_utf8() && simdutf8::basic::from_utf8(text).is_ok() {
        return length;
    }
    let boundary = |at| if encoding.is_utf8() { utf8_boundary(text, at) } else { encoding.boundary(text, at) };
    let fits = |at: usize| encoding.decode(&text[..boundary(at)]).0.len() <= length;
    let (mut low, mut high) = (0, text.len());
    while low < high {
        let middle = (low + high).div_ceil(2);
        if fits(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    boundary(low)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::lines::LONGEST_MESSAGE;
    use super::super::{End, Form, Framed, Framer, Pattern, Redaction};
    use super::*;
    use crate::logs::coverage::Place;

    fn settings(patterns: &[&str], encoding: Encoding) -> Settings {
        let redaction =
            |pattern: &&str| Redaction { pattern: Pattern::parse(pattern).unwrap(), replace: "***".to_owned() };
        Settings { redact: patterns.iter().map(redaction).collect(), encoding, ..Settings::default() }
    }

    /// What leaves of `line`, part by part; `None` when its end is waited for.
    fn sent(settings: &Settings, line: &[u8], end: End) -> Vec<String> {
        let framer = Framer::new(settings.clone(), Form::Lines);
        let (mut place, mut sent) = (Place { offset: 1, parts: 0 }, Vec::new());
        while let Framed::Record(record) = framer.next(&line[usize::try_from(place.offset).unwrap() - 1..], place, end)
        {
            sent.push(settings.redacted(&framer.decode(record.text).0).into_owned());
            place = Place { offset: place.offset + record.length as u64, parts: record.piece.next_part() };
        }
        sent
    }

    #[test]
    fn a_secret_across_the_cut_is_redacted_whole_in_every_encoding() {
        for (label, before) in [("utf-8", "ä"), ("utf-16le", "ä"), ("latin1", "x"), ("shift_jis", "日")] {
            let encoding = Encoding::for_label(label).unwrap();
            let settings = settings(&["password=\\S+"], encoding);
            let wide = |text: &str| match label {
                "utf-16le" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                "shift_jis" => encoding_rs::SHIFT_JIS.encode(text).0.into_owned(),
                _ => text.as_bytes().to_vec(),
            };
            let room = super::super::lines::longest(encoding) - wide("password=hu").len();
            let padding = wide(before).repeat(room / wide(before).len());
            let line = [padding, wide(" password=hunter2 rest\n")].concat();
            let parts = sent(&settings, &line, End::Open);
            assert_eq!(parts.len(), 2, "{label}");
            assert!(parts[0].ends_with(&format!("{before} ")) && parts[1] == "*** rest", "{label}: {}", parts[1]);
        }
    }

    #[test]
    fn what_is_no_text_is_cut_before_a_secret_too() {
        let settings = settings(&["password=\\S+"], Encoding::default());
        let broken = super::super::lines::longest(Encoding::for_label("latin1").unwrap());
        let line = [&vec![0xff; broken - 20][..], b" password=hunter2hunter2hunter2 rest\n"].concat();
        let parts = sent(&settings, &line, End::Open);
        assert!(parts.iter().all(|part| !part.contains("unter2")), "{:?}", parts.last());
    }

    #[test]
    fn one_pattern_moves_the_cut_into_another_ones_match_and_it_moves_again() {
        let settings = settings(&["=\\S+", "password=h"], Encoding::default());
        let line = format!("{}password=hunter2\n", "x ".repeat((LONGEST_MESSAGE - 12) / 2));
        assert_eq!(sent(&settings, line.as_bytes(), End::Open).len(), 2);
        let cut = settings.part_of(line.as_bytes());
        assert!(line[cut..].starts_with("password=h"), "{}", &line[cut..]);
    }

    #[test]
    fn what_may_be_the_first_half_of_a_secret_waits_for_the_second() {
        let settings = settings(&["password=\\S+"], Encoding::default());
        let line = format!("{} passwor", "x".repeat(LONGEST_MESSAGE - 4));
        assert_eq!(sent(&settings, line.as_bytes(), End::Open), [] as [String; 0]);
        let whole = line + "d=hunter2\n";
        assert_eq!(sent(&settings, whole.as_bytes(), End::Open)[1], "***");
    }

    #[test]
    fn a_match_longer_than_a_part_is_cut_and_redacted_where_it_is_seen() {
        let settings = settings(&["x+"], Encoding::default());
        let parts = sent(&settings, format!("{}\n", "x".repeat(3 * LONGEST_MESSAGE)).as_bytes(), End::Open);
        assert_eq!(parts, ["***"; 3]);
    }

    proptest! {
        // Each takes a megabyte through unoptimised code.
        #![proptest_config(ProptestConfig::with_cases(8))]

        /// However words lie about the cut, no half of one of eight letters is seen.
        #[test]
        fn no_half_of_a_secret_leaves(before in 0..60_usize, words in prop::collection::vec("[a-z]{1,8}|SECRETS[0-9]", 1..20)) {
            let settings = settings(&["SECRETS\\d"], Encoding::default());
            let line = format!("{} {}\n", "x".repeat(LONGEST_MESSAGE - before), words.join(" "));
            let parts = sent(&settings, line.as_bytes(), End::Open);
            prop_assert!(parts.iter().all(|part| !part.chars().any(|c| c.is_ascii_uppercase() || c.is_ascii_digit())));
            let joined = line.trim_end().split(' ').map(|word| if word.starts_with("SECRETS") { "***" } else { word });
            prop_assert_eq!(parts.concat(), joined.collect::<Vec<_>>().join(" "));
        }
    }
}
