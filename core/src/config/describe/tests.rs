use std::net::SocketAddr;
use std::sync::Arc;

use super::*;
use crate::config::compile::{Answers, Inputs, compile};
use crate::config::model::{self, HttpAction, HttpMatch, HttpRule, ListenerKind, Resource, StringMatch};
use crate::config::snapshot::{Snapshot, Update};
use crate::time::Tick;

/// A table of whole configuration, with these listeners and objects.
fn table(policy: model::OutboundPolicy, listeners: &[ListenerKind], resources: Vec<Resource>) -> Arc<Table> {
    let address = SocketAddr::from(([127, 0, 0, 1], 15001));
    let listener = |(index, kind): (usize, &ListenerKind)| {
        model::Listener::new(format!("l{index}"), address, 8080, kind.clone())
    };
    let listeners = listeners.iter().enumerate().map(listener);
    let proxy = model::Proxy {
        name: "sidecar~a.default".into(),
        listeners: listeners.collect(),
        outbound_policy: policy,
        ..Default::default()
    };
    let mut snapshot = Snapshot::new();
    snapshot.set_whole(true);
    let resources = std::iter::once(Resource::Proxy(proxy)).chain(resources);
    let applied = snapshot.apply(resources.map(|resource| Update { version: "1".into(), resource }), []);
    assert_eq!(applied.rejected, []);
    let answers = Answers::new();
    compile(&Inputs { version: 1, snapshot: &snapshot, answers: &answers, previous: None, seed: 1 })
}

fn arrival(listener: usize, original_destination: Option<&str>) -> Arrival {
    Arrival {
        listener,
        arrived: Tick::ZERO,
        peer: SocketAddr::from(([10, 9, 9, 9], 1)),
        original_destination: original_destination.map(|address| address.parse().unwrap()),
        absolute_form: original_destination.is_none(),
        has_body: false,
        upgrade: false,
        shard: 0,
        server_tls: None,
    }
}

fn get(authority: &str, path: &str) -> Sample {
    Sample { authority: authority.into(), path: path.into(), ..Sample::default() }
}

fn rule(origin: &str, matches: Vec<HttpMatch>, to: &[(&str, u32)]) -> HttpRule {
    let to = to.iter().map(|(subset, weight)| model::WeightedDestination {
        host: "reviews".into(),
        subset: (*subset).into(),
        weight: *weight,
        ..Default::default()
    });
    HttpRule {
        origin: origin.into(),
        matches,
        action: HttpAction::Route { destinations: to.collect() },
        ..Default::default()
    }
}

