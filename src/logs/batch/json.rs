//! Text as a JSON string's inside, straight into the request's body (RFC 8259 §7). Not a serializer: the one hot
//! loop of the shipper, many bytes at a time: almost every line has no control characters.

use memchr::memchr2;

/// How many bytes are looked at together: as many as a register holds.
const WORD: usize = size_of::<u64>();

/// A word of ones, one a byte.
const ONES: u64 = u64::MAX / 0xff;

/// The highest bit of each byte.
const HIGHEST: u64 = ONES << 7;

/// Appends `text`, escaped, to `body`.
pub(super) fn escape_into(body: &mut Vec<u8>, text: &str) {
    let text = text.as_bytes();
    if holds_controls(text) {
        escape_where(body, text, first_to_escape);
    } else {
        escape_where(body, text, |rest| memchr2(b'"', b'\\', rest));
    }
}

/// Escapes what `next` finds, copies what is between.
#[inline]
fn escape_where(body: &mut Vec<u8>, mut rest: &[u8], next: impl Fn(&[u8]) -> Option<usize>) {
    while let Some(clean) = next(rest) {
        body.extend_from_slice(&rest[..clean]);
        escape_byte(body, rest[clean]);
        rest = &rest[clean + 1..];
    }
    body.extend_from_slice(rest);
}

/// Whether there are control characters in `text`. Word by word, and four before anything is decided, all written out:
/// of a loop over bytes the compiler makes no more than that where it is to save room.
fn holds_controls(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks::<WORD>();
    let (stretches, words) = words.as_chunks::<4>();
    let has_some = |word: [u8; WORD]| below_space(word) & HIGHEST != 0;
    for stretch in stretches {
        let [one, two, three, four] = *stretch;
        // What is below a space gets the highest bit, and so may what is beyond ASCII: then it is looked at again.
        let suspects = less_space(one) | less_space(two) | less_space(three) | less_space(four);
        if suspects & HIGHEST != 0 && stretch.iter().copied().any(has_some) {
            return true;
        }
    }
    words.iter().copied().any(has_some) || rest.iter().any(|&byte| byte < b' ')
}

/// The first byte of `text` that JSON does not take as it is.
fn first_to_escape(text: &[u8]) -> Option<usize> {
    let (words, _) = text.as_chunks::<WORD>();
    let has_some = |word: [u8; WORD]| (below_space(word) | equal(word, b'"') | equal(word, b'\\')) & HIGHEST != 0;
    let clean = words.iter().copied().position(has_some).unwrap_or(words.len()) * WORD;
    let found = text[clean..].iter().position(|&byte| byte < b' ' || byte == b'"' || byte == b'\\')?;
    Some(clean + found)
}

/// Sets the highest bit of the first byte that is below a space, if one is; other bits mean nothing.
#[inline]
fn below_space(word: [u8; WORD]) -> u64 {
    less_space(word) & !u64::from_le_bytes(word)
}

/// A space less in each byte.
#[inline]
fn less_space(word: [u8; WORD]) -> u64 {
    u64::from_le_bytes(word).wrapping_sub(ONES * u64::from(b' '))
}

/// Sets the highest bit of the first byte that is `byte`, if one is; other bits mean nothing.
#[inline]
fn equal(word: [u8; WORD], byte: u8) -> u64 {
    let differs = u64::from_le_bytes(word) ^ (ONES * u64::from(byte));
    differs.wrapping_sub(ONES) & !differs
}

#[inline]
fn escape_byte(body: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => body.extend_from_slice(b"\\\""),
        b'\\' => body.extend_from_slice(b"\\\\"),
        b'\n' => body.extend_from_slice(b"\\n"),
        b'\r' => body.extend_from_slice(b"\\r"),
        b'\t' => body.extend_from_slice(b"\\t"),
        _ => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            body.extend_from_slice(b"\\u00");
            body.extend_from_slice(&digits);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_escaped_is_what_a_json_parser_reads(text in ".{0,100}|[\\x00-\\x7f]{0,100}") {
            let mut body = vec![b'"'];
            escape_into(&mut body, &text);
            body.push(b'"');
            let read: String = serde_json::from_slice(&body).expect("valid JSON");
            prop_assert_eq!(read, text);
        }
    }
}
