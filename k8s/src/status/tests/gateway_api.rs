//! Named after the features that the conformance suite of Gateway API has: what each of its tests asks of status.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::told_outside;
use crate::objects::Key;
use crate::status::{Outside, StatusWrite};
use crate::testing::{pems, secret};

const NOW: &str = "2026-05-01T10:00:00Z";
const LATER: &str = "2026-05-02T10:00:00Z";

fn outside() -> Outside {
    Outside {
        addresses: vec!["192.0.2.1".into(), "gw.example".into()],
        ports: Some([80, 443, 8080].into()),
        ..Outside::default()
    }
}

fn writes(text: &str) -> Vec<StatusWrite> {
    told_outside(text, &BTreeMap::new(), NOW, &outside())
}

fn status(writes: &[StatusWrite], kind: &str, name: &str) -> Value {
    let found = writes
        .iter()
        .find(|it| it.kind == kind && it.name == name && it.group == "gateway.networking.k8s.io");
    found.unwrap_or_else(|| panic!("no {kind} {name} in {writes:#?}")).status.clone()
}

/// `status/reason` of a condition.
fn condition(conditions: &Value, kind: &str) -> String {
    let all = conditions["conditions"].as_array().cloned().unwrap_or_default();
    let found = all.iter().find(|it| it["type"] == kind);
    let text = |it: &Value, field: &str| it[field].as_str().unwrap_or_default().to_owned();
    found.map(|it| format!("{} {}", text(it, "status"), text(it, "reason"))).unwrap_or_default()
}

fn gateway(listeners: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: front, namespace: default, generation: 5}}\nspec: {{gatewayClassName: dromon, listeners: [{listeners}]}}\n---\n"
    )
}

fn route(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}, namespace: {namespace}, generation: 7}}\nspec: {{{spec}}}\n---\n"
    )
}

const HTTP: &str = "{name: http, port: 80, protocol: HTTP}";
const BACKEND: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: default}\nspec: {ports: [{name: http, port: 8080}]}\n---\n";
const RULES: &str = "rules: [{backendRefs: [{name: a, port: 8080}]}]";

fn listener(listeners: &str, more: &str) -> Value {
    status(&writes(&(gateway(listeners) + BACKEND + more)), "Gateway", "front")["listeners"][0].clone()
}

#[test]
fn gateway_with_attached_routes() {
    let text =
        gateway(HTTP) + BACKEND + &route("r", "default", &format!("parentRefs: [{{name: front}}], {RULES}"));
    let all = writes(&text);
    let front = status(&all, "Gateway", "front");
    assert_eq!(condition(&front, "Accepted"), "True Accepted");
    assert_eq!(condition(&front, "Programmed"), "True Programmed");
    let addresses =
        json!([{"type": "IPAddress", "value": "192.0.2.1"}, {"type": "Hostname", "value": "gw.example"}]);
    assert_eq!(front["addresses"], addresses);
    let listener = &front["listeners"][0];
    assert_eq!((&listener["name"], &listener["attachedRoutes"]), (&json!("http"), &json!(1)));
    let kinds = json!([{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}, {"group": "gateway.networking.k8s.io", "kind": "GRPCRoute"}]);
    assert_eq!(listener["supportedKinds"], kinds);
    for (kind, expected) in [
        ("Accepted", "True Accepted"),
        ("Conflicted", "False NoConflicts"),
        ("Programmed", "True Programmed"),
        ("ResolvedRefs", "True ResolvedRefs"),
    ] {
        assert_eq!(condition(listener, kind), expected);
    }
    assert_eq!(listener["conditions"][0]["observedGeneration"], 5);
    let parent = &status(&all, "HTTPRoute", "r")["parents"][0];
    assert_eq!(parent["parentRef"], json!({"name": "front"}));
    assert_eq!(parent["controllerName"], "dromon.io/controller");
    assert_eq!(condition(parent, "Accepted"), "True Accepted");
    assert_eq!(condition(parent, "ResolvedRefs"), "True ResolvedRefs");
    assert_eq!(parent["conditions"][0]["observedGeneration"], 7);
}

