//! Request ids: random UUIDs (RFC 9562, version 4), as Envoy makes them where a request has none.

use crate::rng::Rng;

/// A request id as text.
pub type RequestId = [u8; 36];

/// Where the two digits of each of the 16 bytes stand among the dashes of 8-4-4-4-12.
const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/// A fresh request id.
pub fn generate(rng: &mut Rng) -> RequestId {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let high = rng.next_u64() & 0xFFFF_FFFF_FFFF_0FFF | 0x4000;
    let low = rng.next_u64() & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000;
    let bytes = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
    let mut id = [b'-'; 36];
    for (byte, place) in bytes.into_iter().zip(PLACES) {
        // Digits and places are constants within bounds, so neither index can fail.
        id[place] = DIGITS[usize::from(byte >> 4)];
        id[place + 1] = DIGITS[usize::from(byte & 0xF)];
    }
    id
}
