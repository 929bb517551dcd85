//! One try of a request: a connection, the head, the body beside the answer.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;

use dromon_core::config::table::Table;
use dromon_core::exchange::{Attempt, End, Exchange, Input, Step, Target};
use dromon_core::fault::Reason;
use dromon_core::h1::encode::{self, Forwarded, RequestRewrite};
use dromon_core::h1::{Body, Reject};
use dromon_core::proxy_protocol::Addresses;
use dromon_core::route::rule::Changes;
use dromon_core::time::Tick;
use http::HeaderValue;
use smallvec::SmallVec;

use super::answer::{self, Received};
use super::body::Broken;
use super::bridge;
use super::client::Client;
use super::framing::Take;
use super::local::Answered;
use super::tunnel::{Switched, Way};
use super::upload;
use super::work::{Request, Work};
use crate::io::{Either, Stalled, race, write_all};
use crate::pool::{Offer, Upstream, Wanted, refused};
use crate::relay::Ahead;
use crate::sys::clock;

/// Tells an application of its client's certificate.
pub(super) const CLIENT_CERT: &str = "x-forwarded-client-cert";

/// What came of a try.
pub(super) enum Tried {
    /// The exchange goes on with this step.
    Again(Box<Step>),
    /// The client has its answer, as far as it goes; the exchange knows.
    Answered(Answered),
    /// The exchange becomes a tunnel.
    Switched(Box<Switched>),
    /// The client's body broke a rule before it had an answer.
    BadBody(Reject),
    /// The client is gone.
    ClientGone,
}

/// Makes the try.
pub(super) async fn run(client: &Client, work: &mut Work, exchange: &mut Exchange) -> Tried {
    // What an earlier try had does not tell of this one.
    work.upstream_local = None;
    let offer = bridge::offer(client, work, exchange);
    if offer != Offer::Http1 {
        // Boxed: what a stream needs would weigh on every HTTP/1 exchange.
        if let Some(tried) = Box::pin(bridge::run(client, work, exchange, offer)).await {
            return tried;
        }
    }
    let reached = match &work.attempt {
        Some(attempt) => reach(client, exchange, attempt, false).await,
        None => Err(Reason::Overload),
    };
    let upstream = match reached {
        Ok(upstream) => upstream,
        Err(Reason::DownstreamClosed) => return Tried::ClientGone,
        Err(reason) => return failed(client, work, exchange, reason, false, false),
    };
    let reused = upstream.served > 0;
    work.principals.clone_from(&upstream.principals);
    work.upstream_local = upstream.local_for_log();
    if !work.upload.frame() {
        work.flags.unrepeatable.set(true);
        return failed(client, work, exchange, Reason::UpstreamReset, false, false);
    }
    if let Err(reject) = encode_request(client, work, exchange) {
        return Tried::BadBody(reject);
    }
    let bytes = work.answer.out.len();
    work.times.sent = client.shard.now_for_log();
    let (written, out) =
        write_all(&client.alarm, &upstream.stream, std::mem::take(&mut work.answer.out)).await;
    let sent = written.is_ok() || out.len() < bytes;
    work.answer.out = out;
    work.answer.out.clear();
    if written.is_err() {
        // The alert that says why may have come.
        upstream.stream.peek();
        if let Some(reason) = late_refusal(client, work, exchange, &upstream) {
            return failed(client, work, exchange, reason, false, false);
        }
        return failed(client, work, exchange, Reason::UpstreamReset, sent, reused);
    }
    let received = match converse(client, work, exchange, &upstream).await {
        Ok(received) => received,
        Err(Broken::Rule(reject)) if !work.answer.started => return Tried::BadBody(reject),
        Err(_) => return Tried::ClientGone,
    };
    client.shard.buffers.give(std::mem::take(&mut work.answer.buffer));
    settle(client, work, exchange, upstream, received, reused)
}

/// Whether a new connection ended because its server does not take this end's certificate: with TLS 1.3 it says so after
/// this end has sent its request, which it has not looked at.
fn late_refusal(client: &Client, work: &Work, exchange: &Exchange, upstream: &Upstream) -> Option<Reason> {
    if upstream.served > 0 || work.answer.begun {
        return None;
    }
    let failure = upstream.stream.tls()?.failure()?;
    let wanted = wanted(client, exchange, work.attempt.as_ref()?, upstream.address);
    Some(refused(&client.shard, &wanted, failure))
}

