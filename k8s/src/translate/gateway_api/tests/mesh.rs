use super::{route, service, told};
use crate::testing::{Seen, seen, set, sidecar};

const ECHO: &str = "echo.default.svc.cluster.local";
const ON_ECHO: &str = "parentRefs: [{group: '', kind: Service, name: echo}]";

fn in_mesh(text: &str, namespace: &str) -> Seen {
    let mut client = sidecar(&[]);
    client.namespace = namespace.to_owned();
    let services: String = ["echo", "echo-v1", "echo-v2"].iter().map(|it| service(it, "default")).collect();
    seen(&set(&(services + text)), &client)
}

fn to(name: &str) -> String {
    format!("backendRefs: [{{name: {name}, port: 8080}}]")
}

#[test]
fn mesh_basic_without_routes_nothing_is_routed() {
    let seen = in_mesh("", "default");
    assert!(!seen.host(ECHO).routed);
    assert!(seen.names_of("VirtualHost").is_empty());
}

#[test]
fn mesh_http_route_weight_and_traffic_split() {
    let split =
        "backendRefs: [{name: echo-v1, port: 8080, weight: 70}, {name: echo-v2, port: 8080, weight: 30}]";
    let seen = in_mesh(&route("HTTPRoute", "r", &format!("{ON_ECHO}, rules: [{{{split}}}]")), "default");
    assert!(seen.host(ECHO).routed);
    assert_eq!(told(&seen, ECHO), ["* -> echo-v1@70 echo-v2@30"]);
    // A backend is its endpoints: routes on it do not apply again.
    assert!(!seen.host("echo-v1.default.svc.cluster.local").routed);
}

#[test]
fn mesh_http_route_matching_and_what_no_rule_takes() {
    let rules = format!(
        "rules: [{{matches: [{{path: {{value: /v2}}}}, {{headers: [{{name: version, value: two}}]}}], {}}}]",
        to("echo-v2")
    );
    let seen = in_mesh(&route("HTTPRoute", "r", &format!("{ON_ECHO}, {rules}")), "default");
    assert_eq!(
        told(&seen, ECHO),
        ["/v2* -> echo-v2@1", "* version -> echo-v2@1"],
        "nothing takes the rest: 404"
    );
}

#[test]
fn mesh_ports_a_route_of_one_port_leaves_the_others() {
    let parent = ON_ECHO.replace("name: echo", "name: echo, port: 8080");
    let seen =
        in_mesh(&route("HTTPRoute", "r", &format!("{parent}, rules: [{{{}}}]", to("echo-v1"))), "default");
    assert_eq!(told(&seen, ECHO), ["* :8080 -> echo-v1@1", "* :7070 -> echo@1"]);
}

#[test]
fn mesh_consumer_route_holds_for_its_own_namespace_and_instead_of_producers() {
    let producer = route("HTTPRoute", "p", &format!("{ON_ECHO}, rules: [{{{}}}]", to("echo-v1")));
    let consumer = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: c, namespace: client}\nspec: {parentRefs: [{group: '', kind: Service, name: echo, namespace: default}], rules: [{backendRefs: [{name: own, port: 8080}]}]}\n---\n";
    let text = producer + consumer + &service("own", "client");
    assert_eq!(told(&in_mesh(&text, "client"), ECHO), ["* -> own@1"]);
    assert_eq!(told(&in_mesh(&text, "default"), ECHO), ["* -> echo-v1@1"]);
    assert_eq!(told(&in_mesh(&text, "third"), ECHO), ["* -> echo-v1@1"]);
}

#[test]
fn mesh_grpc_route_comes_before_http_route_on_the_same_port() {
    let grpc = "rules: [{backendRefs: [{name: echo-v1, port: 7070, weight: 70}, {name: echo-v2, port: 7070, weight: 30}, {name: echo, port: 7070, weight: 0}]}]";
    let parent = ON_ECHO.replace("name: echo", "name: echo, port: 7070");
    let text = route("GRPCRoute", "g", &format!("{parent}, {grpc}"))
        + &route("HTTPRoute", "h", &format!("{ON_ECHO}, rules: [{{{}}}]", to("echo-v2")));
    let seen = in_mesh(&text, "default");
    assert_eq!(told(&seen, ECHO), ["* :7070 -> echo-v1@70 echo-v2@30", "* :8080 -> echo-v2@1"]);
}

#[test]
fn a_tcp_route_on_a_service_takes_its_connections() {
    let text = route(
        "TCPRoute",
        "t",
        &format!(
            "{}, rules: [{{{}}}]",
            ON_ECHO.replace("name: echo", "name: echo, port: 8080"),
            to("echo-v1")
        ),
    );
    let seen = in_mesh(&text, "default");
    let host = seen.virtual_host(ECHO);
    assert_eq!(host.tcp[0].matches[0].port, Some(8080));
    assert_eq!(host.tcp[0].destinations[0].host, "echo-v1.default.svc.cluster.local");
}
