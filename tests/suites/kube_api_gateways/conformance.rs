//! What the conformance suite asks of Gateways, their listeners and classes beside routing.

use std::net::SocketAddr;

use dromon_tests::certs::{WebCa, run};
use dromon_tests::echo::who;
use dromon_tests::eventually;
use serde_json::{Value, json};

use crate::world::{World, ask, condition, expect};
use crate::{SAME, backend, gateway, named, path, route, rule, to};

const GATEWAYS: &str = "gateways.gateway.networking.k8s.io";

/// Everything, over a Gateway `same-namespace` that is served at `front`.
pub fn all(world: &World, front: SocketAddr) {
    http_route_all_backends_weight_zero(world, front);
    http_route_disallowed_kind(world);
    http_route_parent_ref_section_name_not_matching_port(world);
    gateway_invalid_route_kind(world);
    gateway_invalid_tls_configuration(world);
    gateway_secret_reference_grants(world);
    gateway_update_listeners_and_preserve_foreign_conditions(world);
    http_route_preserve_foreign_parents(world, front);
    gateway_class_observed_generation_bump(world);
}

/// Waits until what is said of a Gateway of `infra` as it is now holds; the Gateway.
fn told(world: &World, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
    world.kube.kubectl().wait(&[GATEWAYS, name, "-n", "infra"], |it| {
        let current = &it["metadata"]["generation"];
        let is_current = |of: &Value| {
            of["conditions"].as_array().into_iter().flatten().any(|it| it["observedGeneration"] == *current)
        };
        let listeners = it["status"]["listeners"].as_array()?;
        (is_current(&it["status"]) && listeners.iter().all(is_current) && holds(&it["status"]))
            .then(|| it.clone())
    })
}

fn patch_status(world: &World, object: &[&str], patch: &Value) {
    let patch = patch.to_string();
    let words = ["--subresource", "status", "--type", "json", "-p", &patch, "-n", "infra"];
    world.kube.kubectl().run(&[&["patch"], object, &words].concat());
}

/// Nobody is chosen, so the rule fails as one without backends does; a rule beside it does not.
fn http_route_all_backends_weight_zero(world: &World, front: SocketAddr) {
    let none = ["v1", "v2"].map(|name| to(name).replace('}', ", weight: 0}")).join(", ");
    let none = format!("{{matches: [{{{}}}], backendRefs: [{none}]}}", path("PathPrefix", "/"));
    world.apply(&named("weight-zero", &[none, rule(&path("PathPrefix", "/well"), "v1")]));
    expect(front, "weight-zero.example", "/well", &[], "v1");
    assert_eq!(who(&ask(front, "weight-zero.example", "/", &[])), "500");
    world.told("weight-zero", "infra", "Accepted", "True Accepted");
    world.told("weight-zero", "infra", "ResolvedRefs", "True ResolvedRefs");
}

fn http_route_disallowed_kind(world: &World) {
    world.apply(&gateway(
        "tlsroutes-only",
        "{name: https, port: 443, protocol: TLS, hostname: tls.example, allowedRoutes: {kinds: [{kind: TLSRoute}]}, tls: {mode: Passthrough}}",
    ));
    let rest = format!("rules: [{{{}}}]", backend("v1"));
    world.apply(&route("disallowed-kind", "infra", "{name: tlsroutes-only}", &rest));
    world.told("disallowed-kind", "infra", "Accepted", "False NotAllowedByListeners");
    let found =
        told(world, "tlsroutes-only", |it| condition(&it["listeners"][0], "Accepted").starts_with("True"));
    assert_eq!(found["status"]["listeners"][0]["attachedRoutes"], 0, "{found:#}");
    let kinds = json!([{"group": "gateway.networking.k8s.io", "kind": "TLSRoute"}]);
    assert_eq!(found["status"]["listeners"][0]["supportedKinds"], kinds);
}

fn http_route_parent_ref_section_name_not_matching_port(world: &World) {
    let parent = "{name: same-namespace, sectionName: http, port: 81}";
    world.apply(&route("other-port", "infra", parent, &format!("rules: [{{{}}}]", backend("v1"))));
    world.told("other-port", "infra", "Accepted", "False NoMatchingParent");
}

