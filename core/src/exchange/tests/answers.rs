use super::*;
use crate::config::model::{FaultAbort, FaultDelay, FaultRule, HttpAction, OutboundPolicy, Redirect};

#[test]
fn a_request_is_sent_and_its_answer_sent_on() {
    let mut bench = Mesh::with(|_| ());
    let (mut exchange, step) = bench.begin(&GET);
    let attempt = attempt(step);
    assert!(matches!(attempt.target, Target::Endpoint(address) if address.port() == 9080));
    assert_eq!((attempt.number, attempt.finish_by, attempt.head_by), (1, Tick::NEVER, Tick::NEVER));
    assert_eq!(attempt.connect_by, bench.now.plus_millis(10_000));
    assert_eq!(bench.active(), 1);
    assert!(matches!(bench.handle(&mut exchange, head(200)), Step::Forward));
    assert_eq!(bench.active(), 1, "until the whole response has passed");
    assert!(matches!(bench.handle(&mut exchange, Input::Finished(End::Complete)), Step::Done));
    assert_eq!(bench.active(), 0);
    assert_eq!(
        (exchange.route_name(), exchange.reason(), exchange.flags().label()),
        ("main", None, "-".into())
    );
    assert_eq!(exchange.destination().unwrap().model.name, model::destination_name(9080, "", HOST));
}

#[test]
fn a_destination_that_can_lead_nowhere_answers_its_share_by_itself() {
    let mut bench = Mesh::with(|mesh| {
        let HttpAction::Route { destinations } = &mut mesh.rule.action else { panic!("a route") };
        let host = "Service default/gone".to_owned();
        let refused = model::WeightedDestination { host, weight: 1, refuse: Some(500), ..Default::default() };
        destinations.push(refused);
    });
    let mut refused = 0;
    for _ in 0..200 {
        match bench.begin(&GET).1 {
            Step::Respond(local) => {
                assert_eq!((local.status, local.reason), (500, Reason::NoDestination));
                assert!(local.detail.contains("Service default/gone"), "{}", local.detail);
                refused += 1;
            }
            step => _ = attempt(step),
        }
    }
    assert!((60..140).contains(&refused), "{refused} of 200 for a half");
}

#[test]
fn a_dropped_exchange_returns_what_it_has_counted() {
    let mut bench = Mesh::with(|mesh| mesh.destination.pool.http2_max_requests = Some(1));
    let (exchange, step) = bench.begin(&GET);
    attempt(step);
    let refused = answer(bench.begin(&GET).1);
    assert_eq!((refused.status, refused.reason), (503, Reason::UpstreamOverflow));
    assert_eq!(refused.detail, "reviews.default:9080 is at a cap of its connectionPool");
    drop(exchange);
    assert_eq!((bench.active(), bench.destination().state.requests()), (0, 0));
    attempt(bench.begin(&GET).1);
}

#[test]
fn without_a_healthy_endpoint_the_answer_counts_them() {
    let mut bench = Mesh::with(|mesh| {
        mesh.destination.outlier = Some(model::Outlier {
            consecutive_5xx: 1,
            max_ejection_percent: 100,
            ..model::Outlier::default()
        });
    });
    let destination = bench.destination();
    for position in 0..3 {
        crate::health::record(&destination, position, crate::health::Outcome::Status(500), bench.now);
    }
    let (exchange, step) = bench.begin(&GET);
    let local = answer(step);
    assert_eq!((local.status, exchange.flags().label()), (503, "UH".into()));
    let text = "no healthy endpoint for reviews.default:9080 (3 known, 3 ejected; see \"dromonctl explain\")";
    assert_eq!(local.detail, text);
}

#[test]
fn unknown_hosts_follow_the_outbound_policy() {
    let elsewhere = Sent { authority: "elsewhere.example:8080", ..GET };
    let mut open = Mesh::with(|_| ());
    let (mut exchange, step) = open.begin(&elsewhere);
    assert_eq!(attempt(step).target, Target::Name { host: "elsewhere.example".into(), port: 8080 });
    assert_eq!((exchange.route_name(), exchange.destination().is_none()), ("", true));
    let local = answer(open.handle(&mut exchange, failed(Reason::NameUnresolved, false)));
    assert_eq!((local.status, exchange.flags().label()), (503, "DF".into()), "and no other try");
    assert!(local.detail.starts_with("DNS has told no address of elsewhere.example;"), "{}", local.detail);
    let mut closed = Mesh::with(|mesh| mesh.proxy.outbound_policy = OutboundPolicy::RegistryOnly);
    let local = answer(closed.begin(&elsewhere).1);
    assert_eq!((local.status, local.reason), (502, Reason::UnknownHost));
    let captured = Arrival {
        absolute_form: false,
        original_destination: Some("192.0.2.7:80".parse().unwrap()),
        ..open.arrival(0)
    };
    let to = attempt(open.begin_as(&elsewhere, &captured).1).target;
    assert_eq!(to, Target::Address("192.0.2.7:80".parse().unwrap()));
}