#[test]
fn observed_generation_bump_and_equal_statuses() {
    let text =
        gateway(HTTP) + BACKEND + &route("r", "default", &format!("parentRefs: [{{name: front}}], {RULES}"));
    let previous: BTreeMap<Key, Value> = writes(&text).into_iter().map(|it| (it.key, it.status)).collect();
    assert_eq!(told_outside(&text, &previous, LATER, &outside()), Vec::new());
    let bumped = told_outside(&text.replace("generation: 7", "generation: 8"), &previous, LATER, &outside());
    assert_eq!(bumped.len(), 1, "{bumped:#?}");
    let written = &bumped[0].status["parents"][0]["conditions"][0];
    assert_eq!((&written["observedGeneration"], &written["lastTransitionTime"]), (&json!(8), &json!(NOW)));
}

#[test]
fn gateway_listener_unsupported_protocol() {
    let odd = "{name: odd, port: 80, protocol: example.com/odd}";
    let listener = listener(odd, "");
    assert_eq!(condition(&listener, "Accepted"), "False UnsupportedProtocol");
    assert_eq!(listener["supportedKinds"], json!([]));
    let front = |listeners: &str| status(&writes(&gateway(listeners)), "Gateway", "front");
    assert_eq!(condition(&front(odd), "Accepted"), "False ListenersNotValid");
    let mixed = front(&format!("{odd}, {{name: http, port: 8080, protocol: HTTP}}"));
    assert_eq!(condition(&mixed, "Accepted"), "True ListenersNotValid");
    assert_eq!(condition(&mixed, "Programmed"), "True Programmed");
}

#[test]
fn gateway_invalid_parameters_ref_and_addresses() {
    let spec = |more: &str| {
        let text =
            gateway(HTTP).replace("gatewayClassName: dromon,", &format!("gatewayClassName: dromon, {more},"));
        status(&writes(&text), "Gateway", "front")
    };
    let parameters = spec("infrastructure: {parametersRef: {group: '', kind: ConfigMap, name: x}}");
    assert_eq!(condition(&parameters, "Accepted"), "False InvalidParameters");
    assert_eq!(condition(&parameters, "Programmed"), "False Invalid");
    let odd = spec("addresses: [{type: example.com/odd, value: x}]");
    assert_eq!(condition(&odd, "Accepted"), "False UnsupportedAddress");
    let lost = spec("addresses: [{value: 198.51.100.1}]");
    assert_eq!(condition(&lost, "Programmed"), "False AddressNotUsable");
    let own = spec("addresses: [{value: 192.0.2.1}]");
    assert_eq!(condition(&own, "Programmed"), "True Programmed");
    assert_eq!(own["addresses"], json!([{"type": "IPAddress", "value": "192.0.2.1"}]));
    let nowhere = Outside { addresses: Vec::new(), ..outside() };
    let waiting = told_outside(&gateway(HTTP), &BTreeMap::new(), NOW, &nowhere);
    assert_eq!(condition(&status(&waiting, "Gateway", "front"), "Programmed"), "False AddressNotAssigned");
}

#[test]
fn gateway_invalid_route_kind() {
    let kinds = |kinds: &str| {
        listener(
            &format!("{{name: http, port: 80, protocol: HTTP, allowedRoutes: {{kinds: [{kinds}]}}}}"),
            "",
        )
    };
    let none = kinds("{kind: InvalidRoute}");
    assert_eq!(condition(&none, "ResolvedRefs"), "False InvalidRouteKinds");
    assert_eq!(none["supportedKinds"], json!([]));
    let some = kinds("{kind: InvalidRoute}, {kind: HTTPRoute}");
    assert_eq!(condition(&some, "ResolvedRefs"), "False InvalidRouteKinds");
    assert_eq!(some["supportedKinds"], json!([{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}]));
}

