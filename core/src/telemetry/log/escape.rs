//! Escaping of what came from a peer.

/// Text: quotes and backslashes escaped, everything but printable ASCII as `\xHH`.
pub(super) fn text(value: &[u8], out: &mut Vec<u8>) {
    for byte in value {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            0x20..=0x7E => out.push(*byte),
            _ => hex(b"\\x", *byte, out),
        }
    }
}

/// The inside of a JSON string (RFC 8259, 7); bytes that are not UTF-8 as if Latin-1, so that the line stays valid.
pub(super) fn json(value: &[u8], out: &mut Vec<u8>) {
    for chunk in value.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '"' | '\\' => out.extend_from_slice(&[b'\\', char as u8]),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                '\0'..='\u{1F}' | '\u{7F}' => hex(b"\\u00", char as u8, out),
                _ => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for byte in chunk.invalid() {
            hex(b"\\u00", *byte, out);
        }
    }
}

fn hex(prefix: &[u8], byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(prefix);
    for digit in [byte >> 4, byte & 0xF] {
        out.push(DIGITS.get(usize::from(digit)).copied().unwrap_or(b'0'));
    }
}
