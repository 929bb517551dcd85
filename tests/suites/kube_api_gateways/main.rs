//! Gateway API and Ingress from `kubectl apply` to the bytes: over a real API server, by the controller with the rights of an
//! installation, at a gateway's proxy. Functions are named after the tests of Gateway API's conformance suite, whose features
//! they ask for (profile GATEWAY-HTTP).

use std::net::SocketAddr;

use dromon_tests::certs::{WebCa, run};
use dromon_tests::echo::who;
use dromon_tests::eventually;

mod conformance;
mod world;

use world::{SHARED, World, ask, backends, condition, expect};

fn gateway(name: &str, listeners: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {name}, namespace: infra}}
spec: {{gatewayClassName: dromon, listeners: [{listeners}]}}
---
"
    )
}

fn route(name: &str, namespace: &str, parents: &str, rest: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{parentRefs: [{parents}], {rest}}}
---
"
    )
}

/// A backend that answers.
fn to(name: &str) -> String {
    format!("{{group: networking.istio.io, kind: Hostname, name: {name}.backend.example, port: 80}}")
}

fn backend(name: &str) -> String {
    format!("backendRefs: [{}]", to(name))
}

/// A condition and the backend it leads to.
fn rule(condition: &str, name: &str) -> String {
    format!("{{matches: [{{{condition}}}], {}}}", backend(name))
}

fn path(kind: &str, value: &str) -> String {
    format!("path: {{type: {kind}, value: {value}}}")
}

const SAME: &str = "{name: same-namespace}";

/// The route of a test at the Gateway `same-namespace`, by a hostname of its own.
fn named(name: &str, rules: &[String]) -> String {
    route(name, "infra", SAME, &format!("hostnames: [{name}.example], rules: [{}]", rules.join(", ")))
}

#[test]
fn gateway_http() {
    let Some(world) = World::start() else { return };
    world.apply(&backends());
    world.apply(&gateway("same-namespace", "{name: http, port: 80, protocol: HTTP}"));
    let front = world.address("same-namespace", 80);
    http_route_simple_same_namespace(&world, front);
    matching(&world, front);
    http_route_weight(&world, front);
    filters(&world, front);
    invalid_backends(&world, front);
    http_route_reference_grants(&world, front);
    http_route_multiple_gateways(&world, front);
    http_route_parents(&world);
    hostnames(&world);
    http_route_https_listener(&world);
    observed_generation_bump(&world, front);
    conformance::all(&world, front);
    ingress(&world, front);
}

fn http_route_simple_same_namespace(world: &World, front: SocketAddr) {
    world.apply(&named("simple", &[format!("{{{}}}", backend("v1"))]));
    expect(front, "simple.example", "/", &[], "v1");
    world.told("simple", "infra", "Accepted", "True Accepted");
    world.told("simple", "infra", "ResolvedRefs", "True ResolvedRefs");
    assert_eq!(who(&ask(front, "nobody.example", "/", &[])), "404");
}

/// Routes for [`matching`].
fn matching_routes() -> String {
    let exact = [rule(&path("Exact", "/one"), "v1"), rule(&path("Exact", "/two"), "v2")];
    let header =
        |name: &str, value: &str, to: &str| rule(&format!("headers: [{{name: {name}, value: {value}}}]"), to);
    let headers = [
        header("version", "one", "v1"),
        header("version", "two", "v2"),
        rule("headers: [{name: version, value: two}, {name: color, value: orange}]", "v1"),
        header("color", "blue", "v1"),
    ];
    let both = |prefix: &str, version: &str, to: &str| {
        let header = format!("headers: [{{name: version, value: {version}}}]");
        format!("{{matches: [{{{}}}, {{{header}}}], {}}}", path("PathPrefix", prefix), backend(to))
    };
    let order = [
        rule(&path("PathPrefix", "/match/"), "v1"),
        rule(&path("PathPrefix", "/match/prefix/one/"), "v2"),
        rule(&path("Exact", "/match/exact"), "v3"),
        rule(&path("PathPrefix", "/match/prefix/"), "v3"),
        rule(&path("Exact", "/match"), "v2"),
    ];
    let across = |name: &str, hosts: &str, rules: &str| {
        route(name, "infra", SAME, &format!("hostnames: [{hosts}], rules: [{rules}]"))
    };
    format!(
        "{}{}{}{}{}{}",
        named("exact", &exact),
        named("headers", &headers),
        named("matching", &[both("/", "one", "v1"), both("/v2", "two", "v2")]),
        named("order", &order),
        across("across-1", "across.example, across.example.net", &both("/", "one", "v1")),
        across("across-2", "across.example", &both("/v2", "two", "v2")),
    )
}

