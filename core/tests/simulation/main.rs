//! A seeded sweep over the exchange state machine: many exchanges on several shards, endpoints that refuse, hang, break off and
//! answer with errors, clients that leave, tables that change under way, clocks that jump.
//!
//! Everything follows from the seed, so a failing one can be run again alone:
//! `DROMON_SEED=17 cargo test -p dromon-core --test simulation`. `DROMON_SEEDS=10000` widens the sweep.

mod config;
mod oracle;
mod tally;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use tally::Tally;
use world::World;

/// Seeds of the ordinary run.
const SEEDS: u64 = 256;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn every_seed_keeps_the_invariants() {
    let only = number("DROMON_SEED");
    let seeds = only.map_or(0..number("DROMON_SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    let mut total = Tally::default();
    for seed in seeds {
        match catch_unwind(AssertUnwindSafe(|| World::new(seed).run())) {
            Ok(tally) => total.add(&tally),
            Err(_) => panic!(
                "seed {seed} breaks an invariant (above); replay it alone with\n    \
                 DROMON_SEED={seed} cargo test -p dromon-core --test simulation"
            ),
        }
    }
    println!("{total:#?}");
    if only.is_none() {
        total.assert_everything_happened();
    }
}

#[test]
fn a_seed_always_runs_the_same() {
    for seed in [1, 17, 99] {
        assert_eq!(World::new(seed).run(), World::new(seed).run());
    }
}
