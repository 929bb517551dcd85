//! A mesh on a node under test: images of our own static binaries, `dromonctl` as an administrator would call it, requests from
//! outside of pods.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::kubectl::Kubectl;
use super::node::{Node, image};
use super::program;
use crate::{bin, bin_dir, root};

/// Images, and the programs in them.
const IMAGES: [(&str, &[&str]); 4] = [
    ("dromon-proxy", &["dromon-proxy"]),
    ("dromon-controller", &["dromon-controller", "dromonctl"]),
    ("dromon-init", &["dromon-proxy"]),
    ("dromon-bookinfo", &["dromon-bookinfo"]),
];

/// Image of the machine's curl.
pub const CURL: &str = "localhost/curl:test";
/// Image of etcd, which speaks gRPC and has metrics.
pub const ETCD: &str = "localhost/etcd:test";

/// A node with the mesh's images.
pub struct Mesh {
    /// The node.
    pub node: Node,
}

impl Mesh {
    /// Starts a node with the mesh's images, which are made if they are missing or older than the binaries under test. None
    /// where the node's programs are missing, which `test` is then noted as skipped for.
    ///
    /// # Panics
    /// If images cannot be made, or the node does not get ready.
    pub fn start(test: &str) -> Option<Mesh> {
        if !Node::possible(test) {
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut images = images();
        images.push(image(CURL, &on_path("curl"), folder.path()));
        images.push(image(ETCD, &program("etcd"), folder.path()));
        Node::start(test, &images).map(|node| Mesh { node })
    }

    /// `kubectl` as administrator.
    pub fn kubectl(&self) -> &Kubectl {
        self.node.kubectl()
    }

    /// `dromonctl` as administrator, on the node.
    pub fn dromonctl(&self, arguments: &[&str]) -> Output {
        let program = bin("dromonctl");
        let program = program.to_str().expect("a path of text");
        let config = self.kubectl().kubeconfig().to_str().expect("a path of text").to_owned();
        self.node.run(&[&[program], arguments, &["--kubeconfig", &config]].concat())
    }

    /// Installs the mesh and waits until it is healthy.
    ///
    /// # Panics
    /// If it does not get healthy, with what its pods say.
    pub fn install(&self, arguments: &[&str]) -> String {
        let fixed = ["install", "--timeout", "120", "--set", "image.pullPolicy=Never"];
        let output = self.dromonctl(&[&fixed, arguments].concat());
        assert!(output.status.success(), "{}\n{}", told(&output), self.state("dromon-system"));
        told(&output)
    }

    /// What a namespace's pods are doing and saying, for the text of a failure.
    pub fn state(&self, namespace: &str) -> String {
        let kubectl = self.kubectl();
        let mut text = kubectl.call(&["get", "pods", "-n", namespace, "-o", "wide"], "").out;
        text += &kubectl.call(&["get", "events", "-n", namespace, "--sort-by=.lastTimestamp"], "").out;
        let pods = kubectl.get(&["pods", "-n", namespace]).unwrap_or_default();
        for pod in pods["items"].as_array().into_iter().flatten() {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let logs = ["logs", "-n", namespace, name, "--all-containers", "--prefix", "--tail=30"];
            let said = kubectl.call(&logs, "");
            text += &format!("--- {name}\n{}{}", said.out, said.err);
        }
        text
    }

    /// Asks with `curl` from the node, which is outside of every pod: the answer's status and body; None if there is none.
    pub fn curl(&self, url: &str, more: &[&str]) -> Option<(u16, String)> {
        let fixed = ["curl", "--silent", "--max-time", "10", "--write-out", "\n%{http_code}", url];
        let output = self.node.run(&[&fixed, more].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n')?;
        let status = status.parse().ok().filter(|status| *status > 0)?;
        output.status.success().then(|| (status, body.to_owned()))
    }

    /// A Service's cluster address and a port of it.
    ///
    /// # Panics
    /// If there is no such Service.
    pub fn service(&self, namespace: &str, name: &str, port: u16) -> SocketAddr {
        let service = self.kubectl().get(&["service", name, "-n", namespace]).expect("the service is there");
        let address = service["spec"]["clusterIP"].as_str().and_then(|it| it.parse().ok());
        SocketAddr::new(address.expect("it has an address"), port)
    }

    /// The pods of a namespace with a label, such as `app=reviews`, that are not on their way out.
    pub fn pods(&self, namespace: &str, label: &str) -> Vec<Value> {
        let list = self.kubectl().get(&["pods", "-n", namespace, "-l", label]).unwrap_or_default();
        let pods = list["items"].as_array().cloned().unwrap_or_default();
        pods.into_iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect()
    }

    /// Makes a namespace whose pods are injected.
    pub fn namespace(&self, name: &str) {
        self.kubectl().run(&["create", "namespace", name]);
        self.kubectl().run(&["label", "namespace", name, "dromon.io/inject=enabled"]);
    }

    /// `kubectl apply` in a namespace.
    ///
    /// # Panics
    /// If it is refused.
    pub fn apply(&self, namespace: &str, yaml: &str) {
        let said = self.kubectl().call(&["apply", "-n", namespace, "-f", "-"], yaml);
        assert!(said.ok, "{}\n{yaml}", said.err);
    }

    /// Runs curl in a pod of its own until it ends: its exit code, and what it wrote. With a sidecar, or without.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn curl_in_pod(&self, namespace: &str, injected: bool, arguments: &[&str]) -> (i64, String) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("curl-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let fixed = ["--silent", "--show-error", "--max-time", "10", "--write-out", "\n%{http_code}"];
        let arguments = [&fixed, arguments].concat();
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"sidecar.dromon.io/inject": injected.to_string()}},
            "spec": {"restartPolicy": "Never", "containers": [{
                "name": "curl", "image": CURL, "imagePullPolicy": "Never", "args": arguments,
            }]},
        });
        self.apply(namespace, &pod.to_string());
        let code = self.kubectl().wait(&["pod", &name, "-n", namespace], |pod| {
            let statuses = pod["status"]["containerStatuses"].as_array()?;
            let curl = statuses.iter().find(|it| it["name"] == "curl")?;
            curl["state"]["terminated"]["exitCode"].as_i64()
        });
        let text = self.kubectl().run(&["logs", &name, "-n", namespace, "-c", "curl"]);
        self.kubectl().run(&["delete", "pod", &name, "-n", namespace, "--wait=false"]);
        (code, text)
    }

    /// A pod that waits for [`Mesh::ask`], with a sidecar where its namespace has them.
    pub fn asker(&self, namespace: &str, name: &str) {
        // It tries what is refused, with long pauses.
        let arguments = [
            "--silent",
            "--retry",
            "100000",
            "--retry-delay",
            "30",
            "--retry-all-errors",
            "http://127.0.0.1:9",
        ];
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
                "name": "curl", "image": CURL, "imagePullPolicy": "Never", "args": arguments,
            }]},
        });
        self.apply(namespace, &pod.to_string());
        let wait = ["wait", "--for=condition=Ready", "--timeout=60s", "pod", name, "-n", namespace];
        let said = self.kubectl().call(&wait, "");
        assert!(said.ok, "{}\n{}", said.err, self.state(namespace));
    }

    /// Runs curl in a pod of [`Mesh::asker`]: the answer with its head, and its status; 0 where there is none.
    pub fn ask(&self, namespace: &str, pod: &str, arguments: &[&str]) -> (u16, String) {
        let fixed = [
            "exec",
            "-n",
            namespace,
            pod,
            "-c",
            "curl",
            "--",
            "/curl",
            "--silent",
            "--include",
            "--max-time",
            "10",
        ];
        let said =
            self.kubectl().call(&[&fixed[..], &["--write-out", "\n%{http_code}"], arguments].concat(), "");
        let (text, status) = said.out.rsplit_once('\n').unwrap_or_default();
        (status.parse().unwrap_or_default(), format!("{text}{}", said.err))
    }

    /// Waits until Deployments are rolled out.
    ///
    /// # Panics
    /// After the deadline, with what their pods say.
    pub fn rolled_out(&self, namespace: &str, names: &[&str]) {
        for name in names {
            let deployment = format!("deployment/{name}");
            let wait = ["rollout", "status", &deployment, "-n", namespace, "--timeout=120s"];
            let said = self.kubectl().call(&wait, "");
            assert!(said.ok, "{}{}\n{}", said.out, said.err, self.state(namespace));
        }
    }
}

