//! A gateway's listeners and virtual hosts, from the Gateway objects that select it and the VirtualServices that name them.

mod tls;

use std::collections::{BTreeMap, BTreeSet};

use dromon_core::config::model::{
    HttpAction, HttpMatch, HttpRule, Listener, ListenerKind, Redirect, RedirectPort, StringMatch, TcpRule,
    VirtualHost,
};

use crate::api::gateway::{Gateway, Server};
use crate::diagnostic::Diagnostic;
use crate::mesh::workloads::has_all;
use crate::mesh::{Held, HeldVirtualService, Mesh, host};

use super::gateway_api::{self, ListenerAt};
use super::http::Place;
use super::identity::{GatewayIdentity, GatewaySelection, PortAt};
use super::{Builder, ProxyIdentity, ingress};

pub(crate) use tls::{carries_http, credential, credential_names, version};

/// What a gateway speaks on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum PortProtocol {
    Http,
    Tcp,
    /// HTTPS, or TLS that is passed on or carries TCP; which, the server name decides.
    Tls,
}

/// A port that the Gateway objects of a proxy name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct GatewayPort {
    pub at: PortAt,
    pub protocol: PortProtocol,
    /// Objects that name it, as `Gateway/namespace/name`.
    pub origins: Vec<String>,
}

/// The ports that a gateway would open, for the caller to find an address for each.
pub fn gateway_ports(mesh: &Mesh, identity: &ProxyIdentity, selection: GatewaySelection) -> Vec<GatewayPort> {
    let (ports, _) = ports(mesh, identity, selection);
    let port =
        |(at, port): (PortAt, Port<'_>)| GatewayPort { at, protocol: port.protocol, origins: port.origins() };
    ports.into_iter().map(port).collect()
}

/// What a server speaks, where that is carried out.
pub(crate) fn server_protocol(server: &Server) -> Option<PortProtocol> {
    match server.port.protocol.to_ascii_uppercase().as_str() {
        "HTTP" | "HTTP2" | "GRPC" | "GRPC-WEB" => Some(PortProtocol::Http),
        "HTTPS" | "TLS" => server.tls.as_ref().map(|_| PortProtocol::Tls),
        "TCP" | "MONGO" if server.tls.is_some() => Some(PortProtocol::Tls),
        "TCP" | "MONGO" => Some(PortProtocol::Tcp),
        _ => None,
    }
}

/// A port with the servers that share it.
struct Port<'a> {
    protocol: PortProtocol,
    servers: Vec<(&'a Held<Gateway>, usize, &'a Server)>,
    /// Listeners of Gateway API.
    listeners: Vec<ListenerAt>,
    /// Ingresses are served there.
    ingress: bool,
    /// Objects other than the servers'.
    others: BTreeSet<String>,
    /// HTTP is spoken, or comes out of TLS.
    http: bool,
}

impl Port<'_> {
    fn new(protocol: PortProtocol) -> Self {
        let (servers, listeners, others) = (Vec::new(), Vec::new(), BTreeSet::new());
        Port { protocol, servers, listeners, ingress: false, others, http: false }
    }

    fn origins(&self) -> Vec<String> {
        let servers = self.servers.iter().map(|(held, ..)| held.key.to_string());
        let all: BTreeSet<String> = servers.chain(self.others.iter().cloned()).collect();
        all.into_iter().collect()
    }
}

/// The Gateways that configure a proxy, oldest first.
fn selected<'a>(
    mesh: &'a Mesh,
    identity: &ProxyIdentity,
    selection: GatewaySelection,
) -> impl Iterator<Item = &'a Held<Gateway>> {
    let labels = identity.labels.clone();
    mesh.gateways.iter().filter(move |it| match selection {
        GatewaySelection::Every => true,
        GatewaySelection::ByLabels => has_all(&labels, &it.rule.spec.selector),
    })
}

