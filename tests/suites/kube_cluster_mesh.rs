//! The whole mesh on a node: installed by `dromonctl install`, sidecars injected by the webhook and capturing with iptables, rules by
//! `kubectl apply`, ingress through the gateway, STRICT mutual TLS, and an uninstallation that leaves nothing.

use std::path::PathBuf;
use std::process::Output;

use dromon_tests::kube::node::Node;
use dromon_tests::{bin, eventually, root};
use serde_json::Value;

const WORKLOADS: [&str; 6] =
    ["details-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3", "productpage-v1"];

const STRICT: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: default}
spec: {mtls: {mode: STRICT}}
";

fn images() -> Vec<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let names = ["dromon-proxy", "dromon-controller", "dromon-init", "dromon-bookinfo"];
    names.map(|name| target.join(format!("images/{name}.tar"))).to_vec()
}

fn example(name: &str) -> String {
    let path = root().join("examples/bookinfo/kubernetes").join(name);
    std::fs::read_to_string(path).expect("the example is in the tree")
}

fn dromonctl(node: &Node, arguments: &[&str]) -> Output {
    let program = bin("dromonctl");
    let program = program.to_str().expect("a path of text");
    let config = node.kubectl().kubeconfig().to_str().expect("a path of text").to_owned();
    node.run(&[&[program], arguments, &["--kubeconfig", &config]].concat())
}

fn told(output: &Output) -> String {
    let all = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&all).into_owned()
}

fn curl(node: &Node, url: &str) -> Option<String> {
    let output = node.run(&["curl", "--silent", "--fail", "--max-time", "5", url]);
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn address(node: &Node, arguments: &[&str]) -> String {
    let service = node.kubectl().get(arguments).expect("it is there");
    service["spec"]["clusterIP"].as_str().expect("an address").to_owned()
}

fn ready(deployment: &Value) -> Option<()> {
    (deployment["status"]["readyReplicas"] == 1 && deployment["status"]["unavailableReplicas"].is_null()).then_some(())
}

#[test]
fn the_mesh_is_installed_serves_bookinfo_under_strict_mutual_tls_and_goes_without_a_trace() {
    let Some(node) = Node::start("kube_cluster_mesh", &images()) else { return };
    let kubectl = node.kubectl();
    let before = kubectl.run(&["get", "namespaces,clusterroles,clusterrolebindings,mutatingwebhookconfigurations,validatingwebhookconfigurations", "-o", "name"]);
    let installed = dromonctl(&node, &["install", "--timeout", "90", "--set", "image.pullPolicy=Never"]);
    if !installed.status.success() {
        let pods = kubectl.call(&["describe", "pods", "-n", "dromon-system"], "");
        let logs = kubectl.call(&["logs", "-n", "dromon-system", "deploy/dromon-controller", "--tail=100"], "");
        let gateway = kubectl.call(&["logs", "-n", "dromon-system", "deploy/dromon-gateway", "--all-containers", "--tail=60"], "");
        panic!("{}\n{}\nCONTROLLER {}{}\nGATEWAY {}{}", told(&installed), pods.out, logs.out, logs.err, gateway.out, gateway.err);
    }
    kubectl.run(&["label", "namespace", "default", "dromon.io/inject=enabled"]);
    kubectl.apply(&example("bookinfo.yaml"));
    for name in WORKLOADS {
        kubectl.wait(&["deployment", name], ready);
    }
    let pods = kubectl.get(&["pods", "-l", "app=reviews"]).expect("they are there");
    for pod in pods["items"].as_array().expect("a list") {
        let sidecar = pod["spec"]["initContainers"].as_array().into_iter().flatten().find(|it| it["name"] == "dromon-proxy");
        assert_eq!(sidecar.expect("a native sidecar")["restartPolicy"], "Always");
    }
    kubectl.apply(&example("gateway.yaml"));
    let gateway = address(&node, &["service", "dromon-gateway", "-n", "dromon-system"]);
    let page = format!("http://{gateway}/productpage");
    eventually("the page through the gateway", || curl(&node, &page).filter(|it| it.contains("Reviewer")));
    kubectl.apply(STRICT);
    let details = format!("http://{}:9080/details/0", address(&node, &["service", "details"]));
    eventually("plaintext to be refused", || curl(&node, &details).is_none().then_some(()));
    for _ in 0..10 {
        let page = curl(&node, &page).expect("the page goes on under STRICT");
        assert!(page.contains("Reviewer"), "{page}");
    }
    kubectl.delete(&example("bookinfo.yaml"));
    let gone = dromonctl(&node, &["uninstall"]);
    assert!(gone.status.success(), "{}", told(&gone));
    kubectl.wait_gone(&["namespace", "dromon-system"]);
    let after = kubectl.run(&["get", "namespaces,clusterroles,clusterrolebindings,mutatingwebhookconfigurations,validatingwebhookconfigurations", "-o", "name"]);
    assert_eq!(before, after);
}
