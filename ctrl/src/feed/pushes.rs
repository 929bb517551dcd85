//! How long changes take on their way to proxies, from when the controller is told of them.
//!
//! The same as Istio's `pilot_proxy_convergence_time`, but for each stage, so that it can be seen where time goes.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper ends of the buckets, in microseconds.
const BUCKETS_US: [u64; 13] = [
    1_000, 2_500, 5_000, 10_000, 20_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];
/// The metric's name.
const NAME: &str = "dromon_controller_push_seconds";

/// How far a change has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The source has handed it to the store.
    Received,
    /// All views have it. Once for each version.
    Translated,
    /// A proxy that it concerns has been sent it.
    Sent,
    /// That proxy has it in force, or has refused it.
    Acknowledged,
}

impl Stage {
    const ALL: [Stage; 4] = [Stage::Received, Stage::Translated, Stage::Sent, Stage::Acknowledged];

    fn name(self) -> &'static str {
        match self {
            Stage::Received => "received",
            Stage::Translated => "translated",
            Stage::Sent => "sent",
            Stage::Acknowledged => "acknowledged",
        }
    }
}

/// A histogram for each stage.
#[derive(Debug, Default)]
pub struct Pushes([Histogram; Stage::ALL.len()]);

#[derive(Debug, Default)]
struct Histogram {
    /// Of each bucket by itself; the last one has no upper end.
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Pushes {
    /// A change has come so far, so long after it was heard of.
    pub fn observe(&self, stage: Stage, took: Duration) {
        let histogram = &self.0[stage as usize];
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = BUCKETS_US.partition_point(|end| *end < took_us);
        histogram.buckets[at].fetch_add(1, Ordering::Relaxed);
        histogram.sum_us.fetch_add(took_us, Ordering::Relaxed);
    }

    /// In Prometheus' text format.
    pub fn prometheus(&self) -> String {
        let mut out = format!(
            "# HELP {NAME} From when the controller is told of a change until it has come so far.\n# TYPE {NAME} histogram\n"
        );
        for stage in Stage::ALL {
            let (histogram, stage) = (&self.0[stage as usize], stage.name());
            let mut count = 0;
            for (at, bucket) in histogram.buckets.iter().enumerate() {
                count += bucket.load(Ordering::Relaxed);
                let end = BUCKETS_US.get(at).map_or("+Inf".to_owned(), |end| seconds(*end));
                // Writing to a string cannot fail.
                let _ = writeln!(out, "{NAME}_bucket{{stage=\"{stage}\",le=\"{end}\"}} {count}");
            }
            let sum = seconds(histogram.sum_us.load(Ordering::Relaxed));
            let _ = writeln!(out, "{NAME}_sum{{stage=\"{stage}\"}} {sum}");
            let _ = writeln!(out, "{NAME}_count{{stage=\"{stage}\"}} {count}");
        }
        out
    }
}

fn seconds(us: u64) -> String {
    (us as f64 / 1e6).to_string()
}

#[cfg(test)]
mod tests;
