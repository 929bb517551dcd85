//! Routes on Services. Functions are named after the tests of Gateway API's conformance suite (profiles MESH-HTTP, MESH-GRPC).

use std::net::SocketAddr;

use dromon_tests::echo::{echo, who};
use dromon_tests::eventually;
use dromon_tests::http::{Response, get};
use dromon_tests::mesh::{Mesh, Setup};

use crate::{grpc, service_of};

/// A process that only waits: what is asked through its sidecar is asked by a client of the mesh.
const CLIENT: &str = "---
apiVersion: run.dromon.io/v1
kind: Process
metadata: {name: client, namespace: default, labels: {app: client}}
spec: {command: [sleep, infinity]}
";

struct Client {
    mesh: Mesh,
    outbound: SocketAddr,
}

impl Client {
    fn ask(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut all = vec![("Host", "echo.default")];
        all.extend_from_slice(headers);
        get(self.outbound, &format!("http://echo.default{path}"), &all).expect("an answer")
    }

    fn who(&self, path: &str, headers: &[(&str, &str)]) -> String {
        who(&self.ask(path, headers))
    }

    /// Puts a route on the Service `echo` in the place of the one before, and waits until `holds`.
    fn on_echo(&self, kind: &str, port: u16, rules: &str, holds: impl Fn(&Client) -> bool) {
        let text = format!(
            "apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{name: of-echo, namespace: default}}
spec:
  parentRefs: [{{group: '', kind: Service, name: echo, port: {port}}}]
  rules: [{rules}]
"
        );
        self.mesh.put("route.yaml", &text);
        eventually(&format!("{rules} to hold"), || holds(self).then_some(()));
    }
}

#[test]
fn mesh_http_and_mesh_grpc() {
    let (one, two) = (echo("v1"), echo("v2"));
    let (grpc_one, grpc_two) = (grpc::serve("v1"), grpc::serve("v2"));
    let text = service_of("echo", &[one, two], &[grpc_one, grpc_two])
        + &service_of("echo-v1", &[one], &[grpc_one])
        + &service_of("echo-v2", &[two], &[grpc_two])
        + CLIENT;
    let mesh = Setup::new().file("all.yaml", &text).start();
    let sidecar = mesh.ready["processes"][0]["sidecar"].as_str().expect("a sidecar").to_owned();
    let outbound = format!("{sidecar}:15001").parse().expect("an address");
    let client = Client { mesh, outbound };
    mesh_basic(&client);
    mesh_http_route_simple_same_namespace(&client);
    mesh_http_route_matching(&client);
    mesh_http_route_redirect_host_and_status(&client);
    mesh_http_route_request_header_modifier(&client);
    mesh_http_route_weight(&client);
    mesh_grpc_route_weight(&client);
    mesh_grpc_route_header_modifiers(&client);
    mesh_traffic_split(&client);
    mesh_ports(&client, one);
    mesh_frontend(&client, two);
}

/// Without routes a Service's own endpoints are asked, all of them.
fn mesh_basic(client: &Client) {
    for name in ["v1", "v2"] {
        eventually(name, || (client.who("/", &[]) == name).then_some(()));
    }
}

fn mesh_http_route_simple_same_namespace(client: &Client) {
    let rule = "{backendRefs: [{name: echo-v1, port: 80}]}";
    client.on_echo("HTTPRoute", 80, rule, |it| (0..8).all(|_| it.who("/", &[]) == "v1"));
}

fn mesh_http_route_matching(client: &Client) {
    let rules = "{matches: [{path: {value: /}}, {headers: [{name: version, value: one}]}], backendRefs: [{name: echo-v1, port: 80}]}, {matches: [{path: {value: /v2}}, {headers: [{name: version, value: two}]}], backendRefs: [{name: echo-v2, port: 80}]}";
    client.on_echo("HTTPRoute", 80, rules, |it| it.who("/v2", &[]) == "v2");
    for (path, headers, expected) in [
        ("/", &[][..], "v1"),
        ("/example", &[], "v1"),
        ("/", &[("Version", "one")], "v1"),
        ("/v2/", &[], "v2"),
        ("/v2/example", &[], "v2"),
        ("/", &[("Version", "two")], "v2"),
        ("/v2/", &[("Version", "one")], "v2"),
        ("/v2example", &[], "v1"),
        ("/foo/v2/example", &[], "v1"),
    ] {
        assert_eq!(client.who(path, headers), expected, "{path} {headers:?}");
    }
    let only = "{matches: [{path: {value: /v2}}], backendRefs: [{name: echo-v2, port: 80}]}";
    client.on_echo("HTTPRoute", 80, only, |it| it.who("/other", &[]) == "404");
    assert_eq!(client.who("/v2", &[]), "v2");
}

