//! Pods of an API server that has no nodes: the object is there and says that it runs, and its proxy runs in the test, at the pod's
//! address, which is one of this machine's, with the certificate of the pod's account.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::api_server::ApiServer;
use super::controller::SYSTEM;
use crate::http::get;
use crate::process::Process;
use crate::{bin, eventually, free_port};

/// Who a proxy is.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// `sidecar` or `gateway`.
    pub role: &'a str,
    /// The pod.
    pub pod: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// The account by whose certificate it speaks.
    pub account: &'a str,
    /// The pod's address.
    pub address: &'a str,
}

impl<'a> Who<'a> {
    /// A pod of the installed gateway.
    pub fn gateway(pod: &'a str, address: &'a str) -> Who<'a> {
        Who { role: "gateway", pod, namespace: SYSTEM, account: "dromon-gateway", address }
    }
}

/// A pod's proxy.
pub struct PodProxy {
    /// Its process.
    pub process: Process,
    /// Its admin endpoints.
    pub admin: SocketAddr,
    certs: TempDir,
}

impl PodProxy {
    /// Starts one that takes the feed at an address, once its account's Secret is there.
    ///
    /// # Panics
    /// If there never is a Secret.
    pub fn start(kube: &ApiServer, feed: SocketAddr, who: Who<'_>) -> PodProxy {
        let secret = format!("dromon.{}", who.account);
        kube.kubectl().wait(&["secret", &secret, "-n", who.namespace], |it| Some(it.clone()));
        let certs = tempfile::tempdir().expect("a folder");
        mount(kube, certs.path(), who.namespace, who.account);
        let address: IpAddr = who.address.parse().expect("an address");
        let at = || SocketAddr::new(address, free_port());
        let (admin, health) = (at(), at());
        let mut command = Command::new(bin("dromon-proxy"));
        command.args(["--id", &format!("{}~{}.{}", who.role, who.pod, who.namespace)]);
        command.args(["--feed", &feed.to_string(), "--shards", "1", "--pin", "off", "--certs"]);
        command.arg(certs.path()).args(["--admin-addr", &admin.to_string()]);
        command.args(["--health-addr", &health.to_string()]);
        PodProxy { process: Process::start(&mut command), admin, certs }
    }

    /// Puts what the account's Secret has now where the proxy looks, as a kubelet does.
    pub fn mount(&self, kube: &ApiServer, who: Who<'_>) {
        mount(kube, self.certs.path(), who.namespace, who.account);
    }

    /// The configuration in force, as text.
    pub fn config(&self) -> Option<String> {
        get(self.admin, "/config", &[]).ok().filter(|it| it.status == 200).map(|it| it.text())
    }

    /// Waits until the configuration in force names something, or does not any more.
    pub fn wait(&self, part: &str, is_there: bool) {
        eventually(&format!("{part:?} to be there ({is_there}) at the proxy"), || {
            (self.config()?.contains(part) == is_there).then_some(())
        });
    }

    /// What it says of its feed.
    pub fn feed(&self) -> Value {
        let page = self.config().and_then(|text| serde_json::from_str::<Value>(&text).ok());
        page.map(|page| page["feed"].clone()).unwrap_or_default()
    }
}

fn mount(kube: &ApiServer, folder: &Path, namespace: &str, account: &str) {
    let name = format!("dromon.{account}");
    for file in ["key.pem", "cert-chain.pem", "root-cert.pem"] {
        let template = format!("go-template={{{{index .data \"{file}\" | base64decode}}}}");
        let text = kube.kubectl().run(&["get", "secret", &name, "-n", namespace, "-o", &template]);
        std::fs::write(folder.join(file), text).expect("written");
    }
}

/// The installed gateway's Service, whose ports 80 and 443 lead to `targets`, and pods of it.
pub fn gateway(targets: [u16; 2], pods: &[&str]) -> Vec<Value> {
    let mut items = vec![json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "dromon-gateway", "namespace": SYSTEM},
        "spec": {"type": "LoadBalancer", "selector": {"app": "dromon-gateway"}, "ports": [
            {"name": "http", "port": 80, "targetPort": targets[0]},
            {"name": "https", "port": 443, "targetPort": targets[1]},
        ]},
    })];
    items.extend(pods.iter().map(|name| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": SYSTEM, "labels": {"app": "dromon-gateway"}},
            "spec": {
                "serviceAccountName": "dromon-gateway",
                "automountServiceAccountToken": false,
                "containers": [{"name": "dromon-proxy", "image": "dromon-proxy"}],
                "volumes": [{"name": "certs", "secret": {"secretName": "dromon.dromon-gateway"}}],
            },
        })
    }));
    items
}

/// Says that a pod runs and is ready, as a kubelet does.
///
/// # Panics
/// If there is no such pod.
pub fn runs(kube: &ApiServer, namespace: &str, pod: &str, address: &str) {
    let ready = json!([{"type": "Ready", "status": "True"}]);
    let status =
        json!({"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": ready});
    patch_status(kube, namespace, &["pod", pod], &status);
}

/// Writes an object's status.
///
/// # Panics
/// If it is refused.
pub fn patch_status(kube: &ApiServer, namespace: &str, object: &[&str], status: &Value) {
    let patch = json!({"status": status}).to_string();
    let more = ["-n", namespace, "--subresource", "status", "--type", "merge", "-p", &patch];
    kube.kubectl().run(&[&["patch"], object, &more].concat());
}
