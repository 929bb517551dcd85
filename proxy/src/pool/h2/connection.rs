//! One HTTP/2 connection: made by a task of its own, which then carries it to its end.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use dromon_core::balance::{ConnectionToken, Overflow};
use dromon_core::config::table::Destination;
use dromon_core::fault::Reason;
use dromon_core::h2::{Meter, Trip};
use dromon_core::limits::{
    H2_CONNECTION_WINDOW_BYTES, H2_HEADER_TABLE_BYTES, H2_SEND_BUFFER_BYTES, H2_STREAM_WINDOW_BYTES,
    H2_STREAMS_PER_CONNECTION_MAX, HEAD_BYTES_MAX, POOL_SHARE_LOOK_MS, UPSTREAM_IDLE_MS,
};
use dromon_core::proxy_protocol::Addresses;
use dromon_core::telemetry::Principals;
use dromon_core::time::Tick;
use h2::client::{Builder, SendRequest};

use super::engine::{Client, Keepalive};
use super::lane::Lane;
use crate::conn::h2::memio;
use crate::io::tls::TlsStream;
use crate::io::{Alarm, within};
use crate::pool::queue::Queue;
use crate::pool::{Offer, Pools, Upstream, Wanted, refused};
use crate::refusal::{Ground, Offence, Refusal, Side};
use crate::shard::Shard;
use crate::sys::clock;

/// A connection as requests see it.
pub(super) struct Connection {
    /// Gone once the connection takes no more requests. The `h2` crate then closes it after the last stream.
    send: RefCell<Option<SendRequest<Bytes>>>,
    /// Streams that the server allows; none since the engine was polled, which may have changed it.
    allowed: Cell<Option<usize>>,
    lane: Rc<Lane>,
    queue: Option<Rc<Queue>>,
    limits: Limits,
    /// See [`Upstream::principals`].
    principals: Option<Arc<Principals>>,
    /// This end's address.
    local: Option<SocketAddr>,
    /// Streams held now.
    active: Cell<u32>,
    /// Streams held so far.
    served: Cell<u32>,
    /// When a stream was last opened or given back.
    used: Cell<Tick>,
    /// The budgets of what the server sends.
    meter: RefCell<Meter>,
    /// Why the TLS session ended, if it did by the server's alert.
    refused: RefCell<Option<Box<str>>>,
    /// Whose it is: the server's address and its destination's name.
    address: SocketAddr,
    name: Box<str>,
    shard: Rc<Shard>,
}

/// What a destination's `connectionPool` says of a connection.
#[derive(Clone, Copy)]
struct Limits {
    streams_max: u32,
    /// 0: no cap.
    requests_max: u32,
    idle_ms: u64,
    retire_at: Tick,
}

impl Limits {
    fn of(destination: Option<&Arc<Destination>>) -> Limits {
        let pool = destination.map(|destination| &destination.model.pool);
        let age_ms = pool.and_then(|pool| pool.max_connection_duration_ms);
        Limits {
            streams_max: pool
                .and_then(|pool| pool.max_concurrent_streams)
                .map_or(H2_STREAMS_PER_CONNECTION_MAX, |streams| {
                    streams.clamp(1, H2_STREAMS_PER_CONNECTION_MAX)
                }),
            requests_max: pool.and_then(|pool| pool.max_requests_per_connection).unwrap_or(0),
            idle_ms: pool.and_then(|pool| pool.idle_timeout_ms).unwrap_or(UPSTREAM_IDLE_MS),
            retire_at: age_ms.map_or(Tick::NEVER, |age_ms| clock::now().plus_millis(age_ms)),
        }
    }
}

impl Connection {
    /// A place for one more stream, where the connection has one to give.
    pub(super) fn open(self: &Rc<Connection>, now: Tick) -> Option<H2Call> {
        let allowed = self.allowed.get().or_else(|| self.ask());
        let Some(allowed) = allowed.filter(|_| now < self.limits.retire_at) else {
            self.retire();
            return None;
        };
        if self.active.get() as usize >= allowed.min(self.limits.streams_max as usize) {
            return None;
        }
        let send = self.send.borrow().clone()?;
        let reused = self.served.replace(self.served.get() + 1) > 0;
        self.active.set(self.active.get() + 1);
        self.used.set(now);
        if self.limits.requests_max > 0 && self.served.get() >= self.limits.requests_max {
            self.retire();
        }
        Some(H2Call { send, reused, place: StreamPlace { connection: self.clone() } })
    }

    /// Asks `h2` how many streams the server allows; none once the connection is ending.
    fn ask(&self) -> Option<usize> {
        let mut send = self.send.borrow_mut();
        let send = send.as_mut()?;
        // With nothing pending on this handle it is ready, or it says that the connection is ending.
        if let Poll::Ready(Err(_)) = send.poll_ready(&mut Context::from_waker(Waker::noop())) {
            return None;
        }
        let allowed = send.current_max_send_streams();
        self.lane.learn_streams(allowed);
        self.allowed.set(Some(allowed));
        Some(allowed)
    }