fn mesh_http_route_redirect_host_and_status(client: &Client) {
    let rules = "{matches: [{path: {value: /hostname-redirect}}], filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org}}]}, {matches: [{path: {value: /host-and-status}}], filters: [{type: RequestRedirect, requestRedirect: {statusCode: 301, hostname: example.org}}]}";
    client.on_echo("HTTPRoute", 80, rules, |it| it.who("/hostname-redirect", &[]) == "302");
    for (path, status) in [("/hostname-redirect", 302), ("/host-and-status", 301)] {
        let answer = client.ask(path, &[]);
        let expected = format!("http://example.org{path}");
        assert_eq!((answer.status, answer.header("location")), (status, Some(expected.as_str())));
    }
}

fn mesh_http_route_request_header_modifier(client: &Client) {
    let rule = |path: &str, fields: &str| {
        format!(
            "{{matches: [{{path: {{value: {path}}}}}], filters: [{{type: RequestHeaderModifier, requestHeaderModifier: {{{fields}}}}}], backendRefs: [{{name: echo-v1, port: 80}}]}}"
        )
    };
    let rules = [
        rule("/set", "set: [{name: X-Header-Set, value: set-overwrites-values}]"),
        rule("/add", "add: [{name: X-Header-Add, value: add-appends-values}]"),
        rule("/remove", "remove: [x-header-remove]"),
    ];
    client.on_echo("HTTPRoute", 80, &rules.join(", "), |it| it.who("/set", &[]) == "v1");
    let set = client.ask("/set", &[("X-Header-Set", "other")]).text();
    assert!(set.contains("x-header-set: set-overwrites-values") && !set.contains("other"), "{set}");
    let added = client.ask("/add", &[("X-Header-Add", "some-other-value")]).text();
    assert!(added.contains("some-other-value") && added.contains("add-appends-values"), "{added}");
    let removed = client.ask("/remove", &[("X-Header-Remove", "val")]).text();
    assert!(!removed.contains("x-header-remove"), "{removed}");
}

/// Of n = 400 draws at p = 0.7, 4 standard deviations are 37.
fn is_seven_tenths(first: usize) -> bool {
    (243..=317).contains(&first)
}

const WEIGHTS: &str = "{backendRefs: [{name: echo-v1, port: PORT, weight: 70}, {name: echo-v2, port: PORT, weight: 30}, {name: echo-v3, port: PORT, weight: 0}]}";

fn mesh_http_route_weight(client: &Client) {
    client.on_echo("HTTPRoute", 80, &WEIGHTS.replace("PORT", "80"), |it| it.who("/anything", &[]) != "404");
    let all: Vec<String> = (0..400).map(|_| client.who("/", &[])).collect();
    let of = |name: &str| all.iter().filter(|it| *it == name).count();
    assert!(is_seven_tenths(of("v1")) && of("v1") + of("v2") == 400, "{} and {}", of("v1"), of("v2"));
}

fn mesh_grpc_route_weight(client: &Client) {
    let first = "{matches: [{method: {service: echo.Echo, method: First}}], backendRefs: [{name: echo-v2, port: 7070}]}, ";
    let rules = first.to_owned() + &WEIGHTS.replace("PORT", "7070");
    let ask = |it: &Client, method: &str, count| grpc::call(it.outbound, "echo.default:7070", method, count);
    client.on_echo("GRPCRoute", 7070, &rules, |it| {
        ask(it, "/echo.Echo/First", 6).iter().all(|answer| answer == "v2 0")
    });
    let all = ask(client, "/echo.Echo/Echo", 400);
    let of = |name: &str| all.iter().filter(|it| **it == format!("{name} 0")).count();
    assert!(is_seven_tenths(of("v1")) && of("v1") + of("v2") == 400, "{} and {}", of("v1"), of("v2"));
}

/// Headers of gRPC calls, there and back; a method beside them is left as it is.
fn mesh_grpc_route_header_modifiers(client: &Client) {
    let modifier = |direction: &str, more: &str| {
        let field = format!("{}{}", direction[..1].to_lowercase(), &direction[1..]);
        format!(
            "{{type: {direction}HeaderModifier, {field}HeaderModifier: {{set: [{{name: X-Set, value: set}}], add: [{{name: X-Add, value: added}}], remove: [{more}]}}}}"
        )
    };
    let backend = "backendRefs: [{name: echo-v1, port: 7070}]";
    let rules = format!(
        "{{matches: [{{method: {{service: echo.Echo, method: Changed}}}}], filters: [{}, {}], {backend}}}, {{{backend}}}",
        modifier("Request", "X-Removed"),
        modifier("Response", "X-Gone"),
    );
    let sent = [("x-set", "other"), ("x-add", "first"), ("x-removed", "here"), ("x-kept", "here")];
    let ask = |it: &Client, method: &str| grpc::call_with(it.outbound, "echo.default:7070", method, &sent);
    client.on_echo("GRPCRoute", 7070, &rules, |it| ask(it, "/echo.Echo/Changed").head.contains_key("x-set"));
    let changed = ask(client, "/echo.Echo/Changed");
    assert_eq!(changed.status, "0", "{changed:?}");
    let has = |text: &str, line: &str| text.lines().any(|it| it == line);
    for line in ["v1", "x-set: set", "x-kept: here", "te: trailers"] {
        assert!(has(&changed.text, line), "{line:?} in {changed:?}");
    }
    let added: Vec<&str> = changed.text.lines().filter_map(|it| it.strip_prefix("x-add: ")).collect();
    assert!(
        ["first,added", "first, added", "first/added"].contains(&added.join("/").as_str()),
        "{changed:?}"
    );
    assert!(!changed.text.contains("x-removed"), "{changed:?}");
    let back = |name: &str| changed.head.get(name).and_then(|it| it.to_str().ok());
    let expected = [Some("set"), Some("added"), None, Some("kept")];
    assert_eq!(["x-set", "x-add", "x-gone", "x-of-server"].map(back), expected);
    let plain = ask(client, "/echo.Echo/Plain");
    assert_eq!((plain.status.as_str(), plain.head.get("x-set")), ("0", None), "{plain:?}");
    for line in ["v1", "x-set: other", "x-add: first", "x-removed: here"] {
        assert!(has(&plain.text, line), "{line:?} in {plain:?}");
    }
    assert!(plain.head.contains_key("x-gone"), "{plain:?}");
}

