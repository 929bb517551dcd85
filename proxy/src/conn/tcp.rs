//! TCP connections: routed by listener and address, relayed as they are.

use std::net::SocketAddr;
use std::rc::Rc;

use dromon_core::exchange::{Attempt, End, Exchange, Input, Step, TcpArrival};

use super::account;
use super::attempt;
use super::client::Client;
use super::fetch;
use super::tunnel::idle_ms;
use crate::io::within;
use crate::pool::Upstream;
use crate::relay::{self, Ahead};
use crate::shard::flows::Flow;

/// A TCP exchange with its upstream connection made.
pub(super) struct Connected {
    pub(super) exchange: Exchange,
    pub(super) upstream: Box<Upstream>,
}

/// A TCP connection that leads nowhere. The exchange knows why; without one there is no configuration for the listener.
pub(super) struct Unconnected(Option<Box<Exchange>>);

/// Serves a connection that is relayed as it is, to an upstream that may be connected already.
pub(super) async fn serve(client: &Client, connected: Option<Box<Connected>>) {
    let _under_way = client.shard.gauges.requests_active.hold();
    let connected = match connected {
        Some(connected) => Ok(*connected),
        None => connect(client).await,
    };
    match connected {
        Ok(connected) => relay(client, connected).await,
        Err(unconnected) => refuse(client, &unconnected),
    }
}

/// Ends a connection that leads nowhere.
pub(super) fn refuse(client: &Client, unconnected: &Unconnected) {
    // Nothing was served; a reset says so.
    client.stream.reset_on_close();
    account::tcp_failed(client, unconnected.0.as_deref());
}

/// Ends a connection on which neither side has said anything for the idle time.
pub(super) fn never_spoke(client: &Client, connected: Connected) {
    let Connected { exchange, upstream } = connected;
    let flow =
        client.shard.telemetry.tcp_opened(&account::sides(client, &exchange, upstream.principals.as_ref()));
    let local = upstream.stream.socket().local_address().ok();
    over(client, exchange, local, &flow, End::Idle);
}

/// Relays between the client and a connected upstream to the end.
pub(super) async fn relay(client: &Client, connected: Connected) {
    let shard = &client.shard;
    let Connected { exchange, upstream } = connected;
    let flow = shard.telemetry.tcp_opened(&account::sides(client, &exchange, upstream.principals.as_ref()));
    let local = upstream.stream.socket().local_address().ok();
    let (alarm, idle_ms) = (&client.alarm, idle_ms(&exchange));
    let from_client = client
        .opening
        .borrow_mut()
        .as_mut()
        .map(|opening| std::mem::take(&mut opening.bytes))
        .unwrap_or_default();
    let ahead = Ahead { from_client, ..Ahead::default() };
    let end = relay::run(shard, alarm, &client.stream, &upstream.stream, ahead, idle_ms, &flow.carried);
    let end = end.await;
    over(client, exchange, local, &flow, end);
}

/// Tells the exchange that it is over, and accounts for it.
fn over(client: &Client, mut exchange: Exchange, local: Option<SocketAddr>, flow: &Rc<Flow>, end: End) {
    let shard = &client.shard;
    exchange.handle(Input::Finished(end), shard.now(), &mut shard.rng.borrow_mut());
    account::tcp_finished(client, &exchange, local, flow);
}

/// Routes the connection and connects.
pub(super) async fn connect(client: &Client) -> Result<Connected, Unconnected> {
    let shard = &client.shard;
    let (mut exchange, mut step) = begin(client).ok_or(Unconnected(None))?;
    loop {
        step = match step {
            Step::Attempt(attempt) => match try_connect(client, &exchange, &attempt).await {
                Ok(upstream) => {
                    exchange.handle(Input::Connected, shard.now(), &mut shard.rng.borrow_mut());
                    return Ok(Connected { exchange, upstream });
                }
                Err(input) => exchange.handle(input, shard.now(), &mut shard.rng.borrow_mut()),
            },
            Step::Wait(until) => {
                // Nothing but time can end this wait.
                let _ = within(until, std::future::pending::<()>()).await;
                exchange.handle(Input::Timer, shard.now(), &mut shard.rng.borrow_mut())
            }
            Step::Fetch { kind, name, until } => match fetch::wait(client, kind, name, until).await {
                Input::Table => {
                    let (begun, step) = begin(client).ok_or(Unconnected(None))?;
                    exchange = begun;
                    step
                }
                other => exchange.handle(other, shard.now(), &mut shard.rng.borrow_mut()),
            },
            Step::Discard(inner) => *inner,
            Step::Respond(_) | Step::Forward | Step::Done => {
                return Err(Unconnected(Some(Box::new(exchange))));
            }
        };
    }
}

fn begin(client: &Client) -> Option<(Exchange, Step)> {
    let shard = &client.shard;
    let table = shard.table()?;
    let listener = client.listener.index(&table)?;
    let opening = client.opening.borrow();
    let arrival = TcpArrival {
        listener,
        original_destination: client.original,
        peer: client.peer,
        hello: opening.as_deref().map(|opening| opening.hello.server_name.as_deref().map(str::as_bytes)),
        arrived: client.opened,
    };
    let mut rng = shard.rng.borrow_mut();
    Some(Exchange::begin_tcp(&table, &arrival, shard.now(), &mut rng))
}

async fn try_connect(
    client: &Client,
    exchange: &Exchange,
    attempt: &Attempt,
) -> Result<Box<Upstream>, Input> {
    attempt::reach(client, exchange, attempt, true).await.map_err(|reason| Input::AttemptFailed {
        reason,
        request_bytes_sent: false,
        connection_reused: false,
        replayable: true,
    })
}
