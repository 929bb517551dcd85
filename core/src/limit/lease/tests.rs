use super::*;
use crate::limit::tests::{depth, excess};
use crate::rng::Rng;

const SECOND_NS: u64 = 1_000_000_000;

fn limit(requests: u64, unit_ms: u64, burst: u64) -> model::Limit {
    model::Limit { requests, unit_ms, burst, ..Default::default() }
}

/// Requests admitted in simulated seconds by shards that each offer so many a second, in bursts of up to 20.
fn admitted(limit: &model::Limit, offers: &[u64], seconds: u64, seed: u64) -> u64 {
    let leased = Leased::of(limit).expect("fast enough to lend");
    let mut rng = Rng::new(seed);
    let mut next: Vec<(u64, usize)> = (0..offers.len()).map(|shard| (1, shard)).collect();
    let mut admitted = 0;
    loop {
        next.sort_unstable();
        let (now, shard) = next[0];
        if now > seconds * SECOND_NS {
            return admitted;
        }
        let burst = 1 + rng.below_u64(20);
        admitted += (0..burst).filter(|_| leased.take(shard, Tick(now)).is_ok()).count() as u64;
        next[0].0 += 1 + rng.below_u64(2 * burst * SECOND_NS / offers[shard].max(1));
    }
}

#[test]
fn only_fast_limits_with_room_for_lots_are_lent() {
    let lent = |requests, unit_ms, burst| Leased::of(&limit(requests, unit_ms, burst)).is_some();
    assert!(!lent(100_000, 1_000, 0), "one word serves");
    assert!(lent(200_000, 1_000, 0) && lent(12_000_000, 60_000, 0));
    assert!(!lent(200_000, 1_000, 20), "a small burst cannot be shared out");
    assert!(!lent(0, 1_000, 0) && lent(u64::MAX, 1, 0) && lent(u64::MAX, 0, u64::MAX));
}

#[test]
fn sixty_seconds_of_excess_admit_the_share_and_no_more_than_the_burst_beyond_it() {
    for (shards, requests, burst) in [(1, 150_000, 0), (4, 150_000, 2_000), (4, 120_000, 0), (16, 130_000, 0)]
    {
        let limit = limit(requests, 1_000, burst);
        let share = requests * 60;
        // Not all shards have the same to do, and one has next to nothing.
        let mut offers = vec![3 * requests / shards as u64; shards];
        if shards > 1 {
            offers[0] /= 3;
            offers[1] = 5;
        }
        let admitted = admitted(&limit, &offers, 60, shards as u64);
        assert!(admitted * 100 >= share * 99, "{shards} shards: {admitted} of {share}");
        assert!(admitted <= share + depth(&limit) as u64, "{shards} shards: {admitted} of {share}");
    }
}

#[test]
fn below_the_limit_nothing_is_refused_however_the_shards_differ() {
    let limit = limit(200_000, 1_000, 0);
    let leased = Leased::of(&limit).expect("fast enough to lend");
    let mut rng = Rng::new(4);
    let mut now = 1;
    for _ in 0..2_000_000 {
        now += rng.below_u64(2 * SECOND_NS / 190_000);
        let shard = [0, 0, 0, 1, 1, 2, 3, 40][rng.below(8) as usize];
        assert_eq!(leased.take(shard, Tick(now)), Ok(()), "at {now}");
    }
}

#[test]
fn shards_that_fell_quiet_hold_nobody_up() {
    let limit = limit(200_000, 1_000, 1_000);
    let leased = Leased::of(&limit).expect("fast enough to lend");
    for shard in 1..LEASE_SHARDS_MAX {
        assert_eq!(leased.take(shard, Tick(1)), Ok(()));
    }
    let mut admitted = 0;
    for now in (1..10 * SECOND_NS).step_by(2_000) {
        admitted += u64::from(leased.take(0, Tick(now)).is_ok());
    }
    assert!(admitted * 100 >= 99 * 2_000_000, "{admitted}");
    let quiet = leased.take(1, Tick(10 * SECOND_NS));
    assert_eq!(quiet, Ok(()), "what a shard holds stays its own");
}

/// Real threads, one a shard, on a clock that each moves; some fall quiet for a while.
#[test]
fn no_span_exceeds_rate_and_burst_whatever_the_shards_do() {
    for seed in 0..8 {
        let mut draw = Rng::new(seed);
        let limit = limit(110_000 + draw.below_u64(900_000), 1_000, 512 + draw.below_u64(5_000));
        let leased = Leased::of(&limit).expect("fast enough to lend");
        let clock = AtomicU64::new(1);
        let interval = SECOND_NS / limit.requests;
        let run = |shard: usize| {
            let mut rng = Rng::new(seed * 100 + shard as u64);
            let (mut admitted, mut quiet_until) = (Vec::new(), 0);
            loop {
                let step = [0, 0, 0, 1, interval, rng.below_u64(8 * interval)][rng.below(6) as usize];
                let now = clock.fetch_add(step, Relaxed);
                if now > SECOND_NS / 4 {
                    return admitted;
                }
                if rng.below(2_000) == 0 {
                    quiet_until = now + rng.below_u64(SECOND_NS / 50);
                }
                if now >= quiet_until && leased.take(shard, Tick(now)).is_ok() {
                    admitted.push(now);
                }
            }
        };
        let mut all: Vec<u64> = std::thread::scope(|scope| {
            let shards: Vec<_> = (0..4).map(|shard| scope.spawn(move || run(shard))).collect();
            shards.into_iter().flat_map(|it| it.join().expect("no panic")).collect()
        });
        assert!(all.len() > 1_000, "{limit:?}: {}", all.len());
        let excess = excess(&limit, &mut all);
        assert!(excess <= depth(&limit) + 1e-3, "seed {seed}, {limit:?}: {excess}");
    }
}

#[test]
fn a_share_given_back_can_be_taken_again() {
    let limit = limit(200_000, 1_000, 0);
    let leased = Leased::of(&limit).expect("fast enough to lend");
    let mut taken = 0;
    while leased.take(0, Tick(1)).is_ok() {
        taken += 1;
    }
    assert!((190_000..=200_000).contains(&taken), "{taken} at once");
    leased.give_back();
    let later = Tick(1 + leased.pause_ns);
    let due = (leased.pause_ns * 200_000 / SECOND_NS) as usize;
    let again = (0..1_000).filter(|_| leased.take(0, later).is_ok()).count();
    assert!(again >= due && again > 0, "{again} of {due}");
}
