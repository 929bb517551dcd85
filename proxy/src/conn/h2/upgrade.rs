//! An extended CONNECT (RFC 8441) on its way to a server of HTTP/1: an upgrade.

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, SEC_WEBSOCKET_KEY};

use super::call::Call;

/// Completes the fields of the request that asks for the upgrade. A WebSocket needs a key, which HTTP/2 has no use for: it
/// proves to who asked that the server has understood, which here is this proxy.
pub(super) fn ask(call: &Call, fields: &mut HeaderMap) {
    fields.remove(CONTENT_LENGTH);
    let mut rng = call.conn().client.shard.rng.borrow_mut();
    let mut random = [0; 16];
    for half in random.chunks_exact_mut(8) {
        half.copy_from_slice(&rng.next_u64().to_le_bytes());
    }
    if let Ok(key) = HeaderValue::from_bytes(&base64(random)) {
        fields.insert(SEC_WEBSOCKET_KEY, key);
    }
}

/// RFC 4648, 4.
fn base64(bytes: [u8; 16]) -> [u8; 24] {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = [b'='; 24];
    for (group, digits) in bytes.chunks(3).zip(text.chunks_exact_mut(4)) {
        let padded = [0, 1, 2].map(|at| u32::from(group.get(at).copied().unwrap_or(0)));
        let bits = padded[0] << 16 | padded[1] << 8 | padded[2];
        for (at, digit) in digits.iter_mut().enumerate().take(group.len() + 1) {
            // Six bits are always within the table.
            *digit = DIGITS[(bits >> (18 - 6 * at) & 0x3F) as usize];
        }
    }
    text
}

#[cfg(test)]
mod tests;