/// Requests of one Service are split among others; what they themselves are asked is not.
fn mesh_traffic_split(client: &Client) {
    let rules = "{matches: [{path: {type: Exact, value: /v1}}], backendRefs: [{name: echo-v1, port: 80}]}, {matches: [{path: {type: Exact, value: /v2}}], backendRefs: [{name: echo-v2, port: 80}]}";
    client.on_echo("HTTPRoute", 80, rules, |it| it.who("/v2", &[]) == "v2" && it.who("/", &[]) == "404");
    assert_eq!(client.who("/v1", &[]), "v1");
    let other = get(client.outbound, "http://echo-v2.default/v1", &[("Host", "echo-v2.default")]);
    assert_eq!(who(&other.expect("an answer")), "v2");
    client.mesh.remove("route.yaml");
    eventually("the Service's own endpoints again", || (client.ask("/", &[]).status == 200).then_some(()));
}

/// A Service of two ports that one endpoint has behind both.
fn ported(at: SocketAddr) -> String {
    let (ip, target) = (at.ip(), at.port());
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: ported, namespace: default}}
spec: {{ports: [{{name: http, port: 80}}, {{name: http-alt, port: 8080}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: ported, namespace: default, labels: {{kubernetes.io/service-name: ported}}}}
addressType: IPv4
ports: [{{name: http, port: {target}}}, {{name: http-alt, port: {target}}}]
endpoints: [{{addresses: ['{ip}']}}]
"
    )
}

/// A route that marks answers of the parents, whose requests go on to `to` of the parents' own port.
fn marking(parents: &str, to: &str) -> String {
    format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: marking, namespace: default}}
spec:
  parentRefs: [{parents}]
  rules:
  - filters: [{{type: ResponseHeaderModifier, responseHeaderModifier: {{set: [{{name: x-marked, value: 'yes'}}]}}}}]
    backendRefs: [{{name: {to}, port: 80}}]
"
    )
}

/// Whether an answer from an authority of the mesh is there, and marked by [`marking`].
fn is_marked(client: &Client, authority: &str) -> Option<bool> {
    let answer = get(client.outbound, &format!("http://{authority}/"), &[("Host", authority)]).ok()?;
    (answer.status == 200).then(|| answer.header("x-marked").is_some())
}

fn mesh_marks(client: &Client, authority: &str, expected: bool) {
    eventually(&format!("{authority} marked: {expected}"), || {
        (is_marked(client, authority) == Some(expected)).then_some(())
    });
}

/// A route on one port leaves the Service's others alone, one that names no port holds for all of them.
fn mesh_ports(client: &Client, one: SocketAddr) {
    let of = |more: &str| marking(&format!("{{group: '', kind: Service, name: ported{more}}}"), "ported");
    for (more, first, second) in
        [(", port: 80", true, false), (", port: 8080", false, true), ("", true, true)]
    {
        client.mesh.put("route.yaml", &(ported(one) + &of(more)));
        mesh_marks(client, "ported.default", first);
        mesh_marks(client, "ported.default:8080", second);
        mesh_marks(client, "ported.default", first);
    }
    client.mesh.put("route.yaml", &ported(one));
    mesh_marks(client, "ported.default", false);
    mesh_marks(client, "ported.default:8080", false);
}

/// MeshFrontend, MeshFrontendHostname: a route changes what is asked by its Service's name; what goes to an endpoint by its own
/// address, and to others that have the same endpoints, is none of it.
fn mesh_frontend(client: &Client, two: SocketAddr) {
    let parent = "{group: '', kind: Service, name: echo-v2, port: 80}";
    client.mesh.put("route.yaml", &marking(parent, "echo-v2"));
    for name in ["echo-v2", "echo-v2.default", "echo-v2.default.svc.cluster.local"] {
        mesh_marks(client, name, true);
    }
    mesh_marks(client, &two.to_string(), false);
    mesh_marks(client, "echo-v1.default", false);
    for _ in 0..8 {
        assert_eq!(is_marked(client, "echo.default"), Some(false), "another frontend");
    }
    client.mesh.remove("route.yaml");
    mesh_marks(client, "echo-v2.default", false);
}