#[test]
fn gateway_invalid_tls_configuration_and_secret_reference_grants() {
    let pems = pems();
    let parts = [("tls.crt", pems.chain.as_str()), ("tls.key", pems.key.as_str())];
    let broken = [("tls.crt", "Hello world"), ("tls.key", "Hello world")];
    let https = |reference: &str, more: &str| {
        listener(
            &format!(
                "{{name: https, port: 443, protocol: HTTPS, tls: {{certificateRefs: [{{{reference}}}]}}}}"
            ),
            more,
        )
    };
    let secrets = secret("good", "default", &parts)
        + &secret("bad", "default", &broken)
        + &secret("far", "other", &parts);
    for reference in ["name: gone", "name: bad", "group: wrong, name: good", "kind: Wrong, name: good"] {
        let listener = https(reference, &secrets);
        assert_eq!(condition(&listener, "ResolvedRefs"), "False InvalidCertificateRef", "{reference}");
        assert_eq!(condition(&listener, "Programmed"), "False Invalid", "{reference}");
        assert_eq!(condition(&listener, "Accepted"), "True Accepted", "{reference}");
    }
    assert_eq!(condition(&https("name: good", &secrets), "Programmed"), "True Programmed");
    let far = "name: far, namespace: other";
    assert_eq!(condition(&https(far, &secrets), "ResolvedRefs"), "False RefNotPermitted");
    let grant = |from: &str, to: &str| {
        let grant = format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {{name: g, namespace: other}}\nspec: {{from: [{{group: gateway.networking.k8s.io, kind: Gateway, namespace: {from}}}], to: [{{group: '', kind: Secret{to}}}]}}\n---\n"
        );
        condition(&https(far, &(secrets.clone() + &grant)), "ResolvedRefs")
    };
    assert_eq!(grant("default", ""), "True ResolvedRefs");
    assert_eq!(grant("default", ", name: far"), "True ResolvedRefs");
    assert_eq!(grant("default", ", name: near"), "False RefNotPermitted");
    assert_eq!(grant("third", ""), "False RefNotPermitted");
}

#[test]
fn gateway_listeners_in_each_others_way() {
    let conflict = |listeners: &str| {
        let front = status(&writes(&gateway(listeners)), "Gateway", "front");
        let all = front["listeners"].as_array().cloned().unwrap_or_default();
        all.iter().map(|it| condition(it, "Conflicted")).collect::<Vec<_>>()
    };
    let same = "{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: HTTP}";
    assert_eq!(conflict(same), ["True HostnameConflict", "True HostnameConflict"]);
    let named =
        "{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: HTTP, hostname: b.example}";
    assert_eq!(conflict(named), ["False NoConflicts", "False NoConflicts"]);
    let mixed = "{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: TCP}, {name: c, port: 8080, protocol: HTTP}";
    assert_eq!(conflict(mixed), ["True ProtocolConflict", "True ProtocolConflict", "False NoConflicts"]);
}

#[test]
fn gateway_ports_that_the_deployment_does_not_open() {
    let far = listener("{name: far, port: 9999, protocol: HTTP}", "");
    assert_eq!(condition(&far, "Accepted"), "False PortUnavailable");
    assert_eq!(condition(&far, "Programmed"), "False Invalid");
}

#[test]
fn http_route_multiple_gateways() {
    let second = gateway(HTTP).replace("name: front", "name: second");
    let text = gateway(HTTP) + &second;
    let address = |all: &[StatusWrite]| status(all, "Gateway", "second")["addresses"].clone();
    let all = writes(&text);
    assert_eq!(condition(&status(&all, "Gateway", "front"), "Programmed"), "True Programmed");
    assert_eq!(condition(&status(&all, "Gateway", "second"), "Programmed"), "False AddressNotAssigned");
    assert_eq!(address(&all), json!([]));
    let key = all.iter().find(|it| it.name == "second").expect("a status").key.clone();
    let there = Outside { own: [(key, vec!["192.0.2.2".to_owned()])].into(), ..outside() };
    let all = told_outside(&text, &BTreeMap::new(), NOW, &there);
    assert_eq!(condition(&status(&all, "Gateway", "second"), "Programmed"), "True Programmed");
    assert_eq!(address(&all), json!([{"type": "IPAddress", "value": "192.0.2.2"}]));
}

fn parent(text: &str) -> Value {
    status(&writes(text), "HTTPRoute", "r")["parents"][0].clone()
}