    /// The engine was polled: what the server allows may be another number, and the connection may be ending.
    pub(super) fn polled(&self) {
        self.allowed.set(None);
    }

    /// It still takes requests.
    pub(super) fn takes_more(&self) -> bool {
        self.send.borrow().is_some()
    }

    /// It takes requests and has none.
    pub(super) fn is_idle(&self) -> bool {
        self.active.get() == 0 && self.takes_more()
    }

    /// Takes no more requests and ends when those under way have.
    pub(super) fn retire(&self) {
        let send = self.send.borrow_mut().take();
        // Dropped with nothing borrowed: it wakes the connection's task.
        drop(send);
    }

    /// Streams held now.
    pub(super) fn active(&self) -> u32 {
        self.active.get()
    }

    /// When a stream was last opened or given back.
    pub(super) fn used(&self) -> Tick {
        self.used.get()
    }

    /// When it is to be closed for want of use or for its age, [`Tick::NEVER`] while it is used: its age is then looked at
    /// with the next request.
    pub(super) fn idle_until(&self) -> Tick {
        match self.is_idle() {
            true => self.used.get().plus_millis(self.limits.idle_ms).min(self.limits.retire_at),
            false => Tick::NEVER,
        }
    }

    /// Looks at what the server has sent, see [`Meter::inspect`].
    pub(super) fn inspect(&self, bytes: &[u8], now: Tick) -> (usize, Result<(), Trip>) {
        self.meter.borrow_mut().inspect(bytes, now)
    }

    /// When a head that has begun must have ended.
    pub(super) fn head_until(&self) -> Tick {
        self.meter.borrow().deadline()
    }

    /// Whether a head has taken too long.
    pub(super) fn check_time(&self, now: Tick) -> Result<(), Trip> {
        self.meter.borrow().check_time(now)
    }

    /// Counts the connection among those that abuse has ended.
    pub(super) fn abused(&self, trip: Trip) {
        let ground = Ground { offence: Offence::Http2Abuse, side: Side::Upstream, reason: trip.name() };
        let (peer, at) = (self.address, self.name.clone());
        self.shard.refused(Refusal { ground, peer, at, detail: trip.to_string() });
    }
}

/// The right to one stream.
pub struct H2Call {
    /// Opens it. Drop this once it is open: a connection that is to end waits for it.
    pub send: SendRequest<Bytes>,
    /// The connection has served other requests before.
    pub reused: bool,
    /// To be kept until the stream is over.
    pub place: StreamPlace,
}

impl StreamPlace {
    /// A part of a body of so many bytes was sent.
    pub fn data_sent(&self, bytes: usize) {
        let mut meter = self.connection.meter.borrow_mut();
        for _ in 0..bytes.div_ceil(FRAME_BYTES) {
            meter.data_sent();
        }
    }

    /// Who is at either end of the connection, by mutual TLS of the mesh.
    pub fn principals(&self) -> Option<Arc<Principals>> {
        self.connection.principals.clone()
    }

    /// This end's address on the connection.
    pub fn local(&self) -> Option<SocketAddr> {
        self.connection.local
    }

    /// What became of a try that has failed so: a server that does not take this end's certificate says so by an alert after
    /// the handshake (TLS 1.3), in place of its first answer. `told` then learns why.
    pub fn failure(&self, reason: Reason, told: &RefCell<Box<str>>) -> Reason {
        match &*self.connection.refused.borrow() {
            Some(text) if reason == Reason::UpstreamReset => {
                told.borrow_mut().clone_from(text);
                Reason::TlsFailed
            }
            _ => reason,
        }
    }
}

/// The least that a server allows one DATA frame to hold (RFC 9113, 4.2), and so the most that ours do.
const FRAME_BYTES: usize = 16 * 1024;

/// One of a connection's streams. Dropping it gives the place to whoever waits first.
pub struct StreamPlace {
    connection: Rc<Connection>,
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.active.set(connection.active.get().saturating_sub(1));
        connection.used.set(clock::coarse());
        if connection.queue.as_ref().is_some_and(|queue| queue.others_turn()) {
            // Its place under the cap goes to another shard's requests once the streams here are over.
            connection.retire();
        }
        connection.lane.wake_first();
    }
}

/// What a connection's task is to do; owned, since it outlives the request that asked for it.
struct Order {
    destination: Option<Arc<Destination>>,
    address: SocketAddr,
    connect_ms: u64,
    offer: Offer,
    mtls: bool,
    identity: u32,
    client: Option<Addresses>,
    /// It serves one request and no other: it is told whom it is for.
    alone: bool,
}

/// Makes a connection for a lane, in a task of its own.
pub(super) fn make(shard: &Rc<Shard>, lane: &Rc<Lane>, wanted: Wanted<'_>) {
    let order = Order {
        destination: wanted.destination.cloned(),
        address: wanted.address,
        connect_ms: wanted.connect_ms,
        offer: wanted.offer,
        mtls: wanted.mtls,
        identity: wanted.identity,
        client: wanted.client.copied(),
        alone: lane.is_private(),
    };
    monoio::spawn(carry(shard.clone(), lane.clone(), order));
}

