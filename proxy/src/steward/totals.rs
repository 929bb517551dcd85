//! The shards' numbers, summed.

use std::collections::BTreeMap;

use crate::mailbox::ShardId;
use crate::shard::stats::ShardStats;

/// Sums since the start, and gauges as of the last scrape.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Each shard's connections and exchanges; gauges as of now, counters since its start.
    pub shards: BTreeMap<ShardId, ShardStats>,
    /// Access-log bytes that could not be written out.
    pub access_log_dropped_bytes: u64,
}

impl Totals {
    /// Adds what a shard has counted since it was last asked.
    pub fn add(&mut self, shard: ShardId, interval: ShardStats) {
        let held = self.shards.entry(shard).or_default();
        held.downstream_connections_active = interval.downstream_connections_active;
        held.upstream_connections_active = interval.upstream_connections_active;
        held.requests_active = interval.requests_active;
        for (sum, counted) in [
            (&mut held.downstream_connections_total, interval.downstream_connections_total),
            (&mut held.downstream_connections_refused, interval.downstream_connections_refused),
            (&mut held.upstream_connections_total, interval.upstream_connections_total),
            (&mut held.upstream_connections_stale, interval.upstream_connections_stale),
            (&mut held.upstream_connections_poisoned, interval.upstream_connections_poisoned),
            (&mut held.access_log_dropped_bytes, interval.access_log_dropped_bytes),
        ] {
            *sum += counted;
        }
    }
}
