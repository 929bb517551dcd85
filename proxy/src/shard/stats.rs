//! What a shard counts beside the core's telemetry: its connections and its own health.

/// A shard's numbers, as handed to the steward on a scrape. Gauges are as of now, counters since the last scrape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardStats {
    /// Client connections open now.
    pub downstream_connections_active: u64,
    /// Client connections accepted.
    pub downstream_connections_total: u64,
    /// Client connections refused at the cap.
    pub downstream_connections_refused: u64,
    /// Upstream connections open now, pooled ones included.
    pub upstream_connections_active: u64,
    /// Upstream connections made.
    pub upstream_connections_total: u64,
    /// Upstream connections found closed when a request wanted them.
    pub upstream_connections_stale: u64,
    /// Upstream connections closed because bytes came that no request had asked for (R24).
    pub upstream_connections_poisoned: u64,
    /// Exchanges under way now.
    pub requests_active: u64,
    /// Access-log bytes dropped because the buffer was full.
    pub access_log_dropped_bytes: u64,
}