/// ExactPathMatching, HeaderMatching, Matching, MatchingAcrossRoutes, PathMatchOrder.
fn matching(world: &World, front: SocketAddr) {
    world.apply(&matching_routes());
    for (host, path, headers, expected) in [
        ("exact.example", "/one", &[][..], "v1"),
        ("exact.example", "/two", &[], "v2"),
        ("exact.example", "/", &[], "404"),
        ("exact.example", "/one/x", &[], "404"),
        ("exact.example", "/two/", &[], "404"),
        ("exact.example", "/Two", &[], "404"),
        ("headers.example", "/", &[("Version", "one")], "v1"),
        ("headers.example", "/", &[("version", "two")], "v2"),
        ("headers.example", "/", &[("Version", "two"), ("Color", "orange")], "v1"),
        ("headers.example", "/", &[("Color", "blue")], "v1"),
        ("headers.example", "/", &[("Version", "two"), ("Color", "blue")], "v2"),
        ("headers.example", "/", &[("Color", "orange")], "404"),
        ("headers.example", "/", &[("Some-Other-Header", "one")], "404"),
        ("matching.example", "/", &[], "v1"),
        ("matching.example", "/example", &[], "v1"),
        ("matching.example", "/", &[("Version", "one")], "v1"),
        ("matching.example", "/v2", &[], "v2"),
        ("matching.example", "/v2/", &[], "v2"),
        ("matching.example", "/v2/example", &[], "v2"),
        ("matching.example", "/v2example", &[], "v1"),
        ("matching.example", "/", &[("Version", "two")], "v2"),
        ("matching.example", "/foo/v2/example", &[], "v1"),
        ("order.example", "/match/exact", &[], "v3"),
        ("order.example", "/match", &[], "v2"),
        ("order.example", "/match/prefix/one/any", &[], "v2"),
        ("order.example", "/match/prefix/any", &[], "v3"),
        ("order.example", "/match/any", &[], "v1"),
        ("across.example", "/", &[], "v1"),
        ("across.example", "/v2", &[], "v2"),
        ("across.example", "/v2example", &[], "v1"),
        ("across.example", "/", &[("Version", "two")], "v2"),
        ("across.example.net", "/v2", &[], "v1"),
        ("across.example.net", "/", &[("Version", "two")], "v1"),
    ] {
        expect(front, host, path, headers, expected);
    }
}

fn http_route_weight(world: &World, front: SocketAddr) {
    let weighted = |name: &str, weight: u32| to(name).replace('}', &format!(", weight: {weight}}}"));
    let all = [weighted("v1", 70), weighted("v2", 30), weighted("v3", 0)].join(", ");
    world.apply(&named("weight", &[format!("{{backendRefs: [{all}]}}")]));
    eventually("the weights", || (ask(front, "weight.example", "/", &[]).status == 200).then_some(()));
    let mut first = 0;
    for _ in 0..500 {
        match who(&ask(front, "weight.example", "/", &[])).as_str() {
            "v1" => first += 1,
            "v2" => {}
            other => panic!("{other}"),
        }
    }
    // Of n = 500 draws at p = 0.7, 4 standard deviations are 41.
    assert!((309..=391).contains(&first), "{first} of 500 for 70 %");
}

