//! The controller over a real API server, with the rights that an installation gives it and no more: what it follows, what
//! it keeps in Secrets, and what of it survives when the API server, its history, kinds, Secrets or replicas go away.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use dromon_k8s::install::rbac;
use dromon_tests::http::get;
use dromon_tests::kube::api_server::ApiServer;
use dromon_tests::kube::controller::{Controller, SYSTEM, account, define};
use dromon_tests::process::Process;
use dromon_tests::{bin, eventually, free_port};
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

/// A proxy with the certificate of an account's Secret.
struct Proxy {
    _process: Process,
    admin: SocketAddr,
    _certs: tempfile::TempDir,
}

impl Proxy {
    fn start(kube: &ApiServer, feed: SocketAddr, pod: &str, account: &str) -> Proxy {
        let certs = tempfile::tempdir().expect("a folder");
        mount(kube, certs.path(), account);
        let at = |port: u16| SocketAddr::new(POD_IP.parse().expect("an address"), port);
        let admin = at(free_port());
        let mut command = Command::new(bin("dromon-proxy"));
        command.args(["--id", &format!("sidecar~{pod}.default"), "--feed", &feed.to_string()]);
        command.args(["--shards", "1", "--pin", "off", "--certs"]).arg(certs.path());
        command.args(["--admin-addr", &admin.to_string(), "--health-addr", &at(free_port()).to_string()]);
        Proxy { _process: Process::start(&mut command), admin, _certs: certs }
    }

    /// Waits until the configuration in force names something, or does not any more.
    fn wait(&self, part: &str, is_there: bool) {
        eventually(&format!("{part:?} to be there ({is_there}) at the proxy"), || {
            let answer = get(self.admin, "/config", &[]).ok()?;
            (answer.status == 200 && answer.text().contains(part) == is_there).then_some(())
        });
    }
}

/// Puts an account's Secret into a folder, as a kubelet mounts it.
fn mount(kube: &ApiServer, folder: &Path, account: &str) {
    for file in ["key.pem", "cert-chain.pem", "root-cert.pem"] {
        let template = format!("{{{{index .data \"{file}\" | base64decode}}}}");
        let name = format!("dromon.{account}");
        let text = kube.kubectl().run(&["get", "secret", &name, "-o", &format!("go-template={template}")]);
        std::fs::write(folder.join(file), text).expect("written");
    }
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

/// The pod runs and is ready.
fn run_pod(kube: &ApiServer) {
    let status = json!({"status": {
        "phase": "Running", "podIP": POD_IP, "podIPs": [{"ip": POD_IP}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }});
    let patch = status.to_string();
    kube.kubectl().run(&[
        "patch",
        "pod",
        "web-1",
        "--subresource",
        "status",
        "--type",
        "merge",
        "-p",
        &patch,
    ]);
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
    run_pod(&kube);
    let mut controller = Controller::start(&account, "one");
    secret_version(&kube, "");
    let proxy = Proxy::start(&kube, controller.feed, "web-1", "default");
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
    run_pod(&kube);
    let mut controller = Controller::start(&account, "one");
    kube.kubectl().wait(&["secret", "dromon.other"], |it| Some(it.clone()));
    let _impostor = Proxy::start(&kube, controller.feed, "web-1", "other");
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
