//! A sidecar's listeners, its index of hosts, and their rules.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use dromon_core::capture::{Family, INBOUND_PORT, OUTBOUND_PORT};
use dromon_core::config::model::{
    self, Host, HostPort, HttpAction, HttpRule, Listener, ListenerKind, Protocol, TcpMatch, TcpRule, TlsRule,
    VirtualHost, WeightedDestination,
};

use crate::mesh::host::{SERVICE_DOMAIN, covers, specificity};
use crate::mesh::service::{Service, TargetPort};
use crate::mesh::workloads::has_all;
use crate::mesh::{HeldVirtualService, MESH_GATEWAY, Mesh, protocol};

use super::Builder;
use super::http::Place;
use super::identity::{ProxyIdentity, ProxyRole, SidecarIdentity};
use super::policy::{self, Effective};
use super::proxy::sidecar_of;

/// Rules outside any gateway.
const PLACE: Place<'static> = Place { gateway: MESH_GATEWAY, port: None };
/// The port of hosts that no service has and whose rules name no port.
const HTTP_PORT: u16 = 80;
/// As [`HTTP_PORT`], for rules of TLS.
const HTTPS_PORT: u16 = 443;

/// Builds the sidecar's part of a view.
pub(super) fn build(builder: &mut Builder<'_>, sidecar: &SidecarIdentity) {
    outbound(builder);
    own(builder, sidecar);
}

/// What is the sidecar's alone: its listeners, its own address, its limits.
pub(super) fn own(builder: &mut Builder<'_>, sidecar: &SidecarIdentity) {
    inbound(builder, sidecar);
    if let Some(address) = sidecar.outbound {
        let name = "outbound".to_owned();
        let listener = Listener::new(name, address, address.port(), ListenerKind::Outbound);
        builder.proxy.listeners.push(listener);
    }
    captured(builder, sidecar);
    super::pods::own(builder, sidecar);
    for client in &sidecar.clients {
        let service = builder.mesh.service(&client.host, &builder.identity.namespace);
        let protocol = service.and_then(|it| it.port(client.port)).map(|it| it.protocol).unwrap_or_default();
        let kind = ListenerKind::Service { host: client.host.clone(), port: client.port, protocol };
        let name = format!("service/{}:{}", client.host, client.port);
        let listener = Listener::new(name, client.address, client.port, kind);
        builder.proxy.listeners.push(listener);
    }
    super::rate_limit::of_sidecar(builder);
}

/// What arrives at a port of the workload.
struct Arrival<'a> {
    protocol: Protocol,
    service: Option<(&'a Service, u16)>,
}

/// One listener for each port that the workload declares or that a service targets.
fn inbound(builder: &mut Builder<'_>, sidecar: &SidecarIdentity) {
    let mut ports: BTreeMap<u16, Arrival<'_>> = BTreeMap::new();
    for service in selecting(builder) {
        for port in &service.ports {
            let number = match &port.target {
                TargetPort::Number(number) => Some(*number),
                TargetPort::Name(name) => {
                    sidecar.ports.iter().find(|it| it.name == *name).map(|it| it.number)
                }
            };
            if let Some(number) = number {
                let arrival = Arrival { protocol: port.protocol, service: Some((service, port.number)) };
                ports.entry(number).or_insert(arrival);
            }
        }
    }
    for port in &sidecar.ports {
        ports.entry(port.number).or_insert(Arrival { protocol: port.protocol, service: None });
    }
    let own = sidecar_of(builder.mesh, builder.identity)
        .and_then(|it| it.rule.spec.inbound_connection_pool.as_ref());
    let (mtls, identity) = (&builder.mesh.peer_authentications, builder.identity);
    for (number, arrival) in ports {
        let pool = match own {
            Some(pool) => policy::connection_pool(pool),
            None => arrival
                .service
                .map(|(service, port)| inbound_pool(builder, service, port))
                .unwrap_or_default(),
        };
        let decision = mtls.of(&identity.namespace, &identity.labels, number);
        let kind = ListenerKind::Inbound {
            protocol: arrival.protocol,
            target: SocketAddr::new(sidecar.application, number),
            service: arrival.service.map(|(service, _)| service.facts()),
            pool,
            mtls: decision.mode,
        };
        let address = SocketAddr::new(sidecar.address, number);
        let listener = Listener::new(format!("inbound/{number}"), address, number, kind);
        let captured = !sidecar.captured.is_empty();
        builder.proxy.listeners.push(Listener { mtls_origin: decision.origin, captured, ..listener });
    }
}

