use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::testing::destination;
use super::*;
use crate::config::model::{Balancer, Outlier};
use crate::config::table::Destination;
use crate::rng::Rng;

/// Shares of `draws` picks, none of which stays active.
fn shares(destination: &Destination, avoid: &Avoid, draws: usize, seed: u64) -> Vec<u64> {
    let mut rng = Rng::new(seed);
    let mut counts = vec![0; destination.endpoints.len()];
    for _ in 0..draws {
        counts[pick(destination, avoid, &mut rng).unwrap()] += 1;
    }
    counts
}

/// Chi-square of counts against weights; `allowed` is the 99.99 % quantile for the degrees of freedom in use.
fn assert_shares(counts: &[u64], weights: &[u32], allowed: f64) {
    let (total, sum) = (counts.iter().sum::<u64>() as f64, weights.iter().sum::<u32>() as f64);
    let chi: f64 = counts
        .iter()
        .zip(weights)
        .map(|(count, weight)| {
            let expected = total * f64::from(*weight) / sum;
            if expected == 0.0 { *count as f64 * 1e9 } else { (*count as f64 - expected).powi(2) / expected }
        })
        .sum();
    assert!(chi < allowed, "{counts:?} for weights {weights:?}: chi-square {chi}");
}

/// 99.99 % quantiles of chi-square for 1 to 7 degrees of freedom.
const QUANTILES: [f64; 7] = [15.14, 18.42, 21.11, 23.51, 25.74, 27.86, 29.88];

fn with(balancer: Balancer, weights: &[u32]) -> Destination {
    destination(weights, |model| model.balancer = balancer)
}

#[test]
fn idle_shares_follow_the_weights_whatever_the_balancer() {
    for balancer in [Balancer::LeastRequest, Balancer::Random, Balancer::RoundRobin] {
        for weights in [&[1, 1][..], &[1, 1, 1, 1, 1], &[1, 3], &[5, 1, 1, 3], &[80, 15, 5]] {
            for seed in 0..8 {
                let counts = shares(&with(balancer, weights), &Avoid::default(), 20_000, seed);
                assert_shares(&counts, weights, QUANTILES[weights.len() - 2]);
            }
        }
    }
}

#[test]
fn round_robin_is_exact_over_a_round_and_spreads_heavy_endpoints() {
    let destination = with(Balancer::RoundRobin, &[5, 1, 1]);
    let mut rng = Rng::new(1);
    let picks: Vec<usize> =
        (0..70).map(|_| pick(&destination, &Avoid::default(), &mut rng).unwrap()).collect();
    for round in picks.chunks(7) {
        let counts = [0, 1, 2].map(|position| round.iter().filter(|pick| **pick == position).count());
        assert_eq!(counts, [5, 1, 1]);
    }
    let longest_run = picks.chunk_by(|a, b| a == b).map(<[usize]>::len).max().unwrap();
    assert!(longest_run <= 5, "a run of {longest_run} in {picks:?}");
    assert_ne!(picks[..5], [0; 5], "the heavy endpoint takes all its turns at once");
}

#[test]
fn a_round_of_large_weights_is_capped_and_nobody_is_left_out() {
    let destination = with(Balancer::RoundRobin, &[1_000_003, 1, 999_983]);
    assert!(destination.shares.round(3) <= crate::limits::ROUND_ROBIN_SLOTS_MAX + 3);
    let counts = shares(&destination, &Avoid::default(), destination.shares.round(3), 1);
    assert!(counts[1] >= 1 && counts[0].abs_diff(counts[2]) <= 2, "{counts:?}");
}

#[test]
fn least_request_prefers_the_less_loaded_per_weight() {
    let destination = with(Balancer::LeastRequest, &[1, 1]);
    destination.endpoints[0].state.active.store(3, Relaxed);
    assert_eq!(shares(&destination, &Avoid::default(), 100, 1), [0, 100]);

    let destination = with(Balancer::LeastRequest, &[1, 4]);
    destination.endpoints[0].state.active.store(2, Relaxed);
    destination.endpoints[1].state.active.store(4, Relaxed);
    let counts = shares(&destination, &Avoid::default(), 1_000, 1);
    // Two active at weight 1 is more than four at weight 4: only pairs that never meet the other go to the first.
    assert!(counts[1] > 900, "{counts:?}");
}

