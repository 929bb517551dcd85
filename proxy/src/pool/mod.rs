//! A shard's upstream connections: kept open between requests, counted against the destination's caps.
//!
//! Idle connections stand in a stack for each endpoint of a destination (the one used last is the warmest), with no
//! task and no buffer. Before one is used again its receive queue is looked at (R40 f): closed means stale, bytes
//! that nobody asked for mean that the next answer could be somebody else's (R24), and both are closed and counted.

mod h2;
mod key;
mod queue;
mod secure;
mod upstream;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dromon_core::balance::{ConnectionToken, DestinationState, Overflow, PendingToken};
use dromon_core::capture::{Family, to_application};
use dromon_core::config::model::ConnectionPool;
use dromon_core::config::table::Destination;
use dromon_core::exchange::Speak;
use dromon_core::fault::Reason;
use dromon_core::limits::{POOL_IDLE_PER_ENDPOINT_MAX, POOL_SHARE_LOOK_MS, UPSTREAM_IDLE_MS};
use dromon_core::proxy_protocol::Addresses;
use dromon_core::time::Tick;

use crate::io::within;
use crate::shard::Shard;
use crate::sys::clock;
use crate::sys::socket::Peek;
pub use h2::{H2Call, Opened, StreamPlace, reason_of};
use key::{Key, KeyHasher};
use queue::Queue;
pub use secure::refused;
pub use upstream::Upstream;

/// What a request needs a connection for.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// Whose caps and times count; none for an address outside the index.
    pub destination: Option<&'a Arc<Destination>>,
    /// Where to.
    pub address: SocketAddr,
    /// A new connection must stand so many milliseconds after connecting has begun.
    pub connect_ms: u64,
    /// The try is over by then, whether it waits for a place under the connection cap or connects.
    pub wait_until: Tick,
    /// The first request of a client must not run into the reuse race, so it prefers a connection that has been reused
    /// before (R40 g).
    pub careful: bool,
    /// Only a new connection will do: what is relayed as it is must not follow another's exchanges.
    pub fresh: bool,
    /// What the connection is to speak.
    pub offer: Offer,
    /// The endpoint has a sidecar that takes mutual TLS.
    pub mtls: bool,
    /// Which of the proxy's own certificates and roots are in force, counted up: what was agreed on by earlier ones is for
    /// no new request.
    pub identity: u32,
    /// Between whom the client's connection is, for destinations that want to be told.
    pub client: Option<&'a Addresses>,
    /// Where it is told why a connection could not be made.
    pub failure: Option<&'a RefCell<Box<str>>>,
}

/// What a new connection may speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Offer {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// No HTTP: bytes as they come.
    Tcp,
    /// HTTP/2.
    Http2,
    /// HTTP/2 or else HTTP/1.1, as the peer chooses (ALPN); HTTP/1.1 where nothing is negotiated.
    Either,
}

impl From<Speak> for Offer {
    fn from(speak: Speak) -> Offer {
        match speak {
            Speak::Http1 => Offer::Http1,
            Speak::Http2 => Offer::Http2,
            Speak::Http2IfNegotiated => Offer::Either,
        }
    }
}

/// All pools of a shard.
#[derive(Default)]
pub struct Pools {
    endpoints: RefCell<HashMap<Key, EndpointPool, KeyHasher>>,
    lanes: RefCell<HashMap<Key, Rc<h2::Lane>, KeyHasher>>,
    queues: RefCell<HashMap<usize, Rc<Queue>, KeyHasher>>,
    /// Idle connections are being shared with other shards.
    sharing: Cell<bool>,
}

/// Idle connections to one endpoint.
struct EndpointPool {
    idle: Vec<Idle>,
    times: Times,
}

/// Boxed, since it goes from hand to hand with every request.
struct Idle {
    upstream: Box<Upstream>,
    since: Tick,
}

/// Times of a destination's pool, kept beside its idle connections for the sweep.
#[derive(Clone, Copy)]
struct Times {
    idle_ms: u64,
    age_ms: u64,
}

impl Times {
    fn of(pool: Option<&ConnectionPool>) -> Times {
        Times {
            idle_ms: pool.and_then(|pool| pool.idle_timeout_ms).unwrap_or(UPSTREAM_IDLE_MS),
            age_ms: pool.and_then(|pool| pool.max_connection_duration_ms).unwrap_or(u64::MAX),
        }
    }

    fn over(self, idle: &Idle, now: Tick) -> bool {
        now >= idle.since.plus_millis(self.idle_ms) || now >= idle.upstream.opened.plus_millis(self.age_ms)
    }
}

