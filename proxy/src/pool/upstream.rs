//! One upstream connection.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use dromon_core::balance::{ConnectionToken, DestinationState};
use dromon_core::time::Tick;

use super::Offer;
use super::queue::Queue;
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
    pub(super) opened: Tick,
    pub(super) queue: Option<Rc<Queue>>,
    token: Option<ConnectionToken>,
    /// Keeps the address by which the pool knows the destination from being taken by another.
    _state: Option<Arc<DestinationState>>,
    shard: Rc<Shard>,
}

impl Upstream {
    pub(super) fn new(
        shard: &Rc<Shard>,
        stream: Stream,
        address: SocketAddr,
        token: Option<ConnectionToken>,
        queue: Option<Rc<Queue>>,
        state: Option<Arc<DestinationState>>,
    ) -> Upstream {
        shard.gauges.upstream_connections_active.add(1);
        let opened = shard.now();
        Upstream { stream, address, served: 0, opened, queue, token, _state: state, shard: shard.clone() }
    }
}

impl Upstream {
    /// Whether it speaks HTTP/2, after what was offered; none if it speaks what was not offered. Nothing is negotiated
    /// in plaintext: HTTP/2 then begins by prior knowledge (RFC 9113, 3.3) or not at all.
    pub(super) fn speaks_http2(&self, offer: Offer) -> Option<bool> {
        Some(offer == Offer::Http2)
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