#[test]
fn http_route_invalid_parent_refs() {
    let on = |reference: &str| {
        let text = gateway(HTTP)
            + BACKEND
            + &route("r", "default", &format!("parentRefs: [{{name: front, {reference}}}], {RULES}"));
        condition(&parent(&text), "Accepted")
    };
    assert_eq!(on("sectionName: http"), "True Accepted");
    assert_eq!(on("sectionName: other"), "False NoMatchingParent");
    assert_eq!(on("port: 80"), "True Accepted");
    assert_eq!(on("port: 81"), "False NoMatchingParent");
    let hosts = gateway("{name: http, port: 80, protocol: HTTP, hostname: '*.example.com'}")
        + BACKEND
        + &route(
            "r",
            "default",
            &format!("parentRefs: [{{name: front}}], hostnames: [example.com], {RULES}"),
        );
    assert_eq!(condition(&parent(&hosts), "Accepted"), "False NoMatchingListenerHostname");
    let nowhere = route("r", "default", &format!("parentRefs: [{{name: gone}}], {RULES}"));
    assert!(writes(&(nowhere + BACKEND)).is_empty(), "whose Gateway is not ours, is not ours to tell");
}

#[test]
fn http_route_cross_namespace_and_allowed_routes() {
    let from = |allowed: &str| {
        let listener =
            format!("{{name: http, port: 80, protocol: HTTP, allowedRoutes: {{namespaces: {{{allowed}}}}}}}");
        let text = gateway(&listener)
            + "apiVersion: v1\nkind: Namespace\nmetadata: {name: other, labels: {team: a}}\n---\n"
            + &route("r", "other", &format!("parentRefs: [{{name: front, namespace: default}}], {RULES}"));
        condition(&parent(&text), "Accepted")
    };
    assert_eq!(from("from: Same"), "False NotAllowedByListeners");
    assert_eq!(from("from: All"), "True Accepted");
    assert_eq!(from("from: None"), "False NotAllowedByListeners");
    assert_eq!(from("from: Selector, selector: {matchLabels: {team: a}}"), "True Accepted");
    assert_eq!(from("from: Selector, selector: {matchLabels: {team: b}}"), "False NotAllowedByListeners");
    assert_eq!(
        from("from: Selector, selector: {matchLabels: {kubernetes.io/metadata.name: other}}"),
        "True Accepted"
    );
    assert_eq!(
        from("from: Selector, selector: {matchExpressions: [{key: team, operator: NotIn, values: [a]}]}"),
        "False NotAllowedByListeners"
    );
}

#[test]
fn http_route_invalid_backend_refs() {
    let to = |backend: &str| {
        let text = gateway(HTTP)
            + BACKEND
            + &BACKEND.replace("default", "other").replace("name: a", "name: b")
            + &route(
                "r",
                "default",
                &format!(
                    "parentRefs: [{{name: front}}], rules: [{{backendRefs: [{{{backend}, port: 8080}}]}}]"
                ),
            );
        let parent = parent(&text);
        assert_eq!(condition(&parent, "Accepted"), "True Accepted");
        condition(&parent, "ResolvedRefs")
    };
    assert_eq!(to("name: a"), "True ResolvedRefs");
    assert_eq!(to("kind: NonExistent, name: a"), "False InvalidKind");
    assert_eq!(to("name: gone"), "False BackendNotFound");
    assert_eq!(to("name: b, namespace: other"), "False RefNotPermitted");
}

#[test]
fn http_route_partially_invalid_and_wholly() {
    let mirror = "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 8080}}}], backendRefs: [{name: a, port: 8080}]}";
    let with = |rules: &str| {
        parent(
            &(gateway(HTTP)
                + BACKEND
                + &route("r", "default", &format!("parentRefs: [{{name: front}}], rules: [{rules}]"))),
        )
    };
    let partly = with(&format!("{mirror}, {{backendRefs: [{{name: a, port: 8080}}]}}"));
    assert_eq!(condition(&partly, "Accepted"), "True Accepted");
    assert_eq!(condition(&partly, "PartiallyInvalid"), "True UnsupportedValue");
    let wholly = with(mirror);
    assert_eq!(condition(&wholly, "Accepted"), "False UnsupportedValue");
}