fn ports<'a>(
    mesh: &'a Mesh,
    identity: &ProxyIdentity,
    selection: GatewaySelection,
) -> (BTreeMap<PortAt, Port<'a>>, Vec<Diagnostic>) {
    let mut ports: BTreeMap<PortAt, Port<'a>> = BTreeMap::new();
    let mut diagnostics = Vec::new();
    for held in selected(mesh, identity, selection) {
        for (at, server) in held.rule.spec.servers.iter().enumerate() {
            let Some(protocol) = server_protocol(server) else { continue };
            let port = ports.entry(server.port.number.into()).or_insert_with(|| Port::new(protocol));
            if port.protocol == protocol {
                port.http |= protocol == PortProtocol::Http || carries_http(server);
                port.servers.push((held, at, server));
                continue;
            }
            let other = port.servers.first().map(|it| it.0.key.to_string()).unwrap_or_default();
            let message = format!("port {} already speaks something else in {other}", server.port.number);
            let diagnostic = Diagnostic::error(format!("spec.servers[{at}].port.protocol"), message);
            diagnostics.push(diagnostic.hint("give the server a port of its own").on(&held.key));
        }
    }
    listener_ports(mesh, identity, selection, &mut ports, &mut diagnostics);
    (ports, diagnostics)
}

/// Adds the ports of Gateway API's listeners and of Ingresses.
fn listener_ports<'a>(
    mesh: &'a Mesh,
    identity: &ProxyIdentity,
    selection: GatewaySelection,
    ports: &mut BTreeMap<PortAt, Port<'a>>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let taken = |number: u16, port: &Port<'_>| {
        let other = port.origins().into_iter().next().unwrap_or_default();
        format!("port {number} already speaks something else in {other}")
    };
    for (at, listener) in gateway_api::served(mesh, identity, selection) {
        let (Some(speaks), Some(gateway)) = (listener.protocol, mesh.gateway_api.gateways.get(at.0)) else {
            continue;
        };
        let protocol = gateway_api::port_protocol(speaks);
        let own = gateway.own_service.as_ref().filter(|_| gateway_api::keeps_apart(identity, selection));
        let place = PortAt { service: own.cloned().unwrap_or_default(), number: listener.port };
        let port = ports.entry(place).or_insert_with(|| Port::new(protocol));
        if port.protocol == protocol {
            port.listeners.push(at);
            port.others.insert(gateway.key.to_string());
            port.http |= speaks.carries_http();
        } else {
            let field = format!("spec.listeners[{}].protocol", at.1);
            let diagnostic = Diagnostic::error(field, taken(listener.port, port));
            diagnostics.push(diagnostic.hint("give the listener a port of its own").on(&gateway.key));
        }
    }
    if !gateway_api::serves_class(identity, selection) {
        return;
    }
    let of_ingress = [(ingress::HTTP_PORT, PortProtocol::Http), (ingress::HTTPS_PORT, PortProtocol::Tls)];
    for (number, protocol) in of_ingress {
        let with_tls = protocol == PortProtocol::Tls;
        for it in mesh.ingresses.iter().filter(|it| !with_tls || ingress::has_tls(it)) {
            let port = ports.entry(number.into()).or_insert_with(|| Port::new(protocol));
            if port.protocol == protocol {
                port.ingress = true;
                port.http = true;
                port.others.insert(it.key.to_string());
            } else {
                diagnostics.push(Diagnostic::error("spec", taken(number, port)).on(&it.key));
            }
        }
    }
}