impl Pools {
    /// A connection for one request: an idle one, else a new one, else the next that comes free under the cap.
    ///
    /// # Errors
    /// [`Reason::UpstreamOverflow`] at a cap, [`Reason::PerTryTimeout`] where no place under one came free in time,
    /// [`Reason::ConnectFailed`], [`Reason::ConnectTimeout`] and [`Reason::TlsFailed`].
    pub async fn checkout(&self, shard: &Rc<Shard>, wanted: &Wanted<'_>) -> Result<Box<Upstream>, Reason> {
        match self.ready(shard, wanted) {
            Some(upstream) => Ok(upstream),
            // Boxed: a new connection is rare and its future large.
            None => Box::pin(self.make(shard, wanted)).await,
        }
    }

    /// What [`Pools::checkout`] gives without waiting: an idle connection, if nobody stands in line for one.
    pub fn ready(&self, shard: &Rc<Shard>, wanted: &Wanted<'_>) -> Option<Box<Upstream>> {
        let queue = wanted.destination.and_then(|destination| self.queue(destination));
        let fair = queue.is_none_or(|queue| queue.is_empty());
        fair.then(|| self.idle(shard, wanted)).flatten()
    }

    /// A new connection, or the next one that comes free under the cap.
    async fn make(&self, shard: &Rc<Shard>, wanted: &Wanted<'_>) -> Result<Box<Upstream>, Reason> {
        let Some(destination) = wanted.destination else {
            return self.connect(shard, wanted, None, None).await;
        };
        let queue = self.queue(destination);
        let pending = PendingToken::acquire(destination).map_err(|_| Reason::UpstreamOverflow)?;
        let Some(queue) = queue else {
            let token = ConnectionToken::acquire(destination).map_err(|_| Reason::UpstreamOverflow)?;
            return self.connect(shard, wanted, Some(token), None).await;
        };
        let place = queue.join();
        loop {
            if place.may_try() {
                if let Some(upstream) = self.idle(shard, wanted) {
                    return Ok(upstream);
                }
                match ConnectionToken::acquire(destination) {
                    Ok(token) => {
                        // From here on it is the cap on connections that counts it, not the one on who waits.
                        drop((place, pending));
                        return self.connect(shard, wanted, Some(token), Some(queue.clone())).await;
                    }
                    // An idle connection to another endpoint stands in the way; it serves nobody now.
                    Err(Overflow::Connections(_)) if self.evict(shard, &destination.state) => continue,
                    Err(_) => {}
                }
            }
            if within(wanted.wait_until, place.moved()).await.is_err() {
                return Err(Reason::PerTryTimeout);
            }
        }
    }

    /// Takes back a connection whose answer is complete.
    pub fn put(
        &self,
        shard: &Rc<Shard>,
        mut upstream: Box<Upstream>,
        destination: Option<&Arc<Destination>>,
    ) {
        upstream.served += 1;
        let pool = destination.map(|destination| &destination.model.pool);
        let requests_max = pool.and_then(|pool| pool.max_requests_per_connection).unwrap_or(0);
        if shard.draining() || (requests_max > 0 && upstream.served >= requests_max) {
            return;
        }
        // Who was told about one client cannot serve another.
        if destination.is_some_and(|it| it.model.proxy_protocol.is_some()) {
            return;
        }
        let key = upstream.key;
        let queue = upstream.queue.clone();
        if let Some(queue) = &queue {
            if queue.others_turn() {
                // Closed without waking this shard's line.
                upstream.queue = None;
                return;
            }
            self.share(shard);
        }
        let mut endpoints = self.endpoints.borrow_mut();
        let entry =
            endpoints.entry(key).or_insert_with(|| EndpointPool { idle: Vec::new(), times: Times::of(pool) });
        entry.times = Times::of(pool);
        if entry.idle.len() < POOL_IDLE_PER_ENDPOINT_MAX {
            shard.gauges.upstream_connections_idle.add(1);
            entry.idle.push(Idle { upstream, since: clock::coarse() });
        }
        drop(endpoints);
        if let Some(queue) = queue {
            queue.wake_first();
        }
    }

    /// Closes what has been idle or open for too long, and what its upstream has closed.
    pub fn sweep(&self, shard: &Shard) {
        let now = shard.now();
        let mut closed = Vec::new();
        self.endpoints.borrow_mut().retain(|_, pool| {
            let times = pool.times;
            let (keep, gone): (Vec<Idle>, Vec<Idle>) = std::mem::take(&mut pool.idle)
                .into_iter()
                .partition(|idle| !times.over(idle, now) && idle.upstream.stream.peek() == Peek::Quiet);
            pool.idle = keep;
            closed.extend(gone);
            !pool.idle.is_empty()
        });
        shard.gauges.upstream_connections_idle.sub(closed.len() as u64);
        self.sweep_lanes(shard);
        self.queues.borrow_mut().retain(|_, queue| Rc::strong_count(queue) > 1);
    }

