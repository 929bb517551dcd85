//! Mutations of a corpus without a fuzzer: the same ones in every run.

use dromon_core::rng::Rng;

/// What breaks parsers of text and of lengths.
const TOKENS: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\0",
    b"\xff",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"%2f",
    b"/../",
    b"HTTP/1.0",
    b"Content-Length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: te, close\r\n",
    b"Host: b\r\n",
    b"0\r\n\r\n",
    b"ffffffffffffffff",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"-----END CERTIFICATE-----",
];

/// Bytes a little different, by one to four changes; `other` lends parts of itself.
pub fn mutate(bytes: &[u8], other: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..1 + rng.below(4) {
        let at = rng.below(out.len() as u32 + 1) as usize;
        let end = (at + 1 + rng.below(16) as usize).min(out.len());
        match rng.below(8) {
            0 => drop(out.drain(at..end)),
            1 => out.truncate(at),
            2 => {
                let again = out[at..end].to_vec();
                out.splice(at..at, again);
            }
            3 | 4 => {
                let token = TOKENS[rng.below(TOKENS.len() as u32) as usize];
                out.splice(at..at, token.iter().copied());
            }
            5 if !other.is_empty() => {
                let from = rng.below(other.len() as u32) as usize;
                let to = (from + 1 + rng.below(64) as usize).min(other.len());
                out.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                if let Some(byte) = out.get_mut(at) {
                    *byte = match rng.below(3) {
                        0 => *byte ^ 1 << rng.below(8),
                        1 => byte.wrapping_add(1),
                        _ => rng.below(256) as u8,
                    };
                }
            }
        }
    }
    out
}
