//! Named after the features that the conformance suite of Gateway API has (GATEWAY-HTTP, MESH-HTTP, MESH-GRPC): what each of
//! its tests asks of traffic, asked of the configuration by the code that will carry it out.

use dromon_core::config::model::{HttpAction, ListenerKind, RedirectPort, StringMatch};

use crate::api::Kind;
use crate::mesh::gateway_api::addresses::service_name;
use crate::objects::Key;
use crate::testing::{Seen, gateway, secret, seen, set, sidecar};
use crate::translate::{PortAt, ProxyRole};

mod mesh;

/// A Service of a namespace with port 8080.
pub(super) fn service(name: &str, namespace: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{ports: [{{name: http, port: 8080}}, {{name: grpc, port: 7070}}]}}\n---\n"
    )
}

/// A Gateway of `default` with these listeners.
fn listeners(listeners: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: front, namespace: default}}\nspec: {{gatewayClassName: dromon, listeners: [{listeners}]}}\n---\n"
    )
}

/// A route of `default` on that Gateway.
pub(super) fn route(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: default}}\nspec: {{{spec}}}\n---\n"
    )
}

const HTTP: &str = "{name: http, port: 80, protocol: HTTP}";
const PARENT: &str = "parentRefs: [{name: front}]";

fn at_gateway(text: &str) -> Seen {
    seen(&set(text), &gateway(&[80, 443, 9000]))
}

/// Where each rule leads and under which condition, in short.
pub(super) fn told(seen: &Seen, name: &str) -> Vec<String> {
    let rules = seen.http(name).iter().map(|rule| {
        let condition = |it: &dromon_core::config::model::HttpMatch| {
            let uri = match &it.uri {
                None => "*".to_owned(),
                Some(StringMatch::Exact(text)) => format!("={text}"),
                Some(StringMatch::PathPrefix(text) | StringMatch::Prefix(text)) => format!("{text}*"),
                Some(StringMatch::Regex(text)) => format!("~{text}"),
            };
            let method = match &it.method {
                Some(StringMatch::Exact(text)) => format!(" {text}"),
                _ => String::new(),
            };
            let names: String =
                it.headers.keys().chain(it.query_params.keys()).map(|it| format!(" {it}")).collect();
            let port = it.port.map(|it| format!(" :{it}")).unwrap_or_default();
            format!("{uri}{method}{names}{port}")
        };
        let conditions: Vec<String> = rule.matches.iter().map(condition).collect();
        let conditions = if conditions.is_empty() { "*".to_owned() } else { conditions.join(", ") };
        let to = match &rule.action {
            HttpAction::Route { destinations } => {
                let one = |it: &dromon_core::config::model::WeightedDestination| match it.refuse {
                    Some(status) => format!("{status}@{}", it.weight),
                    None => format!("{}@{}", it.host.split('.').next().unwrap_or_default(), it.weight),
                };
                destinations.iter().map(one).collect::<Vec<_>>().join(" ")
            }
            HttpAction::Redirect(it) => format!("redirect {}", it.code),
            HttpAction::DirectResponse { status, .. } => status.to_string(),
        };
        format!("{conditions} -> {to}")
    });
    rules.collect()
}

fn to(name: &str) -> String {
    format!("backendRefs: [{{name: {name}, port: 8080}}]")
}

fn services(names: &[&str]) -> String {
    names.iter().map(|it| service(it, "default")).collect()
}

