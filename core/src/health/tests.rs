use super::{Outcome, record, sweep};
use crate::balance::testing::destination;
use crate::config::model::Outlier;
use crate::config::table::Destination;
use crate::time::Tick;

fn watched(count: usize, outlier: Outlier) -> Destination {
    destination(&vec![1; count], |model| model.outlier = Some(outlier))
}

fn all() -> Outlier {
    Outlier { max_ejection_percent: 100, ..Outlier::default() }
}

fn ejected(destination: &Destination) -> Vec<usize> {
    (0..destination.endpoints.len()).filter(|at| destination.endpoints[*at].state.ejected()).collect()
}

fn fail(destination: &Destination, position: usize, outcome: Outcome, times: usize, now: Tick) {
    for _ in 0..times {
        record(destination, position, outcome, now);
    }
}

#[test]
fn five_5xx_in_a_row_eject_and_one_good_answer_starts_over() {
    let it = watched(2, all());
    fail(&it, 0, Outcome::Status(500), 4, Tick::ZERO);
    record(&it, 0, Outcome::Status(404), Tick::ZERO);
    fail(&it, 0, Outcome::Status(500), 4, Tick::ZERO);
    assert_eq!(ejected(&it), [0usize; 0]);
    record(&it, 0, Outcome::Status(599), Tick::ZERO);
    assert_eq!(ejected(&it), [0]);
    assert_eq!(it.state.ejections_total(), 1);
}

#[test]
fn gateway_errors_have_a_threshold_of_their_own() {
    let it = watched(2, Outlier { consecutive_5xx: 0, consecutive_gateway: 3, ..all() });
    for status in [502, 503, 500, 504, 502] {
        record(&it, 0, Outcome::Status(status), Tick::ZERO);
    }
    assert_eq!(ejected(&it), [0usize; 0], "a 500 between them starts over");
    record(&it, 0, Outcome::Broken, Tick::ZERO);
    assert_eq!(ejected(&it), [0], "no answer counts as a 503 without the split");
}

#[test]
fn local_failures_count_apart_where_split() {
    let split = Outlier { split_local: true, consecutive_local: 2, ..all() };
    let it = watched(2, split);
    fail(&it, 0, Outcome::Status(500), 4, Tick::ZERO);
    record(&it, 0, Outcome::Broken, Tick::ZERO);
    assert_eq!(ejected(&it), [0usize; 0], "4 and 1, each below its threshold");
    record(&it, 0, Outcome::TimedOut, Tick::ZERO);
    assert_eq!(ejected(&it), [0]);
    fail(&it, 1, Outcome::Status(500), 4, Tick::ZERO);
    record(&it, 1, Outcome::Broken, Tick::ZERO);
    record(&it, 1, Outcome::Status(500), Tick::ZERO);
    assert_eq!(ejected(&it), [0, 1], "a local failure between them does not reset the 5xx count");
}

#[test]
fn ejections_grow_with_repetition_and_end_at_a_sweep() {
    let it = watched(1, Outlier { base_ejection_ms: 30_000, interval_ms: 10_000, ..all() });
    let mut now = Tick::from_millis(5_000);
    for times in 1..=3 {
        fail(&it, 0, Outcome::Status(500), 5, now);
        assert_eq!(ejected(&it), [0]);
        let until = now.plus_millis(30_000 * times);
        while now < until {
            sweep(&it, now);
            assert_eq!(ejected(&it), [0], "at {now:?}, ejected until {until:?}");
            now = now.plus_millis(5_000);
        }
        now = now.plus_millis(10_000);
        sweep(&it, now);
        assert_eq!(ejected(&it), [0usize; 0]);
    }
    // Every healthy sweep forgives one ejection, also those that nobody came by to make.
    sweep(&it, now.plus_millis(40_000));
    assert_eq!(it.endpoints[0].state.ejection_multiplier.load(std::sync::atomic::Ordering::Relaxed), 0);
    assert_eq!(it.state.watched.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn no_ejection_lasts_longer_than_the_cap() {
    let it = watched(1, Outlier { base_ejection_ms: 200_000, interval_ms: 1_000, ..all() });
    let mut now = Tick::ZERO;
    for _ in 0..4 {
        fail(&it, 0, Outcome::Status(500), 5, now);
        assert_eq!(ejected(&it), [0]);
        now = now.plus_millis(301_000);
        sweep(&it, now);
        assert_eq!(ejected(&it), [0usize; 0]);
    }
}

#[test]
fn the_largest_share_is_strict() {
    for (count, percent, most) in [(3, 10, 0), (10, 10, 1), (3, 34, 1), (3, 33, 0), (4, 50, 2), (5, 100, 5)] {
        let it = watched(count, Outlier { max_ejection_percent: percent, ..Outlier::default() });
        for position in 0..count {
            fail(&it, position, Outcome::Status(503), 5, Tick::ZERO);
        }
        assert_eq!(ejected(&it).len(), most, "{percent} % of {count}");
    }
}

#[test]
fn switching_detection_off_lets_everybody_back_in() {
    let it = watched(2, all());
    fail(&it, 0, Outcome::Status(500), 5, Tick::ZERO);
    let newer = Destination::new(
        std::sync::Arc::new(crate::config::model::Destination { outlier: None, ..(*it.model).clone() }),
        it.endpoints.clone(),
        it.state.clone(),
    );
    sweep(&newer, Tick::from_millis(60_000));
    assert_eq!(ejected(&newer), [0usize; 0]);
}

#[test]
fn the_share_holds_under_concurrent_failures() {
    for round in 0..200 {
        let it = watched(4, Outlier { consecutive_5xx: 1, max_ejection_percent: 50, ..Outlier::default() });
        std::thread::scope(|scope| {
            for position in 0..4 {
                let it = &it;
                scope.spawn(move || fail(it, position, Outcome::Status(500), 20, Tick(round)));
            }
        });
        assert_eq!(ejected(&it).len(), 2);
    }
}

#[test]
fn a_sweep_by_an_older_table_does_not_strand_an_endpoint() {
    let newer = watched(3, Outlier { base_ejection_ms: 1_000, interval_ms: 1_000, ..all() });
    let older = Destination::new(newer.model.clone(), newer.endpoints[..1].to_vec(), newer.state.clone());
    fail(&newer, 2, Outcome::Status(500), 5, Tick::ZERO);
    sweep(&older, Tick::from_millis(1_000));
    let mut rng = crate::rng::Rng::new(1);
    for now in (1_100..4_000).step_by(100).map(Tick::from_millis) {
        sweep(&newer, now);
        crate::balance::pick(&newer, &crate::balance::Avoid::default(), &mut rng);
    }
    assert_eq!(ejected(&newer), [0usize; 0]);
}