    /// Sees to it, while connections to capped destinations are open, that none idles here while a request of another
    /// shard waits for its place.
    fn share(&self, shard: &Rc<Shard>) {
        if self.sharing.replace(true) {
            return;
        }
        let shard = shard.clone();
        monoio::spawn(async move {
            let pools = &shard.pools;
            while pools.queues.borrow().values().any(|queue| Rc::strong_count(queue) > 1) {
                monoio::time::sleep(Duration::from_millis(POOL_SHARE_LOOK_MS)).await;
                pools.give_up(&shard);
            }
            pools.sharing.set(false);
        });
    }

    /// Closes one idle connection of each destination that requests of other shards wait for.
    fn give_up(&self, shard: &Shard) {
        let mut wanted = Vec::new();
        for queue in self.queues.borrow().values().filter(|queue| queue.others_wait()) {
            wanted.push(queue.state().clone());
        }
        for state in wanted {
            self.evict(shard, &state);
        }
    }

    /// The queue of a destination whose connections are capped.
    fn queue(&self, destination: &Arc<Destination>) -> Option<Rc<Queue>> {
        destination.model.pool.max_connections?;
        let mut queues = self.queues.borrow_mut();
        Some(
            queues
                .entry(key::id(&destination.state))
                .or_insert_with(|| Rc::new(Queue::new(destination.state.clone())))
                .clone(),
        )
    }

    fn idle(&self, shard: &Shard, wanted: &Wanted<'_>) -> Option<Box<Upstream>> {
        if wanted.fresh {
            return None;
        }
        let key = Key::of(wanted);
        let now = clock::coarse();
        loop {
            let (idle, times) = {
                let mut endpoints = self.endpoints.borrow_mut();
                let pool = endpoints.get_mut(&key)?;
                let proven = || pool.idle.iter().rposition(|idle| idle.upstream.served > 1);
                let at = wanted.careful.then(proven).flatten();
                let idle = match at {
                    Some(at) => pool.idle.remove(at),
                    None => pool.idle.pop()?,
                };
                (idle, pool.times)
            };
            shard.gauges.upstream_connections_idle.sub(1);
            if times.over(&idle, now) {
                continue;
            }
            match idle.upstream.stream.peek() {
                Peek::Quiet => return Some(idle.upstream),
                Peek::Closed => shard.gauges.upstream_connections_stale.add(1),
                Peek::Data => shard.gauges.upstream_connections_poisoned.add(1),
            }
        }
    }

    /// Closes the idle connection of a destination that has been idle longest, an HTTP/1 one first; false if it has none
    /// here.
    fn evict(&self, shard: &Shard, state: &Arc<DestinationState>) -> bool {
        let mut endpoints = self.endpoints.borrow_mut();
        let oldest = endpoints
            .iter_mut()
            .filter(|(key, pool)| key.belongs_to(state) && !pool.idle.is_empty())
            .min_by_key(|(_, pool)| pool.idle.first().map(|idle| idle.since));
        let evicted = oldest.map(|(_, pool)| pool.idle.remove(0));
        drop(endpoints);
        shard.gauges.upstream_connections_idle.sub(u64::from(evicted.is_some()));
        evicted.is_some() || self.evict_h2(state)
    }

    async fn connect(
        &self,
        shard: &Rc<Shard>,
        wanted: &Wanted<'_>,
        token: Option<ConnectionToken>,
        queue: Option<Rc<Queue>>,
    ) -> Result<Box<Upstream>, Reason> {
        let connect_by = shard.now().plus_millis(wanted.connect_ms).min(wanted.wait_until);
        let captured = wanted.destination.is_some_and(|destination| destination.captured);
        let from = captured.then(|| to_application(Family::of(wanted.address.ip())));
        let connecting = shard.local_hops.connect(wanted.address, from, shard.nonblocking);
        let made = within(connect_by, connecting).await;
        let reason = match made {
            Ok(Ok(socket)) => {
                shard.gauges.upstream_connections_total.add(1);
                let keepalive = wanted.destination.and_then(|it| it.model.pool.tcp_keepalive);
                if let Some(probes) = keepalive {
                    // The connection works without probes, only its death is noticed later.
                    let _ = socket.keepalive(probes.time_s, probes.interval_s, probes.probes);
                }
                match secure::secure(shard, socket, wanted, connect_by).await {
                    Ok(stream) => return Ok(Box::new(Upstream::new(shard, stream, wanted, token, queue))),
                    Err(reason) => reason,
                }
            }
            Ok(Err(_)) => Reason::ConnectFailed,
            Err(_) => Reason::ConnectTimeout,
        };
        shard.gauges.upstream_connections_failed.add(1);
        drop(token);
        if let Some(queue) = queue {
            queue.wake_first();
        }
        Err(reason)
    }
}
