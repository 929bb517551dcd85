//! What is written back: statuses as `kubectl get -o yaml` shows them, read from a real API server that checks them against the
//! published definitions. Conditions and their reasons are those of the Gateway API's specification.

use std::path::PathBuf;

use dromon_k8s::install::rbac;
use dromon_tests::kube::api_server::ApiServer;
use dromon_tests::kube::controller::{Controller, SYSTEM, account, define};
use serde_json::{Value, json};

/// The address that a load balancer gives the gateway's Service.
const ADDRESS: &str = "192.0.2.80";

const GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: dromon}
spec: {controllerName: dromon.io/controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: of-others}
spec: {controllerName: example.com/other}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: shop, namespace: default}
spec:
  gatewayClassName: dromon
  listeners:
  - {name: http, port: 80, protocol: HTTP, hostname: '*.shop.example'}
  - {name: https, port: 443, protocol: HTTPS, hostname: '*.shop.example', tls: {certificateRefs: [{name: absent}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: not-ours, namespace: default}
spec: {gatewayClassName: of-others, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: other}
spec: {ports: [{name: http, port: 80}]}
";

fn route(name: &str, more: &str, backend: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: default}}
spec: {{parentRefs: [{{name: shop{more}, rules: [{{backendRefs: [{{{backend}, port: 80}}]}}]}}
"
    )
}

/// An API server with rights, definitions and the gateway's Service; a kubeconfig of the controller's account.
fn installed() -> Option<(ApiServer, PathBuf)> {
    let kube = ApiServer::start("kube_api_status")?;
    let account = account(&kube, &rbac::objects(SYSTEM));
    define(&kube, "istio.yaml", "virtualservices.networking.istio.io");
    define(&kube, "gateway-api.yaml", "httproutes.gateway.networking.k8s.io");
    kube.kubectl().apply(&format!(
        "apiVersion: v1
kind: Service
metadata: {{name: dromon-gateway, namespace: {SYSTEM}}}
spec: {{type: LoadBalancer, ports: [{{name: http, port: 80}}, {{name: https, port: 443}}]}}
"
    ));
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": ADDRESS}]}}}).to_string();
    let service = ["patch", "service", "dromon-gateway", "-n", SYSTEM, "--subresource", "status"];
    kube.kubectl().run(&[&service[..], &["--type", "merge", "-p", &status]].concat());
    Some((kube, account))
}

/// A condition's status and reason, if it was observed of the object's present generation.
fn condition(object: &Value, conditions: &Value, of: &str) -> Option<(String, String)> {
    let found = conditions.as_array()?.iter().find(|it| it["type"] == of)?;
    assert!(found["lastTransitionTime"].is_string() && found["message"].is_string(), "{found}");
    let current = found["observedGeneration"] == object["metadata"]["generation"];
    current.then(|| (text(&found["status"]), text(&found["reason"])))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Waits until an object's conditions at `path` are `expected` (type, status, reason); the object.
fn wait(kube: &ApiServer, what: &[&str], path: &str, expected: &[(&str, &str, &str)]) -> Value {
    kube.kubectl().wait(what, |it| {
        let conditions = it.pointer(path)?;
        let holds = |(of, status, reason): &(&str, &str, &str)| {
            condition(it, conditions, of)
                .is_some_and(|found| found == (status.to_string(), reason.to_string()))
        };
        expected.iter().all(holds).then(|| it.clone())
    })
}

const ACCEPTED: (&str, &str, &str) = ("Accepted", "True", "Accepted");
const RESOLVED: (&str, &str, &str) = ("ResolvedRefs", "True", "ResolvedRefs");
const PARENT: &str = "/status/parents/0/conditions";

#[test]
fn gateways_and_routes_are_told_what_became_of_them() {
    let Some((kube, account)) = installed() else { return };
    let kubectl = kube.kubectl();
    kube.namespace("other");
    kubectl.apply(GATEWAY);
    let _controller = Controller::start(&account, "one");
    wait(&kube, &["gatewayclass", "dromon"], "/status/conditions", &[ACCEPTED]);

    let gateway = ["gateway.gateway.networking.k8s.io", "shop"];
    let programmed = ("Programmed", "True", "Programmed");
    let found = wait(&kube, &gateway, "/status/listeners/0/conditions", &[ACCEPTED, RESOLVED, programmed]);
    assert_eq!(found["status"]["addresses"], json!([{"type": "IPAddress", "value": ADDRESS}]));
    let unresolved = ("ResolvedRefs", "False", "InvalidCertificateRef");
    let https = [unresolved, ("Programmed", "False", "Invalid")];
    wait(&kube, &gateway, "/status/listeners/1/conditions", &https);

    kubectl.apply(&route("good", "}], hostnames: [a.shop.example]", "name: web"));
    let good = wait(&kube, &["httproute", "good"], PARENT, &[ACCEPTED, RESOLVED]);
    assert_eq!(good["status"]["parents"][0]["controllerName"], "dromon.io/controller");
    assert_eq!(good["status"]["parents"][0]["parentRef"]["name"], "shop");
    kubectl.wait(&gateway, |it| (it["status"]["listeners"][0]["attachedRoutes"] == 1).then_some(()));

    routes_that_fail(&kube);
    refused_routes(&kube);

    // A generation on: what was observed follows.
    let patch = json!([{"op": "remove", "path": "/spec/listeners/1"}]).to_string();
    kubectl.run(&["patch", gateway[0], "shop", "--type=json", "-p", &patch]);
    let changed = wait(&kube, &gateway, "/status/conditions", &[ACCEPTED, programmed]);
    assert_eq!(changed["metadata"]["generation"], 2);
    assert_eq!(changed["status"]["listeners"].as_array().map(Vec::len), Some(1));
    for theirs in [["gatewayclass", "of-others"], ["gateway.gateway.networking.k8s.io", "not-ours"]] {
        let other = kubectl.get(&theirs).expect("there");
        assert!(
            !other["status"].to_string().contains("dromon"),
            "nobody else's objects are written: {other}"
        );
    }
}

/// Each way in which a route is refused or leads nowhere, by its reason.
fn routes_that_fail(kube: &ApiServer) {
    let kubectl = kube.kubectl();
    kubectl.apply(&route("dangling", "}], hostnames: [b.shop.example]", "name: absent"));
    let dangling = [ACCEPTED, ("ResolvedRefs", "False", "BackendNotFound")];
    wait(kube, &["httproute", "dangling"], PARENT, &dangling);
    kubectl.apply(&route("elsewhere", "}], hostnames: [elsewhere.example]", "name: web"));
    let elsewhere = ("Accepted", "False", "NoMatchingListenerHostname");
    wait(kube, &["httproute", "elsewhere"], PARENT, &[elsewhere]);
    kubectl.apply(&route("lost", ", sectionName: nothing}]", "name: web"));
    wait(kube, &["httproute", "lost"], PARENT, &[("Accepted", "False", "NoMatchingParent")]);

    kubectl.apply(&route("across", "}], hostnames: [c.shop.example]", "name: web, namespace: other"));
    let refused = [ACCEPTED, ("ResolvedRefs", "False", "RefNotPermitted")];
    wait(kube, &["httproute", "across"], PARENT, &refused);
    kubectl.apply(
        "apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: from-default, namespace: other}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}]
  to: [{group: '', kind: Service}]
",
    );
    wait(kube, &["httproute", "across"], PARENT, &[ACCEPTED, RESOLVED]);
}

/// The Events of an object, once there are any.
fn events(kube: &ApiServer, kind: &str, name: &str) -> Vec<Value> {
    let of = format!("involvedObject.kind={kind},involvedObject.name={name}");
    kube.kubectl().wait(&["events", "-n", "default", "--field-selector", &of], |found| {
        found["items"].as_array().filter(|items| !items.is_empty()).cloned()
    })
}

/// Asserts that an object has one Event, of what is wrong at a field, as it would be at the object as it is.
fn is_told_by_event(kube: &ApiServer, kind: &str, name: &str, field: &str) {
    let found = events(kube, kind, name);
    assert_eq!(found.len(), 1, "{found:#?}");
    let (event, object) = (&found[0], kube.kubectl().get(&[kind, name]).expect("there"));
    let told = ["type", "reason", "reportingComponent", "action"].map(|it| text(&event[it]));
    assert_eq!(told, ["Warning", "Refused", "dromon.io/controller", "Read"], "{event:#}");
    let message = text(&event["message"]);
    assert!(message.starts_with(&format!("{field} ")), "{message}");
    let of = &event["involvedObject"];
    for part in ["apiVersion", "kind"] {
        assert_eq!(of[part], object[part], "{of:#}");
    }
    for part in ["name", "namespace", "uid"] {
        assert_eq!(of[part], object["metadata"][part], "{of:#}");
    }
    let described = kube.kubectl().run(&["describe", kind, name]);
    assert!(described.contains("Refused") && described.contains(field), "{described}");
}

/// Routes that the API server takes and no proxy could carry out. What hangs on another controller's Gateway alone is not ours to
/// judge, whatever we make of it.
fn refused_routes(kube: &ApiServer) {
    let broken = |name: &str, parent: &str| {
        let rule = "matches: [{path: {type: RegularExpression, value: '/('}}], backendRefs: ";
        route(name, "}]", "name: web").replace("name: shop", parent).replace("backendRefs: ", rule)
    };
    kube.kubectl().apply(&(broken("a-theirs", "name: not-ours") + "---\n" + &broken("ours", "name: shop")));
    is_told_by_event(kube, "HTTPRoute", "ours", "spec.rules[0]");
    let all = kube.kubectl().run(&["get", "events", "-n", "default"]);
    assert!(!all.contains("a-theirs"), "{all}");
}

#[test]
fn ingresses_get_addresses_and_rules_are_told_which_field_is_wrong() {
    let Some((kube, account)) = installed() else { return };
    let kubectl = kube.kubectl();
    kubectl.apply(
        "
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: dromon}
spec: {controller: dromon.io/ingress}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: default}
spec: {ingressClassName: dromon, defaultBackend: {service: {name: web, port: {number: 80}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: not-ours, namespace: default}
spec: {ingressClassName: of-others, defaultBackend: {service: {name: web, port: {number: 80}}}}
",
    );
    let rule = |subset: &str, weight: &str| {
        format!(
            "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: default}}
spec: {{hosts: [web], http: [{{route: [{{destination: {{host: web{subset}}}{weight}}}]}}]}}
"
        )
    };
    kubectl.apply(&rule(", subset: v9", ""));
    kubectl.apply("apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\nspec: {ports: [{name: http, port: 80}]}\n");
    let first = Controller::start(&account, "one");
    let ours =
        |it: &Value| (it["status"]["loadBalancer"]["ingress"] == json!([{"ip": ADDRESS}])).then_some(());
    kubectl.wait(&["ingress", "shop"], ours);

    // The subset that is not there yet.
    let virtual_service = ["virtualservice", "web"];
    let unresolved = ("Reconciled", "False", "Unresolved");
    let found = wait(&kube, &virtual_service, "/status/conditions", &[unresolved]);
    let said = text(&found["status"]["conditions"][0]["message"]);
    assert!(said.contains("spec.http[0].route[0].destination.subset"), "{said}");
    assert_eq!(found["status"]["validationMessages"][0]["level"], "ERROR");
    // An object that is wrong in itself and got in while no webhook looked.
    kubectl.apply(&rule("", ", weight: -1"));
    let invalid = ("Reconciled", "False", "Invalid");
    let found = wait(&kube, &virtual_service, "/status/conditions", &[invalid]);
    assert!(found["status"].to_string().contains("spec.http[0].route[0].weight"), "{}", found["status"]);
    is_told_by_event(&kube, "VirtualService", "web", "spec.http[0].route[0].weight");

    elected(&kube, &account, first, &rule("", ""));
    let other = kubectl.get(&["ingress", "not-ours"]).expect("there");
    assert_eq!(other["status"]["loadBalancer"].get("ingress"), None);
}

/// A second replica writes nothing until it leads; the fault is then mended, and its status with it.
fn elected(kube: &ApiServer, account: &std::path::Path, mut first: Controller, mended: &str) {
    let second = Controller::start(account, "two");
    assert!(first.leads() && !second.leads());
    first.process.signal(9);
    first.process.wait();
    kube.kubectl().apply(mended);
    let mended = kube.kubectl().get(&["virtualservice", "web"]).expect("there");
    let stale = condition(&mended, &mended["status"]["conditions"], "Reconciled");
    assert!(stale.is_none() || second.leads(), "{stale:?} was written by who does not lead");
    wait(kube, &["virtualservice", "web"], "/status/conditions", &[("Reconciled", "True", "Reconciled")]);
    assert!(second.leads());
}
