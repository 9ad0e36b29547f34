//! Text as a JSON string's inside, straight into the request's body (RFC 8259 §7). Not a serializer: the one hot
//! loop of the shipper, in vector instructions where that pays: almost every line has no control characters.

use memchr::memchr2;

/// Appends `text`, escaped, to `body`. `plain` says that it is known to hold no control characters.
pub(super) fn escape_into(body: &mut Vec<u8>, text: &str, plain: bool) {
    let text = text.as_bytes();
    if plain || text.iter().fold(0, |found, &byte| found | u8::from(byte < 0x20)) == 0 {
        escape_where(body, text, |rest| memchr2(b'"', b'\\', rest));
    } else {
        escape_where(body, text, |rest| rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\'));
    }
}

/// Escapes what `next` finds, copies what is between.
fn escape_where(body: &mut Vec<u8>, mut rest: &[u8], next: impl Fn(&[u8]) -> Option<usize>) {
    while let Some(clean) = next(rest) {
        body.extend_from_slice(&rest[..clean]);
        escape_byte(body, rest[clean]);
        rest = &rest[clean + 1..];
    }
    body.extend_from_slice(rest);
}

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
            escape_into(&mut body, &text, false);
            body.push(b'"');
            let read: String = serde_json::from_slice(&body).expect("valid JSON");
            prop_assert_eq!(read, text);
        }
    }
}
