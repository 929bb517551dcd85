//! An extended CONNECT (RFC 8441) on its way to a server of HTTP/1: an upgrade.

use dromon_core::base64::encode;
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
    if let Ok(key) = HeaderValue::from_bytes(&encode(&random)) {
        fields.insert(SEC_WEBSOCKET_KEY, key);
    }
}
