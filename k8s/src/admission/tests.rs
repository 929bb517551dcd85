use serde_json::json;

use super::*;
use crate::testing::set;

fn route(http: Value) -> Value {
    json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "reviews", "namespace": "default"},
        "spec": {"hosts": ["reviews"], "http": http}})
}

const REVIEWS: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: reviews, namespace: default}\nspec: {ports: [{port: 80, name: http}]}\n";

#[test]
fn what_is_wrong_in_itself_is_refused_with_the_text_of_analyze() {
    let object =
        route(json!([{"timeout": "5", "route": [{"destination": {"host": "reviews", "subset": "v9"}}]}]));
    let verdict = review(object.clone(), &set(REVIEWS));
    assert!(!verdict.is_allowed());
    let expected: Vec<String> = parse::json(object).diagnostics.iter().map(Diagnostic::to_string).collect();
    assert_eq!(verdict.refusal(), expected.join("\n"));
    assert!(verdict.refusal().contains("spec.http[0].timeout"), "{}", verdict.refusal());
}

#[test]
fn what_depends_on_others_is_a_warning() {
    let object = route(json!([{"route": [{"destination": {"host": "reviews", "subset": "v2"}}]}]));
    let verdict = review(object, &set(REVIEWS));
    assert!(verdict.is_allowed() && verdict.waits, "{verdict:#?}");
    let told = verdict.warning_texts().join("\n");
    assert!(
        told.starts_with("VirtualService/default/reviews spec.http[0].route[0].destination.subset"),
        "{told}"
    );
}

#[test]
fn a_sound_object_and_a_kind_of_no_concern_are_let_in_without_a_word() {
    let object = route(json!([{"route": [{"destination": {"host": "reviews"}}]}]));
    assert_eq!(review(object, &set(REVIEWS)), Verdict::default());
    let foreign =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {}});
    assert!(review(foreign, &set(REVIEWS)).is_allowed());
}

#[test]
fn that_nobody_uses_it_yet_is_not_held_against_a_new_object() {
    let gateway = json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
        "metadata": {"name": "a", "namespace": "default"},
        "spec": {"selector": {"app": "dromon-gateway"},
            "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]}});
    assert_eq!(review(gateway, &set(REVIEWS)), Verdict::default());
}

const CLASSES: &str = "apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: theirs}
spec: {controller: example.com/other}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: ours-too}
spec: {controller: dromon.io/ingress}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: theirs}
spec: {controllerName: example.com/other}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: theirs, namespace: infra}
spec: {gatewayClassName: theirs, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: ours, namespace: infra}
spec: {gatewayClassName: dromon, listeners: [{name: http, port: 80, protocol: HTTP}]}
";

#[test]
fn of_another_controllers_ingresses_nothing_is_said() {
    let ingress = |class: &str| {
        let object = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": "a", "namespace": "default"},
            "spec": {"ingressClassName": class,
                "defaultBackend": {"resource": {"kind": "Bucket", "name": "a"}}}});
        review(object, &set(CLASSES)).warning_texts().join("\n")
    };
    assert_eq!(ingress("theirs"), "");
    for ours in ["dromon", "ours-too"] {
        assert!(ingress(ours).contains("spec.defaultBackend.resource"), "{ours}: {}", ingress(ours));
    }
}

#[test]
fn of_another_controllers_gateways_and_their_routes_nothing_is_said() {
    // None of this fits our types, and all of it may be right where it is theirs.
    let gateway = |class: &str| {
        let object = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "a", "namespace": "default"},
            "spec": {"gatewayClassName": class, "listeners": [{"name": "a", "port": "many", "protocol": "HTTP"}]}});
        review(object, &set(CLASSES))
    };
    assert_eq!(gateway("theirs"), Verdict::default());
    for ours in ["dromon", "nobodys"] {
        assert!(!gateway(ours).is_allowed(), "{ours}");
    }
    let route = |parents: Value| {
        let object = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "a", "namespace": "default"},
            "spec": {"parentRefs": parents, "rules": [{"filters": [{"type": "Nothing"}]}]}});
        review(object, &set(CLASSES))
    };
    let theirs = json!({"name": "theirs", "namespace": "infra"});
    let ours = json!({"name": "ours", "namespace": "infra"});
    let service = json!({"group": "", "kind": "Service", "name": "theirs", "namespace": "infra"});
    assert_eq!(route(json!([theirs])), Verdict::default());
    for parents in [json!([theirs, ours]), json!([theirs, service]), json!([{"name": "theirs"}]), json!([])] {
        assert!(!route(parents.clone()).is_allowed(), "{parents}");
    }
}