/// Builds the gateway's part of a view.
pub(super) fn build(builder: &mut Builder<'_>, gateway: &GatewayIdentity) {
    let (ports, diagnostics) = ports(builder.mesh, builder.identity, gateway.selection);
    builder.diagnostics.extend(diagnostics);
    let mut listeners_of = BTreeMap::<String, Vec<String>>::new();
    for (at, port) in &ports {
        let Some(address) = gateway.ports.get(at) else {
            let message = format!("port {} is not open at {}", at.number, builder.identity.id());
            let origins = port
                .servers
                .iter()
                .map(|(held, at, _)| (held.key.clone(), format!("spec.servers[{at}].port")));
            let diagnostics = origins.map(|(key, field)| Diagnostic::warning(field, message.clone()).on(key));
            builder.diagnostics.extend(diagnostics);
            let others = port.others.iter();
            let others = others.map(|it| Diagnostic::warning("spec", message.clone()).on(it));
            builder.diagnostics.extend(others);
            continue;
        };
        let name = listener_name(at);
        for origin in port.origins() {
            listeners_of.entry(origin).or_default().push(name.clone());
        }
        let kind = match port.protocol {
            PortProtocol::Http => ListenerKind::GatewayHttp,
            PortProtocol::Tls if port.http => ListenerKind::GatewayHttp,
            PortProtocol::Tcp | PortProtocol::Tls => ListenerKind::GatewayTcp,
        };
        let listener = Listener::new(name, *address, at.number, kind);
        let proxy_protocol = accepts_proxy_protocol(builder, port);
        let mut settings = tls::settings(builder, &port.servers);
        if port.protocol == PortProtocol::Tls {
            settings.extend(gateway_api::tls_settings(builder, &port.listeners));
            if port.ingress {
                settings.extend(ingress::tls_settings(builder));
            }
        }
        let tls = if port.protocol == PortProtocol::Tls { settings } else { Vec::new() };
        builder.proxy.listeners.push(Listener { tls, proxy_protocol, ..listener });
        match port.protocol {
            PortProtocol::Http => http_port(builder, at, port, BTreeMap::new()),
            PortProtocol::Tcp => tcp_port(builder, at, port),
            PortProtocol::Tls => {
                let streams = tls::streams(builder, at, &port.servers);
                http_port(builder, at, port, streams);
            }
        }
    }
    super::rate_limit::of_gateway(builder, &listeners_of);
}

fn listener_name(at: &PortAt) -> String {
    match at.service.as_str() {
        "" => format!("gateway/{}", at.number),
        own => format!("gateway/{own}/{}", at.number),
    }
}

/// A Gateway's name as VirtualServices give it.
fn full_name(held: &Held<Gateway>) -> String {
    format!("{}/{}", held.key.namespace, held.key.name)
}

/// What one VirtualService brings to a domain, through which Gateway.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    /// Place among the mesh's VirtualServices, which stand by age.
    age: usize,
    gateway: String,
}

#[derive(Default)]
struct Domain {
    parts: BTreeSet<Part>,
    https_redirect: bool,
    origins: BTreeSet<String>,
}

/// The annotation of a Gateway whose ports begin each connection with a PROXY protocol header.
pub(crate) const PROXY_PROTOCOL: &str = "dromon.io/proxy-protocol";

/// Whether a Gateway's ports accept the PROXY protocol.
pub(crate) fn wants_proxy_protocol(held: &Held<Gateway>) -> bool {
    let annotation = held.rule.meta.annotations.as_ref().and_then(|it| it.get(PROXY_PROTOCOL));
    annotation.is_some_and(|it| it == "accept")
}

/// A port does as its oldest Gateway says.
fn accepts_proxy_protocol(builder: &mut Builder<'_>, port: &Port<'_>) -> bool {
    let Some((first, ..)) = port.servers.first() else { return false };
    let accepts = wants_proxy_protocol(first);
    for (held, ..) in port.servers.iter().filter(|(held, ..)| wants_proxy_protocol(held) != accepts) {
        let message = format!("{} says otherwise for the same port, and it is older", first.key);
        let field = format!("metadata.annotations.{PROXY_PROTOCOL}");
        builder.diagnostics.push(Diagnostic::warning(field, message).on(&held.key));
    }
    accepts
}