#[test]
fn what_other_controllers_say_of_a_route_stays() {
    let text = gateway(HTTP)
        + BACKEND
        + &route("r", "default", &format!("parentRefs: [{{name: front}}, {{name: theirs}}], {RULES}"));
    let theirs =
        json!({"parentRef": {"name": "theirs"}, "controllerName": "example.com/other", "conditions": []});
    let key = writes(&text).into_iter().find(|it| it.kind == "HTTPRoute").expect("the route").key;
    let previous = [(key.clone(), json!({"parents": [theirs.clone()]}))].into();
    let parents =
        status(&told_outside(&text, &previous, NOW, &outside()), "HTTPRoute", "r")["parents"].clone();
    assert_eq!(parents.as_array().map(Vec::len), Some(2));
    assert_eq!(parents[1], theirs);
    // Ours goes when the route leaves us.
    let previous = [(key, json!({"parents": parents}))].into();
    let left = text.replace("{name: front}, {name: theirs}", "{name: theirs}");
    let after = status(&told_outside(&left, &previous, NOW, &outside()), "HTTPRoute", "r");
    assert_eq!(after["parents"], json!([theirs]));
}

#[test]
fn mesh_routes_are_told_and_the_lesser_kind_on_a_port_is_conflicted() {
    let on = "parentRefs: [{group: '', kind: Service, name: a}]";
    let http = route("r", "default", &format!("{on}, {RULES}"));
    let grpc = http.replace("kind: HTTPRoute", "kind: GRPCRoute").replace("name: r,", "name: g,");
    let all = writes(&(BACKEND.to_owned() + &http));
    assert_eq!(condition(&status(&all, "HTTPRoute", "r")["parents"][0], "Accepted"), "True Accepted");
    let all = writes(&(BACKEND.to_owned() + &http + &grpc));
    assert_eq!(condition(&status(&all, "HTTPRoute", "r")["parents"][0], "Accepted"), "False Conflicted");
    assert_eq!(condition(&status(&all, "GRPCRoute", "g")["parents"][0], "Accepted"), "True Accepted");
    let gone = writes(&http);
    assert_eq!(
        condition(&status(&gone, "HTTPRoute", "r")["parents"][0], "Accepted"),
        "False NoMatchingParent"
    );
}

#[test]
fn backend_tls_policies_are_told_for_each_gateway() {
    let policy = |name: &str, target: &str, cas: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {{name: {name}, namespace: default, generation: 2}}\nspec: {{targetRefs: [{{group: '', kind: Service, name: {target}}}], validation: {{hostname: a.example, {cas}}}}}\n---\n"
        )
    };
    let base =
        gateway(HTTP) + BACKEND + &route("r", "default", &format!("parentRefs: [{{name: front}}], {RULES}"));
    let system = "wellKnownCACertificates: System";
    let all = writes(&(base.clone() + &policy("one", "a", system) + &policy("two", "a", system)));
    let one = &status(&all, "BackendTLSPolicy", "one")["ancestors"][0];
    assert_eq!(one["ancestorRef"]["name"], "front");
    assert_eq!(condition(one, "Accepted"), "True Accepted");
    assert_eq!(
        condition(&status(&all, "BackendTLSPolicy", "two")["ancestors"][0], "Accepted"),
        "False Conflicted"
    );
    let lost = "caCertificateRefs: [{group: '', kind: ConfigMap, name: gone}]";
    let all = writes(&(base.clone() + &policy("one", "a", lost)));
    let one = &status(&all, "BackendTLSPolicy", "one")["ancestors"][0];
    assert_eq!(condition(one, "Accepted"), "False NoValidCACertificate");
    assert_eq!(condition(one, "ResolvedRefs"), "False InvalidCACertificateRef");
    let kind = lost.replace("ConfigMap", "Odd");
    let all = writes(&(base + &policy("one", "a", &kind)));
    assert_eq!(
        condition(&status(&all, "BackendTLSPolicy", "one")["ancestors"][0], "ResolvedRefs"),
        "False InvalidKind"
    );
}

#[test]
fn ingresses_are_told_their_addresses() {
    let text = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i, namespace: default}\nspec: {ingressClassName: dromon, defaultBackend: {service: {name: a, port: {number: 8080}}}}\n---\n".to_owned() + BACKEND;
    let all = writes(&text);
    let written = &all.iter().find(|it| it.kind == "Ingress").expect("the Ingress").status;
    assert_eq!(
        *written,
        json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "gw.example"}]}})
    );
    assert!(writes(&text.replace("ingressClassName: dromon", "ingressClassName: nginx")).is_empty());
}
