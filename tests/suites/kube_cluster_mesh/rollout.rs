//! Pods come and go under load and no request is lost: workloads rolled over, the gateway, the controller upgraded in place, one of
//! its three replicas killed, and Secrets deleted by hand.

use std::time::Duration;

use dromon_tests::eventually;
use dromon_tests::http::Response;
use dromon_tests::kube::mesh::Mesh;
use dromon_tests::load::Load;

use super::bookinfo;

/// What productpage shows where a service that it asks has failed.
const FAILURES: [&str; 3] = [
    "Error fetching product details",
    "product reviews are currently unavailable",
    "Ratings service is currently unavailable",
];

pub fn run(mesh: &Mesh) {
    under_load(mesh, "workloads are rolled over", || {
        for workload in bookinfo::WORKLOADS {
            mesh.kubectl().run(&["rollout", "restart", "deployment", workload]);
        }
        mesh.rolled_out("default", &bookinfo::WORKLOADS);
        old_pods_end(mesh, "default", "app", bookinfo::WORKLOADS.len());
    });
    under_load(mesh, "the gateway is rolled over", || {
        mesh.kubectl().run(&["rollout", "restart", "deployment", "dromon-gateway", "-n", "dromon-system"]);
        mesh.rolled_out("dromon-system", &["dromon-gateway"]);
        old_pods_end(mesh, "dromon-system", "app=dromon-gateway", 1);
    });
    under_load(mesh, "the controller gets two more replicas, and one is killed", || {
        mesh.install(&["--set", "controller.replicas=3"]);
        let pods = mesh.pods("dromon-system", "app=dromon-controller");
        let name = pods.first().and_then(|pod| pod["metadata"]["name"].as_str()).expect("a controller");
        mesh.kubectl().run(&["delete", "pod", name, "-n", "dromon-system", "--grace-period=0", "--force"]);
        bookinfo::rules_follow(mesh);
        mesh.rolled_out("dromon-system", &["dromon-controller"]);
    });
    under_load(mesh, "Secrets of accounts and of the CA are deleted", || secrets_deleted(mesh));
}

/// Certificates that are in force stay so until there are new ones.
fn secrets_deleted(mesh: &Mesh) {
    let secrets = [
        ("default", "dromon.bookinfo-reviews"),
        ("default", "dromon.bookinfo-productpage"),
        ("dromon-system", "dromon-ca"),
    ];
    for (namespace, name) in secrets {
        let uid = |it: &serde_json::Value| it["metadata"]["uid"].as_str().map(str::to_owned);
        let before = mesh.kubectl().wait(&["secret", name, "-n", namespace], uid);
        mesh.kubectl().run(&["delete", "secret", name, "-n", namespace]);
        mesh.kubectl().wait(&["secret", name, "-n", namespace], |it| uid(it).filter(|now| *now != before));
    }
    bookinfo::rules_follow(mesh);
}

/// Asks for the page from several connections while something happens; none of them may see a failure of any service.
fn under_load(mesh: &Mesh, what: &str, happens: impl FnOnce()) {
    let load = load(mesh);
    happens();
    nothing_failed(mesh, what, load);
}

/// Asks for the page from several connections from now on.
pub fn load(mesh: &Mesh) -> Load {
    let gateway = bookinfo::gateway(mesh);
    let check = |page: &Response| {
        let text = page.text();
        let failure = FAILURES.iter().find(|failure| text.contains(**failure));
        match (page.status, failure) {
            (200, None) => Ok(()),
            (200, Some(failure)) => Err((*failure).to_owned()),
            (status, _) => Err(format!("{status} {text}")),
        }
    };
    mesh.node.inside(|| Load::start(gateway, 4, "/productpage", Duration::from_millis(10), check))
}

/// Ends the load, which no failure of any service may have reached. What happened may have been over in a second.
pub fn nothing_failed(mesh: &Mesh, what: &str, load: Load) {
    eventually(&format!("{what}: pages"), || (load.good() > 100).then_some(()));
    let outcome = load.stop();
    eprintln!("{what}: {} pages, {} connections drained", outcome.good, outcome.drained);
    let failures = outcome.failures;
    assert!(
        failures.is_empty(),
        "{what}: {} pages, and {failures:#?}\n{}",
        outcome.good,
        mesh.state("default")
    );
}

/// Hooks of sidecars and gateways have done their work, which pods would not show.
pub fn no_hook_has_failed(mesh: &Mesh) {
    let events = mesh.kubectl().run(&["get", "events", "--all-namespaces"]);
    let failed: Vec<_> = events.lines().filter(|it| it.contains("FailedP") && it.contains("Hook")).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Waits until nothing is on its way out any more.
fn old_pods_end(mesh: &Mesh, namespace: &str, label: &str, wanted: usize) {
    mesh.kubectl().wait(&["pods", "-n", namespace, "-l", label], |pods| {
        (pods["items"].as_array()?.len() == wanted).then_some(())
    });
}
