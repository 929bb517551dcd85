//! A connection that has switched protocols (R26): bytes both ways, what was read ahead first.

use super::client::Client;
use crate::pool::Upstream;
use crate::relay::{self, Ahead};

/// An upgraded exchange.
pub(super) struct Tunnel {
    pub(super) upstream: Upstream,
    /// Bytes that came with the heads.
    pub(super) ahead: Ahead,
    /// Time without a byte after which it ends, in ms.
    pub(super) idle_ms: u64,
}

/// Relays until both sides are done.
pub(super) async fn run(client: &Client, tunnel: Tunnel) {
    let _under_way = client.shard.gauges.requests_active.hold();
    let Tunnel { upstream, ahead, idle_ms } = tunnel;
    // How it ended concerns nobody: the exchange was accounted for with its head.
    let relayed = relay::run(&client.shard, &client.alarm, &client.socket, &upstream.socket, ahead, idle_ms);
    // Boxed: what a relay needs would weigh on every HTTP connection.
    let _ = Box::pin(relayed).await;
}
