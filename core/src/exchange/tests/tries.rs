use super::*;
use crate::config::model::{Outlier, Retries, RetryBudget, RetryOn};
use crate::exchange::TcpArrival;

fn retries(change: impl FnOnce(&mut Retries)) -> Bench {
    Mesh::with(|mesh| {
        let on = RetryOn { server_error: true, ..RetryOn::default() };
        let mut retries = Retries { attempts: 2, on, ..Retries::default() };
        change(&mut retries);
        mesh.rule.retries = Some(retries);
    })
}

fn endpoint(attempt: &Attempt) -> SocketAddr {
    match attempt.target {
        Target::Endpoint(address) => address,
        ref other => panic!("{other:?} is not an endpoint"),
    }
}

#[test]
fn a_refused_connection_is_tried_elsewhere_until_tries_run_out() {
    let mut bench = Mesh::with(|_| ());
    let (mut exchange, step) = bench.begin(&POST);
    let mut tried = vec![endpoint(&attempt(step))];
    for _ in 0..2 {
        let step = bench.handle(&mut exchange, refused());
        assert_eq!(bench.destination().state.retries(), 1);
        assert!(bench.active() <= 1);
        let step = bench.wait(&mut exchange, step);
        tried.push(endpoint(&attempt(step)));
    }
    tried.sort_unstable();
    tried.dedup();
    assert_eq!(tried.len(), 3, "each try goes to another endpoint");
    let local = answer(bench.handle(&mut exchange, refused()));
    assert_eq!((local.status, exchange.flags().to_string()), (503, "UF,URX".to_owned()));
    assert!(local.detail.starts_with("no connection to reviews.default:9080 at 10.0.0."), "{}", local.detail);
    assert!(local.detail.ends_with(", try 3 of 3"), "{}", local.detail);
    assert_eq!((bench.active(), bench.destination().state.retries()), (0, 0));
}

#[test]
fn by_default_a_request_that_was_sent_is_not_repeated() {
    for sent in [&GET, &POST] {
        let mut bench = Mesh::with(|_| ());
        let (mut exchange, _) = bench.begin(sent);
        let local = answer(bench.handle(&mut exchange, failed(Reason::UpstreamReset, true)));
        assert_eq!((local.status, exchange.flags().label()), (503, "UC".into()));
        let (mut exchange, _) = bench.begin(sent);
        assert!(matches!(bench.handle(&mut exchange, head(503)), Step::Forward));
    }
}

#[test]
fn a_stale_pooled_connection_is_replaced_at_once_without_blame() {
    for listener in [0, 1] {
        let mut bench = Mesh::with(|mesh| {
            mesh.destination.outlier =
                Some(Outlier { consecutive_5xx: 1, max_ejection_percent: 100, ..Outlier::default() });
        });
        let arrival = bench.arrival(listener);
        let (mut exchange, _) = bench.begin_as(&GET, &arrival);
        let input = Input::AttemptFailed {
            reason: Reason::UpstreamReset,
            request_bytes_sent: true,
            connection_reused: true,
            replayable: true,
        };
        assert_eq!(attempt(bench.handle(&mut exchange, input)).number, 2);
        assert_eq!(bench.destination().state.ejections_total(), 0);
    }
}

#[test]
fn a_rule_discards_answers_it_asks_to_repeat_and_forwards_the_last() {
    let mut bench = retries(|_| ());
    let (mut exchange, _) = bench.begin(&POST);
    for number in 2..=3 {
        let Step::Discard(inner) = bench.handle(&mut exchange, head(503)) else { panic!("not discarded") };
        assert!(bench.active() <= 1);
        let step = bench.wait(&mut exchange, *inner);
        assert_eq!(attempt(step).number, number);
        assert_eq!(bench.active(), 1);
    }
    assert!(matches!(bench.handle(&mut exchange, head(503)), Step::Forward));
    assert_eq!(exchange.flags().label(), "URX");
    assert_eq!(bench.destination().state.retries(), 0);
}

#[test]
fn a_discarded_answer_makes_room_under_the_cap_for_the_next_try() {
    let mut bench = Mesh::with(|mesh| {
        mesh.destination.pool.http2_max_requests = Some(1);
        let on = RetryOn { server_error: true, ..RetryOn::default() };
        mesh.rule.retries = Some(Retries { attempts: 1, on, backoff_ms: Some(1), ..Retries::default() });
    });
    let (mut exchange, _) = bench.begin(&GET);
    let Step::Discard(inner) = bench.handle(&mut exchange, head(500)) else { panic!("not discarded") };
    assert_eq!(attempt(*inner).number, 2, "a back-off below a millisecond is none");
    assert_eq!(bench.destination().state.requests(), 1);
}

#[test]
fn switched_off_retries_try_once() {
    let mut bench = retries(|retries| retries.attempts = 0);
    let (mut exchange, _) = bench.begin(&GET);
    answer(bench.handle(&mut exchange, refused()));
    assert_eq!(exchange.flags().label(), "UF");
}

