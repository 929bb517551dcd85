//! Gateways of ours and their listeners: what each serves, and why it cannot.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::gateway_api as api;
use crate::api::gateway_api::{GROUP, KubeGateway, RouteGroupKind, TlsMode};
use crate::api::{Object, Rule};
use crate::mesh::credentials::{Credentials, Needs};
use crate::objects::{Key, Sourced};

use super::grants::{From, Grants, To};
use super::{Condition, RouteKind};

/// A Gateway of a class of ours.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// The object.
    pub key: Key,
    /// As it was written.
    pub rule: Arc<Rule<KubeGateway>>,
    /// `Accepted`, apart from what its listeners make of it.
    pub accepted: Condition,
    /// Its listeners, in order.
    pub listeners: Vec<Listener>,
    /// The Service that gives it an address of its own; none: it has the installed gateway's.
    pub own_service: Option<String>,
}

/// One listener of a Gateway.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Lower case; `*`: every name.
    pub hostname: String,
    /// Its port.
    pub port: u16,
    /// What it speaks; none: nothing that is served.
    pub protocol: Option<ListenerProtocol>,
    /// Kinds of routes that it takes.
    pub kinds: Vec<RouteKind>,
    /// Whose routes it takes.
    pub namespaces: api::RouteNamespaces,
    /// `Accepted`, `Conflicted`, `ResolvedRefs`.
    pub accepted: Condition,
    /// Whether it gets into another's way.
    pub conflicted: Condition,
    /// Whether all that it refers to is there.
    pub resolved: Condition,
    /// Secrets with certificates, as (namespace, name): those that are there, permitted and of use.
    pub certificates: Vec<(String, String)>,
    /// Routes that hang on it.
    pub attached_routes: usize,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ListenerProtocol {
    Http,
    Https,
    /// TLS that ends here.
    TlsTerminated,
    /// TLS that is passed on.
    TlsPassthrough,
    Tcp,
}

impl ListenerProtocol {
    fn of(listener: &api::Listener) -> Option<ListenerProtocol> {
        let mode = listener.tls.as_ref().map(|it| it.mode).unwrap_or_default();
        match (listener.protocol.as_str(), mode) {
            ("HTTP", _) => Some(ListenerProtocol::Http),
            ("HTTPS", _) => Some(ListenerProtocol::Https),
            ("TLS", TlsMode::Terminate) => Some(ListenerProtocol::TlsTerminated),
            ("TLS", TlsMode::Passthrough) => Some(ListenerProtocol::TlsPassthrough),
            ("TCP", _) => Some(ListenerProtocol::Tcp),
            _ => None,
        }
    }

    /// The kinds of routes that it could take.
    fn kinds(self) -> &'static [RouteKind] {
        match self {
            ListenerProtocol::Http | ListenerProtocol::Https => &[RouteKind::Http, RouteKind::Grpc],
            ListenerProtocol::TlsTerminated => &[RouteKind::Tls, RouteKind::Tcp],
            ListenerProtocol::TlsPassthrough => &[RouteKind::Tls],
            ListenerProtocol::Tcp => &[RouteKind::Tcp],
        }
    }

    /// A certificate is needed.
    pub fn ends_tls(self) -> bool {
        matches!(self, ListenerProtocol::Https | ListenerProtocol::TlsTerminated)
    }

    /// HTTP comes out of it.
    pub fn carries_http(self) -> bool {
        matches!(self, ListenerProtocol::Http | ListenerProtocol::Https)
    }

    /// What two listeners of one port must have in common.
    fn transport(self) -> u8 {
        match self {
            ListenerProtocol::Http => 0,
            ListenerProtocol::Tcp => 2,
            ListenerProtocol::Https | ListenerProtocol::TlsTerminated | ListenerProtocol::TlsPassthrough => 1,
        }
    }
}

impl Listener {
    /// Whether it can be served: `Programmed`, as far as the objects say.
    pub fn is_served(&self) -> bool {
        let has_certificate = self.protocol.is_some_and(|it| !it.ends_tls()) || !self.certificates.is_empty();
        self.accepted.holds && !self.conflicted.holds && has_certificate
    }
}

