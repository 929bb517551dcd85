//! Gateway API over a local mesh: routes on a Gateway and routes on Services, from the folder to the bytes.

use std::net::SocketAddr;

use dromon_tests::echo::{echo, who};
use dromon_tests::eventually;
use dromon_tests::http::{Response, get};
use dromon_tests::mesh::{Mesh, Setup};

mod grpc;
mod mesh;

/// A Service without a selector and its endpoint.
fn service(name: &str, at: SocketAddr) -> String {
    service_of(name, &[at], &[])
}

/// A Service without a selector and its endpoints: of port 80, and of port 7070 for gRPC.
fn service_of(name: &str, http: &[SocketAddr], grpc: &[SocketAddr]) -> String {
    let mut text = format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default}}
spec: {{ports: [{{name: http, port: 80}}, {{name: grpc, port: 7070}}]}}
"
    );
    let all = http.iter().map(|at| ("http", at)).chain(grpc.iter().map(|at| ("grpc", at)));
    for (place, (port, at)) in all.enumerate() {
        text += &format!(
            "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-{place}, namespace: default, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: {port}, port: {}}}]
endpoints: [{{addresses: ['{}']}}]
",
            at.port(),
            at.ip()
        );
    }
    text
}

fn backends() -> String {
    service("one", echo("one")) + &service("two", echo("two"))
}

fn route(name: &str, spec: &str) -> String {
    format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: default}}
spec:
{spec}
"
    )
}

const GATEWAY: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: default}
spec:
  gatewayClassName: dromon
  listeners:
  - {name: http, port: 8080, protocol: HTTP}
  - {name: named, port: 8080, protocol: HTTP, hostname: '*.named.example'}
";

fn ask(mesh: &Mesh, host: &str, path: &str, more: &[(&str, &str)]) -> Response {
    let mut headers = vec![("Host", host)];
    headers.extend_from_slice(more);
    get(mesh.ingress, path, &headers).expect("an answer")
}

#[test]
fn routes_on_a_gateway_match_in_their_order_and_change_what_they_say() {
    let rules = route(
        "rules",
        "  parentRefs: [{name: front, sectionName: http}]
  hostnames: [a.example]
  rules:
  - {matches: [{path: {value: /}}], backendRefs: [{name: one, port: 80}]}
  - {matches: [{path: {value: /two}}], backendRefs: [{name: two, port: 80}]}
  - {matches: [{path: {type: Exact, value: /two/exactly}}], backendRefs: [{name: one, port: 80}]}
  - {matches: [{headers: [{name: Version, value: two}]}], backendRefs: [{name: two, port: 80}]}
  - {matches: [{path: {value: /two}, queryParams: [{name: q, value: '1'}]}], backendRefs: [{name: one, port: 80}]}
  - matches: [{path: {value: /rewritten/prefix}}]
    filters:
    - {type: URLRewrite, urlRewrite: {hostname: other.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /x}}}
    - type: RequestHeaderModifier
      requestHeaderModifier: {set: [{name: X-Set, value: s}], add: [{name: X-Add, value: a}], remove: [X-Gone]}
    - {type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: X-Back, value: b}]}}
    backendRefs: [{name: one, port: 80}]
  - matches: [{path: {value: /full}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /whole}}}]
    backendRefs: [{name: one, port: 80}]
  - matches: [{path: {value: /moved}}]
    filters: [{type: RequestRedirect, requestRedirect: {scheme: https, hostname: new.example, statusCode: 301, path: {type: ReplacePrefixMatch, replacePrefixMatch: /at}}}]
  - {matches: [{path: {value: /gone}}], backendRefs: [{name: gone, port: 80}]}
  - {matches: [{path: {value: /none}}]}",
    );
    let named = route(
        "named",
        "  parentRefs: [{name: front, sectionName: named}]
  rules: [{matches: [{path: {value: /only}}], backendRefs: [{name: two, port: 80}]}]",
    );
    let text = GATEWAY.to_owned() + &backends() + &rules + &named;
    let mesh = Setup::new().file("all.yaml", &text).start();
    let on = |path: &str, more: &[(&str, &str)]| ask(&mesh, "a.example", path, more);
    for (path, headers, expected) in [
        ("/", &[][..], "one"),
        ("/two", &[], "two"),
        ("/two/", &[], "two"),
        ("/twofold", &[], "one"),
        ("/two/exactly", &[], "one"),
        ("/", &[("version", "two")], "two"),
        ("/", &[("version", "three")], "one"),
        ("/two?q=1", &[], "one"),
        ("/two?q=2", &[], "two"),
        ("/gone", &[], "500"),
        ("/none", &[], "500"),
    ] {
        assert_eq!(who(&on(path, headers)), expected, "{path} {headers:?}");
    }
    let rewritten = on("/rewritten/prefix/y?z=1", &[("X-Gone", "1"), ("X-Set", "0")]);
    let seen = rewritten.text();
    for line in ["get /x/y?z=1 http/1.1", "host: other.example", "x-set: s", "x-add: a"] {
        assert!(seen.contains(line), "no {line:?} in {seen}");
    }
    assert!(!seen.contains("x-gone") && !seen.contains("x-set: 0"), "{seen}");
    assert_eq!(rewritten.header("x-back"), Some("b"));
    assert!(on("/full/of/it?q=1", &[]).text().contains("get /whole?q=1 "), "the whole path is replaced");
    let moved = on("/moved/here?q=1", &[]);
    assert_eq!((moved.status, moved.header("location")), (301, Some("https://new.example/at/here?q=1")));
    assert_eq!(who(&ask(&mesh, "elsewhere.example", "/", &[])), "404");
    assert_eq!(who(&ask(&mesh, "b.named.example", "/only", &[])), "two");
    assert_eq!(
        who(&ask(&mesh, "b.named.example", "/", &[])),
        "404",
        "the wider listener's routes are not its own"
    );
}