fn gateway_invalid_route_kind(world: &World) {
    for (name, kinds, supported) in [
        ("only-invalid-route-kind", "{kind: InvalidRoute}", json!([])),
        (
            "supported-and-invalid-route-kind",
            "{kind: InvalidRoute}, {kind: HTTPRoute}",
            json!([{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}]),
        ),
    ] {
        let listener =
            format!("{{name: http, port: 80, protocol: HTTP, allowedRoutes: {{kinds: [{kinds}]}}}}");
        world.apply(&gateway(name, &listener));
        let found = told(world, name, |it| {
            condition(&it["listeners"][0], "ResolvedRefs") == "False InvalidRouteKinds"
        });
        assert_eq!(found["status"]["listeners"][0]["supportedKinds"], supported, "{name}");
    }
}

/// Listeners whose certificate is not there, no certificate, or of an unknown kind; a route counts as attached all the same
/// (GatewayWithAttachedRoutes).
fn gateway_invalid_tls_configuration(world: &World) {
    world.apply(
        "apiVersion: v1
kind: Secret
metadata: {name: malformed, namespace: infra}
type: kubernetes.io/tls
data: {tls.crt: SGVsbG8gd29ybGQK, tls.key: SGVsbG8gd29ybGQK}
",
    );
    let listeners: Vec<String> = [
        "group: '', kind: Secret, name: nonexistent",
        "group: '', kind: Secret, name: malformed",
        "group: wrong.example, kind: Secret, name: malformed",
        "group: '', kind: WrongKind, name: malformed",
    ]
    .iter()
    .enumerate()
    .map(|(at, certificate)| {
        format!("{{name: l{at}, port: 443, protocol: HTTPS, hostname: l{at}.example, tls: {{certificateRefs: [{{{certificate}}}]}}}}")
    })
    .collect();
    world.apply(&gateway("invalid-tls", &listeners.join(", ")));
    let parent = "{name: invalid-tls, sectionName: l0}";
    world.apply(&route("of-invalid-tls", "infra", parent, &format!("rules: [{{{}}}]", backend("v1"))));
    told(world, "invalid-tls", |it| {
        let all = it["listeners"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_told = |it: &Value| {
            condition(it, "ResolvedRefs") == "False InvalidCertificateRef"
                && condition(it, "Programmed") == "False Invalid"
        };
        all.len() == 4 && all.iter().all(is_told) && all[0]["attachedRoutes"] == 1
    });
}

/// GatewaySecretMissingReferenceGrant, InvalidReferenceGrant, ReferenceGrantSpecific, ReferenceGrantAllInNamespace: of another
/// namespace's Secret, from the status to the handshake, there and back.
fn gateway_secret_reference_grants(world: &World) {
    let ca = WebCa::new();
    ca.issue("far", "DNS:far.example");
    let file = |option: &str, name: &str| format!("--{option}={}", ca.path(name).display());
    let (cert, key) = (file("cert", "far.crt"), file("key", "far.key"));
    world.kube.kubectl().run(&["create", "secret", "tls", "certificate", "-n", "web", &cert, &key]);
    let grant = |from: &str, to: &str| {
        world.apply(&format!(
            "apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {{name: secrets, namespace: web}}
spec: {{from: [{{group: gateway.networking.k8s.io, kind: {from}, namespace: infra}}], to: [{{group: '', kind: Secret{to}}}]}}
"
        ));
    };
    let is = |expected: &str| {
        told(world, "granted", |it| condition(&it["listeners"][0], "ResolvedRefs") == expected);
    };
    let certificate = "{name: certificate, namespace: web}";
    let https =
        format!("{{name: https, port: 443, protocol: HTTPS, tls: {{certificateRefs: [{certificate}]}}}}");
    world.apply(&gateway("granted", &https));
    world.apply(&route("granted", "infra", "{name: granted}", &format!("rules: [{{{}}}]", backend("v1"))));
    is("False RefNotPermitted");
    let ca = ca.path("ca.crt").display().to_string();
    let answers = |at: SocketAddr| {
        let connect = format!("far.example:443:{}:{}", at.ip(), at.port());
        let answer = run(
            "curl",
            &["-sS", "-m", "20", "--cacert", &ca, "--connect-to", &connect, "https://far.example/x"],
        );
        String::from_utf8_lossy(&answer.stdout).starts_with("v1\n")
    };
    grant("Gateway", "");
    is("True ResolvedRefs");
    let at = world.address("granted", 443);
    eventually("an answer over TLS", || answers(at).then_some(()));
    for (from, to, expected) in [
        ("HTTPRoute", "", "False RefNotPermitted"),
        ("Gateway", ", name: certificate", "True ResolvedRefs"),
        ("Gateway", ", name: other", "False RefNotPermitted"),
    ] {
        grant(from, to);
        is(expected);
        let is_served = expected.starts_with("True");
        eventually(&format!("{from}{to}: {expected}"), || (answers(at) == is_served).then_some(()));
    }
    world.kube.kubectl().run(&["delete", "referencegrant", "secrets", "-n", "web"]);
}

/// A condition that somebody else has put beside ours.
fn foreign(generation: &Value) -> Value {
    json!({
        "type": "example.com/Checked", "status": "True", "reason": "Seeded", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": generation,
    })
}

/// GatewayModifyListeners, GatewayUpdateListenerHostname, GatewayPreserveForeignConditions.
fn gateway_update_listeners_and_preserve_foreign_conditions(world: &World) {
    let http = |host: &str| format!("{{name: http, port: 80, protocol: HTTP, hostname: {host}}}");
    let more = "{name: more, port: 80, protocol: HTTP, hostname: more.example}";
    world.apply(&gateway("changing", &format!("{}, {more}", http("first.example"))));
    world.apply(&route("changing", "infra", "{name: changing}", &format!("rules: [{{{}}}]", backend("v2"))));
    let at = world.address("changing", 80);
    for host in ["first.example", "more.example"] {
        expect(at, host, "/", &[], "v2");
    }
    let before = told(world, "changing", |it| it["listeners"][0]["attachedRoutes"] == 1);
    let seeded = foreign(&before["metadata"]["generation"]);
    patch_status(
        world,
        &[GATEWAYS, "changing"],
        &json!([
            {"op": "add", "path": "/status/conditions/-", "value": seeded},
            {"op": "add", "path": "/status/listeners/0/conditions/-", "value": seeded},
        ]),
    );
    world.apply(&gateway("changing", &http("second.example")));
    let after = told(world, "changing", |it| it["listeners"].as_array().is_some_and(|all| all.len() == 1));
    for of in [&after["status"], &after["status"]["listeners"][0]] {
        let kept = of["conditions"].as_array().into_iter().flatten().find(|it| it["type"] == seeded["type"]);
        assert_eq!(kept, Some(&seeded), "what others say stays as they said it");
    }
    assert_eq!(world.address("changing", 80), at, "the address stays");
    expect(at, "second.example", "/", &[], "v2");
    for host in ["first.example", "more.example"] {
        expect(at, host, "/", &[], "404");
    }
}

/// What another controller says of a parent of its own stays beside what we say of ours.
fn http_route_preserve_foreign_parents(world: &World, front: SocketAddr) {
    let rules = |name: &str| [format!("{{{}}}", backend(name))];
    world.apply(&named("of-two", &rules("v1")).replace(SAME, "{name: same-namespace}, {name: theirs}"));
    expect(front, "of-two.example", "/", &[], "v1");
    world.told("of-two", "infra", "Accepted", "True Accepted");
    let theirs = json!({
        "controllerName": "example.com/other", "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "theirs"},
        "conditions": [foreign(&json!(1))],
    });
    let add = json!([{"op": "add", "path": "/status/parents/-", "value": theirs}]);
    patch_status(world, &["httproute", "of-two"], &add);
    world.apply(&named("of-two", &rules("v3")).replace(SAME, "{name: same-namespace}, {name: theirs}"));
    expect(front, "of-two.example", "/", &[], "v3");
    let object = ["httproute", "of-two", "-n", "infra"];
    let parents = world.kube.kubectl().wait(&object, |it| {
        let parents = it["status"]["parents"].as_array()?;
        let ours = parents.iter().find(|it| it["controllerName"] == "dromon.io/controller")?;
        (ours["conditions"][0]["observedGeneration"] == it["metadata"]["generation"]).then(|| parents.clone())
    });
    assert!(parents.len() == 2 && parents.contains(&theirs), "{parents:#?}");
}

fn gateway_class_observed_generation_bump(world: &World) {
    let kubectl = world.kube.kubectl();
    let class = ["gatewayclass", "dromon"];
    let generation = |it: &Value| it["metadata"]["generation"].as_i64();
    let before = kubectl.wait(&class, generation);
    kubectl.run(&[
        "patch",
        class[0],
        class[1],
        "--type",
        "merge",
        "-p",
        r#"{"spec": {"description": "new"}}"#,
    ]);
    kubectl.wait(&class, |it| {
        let accepted = it["status"]["conditions"].as_array()?.iter().find(|it| it["type"] == "Accepted")?;
        let is_current = accepted["observedGeneration"].as_i64() == generation(it);
        (is_current && generation(it) > Some(before) && accepted["status"] == "True").then_some(())
    });
}