/// HTTPRouteServiceTypes, in what needs no pods, and beyond it a Service that is a name outside.
#[test]
fn http_route_service_types() {
    let slice = |of: &str, address: &str| {
        format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {of}-{address}, namespace: default, labels: {{kubernetes.io/service-name: {of}}}}}\naddressType: IPv4\nports: [{{name: http, port: 3000}}]\nendpoints: [{{addresses: [{address}]}}]\n---\n"
        )
    };
    let typed =
        |name: &str, more: &str| service(name, "default").replace("spec: {", &format!("spec: {{{more}, "));
    let rule = |name: &str| {
        format!(
            "{{matches: [{{path: {{type: Exact, value: /{name}}}}}], backendRefs: [{{name: {name}, port: 8080}}]}}"
        )
    };
    let names = ["manual", "headless-manual", "outside"];
    let seen = at_gateway(
        &(listeners(HTTP)
            + &service("manual", "default")
            + &slice("manual", "10.0.0.1")
            + &slice("manual", "10.0.0.2")
            + &typed("headless-manual", "clusterIP: None")
            + &slice("headless-manual", "10.0.0.3")
            + &typed("outside", "type: ExternalName, externalName: api.example.com")
            + &route("HTTPRoute", "types", &format!("{PARENT}, rules: [{}]", names.map(rule).join(", ")))),
    );
    for (name, expected) in names.into_iter().zip([
        &["10.0.0.1:3000", "10.0.0.2:3000"][..],
        &["10.0.0.3:3000"],
        &["api.example.com:8080"],
    ]) {
        assert_eq!(seen.endpoints(&format!("{name}.default.svc.cluster.local"), 8080, ""), expected);
    }
    assert_eq!(seen.http("gateway/80/*").len(), 3, "nothing is dropped");
}

#[test]
fn http_route_simple_same_namespace() {
    let rules = format!("{PARENT}, rules: [{{{}}}]", to("a"));
    let seen =
        at_gateway(&format!("{}{}{}", listeners(HTTP), services(&["a"]), route("HTTPRoute", "r", &rules)));
    assert_eq!(told(&seen, "gateway/80/*"), ["* -> a@1"]);
    let listener = &seen.proxy().listeners[0];
    assert_eq!((listener.logical_port, &listener.kind), (80, &ListenerKind::GatewayHttp));
    assert_eq!(listener.address.port(), 10_080, "the port that the caller found for it");
    assert_eq!(seen.destination("a.default.svc.cluster.local", 8080, "").service.name, "a");
}

#[test]
fn http_route_exact_path_matching_and_path_match_order() {
    let path = |kind: &str, value: &str, name: &str| {
        format!("{{matches: [{{path: {{type: {kind}, value: {value}}}}}], {}}}", to(name))
    };
    let rules = [
        path("PathPrefix", "/match/", "a"),
        path("RegularExpression", "'/match/[a-z]+'", "b"),
        path("PathPrefix", "/match/prefix/one/", "c"),
        path("Exact", "/match/exact", "d"),
        path("PathPrefix", "/match/prefix/", "e"),
        path("Exact", "/match", "f"),
    ];
    let spec = format!("{PARENT}, rules: [{}]", rules.join(", "));
    let text = listeners(HTTP) + &services(&["a", "b", "c", "d", "e", "f"]) + &route("HTTPRoute", "r", &spec);
    let seen = at_gateway(&text);
    let order = [
        "=/match/exact -> d@1",
        "=/match -> f@1",
        "~/match/[a-z]+ -> b@1",
        "/match/prefix/one/* -> c@1",
        "/match/prefix/* -> e@1",
        "/match/* -> a@1",
    ];
    assert_eq!(told(&seen, "gateway/80/*"), order);
}

#[test]
fn http_route_matching_across_routes() {
    let one = format!(
        "{PARENT}, hostnames: [example.com, example.net], rules: [{{matches: [{{path: {{value: /}}}}, {{headers: [{{name: version, value: one}}]}}], {}}}]",
        to("a")
    );
    let two = format!(
        "{PARENT}, hostnames: [example.com], rules: [{{matches: [{{path: {{value: /v2}}}}, {{headers: [{{name: Version, value: two}}]}}], {}}}]",
        to("b")
    );
    let text = listeners(HTTP)
        + &services(&["a", "b"])
        + &route("HTTPRoute", "one", &one)
        + &route("HTTPRoute", "two", &two);
    let seen = at_gateway(&text);
    let com = ["/v2* -> b@1", "* version -> a@1", "* version -> b@1", "* -> a@1"];
    assert_eq!(told(&seen, "gateway/80/example.com"), com);
    assert_eq!(told(&seen, "gateway/80/example.net"), ["* version -> a@1", "* -> a@1"]);
    assert!(seen.http("gateway/80/*").is_empty(), "other names are the listener's, and have no rule");
}

