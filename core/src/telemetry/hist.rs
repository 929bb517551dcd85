//! Histograms with fixed buckets, as Prometheus reads them.

/// Upper bounds of all buckets but the last, in thousandths of the unit (Envoy's defaults, which Istio's metrics use).
pub const BOUNDS_THOUSANDTHS: [u64; 19] = [
    500,
    1_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    600_000_000,
    1_800_000_000,
    3_600_000_000,
];

/// Counts by bucket, and the sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buckets {
    counts: [u64; BOUNDS_THOUSANDTHS.len() + 1],
    sum_thousandths: u128,
}

impl Buckets {
    /// Counts a value, given in thousandths of the unit: a duration in microseconds for buckets in milliseconds.
    pub fn record(&mut self, thousandths: u64) {
        let bucket = BOUNDS_THOUSANDTHS.partition_point(|bound| *bound < thousandths);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum_thousandths += u128::from(thousandths);
    }

    /// Adds another histogram's counts.
    pub fn add(&mut self, other: &Buckets) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum_thousandths += other.sum_thousandths;
    }

    /// Counts of the buckets, not cumulated; the last has no upper bound.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Values counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Sum of the values, in thousandths of the unit.
    pub fn sum_thousandths(&self) -> u128 {
        self.sum_thousandths
    }
}