/// The listeners that capture leads to. Outbound connections come over loopback, and nobody else is to use that one.
fn captured(builder: &mut Builder<'_>, sidecar: &SidecarIdentity) {
    let identity = builder.identity;
    // Port 0 is nobody's: what holds for the workload as a whole.
    let decision = builder.mesh.peer_authentications.of(&identity.namespace, &identity.labels, 0);
    let families: BTreeSet<Family> = sidecar.captured.iter().map(|address| Family::of(*address)).collect();
    for family in families {
        let (any, loopback, suffix): (IpAddr, IpAddr, _) = match family {
            Family::V4 => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into(), ""),
            Family::V6 => (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into(), "-ipv6"),
        };
        let kind = ListenerKind::InboundCapture { mtls: decision.mode };
        let address = SocketAddr::new(any, INBOUND_PORT);
        let inbound = Listener::new(format!("inbound{suffix}"), address, INBOUND_PORT, kind);
        let address = SocketAddr::new(loopback, OUTBOUND_PORT);
        let outbound =
            Listener::new(format!("outbound{suffix}"), address, OUTBOUND_PORT, ListenerKind::Outbound);
        let inbound = Listener { mtls_origin: decision.origin.clone(), ..inbound };
        builder.proxy.listeners.extend([inbound, outbound]);
    }
}

/// Services that select this workload, by host.
pub(super) fn selecting<'a>(builder: &Builder<'a>) -> Vec<&'a Service> {
    let identity = builder.identity;
    let selects = |it: &&Service| {
        it.namespace == identity.namespace
            && it.selector.as_ref().is_some_and(|selector| has_all(&identity.labels, selector))
    };
    let mut services: Vec<&Service> = builder.mesh.services().filter(selects).collect();
    services.sort_by(|a, b| a.host.cmp(&b.host));
    services
}

/// As Istio has it, a service's own DestinationRule caps what reaches the application too.
fn inbound_pool(builder: &Builder<'_>, service: &Service, port: u16) -> model::ConnectionPool {
    let (mesh, client) = (builder.mesh, builder.identity.client());
    let policy =
        mesh.destination_rules.find(&client, &service.host, &service.namespace, &mesh.root_namespace);
    let top = policy.and_then(|it| it.top());
    Effective::new(top, None, port).pool(mesh.config.connect_timeout)
}

/// The index, and rules and destinations of all that is in it.
pub(super) fn outbound(builder: &mut Builder<'_>) {
    let sight = Sight::new(builder.mesh, builder.identity);
    for host in sight.hosts() {
        sight.add(builder, host);
    }
}

/// What a sidecar sees of the mesh, host by host: what it sees of one depends on no other.
pub(super) struct Sight<'a> {
    mesh: &'a Mesh,
    namespace: &'a str,
    rules: Rules<'a>,
    egress: Egress,
}

impl<'a> Sight<'a> {
    pub(super) fn new(mesh: &'a Mesh, identity: &'a ProxyIdentity) -> Sight<'a> {
        let (rules, egress) = (Rules::new(mesh, identity), Egress::new(mesh, identity));
        Sight { mesh, namespace: &identity.namespace, rules, egress }
    }

    /// The hosts that it may see, be they services or of rules alone.
    pub(super) fn hosts(&self) -> BTreeSet<&'a str> {
        let rules =
            self.rules.exact.keys().copied().chain(self.rules.wildcards.iter().map(|(host, _)| *host));
        self.mesh.services.iter().map(|it| it.host.as_str()).chain(rules).collect()
    }

    /// Adds what it sees of a host, if anything.
    pub(super) fn add(&self, builder: &mut Builder<'a>, host: &str) {
        let service = self.mesh.exact_service(host, self.namespace);
        if let Some(service) = service.filter(|it| self.egress.shows(&it.namespace, host)) {
            return self.add_service(builder, service);
        }
        let Some(rule) = self.rules.named(host) else { return };
        if self.egress.shows(&rule.held.key.namespace, host) {
            pure_virtual_host(builder, host, rule);
        }
    }

    fn add_service(&self, builder: &mut Builder<'a>, service: &Service) {
        // Routes on the Service come before VirtualServices of its host; `analyze` says so.
        let routed = match super::gateway_api::mesh::virtual_host(builder, service) {
            Some(host) => {
                builder.virtual_hosts.push(host);
                true
            }
            None => self.rules.of(&service.host).is_some_and(|it| virtual_host(builder, service, it)),
        };
        for port in &service.ports {
            builder.destination(&service.host, port.number, "");
        }
        let mut host = index(service, self.namespace, routed);
        if let ProxyRole::Sidecar(sidecar) = &builder.identity.role {
            host.addresses.extend(sidecar.service_addresses.get(&service.host).map(IpAddr::to_string));
        }
        builder.hosts.push(host);
        if service.is_headless {
            super::pods::of_service(builder, service);
        }
    }
}

