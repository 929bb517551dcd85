use dromon_core::config::model::{
    Balancer, Discovery, FaultAbort, FaultDelay, HttpAction, ListenerKind, LogEncoding, MtlsMode,
    OutboundPolicy, Outlier, Protocol, RedirectPort, Resource, StringMatch,
};

use crate::objects::ObjectSet;
use crate::testing::{Seen, gateway, seen, set, sidecar, workload};
use crate::translate::{ProxyIdentity, ProxyRole, ServiceListener};

const A: &str = "a.default.svc.cluster.local";

/// Services `a` (http 80 → 8080, three versions) and `b` (tcp 5432, http 8081), and more objects.
fn world(more: &str) -> ObjectSet {
    let services = "apiVersion: v1
kind: Service
metadata: {name: a}
spec: {selector: {app: a}, clusterIP: 10.96.0.1, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: b}
spec: {selector: {app: b}, ports: [{name: tcp-db, port: 5432}, {name: http, port: 8081}]}
";
    let mut set = set(&format!("{services}---\n{more}"));
    for (at, version) in ["v1", "v2", "v3"].iter().enumerate() {
        let address = format!("10.0.0.{}", at + 1);
        workload(&mut set, &format!("a-{version}"), &[("app", "a"), ("version", version)], &address, 8080);
    }
    set
}

fn virtual_service(spec: &str) -> String {
    format!("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: a}}\nspec: {spec}\n")
}

fn rule(fields: &str) -> Seen {
    let text = virtual_service(&format!("{{hosts: [a], http: [{fields}]}}"));
    seen(&world(&text), &sidecar(&[("app", "client")]))
}

const TO_A: &str = "route: [{destination: {host: a}}]";

