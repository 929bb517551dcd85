use super::*;
use crate::balance::testing::destination;
use crate::config::model::{Retries, RetryBudget, RetryOn};
use crate::fault::Reason;
use crate::rng::Rng;

const GET: Method = Method { idempotent: true, tunnel: false };
const POST: Method = Method { idempotent: false, tunnel: false };
const UPGRADE: Method = Method { idempotent: true, tunnel: true };

fn policy(configured: bool, on: RetryOn) -> (Retries, bool) {
    (Retries { attempts: 2, on, ..Retries::default() }, configured)
}

fn retries(policy: &(Retries, bool), failure: Failure, method: Method) -> bool {
    Policy { retries: &policy.0, configured: policy.1 }.after_failure(failure, method)
}

fn sent(reason: Reason) -> Failure {
    Failure { reason, request_bytes_sent: true, connection_reused: false, replayable: true }
}

fn unsent(reason: Reason) -> Failure {
    Failure { request_bytes_sent: false, ..sent(reason) }
}

#[test]
fn by_default_only_what_was_not_processed_is_repeated() {
    let default = policy(false, RetryOn::default());
    for method in [GET, POST, UPGRADE] {
        assert!(retries(&default, unsent(Reason::ConnectFailed), method));
        assert!(retries(&default, unsent(Reason::ConnectTimeout), method));
    }
    assert!(retries(&default, sent(Reason::UpstreamRefused), POST));
    let lost = Failure { replayable: false, ..unsent(Reason::ConnectFailed) };
    assert!(!retries(&default, lost, POST), "its body would go out without its start");
    for reason in
        [Reason::UpstreamReset, Reason::PerTryTimeout, Reason::UpstreamProtocol, Reason::UpstreamOverflow]
    {
        assert!(!retries(&default, sent(reason), POST), "{reason:?}");
        assert!(!retries(&default, sent(reason), GET), "{reason:?}");
    }
}

#[test]
fn a_reused_connection_that_was_just_closed_is_replaced_where_that_is_safe() {
    let race = Failure { connection_reused: true, ..sent(Reason::UpstreamReset) };
    for policy in [
        policy(false, RetryOn::default()),
        policy(true, RetryOn { retriable_4xx: true, ..RetryOn::default() }),
    ] {
        assert!(retries(&policy, race, GET));
        assert!(!retries(&policy, race, POST), "its bytes may have been processed");
        assert!(retries(&policy, Failure { request_bytes_sent: false, ..race }, POST));
        assert!(!retries(&policy, Failure { replayable: false, ..race }, GET));
        assert!(!retries(&policy, race, UPGRADE));
    }
}

#[test]
fn a_rule_repeats_on_its_conditions_whatever_the_method() {
    let on = |change: fn(&mut RetryOn)| {
        let mut on = RetryOn::default();
        change(&mut on);
        policy(true, on)
    };
    let server_error = on(|on| on.server_error = true);
    let gateway = on(|on| on.gateway_error = true);
    let reset = on(|on| on.reset = true);
    let connect = on(|on| on.connect_failure = true);
    let refused = on(|on| on.refused_stream = true);
    let conflict = on(|on| on.retriable_4xx = true);
    for (reason, covered) in [
        (Reason::ConnectFailed, [true, true, true, true, false, false]),
        (Reason::UpstreamRefused, [true, true, true, false, true, false]),
        (Reason::UpstreamReset, [true, true, true, false, false, false]),
        (Reason::PerTryTimeout, [true, true, true, false, false, false]),
        (Reason::UpstreamProtocol, [true, true, true, false, false, false]),
        (Reason::RequestTimeout, [false; 6]),
        (Reason::UpstreamOverflow, [false; 6]),
        (Reason::DownstreamClosed, [false; 6]),
    ] {
        for (policy, covered) in
            [&server_error, &gateway, &reset, &connect, &refused, &conflict].iter().zip(covered)
        {
            assert_eq!(retries(policy, sent(reason), POST), covered, "{reason:?} with {policy:?}");
            assert!(!retries(policy, Failure { replayable: false, ..sent(reason) }, POST));
        }
    }
    let unnamed = policy(true, RetryOn::default());
    assert!(retries(&unnamed, sent(Reason::ConnectFailed), POST));
    assert!(!retries(&unnamed, sent(Reason::UpstreamReset), POST));
}

