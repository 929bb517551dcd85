//! The controller over a real API server, with the rights that an installation gives it and no more: what it follows, what
//! it keeps in Secrets, and what of it survives when the API server, its history, kinds, Secrets or replicas go away.

use std::net::SocketAddr;
use std::path::PathBuf;

use dromon_k8s::install::rbac;
use dromon_tests::kube::api_server::{ApiServer, Setup};
use dromon_tests::kube::controller::{Controller, SYSTEM, account, define};
use dromon_tests::kube::pod::{self, PodProxy, Who};
use dromon_tests::{eventually, free_port};
use serde_json::{Value, json};

/// The pod's address: one of this machine's, so that a proxy can have it.
const POD_IP: &str = "127.77.203.1";

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 9080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: default, labels: {app: web}, annotations: {dromon.io/status: '{}'}}
spec:
  automountServiceAccountToken: false
  containers: [{name: app, image: web, ports: [{containerPort: 9080}]}]
  volumes: [{name: certs, secret: {secretName: dromon.default}}]
";

const OTHER: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: other, namespace: default}
---
apiVersion: v1
kind: Pod
metadata: {name: other-1, namespace: default, annotations: {dromon.io/status: '{}'}}
spec:
  serviceAccountName: other
  automountServiceAccountToken: false
  containers: [{name: app, image: other}]
  volumes: [{name: certs, secret: {secretName: dromon.other}}]
";

fn route(name: &str, host: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: default}}
spec: {{hosts: [{host}], http: [{{name: of-{name}, route: [{{destination: {{host: web}}}}]}}]}}
"
    )
}

/// The sidecar of `web-1`, with the certificate of an account.
fn sidecar(kube: &ApiServer, feed: SocketAddr, account: &str) -> PodProxy {
    let who = Who { role: "sidecar", pod: "web-1", namespace: "default", account, address: POD_IP };
    PodProxy::start(kube, feed, who)
}

/// An API server with the rights of an installation and Istio's kinds; a kubeconfig of the controller's account.
fn installed() -> Option<(ApiServer, PathBuf)> {
    let kube = ApiServer::start("kube_api_source")?;
    let account = account(&kube, &rbac::objects(SYSTEM));
    define_rules(&kube);
    Some((kube, account))
}

fn define_rules(kube: &ApiServer) {
    define(kube, "istio.yaml", "virtualservices.networking.istio.io");
}

fn secret_version(kube: &ApiServer, before: &str) -> String {
    kube.kubectl().wait(&["secret", "dromon.default"], |it| {
        let key = it["data"]["key.pem"].as_str()?;
        (key != before).then(|| key.to_owned())
    })
}

#[test]
fn a_pods_proxy_follows_the_cluster_through_every_loss() {
    let Some((mut kube, account)) = installed() else { return };
    kube.kubectl().apply(SERVICE);
    kube.kubectl().apply(&route("first", "first.example"));
    pod::runs(&kube, "default", "web-1", POD_IP);
    let mut controller = Controller::start(&account, "one");
    secret_version(&kube, "");
    let proxy = sidecar(&kube, controller.feed, "default");
    proxy.wait("first.example", true);
    kube.kubectl().apply(&route("second", "second.example"));
    proxy.wait("second.example", true);

    // The API server crashes, and what it knew of earlier versions is gone when it is back.
    kube.kubectl().delete(&route("second", "second.example"));
    kube.kill();
    proxy.wait("first.example", true);
    kube.compact();
    kube.restart();
    kube.kubectl().apply(&route("third", "third.example"));
    proxy.wait("third.example", true);
    proxy.wait("second.example", false);

    // A kind goes, with all its objects, and comes back.
    kube.kubectl().run(&["delete", "crd", "virtualservices.networking.istio.io"]);
    proxy.wait("first.example", false);
    define_rules(&kube);
    kube.kubectl().apply(&route("fourth", "fourth.example"));
    proxy.wait("fourth.example", true);

    // What is refused is told beside the object, and what was good stays.
    let broken = route("fourth", "fourth.example").replace("host: web}", "host: web}, weight: -1");
    kube.kubectl().apply(&broken);
    controller.process.expect_stderr(&["VirtualService/default/fourth", "weight"]);
    eventually("an Event about it", || {
        let events = kube.kubectl().get(&["events.events.k8s.io", "-n", "default"])?;
        let events = events["items"].as_array()?.clone();
        events.iter().any(|it| it["regarding"]["name"] == "fourth" && it["reason"] == "Refused").then_some(())
    });
    proxy.wait("fourth.example", true);
}

#[test]
fn who_is_not_the_pod_gets_nothing() {
    let Some((kube, account)) = installed() else { return };
    kube.kubectl().apply(SERVICE);
    kube.kubectl().apply(OTHER);
    pod::runs(&kube, "default", "web-1", POD_IP);
    let mut controller = Controller::start(&account, "one");
    kube.kubectl().wait(&["secret", "dromon.other"], |it| Some(it.clone()));
    let _impostor = sidecar(&kube, controller.feed, "other");
    controller.process.expect_stderr(&["feed refused", "sa/other asks as sidecar~web-1.default"]);
}