/// The virtual hosts of a port's HTTP, joined with those of what else is served there.
fn http_port(
    builder: &mut Builder<'_>,
    at: &PortAt,
    port: &Port<'_>,
    mut streams: BTreeMap<String, VirtualHost>,
) {
    let mesh = builder.mesh;
    let mut domains: BTreeMap<String, Domain> = BTreeMap::new();
    let is_http = |server: &Server| port.protocol == PortProtocol::Http || carries_http(server);
    for (held, _, server) in port.servers.iter().filter(|(_, _, server)| is_http(server)) {
        let name = full_name(held);
        if server.tls.as_ref().is_some_and(|it| it.https_redirect) {
            for pattern in &server.hosts {
                let domain = domains.entry(split_host(pattern).1.to_ascii_lowercase()).or_default();
                domain.https_redirect = true;
                domain.origins.insert(held.key.to_string());
            }
        }
        for (age, virtual_service) in mesh.aged_virtual_services_of(&name) {
            if !virtual_service.export.to(&builder.identity.namespace) {
                continue;
            }
            for domain in served(held, server, virtual_service) {
                let domain = domains.entry(domain).or_default();
                domain.parts.insert(Part { age, gateway: name.clone() });
                domain.origins.insert(held.key.to_string());
            }
        }
    }
    let listeners = gateway_api::domains(builder, &port.listeners);
    add_streams(&mut streams, listeners.streams, at);
    let mut routed = listeners.http;
    if port.ingress {
        for (domain, (origins, rules)) in ingress::domains(builder, port.protocol == PortProtocol::Tls) {
            let entry = routed.entry(domain).or_default();
            entry.0.extend(origins);
            entry.1.extend(rules);
        }
    }
    for domain in routed.keys() {
        domains.entry(domain.clone()).or_default();
    }
    let mut cache: BTreeMap<Part, Vec<HttpRule>> = BTreeMap::new();
    for (domain, content) in domains {
        let stream = streams.remove(&domain).unwrap_or_default();
        let (origins, rules) = routed.remove(&domain).unwrap_or_default();
        let mut virtual_host = virtual_host(builder, at, domain, content, &mut cache);
        virtual_host.origins.extend(origins);
        virtual_host.http.extend(rules);
        (virtual_host.tls, virtual_host.tcp) = (stream.tls, stream.tcp);
        builder.virtual_hosts.push(virtual_host);
    }
    builder.virtual_hosts.extend(streams.into_values());
}

/// Joins what listeners of Gateway API pass on with what servers do.
fn add_streams(
    streams: &mut BTreeMap<String, VirtualHost>,
    more: BTreeMap<String, VirtualHost>,
    at: &PortAt,
) {
    for (domain, host) in more {
        let listener = listener_name(at);
        let known = streams.entry(domain.clone()).or_insert_with(|| VirtualHost {
            name: format!("{listener}/{domain}"),
            listener: Some(listener),
            domains: vec![domain],
            ..VirtualHost::default()
        });
        known.origins.extend(host.origins);
        known.tls.extend(host.tls);
        known.tcp.extend(host.tcp);
    }
}

fn virtual_host(
    builder: &mut Builder<'_>,
    at: &PortAt,
    domain: String,
    content: Domain,
    cache: &mut BTreeMap<Part, Vec<HttpRule>>,
) -> VirtualHost {
    let listener = listener_name(at);
    let mut http = Vec::new();
    let mut origins: Vec<String> = content.origins.into_iter().collect();
    if content.https_redirect {
        http.push(https_redirect(origins.first().cloned().unwrap_or_default()));
    }
    let several = content.parts.len() > 1;
    for part in content.parts {
        let Some(virtual_service) = builder.mesh.virtual_services.get(part.age) else { continue };
        origins.push(virtual_service.held.key.to_string());
        let place = Place { gateway: &part.gateway.clone(), port: Some(at.number) };
        let rules = cache.entry(part).or_insert_with(|| builder.http_rules(virtual_service, place));
        http.extend(rules.iter().cloned());
    }
    if several {
        // Istio: where several VirtualServices share a host, none's catch-all may hide another's rules.
        http.sort_by_key(is_catch_all);
    }
    origins.dedup();
    VirtualHost {
        name: format!("{listener}/{domain}"),
        listener: Some(listener),
        domains: vec![domain],
        origins,
        http,
        ..VirtualHost::default()
    }
}

