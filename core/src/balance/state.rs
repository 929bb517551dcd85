//! What all shards share about destinations and endpoints: plain atomic words, no locks.
//!
//! Words that every request writes stand on a cache line of their own, so that shards that serve different endpoints do
//! not slow each other down. Relaxed ordering is enough throughout: each word is a count or a moment by itself, and no
//! other memory is published through it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::time::Tick;

/// A value alone on its cache lines (128 bytes: current x86 prefetches lines in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Padded<T>(pub T);

/// Shared state of one destination: caps in use, turn counter, ejection bookkeeping.
#[derive(Debug, Default)]
pub struct DestinationState {
    /// Written by every pick of a ROUND_ROBIN destination.
    pub(crate) cursor: Padded<AtomicU32>,
    /// Written by every request where requests in flight are capped.
    pub(crate) requests: Padded<AtomicU32>,
    pub(crate) connections: AtomicU32,
    pub(crate) pending: AtomicU32,
    pub(crate) waiting: AtomicU32,
    pub(crate) retries: AtomicU32,
    /// One shard at a time weighs an ejection or sweeps; another one that comes meanwhile goes on without.
    pub(crate) sweeping: AtomicBool,
    /// Endpoints ejected or still remembered as repeat offenders; sweeps stop when it is 0.
    pub(crate) watched: AtomicU32,
    /// A request needed it since somebody last asked.
    pub(crate) used: AtomicBool,
    /// When ejected endpoints are looked at next.
    pub(crate) sweep_at_ns: AtomicU64,
    pub(crate) ejections_total: AtomicU64,
    pub(crate) overflows_total: AtomicU64,
    pub(crate) retry_overflows_total: AtomicU64,
}

impl DestinationState {
    /// Connections open or being opened, where they are capped.
    pub fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    /// Requests waiting for a connection, where they are capped.
    pub fn pending(&self) -> u32 {
        self.pending.load(Relaxed)
    }

    /// Requests that stand in line for a connection because the cap on connections is reached, over all shards.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Relaxed)
    }

    /// Requests in flight, where they are capped.
    pub fn requests(&self) -> u32 {
        self.requests.0.load(Relaxed)
    }

    /// Retries in flight.
    pub fn retries(&self) -> u32 {
        self.retries.load(Relaxed)
    }

    /// A request or connection needs the destination. Written only where that is news, so that shards share the line.
    pub(crate) fn note_use(&self) {
        if !self.used.load(Relaxed) {
            self.used.store(true, Relaxed);
        }
    }

    /// Whether a request needed the destination since this was last asked.
    pub fn take_use(&self) -> bool {
        self.used.load(Relaxed) && self.used.swap(false, Relaxed)
    }

    /// Ejections since the destination is known.
    pub fn ejections_total(&self) -> u64 {
        self.ejections_total.load(Relaxed)
    }

    /// Requests refused by a cap. One that waits for a connection is not refused.
    pub fn overflows_total(&self) -> u64 {
        self.overflows_total.load(Relaxed)
    }

    /// Retries refused by `maxRetries` or the retry budget.
    pub fn retry_overflows_total(&self) -> u64 {
        self.retry_overflows_total.load(Relaxed)
    }
}

/// Shared state of one endpoint: active requests, consecutive errors, ejection. Fits a cache line pair.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct EndpointState {
    pub(crate) active: AtomicU32,
    pub(crate) consecutive_5xx: AtomicU32,
    pub(crate) consecutive_gateway: AtomicU32,
    pub(crate) consecutive_local: AtomicU32,
    /// When it was ejected, in ns plus one; 0 while it is not.
    pub(crate) ejected_at_ns: AtomicU64,
    /// How often its next ejection multiplies the base time.
    pub(crate) ejection_multiplier: AtomicU32,
}

impl EndpointState {
    /// Requests (for TCP: connections) in flight.
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// Outlier detection keeps requests away from it.
    pub fn ejected(&self) -> bool {
        self.ejected_at_ns.load(Relaxed) != 0
    }

    /// When it was ejected, if it is.
    pub fn ejected_at(&self) -> Option<Tick> {
        self.ejected_at_ns.load(Relaxed).checked_sub(1).map(Tick)
    }
}
