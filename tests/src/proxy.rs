//! One proxy under test, on resources that the test wrote: no controller.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use dromon_core::config::model::{
    Destination, Discovery, Endpoint, Endpoints, HttpAction, HttpRule, Listener, ListenerKind,
    Proxy as ProxyModel, Resource, Role, ServiceRef, VirtualHost, WeightedDestination, Workload,
    destination_name,
};
use tempfile::TempDir;

use crate::http::get;
use crate::process::Process;
use crate::{bin, eventually, free_port};

/// Both drivers, by the names that `--driver` takes.
pub const DRIVERS: [&str; 2] = ["io_uring", "epoll"];

/// A running proxy.
pub struct Proxy {
    /// The process.
    pub process: Process,
    /// Its admin endpoints.
    pub admin: SocketAddr,
    /// Its readiness endpoint.
    pub health: SocketAddr,
    /// Its statistics endpoint.
    pub stats: SocketAddr,
    config: TempDir,
}

impl Proxy {
    /// Starts a proxy and waits until it is ready.
    ///
    /// # Panics
    /// If it ends or does not get ready in time.
    pub fn start(id: &str, driver: &str, resources: &[Resource], arguments: &[&str]) -> Proxy {
        let config = tempfile::tempdir().expect("a temporary folder");
        let [admin, health, stats] = [(); 3].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
        let file = config.path().join("config.json");
        write(&file, resources);
        let mut command = Command::new(bin("dromon-proxy"));
        command.args(["--id", id, "--driver", driver, "--config"]).arg(&file).args(["--pin", "off"]);
        for (flag, address) in [("--admin-addr", admin), ("--health-addr", health), ("--stats-addr", stats)] {
            command.arg(flag).arg(address.to_string());
        }
        let mut process = Process::start(command.args(arguments));
        eventually("the proxy to be ready", || {
            if let Some(status) = process.ended() {
                panic!("dromon-proxy ended with {status}: {:?}", process.stderr());
            }
            (get(health, "/healthz/ready", &[]).ok()?.status == 200).then_some(())
        });
        Proxy { process, admin, health, stats, config }
    }

    /// Puts other resources in force; they are so some milliseconds later.
    pub fn configure(&self, resources: &[Resource]) {
        write(&self.config.path().join("config.json"), resources);
    }
}

fn write(file: &PathBuf, resources: &[Resource]) {
    let hidden = file.with_extension("tmp");
    let text = serde_json::to_vec(resources).expect("the model is serialisable");
    std::fs::write(&hidden, text).expect("the folder is writable");
    std::fs::rename(hidden, file).expect("the folder is writable");
}

/// A gateway on `listen` that sends everything to `upstreams` by `rule` (its route is filled in where it has none).
pub fn gateway(listen: SocketAddr, upstreams: &[SocketAddr], rule: HttpRule) -> Vec<Resource> {
    let mut rule = rule;
    if matches!(&rule.action, HttpAction::Route { destinations } if destinations.is_empty()) {
        rule.action = HttpAction::Route { destinations: vec![to("origin.local")] };
    }
    let mut resources = destination("origin.local", upstreams);
    resources.push(Resource::VirtualHost(VirtualHost {
        name: "gateway/http/*".into(),
        listener: Some("gateway/http".into()),
        domains: vec!["*".into()],
        http: vec![rule],
        ..VirtualHost::default()
    }));
    resources
        .insert(0, proxy(Role::Gateway, vec![listener("gateway/http", listen, ListenerKind::GatewayHttp)]));
    resources
}

/// The proxy itself.
pub fn proxy(role: Role, listeners: Vec<Listener>) -> Resource {
    let (name, prefix) = match role {
        Role::Gateway => ("ingress", "gateway"),
        Role::Sidecar => ("app", "sidecar"),
    };
    let workload = Workload { name: name.into(), namespace: "default".into(), ..Workload::default() };
    Resource::Proxy(ProxyModel {
        name: format!("{prefix}~{name}.default"),
        role,
        workload,
        listeners,
        expose_reason: true,
        ..ProxyModel::default()
    })
}

/// A listener whose logical port is its real one.
pub fn listener(name: &str, address: SocketAddr, kind: ListenerKind) -> Listener {
    Listener::new(name, address, address.port(), kind)
}

/// The whole share to port 80 of a host.
pub fn to(host: &str) -> WeightedDestination {
    WeightedDestination { host: host.into(), port: Some(80), weight: 1, ..WeightedDestination::default() }
}

/// Port 80 of a host with these endpoints.
pub fn destination(host: &str, upstreams: &[SocketAddr]) -> Vec<Resource> {
    let name = destination_name(80, "", host);
    let endpoint =
        |it: &SocketAddr| Endpoint { address: it.ip().to_string(), port: it.port(), ..Endpoint::default() };
    let service = ServiceRef { host: host.into(), name: host.into(), namespace: "default".into() };
    let destination =
        Destination { name: name.clone(), service, discovery: Discovery::Static, ..Destination::default() };
    vec![
        Resource::Endpoints(Endpoints { name, endpoints: upstreams.iter().map(endpoint).collect() }),
        Resource::Destination(destination),
    ]
}
