//! The controller under test, over a real API server and with the rights that an installation gives it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::api_server::ApiServer;
use super::definitions;
use super::kubectl::Kubectl;
use crate::http::get;
use crate::process::Process;
use crate::{bin, eventually, free_port};

/// The mesh's own namespace.
pub const SYSTEM: &str = "dromon-system";

/// A controller as an installation runs it.
pub struct Controller {
    /// Its process.
    pub process: Process,
    /// Its status pages and metrics.
    pub status: SocketAddr,
    /// Where it serves the feed.
    pub feed: SocketAddr,
    /// Where it serves the webhooks.
    pub webhooks: SocketAddr,
}

impl Controller {
    /// Starts one with an account's kubeconfig, and waits until it is ready.
    pub fn start(kubeconfig: &Path, replica: &str) -> Controller {
        Controller::with(kubeconfig, replica, &[])
    }

    /// The same with more arguments.
    ///
    /// # Panics
    /// If it does not get ready.
    pub fn with(kubeconfig: &Path, replica: &str, more: &[&str]) -> Controller {
        let at = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (status, feed, webhooks) = (at(), at(), at());
        let mut command = Command::new(bin("dromon-controller"));
        command.args(["--source", "kube", "--system-namespace", SYSTEM, "--replica", replica]);
        command.arg("--kubeconfig").arg(kubeconfig).args(more);
        for (flag, address) in [("--feed-tcp", feed), ("--status-addr", status), ("--webhook-addr", webhooks)]
        {
            command.args([flag, &address.to_string()]);
        }
        let controller = Controller { process: Process::start(&mut command), status, feed, webhooks };
        eventually("the controller to be ready", || {
            get(status, "/readyz", &[]).ok().filter(|answer| answer.status == 200).map(drop)
        });
        controller
    }

    /// One of its pages.
    pub fn page(&self, path: &str) -> Value {
        let answer = get(self.status, path, &[]).expect("the controller answers");
        serde_json::from_str(&answer.text()).expect("JSON")
    }

    /// Whether it is the elected one.
    pub fn leads(&self) -> bool {
        let page = get(self.status, "/metrics", &[]).expect("the controller answers").text();
        page.lines().any(|line| line == "dromon_controller_leader 1")
    }

    /// Waits until the controller has put its CA bundle into a webhook configuration, then has the API server call this
    /// machine in place of a Service that no pod stands behind.
    ///
    /// # Panics
    /// If there never is a bundle.
    pub fn answers(&self, kubectl: &Kubectl, kind: &str, name: &str, path: &str) {
        let bundles = kubectl.wait(&[kind, name], |found| {
            let hooks = found["webhooks"].as_array()?.iter();
            let bundle = |hook: &Value| Some(hook["clientConfig"]["caBundle"].as_str()?.to_owned());
            hooks.map(bundle).collect::<Option<Vec<_>>>()
        });
        let url = format!("https://localhost:{}{path}", self.webhooks.port());
        let replace = |(at, bundle): (usize, &String)| {
            let value = json!({"url": url, "caBundle": bundle});
            json!({"op": "replace", "path": format!("/webhooks/{at}/clientConfig"), "value": value})
        };
        let patch: Vec<Value> = bundles.iter().enumerate().map(replace).collect();
        kubectl.run(&["patch", kind, name, "--type=json", "-p", &Value::Array(patch).to_string()]);
    }
}

/// Runs dromonctl against a cluster; what it printed.
///
/// # Panics
/// If it fails, with what it said.
pub fn dromonctl(kubeconfig: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(bin("dromonctl"));
    command.args(arguments).arg("--kubeconfig").arg(kubeconfig);
    let output = command.output().expect("dromonctl runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "dromonctl {arguments:?}: {out}{err}");
    out.into_owned()
}

/// Gives the controller's account these rights (`dromon_k8s::install::rbac` has those of an installation), and nothing more;
/// its kubeconfig.
pub fn account(kube: &ApiServer, rights: &[Value]) -> PathBuf {
    kube.namespace(SYSTEM);
    let rights = json!({"apiVersion": "v1", "kind": "List", "items": rights});
    kube.kubectl().apply(&rights.to_string());
    kube.account(SYSTEM, "dromon-controller")
}

/// Installs others' definitions (`istio.yaml`, `gateway-api.yaml`), and waits until `kind` (plural and group) is served.
pub fn define(kube: &ApiServer, file: &str, kind: &str) {
    let path = definitions(file);
    kube.kubectl().run(&["apply", "--server-side", "-f", path.to_str().expect("a path of text")]);
    let of = format!("crd/{kind}");
    kube.kubectl().run(&["wait", "--for", "condition=established", "--timeout", "60s", &of]);
}