#[test]
fn a_service_without_rules_is_in_the_index_and_has_a_destination() {
    let found = seen(&world(""), &sidecar(&[]));
    let host = found.host(A);
    assert_eq!(host.domains, [A, "a.default.svc", "a.default", "a"]);
    assert_eq!((host.addresses.as_slice(), host.routed), (["10.96.0.1".to_owned()].as_slice(), false));
    assert_eq!(found.endpoints(A, 80, ""), ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"]);
    let destination = found.destination(A, 80, "");
    assert_eq!((destination.balancer, destination.protocol), (Balancer::LeastRequest, Protocol::Http));
    assert_eq!((destination.service.name.as_str(), destination.service.namespace.as_str()), ("a", "default"));
    assert!(destination.outlier.is_none() && found.names_of("VirtualHost").is_empty());
}

#[test]
fn short_names_are_for_the_own_namespace_only() {
    let mut identity = sidecar(&[]);
    identity.namespace = "other".to_owned();
    assert_eq!(seen(&world(""), &identity).host(A).domains, [A, "a.default.svc", "a.default"]);
}

#[test]
fn conditions_are_carried_over() {
    let found = rule(&format!(
        "{{name: n, match: [{{name: m, uri: {{prefix: /x}}, ignoreUriCase: true, scheme: {{exact: http}}, method: {{regex: GET|PUT}}, authority: {{exact: a}}, headers: {{End-User: {{exact: jason}}, x: {{}}}}, withoutHeaders: {{Y: {{}}}}, queryParams: {{Q: {{prefix: z}}}}, port: 80}}], {TO_A}}}"
    ));
    let rule = &found.http(A)[0];
    assert_eq!((rule.name.as_str(), rule.origin.as_str()), ("n", "VirtualService/default/a spec.http[0]"));
    let it = &rule.matches[0];
    assert_eq!(it.uri, Some(StringMatch::Prefix("/x".to_owned())));
    assert_eq!(it.scheme, Some(StringMatch::Exact("http".to_owned())));
    assert_eq!(it.method, Some(StringMatch::Regex("GET|PUT".to_owned())));
    assert_eq!(it.authority, Some(StringMatch::Exact("a".to_owned())));
    assert_eq!(it.headers.get("end-user"), Some(&Some(StringMatch::Exact("jason".to_owned()))));
    assert_eq!((it.headers.get("x"), it.without_headers.get("y")), (Some(&None), Some(&None)));
    assert_eq!(it.query_params.get("Q"), Some(&Some(StringMatch::Prefix("z".to_owned()))));
    assert_eq!((it.port, it.ignore_uri_case), (Some(80), true));
    assert!(found.host(A).routed);
}

#[test]
fn conditions_on_the_client_are_settled_here() {
    let text = format!(
        "{{match: [{{sourceLabels: {{app: client}}}}], name: own, {TO_A}}}, {{match: [{{sourceLabels: {{app: other}}}}], name: other, {TO_A}}}, {{match: [{{sourceNamespace: default}}], name: namespace, {TO_A}}}, {{match: [{{sourceNamespace: far}}, {{gateways: [mesh], uri: {{exact: /a}}}}], name: half, {TO_A}}}"
    );
    let found = rule(&text);
    let names: Vec<_> = found.http(A).iter().map(|it| (it.name.as_str(), it.matches.len())).collect();
    assert_eq!(names, [("own", 0), ("namespace", 0), ("half", 1)]);
}

#[test]
fn weights_ports_and_headers_of_destinations() {
    let found = rule(
        "{route: [{destination: {host: a}, weight: 75}, {destination: {host: b, port: {number: 8081}}, weight: 25, headers: {request: {set: {X: y}}, response: {remove: [Z]}}}]}",
    );
    let HttpAction::Route { destinations } = &found.http(A)[0].action else { panic!("a route") };
    let told: Vec<_> = destinations.iter().map(|it| (it.host.as_str(), it.port, it.weight)).collect();
    assert_eq!(told, [(A, Some(80), 75), ("b.default.svc.cluster.local", Some(8081), 25)]);
    assert_eq!(destinations[1].headers.request.set, [("x".to_owned(), "y".to_owned())]);
    assert_eq!(destinations[1].headers.response.remove, ["z"]);
    let single = rule(&format!("{{{TO_A}}}"));
    let HttpAction::Route { destinations } = &single.http(A)[0].action else { panic!("a route") };
    assert_eq!(destinations[0].weight, 1);
}

#[test]
fn of_several_ports_the_requests_own_decides() {
    let found = rule("{route: [{destination: {host: b}}]}");
    let HttpAction::Route { destinations } = &found.http(A)[0].action else { panic!("a route") };
    assert_eq!(destinations[0].port, None);
    found.destination("b.default.svc.cluster.local", 5432, "");
    found.destination("b.default.svc.cluster.local", 8081, "");
}

#[test]
fn redirects_answers_and_rewrites() {
    let found = rule(
        "{match: [{uri: {exact: /1}}], redirect: {uri: /x, authority: h, scheme: https, derivePort: FROM_PROTOCOL_DEFAULT}}, {match: [{uri: {exact: /2}}], redirect: {port: 8443, redirectCode: 308}}, {match: [{uri: {exact: /3}}], directResponse: {status: 418, body: {string: tea}}}, {match: [{uri: {prefix: /4}}], rewrite: {uri: /n, authority: h}, route: [{destination: {host: a}}]}, {rewrite: {uriRegexRewrite: {match: /a/(.*), rewrite: '/b/\\1'}}, headers: {request: {set: {Host: own, x: y}}}, route: [{destination: {host: a}}]}",
    );
    let rules = found.http(A);
    let HttpAction::Redirect(first) = &rules[0].action else { panic!("a redirect") };
    assert_eq!((first.uri.as_deref(), first.authority.as_deref(), first.code), (Some("/x"), Some("h"), 301));
    assert_eq!((first.scheme.as_deref(), first.port), (Some("https"), RedirectPort::ProtocolDefault));
    let HttpAction::Redirect(second) = &rules[1].action else { panic!("a redirect") };
    assert_eq!((second.uri.as_deref(), second.port, second.code), (None, RedirectPort::Number(8443), 308));
    assert_eq!(rules[2].action, HttpAction::DirectResponse { status: 418, body: Some("tea".to_owned()) });
    let rewrite = rules[3].rewrite.as_ref().expect("a rewrite");
    assert_eq!((rewrite.uri.as_deref(), rewrite.authority.as_deref()), (Some("/n"), Some("h")));
    let rewrite = rules[4].rewrite.as_ref().expect("a rewrite");
    assert_eq!(rewrite.uri_regex, Some(("/a/(.*)".to_owned(), "/b/\\1".to_owned())));
    assert_eq!(rewrite.authority.as_deref(), Some("own"), "a Host that is set is an authority");
    assert_eq!(rules[4].headers.request.set, [("x".to_owned(), "y".to_owned())]);
}

#[test]
fn timeouts_retries_and_faults() {
    let found = rule(&format!(
        "{{match: [{{uri: {{exact: /1}}}}], {TO_A}, timeout: 1.5s, retries: {{attempts: 3, perTryTimeout: 500ms, retryOn: '5xx,gateway-error,reset,retriable-4xx,retriable-status-codes,503,unavailable', backoff: 10ms, retryIgnorePreviousHosts: false}}}}, {{match: [{{uri: {{exact: /2}}}}], {TO_A}, timeout: 0s, retries: {{attempts: 0}}, fault: {{delay: {{fixedDelay: 7s, percentage: {{value: 12.5}}}}, abort: {{httpStatus: 555, percentage: {{value: 100}}}}}}}}, {{{TO_A}}}"
    ));
    let rules = found.http(A);
    assert_eq!(rules[0].timeout_ms, Some(1500));
    let retries = rules[0].retries.as_ref().expect("retries");
    assert_eq!((retries.attempts, retries.per_try_timeout_ms, retries.backoff_ms), (3, Some(500), Some(10)));
    let on = &retries.on;
    assert!(on.server_error && on.gateway_error && on.reset && on.retriable_4xx && !on.connect_failure);
    assert_eq!((on.statuses.as_slice(), on.grpc.as_slice()), ([503].as_slice(), [14].as_slice()));
    assert!(retries.allow_previous_hosts);
    assert_eq!((rules[1].timeout_ms, rules[1].retries.as_ref().map(|it| it.attempts)), (None, Some(0)));
    let fault = rules[1].fault.expect("a fault");
    assert_eq!(fault.delay, Some(FaultDelay { delay_ms: 7000, per_million: 125_000 }));
    assert_eq!(fault.abort, Some(FaultAbort { status: 555, per_million: 1_000_000 }));
    assert_eq!((&rules[2].retries, rules[2].fault), (&None, None));
    let default = found.proxy().default_retries.clone().expect("a default");
    assert_eq!((default.attempts, default.on.grpc.as_slice()), (2, [1, 14].as_slice()));
    assert!(default.on.connect_failure && default.on.refused_stream && !default.on.server_error);
}

#[test]
fn subsets_choose_endpoints_and_policies_are_laid_over_each_other() {
    let rule = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a}
spec:
  host: a
  trafficPolicy:
    loadBalancer: {simple: RANDOM}
    connectionPool: {tcp: {maxConnections: 5, connectTimeout: 30ms}, http: {http1MaxPendingRequests: 1}}
  subsets:
  - name: v1
    labels: {version: v1}
    trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}, outlierDetection: {consecutive5xxErrors: 1, interval: 1s}}
  - name: v2
    labels: {version: v2}
    trafficPolicy:
      portLevelSettings:
      - {port: {number: 80}, outlierDetection: {maxEjectionPercent: 100}}
  - {name: none, labels: {version: v9}}
