//! Request ids: random UUIDs (RFC 9562, version 4), as Envoy makes them where a request has none.

use crate::rng::Rng;

/// A request id as text.
pub type RequestId = [u8; 36];

/// A fresh request id.
pub fn generate(rng: &mut Rng) -> RequestId {
    let high = rng.next_u64() & 0xFFFF_FFFF_FFFF_0FFF | 0x4000;
    let low = rng.next_u64() & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000;
    let mut id = [b'-'; 36];
    // Positions of the hexadecimal digits among the dashes of 8-4-4-4-12.
    let places = (0..8).chain(9..13).chain(14..18).chain(19..23).chain(24..36);
    for (at, place) in places.enumerate() {
        let word = if at < 16 { high } else { low };
        let digit = (word >> (60 - 4 * (at & 15))) & 0xF;
        if let (Some(slot), Some(text)) = (id.get_mut(place), b"0123456789abcdef".get(digit as usize)) {
            *slot = *text;
        }
    }
    id
}
