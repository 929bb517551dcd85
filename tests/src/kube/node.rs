//! A whole cluster of one node in private namespaces: control plane, containerd, kubelet, kube-proxy, CoreDNS.
//!
//! Nothing of it is seen on the machine: mounts, control groups, network, hooks of the firewall and settings are the node's
//! own and vanish with it, also when the test is killed, since the node ends with a pipe that the test holds.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use tempfile::TempDir;

use super::components::{self, Place};
use super::kubectl::Kubectl;
use super::node_config;
use super::pki::Pki;
use super::{API, NODE, assets, assets_dir, program, required};
use crate::process::Process;
use crate::{eventually, netns, root, skip};

/// The node's address.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 2);

/// Its other one, where the machine has IPv6.
const ADDRESS_V6: &str = "fd00:10:89::2";

const API_SERVER: &str = "kube-apiserver";

/// A running cluster of one node, which ends when dropped.
pub struct Node {
    // In the order in which they are ended.
    namespaces: Namespaces,
    programs: Vec<Program>,
    kubectl: Kubectl,
    pki: Pki,
    folder: TempDir,
    dual: bool,
}

/// A program that runs on it.
struct Program {
    name: &'static str,
    arguments: Vec<String>,
    process: Process,
}

/// The node's first process and what tells it to end.
struct Namespaces {
    outer: Child,
    held: Option<ChildStdin>,
    /// The first process, by its id outside.
    process: String,
}

impl Node {
    /// Starts a node with these images, OCI or Docker archives, and waits until its DNS serves; None where programs are missing
    /// or this user may not, which `test` is then noted as skipped for.
    ///
    /// # Panics
    /// If it does not get ready, with what its programs said.
    pub fn start(test: &str, images: &[PathBuf]) -> Option<Node> {
        Node::possible(test).then(|| Node::new(images))
    }

    /// Whether a node can be started here; if not, `test` is noted as skipped, with the reason.
    ///
    /// # Panics
    /// If it cannot and `KUBE=1` asks for it.
    pub fn possible(test: &str) -> bool {
        if !assets(test, &[API, NODE].concat()) {
            return false;
        }
        if let Err(why) = possible() {
            assert!(!required(), "{test}: {why}");
            skip(test, &why);
            return false;
        }
        true
    }

    fn new(images: &[PathBuf]) -> Node {
        let folder = tempfile::Builder::new().prefix("dromon-node-").tempdir().expect("a temporary folder");
        let namespaces = Namespaces::start(folder.path());
        let pki = pki(&folder.path().join("pki"));
        let place = Place { address: ADDRESS, port: 6443, etcd_port: 2379 };
        let admin = pki.kubeconfig("admin", &place.url(), "admin", Some("system:masters"));
        let kubectl = Kubectl::new(&admin).within(namespaces.enter());
        let dual = folder.path().join("has-ipv6").exists();
        let mut node = Node { namespaces, programs: Vec::new(), kubectl, pki, folder, dual };
        node.start_control_plane(place);
        node.start_containers();
        node.import(&[own_image("pause", node.folder.path()), own_image("coredns", node.folder.path())]);
        node.import(images);
        node.await_control_plane();
        node.start_workers(place);
        node.await_ready();
        node
    }

    /// `kubectl` as administrator.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Imports image archives.
    ///
    /// # Panics
    /// If containerd refuses one.
    pub fn import(&self, archives: &[PathBuf]) {
        for archive in archives {
            let path = archive.to_str().expect("a path of text");
            let ctr = program("ctr");
            let ctr = ctr.to_str().expect("a path of text");
            let output =
                self.run(&[ctr, "-n", "k8s.io", "images", "import", "--snapshotter", "overlayfs", path]);
            assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }

    /// Whether pods and services may have IPv6 addresses beside those of IPv4.
    pub fn is_dual(&self) -> bool {
        self.dual
    }

    /// What goes before a command that is to run on the node.
    pub fn enter(&self) -> Vec<String> {
        self.namespaces.enter()
    }

    /// The kubelet's folder, as seen on the node.
    pub fn kubelet_dir(&self) -> PathBuf {
        self.folder.path().join("over/kubelet")
    }

    /// Runs a command on the node, outside of pods.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn run(&self, command: &[&str]) -> Output {
        let enter = self.namespaces.enter();
        let (first, rest) = enter.split_first().expect("a command");
        Command::new(first).args(rest).args(command).output().expect("nsenter is there")
    }