";
    let route = |subset: &str| {
        format!(
            "{{match: [{{uri: {{exact: /{subset}}}}}], route: [{{destination: {{host: a, subset: {subset}}}}}]}}"
        )
    };
    let rules = [route("v1"), route("v2"), route("none"), route("unknown")].join(", ");
    let text = format!("{rule}---\n{}", virtual_service(&format!("{{hosts: [a], http: [{rules}]}}")));
    let found = seen(&world(&text), &sidecar(&[]));
    assert_eq!(found.endpoints(A, 80, "v1"), ["10.0.0.1:8080"]);
    assert_eq!(found.endpoints(A, 80, "none"), [] as [&str; 0]);
    let v1 = found.destination(A, 80, "v1");
    assert_eq!((v1.balancer, v1.pool.max_connections), (Balancer::RoundRobin, Some(5)));
    let expected = Outlier { consecutive_5xx: 1, interval_ms: 1000, ..Outlier::default() };
    assert_eq!(v1.outlier, Some(expected));
    let v2 = found.destination(A, 80, "v2");
    assert_eq!(
        (v2.balancer, v2.pool.max_connections),
        (Balancer::LeastRequest, None),
        "port settings replace all"
    );
    assert_eq!(v2.outlier.map(|it| it.max_ejection_percent), Some(100));
    let top = found.destination(A, 80, "");
    assert_eq!((top.balancer, top.pool.connect_timeout_ms), (Balancer::Random, Some(30)));
    assert_eq!(top.pool.http1_max_pending_requests, Some(1));
    assert_eq!(
        found.0.missing.iter().collect::<Vec<_>>(),
        ["outbound|80|unknown|a.default.svc.cluster.local"]
    );
    assert_eq!(found.http(A).len(), 4, "the route to what is missing stays");
}

