use super::*;

#[test]
fn waits_grow_to_the_cap_and_stay_within_their_halves() {
    let mut backoff = Backoff::new(Rng::new(7));
    let mut ceiling = FEED_BACKOFF_MS_MIN;
    for _ in 0..20 {
        let wait = backoff.next_wait().as_millis() as u64;
        assert!((ceiling / 2..=ceiling).contains(&wait), "{wait} ms under a ceiling of {ceiling} ms");
        ceiling = (ceiling * 2).min(FEED_BACKOFF_MS_MAX);
    }
    assert_eq!(ceiling, FEED_BACKOFF_MS_MAX);
}

#[test]
fn an_answer_brings_the_shortest_wait_back() {
    let mut backoff = Backoff::new(Rng::new(7));
    for _ in 0..10 {
        backoff.next_wait();
    }
    backoff.reset();
    assert!(backoff.next_wait() <= Duration::from_millis(FEED_BACKOFF_MS_MIN));
}

#[test]
fn two_proxies_do_not_wait_alike() {
    let mut one = Backoff::new(Rng::new(1));
    let mut other = Backoff::new(Rng::new(2));
    assert!((0..20).any(|_| one.next_wait() != other.next_wait()));
}