/// RedirectHostAndStatus, RequestHeaderModifier.
fn filters(world: &World, front: SocketAddr) {
    let redirect = |at: &str, fields: &str| {
        let filter = format!("filters: [{{type: RequestRedirect, requestRedirect: {{{fields}}}}}]");
        format!("{{matches: [{{{}}}], {filter}}}", path("PathPrefix", at))
    };
    let modifier = |at: &str, fields: &str| {
        let filter =
            format!("filters: [{{type: RequestHeaderModifier, requestHeaderModifier: {{{fields}}}}}]");
        format!("{{matches: [{{{}}}], {filter}, {}}}", path("PathPrefix", at), backend("v1"))
    };
    let redirects = [
        redirect("/hostname-redirect", "hostname: example.org"),
        redirect("/host-and-status", "hostname: example.org, statusCode: 301"),
    ];
    let modifiers = [
        modifier("/set", "set: [{name: X-Header-Set, value: set-overwrites-values}]"),
        modifier("/add", "add: [{name: X-Header-Add, value: add-appends-values}]"),
        modifier("/remove", "remove: [X-Header-Remove]"),
        modifier(
            "/multiple",
            "set: [{name: X-Header-Set, value: s}], add: [{name: X-Header-Add, value: a}], remove: [X-HEADER-REMOVE]",
        ),
    ];
    world.apply(&(named("redirect", &redirects) + &named("modifier", &modifiers)));
    expect(front, "redirect.example", "/hostname-redirect", &[], "302");
    for (path, status) in [("/hostname-redirect", 302), ("/host-and-status", 301)] {
        let answer = ask(front, "redirect.example", path, &[]);
        let expected = format!("http://example.org{path}");
        assert_eq!((answer.status, answer.header("location")), (status, Some(expected.as_str())), "{path}");
    }
    expect(front, "modifier.example", "/set", &[], "v1");
    let seen = |path: &str, headers: &[(&str, &str)]| ask(front, "modifier.example", path, headers).text();
    assert!(seen("/set", &[]).contains("x-header-set: set-overwrites-values"));
    let set = seen("/set", &[("X-Header-Set", "other")]);
    assert!(set.contains("x-header-set: set-overwrites-values") && !set.contains("other"), "{set}");
    let added = seen("/add", &[("X-Header-Add", "some-other-value")]);
    assert!(added.contains("some-other-value") && added.contains("add-appends-values"), "{added}");
    assert!(!seen("/remove", &[("X-Header-Remove", "val")]).contains("x-header-remove"));
    let headers = [("X-Header-Set", "0"), ("X-Header-Add", "1"), ("X-Header-Remove", "2")];
    let all = seen("/multiple", &headers);
    assert!(all.contains("x-header-set: s") && !all.contains("x-header-remove"), "{all}");
}

/// InvalidBackendRefUnknownKind, InvalidNonExistentBackendRef, NoBackendRefs, ServiceTypes (a Service without endpoints is no
/// mistake of the route's: 503).
fn invalid_backends(world: &World, front: SocketAddr) {
    let only = |backend: &str| [format!("{{backendRefs: [{{{backend}}}]}}")];
    let empty = "apiVersion: v1\nkind: Service\nmetadata: {name: empty, namespace: infra}\nspec: {ports: [{port: 8080}]}\n---\n";
    world.apply(
        &(empty.to_owned()
            + &named("unknown-kind", &only("group: unknown.example, kind: NonExistent, name: v1"))
            + &named("nonexistent", &only("name: nonexistent, port: 8080"))
            + &named("no-backends", &["{matches: [{path: {value: /}}]}".to_owned()])
            + &named("empty", &only("name: empty, port: 8080"))),
    );
    for (name, answer, told) in [
        ("unknown-kind", "500", "False InvalidKind"),
        ("nonexistent", "500", "False BackendNotFound"),
        ("no-backends", "500", "True ResolvedRefs"),
        ("empty", "503", "True ResolvedRefs"),
    ] {
        expect(front, &format!("{name}.example"), "/", &[], answer);
        world.told(name, "infra", "Accepted", "True Accepted");
        world.told(name, "infra", "ResolvedRefs", told);
    }
}

/// InvalidCrossNamespaceBackendRef, InvalidReferenceGrant, PartiallyInvalidViaInvalidReferenceGrant, ReferenceGrant.
fn http_route_reference_grants(world: &World, front: SocketAddr) {
    let far = "apiVersion: v1\nkind: Service\nmetadata: {name: far, namespace: web}\nspec: {ports: [{port: 8080}]}\n---\n";
    let grant = |name: &str, from: &str, to: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {{name: {name}, namespace: web}}\nspec: {{from: [{{group: gateway.networking.k8s.io, kind: {from}, namespace: infra}}], to: [{{group: '', kind: Service, name: {to}}}]}}\n---\n"
        )
    };
    let cross = "{backendRefs: [{name: far, namespace: web, port: 8080}]}".to_owned();
    let well = rule(&path("PathPrefix", "/well"), "v1");
    world.apply(&format!(
        "{far}{}{}",
        named("cross", std::slice::from_ref(&cross)),
        named("partly", &[well, cross])
    ));
    expect(front, "cross.example", "/", &[], "500");
    world.told("cross", "infra", "ResolvedRefs", "False RefNotPermitted");
    expect(front, "partly.example", "/well", &[], "v1");
    expect(front, "partly.example", "/", &[], "500");
    world.told("partly", "infra", "ResolvedRefs", "False RefNotPermitted");
    world.apply(&(grant("other-kind", "GRPCRoute", "far") + &grant("other-name", "HTTPRoute", "near")));
    world.apply(&named("after-grants", &[format!("{{{}}}", backend("v1"))]));
    expect(front, "after-grants.example", "/", &[], "v1");
    assert_eq!(who(&ask(front, "cross.example", "/", &[])), "500", "those grants are for others");
    world.apply(&grant("far", "HTTPRoute", "far"));
    // Permitted, and nobody is behind it.
    expect(front, "cross.example", "/", &[], "503");
    expect(front, "partly.example", "/", &[], "503");
    world.told("cross", "infra", "ResolvedRefs", "True ResolvedRefs");
}