#[test]
fn the_nearest_destination_rule_counts() {
    let rule = |name: &str, namespace: &str, host: &str, balancer: &str, more: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{host: '{host}', trafficPolicy: {{loadBalancer: {{simple: {balancer}}}}}{more}}}\n---\n"
        )
    };
    let root = rule("root", "istio-system", "*.local", "RANDOM", "");
    let service = rule("service", "default", "a", "ROUND_ROBIN", "");
    let hidden = rule("service", "default", "a", "ROUND_ROBIN", ", exportTo: [.]");
    let client = rule("client", "far", A, "PASSTHROUGH", "");
    let selective = rule("selective", "far", A, "RANDOM", ", workloadSelector: {matchLabels: {x: y}}");
    let mut identity = sidecar(&[("x", "y")]);
    identity.namespace = "far".to_owned();
    for (text, expected) in [
        (root.clone(), Balancer::Random),
        (format!("{root}{service}"), Balancer::RoundRobin),
        (format!("{root}{hidden}"), Balancer::Random),
        (format!("{root}{service}{client}"), Balancer::Passthrough),
        (format!("{client}{selective}"), Balancer::Random),
    ] {
        let found = seen(&world(&text), &identity);
        assert_eq!(found.destination(A, 80, "").balancer, expected, "{text}");
    }
    let found = seen(&world(&client), &identity);
    assert_eq!(found.destination(A, 80, "").discovery, Discovery::OriginalDestination);
}

#[test]
fn service_entries_by_resolution() {
    let entry = |name: &str, spec: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n"
        )
    };
    let text = [
        entry("static", "{hosts: [s.example], addresses: [240.0.0.1], ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}], resolution: STATIC, endpoints: [{address: 10.1.0.1}, {address: 10.1.0.2, ports: {http: 9}, weight: 3}]}"),
        entry("dns", "{hosts: [d.example], ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS}"),
        entry("robin", "{hosts: [r.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS_ROUND_ROBIN, endpoints: [{address: x.example}]}"),
        entry("none", "{hosts: ['*.n.example'], ports: [{number: 80, name: http, protocol: HTTP}]}"),
        entry("selecting", "{hosts: [w.example], ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}], resolution: STATIC, workloadSelector: {labels: {app: w}}}"),
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: vm}\nspec: {address: 10.2.0.1, labels: {app: w}, ports: {http: 81}}\n".to_owned(),
    ]
    .concat();
    let mut set = world(&text);
    workload(&mut set, "pod", &[("app", "w")], "10.0.0.9", 8080);
    let found = seen(&set, &sidecar(&[]));
    assert_eq!(found.endpoints("s.example", 80, ""), ["10.1.0.1:8080", "10.1.0.2:9"]);
    assert_eq!(found.host("s.example").addresses, ["240.0.0.1"]);
    let dns = found.destination("d.example", 443, "");
    assert_eq!((dns.discovery, dns.protocol), (Discovery::Dns, Protocol::Tls));
    assert_eq!(found.endpoints("d.example", 443, ""), ["d.example:443"]);
    assert_eq!(found.destination("r.example", 80, "").discovery, Discovery::DnsRoundRobin);
    assert_eq!(found.endpoints("r.example", 80, ""), ["x.example:80"]);
    assert_eq!(found.destination("*.n.example", 80, "").discovery, Discovery::OriginalDestination);
    assert_eq!(found.endpoints("w.example", 80, ""), ["10.0.0.9:8080", "10.2.0.1:81"]);
}

