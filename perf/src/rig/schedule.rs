//! When requests are due. An open-loop generator sends by this plan whatever the answers do, and counts latency from
//! the planned moment, so that a stall shows in every request that it delayed (coordinated omission is left out).

use dromon_core::rng::Rng;

/// How arrivals are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// One every 1/rate.
    Fixed,
    /// Exponentially distributed gaps of mean 1/rate: independent clients.
    Poisson,
}

/// The planned moments, in nanoseconds from the run's start; never ends.
#[derive(Debug)]
pub struct Schedule {
    arrivals: Arrivals,
    gap_ns: f64,
    next_ns: f64,
    rng: Rng,
}

impl Schedule {
    /// A plan of `per_second` requests; a Poisson one follows from its seed.
    pub fn new(arrivals: Arrivals, per_second: f64, seed: u64) -> Schedule {
        Schedule { arrivals, gap_ns: 1e9 / per_second, next_ns: 0.0, rng: Rng::new(seed) }
    }

    /// The moment of the next request, without taking it.
    pub fn peek(&self) -> u64 {
        self.next_ns as u64
    }

    /// Takes the next request if it is due.
    pub fn due(&mut self, now_ns: u64) -> Option<u64> {
        let planned = self.peek();
        if planned > now_ns {
            return None;
        }
        self.next_ns += match self.arrivals {
            Arrivals::Fixed => self.gap_ns,
            // 1 - unit() lies in (0, 1], so the logarithm is finite.
            Arrivals::Poisson => -(1.0 - self.rng.unit()).ln() * self.gap_ns,
        };
        Some(planned)
    }
}
