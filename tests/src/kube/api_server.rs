//! etcd and kube-apiserver on loopback ports, RBAC on, as envtest runs them.
//!
//! There is no node, so pods stay Pending, and without [`Setup::controller_manager`] nothing makes endpoints, service accounts
//! or ends a namespace: tests write what they need themselves.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::components::{self, Place};
use super::kubectl::Kubectl;
use super::pki::Pki;
use super::{API, assets, program};
use crate::process::Process;
use crate::{eventually, free_port, http};

/// One API server at a time in a test's process: each is some 400 MiB, and machines that run tests are small.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// How to start an API server.
#[derive(Default)]
pub struct Setup {
    controller_manager: bool,
    no_slices: bool,
}

impl Setup {
    /// With kube-controller-manager: service accounts, endpoints, owner references and namespaces' ends work.
    #[must_use]
    pub fn controller_manager(mut self) -> Setup {
        self.controller_manager = true;
        self
    }

    /// Without EndpointSlices, as servers before Kubernetes 1.21.
    #[must_use]
    pub fn without_endpoint_slices(mut self) -> Setup {
        self.no_slices = true;
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

impl Setup {
    fn arguments(&self) -> &'static [&'static str] {
        if self.no_slices { &["--runtime-config=discovery.k8s.io/v1=false"] } else { &[] }
    }

    /// Where it says that it is ready. Its own informer of EndpointSlices, which is for aggregated APIs, waits for ever where
    /// none are served.
    fn readiness(&self) -> &'static str {
        if self.no_slices { "/readyz?exclude=informer-sync" } else { "/readyz" }
    }
}

/// A running API server, which ends with its data when dropped.
pub struct ApiServer {
    // In the order in which they are ended.
    manager: Option<Process>,
    server: Option<Process>,
    _etcd: Process,
    place: Place,
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
        let place = Place { address: Ipv4Addr::LOCALHOST, port: free_port(), etcd_port: free_port() };
        let pki = pki(&folder.path().join("pki"));
        let url = place.url();
        let admin = Kubectl::new(&pki.kubeconfig("admin", &url, "admin", Some("system:masters")));
        let etcd = components::etcd(&folder.path().join("etcd"), place.etcd_port, free_port());
        let etcd = Process::start(Command::new(program("etcd")).args(etcd));
        let mut kube = ApiServer {
            manager: None,
            server: None,
            _etcd: etcd,
            place,
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
        self.place.url()
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
            self.admin.call(&["get", "--raw", self.setup.readiness()], "").ok.then_some(())
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
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], self.place.etcd_port));
        let mut connection = http::Connection::open(address).expect("etcd listens");
        let body = body.to_string();
        let response = connection.send("POST", path, &[], body.as_bytes()).expect("etcd answers");
        assert_eq!(response.status, 200, "etcd {path}: {}", response.text());
        serde_json::from_slice(&response.body).expect("etcd speaks JSON")
    }

    fn start_server(&self) -> Process {
        let arguments = components::api_server(&self.pki, self.place);
        Process::start(Command::new(program("kube-apiserver")).args(arguments).args(self.setup.arguments()))
    }

    fn start_manager(&self) -> Process {
        let config = self.pki.kubeconfig("manager", &self.url(), "system:kube-controller-manager", None);
        let arguments = components::controller_manager(&self.pki, &config, free_port());
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