/// Tells the exchange how the try ended, and gives the connection back where it can serve again.
fn settle(
    client: &Client,
    work: &Work,
    exchange: &mut Exchange,
    upstream: Box<Upstream>,
    received: Received,
    reused: bool,
) -> Tried {
    let shard = &client.shard;
    let end = |exchange: &mut Exchange, end: End| {
        exchange.handle(Input::Finished(end), clock::coarse(), &mut shard.rng.borrow_mut());
    };
    match received {
        Received::Failed(reason) => {
            if let Some(reason) = late_refusal(client, work, exchange, &upstream) {
                return failed(client, work, exchange, reason, false, false);
            }
            // An answer that has begun is no race with an idle connection's end (R40).
            failed(client, work, exchange, reason, true, reused && !work.answer.begun)
        }
        Received::Again(step) => Tried::Again(step),
        Received::Complete { reusable, keep_alive } => {
            if reusable && work.flags.uploaded.get() {
                shard.pools.put(shard, upstream, exchange.destination());
            }
            end(exchange, End::Complete);
            Tried::Answered(if keep_alive { Answered::KeepAlive } else { Answered::Close })
        }
        Received::Switched { from_upstream } => {
            let from_client = work.request.behind_head().to_vec();
            Tried::Switched(Box::new(Switched {
                upstream: Way::Connection(upstream),
                ahead: Ahead { from_client, from_upstream },
            }))
        }
        Received::Broken(how) => {
            end(exchange, how);
            Tried::Answered(Answered::Broken(how))
        }
        Received::ClientGone => Tried::ClientGone,
    }
}

pub(super) fn failed(
    client: &Client,
    work: &Work,
    exchange: &mut Exchange,
    reason: Reason,
    request_bytes_sent: bool,
    connection_reused: bool,
) -> Tried {
    let shard = &client.shard;
    let replayable = replayable(work);
    let input = Input::AttemptFailed { reason, request_bytes_sent, connection_reused, replayable };
    Tried::Again(Box::new(exchange.handle(input, shard.now(), &mut shard.rng.borrow_mut())))
}

fn replayable(work: &Work) -> bool {
    !work.flags.unrepeatable.get() && !work.answer.started
}

/// A connection to where the try goes, a new one if it must be `fresh`; [`Reason::DownstreamClosed`] if the client has left meanwhile.
pub(super) async fn reach(
    client: &Client,
    exchange: &Exchange,
    attempt: &Attempt,
    fresh: bool,
) -> Result<Box<Upstream>, Reason> {
    let shard = &client.shard;
    let address = address(client, attempt).await?;
    let offer = if fresh { Offer::Tcp } else { Offer::Http1 };
    let wanted = Wanted { fresh, offer, ..wanted(client, exchange, attempt, address) };
    if let Some(upstream) = shard.pools.ready(shard, &wanted) {
        return Ok(upstream);
    }
    // Boxed: a new connection is rare. Who stands in line or connects for a client that is gone would hold a place that
    // others wait for.
    let checkout = Box::pin(shard.pools.checkout(shard, &wanted));
    match client.alarm.watch(Tick::NEVER, &client.stream, checkout).await {
        Ok(reached) => reached,
        Err(_) => Err(Reason::DownstreamClosed),
    }
}

/// Where a try goes.
pub(super) async fn address(client: &Client, attempt: &Attempt) -> Result<SocketAddr, Reason> {
    let shard = &client.shard;
    match &attempt.target {
        Target::Endpoint(address) => Ok(*address),
        Target::Address(address) => onward(client, *address),
        Target::Name { host, port } => {
            let found = Box::pin(shard.names.resolve(shard, host, attempt.connect_by)).await;
            let addresses = found.map_err(|_| Reason::NameUnresolved)?;
            let drawn = shard.rng.borrow_mut().below(addresses.len() as u32) as usize;
            let ip = addresses.get(drawn).copied().ok_or(Reason::NameUnresolved)?;
            onward(client, SocketAddr::new(ip, *port))
        }
    }
}

/// What a try needs a connection for.
pub(super) fn wanted<'a>(
    client: &'a Client,
    exchange: &'a Exchange,
    attempt: &Attempt,
    address: SocketAddr,
) -> Wanted<'a> {
    Wanted {
        destination: exchange.destination(),
        address,
        connect_ms: attempt.connect_by.since(clock::coarse()).as_millis() as u64,
        wait_until: attempt.head_by.min(attempt.finish_by),
        careful: client.requests.get() <= 1,
        fresh: false,
        offer: Offer::Http1,
        identity: client.shard.identity(),
        mtls: exchange.endpoint().is_some_and(|endpoint| endpoint.model.mtls),
        client: client_addresses(client, exchange),
        failure: Some(&client.transport_failure),
    }
}

/// Between whom the client's connection is, where the destination wants to be told.
fn client_addresses<'a>(client: &'a Client, exchange: &Exchange) -> Option<&'a Addresses> {
    exchange.destination()?.model.proxy_protocol?;
    let to = || client.original.or_else(|| client.stream.socket().local_address().ok());
    let between = || Some(Box::new(Addresses { source: client.peer, destination: to()? }));
    client.addresses.get_or_init(between).as_deref()
}

/// An address outside the index, unless it is this proxy's own: a request sent there would come back for ever.
fn onward(client: &Client, address: SocketAddr) -> Result<SocketAddr, Reason> {
    let local = client.stream.socket().local_address().ok();
    let within = |ip: IpAddr| ip.is_loopback() || local.is_some_and(|local| local.ip() == ip);
    let own = |table: &Table| {
        table.proxy.listeners.iter().filter(|listener| !listener.captured).any(|listener| {
            let bound = listener.address;
            let here = bound.ip() == address.ip() || (bound.ip().is_unspecified() && within(address.ip()));
            bound.port() == address.port() && here
        })
    };
    match client.shard.table().is_some_and(|table| own(&table)) || local == Some(address) {
        true => Err(Reason::Loop),
        false => Ok(address),
    }
}

