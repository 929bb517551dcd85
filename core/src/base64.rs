//! Base64 (RFC 4648, 4), as far as it is written here; what comes in parts is read by [`crate::h2::grpc_web::Decoder`].

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes as text, padded.
pub fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or_default());
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = (word >> (18 - 6 * at)) as usize & 63;
            out.push(if at > three.len() { b'=' } else { ALPHABET[digit] });
        }
    }
    out
}

#[cfg(test)]
mod tests;
