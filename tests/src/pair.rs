//! Two sidecars under test, a client's and a server's, without a controller: what tests of mutual identity begin with.

use std::net::SocketAddr;
use std::path::Path;

use dromon_core::config::model::{
    AccessLog, ClientTls, ClientTlsMode, Host, HostPort, Listener, ListenerKind, MtlsMode, Protocol,
    Resource, Role,
};

use crate::free_port;
use crate::http::get;
use crate::proxy::{Proxy, destination, listener, proxy};

/// The service of [`server`] and [`client`].
pub const HOST: &str = "web.default.svc.cluster.local";

/// The resources of a server's sidecar.
pub fn server(inbound: SocketAddr, target: SocketAddr, protocol: Protocol, mtls: MtlsMode) -> Vec<Resource> {
    let kind = ListenerKind::Inbound { protocol, target, service: None, pool: Default::default(), mtls };
    vec![logged(proxy(Role::Sidecar, vec![listener("inbound/80", inbound, kind)]))]
}

/// The resources of a client's sidecar: everything that comes to `front` goes to the server, whose account is `identity`.
pub fn client(front: SocketAddr, inbound: SocketAddr, protocol: Protocol, identity: &str) -> Vec<Resource> {
    let kind = ListenerKind::Service { host: HOST.into(), port: 80, protocol };
    let listeners: Vec<Listener> = vec![listener("service/80", front, kind)];
    let mut resources = vec![logged(proxy(Role::Sidecar, listeners))];
    resources.extend(service(HOST, inbound, protocol, identity));
    resources
}

/// Port 80 of a service whose one endpoint takes mutual TLS as `identity`.
pub fn service(host: &str, inbound: SocketAddr, protocol: Protocol, identity: &str) -> Vec<Resource> {
    let mut resources = Vec::new();
    for mut resource in destination(host, &[inbound]) {
        match &mut resource {
            Resource::Destination(it) => {
                it.protocol = protocol;
                it.tls = Some(ClientTls {
                    mode: ClientTlsMode::Auto,
                    identities: vec![identity.into()],
                    ..ClientTls::default()
                });
            }
            Resource::Endpoints(it) => it.endpoints.iter_mut().for_each(|it| it.mtls = true),
            _ => {}
        }
        resources.push(resource);
    }
    resources.push(Resource::Host(Host {
        name: host.into(),
        domains: vec![host.into()],
        ports: vec![HostPort { number: 80, protocol }],
        ..Host::default()
    }));
    resources
}

/// With an access log on standard output.
fn logged(resource: Resource) -> Resource {
    match resource {
        Resource::Proxy(mut proxy) => {
            proxy.access_log = Some(AccessLog { path: "/dev/stdout".into(), ..AccessLog::default() });
            Resource::Proxy(proxy)
        }
        other => other,
    }
}

/// A sidecar with the certificate in this folder.
///
/// # Panics
/// If it does not get ready.
pub fn sidecar(driver: &str, resources: &[Resource], certs: &Path) -> Proxy {
    let certs = certs.display().to_string();
    Proxy::start("sidecar~app.default", driver, resources, &["--shards", "1", "--certs", &certs])
}

/// A free loopback address.
pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// The sum of a metric's lines that contain all of `parts`.
///
/// # Panics
/// If the proxy does not show its statistics.
pub fn metric(proxy: &Proxy, parts: &[&str]) -> f64 {
    let page = get(proxy.stats, "/stats/prometheus", &[]).expect("a page").text();
    let lines = page.lines().filter(|line| parts.iter().all(|part| line.contains(part)));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