#[test]
fn http_route_matching_method_headers_and_query_params_by_their_number() {
    let rule = |condition: &str, name: &str| format!("{{matches: [{{{condition}}}], {}}}", to(name));
    let rules = [
        rule("queryParams: [{name: animal, value: whale}]", "a"),
        rule("headers: [{name: color, value: blue}]", "b"),
        rule("headers: [{name: color, value: blue}, {name: X, value: '1'}]", "c"),
        rule("method: POST", "d"),
        rule(
            "queryParams: [{name: animal, value: whale}, {name: Size, type: RegularExpression, value: '[0-9]+'}]",
            "e",
        ),
    ];
    let spec = format!("{PARENT}, rules: [{}]", rules.join(", "));
    let text = listeners(HTTP) + &services(&["a", "b", "c", "d", "e"]) + &route("HTTPRoute", "r", &spec);
    let order =
        ["* POST -> d@1", "* color x -> c@1", "* color -> b@1", "* Size animal -> e@1", "* animal -> a@1"];
    assert_eq!(told(&at_gateway(&text), "gateway/80/*"), order);
}

#[test]
fn http_route_listener_hostname_matching_and_hostname_intersection() {
    let listener =
        |name: &str, host: &str| format!("{{name: {name}, port: 80, protocol: HTTP, hostname: '{host}'}}");
    let all = [
        listener("l1", "very.specific.com"),
        listener("l2", "*.wildcard.io"),
        listener("l3", "*.anotherwildcard.io"),
    ];
    let spec = |hosts: &str, name: &str| format!("{PARENT}, hostnames: [{hosts}], rules: [{{{}}}]", to(name));
    let text = listeners(&all.join(", "))
        + &services(&["a", "b", "c"])
        + &route(
            "HTTPRoute",
            "a",
            &spec("non.matching.com, '*.nonmatchingwildcard.io', very.specific.com", "a"),
        )
        + &route("HTTPRoute", "b", &spec("'*.specific.com', foo.wildcard.io, wildcard.io", "b"))
        + &route("HTTPRoute", "c", &spec("'*.anotherwildcard.io'", "c"));
    let seen = at_gateway(&text);
    let mut names = seen.names_of("VirtualHost");
    names.sort();
    let expected = [
        "gateway/80/*.anotherwildcard.io",
        "gateway/80/*.wildcard.io",
        "gateway/80/foo.wildcard.io",
        "gateway/80/very.specific.com",
    ];
    assert_eq!(names, expected);
    assert_eq!(
        told(&seen, "gateway/80/very.specific.com"),
        ["* -> a@1", "* -> b@1"],
        "by name, as both are as old"
    );
    assert_eq!(told(&seen, "gateway/80/foo.wildcard.io"), ["* -> b@1"]);
    assert!(seen.http("gateway/80/*.wildcard.io").is_empty());
}

#[test]
fn gateway_http_listener_isolation() {
    let both =
        "{name: all, port: 80, protocol: HTTP}, {name: one, port: 80, protocol: HTTP, hostname: one.example}";
    let spec = |section: &str, name: &str| {
        format!("parentRefs: [{{name: front, sectionName: {section}}}], rules: [{{{}}}]", to(name))
    };
    let shadowed = format!(
        "parentRefs: [{{name: front, sectionName: all}}], hostnames: [one.example], rules: [{{{}}}]",
        to("c")
    );
    let text = listeners(both)
        + &services(&["a", "c"])
        + &route("HTTPRoute", "a", &spec("all", "a"))
        + &route("HTTPRoute", "c", &shadowed);
    let seen = at_gateway(&text);
    assert_eq!(told(&seen, "gateway/80/*"), ["* -> a@1"]);
    assert!(
        seen.http("gateway/80/one.example").is_empty(),
        "the name is the other listener's, without routes"
    );
}