#[test]
fn external_names_are_looked_up() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: e}\nspec: {type: ExternalName, externalName: Out.example., ports: [{name: http, port: 80}]}\n";
    let found = seen(&world(text), &sidecar(&[]));
    let host = "e.default.svc.cluster.local";
    assert_eq!(found.destination(host, 80, "").discovery, Discovery::Dns);
    assert_eq!(found.endpoints(host, 80, ""), ["out.example:80"]);
}

#[test]
fn what_is_not_exported_is_not_seen() {
    let entry = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: s, namespace: far}\nspec: {hosts: [s.example], ports: [{number: 80, name: http, protocol: HTTP}], exportTo: [EXPORT]}\n";
    let seen_with =
        |export: &str| seen(&world(&entry.replace("EXPORT", export)), &sidecar(&[])).names_of("Host");
    assert!(seen_with("'*'").contains(&"s.example".to_owned()));
    assert!(!seen_with("'.'").contains(&"s.example".to_owned()));
    let service = virtual_service("{hosts: [a], exportTo: [far], http: [{directResponse: {status: 200}}]}");
    assert!(!seen(&world(&service), &sidecar(&[])).host(A).routed);
}

#[test]
fn the_oldest_rules_of_a_host_count_and_exact_hosts_come_before_wildcards() {
    let rules = |name: &str, host: &str, status: u16, created: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, creationTimestamp: '{created}'}}\nspec: {{hosts: ['{host}'], http: [{{directResponse: {{status: {status}}}}}]}}\n---\n"
        )
    };
    let text = [
        rules("wild", "*.local", 203, "2020-01-01T00:00:00Z"),
        rules("young", "a", 202, "2024-01-01T00:00:00Z"),
        rules("zold", "a", 201, "2023-01-01T00:00:00Z"),
    ]
    .concat();
    let found = seen(&world(&text), &sidecar(&[]));
    let status = |host: &str| match &found.http(host)[0].action {
        HttpAction::DirectResponse { status, .. } => *status,
        other => panic!("{other:?}"),
    };
    assert_eq!((status(A), status("b.default.svc.cluster.local")), (201, 203));
}

#[test]
fn a_host_of_rules_only_exists_for_http() {
    let text = virtual_service(
        "{hosts: [shop.example], http: [{route: [{destination: {host: b, port: {number: 8081}}}]}]}",
    );
    let found = seen(&world(&text), &sidecar(&[]));
    let host = found.host("shop.example");
    let ports: Vec<_> = host.ports.iter().map(|it| it.number).collect();
    assert_eq!((host.routed, ports.as_slice()), (true, [80, 8081].as_slice()));
    found.destination("b.default.svc.cluster.local", 8081, "");
}

#[test]
fn rules_for_one_protocol_leave_the_other_as_it_was() {
    let text = virtual_service(
        "{hosts: [b], tcp: [{match: [{port: 5432, sourceSubnet: 10.0.0.0/8, destinationSubnets: [10.1.0.0/16]}], route: [{destination: {host: a}}]}]}",
    );
    let found = seen(&world(&text), &sidecar(&[]));
    let host = found.virtual_host("b.default.svc.cluster.local");
    let tcp = &host.tcp[0];
    assert_eq!(tcp.origin, "VirtualService/default/a spec.tcp[0]");
    assert_eq!(
        (tcp.matches[0].port, tcp.matches[0].source_subnet.as_deref()),
        (Some(5432), Some("10.0.0.0/8"))
    );
    assert_eq!(tcp.matches[0].destination_subnets, ["10.1.0.0/16"]);
    assert_eq!((tcp.destinations[0].host.as_str(), tcp.destinations[0].port), (A, Some(80)));
    let HttpAction::Route { destinations } = &host.http[0].action else { panic!("a route") };
    assert_eq!((destinations[0].host.as_str(), destinations[0].port), ("b.default.svc.cluster.local", None));
}

#[test]
fn a_sidecar_narrows_the_index_and_says_what_becomes_of_the_rest() {
    let text = "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: s}\nspec: {egress: [{hosts: ['./a.default.svc.cluster.local']}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}, inboundConnectionPool: {tcp: {maxConnections: 7}}}\n";
    let found = seen(&world(text), &sidecar(&[]));
    assert_eq!(found.names_of("Host"), [A]);
    assert_eq!(found.proxy().outbound_policy, OutboundPolicy::RegistryOnly);
}