/// A second Gateway of the same port has an address of its own, and only what hangs on it is served there.
fn http_route_multiple_gateways(world: &World, front: SocketAddr) {
    let all = "{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}";
    world.apply(&gateway("all-namespaces", all));
    let second = world.address("all-namespaces", 80);
    assert_ne!(front, second);
    let parents = "{name: same-namespace}, {name: all-namespaces}";
    let rules = |path: &str, name: &str| {
        format!("rules: [{{matches: [{{path: {{value: {path}}}}}], {}}}]", backend(name))
    };
    world.apply(
        &(route("shared", "infra", parents, &rules("/shared", "v1"))
            + &route("of-same", "infra", SAME, &rules("/", "v2"))
            + &route("of-all", "infra", "{name: all-namespaces}", &rules("/", "v3"))),
    );
    for (at, own) in [(front, "v2"), (second, "v3")] {
        expect(at, "any.example", "/shared", &[], "v1");
        expect(at, "any.example", "/", &[], own);
    }
    assert_eq!(who(&ask(second, "simple.example", "/", &[])), "v3", "not the first Gateway's route");
    for name in ["of-same", "of-all"] {
        world.kube.kubectl().run(&["delete", "httproute", name, "-n", "infra"]);
    }
    expect(front, "any.example", "/", &[], "404");
    expect(second, "any.example", "/", &[], "404");
    assert_eq!(world.address("all-namespaces", 80), second, "the address stays");
}

/// CrossNamespace, InvalidCrossNamespaceParentRef, InvalidParentRefNotMatchingSectionName.
fn http_route_parents(world: &World) {
    let front = world.address("same-namespace", 80);
    let second = world.address("all-namespaces", 80);
    let rest = |name: &str| format!("hostnames: [{name}.example], rules: [{{{}}}]", backend("v1"));
    let at = |gateway: &str| format!("{{name: {gateway}, namespace: infra}}");
    world.apply(
        &(route("cross-namespace", "web", &at("all-namespaces"), &rest("cross-namespace"))
            + &route("not-let-in", "web", &at("same-namespace"), &rest("not-let-in"))
            + &route(
                "no-section",
                "infra",
                "{name: same-namespace, sectionName: other}",
                &rest("no-section"),
            )),
    );
    expect(second, "cross-namespace.example", "/", &[], "v1");
    world.told("cross-namespace", "web", "Accepted", "True Accepted");
    world.told("not-let-in", "web", "Accepted", "False NotAllowedByListeners");
    world.told("no-section", "infra", "Accepted", "False NoMatchingParent");
    for name in ["not-let-in", "no-section"] {
        assert_eq!(who(&ask(front, &format!("{name}.example"), "/", &[])), "404");
    }
}

/// HostnameIntersection, ListenerHostnameMatching.
fn hostnames(world: &World) {
    let listener =
        |name: &str, host: &str| format!("{{name: {name}, port: 80, protocol: HTTP, hostname: '{host}'}}");
    let listeners = [
        listener("one", "very.specific.com"),
        listener("two", "*.wildcard.io"),
        listener("three", "*.anotherwildcard.io"),
    ];
    world.apply(&gateway("intersection", &listeners.join(", ")));
    let parent = "{name: intersection}";
    let on = |name: &str, hosts: &str, to: &str| {
        let rest = format!("hostnames: [{hosts}], rules: [{{{}}}]", backend(to));
        route(name, "infra", parent, &rest)
    };
    world.apply(
        &(on("specific-host", "non.matching.com, '*.nonmatchingwildcard.io', very.specific.com", "v1")
            + &on("wildcard-host", "non.matching.com, wildcard.io, foo.wildcard.io", "v2")
            + &on("deeper", "'*.anotherwildcard.io'", "v3")
            + &on("no-intersection", "specific.but.wrong.com, wildcard.io", "v3")),
    );
    let at = world.address("intersection", 80);
    for (host, expected) in [
        ("very.specific.com", "v1"),
        ("very.specific.com:1234", "v1"),
        ("foo.wildcard.io", "v2"),
        ("one.anotherwildcard.io", "v3"),
        ("one.two.anotherwildcard.io", "v3"),
        ("non.matching.com", "404"),
        ("foo.nonmatchingwildcard.io", "404"),
        ("wildcard.io", "404"),
        ("bar.wildcard.io", "404"),
        ("anotherwildcard.io", "404"),
        ("specific.but.wrong.com", "404"),
    ] {
        expect(at, host, "/", &[], expected);
    }
    world.told("no-intersection", "infra", "Accepted", "False NoMatchingListenerHostname");
}

