use dromon_core::config::model::{HttpAction, LimitKey, LimitScope, ListenerKind, RedirectPort, StringMatch};

use crate::testing::{Seen, gateway, seen, set, sidecar, workload};

fn object(kind: &str, name: &str, namespace: &str, spec: &str) -> String {
    let group = if kind == "RateLimit" { "policy.dromon.io" } else { "networking.istio.io" };
    let api = if kind == "Service" { "v1".to_owned() } else { format!("{group}/v1") };
    format!(
        "apiVersion: {api}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n---\n"
    )
}

fn gate(name: &str, servers: &str) -> String {
    object(
        "Gateway",
        name,
        "istio-system",
        &format!("{{selector: {{istio: ingressgateway}}, servers: [{servers}]}}"),
    )
}

fn http_server(hosts: &str) -> String {
    format!("{{port: {{number: 80, protocol: HTTP, name: http}}, hosts: [{hosts}]}}")
}

fn rules(name: &str, hosts: &str, gateway: &str, http: &str) -> String {
    object(
        "VirtualService",
        name,
        "default",
        &format!("{{hosts: [{hosts}], gateways: [{gateway}], http: [{http}]}}"),
    )
}

fn view(objects: &[String]) -> Seen {
    seen(&set(&objects.concat()), &gateway(&[80, 443, 5432]))
}

const OK: &str = "{directResponse: {status: 200}}";
const G: &str = "istio-system/g";

#[test]
fn only_what_server_and_rules_have_in_common_is_served() {
    for (server, hosts, expected) in [
        ("'*'", "a.x, '*.y'", vec!["gateway/80/*.y", "gateway/80/a.x"]),
        ("'*.x'", "a.x, b.y", vec!["gateway/80/a.x"]),
        ("'a.x'", "'*.x'", vec!["gateway/80/a.x"]),
        ("'default/*.x'", "a.x", vec!["gateway/80/a.x"]),
        ("'other/*.x'", "a.x", vec![]),
        ("'./*.x'", "a.x", vec![]),
        ("'A.X'", "a.x", vec!["gateway/80/a.x"]),
    ] {
        let found = view(&[gate("g", &http_server(server)), rules("a", hosts, G, OK)]);
        assert_eq!(found.names_of("VirtualHost"), expected, "{server} {hosts}");
    }
}

#[test]
fn a_port_is_opened_where_the_caller_says() {
    let found = view(&[gate("g", &http_server("'*'"))]);
    let listener = &found.proxy().listeners[0];
    assert_eq!((listener.name.as_str(), listener.logical_port), ("gateway/80", 80));
    assert_eq!((listener.address.port(), &listener.kind), (10_080, &ListenerKind::GatewayHttp));
    assert!(!found.proxy().expose_reason, "the world is not told");
    let telling = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: dromon, namespace: istio-system}\n\
                   data: {mesh: 'exposeReasonAtGateways: true'}\n";
    assert!(view(&[gate("g", &http_server("'*'")), telling.to_owned()]).proxy().expose_reason);
    let closed = seen(&set(&gate("g", &http_server("'*'"))), &gateway(&[]));
    assert!(closed.proxy().listeners.is_empty());
    assert!(closed.0.diagnostics[0].message.contains("port 80 is not open"), "{:?}", closed.0.diagnostics);
}

#[test]
fn rules_of_several_objects_for_a_host_are_joined_and_catch_alls_come_last() {
    let found = view(&[
        gate("g", &http_server("'*'")),
        rules(
            "a",
            "h.x",
            G,
            "{name: a1, match: [{uri: {exact: /a}}], directResponse: {status: 200}}, {name: a2, directResponse: {status: 200}}",
        ),
        rules(
            "b",
            "h.x",
            G,
            "{name: b1, match: [{uri: {exact: /b}}], directResponse: {status: 200}}, {name: b2, match: [{uri: {prefix: /}}], directResponse: {status: 200}}",
        ),
    ]);
    let names: Vec<_> = found.http("gateway/80/h.x").iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["a1", "b1", "a2", "b2"]);
    let origins = &found.virtual_host("gateway/80/h.x").origins;
    assert_eq!(*origins, ["Gateway/istio-system/g", "VirtualService/default/a", "VirtualService/default/b"]);
}

#[test]
fn gateways_and_ports_of_conditions_are_settled_here() {
    let http = "{name: mesh, match: [{gateways: [mesh]}], directResponse: {status: 200}}, {name: here, match: [{gateways: [istio-system/g], port: 80}], directResponse: {status: 200}}, {name: port, match: [{port: 81}], directResponse: {status: 200}}";
    let found = view(&[gate("g", &http_server("'*'")), rules("a", "h.x", "istio-system/g, mesh", http)]);
    let rules: Vec<_> =
        found.http("gateway/80/h.x").iter().map(|it| (it.name.as_str(), it.matches.len())).collect();
    assert_eq!(rules, [("here", 0)]);
}

