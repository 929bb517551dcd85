//! What a shard counts beside the core's telemetry: its connections and its own health.

use std::cell::Cell;

/// A number of one thread.
#[derive(Debug, Default)]
pub struct Count(Cell<u64>);

impl Count {
    /// The number.
    pub fn get(&self) -> u64 {
        self.0.get()
    }

    /// Adds.
    pub fn add(&self, by: u64) {
        self.0.set(self.0.get().wrapping_add(by));
    }

    /// Counts one up until the guard is dropped.
    pub fn hold(&self) -> Held<'_> {
        self.add(1);
        Held(self)
    }

    /// Subtracts, down to 0.
    pub fn sub(&self, by: u64) {
        self.0.set(self.0.get().saturating_sub(by));
    }

    fn take(&self) -> u64 {
        self.0.replace(0)
    }
}

/// One of a gauge, given back on drop.
#[derive(Debug)]
pub struct Held<'a>(&'a Count);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

macro_rules! numbers {
    (gauges { $($(#[$gauge_doc:meta])* $gauge:ident,)+ } counters { $($(#[$counter_doc:meta])* $counter:ident,)+ }) => {
        /// A shard's numbers while it runs.
        #[derive(Debug, Default)]
        pub struct Gauges {
            $($(#[$gauge_doc])* pub $gauge: Count,)+
            $($(#[$counter_doc])* pub $counter: Count,)+
        }

        /// A shard's numbers, as handed to the steward on a scrape: gauges as of now, counters since the last scrape.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct ShardStats {
            $($(#[$gauge_doc])* pub $gauge: u64,)+
            $($(#[$counter_doc])* pub $counter: u64,)+
        }

        impl ShardStats {
            /// Takes in a later interval: its gauges replace, its counters add.
            pub fn absorb(&mut self, later: &ShardStats) {
                $(self.$gauge = later.$gauge;)+
                $(self.$counter = self.$counter.wrapping_add(later.$counter);)+
            }
        }

        impl Gauges {
            /// The numbers; counters start again from 0.
            pub fn take(&self) -> ShardStats {
                ShardStats {
                    $($gauge: self.$gauge.get(),)+
                    $($counter: self.$counter.take(),)+
                }
            }
        }
    };
}

numbers! {
    gauges {
        /// Client connections open now.
        downstream_connections_active,
        /// Upstream connections open now, pooled ones included.
        upstream_connections_active,
        /// Upstream connections idle in pools now.
        upstream_connections_idle,
        /// Exchanges and relays under way now.
        requests_active,
        /// Requests and connections that wait for rules from the controller now.
        route_waits_active,
    }
    counters {
        /// Client connections accepted.
        downstream_connections_total,
        /// Client connections refused at the cap.
        downstream_connections_refused,
        /// Upstream connections made.
        upstream_connections_total,
        /// Upstream connections that could not be made.
        upstream_connections_failed,
        /// Pooled upstream connections found closed when a request wanted one.
        upstream_connections_stale,
        /// Upstream connections closed because bytes came that no request had asked for (R24).
        upstream_connections_poisoned,
        /// TLS handshakes with clients that were completed.
        downstream_tls_handshakes_total,
        /// TLS handshakes with upstreams that were completed.
        upstream_tls_handshakes_total,
        /// Requests and connections refused because too many waited for rules.
        route_waits_refused,
        /// Access-log bytes dropped because the mailbox was full.
        access_log_dropped_bytes,
    }
}
