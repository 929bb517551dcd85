//! What a destination's endpoint weights come to, computed once per table so that a pick costs the same for any number
//! of endpoints.

use crate::config::table::Endpoint;
use crate::limits::ROUND_ROBIN_SLOTS_MAX;
use crate::rng::Rng;

/// Endpoint weights, compiled. Empty vectors mean that all weights are equal, which is the common case.
#[derive(Clone, Debug, Default)]
pub struct Shares {
    /// Running sums of the weights.
    sums: Vec<u64>,
    /// Endpoint positions in the order in which they take turns.
    turns: Vec<u32>,
}

impl Shares {
    /// Compiles the weights of `endpoints`; a weight of 0 counts as 1.
    pub fn new(endpoints: &[Endpoint]) -> Shares {
        let weights: Vec<u32> = endpoints.iter().map(|endpoint| endpoint.model.weight).collect();
        Shares::of_weights(&weights)
    }

    /// Compiles bare weights; a weight of 0 counts as 1.
    pub fn of_weights(weights: &[u32]) -> Shares {
        let weights: Vec<u64> = weights.iter().map(|weight| u64::from((*weight).max(1))).collect();
        if weights.windows(2).all(|pair| pair[0] == pair[1]) {
            return Shares::default();
        }
        let sums = weights
            .iter()
            .scan(0u64, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        Shares { sums, turns: turns(&weights) }
    }

    /// A position below `count`, drawn in proportion to the weights.
    pub(crate) fn draw(&self, count: usize, rng: &mut Rng) -> usize {
        match self.sums.last() {
            None => rng.below(count as u32) as usize,
            Some(total) => {
                let drawn = rng.below_u64(*total);
                self.sums.partition_point(|sum| *sum <= drawn)
            }
        }
    }

    /// The position whose turn it is when `cursor` turns have been taken.
    pub(crate) fn turn(&self, count: usize, cursor: u32) -> usize {
        match self.turns.len() {
            0 => cursor as usize % count.max(1),
            turns => self.turns[cursor as usize % turns] as usize,
        }
    }

    /// Weights are equal.
    pub(crate) fn equal(&self) -> bool {
        self.sums.is_empty()
    }

    /// Turns after which every endpoint has had its share.
    pub(crate) fn round(&self, count: usize) -> usize {
        self.turns.len().max(count)
    }
}

/// A round of turns in which each position comes as often as its weight says, spread evenly: position `i` is due at
/// `(k + 1/2) / weight` for each of its turns `k` (the order of an earliest-deadline-first scheduler, as in Envoy).
/// Weights are reduced by their greatest common divisor and, where a round would still be longer than the cap, scaled down
/// to it, no endpoint below one turn.
fn turns(weights: &[u64]) -> Vec<u32> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let total: u64 = weights.iter().map(|weight| weight / divisor).sum();
    let cap = ROUND_ROBIN_SLOTS_MAX as u64;
    let counts = weights.iter().map(|weight| match weight / divisor {
        exact if total <= cap => exact,
        large => (large.saturating_mul(cap) / total).max(1),
    });
    let mut due: Vec<(f64, u32)> = Vec::new();
    for (position, count) in counts.enumerate() {
        due.extend((0..count).map(|turn| ((turn as f64 + 0.5) / count as f64, position as u32)));
    }
    due.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    due.into_iter().map(|(_, position)| position).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