/// Whether a rule takes every request.
pub(crate) fn is_catch_all(rule: &HttpRule) -> bool {
    let everything = |it: &HttpMatch| {
        let uri = it.uri.clone().filter(|uri| *uri != StringMatch::Prefix("/".to_owned()));
        HttpMatch { uri, name: String::new(), ignore_uri_case: false, ..it.clone() } == HttpMatch::default()
    };
    rule.matches.is_empty() || rule.matches.iter().any(everything)
}

fn https_redirect(gateway: String) -> HttpRule {
    let redirect = Redirect {
        scheme: Some("https".to_owned()),
        port: RedirectPort::ProtocolDefault,
        code: 301,
        ..Redirect::default()
    };
    HttpRule {
        origin: format!("{gateway} tls.httpsRedirect"),
        action: HttpAction::Redirect(redirect),
        ..HttpRule::default()
    }
}

/// VirtualServices that name a gateway and are exported to this proxy's namespace.
fn visible<'a>(builder: &Builder<'a>, gateway: &str) -> impl Iterator<Item = &'a HeldVirtualService> {
    let namespace = builder.identity.namespace.clone();
    let found: Vec<_> = builder.mesh.virtual_services_of(gateway).collect();
    found.into_iter().filter(move |it| it.export.to(&namespace))
}

/// A server's host as (namespace or `*`, host).
pub(crate) fn split_host(host: &str) -> (&str, &str) {
    host.split_once('/').unwrap_or(("*", host))
}

/// Domains that a VirtualService serves through a server: what the hosts of both have in common.
pub(crate) fn served(
    held: &Held<Gateway>,
    server: &Server,
    virtual_service: &HeldVirtualService,
) -> Vec<String> {
    let mut domains = Vec::new();
    for pattern in &server.hosts {
        let (namespace, pattern) = split_host(pattern);
        let wanted = if namespace == "." { held.key.namespace.as_str() } else { namespace };
        if wanted != "*" && wanted != virtual_service.held.key.namespace {
            continue;
        }
        let pattern = pattern.to_ascii_lowercase();
        for name in &virtual_service.hosts {
            domains.extend(host::intersection(&pattern, name).map(str::to_owned));
        }
    }
    domains.sort();
    domains.dedup();
    domains
}

fn tcp_port(builder: &mut Builder<'_>, at: &PortAt, port: &Port<'_>) {
    let listener = listener_name(at);
    let mut origins = port.origins();
    let mut tcp: Vec<TcpRule> = Vec::new();
    let mut seen = BTreeSet::new();
    for (held, _, server) in &port.servers {
        let name = full_name(held);
        let visible: Vec<&HeldVirtualService> = visible(builder, &name).collect();
        for virtual_service in visible {
            let is_new = seen.insert((name.clone(), virtual_service.held.key.clone()));
            if is_new && !served(held, server, virtual_service).is_empty() {
                let rules =
                    builder.tcp_rules(virtual_service, Place { gateway: &name, port: Some(at.number) });
                if !rules.is_empty() {
                    origins.push(virtual_service.held.key.to_string());
                }
                tcp.extend(rules);
            }
        }
    }
    for host in gateway_api::domains(builder, &port.listeners).streams.into_values() {
        origins.extend(host.origins);
        tcp.extend(host.tcp);
    }
    let domains = vec!["*".to_owned()];
    let name = format!("{listener}/*");
    builder.virtual_hosts.push(VirtualHost {
        name,
        listener: Some(listener),
        domains,
        origins,
        tcp,
        ..VirtualHost::default()
    });
}
