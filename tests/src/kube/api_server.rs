//! etcd and kube-apiserver on loopback ports, RBAC on, as envtest runs them.
//!
//! There is no node, so pods stay Pending, and without [`Setup::controller_manager`] nothing makes endpoints, service accounts
//! or ends a namespace: tests write what they need themselves.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::kubectl::Kubectl;
use super::pki::Pki;
use super::{API, assets, program};
use crate::process::Process;
use crate::{eventually, free_port, http};

/// One API server at a time in a test's process: each is some 400 MiB, and machines that run tests are small.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Addresses of services: those that kube-apiserver gives out.
pub const SERVICE_RANGE: &str = "10.96.0.0/16";

/// How to start an API server.
#[derive(Default)]
pub struct Setup {
    controller_manager: bool,
    arguments: Vec<String>,
}

impl Setup {
    /// With kube-controller-manager: service accounts, endpoints, owner references and namespaces' ends work.
    #[must_use]
    pub fn controller_manager(mut self) -> Setup {
        self.controller_manager = true;
        self
    }

    /// With more arguments to kube-apiserver.
    #[must_use]
    pub fn arguments(mut self, more: &[&str]) -> Setup {
        self.arguments.extend(more.iter().map(|it| (*it).to_owned()));
        self
    }

    /// Starts it and waits until it is ready; None where the programs are missing, which `test` is then noted as skipped for.
    ///
    /// # Panics
    /// If it does not get ready, with what it said.
    pub fn start(self, test: &str) -> Option<ApiServer> {
        let more: &[&str] = if self.controller_manager { &["kube-controller-manager"] } else { &[] };
        assets(test, &[API, more].concat()).then(|| ApiServer::new(self))
    }
}

/// A running API server, which ends with its data when dropped.
pub struct ApiServer {
    // In the order in which they are ended.
    manager: Option<Process>,
    server: Option<Process>,
    _etcd: Process,
    etcd_port: u16,
    port: u16,
    setup: Setup,
    pki: Pki,
    admin: Kubectl,
    _folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl ApiServer {
    /// A plain one: see [`Setup`].
    ///
    /// # Panics
    /// If it does not get ready, with what it said.
    pub fn start(test: &str) -> Option<ApiServer> {
        Setup::default().start(test)
    }

    fn new(setup: Setup) -> ApiServer {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::Builder::new().prefix("dromon-kube-").tempdir().expect("a temporary folder");
        let (etcd_port, port) = (free_port(), free_port());
        let pki = pki(&folder.path().join("pki"));
        let url = format!("https://127.0.0.1:{port}");
        let admin = Kubectl::new(&pki.kubeconfig("admin", &url, "admin", Some("system:masters")));
        let etcd = etcd(&folder.path().join("etcd"), etcd_port, free_port());
        let mut kube = ApiServer {
            manager: None,
            server: None,
            _etcd: etcd,
            etcd_port,
            port,
            setup,
            pki,
            admin,
            _folder: folder,
            _alone: alone,
        };
        kube.restart();
        if kube.setup.controller_manager {
            kube.manager = Some(kube.start_manager());
        }
        kube.namespace("default");
        kube
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        self.admin.kubeconfig()
    }

    /// `kubectl` as administrator.
    pub fn kubectl(&self) -> &Kubectl {
        &self.admin
    }

    /// The CA's certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        self.pki.ca_pem()
    }