#[test]
fn secrets_are_made_again_and_go_with_their_account() {
    let Some((kube, account)) = installed() else { return };
    kube.kubectl().apply(SERVICE);
    let controller = Controller::start(&account, "one");
    let first = secret_version(&kube, "");
    kube.kubectl().run(&["delete", "secret", "dromon.default"]);
    let second = secret_version(&kube, &first);
    let broken = json!({"data": {"key.pem": "bm8ga2V5"}}).to_string();
    kube.kubectl().run(&["patch", "secret", "dromon.default", "--type", "merge", "-p", &broken]);
    kube.kubectl().wait(&["secret", "dromon.default"], |it| {
        let key = it["data"]["key.pem"].as_str()?;
        (key != "bm8ga2V5" && key != second).then_some(())
    });

    // The CA's own Secret, deleted by hand, comes back with the same root.
    let root = |it: &Value| it["data"]["ca.crt"].as_str().map(str::to_owned);
    let before = kube.kubectl().wait(&["secret", "dromon-ca", "-n", SYSTEM], root);
    kube.kubectl().run(&["delete", "secret", "dromon-ca", "-n", SYSTEM]);
    assert_eq!(kube.kubectl().wait(&["secret", "dromon-ca", "-n", SYSTEM], root), before);

    // A change of root, asked for at the Secret: three steps, then another root alone.
    let old = controller.page("/certs")["roots"][0].clone();
    kube.kubectl().run(&["annotate", "secret", "dromon-ca", "-n", SYSTEM, "dromon.io/rotate-root=now"]);
    eventually("the root to be changed", || {
        let page = controller.page("/certs");
        let roots = page["roots"].as_array()?.clone();
        (roots.len() == 1 && roots[0] != old && page.get("rotation").is_none()).then_some(())
    });

    kube.kubectl().run(&["delete", "pod", "web-1", "--grace-period", "0", "--force"]);
    kube.kubectl().run(&["delete", "serviceaccount", "default"]);
    kube.kubectl().wait_gone(&["secret", "dromon.default"]);
}

#[test]
fn of_two_replicas_one_writes_and_both_have_one_root() {
    let Some((kube, account)) = installed() else { return };
    let mut first = Controller::start(&account, "one");
    let mut second = Controller::start(&account, "two");
    assert_eq!(first.page("/certs")["roots"], second.page("/certs")["roots"]);
    eventually("one to lead", || (first.leads() != second.leads()).then_some(()));
    // Somebody else takes the Lease: nobody of ours writes until that one has let it run out.
    let stolen = json!({"spec": {"holderIdentity": "somebody"}}).to_string();
    let lease = ["lease", "dromon-controller", "-n", SYSTEM];
    kube.kubectl().run(&[&["patch"][..], &lease, &["--type", "merge", "-p", &stolen]].concat());
    eventually("nobody to lead", || (!first.leads() && !second.leads()).then_some(()));
    eventually("one to lead again", || (first.leads() != second.leads()).then_some(()));
    let (leader, other) = if first.leads() { (&mut first, &mut second) } else { (&mut second, &mut first) };
    // A crash: the Lease runs out.
    leader.process.signal(9);
    leader.process.wait();
    eventually("the other to take over", || other.leads().then_some(()));
    kube.kubectl().apply(SERVICE);
    secret_version(&kube, "");
    // An end: the Lease is given back at once.
    other.process.signal(15);
    assert!(other.process.wait().success());
    let lease = kube.kubectl().get(&lease).expect("a Lease");
    assert_eq!(lease["spec"]["holderIdentity"].as_str().unwrap_or_default(), "");
}

/// A server that has no EndpointSlices: what stands in Endpoints counts, and what changes there.
#[test]
fn where_no_endpoint_slices_are_served_endpoints_count() {
    let Some(kube) = Setup::default().without_endpoint_slices().start("kube_api_source") else { return };
    let served = kube.kubectl().run(&["api-resources", "-o", "name"]);
    assert!(!served.contains("endpointslices"), "{served}");
    let account = account(&kube, &rbac::objects(SYSTEM));
    define_rules(&kube);
    let pods = pod::gateway([free_port(), free_port()], &["gateway-1"]);
    kube.kubectl().apply(&json!({"apiVersion": "v1", "kind": "List", "items": pods}).to_string());
    pod::runs(&kube, SYSTEM, "gateway-1", POD_IP);
    let endpoints = |address: &str| {
        format!(
            "apiVersion: v1
kind: Endpoints
metadata: {{name: web, namespace: default}}
subsets: [{{addresses: [{{ip: {address}}}], ports: [{{name: http, port: 9080}}]}}]
"
        )
    };
    kube.kubectl().apply(WAY_IN);
    kube.kubectl().apply(&endpoints("192.0.2.71"));
    let controller = Controller::start(&account, "one");
    let proxy = PodProxy::start(&kube, controller.feed, Who::gateway("gateway-1", POD_IP));
    proxy.wait("192.0.2.71", true);
    kube.kubectl().apply(&endpoints("192.0.2.72"));
    proxy.wait("192.0.2.72", true);
    proxy.wait("192.0.2.71", false);
    kube.kubectl().run(&["delete", "endpoints", "web"]);
    proxy.wait("192.0.2.72", false);
}

/// A Service that selects nothing, and a way to it from outside.
const WAY_IN: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {ports: [{name: http, port: 80, targetPort: 9080}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: default}
spec:
  selector: {app: dromon-gateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: default}
spec: {hosts: ['*'], gateways: [front], http: [{route: [{destination: {host: web}}]}]}
";
