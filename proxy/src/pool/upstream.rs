//! One upstream connection.

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use dromon_auth::{SpiffeId, alpn};
use dromon_core::balance::{ConnectionToken, DestinationState};
use dromon_core::config::model;
use dromon_core::telemetry::Principals;
use dromon_core::time::Tick;

use super::key::Key;
use super::queue::Queue;
use super::{Offer, Wanted};
use crate::io::Stream;
use crate::shard::Shard;

/// A connection to an endpoint. Dropping it closes it and gives its place under the cap to whoever waits first.
pub struct Upstream {
    /// The connection itself.
    pub stream: Stream,
    /// Where to.
    pub address: SocketAddr,
    /// Requests it has served.
    pub served: u32,
    /// Who is at either end, by mutual TLS of the mesh.
    pub principals: Option<Arc<Principals>>,
    /// This end's address, once it was asked for.
    local: OnceCell<Option<SocketAddr>>,
    pub(super) opened: Tick,
    pub(super) queue: Option<Rc<Queue>>,
    token: Option<ConnectionToken>,
    /// Keeps the address by which the pool knows the destination from being taken by another.
    _state: Option<Arc<DestinationState>>,
    /// Keeps the address by which the pool knows its TLS settings.
    _model: Option<Arc<model::Destination>>,
    /// Keeps the address by which the pool knows its credential.
    _credential: Option<Arc<model::Credential>>,
    /// Which requests it may serve.
    pub(super) key: Key,
    shard: Rc<Shard>,
}

impl Upstream {
    pub(super) fn new(
        shard: &Rc<Shard>,
        stream: Stream,
        wanted: &Wanted<'_>,
        token: Option<ConnectionToken>,
        queue: Option<Rc<Queue>>,
    ) -> Upstream {
        shard.gauges.upstream_connections_active.add(1);
        let opened = shard.now();
        let tls = shard.tls();
        let both = tls.identity().map(|own| own.id()).zip(stream.peer_identity());
        let named = |(own, peer): (&SpiffeId, &SpiffeId)| shard.peers.principals(own.as_str(), peer.as_str());
        let principals = both.map(named);
        Upstream {
            stream,
            address: wanted.address,
            served: 0,
            principals,
            local: OnceCell::new(),
            opened,
            queue,
            token,
            _state: wanted.destination.map(|destination| destination.state.clone()),
            _model: wanted.destination.map(|destination| destination.model.clone()),
            _credential: wanted.destination.and_then(|destination| destination.credential.clone()),
            key: Key::of(wanted),
            shard: shard.clone(),
        }
    }
}

impl Upstream {
    /// This end's address, where an access log may show it. The kernel is asked once, not for each request.
    pub fn local_for_log(&self) -> Option<SocketAddr> {
        let ask = || self.stream.socket().local_address().ok();
        self.shard.telemetry.logs().then(|| *self.local.get_or_init(ask)).flatten()
    }

    /// Whether it speaks HTTP/2, after what was offered; none if it speaks what was not offered. Nothing is negotiated
    /// in plaintext: HTTP/2 then begins by prior knowledge (RFC 9113, 3.3) or not at all.
    pub(super) fn speaks_http2(&self, offer: Offer) -> Option<bool> {
        let Some(tls) = self.stream.tls() else { return Some(offer == Offer::Http2) };
        match tls.alpn() {
            Some(alpn::MESH_H2 | alpn::H2) => Some(true),
            // A server without ALPN speaks what it is declared to.
            None => Some(offer == Offer::Http2),
            Some(_) if offer == Offer::Http2 => None,
            Some(_) => Some(false),
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shard.gauges.upstream_connections_active.sub(1);
        drop(self.token.take());
        // Its line looks again by itself where another shard's request is to be faster.
        if let Some(queue) = self.queue.take().filter(|queue| !queue.others_turn()) {
            queue.wake_first();
        }
    }
}
