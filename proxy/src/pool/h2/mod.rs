//! A shard's HTTP/2 connections to upstreams: requests share them as streams.
//!
//! One connection for each endpoint and core batches best (measured: four of them cost 20 to 25 % more CPU for each
//! request), so a request takes a stream of the first connection that has one to give, and another connection is made only
//! when the peer's limit of streams, or the destination's, is reached on all. Requests that find none wait in line: what
//! they wait for is one connection being made at a time, or a stream that comes free.
//!
//! A connection takes no further request once its peer has sent GOAWAY, once it is too old or has served as many as it
//! may; what is under way on it goes on to its end.

mod connection;
mod engine;
mod failure;
mod lane;

use std::rc::Rc;
use std::sync::Arc;

use dromon_core::balance::{DestinationState, PendingToken};
use dromon_core::fault::Reason;
use dromon_core::limits::H2_PENDING_PER_POOL_MAX;

use super::key::Key;
use super::{Offer, Pools, Wanted};
use crate::io::within;
use crate::shard::Shard;
use crate::sys::clock;
pub use connection::{H2Call, StreamPlace};
pub use failure::reason_of;
pub(super) use lane::Lane;

/// What a request for a stream gets.
pub enum Opened {
    /// A stream may be opened.
    Stream(H2Call),
    /// The peer has chosen HTTP/1.1 (ALPN): ask [`Pools::checkout`] for a connection. Only where [`Wanted::offer`] leaves
    /// the choice.
    Http1,
}

impl Pools {
    /// A place for one stream on an HTTP/2 connection: on one that is there, else on one that is made now, else the next
    /// that comes free. What it gives is ready: the stream opens without waiting.
    ///
    /// # Errors
    /// As [`Pools::checkout`].
    pub async fn open_stream(&self, shard: &Rc<Shard>, wanted: Wanted<'_>) -> Result<Opened, Reason> {
        // A connection whose server is told whom it is for serves nobody else; HTTP/1 needs no more connections for that.
        let introduced = wanted.destination.filter(|it| it.model.proxy_protocol.is_some());
        if let Some(destination) = introduced {
            if wanted.offer == Offer::Either {
                return Ok(Opened::Http1);
            }
            let lane = Rc::new(Lane::private(Some(destination.state.clone())));
            return Box::pin(wait(shard, wanted, lane)).await;
        }
        let lane = self.lane(wanted);
        if lane.is_http1(clock::coarse()) {
            return Ok(Opened::Http1);
        }
        if let Some(call) = lane.is_empty().then(|| lane.take()).flatten() {
            return Ok(Opened::Stream(call));
        }
        // Boxed: waiting is rare and its future large.
        Box::pin(wait(shard, wanted, lane)).await
    }

    fn lane(&self, wanted: Wanted<'_>) -> Rc<Lane> {
        let key = Key::of(&wanted);
        let state = || wanted.destination.map(|destination| destination.state.clone());
        self.lanes.borrow_mut().entry(key).or_insert_with(|| Rc::new(Lane::new(state()))).clone()
    }

    /// Lets go of what nobody uses or waits for.
    pub(super) fn sweep_lanes(&self, shard: &Shard) {
        let now = clock::coarse();
        let draining = shard.draining();
        self.lanes.borrow_mut().retain(|_, lane| {
            if draining {
                lane.close_idle();
            }
            !lane.is_unused(now)
        });
    }

    /// Has one connection of a destination closed that serves nobody now; false if there is none here.
    pub(super) fn evict_h2(&self, state: &Arc<DestinationState>) -> bool {
        let lanes = self.lanes.borrow();
        lanes.iter().any(|(key, lane)| key.belongs_to(state) && lane.close_one_idle())
    }
}

/// Stands in line for a stream.
async fn wait(shard: &Rc<Shard>, wanted: Wanted<'_>, lane: Rc<Lane>) -> Result<Opened, Reason> {
    let _pending = match wanted.destination {
        Some(destination) => Some(PendingToken::acquire(destination).map_err(|_| Reason::UpstreamOverflow)?),
        None => None,
    };
    if lane.waiting() >= H2_PENDING_PER_POOL_MAX {
        return Err(Reason::UpstreamOverflow);
    }
    let place = lane.join();
    loop {
        if lane.is_http1(clock::coarse()) {
            return Ok(Opened::Http1);
        }
        if place.is_first() {
            if let Some(call) = lane.take() {
                return Ok(Opened::Stream(call));
            }
            lane.grow(shard, wanted);
        }
        match within(wanted.wait_until, place.moved()).await {
            Ok(Some((reason, text))) => {
                if let Some(told) = wanted.failure {
                    told.replace(text);
                }
                return Err(reason);
            }
            Ok(None) => {}
            Err(_) => return Err(Reason::PerTryTimeout),
        }
    }
}
