//! The shards' numbers, summed.

use std::collections::BTreeMap;

use dromon_core::telemetry::{Interval, Merged};

use crate::mailbox::ShardId;
use crate::refusal::Counts;
use crate::shard::stats::ShardStats;

/// Sums since the start, and gauges as of the last scrape.
#[derive(Debug, Default)]
pub struct Totals {
    /// Each shard's connections and exchanges; gauges as of now, counters since its start.
    pub shards: BTreeMap<ShardId, ShardStats>,
    /// What all shards have counted about exchanges.
    pub exchanges: Merged,
    /// Connections that were turned away, by kind.
    pub refusals: Counts,
    /// Access-log bytes that could not be written out.
    pub access_log_dropped_bytes: u64,
}

impl Totals {
    /// Adds what a shard has counted since it was last asked.
    pub fn add(&mut self, shard: ShardId, interval: ShardStats, exchanges: Interval, refusals: Counts) {
        self.shards.entry(shard).or_default().absorb(&interval);
        self.exchanges.add(exchanges);
        for (ground, count) in refusals {
            *self.refusals.entry(ground).or_default() += count;
        }
    }
}