fn sidecar_of_a(ports: &[(&str, u16)]) -> ProxyIdentity {
    let mut identity = sidecar(&[("app", "a"), ("version", "v1")]);
    if let ProxyRole::Sidecar(it) = &mut identity.role {
        it.outbound = Some("127.77.0.9:15001".parse().expect("an address"));
        it.ports = ports
            .iter()
            .map(|(name, number)| crate::WorkloadPort {
                name: name.to_string(),
                number: *number,
                protocol: crate::mesh::protocol::of_port(name, None, *number),
            })
            .collect();
        it.clients = vec![ServiceListener {
            host: "b.default.svc.cluster.local".to_owned(),
            port: 5432,
            address: "127.77.0.9:20000".parse().expect("an address"),
        }];
    }
    identity
}

#[test]
fn a_sidecar_listens_for_its_application_its_clients_and_the_mesh() {
    let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\nspec: {host: a, trafficPolicy: {connectionPool: {http: {http2MaxRequests: 3}}}}\n";
    let found = seen(&world(rule), &sidecar_of_a(&[("admin", 9000), ("http", 8080)]));
    let listeners = &found.proxy().listeners;
    let names: Vec<_> = listeners.iter().map(|it| (it.name.as_str(), it.address.to_string())).collect();
    let expected = [
        ("inbound/8080", "127.77.0.9:8080".to_owned()),
        ("inbound/9000", "127.77.0.9:9000".to_owned()),
        ("outbound", "127.77.0.9:15001".to_owned()),
        ("service/b.default.svc.cluster.local:5432", "127.77.0.9:20000".to_owned()),
    ];
    assert_eq!(names, expected);
    let ListenerKind::Inbound { protocol, target, service, pool, .. } = &listeners[0].kind else {
        panic!("inbound")
    };
    assert_eq!((*protocol, target.to_string().as_str()), (Protocol::Http, "127.78.0.9:8080"));
    assert_eq!(service.as_ref().map(|it| it.host.as_str()), Some(A));
    assert_eq!(pool.http2_max_requests, Some(3));
    let ListenerKind::Inbound { protocol, service, .. } = &listeners[1].kind else { panic!("inbound") };
    assert_eq!((*protocol, service), (Protocol::Auto, &None));
    let ListenerKind::Service { protocol, port, .. } = &listeners[3].kind else { panic!("a client's") };
    assert_eq!((*protocol, *port), (Protocol::Tcp, 5432));
}

#[test]
fn equal_inputs_give_equal_views() {
    let text = virtual_service(&format!("{{hosts: [a, '*.x', '*.y'], http: [{{{TO_A}}}]}}"));
    let set = world(&text);
    let first = seen(&set, &sidecar(&[])).0;
    for _ in 0..8 {
        assert_eq!(first, seen(&set, &sidecar(&[])).0);
    }
}

#[test]
fn access_logs_by_settings_and_telemetry() {
    let config = |mesh: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: dromon, namespace: istio-system}}\ndata:\n  mesh: |\n    {mesh}\n---\n"
        )
    };
    let telemetry = |namespace: &str, logging: &str| {
        format!(
            "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {{name: t, namespace: {namespace}}}\nspec: {{accessLogging: [{logging}]}}\n---\n"
        )
    };
    let log = |text: &str| seen(&world(text), &sidecar(&[])).proxy().access_log.clone();
    assert_eq!(log(""), None);
    let on =
        config("{accessLogFile: /tmp/log, accessLogEncoding: JSON, accessLogFormat: '{\"p\": \"%PATH%\"}'}");
    let found = log(&on).expect("on");
    assert_eq!((found.path.as_str(), found.encoding), ("/tmp/log", LogEncoding::Json));
    assert_eq!(found.json.get("p").map(String::as_str), Some("%PATH%"));
    assert_eq!(log(&format!("{on}{}", telemetry("default", "{disabled: true}"))), None);
    let found = log(&telemetry("istio-system", "{providers: [{name: envoy}]}")).expect("on");
    assert_eq!((found.path.as_str(), found.encoding), ("/dev/stdout", LogEncoding::Text));
    let provider = config(
        "{extensionProviders: [{name: f, envoyFileAccessLog: {path: /tmp/f, logFormat: {text: '%PATH%'}}}]}",
    );
    let found = log(&format!("{provider}{}", telemetry("default", "{providers: [{name: f}]}"))).expect("on");
    assert_eq!((found.path.as_str(), found.format.as_str()), ("/tmp/f", "%PATH%"));
}

