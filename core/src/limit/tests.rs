use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::*;
use crate::config::model::{Limit, LimitKey};
use crate::limits::KEYED_BUCKETS_MAX;
use crate::rng::Rng;

const SECOND_NS: u64 = 1_000_000_000;

fn limit(requests: u64, unit_ms: u64, burst: u64) -> Limit {
    Limit { requests, unit_ms, burst, ..Limit::default() }
}

pub(super) fn depth(limit: &Limit) -> f64 {
    (if limit.burst == 0 { limit.requests } else { limit.burst }) as f64
}

/// The most by which any span of the admissions exceeds rate × span.
pub(super) fn excess(limit: &Limit, admitted: &mut [u64]) -> f64 {
    admitted.sort_unstable();
    let per_ns = limit.requests as f64 / (limit.unit_ms as f64 * 1e6);
    let (mut least, mut worst) = (f64::MAX, 0.0f64);
    for (count, at) in admitted.iter().enumerate() {
        let pace = count as f64 - per_ns * *at as f64;
        least = least.min(pace);
        worst = worst.max(pace - least + 1.0);
    }
    worst
}

/// Offers requests from `threads` threads, really at once, on a clock that moves by what `step` draws with each offer.
fn offer(
    limit: &Limit,
    threads: u64,
    until_ns: u64,
    step: impl Fn(&mut Rng) -> u64 + Sync,
    seed: u64,
) -> Vec<u64> {
    let (bucket, rate) = (Bucket::default(), Rate::of(limit));
    let clock = AtomicU64::new(1);
    let run = |thread: u64| {
        let mut rng = Rng::new(seed * 1_000 + thread);
        let mut admitted = Vec::new();
        loop {
            let now = clock.fetch_add(step(&mut rng), Relaxed);
            if now > until_ns {
                return admitted;
            }
            if bucket.take(rate, Tick(now)).is_ok() {
                admitted.push(now);
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

#[test]
fn no_span_exceeds_rate_and_burst_whatever_the_arrivals() {
    for threads in [1, 4] {
        for seed in 0..12 {
            let mut draw = Rng::new(seed);
            let limit =
                limit(1 + draw.below_u64(5_000), [1_000, 60_000][draw.below(2) as usize], draw.below_u64(40));
            let interval = limit.unit_ms * 1_000_000 / limit.requests;
            // Silence, floods in one instant, and arrivals just before and after a share is due.
            let adversary = move |rng: &mut Rng| match rng.below(8) {
                0 => interval - 1,
                1 => interval + 1,
                2 => rng.below_u64(20 * interval),
                3 => 1,
                _ => 0,
            };
            let mut admitted = offer(&limit, threads, 3_000 * interval, adversary, seed);
            assert!(admitted.len() > 100, "{limit:?}: {}", admitted.len());
            let excess = excess(&limit, &mut admitted);
            assert!(excess <= depth(&limit) + 1e-3, "seed {seed}, {threads} threads, {limit:?}: {excess}");
        }
    }
}

#[test]
fn under_steady_excess_the_whole_share_is_admitted() {
    for threads in [1, 4] {
        for (requests, burst, offered) in
            [(100, 20, 1_000), (1_000, 0, 3_000), (50_000, 100, 100_000), (7, 1, 7_000)]
        {
            let limit = limit(requests, 1_000, burst);
            let seconds = 10;
            let pause = 2 * SECOND_NS / offered;
            let admitted =
                offer(&limit, threads, seconds * SECOND_NS, |rng| rng.below_u64(pause), 1).len() as f64;
            let share = (requests * seconds) as f64;
            assert!(admitted >= 0.99 * share, "{limit:?}: {admitted} of {share}");
            assert!(admitted <= share + depth(&limit), "{limit:?}: {admitted} of {share}");
        }
    }
}

#[test]
fn a_unit_without_burst_may_come_at_once_and_then_waits_for_the_pace() {
    let (bucket, rate) = (Bucket::default(), Rate::of(&limit(5, 60_000, 0)));
    let start = Tick(7 * SECOND_NS);
    for _ in 0..5 {
        assert_eq!(bucket.take(rate, start), Ok(()));
    }
    assert_eq!(bucket.take(rate, start), Err(12 * SECOND_NS));
    assert_eq!(bucket.take(rate, start.plus_millis(11_999)), Err(1_000_000));
    assert_eq!(bucket.take(rate, start.plus_millis(12_000)), Ok(()));
    assert!(bucket.take(rate, start.plus_millis(12_000)).is_err());
}

#[test]
fn retry_after_is_in_whole_seconds_rounded_up() {
    let state = LimitState::new(&limit(2, 3_000, 1), 0);
    let ask = |now| state.take(&Plain(""), b"/", source(1), now).map(|_| ());
    assert_eq!(ask(Tick(0)), Ok(()));
    assert_eq!(ask(Tick(0)), Err(Refused { retry_after_s: 2 }));
    assert_eq!(ask(Tick(SECOND_NS)), Err(Refused { retry_after_s: 1 }));
    assert_eq!(ask(Tick(1_499_999_999)), Err(Refused { retry_after_s: 1 }));
    assert_eq!(ask(Tick(1_500_000_000)), Ok(()));
}

#[test]
fn what_was_given_back_can_be_taken_again() {
    let state = LimitState::new(&limit(2, 1_000, 0), 0);
    let first = state.take(&Plain(""), b"/", source(1), Tick(0)).unwrap();
    let _kept = state.take(&Plain(""), b"/", source(1), Tick(0)).unwrap();
    assert!(state.take(&Plain(""), b"/", source(1), Tick(0)).is_err());
    state.give_back(first);
    assert!(state.take(&Plain(""), b"/", source(1), Tick(0)).is_ok());
    assert!(state.take(&Plain(""), b"/", source(1), Tick(0)).is_err());
}

#[test]
fn nothing_passes_a_limit_of_nothing_and_nothing_overflows() {
    for odd in [limit(0, 1_000, 0), limit(0, 0, 5)] {
        assert!(Bucket::default().take(Rate::of(&odd), Tick(5)).is_err());
    }
    for odd in [limit(1, u64::MAX, u64::MAX), limit(u64::MAX, 1, 0), limit(1, 0, 0)] {
        let bucket = Bucket::default();
        for now in [0, 1, u64::MAX / 2, u64::MAX] {
            let _ = bucket.take(Rate::of(&odd), Tick(now));
        }
    }
}

/// A request with one header, `end-user`.
struct Plain(&'static str);

impl RequestView for Plain {
    fn method(&self) -> &[u8] {
        b"GET"
    }
    fn path_and_query(&self) -> &[u8] {
        b"/"
    }
    fn authority(&self) -> &[u8] {
        b""
    }
    fn scheme(&self) -> &[u8] {
        b"http"
    }
    fn header(&self, name: &str) -> Option<&[u8]> {
        (name == "end-user" && !self.0.is_empty()).then_some(self.0.as_bytes())
    }
    fn header_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.header(name).into_iter()
    }
}

fn source(last: u8) -> Source<'static> {
    Source { address: [10, 0, 0, last].into(), principal: "", shard: 0 }
}

#[test]
fn each_key_has_a_bucket_of_its_own() {
    let per = vec![LimitKey::Header("End-User".to_owned()), LimitKey::SourceAddress, LimitKey::Path];
    let state = LimitState::new(&Limit { per, ..limit(2, 60_000, 0) }, 11);
    let passes = |user, address, path: &[u8]| {
        (0..5).filter(|_| state.take(&Plain(user), path, source(address), Tick(9)).is_ok()).count()
    };
    assert_eq!(passes("jason", 1, b"/a"), 2);
    assert_eq!(passes("jason", 1, b"/a"), 0);
    assert_eq!(passes("jason", 2, b"/a"), 2);
    assert_eq!(passes("jason", 1, b"/b"), 2);
    assert_eq!(passes("", 1, b"/a"), 2, "a request without the header has a key too");
    assert_eq!(passes("maria", 1, b"/a"), 2);
    assert_eq!(state.shared_total(), 0);
}

#[test]
fn keyed_buckets_admit_exactly_from_four_threads_at_once() {
    let rate = Rate::of(&limit(10, 1_000, 0));
    for round in 0..20 {
        let table = KeyedBuckets::default();
        let admitted: Vec<AtomicU64> = (0..64).map(|_| AtomicU64::new(0)).collect();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (table, admitted) = (&table, &admitted);
                scope.spawn(move || {
                    let mut rng = Rng::new(round * 10 + thread);
                    for _ in 0..4_000 {
                        let key = rng.below(64);
                        let hash = Rng::new(u64::from(key)).next_u64();
                        if table.take(hash, rate, Tick(1)).is_ok() {
                            admitted[key as usize].fetch_add(1, Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(table.shared_total(), 0);
        for (key, admitted) in admitted.iter().enumerate() {
            assert_eq!(admitted.load(Relaxed), 10, "key {key} in round {round}");
        }
    }
}

#[test]
fn a_full_bucket_makes_room_for_another_client() {
    let rate = Rate::of(&limit(1, 1_000, 0));
    let table = KeyedBuckets::default();
    let mut rng = Rng::new(5);
    for second in 0..20 {
        for _ in 0..KEYED_BUCKETS_MAX / 16 {
            assert_eq!(table.take(rng.next_u64(), rate, Tick(second * SECOND_NS)), Ok(()));
        }
    }
    assert_eq!(table.shared_total(), 0, "clients of the past are in nobody's way");
}

#[test]
fn at_capacity_made_up_keys_get_no_more_than_the_tables_buckets() {
    let rate = Rate::of(&limit(2, 1_000, 0));
    let table = KeyedBuckets::default();
    let mut rng = Rng::new(6);
    let offered = 4 * KEYED_BUCKETS_MAX;
    let admitted = (0..offered).filter(|_| table.take(rng.next_u64(), rate, Tick(1)).is_ok()).count();
    assert!(admitted <= 2 * KEYED_BUCKETS_MAX, "{admitted}");
    assert!(admitted > KEYED_BUCKETS_MAX, "{admitted}");
    assert!(table.shared_total() > 0);
}
