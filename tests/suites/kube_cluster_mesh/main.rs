//! The whole mesh on a node: installed by `dromonctl install`, sidecars injected by the webhook and capturing with iptables, rules by
//! `kubectl apply`, ingress through the gateway, and an uninstallation that leaves nothing.
//!
//! One cluster serves all chapters, each in a namespace of its own: starting it costs more than any of them.

mod bookinfo;
mod drivers;
mod dual_stack;
mod egress;
mod jobs;
mod outage;
mod rollout;
mod strict;

use std::process::Command;

use dromon_tests::http::get;
use dromon_tests::kube::mesh::{Mesh, told};
use dromon_tests::kube::node::Node;
use dromon_tests::{bin, root};

/// Kinds of objects of the whole cluster that an installation brings.
const KINDS: &str = "namespaces,clusterroles,clusterrolebindings,ingressclasses,mutatingwebhookconfigurations,\
    validatingwebhookconfigurations,customresourcedefinitions";

#[test]
fn the_mesh_is_installed_carries_workloads_and_goes_without_a_trace() {
    let Some(mut mesh) = Mesh::start("kube_cluster_mesh") else { return };
    let before = mesh.kubectl().run(&["get", KINDS, "-o", "name"]);
    let said = mesh.install(&["--set", "egress.enabled=true"]);
    assert!(said.contains("is installed and healthy"), "{said}");
    chapter("bookinfo", || bookinfo::run(&mesh));
    chapter("strict", || strict::run(&mesh));
    chapter("jobs", || jobs::run(&mesh));
    chapter("egress", || egress::run(&mesh));
    chapter("dual_stack", || dual_stack::run(&mesh));
    chapter("rollout", || rollout::run(&mesh));
    chapter("outage", || outage::run(&mut mesh));
    chapter("drivers", || drivers::run(&mesh));
    rollout::no_hook_has_failed(&mesh);
    chapter("uninstall", || uninstall(&mesh, &before));
}

/// Pods go on with what they have, and are named; of the mesh itself, nothing is left.
fn uninstall(mesh: &Mesh, before: &str) {
    let kubectl = mesh.kubectl();
    let said = mesh.dromonctl(&["uninstall", "--purge"]);
    assert!(said.status.success(), "{}", told(&said));
    assert!(told(&said).contains("pods still have a sidecar"), "{}", told(&said));
    let page = mesh.service("default", "productpage", 9080);
    let page = mesh.node.inside(|| get(page, "/productpage", &[])).expect("an answer");
    assert!(page.status == 200 && page.text().contains("Reviewer"), "{page:?}");
    kubectl.run(&["label", "namespace", "default", "dromon.io/inject-"]);
    let own = ["strict", "jobs", egress::NAMESPACE, dual_stack::NAMESPACE, drivers::NAMESPACE];
    kubectl.run(&[&["delete", "namespace"][..], &own].concat());
    drivers::is_gone(mesh);
    kubectl.wait_gone(&["namespace", "dromon-system"]);
    assert_eq!(before, kubectl.run(&["get", KINDS, "-o", "name"]), "{}", told(&said));
    let secrets = kubectl.run(&["get", "secrets", "--all-namespaces", "-o", "name"]);
    assert_eq!(secrets, "");
}

/// The same programs give the same archives, byte for byte, whenever and wherever they are packed.
#[test]
fn images_of_the_same_programs_are_the_same() {
    if !Node::possible("kube_cluster_mesh") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    // Once: the images of the test beside this one are made of static programs, which for a while lie in the place of these.
    let program = folder.path().join("program");
    std::fs::copy(bin("dromon-bookinfo"), &program).expect("copied");
    let pack = |name: &str| {
        let (programs, out) = (folder.path().join(name), folder.path().join(format!("{name}.out")));
        std::fs::create_dir(&programs).expect("a folder");
        for name in ["dromon-proxy", "dromon-controller", "dromonctl"] {
            // Another file at another time; what is in it does not matter to how it is packed.
            std::fs::copy(&program, programs.join(name)).expect("copied");
        }
        let mut build = Command::new(root().join("k8s/images/build"));
        build.arg("--relink").arg("--binaries").arg(&programs).arg("--out").arg(&out);
        let output = build.output().expect("k8s/images/build can be started");
        assert!(output.status.success(), "{}", told(&output));
        ["dromon-proxy", "dromon-controller", "dromon-init"].map(|image| {
            let archive = std::fs::read(out.join(format!("{image}.tar"))).expect("an archive");
            assert!(!archive.is_empty());
            archive
        })
    };
    let (first, second) = (pack("first"), pack("second"));
    assert!(first == second, "the archives differ");
}

/// Says where a failure is, and what took how long.
fn chapter(name: &str, run: impl FnOnce()) {
    let start = std::time::Instant::now();
    eprintln!("chapter {name}");
    run();
    eprintln!("chapter {name}: {:.1} s", start.elapsed().as_secs_f32());
}

/// A cluster with the mesh to try things on by hand, until the file that it names is removed.
#[test]
#[ignore = "for trying things by hand"]
fn hold() {
    let Some(mesh) = Mesh::start("kube_cluster_mesh") else { return };
    eprintln!("{}", mesh.install(&[]));
    let file = std::env::temp_dir().join("dromon-node");
    let enter = mesh.node.enter().join(" ");
    let config = mesh.kubectl().kubeconfig().display().to_string();
    std::fs::write(&file, format!("export KUBECONFIG={config}\nexport ENTER='{enter}'\n")).expect("written");
    eprintln!("{enter} env KUBECONFIG={config} bash    # remove {} to end it", file.display());
    while file.exists() {
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}
