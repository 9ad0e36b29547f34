//! Records as they lie in spool segments and in the journal's ring: length, checksum, time, text. Written by who
//! receives them, read back by who frames them. Not the place for files: those hold segments, which `spool` has.
//!
//! One record, little-endian: `u32` length of the text, `u32` CRC-32 of all that follows, `i64` time in milliseconds
//! since the epoch ([`TIME_OF_READING`] for none), `u8` flags, text. A text longer than one event is written as several
//! records, all but the last with [`CONTINUED`], so that nobody ever needs more memory than one event takes.

use jiff::Timestamp;

use super::lines::LONGEST_MESSAGE;
use super::settings::Settings;

/// What stands before the text.
const HEADER: usize = 4 + 4 + 8 + 1;

/// The time of a record that has none: it gets the time at which it is read.
const TIME_OF_READING: i64 = i64::MIN;

/// Flag: the next record goes on with this text.
const CONTINUED: u8 = 1;

/// The most that one record takes, header included; a block of this size always holds a whole one.
pub(crate) const LONGEST_RECORDED: usize = HEADER + LONGEST_MESSAGE;

/// One record, read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recorded<'a> {
    /// The time that its sender gave it.
    pub(crate) time: Option<Timestamp>,
    /// The text, or a part of it.
    pub(crate) text: &'a [u8],
    /// Whether the next record goes on with this text.
    pub(crate) continued: bool,
    /// How many bytes it takes where it lies.
    pub(crate) length: usize,
}

/// What stands there was never written by [`encode`], or was damaged since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no record: {0}")]
pub(crate) struct Corrupt(&'static str);

/// Appends a record of `text` to `out`.
#[cfg(test)]
pub(crate) fn encode(out: &mut Vec<u8>, time: Option<Timestamp>, text: &[u8]) {
    encode_part(out, &Settings::default(), time, text, false);
}

/// Appends a record of `text` to `out`, not cut inside of what `settings` redact; the next one goes on with it if
/// `is_continued`.
pub(crate) fn encode_part(
    out: &mut Vec<u8>,
    settings: &Settings,
    time: Option<Timestamp>,
    text: &[u8],
    is_continued: bool,
) {
    let time = time.map_or(TIME_OF_READING, Timestamp::as_millisecond);
    let mut rest = text;
    loop {
        let (part, behind) = rest.split_at(settings.part_of(rest));
        rest = behind;
        let start = out.len();
        // A part is shorter than an event: it fits.
        out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&time.to_le_bytes());
        out.push(if rest.is_empty() && !is_continued { 0 } else { CONTINUED });
        out.extend_from_slice(part);
        let crc = crc32fast::hash(&out[start + 8..]);
        out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
        if rest.is_empty() {
            return;
        }
    }
}

/// The first record of `block`; `None` when its end is not there yet.
///
/// # Errors
/// When no record begins there. Where the next one begins is not known then.
pub(crate) fn next_recorded(block: &[u8]) -> Result<Option<Recorded<'_>>, Corrupt> {
    let Some((length, behind)) = block.split_first_chunk() else { return Ok(None) };
    let length = HEADER.saturating_add(usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX));
    if length > LONGEST_RECORDED {
        return Err(Corrupt("it would be longer than any that is written"));
    }
    let Some((crc, _)) = behind.split_first_chunk() else { return Ok(None) };
    let Some(checked) = block.get(8..length) else { return Ok(None) };
    if crc32fast::hash(checked) != u32::from_le_bytes(*crc) {
        return Err(Corrupt("its checksum is another one"));
    }
    let Some((time, behind)) = checked.split_first_chunk() else { return Err(Corrupt("it has no time")) };
    let Some((flags, text)) = behind.split_first() else { return Err(Corrupt("it has no flags")) };
    let time = match i64::from_le_bytes(*time) {
        TIME_OF_READING => None,
        millis => Timestamp::from_millisecond(millis).ok(),
    };
    Ok(Some(Recorded { time, text, continued: flags & CONTINUED != 0, length }))
}

/// How much is looked at to find the next record, in lengths of what is searched: bytes made so that every place looks
/// like a long record take no longer.
const MOST_WORK: usize = 64;

/// Where behind the beginning of `block`, which is damaged, the next whole record stands. Checksum, flags and time are
/// right by chance nowhere. A sender can put bytes into a text that are a record: then that is its own, and goes where
/// its others go.
pub(crate) fn find_recorded(block: &[u8]) -> Option<usize> {
    let mut work = block.len().saturating_mul(MOST_WORK);
    for at in 1..block.len() {
        let rest = &block[at..];
        let Some(length) = plausible_length(rest) else { continue };
        work = work.checked_sub(length)?;
        if matches!(next_recorded(rest), Ok(Some(_))) {
            return Some(at);
        }
    }
    None
}