/// What changes about the request's head in try number `number`.
#[inline]
pub(super) fn with_rewrite<R>(
    client: &Client,
    request: &Request,
    number: u32,
    exchange: &Exchange,
    write: impl FnOnce(&RequestRewrite<'_>) -> R,
) -> R {
    let changes: SmallVec<[&Changes; 2]> = exchange.request_changes().into_iter().rev().flatten().collect();
    let pool = exchange.destination().map(|destination| &destination.model.pool);
    let mut digits = [0u8; 3];
    let count = decimal(number, &mut digits);
    let mut extra: SmallVec<[(&str, &[u8]); 2]> = SmallVec::new();
    if number > 1 {
        extra.push(("x-envoy-attempt-count", count));
    }
    // Without a certificate there is something to do only where the client claims one.
    let claimed = || request.head.fields().value(CLIENT_CERT, request.buffer.filled()).is_some();
    if let Some(told) = client.forwarded_certificate().filter(|told| !told.is_empty() || claimed()) {
        extra.push((CLIENT_CERT, told.as_bytes()));
    }
    write(&RequestRewrite {
        path: exchange.upstream_path(),
        authority: exchange.upstream_authority().map(HeaderValue::as_bytes),
        changes: &changes,
        request_id: request.id.as_ref().map(|id| id.as_slice()),
        forwarded: match client.port.gateway {
            true => Forwarded::Append { client: client.peer.ip(), secure: client.secure() },
            false => Forwarded::Keep,
        },
        upgrade: request.head.wants_upgrade(),
        close: pool.is_some_and(|pool| pool.max_requests_per_connection == Some(1)),
        extra: &extra,
    })
}

/// Puts the head as it goes upstream into `answer.out`, with as much of the body as is here already.
fn encode_request(client: &Client, work: &mut Work, exchange: &Exchange) -> Result<(), Reject> {
    let Work { request, upload, flags, answer, attempt, .. } = work;
    let number = attempt.as_ref().map_or(1, |attempt| attempt.number);
    let out = &mut answer.out;
    out.clear();
    with_rewrite(client, request, number, exchange, |rewrite| {
        encode::request(&request.head, request.buffer.filled(), rewrite, out.vec());
    });
    if request.head.body() == Body::Empty {
        return Ok(());
    }
    if let Some(sent) = upload.replay.bytes() {
        answer.out.extend(sent);
    }
    if !flags.invited.get() || upload.framing.is_done() {
        return Ok(());
    }
    let before = answer.out.len();
    if upload.framing.take(&mut upload.buffer, &mut answer.out)? == Take::Whole {
        answer.out.extend(upload.buffer.filled());
        upload.buffer.clear();
    }
    let taken = answer.out.filled().get(before..).unwrap_or_default();
    upload.sent_bytes += taken.len() as u64;
    flags.unrepeatable.set(!upload.replay.keep(taken));
    flags.uploaded.set(upload.framing.is_done());
    client.stream.ends_with_fin(upload.framing.is_done());
    Ok(())
}

/// A number below 1,000 in decimal.
fn decimal(number: u32, digits: &mut [u8; 3]) -> &[u8] {
    let number = number.min(999);
    *digits = [number / 100, number / 10 % 10, number % 10].map(|digit| b'0' + digit as u8);
    let leading = digits.iter().take(2).take_while(|digit| **digit == b'0').count();
    digits.get(leading..).unwrap_or_default()
}

/// Receives the answer, while the rest of the body goes up.
///
/// # Errors
/// The client broke off its body, or the body breaks a rule.
async fn converse(
    client: &Client,
    work: &mut Work,
    exchange: &mut Exchange,
    upstream: &Upstream,
) -> Result<Received, Broken> {
    let Work { request, upload, flags, answer, attempt: Some(attempt), .. } = work else {
        return Ok(Received::Failed(Reason::Overload));
    };
    let attempt = &*attempt;
    let mut down = pin!(answer::receive(client, request, flags, answer, exchange, upstream, attempt));
    if upload.framing.is_done() {
        return Ok(down.await);
    }
    // Boxed, since only a request whose body goes on after its head comes here, and all would weigh more.
    let mut up = Box::pin(upload::run(client, &upstream.stream, attempt.finish_by, upload, flags));
    match race(down.as_mut(), up.as_mut()).await {
        Either::First(received) => Ok(received),
        Either::Second(Err(broken @ (Broken::Truncated | Broken::Rule(_)))) => Err(broken),
        // One that takes nothing and says nothing has had its time.
        Either::Second(Err(Broken::Receiver(Stalled::Timeout))) if !flags.answered.get() => {
            Ok(Received::Failed(Reason::UpstreamReset))
        }
        // An upstream that takes no more may still have answered.
        Either::Second(_) => Ok(down.await),
    }
}
