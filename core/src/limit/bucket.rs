//! One GCRA bucket on one atomic word.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::config::model;
use crate::time::Tick;

/// Parts of a nanosecond that a bucket counts in, so that paces far above a million a second stay exact to a part in
/// a thousand; the word then lasts for 36 years of uptime.
const PARTS_PER_NS: u64 = 16;

/// Pace and depth of a limit's buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Time between two requests at the even pace, rounded up so that a limit is never exceeded.
    interval: u64,
    /// How far the theoretical arrival time may run ahead: the depth less one request.
    tolerance: u64,
    closed: bool,
}

impl Rate {
    /// The rate of a limit. The depth is `burst`, or `requests` where that is 0, so that over any span of T seconds at most
    /// rate × T + depth are admitted. Nothing is admitted where `requests` is 0.
    pub fn of(limit: &model::Limit) -> Rate {
        let unit = u128::from(limit.unit_ms.max(1)) * 1_000_000 * u128::from(PARTS_PER_NS);
        let interval = unit.div_ceil(u128::from(limit.requests.max(1)));
        let tolerance = interval.saturating_mul(u128::from(Rate::depth(limit).max(1) - 1));
        // A sixteenth of the clock's range is years of waiting, and leaves sums below without overflow.
        let cap = u128::from(u64::MAX / 16);
        Rate {
            interval: interval.min(cap) as u64,
            tolerance: tolerance.min(cap) as u64,
            closed: limit.requests == 0,
        }
    }

    /// Requests that a limit admits at once.
    pub(super) fn depth(limit: &model::Limit) -> u64 {
        if limit.burst == 0 { limit.requests } else { limit.burst }
    }

    /// The time in which so many requests come at the even pace, in ns.
    pub(super) fn time_of_ns(self, requests: u64) -> u64 {
        self.interval.saturating_mul(requests) / PARTS_PER_NS
    }

    /// The theoretical arrival time after admitting at `now`, or the wait in ns.
    fn next(self, arrival: u64, now: Tick) -> Result<u64, u64> {
        let now = parts(now);
        let ahead = arrival.saturating_sub(now);
        if self.closed {
            return Err(self.interval / PARTS_PER_NS);
        }
        match ahead.saturating_sub(self.tolerance) {
            0 => Ok(arrival.max(now).saturating_add(self.interval)),
            wait => Err(wait.div_ceil(PARTS_PER_NS)),
        }
    }
}

fn parts(now: Tick) -> u64 {
    now.0.saturating_mul(PARTS_PER_NS)
}

/// One bucket: the theoretical arrival time of the next request.
#[derive(Debug, Default)]
pub struct Bucket(AtomicU64);

impl Bucket {
    /// Takes one request's share, or says how many nanoseconds from `now` one would be there.
    pub fn take(&self, rate: Rate, now: Tick) -> Result<(), u64> {
        let mut arrival = self.0.load(Relaxed);
        loop {
            let next = rate.next(arrival, now)?;
            match self.0.compare_exchange_weak(arrival, next, Relaxed, Relaxed) {
                Ok(_) => return Ok(()),
                Err(seen) => arrival = seen,
            }
        }
    }

    /// Takes the shares of up to `most` requests at once, at least one; how many.
    pub(super) fn take_up_to(&self, most: u64, rate: Rate, now: Tick) -> Result<u64, u64> {
        let mut arrival = self.0.load(Relaxed);
        loop {
            let first = rate.next(arrival, now)?;
            let left = rate.tolerance.saturating_sub(arrival.saturating_sub(parts(now)));
            let more = (left / rate.interval.max(1)).min(most.saturating_sub(1));
            let next = first.saturating_add(more.saturating_mul(rate.interval));
            match self.0.compare_exchange_weak(arrival, next, Relaxed, Relaxed) {
                Ok(_) => return Ok(1 + more),
                Err(seen) => arrival = seen,
            }
        }
    }

    /// Gives one share back.
    pub fn give_back(&self, rate: Rate) {
        let _ = self.0.fetch_update(Relaxed, Relaxed, |arrival| Some(arrival.saturating_sub(rate.interval)));
    }

    /// The bucket is full: what it would admit does not depend on its past.
    pub(super) fn idle(&self, now: Tick) -> bool {
        self.0.load(Relaxed) <= parts(now)
    }

    /// For ordering buckets by how soon they will be full.
    pub(super) fn debt(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