fn index(service: &Service, namespace: &str, routed: bool) -> Host {
    let mut domains = vec![service.host.clone()];
    if service.is_kubernetes {
        let short = format!("{}.{}", service.name, service.namespace).to_ascii_lowercase();
        domains.push(format!("{short}.{}", SERVICE_DOMAIN.split('.').next().unwrap_or_default()));
        domains.push(short);
        if service.namespace == namespace {
            domains.push(service.name.to_ascii_lowercase());
        }
    }
    let ports = service.ports.iter().map(|it| HostPort { number: it.number, protocol: it.protocol });
    Host {
        name: service.host.clone(),
        domains,
        addresses: service.addresses.clone(),
        ports: ports.collect(),
        routed,
    }
}

/// Adds the rules of a service's host; false if none of them can hold here.
fn virtual_host(builder: &mut Builder<'_>, service: &Service, virtual_service: &HeldVirtualService) -> bool {
    let spec = &virtual_service.held.rule.spec;
    let mut http = builder.http_rules(virtual_service, PLACE);
    let tls = builder.tls_rules(virtual_service, PLACE);
    let mut tcp = builder.tcp_rules(virtual_service, PLACE);
    let is_any = |kind: fn(Protocol) -> bool| service.ports.iter().any(|it| kind(it.protocol));
    // What the rules say nothing about goes where it would have gone without them.
    if spec.http.is_empty() && is_any(protocol::may_be_http) {
        http.push(HttpRule {
            origin: format!("{} default", service.origin),
            action: HttpAction::Route { destinations: to_itself(service) },
            ..HttpRule::default()
        });
    }
    if spec.tcp.is_empty() && is_any(protocol::may_be_tcp) {
        let origin = format!("{} default", service.origin);
        let matches = ports_without_tls_rules(service, &tls);
        // Where TLS rules hold for every port, there is no default: as in Istio, what none of them takes is closed.
        if tls.is_empty() || !matches.is_empty() {
            tcp.push(TcpRule { origin, matches, destinations: to_itself(service) });
        }
    }
    let origins = vec![virtual_service.held.key.to_string()];
    let name = service.host.clone();
    builder.virtual_hosts.push(VirtualHost { name, origins, http, tls, tcp, ..VirtualHost::default() });
    true
}

/// The ports on which a service's own default holds beside TLS rules: those of no TLS. Empty without such rules: all.
fn ports_without_tls_rules(service: &Service, tls: &[TlsRule]) -> Vec<TcpMatch> {
    if tls.is_empty() {
        return Vec::new();
    }
    let others = service.ports.iter().filter(|it| it.protocol != Protocol::Tls);
    others.map(|it| TcpMatch { port: Some(it.number), ..TcpMatch::default() }).collect()
}

pub(super) fn to_itself(service: &Service) -> Vec<WeightedDestination> {
    vec![WeightedDestination { host: service.host.clone(), weight: 1, ..WeightedDestination::default() }]
}