/// The Gateway of an object; none where its class is not ours.
pub(super) fn gateway(
    sourced: &Sourced,
    classes: &[String],
    grants: &Grants,
    credentials: &Credentials,
) -> Option<Gateway> {
    let Object::KubeGateway(rule) = &sourced.object else { return None };
    if !classes.contains(&rule.spec.gateway_class_name) {
        return None;
    }
    let namespace = &sourced.key.namespace;
    let mut listeners: Vec<Listener> =
        rule.spec.listeners.iter().map(|it| listener(it, namespace, grants, credentials)).collect();
    settle(&mut listeners);
    let accepted = accepted(&rule.spec);
    Some(Gateway { key: sourced.key.clone(), rule: rule.clone(), accepted, listeners, own_service: None })
}

/// `Accepted` as the Gateway's own fields make it.
fn accepted(gateway: &KubeGateway) -> Condition {
    const ACCEPTED: &str = "Accepted";
    if let Some(it) = gateway.infrastructure.as_ref().and_then(|it| it.parameters_ref.as_ref()) {
        let message =
            format!("infrastructure.parametersRef: {} {} is of no kind that is taken", it.kind, it.name);
        return Condition::fails(ACCEPTED, "InvalidParameters", message);
    }
    let types = gateway.addresses.iter().filter_map(|it| it.kind.as_deref());
    if let Some(kind) = types.clone().find(|it| !matches!(*it, "IPAddress" | "Hostname")) {
        let message = format!("addresses: the type {kind} is none of IPAddress and Hostname");
        return Condition::fails(ACCEPTED, "UnsupportedAddress", message);
    }
    Condition::holds(ACCEPTED, ACCEPTED, "the Gateway is served")
}

fn listener(from: &api::Listener, namespace: &str, grants: &Grants, credentials: &Credentials) -> Listener {
    let protocol = ListenerProtocol::of(from);
    let accepted = match protocol {
        Some(_) => Condition::holds("Accepted", "Accepted", "the listener is accepted"),
        None => {
            let message = format!("the protocol {} is none of HTTP, HTTPS, TLS and TCP", from.protocol);
            Condition::fails("Accepted", "UnsupportedProtocol", message)
        }
    };
    let possible = protocol.map(ListenerProtocol::kinds).unwrap_or_default();
    let allowed = from.allowed_routes.clone().unwrap_or_default();
    let (kinds, strangers) = kinds(possible, &allowed.kinds);
    let (certificates, unresolved) = certificates(from, protocol, namespace, grants, credentials);
    let resolved = match (strangers.is_empty(), unresolved) {
        (false, _) => {
            let message = format!("allowedRoutes.kinds: {} cannot hang on it", strangers.join(", "));
            Condition::fails("ResolvedRefs", "InvalidRouteKinds", message)
        }
        (true, Some((reason, message))) => Condition::fails("ResolvedRefs", reason, message),
        (true, None) => Condition::holds("ResolvedRefs", "ResolvedRefs", "all that it refers to is there"),
    };
    Listener {
        name: from.name.clone(),
        hostname: hostname(from.hostname.as_deref()),
        port: from.port,
        protocol,
        kinds,
        namespaces: allowed.namespaces.unwrap_or_default(),
        accepted,
        conflicted: Condition::fails("Conflicted", "NoConflicts", "no other listener is in its way"),
        resolved,
        certificates,
        attached_routes: 0,
    }
}

/// A listener's hostname; none and empty stand for every name.
fn hostname(text: Option<&str>) -> String {
    text.filter(|it| !it.is_empty()).unwrap_or("*").to_ascii_lowercase()
}

