//! Picking an endpoint: a few draws in the common case, one pass over the endpoints where many of them are ejected or to
//! be avoided. Allocates nothing.

use std::sync::atomic::Ordering::Relaxed;

use crate::config::model::Balancer;
use crate::config::table::{Destination, Endpoint};
use crate::limits::AVOID_MAX;
use crate::rng::Rng;

/// Draws that may meet an endpoint that is ejected or to be avoided before all endpoints are looked at.
const DRAWS_MAX: usize = 6;

/// Endpoints that earlier tries of one request went to, by position in their destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Avoid {
    positions: [u32; AVOID_MAX],
    len: u8,
}

impl Avoid {
    /// Avoids one more; beyond the cap, the latest ones count.
    pub fn push(&mut self, position: usize) {
        if self.contains(position) {
            return;
        }
        self.positions[usize::from(self.len) % AVOID_MAX] = position as u32;
        // Beyond the cap the oldest slots are written again: the length stays between one and two caps.
        self.len += 1;
        if usize::from(self.len) == 2 * AVOID_MAX {
            self.len = AVOID_MAX as u8;
        }
    }

    /// The endpoint is to be avoided.
    pub fn contains(&self, position: usize) -> bool {
        let known = usize::from(self.len).min(AVOID_MAX);
        self.positions[..known].contains(&(position as u32))
    }

    /// Nothing is to be avoided.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The position of the endpoint that the next try goes to; none if the destination has no usable one.
///
/// Ejected endpoints are left out, unless the healthy share is below `minHealthPercent` (Envoy's panic threshold): then all
/// are used. Endpoints in `avoid` are left out as long as another usable one exists (Envoy's `previous_hosts`).
///
/// LEAST_REQUEST takes two candidates, drawn in proportion to their weights, and the one with fewer active requests per
/// weight; so shares follow the weights both idle and under load. ROUND_ROBIN follows one turn counter for all
/// shards.
pub fn pick(destination: &Destination, avoid: &Avoid, rng: &mut Rng) -> Option<usize> {
    let count = destination.endpoints.len();
    if count == 0 {
        return None;
    }
    let fit = Fit { destination, avoid, panic: panics(destination) };
    let picked = match destination.model.balancer {
        Balancer::RoundRobin => next_turn(&fit, count),
        Balancer::Random => draw(&fit, count, rng),
        Balancer::LeastRequest | Balancer::Passthrough => less_loaded(&fit, count, rng),
    };
    picked.or_else(|| {
        let unrestricted = Fit { avoid: &Avoid::default(), ..fit };
        (!avoid.is_empty()).then(|| unrestricted.any(rng)).flatten()
    })
}

/// So few endpoints are healthy that ejections are disregarded.
fn panics(destination: &Destination) -> bool {
    let least = destination.model.outlier.map_or(0, |outlier| outlier.min_health_percent);
    if least == 0 || destination.state.watched.load(Relaxed) == 0 {
        return false;
    }
    let endpoints = &destination.endpoints;
    let healthy = endpoints.iter().filter(|endpoint| !endpoint.state.ejected()).count();
    healthy * 100 < least as usize * endpoints.len()
}

/// Which endpoints may be picked.
struct Fit<'a> {
    destination: &'a Destination,
    avoid: &'a Avoid,
    panic: bool,
}

impl Fit<'_> {
    fn endpoint(&self, position: usize) -> Option<&Endpoint> {
        let endpoint = self.destination.endpoints.get(position)?;
        let ejected = endpoint.state.ejected();
        // A sweep by an exchange of an older table may not have known this endpoint and found nothing left to watch.
        if ejected && self.destination.state.watched.load(Relaxed) == 0 {
            self.destination.state.watched.store(1, Relaxed);
        }
        let usable = self.panic || !ejected;
        (usable && !self.avoid.contains(position)).then_some(endpoint)
    }

    /// One that fits, drawn by weight from all that do.
    fn any(&self, rng: &mut Rng) -> Option<usize> {
        let weight =
            |position| self.endpoint(position).map_or(0, |endpoint| u64::from(endpoint.model.weight.max(1)));
        let count = self.destination.endpoints.len();
        let total: u64 = (0..count).map(weight).sum();
        let mut drawn = rng.below_u64(total);
        (0..count).find(|position| {
            let weight = weight(*position);
            let hit = drawn < weight;
            drawn = drawn.saturating_sub(weight);
            hit
        })
    }
}

fn draw(fit: &Fit<'_>, count: usize, rng: &mut Rng) -> Option<usize> {
    for _ in 0..DRAWS_MAX {
        let position = fit.destination.shares.draw(count, rng);
        if fit.endpoint(position).is_some() {
            return Some(position);
        }
    }
    fit.any(rng)
}

fn less_loaded(fit: &Fit<'_>, count: usize, rng: &mut Rng) -> Option<usize> {
    let first = draw(fit, count, rng)?;
    if count == 1 {
        return Some(first);
    }
    let second = match fit.destination.shares.equal() {
        // Another than the first, so that two endpoints are always compared where there are two.
        true => (first + 1 + rng.below(count as u32 - 1) as usize) % count,
        false => fit.destination.shares.draw(count, rng),
    };
    let endpoints = &fit.destination.endpoints;
    let (Some(other), Some(one)) = (fit.endpoint(second), endpoints.get(first)) else { return Some(first) };
    let load = |of: &Endpoint, by: &Endpoint| {
        u64::from(of.state.active.load(Relaxed)) * u64::from(by.model.weight.max(1))
    };
    Some(if load(other, one) < load(one, other) { second } else { first })
}

fn next_turn(fit: &Fit<'_>, count: usize) -> Option<usize> {
    let shares = &fit.destination.shares;
    let cursor = &fit.destination.state.cursor.0;
    let mut position = 0;
    for _ in 0..DRAWS_MAX.min(shares.round(count)) {
        position = shares.turn(count, cursor.fetch_add(1, Relaxed));
        if fit.endpoint(position).is_some() {
            return Some(position);
        }
    }
    (1..=count).map(|step| (position + step) % count).find(|position| fit.endpoint(*position).is_some())
}
