//! Command lines of the control plane's programs, the same for an API server alone and for a node.

use std::net::Ipv4Addr;
use std::path::Path;

use super::pki::Pki;

/// Addresses of services, of both families: IPv4 unless a Service asks for another.
pub const SERVICE_RANGES: &str = "10.96.0.0/16,fd00:10:96::/112";

/// Addresses of pods.
pub const POD_RANGE: &str = "10.244.0.0/16";

/// Addresses of pods beside those, where the node has IPv6.
pub const POD_RANGE_V6: &str = "fd00:10:244::/64";

/// Where a control plane listens.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Address that the API server listens on and tells others.
    pub address: Ipv4Addr,
    /// Its port.
    pub port: u16,
    /// etcd's port for clients, on loopback.
    pub etcd_port: u16,
}

impl Place {
    /// The API server's URL.
    pub fn url(&self) -> String {
        format!("https://{}:{}", self.address, self.port)
    }
}

/// etcd's arguments, for data that a test throws away.
pub fn etcd(data: &Path, port: u16, peer_port: u16) -> Vec<String> {
    let client = format!("http://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{peer_port}");
    vec![
        format!("--data-dir={}", data.display()),
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
    ]
}

/// kube-apiserver's arguments.
pub fn api_server(pki: &Pki, place: Place) -> Vec<String> {
    let file = |name: &str| pki.file(name).display().to_string();
    vec![
        format!("--etcd-servers=http://127.0.0.1:{}", place.etcd_port),
        format!("--bind-address={}", place.address),
        format!("--advertise-address={}", place.address),
        format!("--secure-port={}", place.port),
        format!("--service-cluster-ip-range={SERVICE_RANGES}"),
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
    ]
}

/// kube-controller-manager's arguments.
pub fn controller_manager(pki: &Pki, kubeconfig: &Path, port: u16) -> Vec<String> {
    let file = |name: &str| pki.file(name).display().to_string();
    let config = kubeconfig.display();
    vec![
        format!("--kubeconfig={config}"),
        format!("--authentication-kubeconfig={config}"),
        format!("--authorization-kubeconfig={config}"),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={port}"),
        format!("--service-account-private-key-file={}", file("sa.key")),
        format!("--root-ca-file={}", file("ca.crt")),
        "--use-service-account-credentials".into(),
        "--leader-elect=false".into(),
        format!("--service-cluster-ip-range={SERVICE_RANGES}"),
    ]
}

/// kube-scheduler's arguments.
pub fn scheduler(kubeconfig: &Path, port: u16) -> Vec<String> {
    let config = kubeconfig.display();
    vec![
        format!("--kubeconfig={config}"),
        format!("--authentication-kubeconfig={config}"),
        format!("--authorization-kubeconfig={config}"),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={port}"),
        "--leader-elect=false".into(),
    ]
}
