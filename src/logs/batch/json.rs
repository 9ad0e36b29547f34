//! Text as a JSON string's inside, straight into the request's body (RFC 8259 §7). Not a serializer: the one hot
//! loop of the shipper, kept to what the compiler turns into vector instructions.

/// How many bytes are looked at together: two vectors of the baseline, so that a line costs few branches.
const CHUNK: usize = 32;

/// Appends `text`, escaped, to `body`.
pub(super) fn escape_into(body: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    body.reserve(rest.len());
    loop {
        let clean = clean_prefix(rest);
        body.extend_from_slice(&rest[..clean]);
        let Some(&byte) = rest.get(clean) else { return };
        escape_byte(body, byte);
        rest = &rest[clean + 1..];
    }
}

/// How many bytes at the beginning stand for themselves.
fn clean_prefix(text: &[u8]) -> usize {
    let (chunks, tail) = text.as_chunks::<CHUNK>();
    for (index, chunk) in chunks.iter().enumerate() {
        let dirty = chunk.iter().fold(0_u8, |found, &byte| found | u8::from(needs_escape(byte)));
        if dirty != 0 {
            return index * CHUNK + first_dirty(chunk);
        }
    }
    chunks.len() * CHUNK + first_dirty(tail)
}

fn first_dirty(text: &[u8]) -> usize {
    text.iter().position(|&byte| needs_escape(byte)).unwrap_or(text.len())
}

fn needs_escape(byte: u8) -> bool {
    #[expect(clippy::needless_bitwise_bool, reason = "without branches it becomes vector instructions")]
    let dirty = (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    dirty
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
            escape_into(&mut body, &text);
            body.push(b'"');
            let read: String = serde_json::from_slice(&body).expect("valid JSON");
            prop_assert_eq!(read, text);
        }
    }
}
