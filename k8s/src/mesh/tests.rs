use dromon_core::config::model::Protocol;

use super::export::Export;
use super::*;
use crate::testing::{gateway, seen, set, sidecar, workload};

#[test]
fn short_names_are_of_their_namespace_and_dotted_ones_are_whole() {
    assert_eq!(host::resolve("Reviews", "books"), "reviews.books.svc.cluster.local");
    assert_eq!(host::resolve("a.example.", "books"), "a.example");
    assert_eq!(host::resolve("*", "books"), "*");
}

#[test]
fn wildcards_cover_what_ends_alike_and_not_themselves() {
    for (pattern, name, expected) in [
        ("*", "a", true),
        ("*.a.b", "x.a.b", true),
        ("*.a.b", "a.b", false),
        ("*.b", "*.a.b", true),
        ("*.a.b", "*.b", false),
        ("a.b", "a.b", true),
        ("a.b", "*.b", false),
    ] {
        assert_eq!(host::covers(pattern, name), expected, "{pattern} {name}");
    }
    assert_eq!(host::intersection("*.a.b", "*.b"), Some("*.a.b"));
    assert_eq!(host::intersection("a.c", "*.b"), None);
}

#[test]
fn export_to_names_namespaces() {
    let list = |it: &[&str]| it.iter().map(|it| it.to_string()).collect::<Vec<_>>();
    assert_eq!(Export::new(&[], &[], "a"), Export::All);
    let own = Export::new(&list(&["."]), &list(&["*"]), "a");
    assert!(own.to("a") && !own.to("b"));
    let default = Export::new(&[], &list(&["b"]), "a");
    assert!(default.to("b") && !default.to("a"));
    assert!(!Export::new(&list(&["~"]), &[], "a").to("a"));
}

#[test]
fn ports_say_what_they_speak() {
    for (name, app, number, expected) in [
        ("http", None, 80, Protocol::Http),
        ("HTTP-web", None, 80, Protocol::Http),
        ("http2-x", None, 80, Protocol::Http2),
        ("grpc", None, 80, Protocol::Grpc),
        ("grpc-web", None, 80, Protocol::Http),
        ("https", None, 443, Protocol::Tls),
        ("tls-x", None, 443, Protocol::Tls),
        ("mongo", None, 1, Protocol::Tcp),
        ("redis-x", None, 1, Protocol::Tcp),
        ("web", None, 80, Protocol::Auto),
        ("", None, 3306, Protocol::Tcp),
        ("", None, 80, Protocol::Auto),
        ("tcp", Some("http"), 80, Protocol::Http),
        ("tcp", Some("kubernetes.io/h2c"), 80, Protocol::Http2),
        ("tcp", Some("kubernetes.io/ws"), 80, Protocol::Http),
        ("http", Some("kubernetes.io/wss"), 80, Protocol::Tls),
        ("http", Some("example.com/own"), 80, Protocol::Http),
    ] {
        assert_eq!(protocol::of_port(name, app, number), expected, "{name} {app:?} {number}");
    }
}

#[test]
fn gateway_names_are_made_whole() {
    assert_eq!(gateway_name("mesh", "a"), "mesh");
    assert_eq!(gateway_name("g", "a"), "a/g");
    assert_eq!(gateway_name("b/g", "a"), "b/g");
    assert_eq!(gateway_name("g.b.svc.cluster.local", "a"), "b/g");
}