    /// Does something in the node's network, on a thread of its own and on those that it starts.
    ///
    /// # Panics
    /// If the node is gone, or the work panics.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        netns::run_in(Path::new(&format!("/proc/{}/ns/net", self.namespaces.process)), work)
    }

    /// Starts a command on the node, outside of pods, and keeps what it says.
    pub fn spawn(&self, command: &[&str]) -> Process {
        let enter = self.namespaces.enter();
        let (first, rest) = enter.split_first().expect("a command");
        Process::start(Command::new(first).args(rest).args(command))
    }

    /// Kills the API server while `happens`, as a crash does, then starts it again on the same port and data and waits until it
    /// is ready. Everything else on the node goes on.
    ///
    /// # Panics
    /// If it cannot be killed, or does not get ready.
    pub fn without_api_server(&mut self, happens: impl FnOnce(&Node)) {
        let at =
            self.programs.iter().position(|it| it.name == API_SERVER).expect("the API server was started");
        let mut server = self.programs.remove(at);
        // What was started is `nsenter`, which waits for the program in the node's namespace of processes.
        let parent = server.process.pid();
        let children =
            fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        let mut kill = Command::new("kill");
        let killed = kill.args(["-s", "KILL"]).args(children.split_whitespace()).status();
        assert!(killed.is_ok_and(|it| it.success()), "cannot kill the API server, {children:?} of {parent}");
        server.process.wait();
        happens(self);
        self.service(API_SERVER, server.arguments);
        self.await_control_plane();
    }

    fn service(&mut self, name: &'static str, arguments: Vec<String>) {
        let script = root().join("tests/kube/node-run");
        let mut command = Command::new(script);
        // containerd finds its shim on the path.
        let path = format!("{}:{}", assets_dir().display(), std::env::var("PATH").unwrap_or_default());
        command.arg(&self.namespaces.process).arg(program(name)).args(&arguments).env("PATH", path);
        self.programs.push(Program { name, arguments, process: Process::start(&mut command) });
    }

    fn start_control_plane(&mut self, place: Place) {
        self.service("etcd", components::etcd(&self.folder.path().join("over/etcd"), place.etcd_port, 2380));
        let mut arguments = components::api_server(&self.pki, place);
        let file = |name: &str| self.pki.file(name).display().to_string();
        arguments.extend([
            format!("--kubelet-client-certificate={}", file("to-node.crt")),
            format!("--kubelet-client-key={}", file("to-node.key")),
            "--kubelet-preferred-address-types=InternalIP".into(),
        ]);
        self.service(API_SERVER, arguments);
    }

    fn start_containers(&mut self) {
        let config = self.folder.path().join("config");
        fs::create_dir_all(config.join("cni")).expect("the folder is writable");
        write(&config.join("cni/10-pods.conflist"), &node_config::network(self.dual).to_string());
        write(&config.join("containerd.toml"), &node_config::containerd(self.folder.path()));
        self.service("containerd", vec![format!("--config={}", config.join("containerd.toml").display())]);
        let ctr = program("ctr").display().to_string();
        self.await_programs("containerd", |node| node.run(&[&ctr, "version"]).status.success());
    }

    fn await_control_plane(&mut self) {
        self.await_programs("the API server", |node| node.kubectl.call(&["get", "--raw", "/readyz"], "").ok);
    }

    fn start_workers(&mut self, place: Place) {
        let url = place.url();
        let user = |name: &str, user: &str, group| self.pki.kubeconfig(name, &url, user, group);
        let manager = user("manager", "system:kube-controller-manager", None);
        let scheduler = user("scheduler", "system:kube-scheduler", None);
        let kubelet = user("kubelet", "system:node:node1", Some("system:nodes"));
        let proxy = user("proxy", "system:kube-proxy", None);
        let config = self.folder.path().join("config");
        write(&config.join("kubelet.json"), &node_config::kubelet(self.folder.path(), &self.pki).to_string());
        write(
            &config.join("proxy.json"),
            &node_config::kube_proxy(&proxy, "nftables", self.dual).to_string(),
        );
        let manager = components::controller_manager(&self.pki, &manager, 10257);
        self.service("kube-controller-manager", manager);
        self.service("kube-scheduler", components::scheduler(&scheduler, 10259));
        let addresses = if self.dual { format!("{ADDRESS},{ADDRESS_V6}") } else { ADDRESS.to_string() };
        let kubelet = vec![
            format!("--config={}", config.join("kubelet.json").display()),
            format!("--kubeconfig={}", kubelet.display()),
            format!("--root-dir={}", self.kubelet_dir().display()),
            format!("--node-ip={addresses}"),
            "--hostname-override=node1".into(),
        ];
        self.service("kubelet", kubelet);
        self.service("kube-proxy", vec![format!("--config={}", config.join("proxy.json").display())]);
    }

    fn await_ready(&mut self) {
        self.await_programs("the node to be Ready", |node| {
            let get = node.kubectl.get(&["node", "node1"]);
            let is_ready = |it: &serde_json::Value| it["type"] == "Ready" && it["status"] == "True";
            get.is_some_and(|it| {
                it["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(is_ready))
            })
        });
        let dns = fs::read_to_string(root().join("tests/kube/coredns.yaml")).expect("it is in the tree");
        self.kubectl.apply(&dns);
        self.await_programs("DNS", |node| {
            let get = node.kubectl.get(&["deployment", "coredns", "-n", "kube-system"]);
            get.is_some_and(|it| it["status"]["readyReplicas"] == 1)
        });
        self.await_programs("the default account", |node| {
            node.kubectl.get(&["serviceaccount", "default"]).is_some()
        });
    }

    /// Waits, and does not go on waiting for programs that have ended.
    fn await_programs(&mut self, what: &str, check: impl Fn(&Node) -> bool) {
        eventually(what, || {
            let ended =
                self.programs.iter_mut().find_map(|it| it.process.ended().map(|_| it.process.stderr()));
            assert!(ended.is_none(), "waiting for {what}: a program ended: {ended:#?}");
            check(self).then_some(())
        });
    }
}