#[test]
fn requests_that_stay_are_levelled_by_weight() {
    let destination = with(Balancer::LeastRequest, &[1, 2, 1]);
    let mut rng = Rng::new(7);
    for _ in 0..4_000 {
        let position = pick(&destination, &Avoid::default(), &mut rng).unwrap();
        destination.endpoints[position].state.active.fetch_add(1, Relaxed);
    }
    let active: Vec<u32> = destination.endpoints.iter().map(|endpoint| endpoint.state.active()).collect();
    for (active, level) in active.iter().zip([1_000u32, 2_000, 1_000]) {
        assert!(active.abs_diff(level) < 30, "{active} where {level} would be level");
    }
}

#[test]
fn ejected_endpoints_get_nothing_and_the_others_keep_their_shares() {
    for balancer in [Balancer::LeastRequest, Balancer::Random] {
        let destination = with(balancer, &[1, 1, 1, 1, 1, 1, 1, 1]);
        for position in [0, 2, 3, 4, 6, 7] {
            destination.endpoints[position].state.ejected_at_ns.store(1, Relaxed);
        }
        let counts = shares(&destination, &Avoid::default(), 20_000, 3);
        assert_shares(&[counts[1], counts[5]], &[1, 1], QUANTILES[0]);
        assert_eq!(counts[1] + counts[5], 20_000);
    }
    let destination = with(Balancer::RoundRobin, &[1; 64]);
    for position in 1..64 {
        destination.endpoints[position].state.ejected_at_ns.store(1, Relaxed);
    }
    assert_eq!(shares(&destination, &Avoid::default(), 500, 3)[0], 500);
}

#[test]
fn with_all_ejected_nothing_is_picked_unless_the_health_share_says_so() {
    let all_out = |min_health_percent| {
        let destination = destination(&[1, 1, 1], |model| {
            model.outlier = Some(Outlier { min_health_percent, ..Outlier::default() });
        });
        for endpoint in &destination.endpoints {
            endpoint.state.ejected_at_ns.store(1, Relaxed);
        }
        destination.state.watched.store(3, Relaxed);
        destination
    };
    assert_eq!(pick(&all_out(0), &Avoid::default(), &mut Rng::new(1)), None);
    let counts = shares(&all_out(50), &Avoid::default(), 9_000, 1);
    assert_shares(&counts, &[1, 1, 1], QUANTILES[1]);
}

#[test]
fn avoided_endpoints_are_used_only_when_there_is_no_other() {
    let mut avoid = Avoid::default();
    for balancer in [Balancer::LeastRequest, Balancer::Random, Balancer::RoundRobin] {
        let destination = with(balancer, &[1, 1, 1]);
        avoid = Avoid::default();
        avoid.push(0);
        assert_eq!(shares(&destination, &avoid, 300, 1)[0], 0);
        avoid.push(1);
        avoid.push(1);
        assert_eq!(shares(&destination, &avoid, 300, 1), [0, 0, 300]);
        avoid.push(2);
        assert_eq!(shares(&destination, &avoid, 300, 1).iter().sum::<u64>(), 300);
    }
    for position in 3..40 {
        avoid.push(position);
        assert!(avoid.contains(position));
    }
    assert!(!avoid.contains(0), "the oldest make room");
}

#[test]
fn no_endpoint_no_pick() {
    assert_eq!(pick(&with(Balancer::LeastRequest, &[]), &Avoid::default(), &mut Rng::new(1)), None);
}

#[test]
fn caps_hold_in_total_over_threads_and_return_to_zero() {
    let destination = Arc::new(destination(&[1], |model| {
        model.pool.max_connections = Some(3);
        model.pool.http1_max_pending_requests = Some(2);
    }));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    let connection = ConnectionToken::acquire(&destination);
                    let pending = PendingToken::acquire(&destination);
                    assert!(destination.state.connections() <= 3);
                    assert!(destination.state.pending() <= 2);
                    drop((connection, pending));
                }
            });
        }
    });
    assert_eq!((destination.state.connections(), destination.state.pending()), (0, 0));
    let held: Vec<_> = (0..3).map(|_| ConnectionToken::acquire(&destination).unwrap()).collect();
    assert_eq!(ConnectionToken::acquire(&destination).unwrap_err(), Overflow::Connections(3));
    drop(held);
    assert!(ConnectionToken::acquire(&destination).is_ok());
}

#[test]
fn an_uncapped_destination_is_not_written_to() {
    let destination = destination(&[1], |_| ());
    let token = ConnectionToken::acquire(&destination).unwrap();
    assert_eq!(destination.state.connections(), 0);
    drop(token);
    assert_eq!(destination.state.connections(), 0);
}