    /// Makes sure that a namespace and its `default` service account exist.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn namespace(&self, name: &str) {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        if self.admin.get(&["namespace", name]).is_none() {
            self.admin.apply(&namespace.to_string());
        }
        if self.admin.get(&["serviceaccount", "default", "-n", name]).is_none() {
            self.admin.apply(&account.to_string());
        }
    }

    /// A kubeconfig of a user by client certificate, who may do what RBAC gives to that name and group.
    pub fn user(&self, user: &str, group: Option<&str>) -> PathBuf {
        self.pki.kubeconfig(&format!("user-{user}").replace(':', "-"), &self.url(), user, group)
    }

    /// A kubeconfig of a service account by a token that the API server issues, as a pod of it has.
    ///
    /// # Panics
    /// If there is no such account.
    pub fn account(&self, namespace: &str, account: &str) -> PathBuf {
        let token = self.admin.run(&["create", "token", account, "-n", namespace, "--duration", "1h"]);
        self.pki.token_kubeconfig(&format!("account-{namespace}-{account}"), &self.url(), token.trim())
    }

    /// Ends kube-apiserver as a crash does; etcd goes on.
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill(&mut self) {
        let mut server = self.server.take().expect("the API server runs");
        server.signal(9);
        server.wait();
    }

    /// Starts kube-apiserver again on the same port and data, after ending it if it runs, and waits until it is ready.
    ///
    /// # Panics
    /// If it does not get ready, with what it said.
    pub fn restart(&mut self) {
        if self.server.is_some() {
            self.kill();
        }
        let mut server = self.start_server();
        eventually("the API server to be ready", || {
            if let Some(status) = server.ended() {
                panic!("kube-apiserver ended with {status}: {:#?}", server.stderr());
            }
            self.admin.call(&["get", "--raw", "/readyz"], "").ok.then_some(())
        });
        self.server = Some(server);
    }

    /// Compacts etcd up to now. A watch that asks for an older version is told 410 by etcd, and so by an API server whose own
    /// cache does not reach back either: after [`ApiServer::restart`], all of them.
    ///
    /// # Panics
    /// If etcd refuses.
    pub fn compact(&self) {
        let status = self.etcd("/v3/maintenance/status", &json!({}));
        let revision = &status["header"]["revision"];
        self.etcd("/v3/kv/compaction", &json!({"revision": revision, "physical": true}));
    }

    fn etcd(&self, path: &str, body: &Value) -> Value {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], self.etcd_port));
        let mut connection = http::Connection::open(address).expect("etcd listens");
        let body = body.to_string();
        let response = connection.send("POST", path, &[], body.as_bytes()).expect("etcd answers");
        assert_eq!(response.status, 200, "etcd {path}: {}", response.text());
        serde_json::from_slice(&response.body).expect("etcd speaks JSON")
    }

    fn start_server(&self) -> Process {
        let file = |name: &str| self.pki.file(name).display().to_string();
        let arguments = [
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            "--bind-address=127.0.0.1".into(),
            "--advertise-address=127.0.0.1".into(),
            format!("--secure-port={}", self.port),
            format!("--service-cluster-ip-range={SERVICE_RANGE}"),
            "--allow-privileged".into(),
            "--authorization-mode=Node,RBAC".into(),
            "--enable-admission-plugins=NodeRestriction".into(),
            format!("--client-ca-file={}", file("ca.crt")),
            format!("--tls-cert-file={}", file("apiserver.crt")),
            format!("--tls-private-key-file={}", file("apiserver.key")),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
            format!("--service-account-key-file={}", file("sa.pub")),
            format!("--service-account-signing-key-file={}", file("sa.key")),
            // A restart need not wait for requests under way: it stands for a crash.
            "--shutdown-delay-duration=0s".into(),
        ];
        Process::start(Command::new(program("kube-apiserver")).args(arguments).args(&self.setup.arguments))
    }

    fn start_manager(&self) -> Process {
        let file = |name: &str| self.pki.file(name).display().to_string();
        let config = self.pki.kubeconfig("manager", &self.url(), "system:kube-controller-manager", None);
        let config = config.display();
        let arguments = [
            format!("--kubeconfig={config}"),
            format!("--authentication-kubeconfig={config}"),
            format!("--authorization-kubeconfig={config}"),
            "--bind-address=127.0.0.1".into(),
            format!("--secure-port={}", free_port()),
            format!("--service-account-private-key-file={}", file("sa.key")),
            format!("--root-ca-file={}", file("ca.crt")),
            "--use-service-account-credentials".into(),
            "--leader-elect=false".into(),
            format!("--service-cluster-ip-range={SERVICE_RANGE}"),
        ];
        Process::start(Command::new(program("kube-controller-manager")).args(arguments))
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // Nothing of theirs is kept, so nothing has to be finished.
        for process in [&mut self.manager, &mut self.server].into_iter().flatten() {
            if process.ended().is_none() {
                process.signal(9);
            }
        }
    }
}

fn pki(folder: &Path) -> Pki {
    let dns = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let addresses = ["127.0.0.1", "10.96.0.1"];
    Pki::new(folder, &[&dns[..], &addresses[..]].concat())
}

fn etcd(data: &Path, port: u16, peer_port: u16) -> Process {
    let client = format!("http://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{peer_port}");
    let mut command = Command::new(program("etcd"));
    command.arg("--data-dir").arg(data).arg("--unsafe-no-fsync").args(["--log-level", "warn"]);
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--initial-cluster", &format!("default={peer}")]);
    Process::start(&mut command)
}