impl Namespaces {
    fn start(folder: &Path) -> Namespaces {
        let log = folder.join("node.log");
        let file = File::create(&log).expect("the folder is writable");
        let mut command = Command::new(root().join("tests/kube/node"));
        command.arg(folder).arg(ADDRESS.to_string()).stdin(Stdio::piped());
        command.stdout(file.try_clone().expect("a descriptor")).stderr(file);
        let mut outer = command.spawn().expect("tests/kube/node can be started");
        let held = outer.stdin.take();
        let process = eventually("the node's namespaces", || {
            let ended = outer.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "tests/kube/node: {}", fs::read_to_string(&log).unwrap_or_default());
            folder.join("set-up").exists().then(|| fs::read_to_string(folder.join("process")).ok()).flatten()
        });
        Namespaces { outer, held, process: process.trim().to_owned() }
    }

    fn enter(&self) -> Vec<String> {
        let words = [
            "nsenter",
            "--target",
            &self.process,
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--cgroup",
            "--pid",
            "--",
        ];
        words.into_iter().map(str::to_owned).collect()
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        drop(self.held.take());
        let _ = self.outer.wait();
    }
}

fn possible() -> Result<(), String> {
    let is_there = |name: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(name).exists())
    };
    let missing: Vec<&str> = ["runc", "nft", "iptables", "ip", "nsenter", "unshare"]
        .into_iter()
        .filter(|name| !is_there(name))
        .collect();
    if !missing.is_empty() {
        return Err(format!("a node needs {} (`.ci/tools kube` installs them)", missing.join(", ")));
    }
    let namespaces = Command::new("unshare").args(["--mount", "--net", "--pid", "--fork", "true"]).output();
    match namespaces {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("a node needs root: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("unshare: {error}")),
    }
}

fn pki(folder: &Path) -> Pki {
    let address = ADDRESS.to_string();
    let service = "kubernetes.default.svc.cluster.local";
    let names = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        service,
        "10.96.0.1",
        &address,
    ];
    let pki = Pki::new(folder, &names);
    pki.server("node", &["node1", &address]);
    pki.client("to-node", "kube-apiserver", Some("system:masters"));
    pki
}

/// An image of one of the programs that `make kube-tools` builds, as `localhost/NAME:test`.
fn own_image(name: &str, folder: &Path) -> PathBuf {
    image(&format!("localhost/{name}:test"), &program(name), folder)
}

/// An image archive of one program and the libraries it is linked with.
///
/// # Panics
/// If it cannot be made.
pub fn image(name: &str, binary: &Path, folder: &Path) -> PathBuf {
    let file = binary.file_name().expect("a program").to_string_lossy();
    let archive = folder.join(format!("{file}.tar"));
    let output = Command::new(root().join("tests/kube/image")).arg(name).arg(binary).arg(&archive).output();
    let output = output.expect("tests/kube/image can be started");
    assert!(output.status.success(), "tests/kube/image: {}", String::from_utf8_lossy(&output.stderr));
    archive
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("the folder is writable");
}