#[test]
fn answers_are_repeated_on_a_rules_statuses() {
    let after = |policy: &(Retries, bool), status, grpc, method| {
        Policy { retries: &policy.0, configured: policy.1 }.after_response(status, grpc, true, method)
    };
    let named = policy(
        true,
        RetryOn { gateway_error: true, statuses: vec![418], grpc: vec![8], ..RetryOn::default() },
    );
    for (status, wanted) in [(200, false), (418, true), (500, false), (502, true), (504, true), (409, false)]
    {
        assert_eq!(after(&named, status, None, POST), wanted, "{status}");
    }
    assert!(after(&named, 200, Some(8), POST));
    assert!(!after(&named, 200, Some(14), POST));
    let server_error = policy(true, RetryOn { server_error: true, ..RetryOn::default() });
    assert!(after(&server_error, 500, None, POST) && after(&server_error, 599, None, POST));
    assert!(!after(&server_error, 500, None, UPGRADE));
    assert!(!Policy { retries: &server_error.0, configured: true }.after_response(500, None, false, POST));
    let default = policy(false, RetryOn::default());
    assert!(!after(&default, 503, None, GET));
    assert!(!after(&default, 200, Some(14), GET), "an answer proves that it was processed");
    let eager = policy(false, RetryOn { server_error: true, statuses: vec![503], ..RetryOn::default() });
    assert!(!after(&eager, 503, None, GET), "a default policy's conditions reach no further");
    assert!(!retries(&eager, sent(Reason::UpstreamReset), GET));
}

#[test]
fn methods_are_classified_by_their_exact_names() {
    for (method, idempotent) in
        [("GET", true), ("DELETE", true), ("get", false), ("POST", false), ("PATCH", false)]
    {
        assert_eq!(Method::of(method.as_bytes(), false), Method { idempotent, tunnel: false });
    }
    assert!(Method::of(b"CONNECT", false).tunnel && Method::of(b"GET", true).tunnel);
}

#[test]
fn tries_are_capped_whatever_a_rule_asks_for() {
    let tries = |attempts| {
        Policy { retries: &Retries { attempts, ..Retries::default() }, configured: true }.tries_max()
    };
    assert_eq!((tries(0), tries(2), tries(u32::MAX)), (1, 3, crate::limits::ATTEMPTS_MAX));
}

#[test]
fn backoff_doubles_from_its_base_up_to_ten_times_with_full_jitter() {
    let mut rng = Rng::new(3);
    for (base, retry, below) in [
        (None, 1, 25),
        (None, 2, 50),
        (None, 3, 100),
        (None, 4, 200),
        (None, 5, 250),
        (None, 40, 250),
        (Some(7), 2, 14),
    ] {
        let drawn: Vec<u64> = (0..2_000).map(|_| backoff_ms(base, retry, &mut rng)).collect();
        assert!(drawn.iter().all(|ms| *ms < below), "retry {retry}");
        assert!(drawn.iter().any(|ms| *ms >= below * 9 / 10) && drawn.iter().any(|ms| *ms <= below / 10));
    }
}

#[test]
fn the_budget_is_a_share_of_active_requests_with_a_floor_and_a_cap() {
    let with = |active: u32, percent, min_concurrency, max_retries| {
        let it = destination(&[1, 1], |model| {
            model.retry_budget = RetryBudget { percent, min_concurrency };
            model.pool.max_retries = max_retries;
        });
        it.endpoints[1].state.active.store(active, std::sync::atomic::Ordering::Relaxed);
        let taken: Vec<_> = std::iter::from_fn(|| RetryToken::acquire(&it)).take(1_000).collect();
        assert_eq!(it.state.retries() as usize, taken.len());
        let count = taken.len();
        drop(taken);
        assert_eq!(it.state.retries(), 0);
        count
    };
    assert_eq!(with(0, 20, 3, None), 3);
    assert_eq!(with(100, 20, 3, None), 20);
    assert_eq!(with(100, 20, 3, Some(2)), 2);
    assert_eq!(with(100, 20, 3, Some(0)), 0);
    assert_eq!(with(100, 0, 0, None), 0);
}

#[test]
fn the_budget_holds_from_four_threads_at_once() {
    let it = destination(&[1], |model| model.retry_budget = RetryBudget { percent: 10, min_concurrency: 1 });
    it.endpoints[0].state.active.store(40, std::sync::atomic::Ordering::Relaxed);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    let held: Vec<_> = (0..5).map(|_| RetryToken::acquire(&it)).collect();
                    assert!(it.state.retries() <= 4);
                    drop(held);
                }
            });
        }
    });
    assert_eq!(it.state.retries(), 0);
    assert!(it.state.retry_overflows_total() > 0);
}