/// The kinds that a listener takes, and the names of those that it cannot.
fn kinds(possible: &[RouteKind], wanted: &[RouteGroupKind]) -> (Vec<RouteKind>, Vec<String>) {
    if wanted.is_empty() {
        return (possible.to_vec(), Vec::new());
    }
    let (mut kinds, mut strangers) = (Vec::new(), Vec::new());
    for it in wanted {
        match RouteKind::named(it.group.as_deref().unwrap_or(GROUP), &it.kind) {
            Some(kind) if possible.contains(&kind) => kinds.push(kind),
            _ => strangers.push(it.kind.clone()),
        }
    }
    (kinds, strangers)
}

type Unresolved = (&'static str, String);

/// The Secrets of a listener that are of use, and the first reason why one is not.
fn certificates(
    from: &api::Listener,
    protocol: Option<ListenerProtocol>,
    namespace: &str,
    grants: &Grants,
    credentials: &Credentials,
) -> (Vec<(String, String)>, Option<Unresolved>) {
    if !protocol.is_some_and(ListenerProtocol::ends_tls) {
        return (Vec::new(), None);
    }
    let tls = from.tls.clone().unwrap_or_default();
    let invalid = |message: String| Some(("InvalidCertificateRef", message));
    if tls.mode == TlsMode::Passthrough {
        return (Vec::new(), invalid("tls.mode: HTTPS ends here, it cannot be passed on".to_owned()));
    }
    if tls.certificate_refs.is_empty() {
        return (Vec::new(), invalid("tls.certificateRefs: a certificate is needed".to_owned()));
    }
    let (mut found, mut unresolved) = (Vec::new(), None);
    for (at, it) in tls.certificate_refs.iter().enumerate() {
        let field = format!("tls.certificateRefs[{at}]");
        let (group, kind) = (it.group.as_deref().unwrap_or(""), it.kind.as_deref().unwrap_or("Secret"));
        let of = it.namespace.as_deref().unwrap_or(namespace);
        let from = From { group: GROUP, kind: "Gateway", namespace };
        let to = To { group, kind, namespace: of, name: &it.name };
        let refused = if !group.is_empty() || kind != "Secret" {
            invalid(format!("{field}: {kind} {} is no Secret", it.name))
        } else if !grants.permit(from, to) {
            let message = format!(
                "{field}: no ReferenceGrant of {of} lets a Gateway of {namespace} use its Secret {}",
                it.name
            );
            Some(("RefNotPermitted", message))
        } else {
            let needs = Needs { certificate: true, ca: false };
            let error = credentials.find(&it.name, &[of], needs).err();
            error.and_then(|error| invalid(format!("{field}: {error}")))
        };
        match refused {
            None => found.push((of.to_owned(), it.name.clone())),
            Some(refused) => _ = unresolved.get_or_insert(refused),
        }
    }
    (found, unresolved)
}

/// Listeners of one port must speak the same, and have names of their own. All that are in each other's way are told so.
fn settle(listeners: &mut [Listener]) {
    let mut by_port: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (at, it) in listeners.iter().enumerate().filter(|(_, it)| it.protocol.is_some()) {
        by_port.entry(it.port).or_default().push(at);
    }
    let mut found: Vec<(usize, &'static str, String)> = Vec::new();
    for places in by_port.values() {
        for at in places {
            let Some(one) = listeners.get(*at) else { continue };
            for other in places.iter().filter(|it| *it != at).filter_map(|it| listeners.get(*it)) {
                let transport = |it: &Listener| it.protocol.map(ListenerProtocol::transport);
                if transport(one) != transport(other) {
                    let message =
                        format!("listener {} speaks something else on port {}", other.name, one.port);
                    found.push((*at, "ProtocolConflict", message));
                } else if one.hostname == other.hostname || one.protocol == Some(ListenerProtocol::Tcp) {
                    let message = format!("listener {} has port and hostname too", other.name);
                    found.push((*at, "HostnameConflict", message));
                }
            }
        }
    }
    for (at, reason, message) in found {
        if let Some(listener) = listeners.get_mut(at).filter(|it| !it.conflicted.holds) {
            listener.accepted = Condition::fails("Accepted", reason, message.clone());
            listener.conflicted = Condition::holds("Conflicted", reason, message);
        }
    }
}
