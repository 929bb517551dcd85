//! The API server is killed under load and comes back: requests never notice, no pod is restarted, and rules follow afterwards.

use std::collections::BTreeMap;

use dromon_tests::http::get;
use dromon_tests::kube::mesh::Mesh;
use serde_json::Value;

use super::{bookinfo, rollout};

/// Pages that come, one connection each, before the API server does.
const PAGES: usize = 100;

pub fn run(mesh: &mut Mesh) {
    let gateway = bookinfo::gateway(mesh);
    let before = containers(mesh);
    let load = rollout::load(mesh);
    mesh.node.without_api_server(|node| {
        assert!(!node.kubectl().call(&["get", "--raw", "/readyz"], "").ok, "the API server answers");
        for at in 0..PAGES {
            let page = node.inside(|| get(gateway, "/productpage", &[]));
            assert!(page.as_ref().is_ok_and(|it| it.status == 200), "page {at}: {page:?}");
        }
    });
    rollout::nothing_failed(mesh, "the API server is killed and comes back", load);
    bookinfo::rules_follow(mesh);
    assert_eq!(containers(mesh), before, "pods have changed");
}

/// How often each container of the application and of the mesh was restarted.
fn containers(mesh: &Mesh) -> BTreeMap<String, u64> {
    let pods = ["default", "dromon-system"].into_iter().flat_map(|namespace| mesh.pods(namespace, "app"));
    let statuses = pods.flat_map(|pod| {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let of = |field: &str| pod["status"][field].as_array().cloned().unwrap_or_default();
        let all: Vec<Value> = [of("initContainerStatuses"), of("containerStatuses")].concat();
        let entry = move |it: Value| {
            let container = it["name"].as_str().unwrap_or_default();
            (format!("{name} {container}"), it["restartCount"].as_u64().unwrap_or_default())
        };
        all.into_iter().map(entry)
    });
    statuses.collect()
}