#[test]
fn http_route_multiple_gateways() {
    let second = listeners(HTTP).replace("name: front", "name: second");
    let on = |name: &str, parents: &str, path: &str, to_name: &str| {
        let spec = format!(
            "parentRefs: [{parents}], rules: [{{matches: [{{path: {{value: {path}}}}}], {}}}]",
            to(to_name)
        );
        route("HTTPRoute", name, &spec)
    };
    let text = listeners(HTTP)
        + &second
        + &services(&["a", "b", "c"])
        + &on("shared", "{name: front}, {name: second}", "/shared", "a")
        + &on("of-front", "{name: front}", "/", "b")
        + &on("of-second", "{name: second}", "/", "c");
    let set = set(&text);
    let key = Key { kind: Kind::KubeGateway, namespace: "default".into(), name: "second".into() };
    let own = service_name(&key);
    let mut identity = gateway(&[80]);
    assert_eq!(seen(&set, &identity).proxy().listeners.len(), 1, "the newer one waits for its Service");
    if let ProxyRole::Gateway(it) = &mut identity.role {
        let at = PortAt { service: own.clone(), number: 80 };
        it.ports.insert(at, "0.0.0.0:20001".parse().expect("an address"));
    }
    let apart = seen(&set, &identity);
    assert_eq!(told(&apart, "gateway/80/*"), ["/shared* -> a@1", "* -> b@1"]);
    assert_eq!(told(&apart, &format!("gateway/{own}/80/*")), ["/shared* -> a@1", "* -> c@1"]);
    let listeners: Vec<_> =
        apart.proxy().listeners.iter().map(|it| (it.logical_port, it.address.port())).collect();
    assert_eq!(listeners, [(80, 10_080), (80, 20_001)]);
}

#[test]
fn http_route_rules_of_a_wildcard_take_what_those_of_a_name_do_not() {
    let wide = format!("{PARENT}, hostnames: ['*.example.com'], rules: [{{{}}}]", to("a"));
    let narrow = format!(
        "{PARENT}, hostnames: [foo.example.com], rules: [{{matches: [{{path: {{value: /foo}}}}], {}}}]",
        to("b")
    );
    let text = listeners(HTTP)
        + &services(&["a", "b"])
        + &route("HTTPRoute", "a", &wide)
        + &route("HTTPRoute", "b", &narrow);
    let seen = at_gateway(&text);
    assert_eq!(told(&seen, "gateway/80/foo.example.com"), ["/foo* -> b@1", "* -> a@1"]);
}

#[test]
fn http_route_weight_and_invalid_backends_by_their_share() {
    let spec = format!(
        "{PARENT}, rules: [{{backendRefs: [{{name: a, port: 8080, weight: 70}}, {{name: gone, port: 8080, weight: 30}}, {{name: a, port: 8080, weight: 0}}]}}, {{matches: [{{path: {{value: /none}}}}]}}]"
    );
    let text = listeners(HTTP) + &services(&["a"]) + &route("HTTPRoute", "r", &spec);
    let seen = at_gateway(&text);
    assert_eq!(told(&seen, "gateway/80/*"), ["/none* -> 500", "* -> a@70 500@30"]);
    assert!(seen.0.missing.is_empty(), "what can never be is not waited for");
}

#[test]
fn http_route_invalid_backend_ref_unknown_kind_and_cross_namespace() {
    let spec = |backend: &str| format!("{PARENT}, rules: [{{backendRefs: [{{{backend}, port: 8080}}]}}]");
    let answers = |backend: &str, more: &str| {
        let text = listeners(HTTP) + &service("b", "other") + &route("HTTPRoute", "r", &spec(backend)) + more;
        told(&at_gateway(&text), "gateway/80/*")
    };
    assert_eq!(answers("kind: NonExistent, name: b", ""), ["* -> 500@1"]);
    assert_eq!(answers("name: b, namespace: other", ""), ["* -> 500@1"]);
    let grant = |from: &str, to: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {{name: g, namespace: other}}\nspec: {{from: [{{group: gateway.networking.k8s.io, kind: {from}, namespace: default}}], to: [{{group: '', kind: Service{to}}}]}}\n"
        )
    };
    assert_eq!(answers("name: b, namespace: other", &grant("HTTPRoute", "")), ["* -> b@1"]);
    assert_eq!(answers("name: b, namespace: other", &grant("HTTPRoute", ", name: b")), ["* -> b@1"]);
    assert_eq!(answers("name: b, namespace: other", &grant("HTTPRoute", ", name: c")), ["* -> 500@1"]);
    assert_eq!(answers("name: b, namespace: other", &grant("GRPCRoute", "")), ["* -> 500@1"]);
}