/// A host that only a VirtualService speaks of: it exists for HTTP, on the ports that its rules lead to.
fn pure_virtual_host(builder: &mut Builder<'_>, host: &str, virtual_service: &HeldVirtualService) {
    let http = builder.http_rules(virtual_service, PLACE);
    let tls = builder.tls_rules(virtual_service, PLACE);
    let tcp = builder.tcp_rules(virtual_service, PLACE);
    if http.is_empty() && tcp.is_empty() && tls.is_empty() {
        return;
    }
    let mut ports = BTreeMap::from([(HTTP_PORT, Protocol::Http)]);
    let spec = &virtual_service.held.rule.spec;
    for condition in tls.iter().flat_map(|it| &it.matches) {
        ports.insert(condition.port.unwrap_or(HTTPS_PORT), Protocol::Tls);
    }
    let destinations = spec.http.iter().flat_map(|it| &it.route).filter_map(|it| it.destination.port);
    let matched = spec.http.iter().flat_map(|it| &it.matches).filter_map(|it| it.port);
    for port in destinations.map(|it| it.number).chain(matched) {
        ports.insert(port, Protocol::Http);
    }
    for port in spec.tcp.iter().flat_map(|it| &it.matches).filter_map(|it| it.port) {
        ports.insert(port, Protocol::Tcp);
    }
    let name = host.to_owned();
    let origins = vec![virtual_service.held.key.to_string()];
    builder.virtual_hosts.push(VirtualHost {
        name: name.clone(),
        origins,
        http,
        tls,
        tcp,
        ..VirtualHost::default()
    });
    builder.hosts.push(Host {
        domains: vec![name.clone()],
        name,
        addresses: Vec::new(),
        ports: ports.into_iter().map(|(number, protocol)| HostPort { number, protocol }).collect(),
        routed: true,
    });
}

/// The VirtualServices for sidecars that this proxy sees, by host: the oldest of each.
struct Rules<'a> {
    exact: HashMap<&'a str, &'a HeldVirtualService>,
    /// Longest first.
    wildcards: Vec<(&'a str, &'a HeldVirtualService)>,
}

impl<'a> Rules<'a> {
    fn new(mesh: &'a Mesh, identity: &ProxyIdentity) -> Rules<'a> {
        let mut exact = HashMap::new();
        let mut wildcards: HashMap<&str, &HeldVirtualService> = HashMap::new();
        let all = mesh.virtual_services_of(MESH_GATEWAY);
        for virtual_service in all.filter(|it| it.export.to(&identity.namespace)) {
            for host in &virtual_service.hosts {
                if host.starts_with('*') {
                    wildcards.entry(host).or_insert(virtual_service);
                } else {
                    exact.entry(host.as_str()).or_insert(virtual_service);
                }
            }
        }
        let mut wildcards: Vec<_> = wildcards.into_iter().collect();
        wildcards.sort_by(|a, b| specificity(b.0).cmp(&specificity(a.0)).then(a.0.cmp(b.0)));
        Rules { exact, wildcards }
    }

    /// Those of a host that no service has.
    fn named(&self, host: &str) -> Option<&'a HeldVirtualService> {
        let wildcard = || self.wildcards.iter().find(|(pattern, _)| *pattern == host).map(|(_, it)| *it);
        self.exact.get(host).copied().or_else(wildcard)
    }

    fn of(&self, host: &str) -> Option<&'a HeldVirtualService> {
        let wildcard = || self.wildcards.iter().find(|(pattern, _)| covers(pattern, host)).map(|(_, it)| *it);
        self.exact.get(host).copied().or_else(wildcard)
    }
}

/// What the Sidecar object lets through: `namespace/host` patterns; none: everything.
struct Egress {
    patterns: Option<Vec<(String, String)>>,
}

impl Egress {
    fn new(mesh: &Mesh, identity: &ProxyIdentity) -> Egress {
        let own = identity.namespace.as_str();
        let egress = sidecar_of(mesh, identity).and_then(|it| it.rule.spec.egress.as_ref());
        let pattern = |it: &String| {
            let (namespace, host) = it.split_once('/')?;
            let namespace = if namespace == "." { own } else { namespace };
            (namespace != "~").then(|| (namespace.to_owned(), host.to_ascii_lowercase()))
        };
        let patterns = egress.filter(|it| !it.is_empty());
        Egress {
            patterns: patterns.map(|it| it.iter().flat_map(|it| &it.hosts).filter_map(pattern).collect()),
        }
    }

    fn shows(&self, namespace: &str, host: &str) -> bool {
        let Some(patterns) = &self.patterns else { return true };
        patterns
            .iter()
            .any(|(wanted, pattern)| (wanted == "*" || wanted == namespace) && covers(pattern, host))
    }
}
