//! Rate limits, exact in total over all shards: GCRA buckets on one atomic word each, single or by key.
//!
//! The generic cell rate algorithm (ITU-T I.371) keeps one number per bucket, the theoretical arrival time of the next
//! request at the even pace, so a bucket is one word and taking from it one compare-and-swap. Limits of more than
//! 100,000 a second are lent to the shards in lots; keyed ones are not, their load being spread over many words.
//! Conditions (`when`) are the router's matter.

mod bucket;
mod keyed;
mod lease;

pub use bucket::{Bucket, Rate};
pub use keyed::KeyedBuckets;

use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

use foldhash::quality::FixedState;

use crate::config::model;
use crate::exchange::RequestView;
use crate::time::Tick;
use lease::Leased;

/// The buckets of one limit, shared by all shards; outlives a table swap while the limit's numbers stay.
#[derive(Debug)]
pub struct LimitState {
    rate: Rate,
    keys: Box<[model::LimitKey]>,
    buckets: Buckets,
    hasher: FixedState,
}

#[derive(Debug)]
enum Buckets {
    One(Bucket),
    Leased(Box<Leased>),
    Keyed(Box<KeyedBuckets>),
}

/// What a limit may tell clients apart by, beside the request itself.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The client's address.
    pub address: IpAddr,
    /// The client's proven identity; empty without one.
    pub principal: &'a str,
    /// The shard that asks, from 0.
    pub shard: usize,
}

/// A limit's share was used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Whole seconds, rounded up, until a request would be admitted if none came meanwhile; at least 1.
    pub retry_after_s: u64,
}

impl LimitState {
    /// Full buckets for `limit`; `seed` keeps clients from choosing keys that collide.
    pub fn new(limit: &model::Limit, seed: u64) -> LimitState {
        let keys = limit.per.iter().map(|key| match key {
            model::LimitKey::Header(name) => model::LimitKey::Header(name.to_ascii_lowercase()),
            other => other.clone(),
        });
        let buckets = match limit.per.is_empty() {
            true => Leased::of(limit)
                .map_or_else(|| Buckets::One(Bucket::default()), |leased| Buckets::Leased(Box::new(leased))),
            false => Buckets::Keyed(Box::default()),
        };
        LimitState {
            rate: Rate::of(limit),
            keys: keys.collect(),
            buckets,
            hasher: FixedState::with_seed(seed),
        }
    }

    /// The state serves `limit` as it stands: same rate, burst and key, so a new table may go on with it.
    pub fn serves(&self, limit: &model::Limit) -> bool {
        let fresh = LimitState::new(limit, 0);
        self.rate == fresh.rate && self.keys == fresh.keys
    }

    /// Takes one request's share, or says how long it would have to wait.
    pub fn take<R: RequestView>(
        &self,
        request: &R,
        path: &[u8],
        source: Source<'_>,
        now: Tick,
    ) -> Result<Taken, Refused> {
        match &self.buckets {
            Buckets::One(bucket) => bucket.take(self.rate, now).map(|()| Taken(0)),
            Buckets::Leased(leased) => leased.take(source.shard, now).map(|()| Taken(0)),
            Buckets::Keyed(table) => {
                let key = self.key(request, path, source);
                table.take(key, self.rate, now).map(|()| Taken(key))
            }
        }
        .map_err(|wait_ns| Refused { retry_after_s: wait_ns.div_ceil(1_000_000_000).max(1) })
    }

    /// Gives back what [`LimitState::take`] took, because another limit refused the request.
    pub fn give_back(&self, taken: Taken) {
        match &self.buckets {
            Buckets::One(bucket) => bucket.give_back(self.rate),
            Buckets::Leased(leased) => leased.give_back(),
            Buckets::Keyed(table) => table.give_back(taken.0, self.rate),
        }
    }

    /// Requests that found their part of the key table full of busy buckets and shared another client's.
    pub fn shared_total(&self) -> u64 {
        match &self.buckets {
            Buckets::One(_) | Buckets::Leased(_) => 0,
            Buckets::Keyed(table) => table.shared_total(),
        }
    }

    fn key<R: RequestView>(&self, request: &R, path: &[u8], source: Source<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        let mut part = |bytes: Option<&[u8]>| match bytes {
            Some(bytes) => {
                hasher.write(bytes);
                hasher.write_usize(bytes.len());
            }
            None => hasher.write_usize(usize::MAX),
        };
        for key in &self.keys {
            match key {
                model::LimitKey::Header(name) => part(request.header(name)),
                model::LimitKey::Path => part(Some(path)),
                model::LimitKey::Method => part(Some(request.method())),
                model::LimitKey::SourceAddress => match source.address.to_canonical() {
                    IpAddr::V4(address) => part(Some(&address.octets())),
                    IpAddr::V6(address) => part(Some(&address.octets())),
                },
                model::LimitKey::SourcePrincipal => part(Some(source.principal.as_bytes())),
            }
        }
        hasher.finish()
    }
}

/// Proof of a taken share, for giving it back.
#[derive(Debug)]
#[must_use]
pub struct Taken(u64);

#[cfg(test)]
mod tests;
