//! Ports whose protocol is not declared: whichever side speaks first decides.
//!
//! The upstream is connected at once where it is known without the client's bytes, so a server that speaks first is
//! heard. A client that starts with an HTTP/1 request line or the preface of HTTP/2 is served as HTTP, everything else is relayed as it is.

use std::pin::pin;

use dromon_core::limits::{DETECT_LOOK_MS, DETECT_WAIT_MS, METHOD_BYTES_MAX};

use super::client::Client;
use super::tcp;
use super::tunnel::idle_ms;
use crate::io::{Either, race, within};

/// Whether the client speaks HTTP/1. If not, the connection has been served to its end.
pub(super) async fn is_http(client: &Client) -> bool {
    if client.port.outbound && client.original.is_none() {
        // Nothing was redirected here: clients use the port as their HTTP proxy.
        return true;
    }
    let connected = match tcp::connect(client).await {
        Ok(connected) => connected,
        Err(unconnected) => {
            // Only the client's bytes can say where to.
            let patience = client.shard.now().plus_millis(DETECT_WAIT_MS);
            let spoke = within(patience, client.stream.readable()).await.is_ok();
            let http = spoke && speaks_http(client).await;
            if !http {
                tcp::refuse(client, &unconnected);
            }
            return http;
        }
    };
    let client_first = {
        let mut client_speaks = pin!(client.stream.readable());
        let mut upstream_speaks = pin!(connected.upstream.stream.readable());
        let speaker = race(client_speaks.as_mut(), upstream_speaks.as_mut());
        let idle_until = client.shard.now().plus_millis(idle_ms(&connected.exchange));
        within(idle_until, speaker).await.map(|speaker| matches!(speaker, Either::First(_)))
    };
    let Ok(client_first) = client_first else {
        tcp::never_spoke(client, connected);
        return false;
    };
    if client_first && speaks_http(client).await {
        // The connection is closed: where each request goes, its rules decide.
        drop(connected);
        return true;
    }
    let _under_way = client.shard.gauges.requests_active.hold();
    tcp::relay(client, connected).await;
    false
}

/// Looks at the client's first bytes without taking them, until they tell.
async fn speaks_http(client: &Client) -> bool {
    let patience = client.shard.now().plus_millis(DETECT_WAIT_MS);
    let mut bytes = [0u8; METHOD_BYTES_MAX + 8];
    loop {
        let count = client.stream.peek_bytes(&mut bytes);
        match starts_http(bytes.get(..count).unwrap_or_default()) {
            Some(http) => return http,
            None if client.shard.now() >= patience => return false,
            // The bytes stay where they are, so readiness says nothing about further ones.
            None => {
                let look_again = client.shard.now().plus_millis(DETECT_LOOK_MS);
                let _ = within(look_again, std::future::pending::<()>()).await;
            }
        }
    }
}

/// Whether bytes start an HTTP/1 request: a method, a space and a target; none while that is open.
fn starts_http(bytes: &[u8]) -> Option<bool> {
    let is_method = |byte: &u8| byte.is_ascii_uppercase() || *byte == b'-' || *byte == b'_';
    let method = bytes.iter().take_while(|byte| is_method(byte)).count();
    let rest = bytes.get(method..).unwrap_or_default();
    match rest {
        _ if method > METHOD_BYTES_MAX => Some(false),
        [] => None,
        [b' ', ..] if method == 0 => Some(false),
        // The preface of HTTP/2 with prior knowledge.
        [b' ', b'*', ..] if bytes.starts_with(b"PRI ") => Some(true),
        [b' '] => None,
        [b' ', b'/' | b'*', ..] => Some(true),
        [b' ', target @ ..] => {
            let scheme: &[u8] = b"http";
            let length = target.len().min(scheme.len());
            let same = target.iter().zip(scheme).all(|(have, want)| have.eq_ignore_ascii_case(want));
            match same {
                true if length == scheme.len() => Some(true),
                true => None,
                false => Some(false),
            }
        }
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests;
