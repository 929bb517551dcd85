//! Counters on their way from the shards to a reader.

use std::collections::BTreeMap;
use std::sync::Arc;

use hdrhistogram::Histogram;

use super::hist::Buckets;
use super::labels::{self, Labels};
use super::prometheus::{self, Family};
use crate::limits::SERIES_MAX;

/// Counters of one HTTP series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpCounters {
    /// Finished exchanges.
    pub requests: u64,
    /// Their durations in ms.
    pub duration_ms: Buckets,
    /// Their requests' sizes.
    pub request_bytes: Buckets,
    /// Their responses' sizes.
    pub response_bytes: Buckets,
}

/// Counters of one TCP series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpCounters {
    /// Connections made.
    pub opened: u64,
    /// Connections ended.
    pub closed: u64,
    /// Bytes that came from clients.
    pub received_bytes: u64,
    /// Bytes that went to clients.
    pub sent_bytes: u64,
}

impl TcpCounters {
    pub(super) fn is_empty(&self) -> bool {
        *self == TcpCounters::default()
    }
}

/// What one shard counted since it was last asked.
#[derive(Clone, Debug, Default)]
pub struct Interval {
    pub(super) http: Vec<(Labels, HttpCounters)>,
    pub(super) tcp: Vec<(Labels, TcpCounters)>,
    pub(super) latency: Vec<(Arc<str>, Histogram<u32>)>,
    pub(super) turned_away: u64,
}

/// Latency of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentiles {
    /// Exchanges counted.
    pub count: u64,
    /// Median, in microseconds.
    pub p50_us: u64,
    /// 90th percentile, in microseconds.
    pub p90_us: u64,
    /// 99th percentile, in microseconds.
    pub p99_us: u64,
    /// 99.9th percentile, in microseconds.
    pub p999_us: u64,
    /// Longest, in microseconds.
    pub max_us: u64,
}

/// Totals over all shards since the process started.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    http: BTreeMap<Labels, HttpCounters>,
    tcp: BTreeMap<Labels, TcpCounters>,
    latency: BTreeMap<Arc<str>, Histogram<u64>>,
    turned_away: u64,
}

impl Merged {
    /// Adds what a shard handed over.
    pub fn add(&mut self, interval: Interval) {
        for (labels, more) in interval.http {
            let total = entry(&mut self.http, labels);
            total.requests += more.requests;
            total.duration_ms.add(&more.duration_ms);
            total.request_bytes.add(&more.request_bytes);
            total.response_bytes.add(&more.response_bytes);
        }
        for (labels, more) in interval.tcp {
            let total = entry(&mut self.tcp, labels);
            total.opened += more.opened;
            total.closed += more.closed;
            total.received_bytes += more.received_bytes;
            total.sent_bytes += more.sent_bytes;
        }
        for (name, more) in interval.latency {
            self.add_latency(name, &more);
        }
        self.turned_away += interval.turned_away;
    }

    /// Renders everything in Prometheus' text exposition format, the proxy's own metrics after Istio's.
    pub fn render(&self, own: &[Family], out: &mut String) {
        prometheus::http(&self.http, out);
        prometheus::tcp(&self.tcp, out);
        prometheus::family(
            &Family::counter(
                "dromon_series_overflow_total",
                "Records counted under the label other because the cap on series was reached.",
                self.turned_away as f64,
            ),
            out,
        );
        for family in own {
            prometheus::family(family, out);
        }
    }

    /// Percentiles by destination, in order of name.
    pub fn latencies(&self) -> impl Iterator<Item = (&str, Percentiles)> {
        self.latency.iter().map(|(name, histogram)| {
            let at = |quantile| histogram.value_at_quantile(quantile);
            let percentiles = Percentiles {
                count: histogram.len(),
                p50_us: at(0.5),
                p90_us: at(0.9),
                p99_us: at(0.99),
                p999_us: at(0.999),
                max_us: histogram.max(),
            };
            (&**name, percentiles)
        })
    }

    fn add_latency(&mut self, name: Arc<str>, more: &Histogram<u32>) {
        if !self.latency.contains_key(&name) {
            let Ok(empty) = Histogram::new(2) else { return };
            self.latency.insert(Arc::clone(&name), empty);
        }
        if let Some(total) = self.latency.get_mut(&name) {
            for value in more.iter_recorded() {
                // Both resize themselves, so this fails only where memory does.
                let _ = total.record_n(value.value_iterated_to(), u64::from(value.count_at_value()));
            }
        }
    }
}

/// The totals of these labels; beyond the cap those of the series that takes the rest.
fn entry<C: Default>(totals: &mut BTreeMap<Labels, C>, labels: Labels) -> &mut C {
    let full = totals.len() > SERIES_MAX && !totals.contains_key(&labels);
    totals.entry(if full { labels::other() } else { labels }).or_default()
}
