//! `dromonctl run --capture`: Bookinfo with each process in a network namespace of its own, and nothing left afterwards.

use std::path::Path;
use std::process::Command;

use dromon_tests::eventually;
use dromon_tests::http::get;
use dromon_tests::mesh::{Mesh, Setup};

use crate::world::output;

/// What a run of this number has made in the system.
fn traces(run: u32) -> Vec<String> {
    let names = |directory: &str| {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    let mut found = names("/run/netns");
    found.extend(names("/etc/netns"));
    found.retain(|name| name.starts_with(&format!("dromon-run-{run}-")));
    found.extend(names("/sys/class/net").into_iter().filter(|name| *name == format!("drm-{run}")));
    found
}

/// Everybody takes mutual TLS only, so that whatever goes past a sidecar fails.
pub const STRICT: &str = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
                      metadata: {name: default, namespace: istio-system}\nspec: {mtls: {mode: STRICT}}\n";

fn page(mesh: &Mesh) -> String {
    let page = get(mesh.ingress, "/productpage", &[]).expect("an answer");
    assert_eq!(page.status, 200, "{}", page.text());
    page.text()
}

/// The page needs every service; a rule holds without a proxy's address in anybody's environment.
pub fn bookinfo_is_captured() {
    let mesh = Setup::bookinfo().file("strict.yaml", STRICT).arguments(&["--capture"]).start();
    let run = mesh.process.pid();
    let text = page(&mesh);
    assert!(!text.contains("currently unavailable"), "{text}");
    mesh.try_rule("virtual-service-reviews-v3");
    eventually("red stars", || (0..3).all(|_| page(&mesh).contains("color:red")).then_some(()));
    let processes = mesh.ready["processes"].as_array().expect("a list");
    assert!(processes.iter().all(|it| it["ready"] == true), "{}", mesh.ready);
    let pid = processes[0]["pid"].as_u64().expect("it runs");
    let environment =
        std::fs::read(Path::new("/proc").join(pid.to_string()).join("environ")).expect("readable");
    let environment = String::from_utf8_lossy(&environment).into_owned();
    assert!(!environment.contains("http_proxy=http"), "{environment}");
    // Operators reach the sidecars as ever.
    let stats = get(mesh.admin("reviews-v3.default"), "/stats", &[]).expect("an answer");
    assert_eq!(stats.status, 200);
    assert!(!traces(run).is_empty());
    drop(mesh);
    eventually("everything of the run to be gone", || traces(run).is_empty().then_some(()));
}

/// A run that is killed leaves what its guard takes away.
pub fn nothing_stays_of_a_killed_run() {
    let mut mesh = Setup::bookinfo().arguments(&["--capture"]).start();
    let run = mesh.process.pid();
    assert!(!traces(run).is_empty());
    mesh.process.signal(9);
    mesh.process.wait();
    eventually("the guard to take everything away", || traces(run).is_empty().then_some(()));
}

/// Without root it says what it needs.
pub fn it_needs_root() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.args(["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]);
    command.arg(dromon_tests::bin("dromonctl")).args(["run", "--capture", "--config"]).arg(folder.path());
    let ended = output(command.arg("--run-dir").arg(folder.path().join("run")));
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success() && said.contains("--capture needs root"), "{said}");
}
