//! The order of starting and ending: init containers reach the mesh, and a Job ends.

use dromon_tests::kube::mesh::{CURL, Mesh};

/// Both containers ask a workload that takes nothing but mutual TLS, so both have their sidecar.
const JOB: &str = "
apiVersion: batch/v1
kind: Job
metadata: {name: asks}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      initContainers:
      - {name: before, image: IMAGE, imagePullPolicy: Never, args: [--fail, --silent, --show-error, 'http://details.strict/details/0']}
      containers:
      - {name: ask, image: IMAGE, imagePullPolicy: Never, args: [--fail, --silent, --show-error, 'http://details.strict/details/0']}
";

pub fn run(mesh: &Mesh) {
    mesh.namespace("jobs");
    mesh.apply("jobs", &JOB.replace("IMAGE", CURL));
    let job = mesh.kubectl().wait(&["job", "asks", "-n", "jobs"], |job| {
        let ended = !job["status"]["succeeded"].is_null() || !job["status"]["failed"].is_null();
        ended.then(|| job.clone())
    });
    assert_eq!(job["status"]["succeeded"], 1, "{}", mesh.state("jobs"));
    let said = mesh.kubectl().run(&["logs", "job/asks", "-n", "jobs", "-c", "before"]);
    assert!(said.contains("\"publisher\""), "{said}");
}