#[test]
fn a_request_no_rule_takes_is_not_found() {
    let mut bench = Mesh::with(|mesh| {
        let uri = Some(model::StringMatch::Exact("/only".to_owned()));
        mesh.rule.matches = vec![model::HttpMatch { uri, ..model::HttpMatch::default() }];
    });
    let local = answer(bench.begin(&GET).1);
    assert_eq!((local.status, local.reason), (404, Reason::NoRoute));
    assert!(local.detail.contains(HOST) && local.detail.contains("/reviews/1"), "{}", local.detail);
}

#[test]
fn rules_and_destinations_that_have_not_come_are_asked_for() {
    let mut bench = Mesh::with(|mesh| mesh.send_rules = false);
    let (mut exchange, step) = bench.begin(&GET);
    let Step::Fetch { kind: model::Kind::VirtualHost, name, until } = step else { panic!("{step:?}") };
    assert_eq!((&*name, until), (HOST, bench.now.plus_millis(crate::limits::FETCH_WAIT_MS)));
    let arrival = bench.arrival(0);
    bench.now = until;
    assert_eq!(answer(bench.handle(&mut exchange, Input::Timer)).reason, Reason::ConfigPending);
    // Run again on a table that still lacks them: the wait is not begun anew.
    assert_eq!(answer(bench.begin_as(&GET, &arrival).1).reason, Reason::ConfigPending);

    let mut bench = Mesh::with(|mesh| mesh.send_destination = false);
    let step = bench.begin(&GET).1;
    assert!(matches!(step, Step::Fetch { kind: model::Kind::Destination, .. }), "{step:?}");
}

#[test]
fn redirects_and_direct_responses_are_answered_here() {
    let mut bench = Mesh::with(|mesh| {
        let uri = Some("/new".to_owned());
        mesh.rule.action = HttpAction::Redirect(Redirect { uri, code: 302, ..Redirect::default() });
    });
    let (exchange, step) = bench.begin(&GET);
    let local = answer(step);
    assert_eq!((local.status, local.location.as_deref()), (302, Some("http://reviews:9080/new?x=2")));
    assert_eq!(exchange.flags().label(), "-");
    let mut bench = Mesh::with(|mesh| {
        mesh.rule.action = HttpAction::DirectResponse { status: 503, body: Some("closed".to_owned()) };
    });
    let local = answer(bench.begin(&GET).1);
    assert_eq!((local.status, local.body.as_deref()), (503, Some("closed")));
}

#[test]
fn an_injected_delay_comes_before_the_abort_and_before_the_try() {
    let fault = |delay, abort| FaultRule {
        delay: Some(FaultDelay { delay_ms: 700, per_million: delay }),
        abort: Some(FaultAbort { status: 418, per_million: abort }),
    };
    let mut bench = Mesh::with(|mesh| mesh.rule.fault = Some(fault(1_000_000, 1_000_000)));
    let (mut exchange, step) = bench.begin(&GET);
    assert!(matches!(step, Step::Wait(until) if until == bench.now.plus_millis(700)), "{step:?}");
    let early = bench.handle(&mut exchange, Input::Timer);
    assert!(matches!(early, Step::Wait(_)), "a timer that fires early waits on");
    let local = answer(bench.wait(&mut exchange, early));
    assert_eq!((local.status, local.reason), (418, Reason::FaultAbort));
    assert_eq!(exchange.flags().to_string(), "DI,FI");
    assert_eq!(bench.active(), 0);

    let mut bench = Mesh::with(|mesh| mesh.rule.fault = Some(fault(1_000_000, 0)));
    let (mut exchange, step) = bench.begin(&GET);
    attempt(bench.wait(&mut exchange, step));
    assert_eq!(exchange.flags().label(), "DI");

    let mut bench = Mesh::with(|mesh| mesh.rule.fault = Some(fault(0, 250_000)));
    let aborted = (0..4_000).filter(|_| matches!(bench.begin(&GET).1, Step::Respond(_))).count();
    assert!((900..1_100).contains(&aborted), "{aborted} of 4000 at 25 %");
}

