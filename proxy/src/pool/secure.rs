//! From a TCP connection to one that requests may go over: what is said first, and TLS where the destination asks for it.

use std::rc::Rc;

use dromon_auth::failure::Failure;
use dromon_core::config::model::ProxyProtocol;
use dromon_core::fault::Reason;
use dromon_core::proxy_protocol::{self, Addresses, Version};
use dromon_core::time::Tick;

use super::Wanted;
use crate::io::{Stream, tls, within};
use crate::refusal::{Ground, Offence, Refusal, Side};
use crate::shard::Shard;
use crate::sys::socket::Socket;

/// Makes a connection ready, by then.
///
/// # Errors
/// [`Reason::TlsFailed`], with the text where the request asked for it; [`Reason::ConnectTimeout`].
pub(super) async fn secure(
    shard: &Rc<Shard>,
    socket: Socket,
    wanted: &Wanted<'_>,
    by: Tick,
) -> Result<Stream, Reason> {
    let Some(destination) = wanted.destination else { return Ok(socket.into()) };
    if let Some(version) = destination.model.proxy_protocol {
        introduce(&socket, version, wanted.client)?;
    }
    let secured = match shard.tls_clients.secured(shard, destination, wanted.mtls, wanted.offer) {
        Ok(None) => return Ok(socket.into()),
        Ok(Some(secured)) => secured,
        Err(text) => return Err(failed(shard, wanted, "no_credential", text.to_string())),
    };
    let shaking = tls::connect(socket, secured.name, secured.config, secured.vouched, &shard.tls_scratch);
    match within(by, shaking).await {
        Ok(Ok(stream)) => {
            shard.gauges.upstream_tls_handshakes_total.add(1);
            Ok(stream.into())
        }
        Ok(Err(failure)) => Err(refused(shard, wanted, failure)),
        Err(_) => Err(failed(shard, wanted, "handshake_timeout", "the handshake took too long".to_owned())),
    }
}

/// Tells of a session that the peer ended by an alert: with TLS 1.3 a server that does not accept the client's certificate
/// says so only after the client's side of the handshake is over.
pub fn refused(shard: &Shard, wanted: &Wanted<'_>, failure: Failure) -> Reason {
    failed(shard, wanted, failure.reason.name(), failure.detail)
}

fn failed(shard: &Shard, wanted: &Wanted<'_>, reason: &'static str, detail: String) -> Reason {
    if let Some(told) = wanted.failure {
        *told.borrow_mut() = format!("{reason}: {detail}").into();
    }
    let at = wanted.destination.map_or("", |destination| destination.model.name.as_str()).into();
    let ground = Ground { offence: Offence::Handshake, side: Side::Upstream, reason };
    shard.refused(Refusal { ground, peer: wanted.address, at, detail });
    Reason::TlsFailed
}

/// Tells the upstream whom a connection is made for.
fn introduce(socket: &Socket, version: ProxyProtocol, client: Option<&Addresses>) -> Result<(), Reason> {
    let version = match version {
        ProxyProtocol::V1 => Version::V1,
        ProxyProtocol::V2 => Version::V2,
    };
    let header = proxy_protocol::encode(version, client.copied());
    // A new connection's send buffer has room for it.
    match socket.try_write(&header) {
        Ok(count) if count == header.len() => Ok(()),
        _ => Err(Reason::ConnectFailed),
    }
}