#[test]
fn http_route_request_and_response_header_modifiers() {
    let filters = "filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Set, value: s}, {name: Host, value: other.example}], add: [{name: X-Add, value: a}], remove: [X-Gone]}}, {type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: X-R, value: r}]}}]";
    let on_backend =
        "filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-B, value: b}]}}]";
    let spec =
        format!("{PARENT}, rules: [{{{filters}, backendRefs: [{{name: a, port: 8080, {on_backend}}}]}}]");
    let seen = at_gateway(&(listeners(HTTP) + &services(&["a"]) + &route("HTTPRoute", "r", &spec)));
    let rule = &seen.http("gateway/80/*")[0];
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(rule.headers.request.set, [pair("x-set", "s")]);
    assert_eq!(rule.headers.request.add, [pair("x-add", "a")]);
    assert_eq!(rule.headers.request.remove, ["x-gone"]);
    assert_eq!(rule.headers.response.add, [pair("x-r", "r")]);
    assert_eq!(rule.rewrite.as_ref().and_then(|it| it.authority.as_deref()), Some("other.example"));
    let HttpAction::Route { destinations } = &rule.action else { panic!("{rule:?}") };
    assert_eq!(destinations[0].headers.request.set, [pair("x-b", "b")]);
}

#[test]
fn http_route_redirects() {
    let redirect = |fields: &str| {
        let filter = format!("filters: [{{type: RequestRedirect, requestRedirect: {{{fields}}}}}]");
        let spec = format!("{PARENT}, rules: [{{matches: [{{path: {{value: /old}}}}], {filter}}}]");
        let seen = at_gateway(&(listeners(HTTP) + &route("HTTPRoute", "r", &spec)));
        match &seen.http("gateway/80/*")[0].action {
            HttpAction::Redirect(it) => it.clone(),
            other => panic!("{other:?}"),
        }
    };
    let host = redirect("hostname: example.org, statusCode: 301");
    assert_eq!(
        (host.authority.as_deref(), host.code, host.port),
        (Some("example.org"), 301, RedirectPort::RequestPort)
    );
    let scheme = redirect("scheme: https");
    assert_eq!(
        (scheme.scheme.as_deref(), scheme.code, scheme.port),
        (Some("https"), 302, RedirectPort::ProtocolDefault)
    );
    assert_eq!(redirect("port: 8083").port, RedirectPort::Number(8083));
    assert_eq!(redirect("path: {type: ReplaceFullPath, replaceFullPath: /x}").uri.as_deref(), Some("/x"));
    assert_eq!(
        redirect("path: {type: ReplacePrefixMatch, replacePrefixMatch: /x}").prefix.as_deref(),
        Some("/x")
    );
}

#[test]
fn http_route_rewrites_timeouts_and_retries() {
    let rule = |fields: &str| {
        let spec = format!("{PARENT}, rules: [{{{fields}, {}}}]", to("a"));
        let seen = at_gateway(&(listeners(HTTP) + &services(&["a"]) + &route("HTTPRoute", "r", &spec)));
        seen.http("gateway/80/*")[0].clone()
    };
    let rewritten =
        |fields: &str| rule(&format!("filters: [{{type: URLRewrite, urlRewrite: {{{fields}}}}}]"));
    let host = rewritten("hostname: one.example").rewrite.expect("a rewrite");
    assert_eq!((host.authority.as_deref(), host.uri, host.uri_regex), (Some("one.example"), None, None));
    let prefix = rewritten("path: {type: ReplacePrefixMatch, replacePrefixMatch: /x}");
    assert_eq!(prefix.rewrite.expect("a rewrite").uri.as_deref(), Some("/x"));
    assert_eq!(
        prefix.matches[0].uri,
        Some(StringMatch::PathPrefix("/".into())),
        "what was matched is replaced"
    );
    let full = rewritten("path: {type: ReplaceFullPath, replaceFullPath: '/x'}").rewrite.expect("a rewrite");
    assert_eq!(full.uri_regex, Some((r"(?s)\A.*\z".to_owned(), "/x".to_owned())));
    let timed = rule("timeouts: {request: 2s, backendRequest: 500ms}");
    let per_try = timed.retries.as_ref().and_then(|it| it.per_try_timeout_ms);
    assert_eq!((timed.timeout_ms, per_try), (Some(2_000), Some(500)));
    let retried = rule("retry: {attempts: 3, codes: [500, 502], backoff: 100ms}").retries.expect("retries");
    assert_eq!((retried.attempts, retried.on.statuses, retried.backoff_ms), (3, vec![500, 502], Some(100)));
    assert_eq!(rule("timeouts: {request: 0s}").timeout_ms, None);
}

