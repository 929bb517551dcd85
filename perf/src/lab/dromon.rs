//! Dromon's configuration for a run, made from core's own model.

use dromon_core::config::model::{
    ClientTls, ClientTlsMode, ConnectionPool, Destination, Discovery, Endpoint, Endpoints, Host, HostPort,
    HttpAction, HttpMatch, HttpRule, Limit, LimitScope, Listener, ListenerKind, MtlsMode, Proxy, RateLimit,
    Resource, Role, ServiceRef, StringMatch, VirtualHost, WeightedDestination, Workload, destination_name,
};

use super::certs;
use super::setup::{Hop, Place, Setup};

/// The file of a run that holds its resources.
pub const FILE: &str = "config.json";
/// The service that the origin stands for.
const ORIGIN_HOST: &str = "origin.default.svc.cluster.local";

/// The id that a proxy has.
pub fn proxy_id(hop: Hop) -> String {
    let role = if hop.place == Place::Gateway { "gateway" } else { "sidecar" };
    format!("{role}~{}.default", hop.name())
}

/// The resources of one proxy, all requests of which lead to one origin. `generation` changes a rule without changing
/// where any request goes.
pub fn resources(setup: &Setup, hop: Hop, port: u16, origin_port: u16, generation: u64) -> Vec<Resource> {
    let address = ([127, 0, 0, 1], port).into();
    let listener = match hop.place {
        Place::Gateway | Place::Pair => {
            Listener::new(listener_name(port), address, 80, ListenerKind::GatewayHttp)
        }
        Place::Client => {
            let host = ORIGIN_HOST.to_owned();
            let kind = ListenerKind::Service { host, port: origin_port, protocol: setup.protocol };
            Listener::new(format!("service/{ORIGIN_HOST}:{origin_port}"), address, origin_port, kind)
        }
        Place::Server => {
            let kind = ListenerKind::Inbound {
                protocol: setup.protocol,
                target: ([127, 0, 0, 1], origin_port).into(),
                service: Some(service()),
                pool: ConnectionPool::default(),
                mtls: if hop.tls_down { MtlsMode::Strict } else { MtlsMode::Disable },
            };
            Listener::new(format!("inbound/{port}"), address, port, kind)
        }
    };
    let workload = Workload {
        name: hop.name().into(),
        namespace: "default".into(),
        service_account: hop.name().into(),
        ..Workload::default()
    };
    let proxy = Proxy {
        name: proxy_id(hop),
        role: if hop.place == Place::Gateway { Role::Gateway } else { Role::Sidecar },
        workload,
        listeners: vec![listener],
        ..Proxy::default()
    };
    let mut all = vec![Resource::Proxy(proxy)];
    if hop.place != Place::Server {
        all.extend(origin(setup, hop, origin_port));
    }
    if hop.place == Place::Gateway {
        all.extend(limit(setup, port).map(Resource::RateLimit));
        let hosts = (0..setup.hosts).map(|number| virtual_host(setup, port, origin_port, number, generation));
        all.extend(hosts.map(Resource::VirtualHost));
    }
    all
}

fn service() -> ServiceRef {
    ServiceRef { host: ORIGIN_HOST.into(), name: "origin".into(), namespace: "default".into() }
}

/// The service that a gateway or a client's sidecar sends to.
fn origin(setup: &Setup, hop: Hop, port: u16) -> [Resource; 3] {
    let name = destination_name(port, "", ORIGIN_HOST);
    let identity = certs::identity("server");
    let endpoint = Endpoint {
        mtls: hop.tls_up,
        identity: if hop.tls_up { identity.clone() } else { String::new() },
        ..Endpoint::new("127.0.0.1", port)
    };
    let host = Host {
        name: ORIGIN_HOST.into(),
        domains: vec![ORIGIN_HOST.into()],
        ports: vec![HostPort { number: port, protocol: setup.protocol }],
        ..Host::default()
    };
    let tls = hop.tls_up.then(|| ClientTls {
        mode: ClientTlsMode::IstioMutual,
        identities: vec![identity],
        ..ClientTls::default()
    });
    let destination = Destination {
        name: name.clone(),
        service: service(),
        protocol: setup.protocol,
        discovery: Discovery::Static,
        tls,
        ..Destination::default()
    };
    [
        Resource::Endpoints(Endpoints { name, endpoints: vec![endpoint] }),
        Resource::Destination(destination),
        Resource::Host(host),
    ]
}

/// Name of the listener of a port.
pub fn listener_name(port: u16) -> String {
    format!("gateway/{port}")
}

fn virtual_host(setup: &Setup, port: u16, origin_port: u16, number: usize, generation: u64) -> VirtualHost {
    let domain = Setup::host(number);
    let rule = |route: usize| {
        let destination = WeightedDestination {
            host: ORIGIN_HOST.into(),
            port: Some(origin_port),
            weight: 1,
            ..WeightedDestination::default()
        };
        let uri = Some(StringMatch::Prefix(setup.prefix(route)));
        HttpRule {
            name: format!("route-{route}"),
            origin: format!("VirtualService/default/lab spec.http[{route}] generation {generation}"),
            matches: vec![HttpMatch { uri, ..HttpMatch::default() }],
            action: HttpAction::Route { destinations: vec![destination] },
            ..HttpRule::default()
        }
    };
    VirtualHost {
        name: format!("{}/{domain}", listener_name(port)),
        listener: Some(listener_name(port)),
        domains: vec![domain],
        http: (0..setup.routes).map(rule).collect(),
        ..VirtualHost::default()
    }
}

fn limit(setup: &Setup, port: u16) -> Option<RateLimit> {
    let limit = setup.limit?;
    Some(RateLimit {
        name: "default/lab".into(),
        scope: LimitScope::Gateway { listeners: vec![listener_name(port)] },
        limits: vec![Limit {
            requests: limit.per_second,
            unit_ms: 1_000,
            burst: limit.burst,
            ..Limit::default()
        }],
    })
}
