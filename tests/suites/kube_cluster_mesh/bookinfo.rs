//! Bookinfo, injected, behind the gateway, under rules in both dialects.

use std::net::SocketAddr;

use dromon_tests::http::{Response, get};
use dromon_tests::kube::mesh::Mesh;
use dromon_tests::{eventually, root};

pub const WORKLOADS: [&str; 6] =
    ["details-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3", "productpage-v1"];
const JASON: &[(&str, &str)] = &[("Cookie", "user=jason")];
const NOBODY: &[(&str, &str)] = &[];

pub fn run(mesh: &Mesh) {
    deploy(mesh);
    native_sidecars(mesh);
    let gateway = gateway(mesh);
    eventually("the page through the gateway", || {
        page(mesh, gateway, NOBODY).filter(|it| it.status == 200 && it.text().contains("Reviewer"))
    });
    rules_of_istio(mesh, gateway);
    rules_of_gateway_api(mesh, gateway);
}

/// Where the gateway listens for the world, as seen from the node.
pub fn gateway(mesh: &Mesh) -> SocketAddr {
    mesh.service("dromon-system", "dromon-gateway", 80)
}

/// A file of the sample.
pub fn example(name: &str) -> String {
    let path = root().join("examples/bookinfo").join(name);
    std::fs::read_to_string(path).expect("the example is in the tree")
}

fn deploy(mesh: &Mesh) {
    mesh.kubectl().run(&["label", "namespace", "default", "dromon.io/inject=enabled"]);
    mesh.apply("default", &example("kubernetes/bookinfo.yaml"));
    mesh.apply("default", &example("kubernetes/gateway.yaml"));
    mesh.rolled_out("default", &WORKLOADS);
}

fn native_sidecars(mesh: &Mesh) {
    let pods = mesh.pods("default", "app");
    assert_eq!(pods.len(), WORKLOADS.len(), "{pods:#?}");
    for pod in pods {
        let inits = pod["spec"]["initContainers"].as_array().cloned().unwrap_or_default();
        let names: Vec<_> = inits.iter().map(|it| it["name"].as_str().unwrap_or_default()).collect();
        assert_eq!(names, ["dromon-init", "dromon-proxy"], "{pod:#}");
        assert_eq!(inits.last().map(|it| it["restartPolicy"] == "Always"), Some(true));
    }
}

fn page(mesh: &Mesh, gateway: SocketAddr, headers: &[(&str, &str)]) -> Option<Response> {
    mesh.node.inside(|| get(gateway, "/productpage", headers).ok())
}

fn stars(page: Option<Response>) -> &'static str {
    let text = page.filter(|it| it.status == 200).map(|it| it.text()).unwrap_or_default();
    match (text.contains("color:black"), text.contains("color:red"), text.contains("Reviewer")) {
        (true, false, true) => "black",
        (false, true, true) => "red",
        (false, false, true) => "none",
        _ => "no page",
    }
}

/// Waits until five pages in a row have these stars, for jason and for everybody else.
fn settled(mesh: &Mesh, gateway: SocketAddr, jason: &str, others: &str) {
    eventually(&format!("{jason} stars for jason, {others} for others"), || {
        let holds =
            |_| stars(page(mesh, gateway, JASON)) == jason && stars(page(mesh, gateway, NOBODY)) == others;
        (0..5).all(holds).then_some(())
    });
}

fn rules_of_istio(mesh: &Mesh, gateway: SocketAddr) {
    let kubectl = mesh.kubectl();
    let versions = example("mesh/destination-rules.yaml");
    let rule = example("try/virtual-service-reviews-test-v2.yaml");
    kubectl.apply(&versions);
    kubectl.apply(&rule);
    settled(mesh, gateway, "black", "none");
    kubectl.apply(&example("try/virtual-service-reviews-v3.yaml"));
    settled(mesh, gateway, "red", "red");
    kubectl.delete(&rule);
    kubectl.delete(&versions);
}

/// A rule applied now is in force soon.
pub fn rules_follow(mesh: &Mesh) {
    let (versions, rule) =
        (example("mesh/destination-rules.yaml"), example("try/virtual-service-reviews-v3.yaml"));
    mesh.kubectl().apply(&versions);
    mesh.kubectl().apply(&rule);
    settled(mesh, gateway(mesh), "red", "red");
    mesh.kubectl().delete(&rule);
    mesh.kubectl().delete(&versions);
}

fn rules_of_gateway_api(mesh: &Mesh, gateway: SocketAddr) {
    let kubectl = mesh.kubectl();
    let (versions, rule) =
        (example("gateway-api/bookinfo-versions.yaml"), example("gateway-api/route-reviews-v3.yaml"));
    kubectl.apply(&versions);
    kubectl.apply(&rule);
    settled(mesh, gateway, "red", "red");
    kubectl.delete(&rule);
    let rule = example("gateway-api/route-reviews-test-v2.yaml");
    kubectl.apply(&rule);
    settled(mesh, gateway, "black", "none");
    kubectl.delete(&rule);
    kubectl.delete(&versions);
    // The way in, in the same dialect in the place of Istio's.
    kubectl.delete(&example("kubernetes/gateway.yaml"));
    eventually("no way in", || page(mesh, gateway, NOBODY).is_none_or(|it| it.status == 404).then_some(()));
    kubectl.apply(&example("kubernetes/gateway-api.yaml"));
    eventually("the way in", || page(mesh, gateway, NOBODY).filter(|it| it.status == 200));
    kubectl.delete(&example("kubernetes/gateway-api.yaml"));
    kubectl.apply(&example("kubernetes/gateway.yaml"));
    eventually("the way in again", || page(mesh, gateway, NOBODY).filter(|it| it.status == 200));
}