#[test]
fn a_backend_that_leads_nowhere_answers_its_share_until_it_is_there() {
    let split = "  parentRefs: [{name: front}]
  rules: [{backendRefs: [{name: one, port: 80}, {name: late, port: 80}]}]";
    let text = GATEWAY.to_owned() + &backends() + &route("split", split);
    let mesh = Setup::new().file("all.yaml", &text).start();
    let mut refused = 0;
    for _ in 0..400 {
        match who(&ask(&mesh, "x", "/", &[])).as_str() {
            "one" => {}
            "500" => refused += 1,
            other => panic!("{other}"),
        }
    }
    // Of n = 400 draws at p = 1/2, 4 standard deviations are 40.
    assert!((160..=240).contains(&refused), "{refused} of 400 for a half");
    mesh.put("late.yaml", &service("late", echo("late")));
    eventually("the late backend", || (who(&ask(&mesh, "x", "/", &[])) == "late").then_some(()));
    for _ in 0..50 {
        assert_ne!(who(&ask(&mesh, "x", "/", &[])), "500", "nothing leads nowhere any more");
    }
}

#[test]
fn an_ingress_of_our_class_is_served() {
    let ingress = "---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: default}
spec:
  ingressClassName: dromon
  defaultBackend: {service: {name: two, port: {number: 80}}}
  rules:
  - host: shop.example
    http:
      paths:
      - {path: /a, pathType: Prefix, backend: {service: {name: one, port: {name: http}}}}
";
    let port = dromon_tests::free_port();
    let text = backends() + ingress;
    let map = format!("80:{port}");
    let mesh = Setup::new().file("all.yaml", &text).arguments(&["--port-map", &map]).start();
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let ask = |host: &str, path: &str| who(&get(at, path, &[("Host", host)]).expect("an answer"));
    assert_eq!(ask("shop.example", "/a/b"), "one");
    assert_eq!(ask("shop.example", "/ab"), "two");
    assert_eq!(ask("other.example", "/a"), "two");
    drop(mesh);
}
