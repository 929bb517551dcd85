use super::*;

#[test]
fn half_of_a_life_is_used() {
    let mut rng = Rng::new(1);
    let made = 1_000_000;
    let dues: Vec<f64> =
        (0..1_000).map(|_| due(made - CERTIFICATE_BACKDATE_S, made + 1_000, &mut rng)).collect();
    assert!(dues.iter().all(|due| (450.0..=550.0).contains(&(due - made as f64))));
    let (earliest, latest) =
        dues.iter().fold((f64::MAX, 0.0f64), |(low, high), due| (low.min(*due), high.max(*due)));
    assert!(latest - earliest > 50.0, "renewals are spread");
}

#[test]
fn a_life_of_seconds_is_renewed_within_it() {
    let mut rng = Rng::new(1);
    let due = due(1_000 - CERTIFICATE_BACKDATE_S, 1_010, &mut rng);
    assert!((1_004.0..1_006.0).contains(&due), "{due}");
}

#[test]
fn pauses_grow_and_leave_room_for_more_tries() {
    let mut rng = Rng::new(1);
    let day = Duration::from_secs(86_400);
    let pauses: Vec<Duration> = [1, 3, 6, 40].map(|failures| pause(failures, day, &mut rng)).to_vec();
    assert!(pauses.is_sorted(), "{pauses:?}");
    assert!(pauses[3] <= Duration::from_millis(RENEWAL_BACKOFF_MS_MAX).mul_f64(1.25));
    assert!(pause(40, Duration::from_secs(10), &mut rng) <= Duration::from_millis(1_250));
    assert!(pause(40, Duration::ZERO, &mut rng) >= Duration::from_millis(75), "never a busy loop");
}
