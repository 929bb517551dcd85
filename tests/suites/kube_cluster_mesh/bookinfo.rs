//! Bookinfo, injected, behind the gateway.

use dromon_tests::kube::mesh::Mesh;
use dromon_tests::{eventually, root};

pub const NAMESPACE: &str = "bookinfo";

const WORKLOADS: [&str; 6] =
    ["details-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3", "productpage-v1"];

pub fn run(mesh: &Mesh) {
    deploy(mesh);
    native_sidecars(mesh);
    let gateway = mesh.service("dromon-system", "dromon-gateway", 80);
    let page = format!("http://{gateway}/productpage");
    eventually("the page through the gateway", || {
        mesh.curl(&page, &[]).filter(|(status, body)| *status == 200 && body.contains("Reviewer"))
    });
}

/// A file of the sample.
fn example(name: &str) -> String {
    let path = root().join("examples/bookinfo").join(name);
    std::fs::read_to_string(path).expect("the example is in the tree")
}

fn deploy(mesh: &Mesh) {
    let kubectl = mesh.kubectl();
    kubectl.run(&["create", "namespace", NAMESPACE]);
    kubectl.run(&["label", "namespace", NAMESPACE, "dromon.io/inject=enabled"]);
    for file in ["kubernetes/bookinfo.yaml", "kubernetes/gateway.yaml"] {
        let said = kubectl.call(&["apply", "-n", NAMESPACE, "-f", "-"], &example(file));
        assert!(said.ok, "{}", said.err);
    }
    mesh.rolled_out(NAMESPACE, &WORKLOADS);
}

fn native_sidecars(mesh: &Mesh) {
    let pods = mesh.pods(NAMESPACE, "app");
    assert_eq!(pods.len(), WORKLOADS.len(), "{pods:#?}");
    for pod in pods {
        let inits = pod["spec"]["initContainers"].as_array().cloned().unwrap_or_default();
        let names: Vec<_> = inits.iter().map(|it| it["name"].as_str().unwrap_or_default()).collect();
        assert_eq!(names, ["dromon-init", "dromon-proxy"], "{pod:#}");
        assert_eq!(inits.last().map(|it| it["restartPolicy"] == "Always"), Some(true));
    }
}