#[test]
fn endpoints_come_from_slices_then_endpoints_then_the_selector() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selector: {app: a}, ports: [{name: http, port: 80, targetPort: 8080}]}\n";
    let endpoints = "---\napiVersion: v1\nkind: Endpoints\nmetadata: {name: a}\nsubsets: [{addresses: [{ip: 10.0.0.2}], ports: [{name: http, port: 8082}]}]\n";
    let slice = "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a-1, labels: {kubernetes.io/service-name: a}}\naddressType: IPv4\nports: [{name: http, port: 8083}]\nendpoints:\n- {addresses: [10.0.0.3]}\n- {addresses: [10.0.0.4], conditions: {ready: false, serving: true, terminating: true}}\n- {addresses: [10.0.0.5], conditions: {ready: false}}\n";
    for (text, expected) in [
        (service.to_owned(), vec!["10.0.0.1:8080"]),
        (format!("{service}{endpoints}"), vec!["10.0.0.2:8082"]),
        (format!("{service}{endpoints}{slice}"), vec!["10.0.0.3:8083", "10.0.0.4:8083"]),
    ] {
        let mut set = set(&text);
        workload(&mut set, "a-1", &[("app", "a")], "10.0.0.1", 8080);
        let found = seen(&set, &sidecar(&[]));
        assert_eq!(found.endpoints("a.default.svc.cluster.local", 80, ""), expected);
    }
}

/// A pod with addresses of both families behind Services, as a cluster of both publishes it.
fn of_both_families(families: &str, cluster_ips: &str) -> String {
    let slice = |family: &str, address: &str| {
        format!(
            "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: a-{}, namespace: default, labels: {{kubernetes.io/service-name: a}}}}
addressType: {family}
ports: [{{name: http, port: 8080}}]
endpoints: [{{addresses: ['{address}'], targetRef: {{kind: Pod, name: a-1, namespace: default}}}}]
",
            family.to_lowercase()
        )
    };
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: a-1, namespace: default, labels: {{app: a}}}}
spec: {{containers: [{{name: c, ports: [{{name: http, containerPort: 8080}}]}}]}}
status: {{podIP: 10.0.0.7, podIPs: [{{ip: 10.0.0.7}}, {{ip: 'fd00::7'}}], phase: Running, conditions: [{{type: Ready, status: 'True'}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: a, namespace: default}}
spec: {{selector: {{app: a}}, clusterIPs: [{cluster_ips}], ipFamilies: [{families}], ports: [{{name: http, port: 80, targetPort: http}}]}}
{}{}",
        slice("IPv6", "fd00::7"),
        slice("IPv4", "10.0.0.7")
    )
}

#[test]
fn a_pod_of_both_families_is_one_endpoint_of_a_service_that_has_both_addresses() {
    for (families, endpoint) in
        [("IPv4, IPv6", "10.0.0.7:8080"), ("IPv6, IPv4", "fd00::7:8080"), ("IPv6", "fd00::7:8080")]
    {
        let seen = seen(&set(&of_both_families(families, "10.96.0.7, 'fd00:96::7'")), &sidecar(&[]));
        assert_eq!(seen.endpoints("a.default.svc.cluster.local", 80, ""), [endpoint], "{families}");
        let host = seen.host("a.default.svc.cluster.local");
        assert_eq!(host.addresses, ["10.96.0.7", "fd00:96::7"]);
    }
}

#[test]
fn endpoints_without_a_pod_are_taken_of_both_families() {
    let text = of_both_families("IPv4, IPv6", "10.96.0.7")
        .replace(", targetRef: {kind: Pod, name: a-1, namespace: default}", "");
    let text = text.replace("10.0.0.7'", "10.0.0.8'").replace("fd00::7']}", "fd00::8']}");
    let seen = seen(&set(&text), &sidecar(&[]));
    assert_eq!(seen.endpoints("a.default.svc.cluster.local", 80, ""), ["10.0.0.8:8080", "fd00::8:8080"]);
}

#[test]
fn a_headless_services_pod_is_known_by_both_its_addresses() {
    let text = of_both_families("IPv4, IPv6", "None").replace("clusterIPs", "clusterIP: None, clusterIPs");
    let seen = seen(&set(&text), &sidecar(&[]));
    assert_eq!(seen.host("a-1.a.default.svc.cluster.local").addresses, ["10.0.0.7", "fd00::7"]);
    assert_eq!(seen.endpoints("a.default.svc.cluster.local", 80, ""), ["10.0.0.7:8080"]);
}

