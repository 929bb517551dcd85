//! A proxy that gets its configuration over TCP: it proves who it is, and gets its own view and no other.

use std::path::Path;
use std::process::Command;

use dromon_tests::http::get;
use dromon_tests::process::Process;
use dromon_tests::{bin, eventually, free_port};
use serde_json::json;

const SERVICES: &str = "apiVersion: v1
kind: Service
metadata: {name: web, namespace: default, labels: {app: web}}
spec: {ports: [{name: http, port: 80, targetPort: 9080}], selector: {app: web}}
";

/// What a run would tell the controller: two processes with sidecars.
fn tell(run_dir: &Path) {
    let workload = |name: &str, number: u8| {
        json!({
            "name": name, "namespace": "default", "labels": {"app": name}, "serviceAccount": name,
            "sidecar": format!("127.77.201.{number}"), "application": format!("127.78.201.{number}"),
            "ports": [{"name": "http", "number": 9080}], "ready": true,
        })
    };
    let told = json!({"revision": 1, "workloads": [workload("web", 1), workload("other", 2)]});
    let directory = run_dir.join("local");
    std::fs::create_dir_all(&directory).expect("made");
    std::fs::write(directory.join("local.json"), told.to_string()).expect("written");
}

fn proxy(id: &str, feed: &str, certs: &Path, number: u8) -> (Process, std::net::SocketAddr) {
    let at = |port: u16| std::net::SocketAddr::from(([127, 0, 0, number], port));
    let (admin, health) = (at(free_port()), at(free_port()));
    let mut command = Command::new(bin("dromon-proxy"));
    command.args(["--id", id, "--feed", feed, "--shards", "1", "--pin", "off", "--certs"]).arg(certs);
    command.args(["--admin-addr", &admin.to_string(), "--health-addr", &health.to_string()]);
    (Process::start(&mut command), health)
}

/// Over TCP, by certificate.
pub fn over_tcp() {
    let (rules, run) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    std::fs::write(rules.path().join("services.yaml"), SERVICES).expect("written");
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(run.path(), closed).expect("closed to others");
    tell(run.path());
    let feed = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(bin("dromon-controller"));
    command.arg("--config").arg(rules.path()).arg("--run-dir").arg(run.path());
    command.args(["--feed-tcp", &feed, "--status-addr", &format!("127.0.0.1:{}", free_port())]);
    let mut controller = Process::start(&mut command);
    let certs = |id: &str| run.path().join("certs").join(id);
    eventually("certificates", || certs("sidecar~other.default").join("key.pem").exists().then_some(()));

    let own = certs("sidecar~web.default");
    let (_web, health) = proxy("sidecar~web.default", &feed, &own, 1);
    eventually("the proxy to be ready", || {
        get(health, "/healthz/ready", &[]).ok().filter(|answer| answer.status == 200).map(drop)
    });
    controller.expect_stderr(&["sidecar~web.default connected"]);

    // The other one's view with this one's certificate.
    let (mut impostor, health) = proxy("sidecar~other.default", &format!("tls://{feed}"), &own, 2);
    let refused = "spiffe://cluster.local/ns/default/sa/web asks as sidecar~other.default, which is \
                   spiffe://cluster.local/ns/default/sa/other";
    controller.expect_stderr(&["feed refused", refused]);
    impostor.expect_stderr(&[refused]);
    assert_ne!(get(health, "/healthz/ready", &[]).expect("an answer").status, 200);
}