#[test]
fn a_destination_without_port_gets_the_only_one_or_the_gateways() {
    let service =
        |name: &str, ports: &str| object("Service", name, "default", &format!("{{ports: [{ports}]}}"));
    let http = "{match: [{uri: {exact: /1}}], route: [{destination: {host: one}}]}, {route: [{destination: {host: two}}]}";
    let found = view(&[
        service("one", "{name: http, port: 9080}"),
        service("two", "{name: http, port: 80}, {name: http-b, port: 81}"),
        gate("g", &http_server("'*'")),
        rules("a", "h.x", G, http),
    ]);
    let ports: Vec<_> = found
        .http("gateway/80/h.x")
        .iter()
        .map(|it| match &it.action {
            HttpAction::Route { destinations } => destinations[0].port,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ports, [Some(9080), Some(80)]);
    let expected =
        ["outbound|80||two.default.svc.cluster.local", "outbound|9080||one.default.svc.cluster.local"];
    assert_eq!(found.names_of("Destination"), expected, "only what is used");
    assert!(found.names_of("Host").is_empty());
}

#[test]
fn https_redirects_come_before_the_rules() {
    let server = "{port: {number: 80, protocol: HTTP}, hosts: [h.x], tls: {httpsRedirect: true}}";
    let found = view(&[gate("g", server), rules("a", "h.x", G, OK)]);
    let HttpAction::Redirect(redirect) = &found.http("gateway/80/h.x")[0].action else {
        panic!("a redirect")
    };
    assert_eq!(
        (redirect.scheme.as_deref(), redirect.port, redirect.code),
        (Some("https"), RedirectPort::ProtocolDefault, 301)
    );
}

#[test]
fn tcp_servers_relay() {
    let servers = "{port: {number: 5432, protocol: TCP}, hosts: ['*']}";
    let tcp = "{hosts: ['*'], gateways: [istio-system/g], tcp: [{match: [{port: 5432}], route: [{destination: {host: db}}]}, {match: [{port: 1}], route: [{destination: {host: db}}]}]}";
    let found = view(&[
        gate("g", servers),
        object("VirtualService", "a", "default", tcp),
        object("Service", "db", "default", "{ports: [{name: tcp, port: 5432}]}"),
    ]);
    let listeners: Vec<_> = found.proxy().listeners.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(listeners, ["gateway/5432"]);
    let host = found.virtual_host("gateway/5432/*");
    assert_eq!((host.tcp.len(), host.tcp[0].matches.len()), (1, 0));
    assert_eq!(host.listener.as_deref(), Some("gateway/5432"));
}

#[test]
fn a_port_speaks_one_thing_only() {
    let found = view(&[
        gate("a", &http_server("'*'")),
        gate("b", "{port: {number: 80, protocol: TCP}, hosts: ['*']}"),
    ]);
    assert_eq!(found.proxy().listeners[0].kind, ListenerKind::GatewayHttp);
    let [diagnostic] = found.0.diagnostics.as_slice() else { panic!("{:?}", found.0.diagnostics) };
    assert_eq!(diagnostic.object, "Gateway/istio-system/b");
}

const ONE: &str = "limits: [{requests: 5, unit: Minute, burst: 2, per: [{header: End-User}, {sourceAddress: {}}], when: {path: {prefix: /r}, port: 80}}]";

#[test]
fn limits_of_gateways() {
    let limit = |spec: &str| object("RateLimit", "l", "default", &format!("{{{spec}, {ONE}}}"));
    let found = view(&[
        gate("g", &http_server("'*'")),
        limit("targetRefs: [{kind: Gateway, name: g, namespace: istio-system}]"),
    ]);
    let limit_found = found.rate_limit("default/l");
    assert_eq!(limit_found.scope, LimitScope::Gateway { listeners: vec!["gateway/80".to_owned()] });
    let one = &limit_found.limits[0];
    assert_eq!((one.requests, one.unit_ms, one.burst), (5, 60_000, 2));
    assert_eq!(one.per, [LimitKey::Header("end-user".to_owned()), LimitKey::SourceAddress]);
    let when = one.when.as_ref().expect("a condition");
    assert_eq!((&when.uri, when.port), (&Some(StringMatch::Prefix("/r".to_owned())), Some(80)));
    let other = view(&[gate("g", &http_server("'*'")), limit("targetRefs: [{kind: Gateway, name: other}]")]);
    assert!(other.names_of("RateLimit").is_empty());
}

#[test]
fn limits_of_sidecars() {
    let service = |name: &str| {
        object(
            "Service",
            name,
            "default",
            &format!("{{selector: {{app: {name}}}, ports: [{{name: http, port: 80}}]}}"),
        )
    };
    let limit = |name: &str, spec: &str| object("RateLimit", name, "default", &format!("{{{spec}, {ONE}}}"));
    let text = [
        service("a"),
        service("b"),
        limit("in", "targetRefs: [{kind: Service, name: a}]"),
        limit("several", "targetRefs: [{kind: Service, name: a}, {kind: Service, name: b}]"),
        limit("labels", "selector: {matchLabels: {app: a}}, direction: Inbound"),
        limit(
            "out",
            "targetRefs: [{kind: Service, name: b}], selector: {matchLabels: {app: a}}, direction: Outbound",
        ),
    ]
    .concat();
    let mut set = set(&text);
    workload(&mut set, "a-1", &[("app", "a")], "10.0.0.1", 80);
    let scope = |found: &Seen, name: &str| found.rate_limit(name).scope.clone();
    let a = "a.default.svc.cluster.local".to_owned();
    let b = "b.default.svc.cluster.local".to_owned();
    let found = seen(&set, &sidecar(&[("app", "a")]));
    let names =
        ["default/in", "default/labels", "default/out", "default/several/a.default.svc.cluster.local"];
    assert_eq!(found.names_of("RateLimit"), names);
    assert_eq!(scope(&found, "default/in"), LimitScope::InboundService { host: a });
    assert_eq!(scope(&found, "default/labels"), LimitScope::Inbound);
    assert_eq!(scope(&found, "default/out"), LimitScope::Outbound { host: b });
    let found = seen(&set, &sidecar(&[("app", "c")]));
    assert!(found.names_of("RateLimit").is_empty());
}