fn reviews() -> Vec<Resource> {
    let user = StringMatch::Exact("jason".into());
    let jason = HttpMatch { headers: [("end-user".into(), Some(user))].into(), ..Default::default() };
    let admin = HttpMatch { uri: Some(StringMatch::Prefix("/admin".into())), ..Default::default() };
    let post = HttpMatch { method: Some(StringMatch::Exact("POST".into())), ..Default::default() };
    let port = |number, protocol| model::HostPort { number, protocol };
    let name = model::destination_name(9080, "v1", "reviews");
    let endpoint = model::Endpoint {
        address: "10.0.0.1".into(),
        port: 9080,
        workload: Default::default(),
        ..model::Endpoint::default()
    };
    vec![
        Resource::Host(model::Host {
            name: "reviews".into(),
            addresses: vec!["10.96.0.1".into()],
            ports: vec![port(9080, model::Protocol::Http), port(7000, model::Protocol::Tcp)],
            routed: true,
            ..Default::default()
        }),
        Resource::VirtualHost(model::VirtualHost {
            name: "reviews".into(),
            http: vec![
                rule("VirtualService/default/reviews spec.http[0]", vec![jason], &[("v2", 1)]),
                rule("VirtualService/default/reviews spec.http[1]", vec![admin, post], &[("v2", 1)]),
                rule("VirtualService/default/reviews spec.http[2]", vec![], &[("v1", 75), ("v3", 25)]),
            ],
            tcp: vec![model::TcpRule {
                matches: vec![model::TcpMatch {
                    port: Some(7000),
                    source_subnet: Some("10.0.0.0/8".into()),
                    ..Default::default()
                }],
                destinations: vec![model::WeightedDestination {
                    host: "reviews".into(),
                    subset: "v1".into(),
                    port: Some(9080),
                    weight: 1,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }),
        Resource::Destination(model::Destination { name: name.clone(), ..Default::default() }),
        Resource::Endpoints(model::Endpoints { name, endpoints: vec![endpoint] }),
    ]
}

#[test]
fn a_decision_is_explained_rule_by_rule() {
    let table = table(Default::default(), &[ListenerKind::Outbound], reviews());
    let explained = explain(&table, &arrival(0, None), &get("Reviews:9080", "/x?y"));
    assert_eq!(
        explained.to_string(),
        "listener l0, host reviews, port 9080\n  \
         rule 0 (VirtualService/default/reviews spec.http[0]): header end-user is absent, wanted: end-user exact \"jason\"\n  \
         rule 1 (VirtualService/default/reviews spec.http[1]): path \"/x\" is not prefix \"/admin\"; or method \"GET\" is not \
         exact \"POST\"\n  \
         rule 2 (VirtualService/default/reviews spec.http[2]): takes it\n\
         → 75.0% outbound|9080|v1|reviews (1 endpoint, 0 ejected)\n  \
         25.0% outbound|9080|v3|reviews – does not exist: answers 503\n"
    );
    let json = serde_json::to_value(&explained).unwrap();
    assert_eq!(json["rules"][2]["takes"], true);
    assert_eq!(json["outcome"]["destinations"][0]["percent"], 75.0);
    let mut jason = get("reviews:9080", "/");
    jason.headers.push(("End-User".into(), "jason".into()));
    assert_eq!(explain(&table, &arrival(0, None), &jason).rules.len(), 1);
}

#[test]
fn captured_requests_go_by_authority_and_port() {
    let outcome = |policy, authority: &str, to: &str| {
        let table = table(policy, &[ListenerKind::Outbound], reviews());
        explain(&table, &arrival(0, Some(to)), &get(authority, "/")).outcome
    };
    let any = model::OutboundPolicy::AllowAny;
    let only = model::OutboundPolicy::RegistryOnly;
    let forwards = |outcome| matches!(outcome, Outcome::Forward { .. });
    assert!(forwards(outcome(any, "reviews", "10.96.0.1:9080")));
    assert!(forwards(outcome(any, "reviews:9080", "10.1.1.1:9080")));
    assert!(forwards(outcome(any, "10.96.0.1:9080", "10.96.0.1:9080")));
    let passed = Outcome::Passthrough { to: "10.1.1.1:9080".into() };
    assert_eq!(outcome(any, "reviews:80", "10.1.1.1:9080"), passed);
    assert_eq!(outcome(any, "other", "10.1.1.1:9080"), passed);
    assert_eq!(outcome(any, "reviews:x", "10.1.1.1:9080"), passed);
    assert_eq!(outcome(only, "other", "10.1.1.1:9080"), Outcome::UnknownHost);
    assert_eq!(outcome(only, "reviews", "10.96.0.1:9081"), Outcome::UnknownHost);
}

#[test]
fn an_explicit_proxy_resolves_unknown_names() {
    let table = table(Default::default(), &[ListenerKind::Outbound], reviews());
    let outcome = |authority: &str| explain(&table, &arrival(0, None), &get(authority, "/")).outcome;
    assert_eq!(outcome("Example.org"), Outcome::Passthrough { to: "example.org:80".into() });
    assert_eq!(outcome("[::1]:8"), Outcome::Passthrough { to: "[::1]:8".into() });
    assert_eq!(outcome("exa mple"), Outcome::UnknownHost);
    assert_eq!(outcome(""), Outcome::UnknownHost);
}

#[test]
fn a_service_listener_is_for_its_service_whatever_the_authority() {
    let kind = ListenerKind::Service { host: "reviews".into(), port: 9080, protocol: model::Protocol::Http };
    let table = table(model::OutboundPolicy::RegistryOnly, &[kind], reviews());
    let explained = explain(&table, &arrival(0, None), &get("127.0.0.1:1234", "/"));
    assert_eq!((explained.host.as_deref(), explained.port), (Some("reviews"), Some(9080)));
}

#[test]
fn gateways_go_by_the_longest_domain() {
    let virtual_host = |name: &str, domains: &[&str], status| {
        Resource::VirtualHost(model::VirtualHost {
            name: name.into(),
            listener: Some("l0".into()),
            domains: domains.iter().map(ToString::to_string).collect(),
            http: vec![HttpRule {
                matches: vec![HttpMatch { port: Some(8080), ..Default::default() }],
                action: HttpAction::DirectResponse { status, body: None },
                ..Default::default()
            }],
            ..Default::default()
        })
    };
    let table = table(
        Default::default(),
        &[ListenerKind::GatewayHttp, ListenerKind::GatewayHttp],
        vec![
            virtual_host("l0/a", &["a.example.com"], 201),
            virtual_host("l0/b", &["*.example.com"], 202),
            virtual_host("l0/c", &["*"], 203),
        ],
    );
    let status = |listener, authority: &str| match explain(
        &table,
        &arrival(listener, Some("10.0.0.1:80")),
        &get(authority, "/"),
    )
    .outcome
    {
        Outcome::DirectResponse { status } => status,
        Outcome::NoRoute => 404,
        other => panic!("{other}"),
    };
    assert_eq!(status(0, "A.example.com:8080"), 201);
    assert_eq!(status(0, "b.a.example.com"), 202);
    assert_eq!(status(0, "example.com"), 203);
    assert_eq!(status(1, "example.com"), 404);
}

#[test]
fn inbound_goes_to_the_application_without_rules() {
    let kind = ListenerKind::Inbound {
        protocol: model::Protocol::Http,
        target: SocketAddr::from(([127, 78, 0, 1], 9080)),
        service: Some(model::ServiceRef { host: "reviews".into(), ..Default::default() }),
        pool: Default::default(),
        mtls: Default::default(),
    };
    let limit = model::RateLimit {
        name: "default/l".into(),
        scope: model::LimitScope::InboundService { host: "reviews".into() },
        limits: vec![model::Limit {
            requests: 1,
            unit_ms: 1,
            when: Some(HttpMatch { uri: Some(StringMatch::Prefix("/x".into())), ..Default::default() }),
            ..Default::default()
        }],
    };
    let table = table(Default::default(), &[kind], vec![Resource::RateLimit(limit)]);
    let explained = explain(&table, &arrival(0, None), &get("anything", "/x"));
    let Outcome::Forward { destinations } = &explained.outcome else { panic!("{explained}") };
    assert_eq!(destinations[0].destination, "inbound|8080||");
    assert_eq!(destinations[0].endpoints, Some(1));
    assert_eq!(explained.limits, ["default/l limits[0]"]);
    assert!(explain(&table, &arrival(0, None), &get("anything", "/y")).limits.is_empty());
    let path = b"/";
    let Routed::Rule(route) = table.route(&arrival(0, None), &get("a", "/"), path) else { panic!() };
    assert_eq!(route.rule.retries.attempts, 0);
}

#[test]
fn tcp_goes_by_address_and_rules() {
    use crate::route::RoutedTcp;
    let table = table(model::OutboundPolicy::AllowAny, &[ListenerKind::Outbound], reviews());
    let route = |to: &str, peer: &str| {
        let to: SocketAddr = to.parse().unwrap();
        match table.route_tcp(0, Some(to), peer.parse().unwrap()) {
            RoutedTcp::Route(route) => match route.choose(&table, &mut crate::rng::Rng::new(0)) {
                Some(Lookup::Here(it)) => it.model.name.clone(),
                other => format!("{other:?}"),
            },
            RoutedTcp::NoRoute => "no route".into(),
            RoutedTcp::Passthrough(to) => format!("passed to {to}"),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(route("10.96.0.1:7000", "10.1.1.1:1"), "outbound|9080|v1|reviews");
    assert_eq!(route("10.96.0.1:7000", "11.1.1.1:1"), "no route");
    assert_eq!(route("10.96.0.1:7001", "10.1.1.1:1"), "passed to 10.96.0.1:7001");
    assert_eq!(table.protocol(0, Some("10.96.0.1:7000".parse().unwrap())), model::Protocol::Tcp);
    assert_eq!(table.protocol(0, Some("10.96.0.2:7000".parse().unwrap())), model::Protocol::Auto);
}

#[test]
fn weights_are_kept_to() {
    let table = table(Default::default(), &[ListenerKind::Outbound], reviews());
    let sample = get("reviews:9080", "/");
    let Routed::Rule(route) = table.route(&arrival(0, None), &sample, b"/") else { panic!() };
    let mut rng = crate::rng::Rng::new(7);
    let first =
        (0..10_000).filter(|_| matches!(route.choose(&table, &mut rng), Some((Lookup::Here(_), _)))).count();
    // 75 % within five standard deviations.
    assert!((7_283..=7_717).contains(&first), "{first}");
}
