//! TCP connections: routed by listener and address, relayed as they are.

use dromon_core::exchange::{Attempt, End, Exchange, Input, Step};
use dromon_core::limits::UPSTREAM_IDLE_MS;

use super::account;
use super::attempt;
use super::client::Client;
use crate::io::within;
use crate::mailbox::FromShard;
use crate::pool::Upstream;
use crate::relay::{self, Ahead, RelayError};

/// A TCP exchange with its upstream connection made.
pub(super) struct Connected {
    pub(super) exchange: Exchange,
    pub(super) upstream: Upstream,
}

/// Serves a connection of a TCP listener.
pub(super) async fn serve(client: &Client) {
    let _under_way = client.shard.gauges.requests_active.hold();
    match connect(client).await {
        Some(connected) => relay(client, connected).await,
        // Nothing was served; a reset says so.
        None => client.socket.reset_on_close(),
    }
}

/// Time without a byte after which a connection ends, in ms.
pub(super) fn idle_ms(connected: &Connected) -> u64 {
    let pool = connected.exchange.destination().map(|destination| &destination.model.pool);
    pool.and_then(|pool| pool.idle_timeout_ms).unwrap_or(UPSTREAM_IDLE_MS)
}

/// Ends a connection on which neither side has said anything for the idle time.
pub(super) fn never_spoke(client: &Client, connected: Connected) {
    let shard = &client.shard;
    let Connected { mut exchange, upstream: _upstream } = connected;
    exchange.handle(Input::Finished(End::TimedOut), shard.now(), &mut shard.rng.borrow_mut());
    let sides = account::sides(client, &exchange);
    shard.telemetry.tcp_opened(&sides);
    shard.telemetry.tcp_closed(&sides, exchange.reason(), 0, 0);
}

/// Relays between the client and a connected upstream to the end.
pub(super) async fn relay(client: &Client, connected: Connected) {
    let shard = &client.shard;
    let idle_ms = idle_ms(&connected);
    let Connected { mut exchange, upstream } = connected;
    shard.telemetry.tcp_opened(&account::sides(client, &exchange));
    let (carried, result) =
        relay::run(shard, &client.alarm, &client.socket, &upstream.socket, Ahead::default(), idle_ms).await;
    let end = match result {
        Ok(()) => End::Complete,
        Err(RelayError::Client) => End::DownstreamClosed,
        Err(RelayError::Upstream) => End::UpstreamAborted,
        Err(RelayError::Idle) => End::TimedOut,
    };
    exchange.handle(Input::Finished(end), shard.now(), &mut shard.rng.borrow_mut());
    let sides = account::sides(client, &exchange);
    shard.telemetry.tcp_closed(&sides, exchange.reason(), carried.up_bytes.get(), carried.down_bytes.get());
}

/// Routes the connection and connects; none if it goes nowhere.
pub(super) async fn connect(client: &Client) -> Option<Connected> {
    let shard = &client.shard;
    let (mut exchange, mut step) = begin(client)?;
    loop {
        step = match step {
            Step::Attempt(attempt) => match try_connect(client, &exchange, &attempt).await {
                Ok(upstream) => {
                    exchange.handle(Input::Connected, shard.now(), &mut shard.rng.borrow_mut());
                    return Some(Connected { exchange, upstream });
                }
                Err(input) => exchange.handle(input, shard.now(), &mut shard.rng.borrow_mut()),
            },
            Step::Wait(until) => {
                // Nothing but time can end this wait.
                let _ = within(until, std::future::pending::<()>()).await;
                exchange.handle(Input::Timer, shard.now(), &mut shard.rng.borrow_mut())
            }
            Step::Fetch { kind, name, until } => {
                let changed = shard.table_changed.notified();
                // A full mailbox means that the steward is behind; the wait then ends with its deadline.
                let _ = shard.outbox.try_send(FromShard::Need { kind, name });
                match within(until, changed).await {
                    Ok(()) => {
                        let (begun, step) = begin(client)?;
                        exchange = begun;
                        step
                    }
                    Err(_) => exchange.handle(Input::Timer, shard.now(), &mut shard.rng.borrow_mut()),
                }
            }
            Step::Discard(inner) => *inner,
            Step::Respond(_) | Step::Forward | Step::Done => return None,
        };
    }
}

fn begin(client: &Client) -> Option<(Exchange, Step)> {
    let shard = &client.shard;
    let table = shard.table()?;
    let listener = client.listener.index(&table)?;
    let mut rng = shard.rng.borrow_mut();
    Some(Exchange::begin_tcp(&table, listener, client.original, client.peer, shard.now(), &mut rng))
}

async fn try_connect(client: &Client, exchange: &Exchange, attempt: &Attempt) -> Result<Upstream, Input> {
    attempt::reach(client, exchange, attempt, true).await.map_err(|reason| Input::AttemptFailed {
        reason,
        request_bytes_sent: false,
        connection_reused: false,
        replayable: true,
    })
}
