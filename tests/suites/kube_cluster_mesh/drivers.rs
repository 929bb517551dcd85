//! `dromonctl install-seccomp` and what follows: sidecars on io_uring under our own profile, here as ordinary containers, which is
//! what kubelets below 1.29 get.

use dromon_tests::eventually;
use dromon_tests::http::get;
use dromon_tests::kube::mesh::{Mesh, told};
use serde_json::{Value, json};

pub const NAMESPACE: &str = "uring";

const WORKLOAD: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
---
apiVersion: v1
kind: Service
metadata: {name: details}
spec:
  ports: [{name: http, port: 80, targetPort: 9080}]
  selector: {app: details}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: details}
spec:
  selector: {matchLabels: {app: details}}
  template:
    metadata: {labels: {app: details}}
    spec:
      containers:
      - name: details
        image: localhost/dromon-bookinfo:0.1.0
        imagePullPolicy: Never
        args: [details]
        ports: [{name: http, containerPort: 9080}]
        readinessProbe: {httpGet: {path: /health, port: http}, periodSeconds: 1}
";

pub fn run(mesh: &Mesh) {
    let kubelet = mesh.node.kubelet_dir();
    let kubelet = kubelet.to_str().expect("a path of text");
    let install = || {
        let arguments = ["install-seccomp", "--kubelet-dir", kubelet, "--set", "image.pullPolicy=Never"];
        let said = mesh.dromonctl(&arguments);
        assert!(said.status.success(), "{}\n{}", told(&said), mesh.state("dromon-seccomp"));
        assert!(told(&said).contains("node/node1 labelled"), "{}", told(&said));
        label(mesh)
    };
    assert_eq!(install(), "true");
    // As a node that has joined since: run again, the command labels it.
    mesh.kubectl().run(&["label", "node", "node1", "dromon.io/seccomp-"]);
    assert_eq!((label(mesh), install()), (Value::Null, json!("true")));
    mesh.install(&["--set", "seccomp=Localhost", "--set", "sidecar.native=never"]);
    mesh.namespace(NAMESPACE);
    mesh.apply(NAMESPACE, WORKLOAD);
    mesh.rolled_out(NAMESPACE, &["details"]);
    let pod = mesh.pods(NAMESPACE, "app=details").pop().expect("a pod");
    let first = &pod["spec"]["containers"][0];
    assert_eq!(first["name"], "dromon-proxy", "{pod:#}");
    assert_eq!(first["securityContext"]["seccompProfile"]["type"], "Localhost");
    let address = pod["status"]["podIP"].as_str().expect("an address");
    let at = format!("{address}:15090").parse().expect("an address");
    let page = mesh.node.inside(|| get(at, "/stats/prometheus", &[])).expect("metrics").text();
    let drivers: Vec<_> = page.lines().filter(|it| it.starts_with("dromon_shard_driver_info{")).collect();
    assert!(!drivers.is_empty() && drivers.iter().all(|it| it.contains("io_uring")), "{drivers:?}");
    let name = pod["metadata"]["name"].as_str().expect("a name");
    let log = mesh.kubectl().run(&["logs", name, "-n", NAMESPACE, "-c", "dromon-proxy"]);
    assert!(log.contains("on io_uring"), "{log}");
    // The application asks at once: it is started only when its sidecar is ready.
    let (code, said) = mesh.curl_in_pod(NAMESPACE, true, &["http://details/details/0"]);
    assert!(code == 0 && said.ends_with("\n200"), "{code} {said}\n{}", mesh.state(NAMESPACE));
}

fn label(mesh: &Mesh) -> Value {
    mesh.kubectl().get(&["node", "node1"]).expect("the node is there")["metadata"]["labels"]["dromon.io/seccomp"].clone()
}

/// After an uninstallation: neither label nor file.
pub fn is_gone(mesh: &Mesh) {
    assert_eq!(label(mesh), Value::Null);
    let file = mesh.node.kubelet_dir().join("seccomp/dromon/proxy.json");
    let file = file.to_str().expect("a path of text");
    eventually("the profile to be gone", || {
        (!mesh.node.run(&["test", "-e", file]).status.success()).then_some(())
    });
}