#[test]
fn a_terminating_or_unready_endpoint_is_drained() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selector: {app: a}, ports: [{name: http, port: 80, targetPort: http}]}\n";
    let mut set = set(text);
    workload(&mut set, "a-1", &[("app", "a"), ("version", "v1")], "10.0.0.1", 8080);
    let mut unready = set.workload("default", "a-1").cloned().expect("there");
    unready.ready = false;
    set.insert_workload(unready);
    let mesh = Mesh::new(&set);
    let endpoint = &mesh.services[0].ports[0].endpoints[0].model;
    assert_eq!((endpoint.draining, endpoint.port), (true, 8080));
    assert_eq!((endpoint.workload.app.as_str(), endpoint.workload.canonical_revision.as_str()), ("a", "v1"));
}

#[test]
fn pods_are_workloads_named_after_their_deployment() {
    let text = "apiVersion: v1
kind: Pod
metadata:
  name: a-5d8f-x
  labels: {app: a, pod-template-hash: 5d8f}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: a-5d8f, uid: u, controller: true}]
spec: {serviceAccountName: s, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}
status: {podIP: 10.0.0.7, phase: Running, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Service
metadata: {name: a}
spec: {selector: {app: a}, clusterIP: 10.96.0.7, ports: [{name: http, port: 80, targetPort: http}]}
";
    let mesh = Mesh::new(&set(text));
    let endpoint = &mesh.services[0].ports[0].endpoints[0].model;
    assert_eq!((endpoint.address.as_str(), endpoint.port, endpoint.draining), ("10.0.0.7", 8080, false));
    assert_eq!((endpoint.workload.name.as_str(), endpoint.workload.service_account.as_str()), ("a", "s"));
    assert_eq!(mesh.services[0].addresses, ["10.96.0.7"]);
}

#[test]
fn delegated_rules_stand_in_place_with_the_conditions_of_both() {
    let text = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: root}
spec:
  hosts: [a.example]
  gateways: [istio-system/g]
  http:
  - name: r
    match: [{uri: {prefix: /books}, headers: {x: {exact: y}}}]
    delegate: {name: leaf, namespace: books}
    timeout: 3s
  - directResponse: {status: 404}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: leaf, namespace: books}
spec:
  http:
  - name: l
    match: [{uri: {prefix: /books/one}}, {uri: {prefix: /other}}]
    route: [{destination: {host: books}}]
  - match: [{uri: {exact: /else}}]
    directResponse: {status: 200}
  - route: [{destination: {host: books}}]
    timeout: 1s
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: istio-system}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, protocol: HTTP}, hosts: ['*']}]}
---
apiVersion: v1
kind: Service
metadata: {name: books, namespace: books}
spec: {ports: [{name: http, port: 80}]}
";
    let found = seen(&set(text), &gateway(&[80]));
    let rules = found.http("gateway/80/a.example");
    let told: Vec<_> = rules
        .iter()
        .map(|it| {
            let uri = it.matches.first().and_then(|it| it.uri.clone());
            let headers = it.matches.first().map(|it| it.headers.len()).unwrap_or_default();
            (
                it.name.as_str(),
                it.origin.as_str(),
                it.matches.len(),
                uri.map(|it| format!("{it:?}")),
                headers,
                it.timeout_ms,
            )
        })
        .collect();
    let prefix = |it: &str| Some(format!("Prefix({it:?})"));
    let expected = [
        ("r-l", "VirtualService/books/leaf spec.http[0]", 1, prefix("/books/one"), 1, Some(3000)),
        ("r", "VirtualService/books/leaf spec.http[2]", 1, prefix("/books"), 1, Some(1000)),
        ("", "VirtualService/default/root spec.http[1]", 0, None, 0, None),
    ];
    assert_eq!(told, expected);
    assert!(found.0.missing.is_empty(), "hosts are of the leaf's namespace: {:?}", found.0.missing);
}