#[test]
fn the_timeout_begins_when_an_injected_delay_is_over() {
    let delayed = |fault: Option<FaultAbort>| {
        Mesh::with(|mesh| {
            let delay = Some(FaultDelay { delay_ms: 7_000, per_million: 1_000_000 });
            mesh.rule.fault = Some(FaultRule { delay, abort: fault });
            mesh.rule.timeout_ms = Some(500);
        })
    };
    let mut bench = delayed(None);
    let (mut exchange, step) = bench.begin(&GET);
    assert!(matches!(step, Step::Wait(until) if until == bench.now.plus_millis(7_000)));
    let tried = attempt(bench.wait(&mut exchange, step));
    assert_eq!(tried.finish_by, bench.now.plus_millis(500));
    bench.now = tried.finish_by;
    let late = Input::AttemptFailed {
        reason: Reason::RequestTimeout,
        request_bytes_sent: true,
        connection_reused: false,
        replayable: true,
    };
    let local = answer(bench.handle(&mut exchange, late));
    assert_eq!((local.status, local.reason), (504, Reason::RequestTimeout));
    assert_eq!(exchange.flags().to_string(), "DI,UT");

    let mut bench = delayed(Some(FaultAbort { status: 418, per_million: 1_000_000 }));
    let (mut exchange, step) = bench.begin(&GET);
    assert_eq!(answer(bench.wait(&mut exchange, step)).status, 418, "no timeout stands before an abort");
}

#[test]
fn limits_answer_with_the_time_to_wait_and_take_nothing_when_another_refuses() {
    let keyed = model::Limit {
        requests: 1,
        unit_ms: 60_000,
        per: vec![model::LimitKey::Header("end-user".to_owned())],
        ..model::Limit::default()
    };
    let whole = model::Limit { requests: 3, unit_ms: 60_000, ..model::Limit::default() };
    let mut bench = Mesh::with(|mesh| mesh.limits = vec![whole, keyed]);
    let jason = Sent { user: "jason", ..GET };
    let (maria, peter, paul) =
        (Sent { user: "maria", ..GET }, Sent { user: "peter", ..GET }, Sent { user: "paul", ..GET });
    attempt(bench.begin(&jason).1);
    let local = answer(bench.begin(&jason).1);
    assert_eq!((local.status, local.reason, local.retry_after_s), (429, Reason::RateLimited, Some(60)));
    assert_eq!(local.detail, "limit 1 of RateLimit default/per-user is used up");
    attempt(bench.begin(&maria).1);
    attempt(bench.begin(&peter).1);
    let local = answer(bench.begin(&paul).1);
    assert_eq!(
        (local.retry_after_s, local.detail.as_str()),
        (Some(20), "limit 0 of RateLimit default/per-user is used up")
    );
}

#[test]
fn header_changes_and_rewrites_of_the_rule_in_effect_are_told() {
    let set = |name: &str, value: &str| model::HeaderOps {
        request: model::HeaderChange { set: vec![(name.to_owned(), value.to_owned())], ..Default::default() },
        ..model::HeaderOps::default()
    };
    let mut bench = Mesh::with(|mesh| {
        mesh.rule.headers = set("x-rule", "1");
        let uri = Some("/v2".to_owned());
        mesh.rule.rewrite =
            Some(model::Rewrite { uri, authority: Some("other".to_owned()), uri_regex: None });
        let uri = Some(model::StringMatch::Prefix("/reviews".to_owned()));
        mesh.rule.matches = vec![model::HttpMatch { uri, ..model::HttpMatch::default() }];
        let HttpAction::Route { destinations } = &mut mesh.rule.action else { return };
        destinations[0].headers = set("x-destination", "2");
    });
    let (exchange, _step) = bench.begin(&GET);
    assert_eq!(exchange.upstream_path(), Some(&b"/v2/1?x=2"[..]));
    assert_eq!(exchange.upstream_authority().unwrap(), "other");
    let names = exchange.request_changes().map(|changes| changes.map(|it| it.set[0].0.as_str().to_owned()));
    assert_eq!(names, [Some("x-rule".to_owned()), Some("x-destination".to_owned())]);
    assert!(exchange.response_changes().iter().all(Option::is_none));
    assert!(exchange.expose_reason());
}

#[test]
fn an_exchange_is_small() {
    assert!(size_of::<Exchange>() <= 400, "{}", size_of::<Exchange>());
}
