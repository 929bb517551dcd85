//! A bucket whose shares are lent to the shards in small lots, so that shards that admit millions of requests a second do
//! not pass one word from cache to cache with each of them.
//!
//! A shard takes a lot from the shared bucket when its own is used up. Lots are taken out of the bucket when they are lent,
//! so what is admitted in total is what the bucket gave. A shard that falls quiet keeps a part of one lot: the pace of the
//! others does not depend on it, since the bucket fills whatever was lent, and the depth of the bucket is less by all that
//! shards may hold, so the bound over any span, rate × T + depth, is that of a bucket without lots. A shard that finds the
//! bucket empty looks again when a part of a lot is due.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::bucket::{Bucket, Rate};
use crate::config::model;
use crate::limits::{LEASE_CREDITS_MAX, LEASE_CREDITS_MIN, LEASE_RATE_MIN, LEASE_SHARDS_MAX};
use crate::time::Tick;

/// Lots that the depth of a bucket must hold, so that what shards hold is a small part of it.
const LOTS_MIN: u64 = 64;
/// Looks at an empty bucket in the time of one lot.
const LOOKS: u64 = 4;

const _: () = assert!((LEASE_SHARDS_MAX as u64) < LOTS_MIN / 2);

/// A bucket and what it has lent.
#[derive(Debug)]
pub(super) struct Leased {
    bucket: Bucket,
    /// Of the limit, its depth less by what may be lent.
    rate: Rate,
    /// Requests of one lot.
    lot: u64,
    /// Time between two looks at an empty bucket, in ns.
    pause_ns: u64,
    held: Box<[Held]>,
}

/// What one shard holds; written by that shard only, and on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Held {
    credits: AtomicU64,
    /// The bucket was empty: there is nothing to be had before.
    dry_until: AtomicU64,
}

impl Leased {
    /// None where the rate is so low that one word does, or the depth so small that it cannot be shared out.
    pub(super) fn of(limit: &model::Limit) -> Option<Leased> {
        let a_second = u128::from(limit.requests) * 1_000 / u128::from(limit.unit_ms.max(1));
        if a_second <= u128::from(LEASE_RATE_MIN) {
            return None;
        }
        // What comes in a millisecond.
        let even = u64::try_from(a_second / 1_000).unwrap_or(u64::MAX);
        let depth = Rate::depth(limit);
        let lot = even.min(depth / LOTS_MIN).min(LEASE_CREDITS_MAX);
        if lot < LEASE_CREDITS_MIN {
            return None;
        }
        let burst = depth - lot * LEASE_SHARDS_MAX as u64;
        let rate = Rate::of(&model::Limit { burst, ..limit.clone() });
        let held = std::iter::repeat_with(Held::default).take(LEASE_SHARDS_MAX).collect();
        let pause_ns = rate.time_of_ns(lot) / LOOKS;
        Some(Leased { bucket: Bucket::default(), rate, lot, pause_ns, held })
    }

    /// Takes one request's share for a shard, or says how many nanoseconds from `now` one may be there.
    pub(super) fn take(&self, shard: usize, now: Tick) -> Result<(), u64> {
        let Some(held) = self.held.get(shard) else { return self.bucket.take(self.rate, now) };
        if held.credits.fetch_update(Relaxed, Relaxed, |credits| credits.checked_sub(1)).is_ok() {
            return Ok(());
        }
        let dry_until = held.dry_until.load(Relaxed);
        if now.0 < dry_until {
            return Err(dry_until - now.0);
        }
        match self.bucket.take_up_to(self.lot, self.rate, now) {
            Ok(taken) => {
                held.credits.fetch_add(taken - 1, Relaxed);
                Ok(())
            }
            Err(wait_ns) => {
                held.dry_until.store(now.0.saturating_add(self.pause_ns), Relaxed);
                Err(wait_ns.max(self.pause_ns))
            }
        }
    }

    /// Gives one share back.
    pub(super) fn give_back(&self) {
        self.bucket.give_back(self.rate);
    }
}

#[cfg(test)]
mod tests;
