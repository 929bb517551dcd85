//! A cluster of one node, real in every part: pods run as images of our own programs, find each other by name and reach each
//! other by service, and a Job finishes.

use dromon_tests::kube::node::{Node, image};
use dromon_tests::{bin, eventually, root};

/// Asks for a page once, in a pod of its own that ends.
const JOB: &str = "
apiVersion: batch/v1
kind: Job
metadata: {name: wait, namespace: default}
spec:
  backoffLimit: 3
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: help, image: 'localhost/dromon-bookinfo:0.1.0', imagePullPolicy: Never, args: [--help]}
";

#[test]
fn bookinfo_runs_on_a_node_of_its_own_and_a_job_finishes() {
    let images = tempfile::tempdir().expect("a temporary folder");
    let bookinfo = image("localhost/dromon-bookinfo:0.1.0", &bin("dromon-bookinfo"), images.path());
    let Some(node) = Node::start("kube_cluster", &[bookinfo]) else { return };
    let kubectl = node.kubectl();
    let sample = std::fs::read_to_string(root().join("examples/bookinfo/kubernetes/bookinfo.yaml"));
    kubectl.apply(&sample.expect("the sample is in the tree"));
    kubectl.apply(JOB);
    for name in ["details-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3", "productpage-v1"] {
        kubectl.wait(&["deployment", name], |it| (it["status"]["readyReplicas"] == 1).then_some(()));
    }
    let service = kubectl.get(&["service", "productpage"]).expect("it was applied");
    let address = service["spec"]["clusterIP"].as_str().expect("an address");
    let page = format!("http://{address}:9080/api/v1/products/0/reviews");
    // productpage asks reviews by its name, which is DNS's and the service's work.
    eventually("the page through the service", || {
        let output = node.run(&["curl", "--silent", "--max-time", "5", &page]);
        String::from_utf8_lossy(&output.stdout).contains("reviewer").then_some(())
    });
    kubectl.wait(&["job", "wait"], |it| (it["status"]["succeeded"] == 1).then_some(()));
    let log = kubectl.run(&["logs", "job/wait"]);
    assert!(log.contains("Bookinfo"), "{log}");
}
