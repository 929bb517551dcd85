//! Gateway API's routes at a gateway: virtual hosts by listener and hostname, with the rules of all routes in their order.

use std::collections::{BTreeMap, BTreeSet};

use dromon_core::config::model::{
    HttpRule, Protocol, ServerTls, TcpRule, TlsMatch, TlsMode, TlsRule, VirtualHost, WeightedDestination,
};

use crate::diagnostic::Diagnostic;
use crate::mesh::credentials::Needs;
use crate::mesh::gateway_api::backends::backend;
use crate::mesh::gateway_api::{GatewayApi, ListenerProtocol, Place, Route, RouteBody};
use crate::mesh::{Mesh, host};

use super::gateway::PortProtocol;
use super::http::only_weight;
use super::{Builder, GatewaySelection, ProxyIdentity};

pub(super) mod mesh;
mod rank;
mod rules;
#[cfg(test)]
mod tests;

pub(crate) use rank::{Rank, Ranked, in_order};
pub(crate) use rules::rules;

/// The label of a gateway workload that serves one Gateway only (GEP-1762).
const GATEWAY_NAME_LABEL: &str = "gateway.networking.k8s.io/gateway-name";
/// Labels of the gateways that serve all Gateways of our class, and Ingresses: what an installation gives its gateway, and
/// what Istio calls its own.
const CLASS_LABELS: [(&str, &str); 2] = [("app", "dromon-gateway"), ("istio", "ingressgateway")];

/// A listener, by the places of its Gateway and of itself.
pub(super) type ListenerAt = (usize, usize);

/// Whether a gateway serves what names no workload: Gateways of our class and Ingresses.
pub(super) fn serves_class(identity: &ProxyIdentity, selection: GatewaySelection) -> bool {
    let has = |(label, value): &(&str, &str)| identity.labels.get(*label).is_some_and(|it| it == value);
    selection == GatewaySelection::Every || CLASS_LABELS.iter().any(has)
}

/// Whether Gateways that are in each other's way have addresses of their own before this gateway: a local one has one
/// address, and one that serves a single Gateway has nothing to keep apart.
pub(super) fn keeps_apart(identity: &ProxyIdentity, selection: GatewaySelection) -> bool {
    selection == GatewaySelection::ByLabels && !identity.labels.contains_key(GATEWAY_NAME_LABEL)
}

/// The listeners that a gateway serves, oldest Gateway first.
pub(super) fn served<'a>(
    mesh: &'a Mesh,
    identity: &ProxyIdentity,
    selection: GatewaySelection,
) -> Vec<(ListenerAt, &'a crate::mesh::gateway_api::Listener)> {
    let own = identity.labels.get(GATEWAY_NAME_LABEL);
    let is_ours = |gateway: &&crate::mesh::gateway_api::Gateway| match own {
        Some(name) => gateway.key.namespace == identity.namespace && gateway.key.name == *name,
        None => serves_class(identity, selection),
    };
    let mut all = Vec::new();
    for (at, gateway) in mesh.gateway_api.gateways.iter().enumerate().filter(|(_, it)| is_ours(it)) {
        if !gateway.accepted.holds {
            continue;
        }
        let listeners = gateway.listeners.iter().enumerate().filter(|(_, it)| it.is_served());
        all.extend(listeners.map(|(number, it)| ((at, number), it)));
    }
    all
}

/// What a listener makes of its port.
pub(super) fn port_protocol(protocol: ListenerProtocol) -> PortProtocol {
    match protocol {
        ListenerProtocol::Http => PortProtocol::Http,
        ListenerProtocol::Tcp => PortProtocol::Tcp,
        ListenerProtocol::Https | ListenerProtocol::TlsTerminated | ListenerProtocol::TlsPassthrough => {
            PortProtocol::Tls
        }
    }
}

/// Rules, with the objects that they come from.
pub(super) type Found = (BTreeSet<String>, Vec<HttpRule>);
/// Rules by domain.
pub(super) type HttpDomains = BTreeMap<String, Found>;

/// What listeners of a port bring to its virtual hosts, by domain.
#[derive(Default)]
pub(super) struct Domains {
    /// Rules with the objects they come from.
    pub http: HttpDomains,
    /// Rules for connections.
    pub streams: BTreeMap<String, VirtualHost>,
}