/// Both outputs of a command as text.
pub fn told(output: &Output) -> String {
    let all = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&all).into_owned()
}

/// A program of the machine.
fn on_path(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: `.ci/tools test` installs it"))
}

/// The archives, made anew where one is missing or older than a program in it.
fn images() -> Vec<PathBuf> {
    let profile = bin_dir();
    let target = profile.parent().expect("target/PROFILE");
    let archive = |name: &str| target.join(format!("images/{name}.tar"));
    let changed =
        |path: &PathBuf| path.metadata().and_then(|it| it.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let is_fresh = |(name, programs): &(&str, &[&str])| {
        programs.iter().all(|program| changed(&bin(program)) < changed(&archive(name)))
    };
    if !IMAGES.iter().all(is_fresh) {
        let profile = match profile.file_name().and_then(|it| it.to_str()) {
            Some("debug") | None => "dev",
            Some(other) => other,
        };
        let mut build = Command::new(root().join("k8s/images/build"));
        build.args(["--relink", "--with-samples", "--profile", profile]).env("CARGO_TARGET_DIR", target);
        let output = build.output().expect("k8s/images/build can be started");
        assert!(output.status.success(), "k8s/images/build: {}", told(&output));
    }
    IMAGES.iter().map(|(name, _)| archive(name)).collect()
}
