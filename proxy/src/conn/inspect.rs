//! What a connection speaks where that is not declared: whichever side speaks first decides.
//!
//! The upstream is connected at once where it is known without the client's bytes, so a server that speaks first is
//! heard; a client that speaks meanwhile is not kept waiting for that connection. A client that starts with an HTTP/1
//! request line or the preface of HTTP/2 is served as HTTP, everything else is relayed as it is.

use std::pin::pin;

use dromon_core::config::model::Protocol;
use dromon_core::limits::{DETECT_LOOK_MS, DETECT_WAIT_MS};
use dromon_core::speech::{SPEECH_BYTES, Speech};

use super::admission;
use super::client::Client;
use super::tcp::{self, Connected};
use super::tunnel::idle_ms;
use crate::io::{Either, race, within};

/// What serves a connection.
pub(super) enum Sorted {
    /// HTTP, of whichever version.
    Http(Client),
    /// Bytes as they come, to an upstream that may be connected already.
    Tcp(Client, Option<Box<Connected>>),
}

/// Sorts a connection by what is declared of it, else by who speaks first and what. With `permissive` a client that begins with
/// TLS is asked for its certificate. None if the connection was refused, or is over.
pub(super) async fn sort(client: Client, declared: Protocol, permissive: bool) -> Option<Sorted> {
    match (declared, permissive) {
        (Protocol::Tcp | Protocol::Tls, false) => return Some(Sorted::Tcp(client, None)),
        (Protocol::Http | Protocol::Http2 | Protocol::Grpc, false) => return Some(Sorted::Http(client)),
        (Protocol::Http | Protocol::Http2 | Protocol::Grpc, true) => {
            // The client speaks first, and all that matters is whether it speaks TLS.
            if !client.readable().await {
                return None;
            }
            return match speech(&client).await {
                Speech::Tls => admission::permissive(client, declared).await,
                _ => Some(Sorted::Http(client)),
            };
        }
        _ => {}
    }
    if client.port.outbound && client.original.is_none() {
        // Nothing was redirected here: clients use the port as their HTTP proxy.
        return Some(Sorted::Http(client));
    }
    match first_word(&client).await? {
        (Some(Speech::Http), _) if declared == Protocol::Auto => Some(Sorted::Http(client)),
        // The connection to the upstream is closed: it may be another that the ClientHello leads to.
        (Some(Speech::Tls), _) if permissive => admission::permissive(client, declared).await,
        (Some(Speech::Tls), connected) if client.port.outbound => {
            drop(connected);
            admission::onward(client).await
        }
        (_, connected) => Some(Sorted::Tcp(client, connected.map(Box::new))),
    }
}

/// Waits for the first word of either side. What the client has said, if it spoke first, and the upstream connection as far
/// as it was made. None where neither spoke for the idle time, or the connection leads nowhere.
async fn first_word(client: &Client) -> Option<(Option<Speech>, Option<Connected>)> {
    let connected = {
        let mut speaks = pin!(client.stream.readable());
        let mut connecting = pin!(tcp::connect(client));
        match race(speaks.as_mut(), connecting.as_mut()).await {
            Either::First(_) => match speech(client).await {
                Speech::Other => connecting.await,
                told => return Some((Some(told), None)),
            },
            Either::Second(connected) => connected,
        }
    };
    let connected = match connected {
        Ok(connected) => connected,
        Err(unconnected) => {
            // Only the client's bytes can say where to.
            let patience = client.shard.now().plus_millis(DETECT_WAIT_MS);
            let spoke = within(patience, client.stream.readable()).await.is_ok();
            return match if spoke { speech(client).await } else { Speech::Other } {
                Speech::Other => {
                    tcp::refuse(client, &unconnected);
                    None
                }
                told => Some((Some(told), None)),
            };
        }
    };
    let client_first = {
        let mut client_speaks = pin!(client.stream.readable());
        let mut upstream_speaks = pin!(connected.upstream.stream.readable());
        let speaker = race(client_speaks.as_mut(), upstream_speaks.as_mut());
        let idle_until = client.shard.now().plus_millis(idle_ms(&connected.exchange));
        within(idle_until, speaker).await.map(|speaker| matches!(speaker, Either::First(_)))
    };
    match client_first {
        Ok(true) => Some((Some(speech(client).await), Some(connected))),
        Ok(false) => Some((None, Some(connected))),
        Err(_) => {
            tcp::never_spoke(client, connected);
            None
        }
    }
}

/// Looks at the client's first bytes without taking them, until they tell.
async fn speech(client: &Client) -> Speech {
    let patience = client.shard.now().plus_millis(DETECT_WAIT_MS);
    let mut bytes = [0u8; SPEECH_BYTES];
    loop {
        let count = client.stream.peek_bytes(&mut bytes);
        let first = bytes.get(..count).unwrap_or_default();
        match Speech::of(first) {
            Some(speech) => return speech,
            None if client.shard.now() >= patience => return Speech::Other,
            // The bytes stay where they are, so readiness says nothing about further ones.
            None => {
                let look_again = client.shard.now().plus_millis(DETECT_LOOK_MS);
                let _ = within(look_again, std::future::pending::<()>()).await;
            }
        }
    }
}