/// The rules of a port's listeners.
pub(super) fn domains(builder: &mut Builder<'_>, listeners: &[ListenerAt]) -> Domains {
    let mut domains = Domains::default();
    // Listeners of one hostname, of several Gateways say, are one.
    let mut groups: BTreeMap<(bool, &str), Vec<ListenerAt>> = BTreeMap::new();
    let mesh = builder.mesh;
    for at in listeners {
        let Some((listener, protocol)) = listener(&mesh.gateway_api, *at) else { continue };
        groups.entry((protocol.carries_http(), &listener.hostname)).or_default().push(*at);
    }
    let hostnames: Vec<&str> = groups.keys().map(|(_, hostname)| *hostname).collect();
    for ((is_http, hostname), group) in &groups {
        match is_http {
            true => http_group(builder, &mut domains, hostname, group, &hostnames),
            false => stream_group(builder, &mut domains, group),
        }
    }
    domains
}

fn listener(
    api: &GatewayApi,
    (gateway, listener): ListenerAt,
) -> Option<(&crate::mesh::gateway_api::Listener, ListenerProtocol)> {
    let found = api.gateways.get(gateway)?.listeners.get(listener)?;
    Some((found, found.protocol?))
}

/// The listener's hostname that takes a domain: the most specific that covers it.
fn owner<'a>(hostnames: &[&'a str], domain: &str) -> Option<&'a str> {
    let covering = hostnames.iter().copied().filter(|it| host::covers(it, domain));
    covering.max_by_key(|it| host::specificity(it))
}

fn http_group(
    builder: &mut Builder<'_>,
    domains: &mut Domains,
    hostname: &str,
    group: &[ListenerAt],
    hostnames: &[&str],
) {
    let mesh = builder.mesh;
    let api = &mesh.gateway_api;
    let mut by_domain: BTreeMap<String, BTreeMap<usize, &Route>> = BTreeMap::new();
    // There even without a route, so that no wider listener takes what is this one's.
    by_domain.entry(hostname.to_owned()).or_default();
    for at in group {
        for (age, route, place) in api.on_listener(at.0, at.1) {
            let Place::Listener { hostnames: own, .. } = place else { continue };
            for domain in own.iter().filter(|it| owner(hostnames, it) == Some(hostname)) {
                by_domain.entry(domain.clone()).or_default().insert(age, route);
            }
        }
    }
    let mut ordered = HttpDomains::new();
    for (domain, routes) in by_domain {
        let mut ranked = Vec::new();
        let mut origins: BTreeSet<String> =
            group.iter().filter_map(|at| Some(api.gateways.get(at.0)?.key.to_string())).collect();
        for (age, route) in routes {
            origins.insert(route.key.to_string());
            ranked.extend(builder.route_rules(route, age));
        }
        ordered.insert(domain, (origins, in_order(ranked)));
    }
    for (domain, found) in with_wider(ordered) {
        let entry = domains.http.entry(domain).or_default();
        entry.0.extend(found.0);
        entry.1.extend(found.1);
    }
}

/// Rules of each domain with, after them, those of the wildcards that cover it: what no rule of the name's own takes may be
/// taken by one of these.
pub(super) fn with_wider(ordered: HttpDomains) -> HttpDomains {
    let is_wider = |(domain, (_, rules)): &(&String, &Found)| domain.starts_with('*') && !rules.is_empty();
    let mut wildcards: Vec<_> = ordered.iter().filter(is_wider).collect();
    wildcards.sort_by_key(|(domain, _)| std::cmp::Reverse(host::specificity(domain)));
    let wildcards: Vec<(String, Found)> =
        wildcards.into_iter().map(|(domain, found)| (domain.clone(), found.clone())).collect();
    let mut all = ordered;
    for (domain, (origins, rules)) in &mut all {
        let covers = |other: &str| other != domain && host::covers(other, domain);
        for (_, (of, more)) in wildcards.iter().filter(|(other, _)| covers(other)) {
            origins.extend(of.iter().cloned());
            rules.extend(more.iter().cloned());
        }
    }
    all
}

/// TLSRoutes and TCPRoutes: no rule has a condition but the server name, so the first of the oldest route counts.
fn stream_group(builder: &mut Builder<'_>, domains: &mut Domains, group: &[ListenerAt]) {
    let mesh = builder.mesh;
    let api = &mesh.gateway_api;
    for at in group {
        let Some((_, protocol)) = listener(api, *at) else { continue };
        for (_, route, place) in api.on_listener(at.0, at.1) {
            let Place::Listener { hostnames, .. } = place else { continue };
            let Some((origin, destinations)) = builder.stream_destinations(route) else { continue };
            for domain in hostnames {
                let host = domains.streams.entry(domain.clone()).or_default();
                host.origins.push(route.key.to_string());
                if protocol == ListenerProtocol::TlsPassthrough {
                    let condition = TlsMatch { sni_hosts: vec![domain.clone()], ..TlsMatch::default() };
                    let destinations = destinations.clone();
                    let rule = TlsRule { origin: origin.clone(), matches: vec![condition], destinations };
                    host.tls.push(rule);
                } else {
                    let destinations = destinations.clone();
                    host.tcp.push(TcpRule { origin: origin.clone(), matches: Vec::new(), destinations });
                }
            }
        }
    }
}