#[test]
fn a_filter_that_is_not_carried_out_is_never_skipped() {
    let filter = "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 8080}}}]";
    let spec = format!("{PARENT}, rules: [{{{filter}, {}}}]", to("a"));
    let seen = at_gateway(&(listeners(HTTP) + &services(&["a"]) + &route("HTTPRoute", "r", &spec)));
    assert_eq!(told(&seen, "gateway/80/*"), ["* -> 500"]);
}

#[test]
fn http_route_https_listener() {
    let pems = crate::testing::pems();
    let parts = [("tls.crt", pems.chain.as_str()), ("tls.key", pems.key.as_str())];
    let tls = "{name: https, port: 443, protocol: HTTPS, hostname: shop.example, tls: {certificateRefs: [{name: shop}]}}";
    let spec = format!("{PARENT}, rules: [{{{}}}]", to("a"));
    let text = secret("shop", "default", &parts)
        + &listeners(tls)
        + &services(&["a"])
        + &route("HTTPRoute", "r", &spec);
    let seen = at_gateway(&text);
    assert_eq!(told(&seen, "gateway/443/shop.example"), ["* -> a@1"]);
    let served = &seen.proxy().listeners[0].tls[0];
    assert_eq!(
        (served.hosts.as_slice(), served.credentials.as_slice()),
        (&["shop.example".to_owned()][..], &["default/shop".to_owned()][..])
    );
    assert_eq!(seen.credential("default/shop").cert_chain, pems.chain);
    // Without its certificate the listener is not served at all.
    let seen = at_gateway(&(listeners(tls) + &services(&["a"]) + &route("HTTPRoute", "r", &spec)));
    assert!(seen.proxy().listeners.is_empty());
}

#[test]
fn grpc_route_method_and_header_matching() {
    let rule = |condition: &str, name: &str| {
        format!("{{matches: [{{{condition}}}], backendRefs: [{{name: {name}, port: 7070}}]}}")
    };
    let rules = [
        rule("method: {service: echo.Echo}", "a"),
        rule("method: {service: echo.Echo, method: Ping}", "b"),
        rule("method: {method: Pong}", "c"),
        rule("headers: [{name: version, value: one}]", "d"),
    ];
    let spec =
        format!("{PARENT}, rules: [{}, {{backendRefs: [{{name: gone, port: 7070}}]}}]", rules.join(", "));
    let text = listeners(HTTP) + &services(&["a", "b", "c", "d"]) + &route("GRPCRoute", "r", &spec);
    let order = [
        "=/echo.Echo/Ping -> b@1",
        "~/[^/]+/Pong -> c@1",
        "/echo.Echo/* -> a@1",
        "* version -> d@1",
        "* -> 503@1",
    ];
    assert_eq!(told(&at_gateway(&text), "gateway/80/*"), order, "503 becomes UNAVAILABLE");
}

#[test]
fn tls_and_tcp_routes() {
    let both = "{name: pass, port: 443, protocol: TLS, hostname: '*.example.com', tls: {mode: Passthrough}}, {name: tcp, port: 9000, protocol: TCP}";
    let weights =
        "backendRefs: [{name: a, port: 8080, weight: 3}, {name: b, port: 8080}, {name: gone, port: 8080}]";
    let text = listeners(both)
        + &services(&["a", "b"])
        + &route(
            "TLSRoute",
            "t",
            &format!("{PARENT}, hostnames: [abc.example.com], rules: [{{{}}}]", to("a")),
        )
        + &route("TCPRoute", "c", &format!("{PARENT}, rules: [{{{weights}}}]"));
    let seen = at_gateway(&text);
    let passed = &seen.virtual_host("gateway/443/abc.example.com").tls[0];
    assert_eq!(passed.matches[0].sni_hosts, ["abc.example.com"]);
    assert_eq!(passed.destinations[0].host, "a.default.svc.cluster.local");
    let tcp = &seen.virtual_host("gateway/9000/*").tcp[0];
    let shares: Vec<_> = tcp.destinations.iter().map(|it| (it.weight, it.refuse)).collect();
    assert_eq!(shares, [(3, None), (1, None), (1, Some(503))]);
}

