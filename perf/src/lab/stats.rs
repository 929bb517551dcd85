//! Medians and their spread. A ratio is taken within each round, where both sides saw the same machine, and its
//! spread is the 95 % bootstrap interval of the median over rounds.

use dromon_core::rng::Rng;
use serde::{Deserialize, Serialize};

/// Resamples of a bootstrap.
const RESAMPLES: usize = 2_000;

/// A median with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Values it was made of.
    pub count: usize,
}

/// The median; of an even number the mean of the middle two. None of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get((sorted.len() - 1) / 2)?;
    Some((lower + upper) / 2.0)
}

/// The median and its bootstrap interval, always the same for the same values.
pub fn spread(values: &[f64]) -> Option<Spread> {
    let mut rng = Rng::new(0x5EED);
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let sample: Vec<f64> = values
                .iter()
                .filter_map(|_| values.get(rng.below(values.len() as u32) as usize).copied())
                .collect();
            median(&sample)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    let at = |share: f64| {
        medians.get((share * (medians.len().saturating_sub(1)) as f64).round() as usize).copied()
    };
    Some(Spread { median: median(values)?, low: at(0.025)?, high: at(0.975)?, count: values.len() })
}

/// The spread of `a / b` over the rounds that both have; values come with their round.
pub fn ratio(a: &[(usize, f64)], b: &[(usize, f64)]) -> Option<Spread> {
    let ratios: Vec<f64> = a
        .iter()
        .filter_map(|&(round, value)| {
            let &(_, other) = b.iter().find(|(other, _)| *other == round)?;
            (other > 0.0).then_some(value / other)
        })
        .collect();
    spread(&ratios)
}