#[test]
fn without_budget_the_failure_stands() {
    let mut bench = Mesh::with(|mesh| {
        mesh.destination.retry_budget = RetryBudget { percent: 0, min_concurrency: 1 };
    });
    let (mut first, _) = bench.begin(&GET);
    let (mut second, _) = bench.begin(&GET);
    let waiting = bench.handle(&mut first, refused());
    assert!(matches!(waiting, Step::Wait(_) | Step::Attempt(_)));
    let local = answer(bench.handle(&mut second, refused()));
    assert_eq!((local.reason, second.flags().to_string()), (Reason::ConnectFailed, "UF,URX".to_owned()));
    assert_eq!(bench.destination().state.retry_overflows_total(), 1);
    drop(first);
    assert_eq!(bench.destination().state.retries(), 0);
}

#[test]
fn tries_and_pauses_stay_within_the_timeout() {
    let mut bench = Mesh::with(|mesh| {
        mesh.rule.timeout_ms = Some(1_000);
        mesh.rule.retries = Some(Retries {
            attempts: 10,
            per_try_timeout_ms: Some(400),
            on: RetryOn { reset: true, ..RetryOn::default() },
            backoff_ms: Some(50),
            allow_previous_hosts: false,
        });
        mesh.destination.retry_budget = RetryBudget { percent: 100, min_concurrency: 10 };
    });
    let deadline = bench.now.plus_millis(1_000);
    let (mut exchange, mut step) = bench.begin(&GET);
    loop {
        step = match step {
            Step::Attempt(attempt) => {
                assert_eq!(attempt.finish_by, deadline);
                assert_eq!(attempt.head_by, bench.now.plus_millis(400).min(deadline));
                bench.now = attempt.head_by;
                bench.handle(&mut exchange, failed(Reason::PerTryTimeout, true))
            }
            Step::Wait(until) => {
                assert!(until <= deadline);
                bench.wait(&mut exchange, step)
            }
            Step::Respond(local) => {
                assert_eq!((local.status, local.reason, bench.now), (504, Reason::RequestTimeout, deadline));
                break;
            }
            other => panic!("{other:?}"),
        };
    }
    assert!((2..=3).contains(&exchange.attempts()), "{} tries", exchange.attempts());
}

#[test]
fn upgrades_are_tried_again_only_before_a_byte_was_sent() {
    let mut bench = retries(|_| ());
    let arrival = Arrival { upgrade: true, ..bench.arrival(0) };
    let (mut exchange, _) = bench.begin_as(&GET, &arrival);
    assert!(!matches!(bench.handle(&mut exchange, refused()), Step::Respond(_)));
    let (mut exchange, _) = bench.begin_as(&GET, &arrival);
    answer(bench.handle(&mut exchange, failed(Reason::UpstreamReset, true)));
}

#[test]
fn errors_eject_an_endpoint_and_the_next_requests_avoid_it() {
    let mut bench = Mesh::with(|mesh| {
        mesh.destination.outlier =
            Some(Outlier { consecutive_5xx: 2, max_ejection_percent: 40, ..Outlier::default() });
    });
    let mut errors = 0;
    while bench.destination().state.ejections_total() == 0 {
        let (mut exchange, step) = bench.begin(&GET);
        let status = if endpoint(&attempt(step)).ip().to_string() == "10.0.0.2" { 500 } else { 200 };
        errors += u32::from(status == 500);
        bench.handle(&mut exchange, head(status));
        bench.handle(&mut exchange, Input::Finished(End::Complete));
    }
    assert_eq!(errors, 2);
    for _ in 0..100 {
        assert_ne!(endpoint(&attempt(bench.begin(&GET).1)).ip().to_string(), "10.0.0.2");
    }
    bench.now = bench.now.plus_millis(31_000);
    let back =
        (0..100).filter(|_| endpoint(&attempt(bench.begin(&GET).1)).ip().to_string() == "10.0.0.2").count();
    assert!(back > 10, "{back} of 100 after its time");
}

#[test]
fn a_client_that_leaves_is_not_the_services_fault() {
    let mut bench = Mesh::with(|_| ());
    let (mut exchange, _) = bench.begin(&GET);
    assert!(matches!(bench.handle(&mut exchange, Input::Finished(End::DownstreamClosed)), Step::Done));
    assert_eq!((exchange.flags().label(), bench.active()), ("DC".into(), 0));
    let (mut exchange, _) = bench.begin(&GET);
    bench.handle(&mut exchange, head(200));
    bench.handle(&mut exchange, Input::Finished(End::UpstreamAborted));
    assert_eq!(exchange.flags().label(), "UC");
}

#[test]
fn inbound_requests_go_to_the_application() {
    let mut bench = Mesh::with(|_| ());
    let arrival = bench.arrival(1);
    let (exchange, step) = bench.begin_as(&GET, &arrival);
    assert_eq!(endpoint(&attempt(step)).to_string(), "127.78.0.1:9080");
    assert!(exchange.destination().is_some());
}