#[test]
fn settings_of_the_mesh() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n    outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n    connectTimeout: 3s\n    defaultHttpRetryPolicy: {attempts: 0}\n";
    let found = seen(&world(text), &sidecar(&[]));
    assert_eq!(found.proxy().outbound_policy, OutboundPolicy::RegistryOnly);
    assert_eq!(found.proxy().default_retries.as_ref().map(|it| it.attempts), Some(0));
    assert_eq!(found.destination(A, 80, "").pool.connect_timeout_ms, Some(3000));
}

#[test]
fn gateways_are_told_by_their_labels() {
    let text = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: other}\nspec: {selector: {istio: egress}, servers: [{port: {number: 81, protocol: HTTP}, hosts: ['*']}]}\n";
    assert!(seen(&world(text), &gateway(&[81])).proxy().listeners.is_empty());
}

#[test]
fn a_route_to_nowhere_stays_and_is_named() {
    let found = rule("{route: [{destination: {host: nowhere}}]}");
    assert_eq!(found.http(A).len(), 1);
    let missing: Vec<_> = found.0.missing.iter().collect();
    assert_eq!(missing, ["outbound|0||nowhere.default.svc.cluster.local"]);
}

#[test]
fn a_host_within_a_wildcard_entry_is_reached_by_its_own_name() {
    let entry = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: w}\nspec: {hosts: ['*.w.example'], ports: [{number: 80, name: http, protocol: HTTP}]}\n---\n";
    let rules = virtual_service(
        "{hosts: [x.w.example], http: [{timeout: 1s, route: [{destination: {host: x.w.example}}]}]}",
    );
    let found = seen(&world(&format!("{entry}{rules}")), &sidecar(&[]));
    assert_eq!(found.destination("x.w.example", 80, "").discovery, Discovery::OriginalDestination);
    assert!(found.host("x.w.example").routed && !found.host("*.w.example").routed);
}

#[test]
fn a_captured_sidecar_opens_two_ports_for_each_family() {
    let mut identity = sidecar_of_a(&[("http", 8080)]);
    if let ProxyRole::Sidecar(it) = &mut identity.role {
        it.address = "10.1.0.5".parse().expect("an address");
        it.application = it.address;
        (it.outbound, it.clients) = (None, Vec::new());
        it.captured = ["fd00::5", "10.1.0.5"].map(|it| it.parse().expect("an address")).into();
        it.service_addresses = [(A.to_owned(), "198.19.0.1".parse().expect("an address"))].into();
    }
    let strict = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p}\nspec: {mtls: {mode: STRICT}}\n";
    let found = seen(&world(strict), &identity);
    let listeners = &found.proxy().listeners;
    let opened = listeners.iter().filter(|it| !it.captured);
    let opened: Vec<_> = opened.map(|it| (it.name.as_str(), it.address.to_string())).collect();
    let expected = [
        ("inbound", "0.0.0.0:15006".to_owned()),
        ("outbound", "127.0.0.1:15001".to_owned()),
        ("inbound-ipv6", "[::]:15006".to_owned()),
        ("outbound-ipv6", "[::1]:15001".to_owned()),
    ];
    assert_eq!(opened, expected);
    let captured: Vec<_> =
        listeners.iter().filter(|it| it.captured).map(|it| it.address.to_string()).collect();
    assert_eq!(captured, ["10.1.0.5:8080"]);
    let strict = MtlsMode::Strict;
    assert!(listeners.iter().any(|it| it.kind == ListenerKind::InboundCapture { mtls: strict }));
    let host = found.0.resources.iter().find_map(|it| match it {
        Resource::Host(host) if host.name == A => Some(host),
        _ => None,
    });
    assert!(host.expect("the service").addresses.contains(&"198.19.0.1".to_owned()));
}
