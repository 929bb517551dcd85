//! The lab's simulation of a mesh at size, run small: over a real API server, every change of a route or of endpoints reaches every
//! proxy that uses it, and no proxy is given what it has not asked for. Timings are the lab's matter.

use std::process::Command;

use dromon_tests::{bin, kube};
use serde_json::Value;

#[test]
fn every_change_reaches_every_proxy_that_uses_it_and_nobody_is_given_more() {
    if !kube::assets("kube_api_feed", kube::API) {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(bin("dromon-perf"));
    command.env("KUBEBUILDER_ASSETS", kube::assets_dir());
    command.args(["feed", "--no-proxy", "--namespaces", "3", "--services", "24", "--endpoints-each", "4"]);
    command.args(["--proxies", "50", "--changes", "60", "--out"]).arg(folder.path());
    let output = command.output().expect("the lab runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures = std::fs::read(folder.path().join("feed.json")).expect("figures");
    let figures: Value = serde_json::from_slice(&figures).expect("JSON");
    assert_eq!(figures["proxies"], 50);
    // Two of five changes are routes'. Each service is used by ten proxies or more.
    assert!(figures["route_played"]["count"].as_u64() >= Some(24 * 10), "{figures:#}");
    assert!(figures["endpoint_played"]["count"].as_u64() >= Some(36 * 10), "{figures:#}");
}