impl Builder<'_> {
    /// The rules of a route; where they lead becomes part of the view.
    pub(super) fn route_rules(&mut self, route: &Route, age: usize) -> Vec<Ranked> {
        let mesh = self.mesh;
        let from = (route.kind().name(), route.key.namespace.as_str());
        let mut resolve = |reference: &_| {
            let found = backend(mesh.known(), &mesh.gateway_api.grants, from, reference);
            let (service, port) = found.map_err(|error| error.to_string())?;
            self.destination(&service.host, port, "");
            Ok((service.host.clone(), port))
        };
        rules(&route.body, &route.key.to_string(), age, &mut resolve)
    }

    /// Where the connections of a route go, with the rule that says so.
    pub(super) fn stream_destinations(
        &mut self,
        route: &Route,
    ) -> Option<(String, Vec<WeightedDestination>)> {
        let mesh = self.mesh;
        let from = (route.kind().name(), route.key.namespace.as_str());
        let rule = route.body.stream_rules().first()?;
        let mut destinations = Vec::new();
        for it in rule.backend_refs.iter().filter(|it| it.weight != Some(0)) {
            let weight = it.weight.unwrap_or(1);
            destinations.push(match backend(mesh.known(), &mesh.gateway_api.grants, from, &it.reference()) {
                Ok((service, port)) => {
                    self.destination(&service.host, port, "");
                    let host = service.host.clone();
                    WeightedDestination { host, port: Some(port), weight, ..<_>::default() }
                }
                Err(error) => {
                    let host = error.to_string();
                    WeightedDestination { host, weight, refuse: Some(503), ..<_>::default() }
                }
            });
        }
        let origin = format!("{} spec.rules[0]", route.key);
        (!destinations.is_empty()).then(|| (origin, only_weight(destinations)))
    }
}

/// The TLS settings of a port's listeners. Their credentials become part of the view.
pub(super) fn tls_settings(builder: &mut Builder<'_>, listeners: &[ListenerAt]) -> Vec<ServerTls> {
    let mesh = builder.mesh;
    let mut all = Vec::new();
    for at in listeners {
        let Some((listener, protocol)) = listener(&mesh.gateway_api, *at) else { continue };
        let Some(gateway) = mesh.gateway_api.gateways.get(at.0) else { continue };
        let field = format!("spec.listeners[{}]", at.1);
        let mut credentials = Vec::new();
        for (namespace, name) in &listener.certificates {
            let needs = Needs { certificate: true, ca: false };
            match mesh.credentials.find(name, &[namespace], needs) {
                Ok(credential) => {
                    credentials.push(credential.name.clone());
                    builder.credential(credential);
                }
                Err(error) => {
                    let diagnostic = Diagnostic::error(format!("{field}.tls"), error.to_string());
                    builder.diagnostics.push(diagnostic.on(&gateway.key));
                }
            }
        }
        let ends_tls = protocol.ends_tls();
        all.push(ServerTls {
            origin: format!("{} {field}", gateway.key),
            hosts: vec![listener.hostname.clone()],
            mode: if ends_tls { TlsMode::Simple } else { TlsMode::Passthrough },
            protocol: if protocol.carries_http() { Protocol::Http } else { Protocol::Tcp },
            credentials,
            ..ServerTls::default()
        });
    }
    all
}

/// Whether a route's rules could be carried out by a proxy: what one would refuse, with the field.
pub(crate) fn refused(body: &RouteBody) -> Option<(String, String)> {
    use dromon_core::config::model::Resource;
    use dromon_core::config::snapshot::{Snapshot, Update};
    let mut anywhere = |_: &_| Ok(("backend.example".to_owned(), 80));
    let http = in_order(rules(body, "", 0, &mut anywhere));
    let name = "route".to_owned();
    let host = VirtualHost { name, http, ..VirtualHost::default() };
    let update = Update { version: String::new(), resource: Resource::VirtualHost(host) };
    let refused = Snapshot::new().apply([update], []).rejected.pop()?;
    let (field, reason) = refused.reason.split_once(": ").unwrap_or(("spec", &refused.reason));
    Some((field.to_owned(), reason.to_owned()))
}
