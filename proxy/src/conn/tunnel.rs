//! A connection that has switched protocols (R26): bytes both ways, what was read ahead first. Its exchange goes on for as
//! long as it does, and is accounted for when it ends.

use dromon_core::exchange::{Exchange, Input};
use dromon_core::limits::UPSTREAM_IDLE_MS;

use super::account;
use super::bridge::Socket;
use super::client::Client;
use super::work::Work;
use crate::pool::Upstream;
use crate::relay::{self, Ahead, Carried};

/// The upstream's side of an upgrade.
pub(super) struct Switched {
    pub(super) upstream: Way,
    /// Bytes that came with the heads.
    pub(super) ahead: Ahead,
}

/// What carries an upgrade upstream.
pub(super) enum Way {
    /// A connection of HTTP/1 that has switched.
    Connection(Box<Upstream>),
    /// A stream of HTTP/2.
    Stream(Box<Socket>),
}

/// An upgraded exchange.
pub(super) struct Tunnel {
    pub(super) exchange: Exchange,
    pub(super) switched: Switched,
}

/// Relays until both sides are done.
pub(super) async fn run(client: &Client, work: &mut Work, tunnel: Tunnel) {
    let shard = &client.shard;
    let _under_way = shard.gauges.requests_active.hold();
    let Tunnel { mut exchange, switched: Switched { upstream, ahead } } = tunnel;
    work.rest();
    let carried = Carried::default();
    let idle_ms = idle_ms(&exchange);
    // Boxed: what a relay needs would weigh on every HTTP connection.
    let end = match upstream {
        Way::Connection(upstream) => {
            let (alarm, up) = (&client.alarm, &upstream.stream);
            Box::pin(relay::run(shard, alarm, &client.stream, up, ahead, idle_ms, &carried)).await
        }
        Way::Stream(socket) => Box::pin(socket.relay(client, ahead.from_client, idle_ms, &carried)).await,
    };
    work.upload.sent_bytes += carried.up_bytes.get();
    work.answer.sent_bytes += carried.down_bytes.get();
    exchange.handle(Input::Finished(end), shard.now(), &mut shard.rng.borrow_mut());
    account::finished(client, work, &exchange);
}

/// Time without a byte after which bytes are relayed no more, in ms.
pub(super) fn idle_ms(exchange: &Exchange) -> u64 {
    let pool = exchange.destination().map(|destination| &destination.model.pool);
    pool.and_then(|pool| pool.idle_timeout_ms).unwrap_or(UPSTREAM_IDLE_MS)
}
