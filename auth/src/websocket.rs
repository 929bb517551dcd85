//! What a WebSocket's server proves to its client (RFC 6455, 1.3). It is no secret, but it takes a hash, which is here.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use dromon_core::base64;

/// Makes the proof one of a WebSocket and of nothing else.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The value of `sec-websocket-accept` that answers this `sec-websocket-key`.
pub fn accept(key: &[u8]) -> Vec<u8> {
    base64::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat()).as_ref())
}

#[cfg(test)]
mod tests;