#[test]
fn tcp_connects_elsewhere_when_refused_and_relays_once_connected() {
    let mut bench = Mesh::with(|_| ());
    let peer = "10.9.9.9:4000".parse().unwrap();
    let arrival =
        TcpArrival { listener: 2, original_destination: None, peer, hello: None, arrived: bench.now };
    let (mut exchange, step) = Exchange::begin_tcp(&bench.table, &arrival, bench.now, &mut bench.rng);
    let first = endpoint(&attempt(step));
    let step = bench.handle(&mut exchange, refused());
    let step = bench.wait(&mut exchange, step);
    assert_ne!(endpoint(&attempt(step)), first);
    assert!(matches!(bench.handle(&mut exchange, Input::Connected), Step::Forward));
    assert_eq!((bench.active(), bench.destination().state.retries()), (1, 0));
    bench.handle(&mut exchange, Input::Finished(End::Complete));
    assert_eq!(bench.active(), 0);
}

#[test]
fn an_input_that_does_not_fit_ends_the_exchange_and_leaks_nothing() {
    let mut bench = Mesh::with(|_| ());
    let (mut exchange, _) = bench.begin(&GET);
    assert!(matches!(bench.handle(&mut exchange, Input::Timer), Step::Done));
    assert!(exchange.is_over());
    assert_eq!(bench.active(), 0);
}

/// Runs exchanges of all kinds on a shard of its own; every so often one is dropped mid-way.
fn run_shard(table: &Arc<crate::config::table::Table>, seed: u64, cap: u32) {
    let bench = Bench { table: Arc::clone(table), rng: Rng::new(seed), now: Tick::from_millis(1) };
    let arrival = bench.arrival(0);
    let Bench { mut rng, mut now, .. } = bench;
    let destination = table.destination_named(&model::destination_name(9080, "", HOST)).unwrap();
    let mut under_way: Vec<(Exchange, Step)> = Vec::new();
    for _ in 0..4_000 {
        now = now.plus_millis(1);
        assert!(destination.state.requests() <= cap);
        let path = b"/reviews/1";
        under_way.push(Exchange::begin(table, &arrival, &GET, path, now, &mut rng));
        let place = rng.below(under_way.len() as u32) as usize;
        let (mut exchange, step) = under_way.swap_remove(place);
        let input = match (step, rng.below(4)) {
            (_, 0) => continue,
            (Step::Wait(_), _) => Input::Timer,
            (Step::Attempt(_), 1) => head(503),
            (Step::Attempt(_), 2) => refused(),
            (Step::Attempt(_), _) => head(200),
            _ => Input::Finished(End::Complete),
        };
        let mut step = exchange.handle(input, now.plus_millis(500), &mut rng);
        if let Step::Discard(inner) = step {
            step = *inner;
        }
        exchange.check_invariants();
        if !exchange.is_over() && under_way.len() < 12 {
            under_way.push((exchange, step));
        }
    }
}

#[test]
fn shards_at_once_stay_below_the_caps_and_leave_nothing_counted() {
    let bench = Mesh::with(|mesh| {
        mesh.destination.pool.http2_max_requests = Some(9);
        mesh.destination.outlier =
            Some(Outlier { consecutive_5xx: 3, max_ejection_percent: 67, ..Outlier::default() });
        mesh.rule.retries = Some(Retries {
            attempts: 3,
            on: RetryOn { server_error: true, ..RetryOn::default() },
            ..Retries::default()
        });
    });
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let table = &bench.table;
            scope.spawn(move || run_shard(table, seed, 9));
        }
    });
    let state = Arc::clone(&bench.destination().state);
    assert_eq!((bench.active(), state.requests(), state.retries()), (0, 0, 0));
    assert!(state.overflows_total() > 0 && state.ejections_total() > 0 && state.retry_overflows_total() > 0);
}

#[test]
fn a_sidecar_that_could_not_reach_its_application_is_believed_for_itself_only() {
    let mut bench = Mesh::with(|_| ());
    let (mut exchange, step) = bench.begin(&POST);
    let asked = endpoint(&attempt(step)).to_string();
    let none = || -> Option<&[u8]> { panic!("other answers are not looked through") };
    assert!(matches!(exchange.head(200, None, true, none), Input::ResponseHead { status: 200, .. }));
    let input = exchange.head(503, None, true, || Some(b"10.77.0.1:9080"));
    assert!(matches!(input, Input::ResponseHead { status: 503, .. }), "another's word, passed on");
    let input = exchange.head(503, None, true, || Some(asked.as_bytes()));
    let step = bench.handle(&mut exchange, input);
    let step = bench.wait(&mut exchange, step);
    assert_ne!(endpoint(&attempt(step)).to_string(), asked, "even a POST is tried elsewhere");
}