/// How long the record is that `bytes` begin with, if they look like one without being summed up.
fn plausible_length(bytes: &[u8]) -> Option<usize> {
    let (header, _) = bytes.split_first_chunk::<HEADER>()?;
    let (length, behind) = header.split_first_chunk()?;
    let length = HEADER.checked_add(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let time = i64::from_le_bytes(*behind.get(4..)?.first_chunk()?);
    let has_time = time == TIME_OF_READING || Timestamp::from_millisecond(time).is_ok();
    (has_time && header[HEADER - 1] <= CONTINUED && length <= LONGEST_RECORDED.min(bytes.len())).then_some(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(time: Option<i64>, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, time.map(|millis| Timestamp::from_millisecond(millis).unwrap()), text);
        out
    }

    #[test]
    fn a_text_longer_than_one_event_becomes_records_that_join_to_it() {
        let text = "ä".repeat(LONGEST_MESSAGE + 10);
        let block = encoded(Some(7), text.as_bytes());
        let (mut rest, mut joined, mut continued) = (&block[..], Vec::new(), Vec::new());
        while let Some(record) = next_recorded(rest).unwrap() {
            assert!(record.length <= LONGEST_RECORDED);
            assert!(std::str::from_utf8(record.text).is_ok());
            assert_eq!(record.time, Timestamp::from_millisecond(7).ok());
            joined.extend_from_slice(record.text);
            continued.push(record.continued);
            rest = &rest[record.length..];
        }
        assert!(joined == text.as_bytes(), "{} bytes", joined.len());
        assert_eq!(continued, [true, true, false]);
    }

    #[test]
    fn an_empty_text_is_a_record() {
        let block = encoded(None, b"");
        assert_eq!(
            next_recorded(&block),
            Ok(Some(Recorded { time: None, text: b"", continued: false, length: HEADER }))
        );
    }

    #[test]
    fn a_length_that_no_record_has_is_not_waited_for() {
        assert!(next_recorded(&[0xff; 8]).is_err());
    }

    #[test]
    fn nothing_hostile_makes_reading_panic_or_take_more_than_there_is() {
        let one = encoded(Some(1_795_334_400_000), "text ä".as_bytes());
        let several = [one.clone(), encoded(None, b""), encoded(Some(-1), &[0xff; 300])].concat();
        crate::fuzz::hostile(&[&one, &several], |input| {
            let mut rest = input;
            while let Ok(Some(record)) = next_recorded(rest) {
                assert!(record.length > record.text.len());
                rest = &rest[record.length..];
            }
        });
    }

    #[test]
    fn behind_zeros_and_behind_what_looks_like_records_the_next_one_is_found_or_given_up_in_time() {
        let next = encoded(Some(5), b"next");
        assert_eq!(find_recorded(&[vec![0; 5000], next.clone()].concat()), Some(5000));
        // Each fourth place says that it is a record of half a megabyte.
        let trap = [0, 0, 8, 0].repeat(1 << 20);
        assert_eq!(find_recorded(&[trap, next].concat()), None);
    }

    proptest! {
        /// The model: the records. One is damaged anywhere: all others are found.
        #[test]
        fn behind_a_damaged_record_the_next_one_is_found(
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 2..8),
            which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0..8_u8,
        ) {
            let mut records: Vec<Vec<u8>> = texts.iter().map(|text| encoded(Some(1), text)).collect();
            let damaged = which.index(records.len() - 1);
            let length = records[damaged].len();
            records[damaged][at.index(length)] ^= 1 << bit;
            prop_assert_eq!(find_recorded(&records[damaged..].concat()), Some(length));
        }

        #[test]
        fn what_was_written_is_read_back(records in prop::collection::vec((prop::option::of(0..4_000_000_000_000_i64), prop::collection::vec(any::<u8>(), 0..40)), 0..8)) {
            let block: Vec<u8> = records.iter().flat_map(|(time, text)| encoded(*time, text)).collect();
            let mut rest = &block[..];
            for (time, text) in &records {
                let record = next_recorded(rest).unwrap().unwrap();
                prop_assert_eq!(record.text, &text[..]);
                prop_assert_eq!(record.time.map(Timestamp::as_millisecond), *time);
                rest = &rest[record.length..];
            }
            prop_assert_eq!(next_recorded(rest), Ok(None));
        }

        #[test]
        fn a_record_that_is_not_whole_is_waited_for(text in prop::collection::vec(any::<u8>(), 0..40), cut in any::<prop::sample::Index>()) {
            let block = encoded(Some(1), &text);
            prop_assert_eq!(next_recorded(&block[..cut.index(block.len())]), Ok(None));
        }

        #[test]
        fn a_flipped_bit_is_seen(text in prop::collection::vec(any::<u8>(), 0..40), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut block = encoded(Some(1), &text);
            let at = at.index(block.len());
            block[at] ^= 1 << bit;
            // A length that grew looks like a record that is not whole; a segment's end tells.
            prop_assert!(matches!(next_recorded(&block), Err(_) | Ok(None)));
        }
    }
}