/// A connection's life.
async fn carry(shard: Rc<Shard>, lane: Rc<Lane>, order: Order) {
    let pools = &shard.pools;
    let destination = order.destination.as_ref();
    let Some((token, queue)) = place_under_cap(&shard, &lane, destination).await else {
        return lane.abandoned();
    };
    let told = RefCell::default();
    let wanted = Wanted {
        destination,
        address: order.address,
        connect_ms: order.connect_ms,
        wait_until: Tick::NEVER,
        careful: false,
        fresh: true,
        offer: order.offer,
        mtls: order.mtls,
        identity: order.identity,
        client: order.client.as_ref(),
        failure: Some(&told),
    };
    let upstream = match pools.connect(&shard, &wanted, token, queue.clone()).await {
        Ok(upstream) => upstream,
        Err(reason) => return lane.failed(reason, &told.borrow()),
    };
    match upstream.speaks_http2(order.offer) {
        Some(true) => run(&shard, &lane, wanted, order.alone, upstream, queue).await,
        Some(false) => {
            pools.put(&shard, upstream, destination);
            lane.chose_http1();
        }
        None => lane.failed(Reason::UpstreamProtocol, ""),
    }
}

/// Waits for a place under the destination's cap on connections; none if nobody waits for the connection any more.
async fn place_under_cap(
    shard: &Rc<Shard>,
    lane: &Rc<Lane>,
    destination: Option<&Arc<Destination>>,
) -> Option<(Option<ConnectionToken>, Option<Rc<Queue>>)> {
    let Some(destination) = destination else { return Some((None, None)) };
    let pools: &Pools = &shard.pools;
    let Some(queue) = pools.queue(destination) else {
        return Some((ConnectionToken::acquire(destination).ok(), None));
    };
    let place = queue.join();
    loop {
        if place.may_try() {
            match ConnectionToken::acquire(destination) {
                Ok(token) => {
                    drop(place);
                    pools.share(shard);
                    return Some((Some(token), Some(queue)));
                }
                // An idle connection, perhaps to another endpoint, stands in the way.
                Err(Overflow::Connections(_)) if pools.evict(shard, &destination.state) => continue,
                Err(_) => {}
            }
        }
        if lane.is_empty() {
            return None;
        }
        // Looks again now and then whether somebody still waits.
        let _ = within(clock::now().plus_millis(POOL_SHARE_LOOK_MS), place.moved()).await;
    }
}

/// Serves streams until the connection ends.
async fn run(
    shard: &Rc<Shard>,
    lane: &Rc<Lane>,
    wanted: Wanted<'_>,
    alone: bool,
    upstream: Box<Upstream>,
    queue: Option<Rc<Queue>>,
) {
    let destination = wanted.destination;
    let (io, pump) = memio::pair(shard);
    // In memory the preface is written at once.
    let mut builder = Builder::new();
    if let Some(streams) = lane.streams_learned() {
        builder.initial_max_send_streams(streams);
    }
    let made = builder
        .initial_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_send_buffer_size(H2_SEND_BUFFER_BYTES)
        .header_table_size(H2_HEADER_TABLE_BYTES)
        .enable_push(false)
        .handshake::<_, Bytes>(io)
        .await;
    let Ok((send, h2)) = made else { return lane.failed(Reason::UpstreamProtocol, "") };
    let mut limits = Limits::of(destination);
    if alone {
        limits.requests_max = 1;
    }
    let connection = Rc::new(Connection {
        send: RefCell::new(Some(send)),
        allowed: Cell::new(None),
        lane: lane.clone(),
        queue,
        limits,
        principals: upstream.principals.clone(),
        local: upstream.stream.socket().local_address().ok(),
        active: Cell::new(0),
        served: Cell::new(0),
        used: Cell::new(clock::now()),
        meter: RefCell::new(Meter::of_upstream()),
        refused: RefCell::default(),
        address: wanted.address,
        name: destination.map_or("", |destination| destination.model.name.as_str()).into(),
        shard: shard.clone(),
    });
    lane.add(connection.clone());
    if alone && lane.is_empty() {
        // The request it was made for is gone.
        connection.retire();
    }
    let mut engine = Client::new(h2, connection.clone(), Keepalive::of(destination));
    let alarm = Alarm::default();
    memio::drive(shard, &upstream.stream, &alarm, &pump, &mut engine).await;
    // Looked at before any stream hears of the end.
    if let Some(failure) = upstream.stream.tls().and_then(TlsStream::failure).filter(|_| !engine.was_heard())
    {
        refused(shard, &wanted, failure);
        connection.refused.replace(wanted.failure.map(RefCell::take));
    }
    // Streams that are left end with the connection.
    drop(engine);
    connection.retire();
    lane.remove(&connection);
}