fn http_route_https_listener(world: &World) {
    let ca = WebCa::new();
    ca.issue("secure", "DNS:secure.example");
    let file = |option: &str, name: &str| format!("--{option}={}", ca.path(name).display());
    world.kube.kubectl().run(&[
        "create",
        "secret",
        "tls",
        "secure",
        "-n",
        "infra",
        &file("cert", "secure.crt"),
        &file("key", "secure.key"),
    ]);
    let https = "{name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: secure}]}}";
    world.apply(&gateway("secure", https));
    let rest = format!("hostnames: [secure.example], rules: [{{{}}}]", backend("v1"));
    world.apply(&route("secure", "infra", "{name: secure}", &rest));
    let at = world.address("secure", 443);
    let connect = format!("secure.example:443:{}:{}", at.ip(), at.port());
    let ca = ca.path("ca.crt").display().to_string();
    let curl = ["-sS", "-m", "20", "--cacert", &ca, "--connect-to", &connect, "https://secure.example/x"];
    eventually("an answer over TLS", || {
        let answer = run("curl", &curl);
        String::from_utf8_lossy(&answer.stdout).starts_with("v1\n").then_some(())
    });
}

/// GatewayObservedGenerationBump, HTTPRouteObservedGenerationBump, GatewayModifyListeners, GatewayWithAttachedRoutes.
fn observed_generation_bump(world: &World, front: SocketAddr) {
    world.apply(&named("simple", &[format!("{{{}}}", backend("v2"))]));
    expect(front, "simple.example", "/", &[], "v2");
    world.told("simple", "infra", "Accepted", "True Accepted");
    let kubectl = world.kube.kubectl();
    let object = ["gateways.gateway.networking.k8s.io", "all-namespaces", "-n", "infra"];
    let before = kubectl.get(&object).expect("the Gateway is there");
    let attached =
        |it: &serde_json::Value, at: usize| it["status"]["listeners"][at]["attachedRoutes"].clone();
    assert_eq!(attached(&before, 0), 2, "{before:#}");
    world.apply(&gateway(
        "all-namespaces",
        "{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}, {name: more, port: 8080, protocol: HTTP}",
    ));
    let after = kubectl.wait(&object, |it| {
        let listeners = it["status"]["listeners"].as_array()?;
        let is_current = |of: &serde_json::Value| {
            of["conditions"][0]["observedGeneration"] == it["metadata"]["generation"]
        };
        (listeners.len() == 2 && listeners.iter().all(is_current) && is_current(&it["status"]))
            .then(|| it.clone())
    });
    assert_eq!(condition(&after["status"]["listeners"][1], "Programmed"), "True Programmed");
    assert_eq!(attached(&after, 1), 1, "the shared route is the only one of its namespace: {after:#}");
    // The new listener's port is added to the Gateway's own Service.
    eventually("the new port", || {
        let services = kubectl.get(&["services", "-n", "dromon-system"])?;
        let mut all = services["items"].as_array()?.iter();
        let own = all.find(|it| {
            it["metadata"]["labels"]["gateway.networking.k8s.io/gateway-name"] == "all-namespaces"
        })?;
        (own["spec"]["ports"].as_array()?.len() == 2).then_some(())
    });
    expect(world.address("all-namespaces", 8080), "any.example", "/shared", &[], "v1");
    // With its Gateway its Service goes.
    kubectl.run(&["delete", "gateways.gateway.networking.k8s.io", "all-namespaces", "-n", "infra"]);
    eventually("the Service to go", || {
        let services = kubectl.get(&["services", "-n", "dromon-system"])?.to_string();
        (!services.contains("all-namespaces")).then_some(())
    });
}

/// Ingresses are served at the installed gateway's address, and say so.
fn ingress(world: &World, front: SocketAddr) {
    world.apply(
        "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: infra}
spec:
  ingressClassName: dromon
  rules:
  - host: shop.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: empty, port: {number: 8080}}}}]}
",
    );
    expect(front, "shop.example", "/", &[], "503");
    let at = world.kube.kubectl().wait(&["ingress", "shop", "-n", "infra"], |it| {
        it["status"]["loadBalancer"]["ingress"][0]["ip"].as_str().map(str::to_owned)
    });
    assert_eq!(at, SHARED);
}