#[test]
fn a_gateway_of_another_role_serves_no_class() {
    let spec = format!("{PARENT}, rules: [{{{}}}]", to("a"));
    let set = set(&(listeners(HTTP) + &services(&["a"]) + &route("HTTPRoute", "r", &spec)));
    let mut egress = gateway(&[80]);
    egress.labels = [("istio".to_owned(), "egressgateway".to_owned())].into();
    assert!(seen(&set, &egress).proxy().listeners.is_empty());
    egress.namespace = "default".to_owned();
    egress.labels.insert("gateway.networking.k8s.io/gateway-name".to_owned(), "front".to_owned());
    assert_eq!(seen(&set, &egress).proxy().listeners.len(), 1, "its own Gateway it serves");
}

#[test]
fn ingress_rules_by_class_path_and_host() {
    let ingress = |name: &str, class: &str, rest: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}, namespace: default}}\nspec: {{ingressClassName: {class}, {rest}}}\n---\n"
        )
    };
    let path = |kind: &str, path: &str, name: &str| {
        format!(
            "{{path: {path}, pathType: {kind}, backend: {{service: {{name: {name}, port: {{name: http}}}}}}}}"
        )
    };
    let paths = [
        path("Prefix", "/", "a"),
        path("Exact", "/foo", "b"),
        path("Prefix", "/foo/bar", "c"),
        path("ImplementationSpecific", "/x.*", "d"),
    ];
    let rules = format!(
        "rules: [{{host: shop.example, http: {{paths: [{}]}}}}, {{host: '*.shop.example', http: {{paths: [{}]}}}}], defaultBackend: {{service: {{name: d, port: {{number: 8080}}}}}}",
        paths.join(", "),
        path("Prefix", "/", "gone")
    );
    let text = services(&["a", "b", "c", "d"])
        + &ingress("one", "dromon", &rules)
        + &ingress("two", "nginx", &rules.replace("shop", "other"));
    let seen = at_gateway(&text);
    let order = ["=/foo -> b@1", "/foo/bar* -> c@1", "/x* -> d@1", "* -> a@1", "* -> d@1"];
    assert_eq!(told(&seen, "gateway/80/shop.example"), order);
    assert_eq!(told(&seen, "gateway/80/*"), ["* -> d@1"]);
    let wildcard = &seen.http("gateway/80/*.shop.example")[0];
    let one_label = r"(?i)[^.]+\.shop\.example(:[0-9]+)?".to_owned();
    assert_eq!(wildcard.matches[0].authority, Some(StringMatch::Regex(one_label)));
    assert!(seen.names_of("VirtualHost").iter().all(|it| !it.contains("other.example")));
    assert_eq!(seen.proxy().listeners.len(), 1, "no certificate, no port 443");
}

#[test]
fn a_backend_tls_policy_holds_at_gateways() {
    let pems = crate::testing::pems();
    let ca: String = pems.ca.lines().map(|line| format!("    {line}\n")).collect();
    let map = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: cas, namespace: default}}\ndata:\n  ca.crt: |\n{ca}---\n"
    );
    let policy = route(
        "BackendTLSPolicy",
        "p",
        "targetRefs: [{group: '', kind: Service, name: a, sectionName: http}], validation: {hostname: a.example, caCertificateRefs: [{group: '', kind: ConfigMap, name: cas}]}",
    );
    let spec = format!("{PARENT}, rules: [{{{}}}]", to("a"));
    let text = map + &policy + &listeners(HTTP) + &services(&["a"]) + &route("HTTPRoute", "r", &spec);
    let seen_there = at_gateway(&text);
    let tls = seen_there.destination("a.default.svc.cluster.local", 8080, "").tls.clone().expect("TLS");
    assert_eq!((tls.sni.as_str(), tls.credential.as_str()), ("a.example", "backend-tls/default/p"));
    assert_eq!(seen_there.credential("backend-tls/default/p").ca.trim(), pems.ca.trim());
    let seen_here = seen(&set(&text), &sidecar(&[]));
    let tls = seen_here.destination("a.default.svc.cluster.local", 8080, "").tls.clone().expect("automatic");
    assert!(tls.sni.is_empty(), "between sidecars the mesh's own TLS is spoken");
}
