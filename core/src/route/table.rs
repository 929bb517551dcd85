//! The table's answers: where a request or a connection goes.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::model::{self, ListenerKind, OutboundPolicy, Protocol};
use crate::config::table::{Destination, DestinationId, ListenerTable, Slot, Table, VirtualHost};
use crate::exchange::{Arrival, CameBy, RequestView};
use crate::rng::Rng;
use crate::route::host::{HostEntry, as_address, split_authority};
use crate::route::matcher::Subject;
use crate::route::rank::Matched;
use crate::route::rule::{
    Action, CompiledLimit, CompiledRule, CompiledTcpRule, HeaderOps, PortedDestination, TcpMatcher,
};

/// Where a request goes.
#[derive(Debug)]
pub enum Routed<'t> {
    /// A rule takes it, the default of a host without rules and an inbound listener's included.
    Rule(Route<'t>),
    /// The host is known, its rules have not come: ask the controller for the virtual host of this name.
    NotLoaded {
        /// Name of the host.
        host: &'t Arc<str>,
    },
    /// The host is known, none of its rules takes the request; at a gateway also: no virtual host has the domain.
    NoRoute {
        /// Name of the virtual host; none at a gateway that has none for the domain.
        host: Option<&'t Arc<str>>,
    },
    /// Nothing is known of the host, or not of that port, and the outbound policy keeps it in.
    UnknownHost,
    /// Nothing is known of the host; it goes where it was going.
    Passthrough(Passthrough),
}

/// Where an unknown host's request was going.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passthrough {
    /// To this address.
    Address(SocketAddr),
    /// To whatever DNS says of this name, lower case.
    Name {
        /// DNS name.
        host: Arc<str>,
        /// Port.
        port: u16,
    },
}

/// A rule that takes a request. Keep a clone of `rule`, not the table.
#[derive(Clone, Copy, Debug)]
pub struct Route<'t> {
    /// Everything to know after routing.
    pub rule: &'t Arc<CompiledRule>,
    /// The host's FQDN, or the gateway's virtual host, or the inbound service.
    pub host: &'t str,
    /// The port that the request came for.
    pub port: u16,
    /// What of the path the rule's condition took, for its rewrite.
    pub matched: Matched,
    /// Rate limits to look at; each says itself whether it applies.
    pub limits: &'t [Arc<CompiledLimit>],
    target: Fixed<'t>,
}

#[derive(Clone, Copy, Debug)]
enum Fixed<'t> {
    ByRule,
    Slot(DestinationId),
    Here(&'t Arc<Destination>),
}

/// A destination as the table knows it.
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'t> {
    /// It is here.
    Here(&'t Arc<Destination>),
    /// It, or its endpoints, have not come: ask the controller for the destination and endpoints of this name.
    NotLoaded(&'t Arc<str>),
    /// There is none of this name.
    Absent(&'t Arc<str>),
    /// The rule's own word: nothing is sent, the answer has this status. With what is written there.
    Refused(u16, &'t Arc<str>),
}

impl<'t> Route<'t> {
    /// Draws a destination by the rule's weights, with the header changes that are its own. None where the rule forwards
    /// nothing (redirect, direct response), or names no destination for the port.
    pub fn choose(&self, table: &'t Table, rng: &mut Rng) -> Option<(Lookup<'t>, Option<&'t HeaderOps>)> {
        match (self.target, &self.rule.action) {
            (Fixed::Here(destination), _) => Some((Lookup::Here(destination), None)),
            (Fixed::Slot(id), _) => Some((table.lookup(id)?, None)),
            (Fixed::ByRule, Action::Forward(targets)) => {
                let target = targets.choose(rng)?;
                Some((table.lookup_of(&target.destination, self.port)?, Some(&target.headers)))
            }
            (Fixed::ByRule, _) => None,
        }
    }
}

/// Where a TCP connection goes.
#[derive(Debug)]
pub enum RoutedTcp<'t> {
    /// To a destination.
    Route(TcpRoute<'t>),
    /// The host is known, its rules have not come.
    NotLoaded {
        /// Name of the host.
        host: &'t Arc<str>,
    },
    /// The host is known, none of its TCP rules takes the connection.
    NoRoute,
    /// Nothing is known of the address, and the outbound policy keeps it in.
    UnknownHost,
    /// Nothing is known of the address; it goes where it was going.
    Passthrough(SocketAddr),
}

/// A TCP rule, or a host's default, that takes a connection.
#[derive(Clone, Copy, Debug)]
pub struct TcpRoute<'t> {
    /// The rule; none for a host's default and for inbound listeners.
    pub rule: Option<&'t Arc<CompiledTcpRule>>,
    /// The host's FQDN, or the gateway's virtual host, or the inbound service.
    pub host: &'t str,
    /// The port that the connection came for.
    pub port: u16,
    /// What is passed on is the mesh's mutual TLS already: the destination's own TLS settings do not apply.
    pub sealed: bool,
    target: Fixed<'t>,
}

impl<'t> TcpRoute<'t> {
    /// Draws a destination by the rule's weights.
    pub fn choose(&self, table: &'t Table, rng: &mut Rng) -> Option<Lookup<'t>> {
        match self.target {
            Fixed::Here(destination) => Some(Lookup::Here(destination)),
            Fixed::Slot(id) => table.lookup(id),
            Fixed::ByRule => table.lookup_of(&self.rule?.targets.choose(rng)?.destination, self.port),
        }
    }
}

/// What to do with a captured or per-client connection before its first byte is read.
enum Known<'t> {
    Host(&'t HostEntry, u16),
    Unknown,
}

impl Table {
    /// The destination of a slot, where it is here.
    pub fn destination(&self, id: DestinationId) -> Option<&Arc<Destination>> {
        self.parts.destinations.get(id.0 as usize)?.here()
    }

    /// The destination of a name, where it is here; for people, not for requests.
    pub fn destination_named(&self, name: &str) -> Option<&Arc<Destination>> {
        self.destination(DestinationId(self.parts.names.destinations.get(name)?))
    }

    /// What is known of where a rule leads for the port that the request came for.
    pub fn lookup_of<'t>(&'t self, destination: &'t PortedDestination, port: u16) -> Option<Lookup<'t>> {
        match destination {
            PortedDestination::Refused(status, what) => Some(Lookup::Refused(*status, what)),
            other => self.lookup(other.at(port)?),
        }
    }

    /// What is known of a slot. None for a slot of another table.
    pub fn lookup(&self, id: DestinationId) -> Option<Lookup<'_>> {
        let name = self.parts.names.destinations.name(id.0)?;
        Some(match self.parts.destinations.get(id.0 as usize)? {
            Slot::Here(destination) => Lookup::Here(destination),
            Slot::NotLoaded => Lookup::NotLoaded(name),
            Slot::Absent => Lookup::Absent(name),
        })
    }

    /// All destinations that are here.
    pub fn destinations(&self) -> impl Iterator<Item = &Arc<Destination>> {
        self.parts.destinations.iter().filter_map(Slot::here)
    }

    /// All virtual hosts that are here.
    pub fn virtual_hosts(&self) -> impl Iterator<Item = &Arc<VirtualHost>> {
        self.parts.virtual_hosts.iter().filter_map(Slot::here)
    }

    /// The virtual host of a name, where it is here; for people, not for requests.
    pub fn virtual_host_named(&self, name: &str) -> Option<&Arc<VirtualHost>> {
        let slot = self.parts.names.virtual_hosts.get(name)?;
        self.parts.virtual_hosts.get(slot as usize)?.here()
    }

    /// All rate limits, as configured.
    pub fn rate_limits(&self) -> Vec<&Arc<model::RateLimit>> {
        self.parts.limits.models().collect()
    }

    /// The credentials that are here, by name.
    pub fn credentials(&self) -> impl Iterator<Item = &Arc<model::Credential>> {
        self.parts.source.credentials().values().map(|held| held.body())
    }

    /// All hosts of the index, by name.
    pub fn hosts(&self) -> &[HostEntry] {
        self.parts.hosts.entries()
    }

    /// Routes a request. `path` is what rules match on: the path without query, normalised as the caller sees fit.
    pub fn route<R: RequestView>(&self, arrival: &Arrival, request: &R, path: &[u8]) -> Routed<'_> {
        let Some(listener) = self.listeners.get(arrival.listener) else { return Routed::UnknownHost };
        match &listener.model.kind {
            ListenerKind::Inbound { service, .. } => self.route_inbound(listener, service.as_ref()),
            ListenerKind::InboundCapture { .. } => self.route_inbound(listener, None),
            ListenerKind::Outbound => self.route_outbound(arrival, request, path),
            ListenerKind::Service { host, port, .. } => match self.parts.hosts.by_name(host) {
                Some(entry) => self.route_host(entry, *port, request, path).unwrap_or(Routed::UnknownHost),
                None => Routed::UnknownHost,
            },
            ListenerKind::GatewayHttp => self.route_gateway(listener, request, path),
            ListenerKind::GatewayTcp => Routed::UnknownHost,
        }
    }

    fn route_inbound<'t>(
        &'t self,
        listener: &'t ListenerTable,
        service: Option<&'t model::ServiceRef>,
    ) -> Routed<'t> {
        let Some(destination) = &listener.inbound else { return Routed::UnknownHost };
        Routed::Rule(Route {
            rule: &self.parts.inbound_rule,
            host: service.map_or("", |service| &service.host),
            port: listener.model.logical_port,
            matched: Matched::Whole,
            limits: &listener.limits,
            target: Fixed::Here(destination),
        })
    }

    /// A captured connection came for the port of its original destination, and an authority that names another port is
    /// not that host's; an explicit proxy's port stands in the authority, or follows from the scheme.
    fn route_outbound<R: RequestView>(&self, arrival: &Arrival, request: &R, path: &[u8]) -> Routed<'_> {
        let captured = arrival.original_destination.filter(|_| !arrival.absolute_form);
        let authority = split_authority(request.authority());
        let Some((host, named_port)) = authority else { return self.unknown(captured, None) };
        let default_port = if request.scheme() == b"https" { 443 } else { 80 };
        let port = captured.map_or_else(|| named_port.unwrap_or(default_port), |address| address.port());
        let same_port = named_port.is_none_or(|named| named == port);
        let known = if same_port { self.parts.hosts.by_domain(host, port) } else { None };
        known
            .and_then(|entry| self.route_host(entry, port, request, path))
            .unwrap_or_else(|| self.unknown(captured, Some((host, port))))
    }

    /// What the outbound policy says of a host or port that the index does not know.
    fn unknown(&self, captured: Option<SocketAddr>, named: Option<(&[u8], u16)>) -> Routed<'_> {
        if self.proxy.outbound_policy == OutboundPolicy::RegistryOnly {
            return Routed::UnknownHost;
        }
        if let Some(address) = captured {
            return Routed::Passthrough(Passthrough::Address(address));
        }
        let Some((host, port)) = named else { return Routed::UnknownHost };
        if let Some(address) = as_address(host) {
            return Routed::Passthrough(Passthrough::Address(SocketAddr::new(address, port)));
        }
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        match std::str::from_utf8(host) {
            Ok(host) if !host.is_empty() && host.len() <= crate::limits::HOST_BYTES_MAX => {
                if !host.as_bytes().iter().all(is_name) {
                    return Routed::UnknownHost;
                }
                Routed::Passthrough(Passthrough::Name { host: host.to_ascii_lowercase().into(), port })
            }
            _ => Routed::UnknownHost,
        }
    }

    /// None: the host has no such port.
    fn route_host<'t, R: RequestView>(
        &'t self,
        entry: &'t HostEntry,
        port: u16,
        request: &R,
        path: &[u8],
    ) -> Option<Routed<'t>> {
        let default = entry.port(port)?.default;
        let route = |rule, matched, target| {
            Routed::Rule(Route { rule, host: &entry.name, port, matched, limits: &entry.limits, target })
        };
        let slot = entry.virtual_host.and_then(|slot| self.parts.virtual_hosts.get(slot as usize));
        Some(match slot {
            Some(Slot::Here(rules)) if !rules.model.http.is_empty() => {
                match rules.rules.first_match(&Subject { request, path, port }) {
                    Some((rule, matched)) => route(rule, matched, Fixed::ByRule),
                    None => Routed::NoRoute { host: Some(&rules.name) },
                }
            }
            Some(Slot::NotLoaded) => Routed::NotLoaded { host: &entry.name },
            Some(Slot::Here(_) | Slot::Absent) | None => {
                route(&self.parts.default_rule, Matched::Whole, Fixed::Slot(default))
            }
        })
    }

    /// Whether a gateway's host asks other things of its clients' TLS than the connection was asked: a client certificate,
    /// say, which a server name without one must not get round.
    pub fn is_misdirected(&self, arrival: &Arrival, authority: &[u8]) -> bool {
        let Some(came_by) = arrival.server_tls else { return false };
        let Some(listener) = self.listeners.get(arrival.listener) else { return false };
        let own = split_authority(authority).and_then(|(host, _)| listener.server_tls(Some(host)));
        let Some((at, own)) = own else { return false };
        match came_by {
            CameBy::Settings(position) if position == at => false,
            CameBy::Settings(position) => {
                listener.tls.get(position).is_none_or(|other| !own.model.asks_as(&other.model))
            }
            CameBy::Gone => true,
        }
    }

    fn route_gateway<'t, R: RequestView>(
        &'t self,
        listener: &'t ListenerTable,
        request: &R,
        path: &[u8],
    ) -> Routed<'t> {
        let port = listener.model.logical_port;
        let found = split_authority(request.authority())
            .and_then(|(host, _)| listener.domains.get(host))
            .and_then(|slot| self.parts.virtual_hosts.get(slot as usize)?.here());
        let Some(rules) = found else { return Routed::NoRoute { host: None } };
        match rules.rules.first_match(&Subject { request, path, port }) {
            Some((rule, matched)) => Routed::Rule(Route {
                rule,
                host: &rules.name,
                port,
                matched,
                limits: &listener.limits,
                target: Fixed::ByRule,
            }),
            None => Routed::NoRoute { host: Some(&rules.name) },
        }
    }

    /// Routes a TCP connection by its listener, and for captured ones by the address they were going to.
    pub fn route_tcp(
        &self,
        listener: usize,
        original_destination: Option<SocketAddr>,
        peer: SocketAddr,
    ) -> RoutedTcp<'_> {
        self.route_stream(listener, &Stream { original_destination, peer, hello: None })
    }

    /// Routes a TLS connection that is passed on unread, or was ended here and carries TCP: as [`Table::route_tcp`], with
    /// TLS rules by server name first. A captured connection to an address that the index does not know, or an explicit
    /// proxy's, goes to the host of that name.
    pub fn route_tls(
        &self,
        listener: usize,
        original_destination: Option<SocketAddr>,
        peer: SocketAddr,
        server_name: Option<&[u8]>,
    ) -> RoutedTcp<'_> {
        self.route_stream(listener, &Stream { original_destination, peer, hello: Some(server_name) })
    }

    fn route_stream(&self, listener: usize, stream: &Stream<'_>) -> RoutedTcp<'_> {
        let Some(listener) = self.listeners.get(listener) else { return RoutedTcp::UnknownHost };
        match &listener.model.kind {
            ListenerKind::Inbound { service, .. } => match &listener.inbound {
                Some(destination) => RoutedTcp::Route(TcpRoute {
                    rule: None,
                    host: service.as_ref().map_or("", |service| &service.host),
                    port: listener.model.logical_port,
                    sealed: false,
                    target: Fixed::Here(destination),
                }),
                None => RoutedTcp::UnknownHost,
            },
            ListenerKind::InboundCapture { .. } => match &listener.inbound {
                Some(destination) => RoutedTcp::Route(TcpRoute {
                    rule: None,
                    host: "",
                    port: stream.original_destination.map_or(listener.model.logical_port, |it| it.port()),
                    sealed: false,
                    target: Fixed::Here(destination),
                }),
                None => RoutedTcp::UnknownHost,
            },
            ListenerKind::Outbound | ListenerKind::Service { .. } => {
                match self.known_stream(listener, stream) {
                    Known::Host(entry, port) => self.route_tcp_host(entry, port, stream),
                    Known::Unknown => match (stream.original_destination, self.proxy.outbound_policy) {
                        (Some(address), OutboundPolicy::AllowAny) => RoutedTcp::Passthrough(address),
                        _ => RoutedTcp::UnknownHost,
                    },
                }
            }
            ListenerKind::GatewayTcp | ListenerKind::GatewayHttp => self.route_gateway_tcp(listener, stream),
        }
    }

    /// With a ClientHello: the rules of its server name. A mode of the name that spells its destination needs no rule.
    fn route_gateway_tcp<'t>(&'t self, listener: &'t ListenerTable, stream: &Stream<'_>) -> RoutedTcp<'t> {
        let port = listener.model.logical_port;
        let here = |slot: u32| self.parts.virtual_hosts.get(slot as usize)?.here();
        let Some(server_name) = stream.hello else {
            return match listener.virtual_hosts.iter().find_map(|slot| here(*slot)) {
                Some(rules) => route_tcp_rules(rules, port, stream),
                None => RoutedTcp::NoRoute,
            };
        };
        if let Some((_, server)) = listener.server_tls(server_name)
            && server.model.mode == model::TlsMode::AutoPassthrough
        {
            return self.route_spelled(server_name, port);
        }
        match listener.domains.get(server_name.unwrap_or(b"?")).and_then(here) {
            Some(rules) => route_tcp_rules(rules, port, stream),
            None => RoutedTcp::NoRoute,
        }
    }

    /// To the destination that a mesh server name spells ([`model::mesh_server_name`]).
    fn route_spelled(&self, server_name: Option<&[u8]>, port: u16) -> RoutedTcp<'_> {
        let found = || {
            let name = std::str::from_utf8(server_name?).ok()?.strip_prefix("outbound_.")?;
            let (port, rest) = name.split_once("_.")?;
            let (subset, host) = rest.split_once("_.")?;
            let name = format!("outbound|{port}|{subset}|{host}");
            let id = DestinationId(self.parts.names.destinations.get(&name)?);
            Some((self.parts.names.destinations.name(id.0)?, id))
        };
        match found() {
            Some((name, id)) => RoutedTcp::Route(TcpRoute {
                rule: None,
                host: name,
                port,
                sealed: true,
                target: Fixed::Slot(id),
            }),
            None => RoutedTcp::NoRoute,
        }
    }

    fn known_stream(&self, listener: &ListenerTable, stream: &Stream<'_>) -> Known<'_> {
        let known = self.known(listener, stream.original_destination);
        let (Known::Unknown, Some(Some(name))) = (&known, stream.hello) else { return known };
        let Some(port) = stream.original_destination.map(|address| address.port()) else { return known };
        match self.parts.hosts.by_domain(name, port).filter(|entry| entry.port(port).is_some()) {
            Some(entry) => Known::Host(entry, port),
            None => known,
        }
    }

    /// What is declared of the protocol that a connection will speak; `Auto` where nothing is known.
    pub fn protocol(&self, listener: usize, original_destination: Option<SocketAddr>) -> Protocol {
        let Some(listener) = self.listeners.get(listener) else { return Protocol::Auto };
        match &listener.model.kind {
            ListenerKind::Inbound { protocol, .. } | ListenerKind::Service { protocol, .. } => *protocol,
            ListenerKind::GatewayHttp => Protocol::Http,
            ListenerKind::GatewayTcp => Protocol::Tcp,
            ListenerKind::InboundCapture { .. } => Protocol::Auto,
            ListenerKind::Outbound => {
                match (original_destination, self.known(listener, original_destination)) {
                    // Not captured: an explicit proxy's client, which speaks HTTP.
                    (None, _) => Protocol::Http,
                    (_, Known::Host(entry, port)) => {
                        entry.port(port).map_or(Protocol::Auto, |port| port.protocol)
                    }
                    (_, Known::Unknown) => Protocol::Auto,
                }
            }
        }
    }

    fn known(&self, listener: &ListenerTable, original_destination: Option<SocketAddr>) -> Known<'_> {
        let found = match &listener.model.kind {
            ListenerKind::Service { host, port, .. } => {
                self.parts.hosts.by_name(host).map(|entry| (entry, *port))
            }
            _ => original_destination.and_then(|address| {
                let entry = self.parts.hosts.by_address(address.ip(), address.port())?;
                Some((entry, address.port()))
            }),
        };
        match found {
            Some((entry, port)) if entry.port(port).is_some() => Known::Host(entry, port),
            _ => Known::Unknown,
        }
    }

    fn route_tcp_host<'t>(&'t self, entry: &'t HostEntry, port: u16, stream: &Stream<'_>) -> RoutedTcp<'t> {
        let slot = entry.virtual_host.and_then(|slot| self.parts.virtual_hosts.get(slot as usize));
        match slot {
            Some(Slot::Here(rules)) if rules.has_rules_for(stream.hello.is_some()) => {
                route_tcp_rules(rules, port, stream)
            }
            Some(Slot::NotLoaded) => RoutedTcp::NotLoaded { host: &entry.name },
            Some(Slot::Here(_) | Slot::Absent) | None => match entry.port(port) {
                Some(entry_port) => RoutedTcp::Route(TcpRoute {
                    rule: None,
                    host: &entry.name,
                    port,
                    sealed: false,
                    target: Fixed::Slot(entry_port.default),
                }),
                None => RoutedTcp::UnknownHost,
            },
        }
    }
}

/// What is known of a connection when it is routed as a whole.
struct Stream<'a> {
    original_destination: Option<SocketAddr>,
    peer: SocketAddr,
    /// It began with a ClientHello, of this server name if any.
    hello: Option<Option<&'a [u8]>>,
}

impl VirtualHost {
    fn has_rules_for(&self, tls: bool) -> bool {
        !self.tcp.is_empty() || (tls && !self.tls.is_empty())
    }
}

/// TLS rules for what began with a ClientHello, then TCP rules; the first that matches.
fn route_tcp_rules<'t>(rules: &'t Arc<VirtualHost>, port: u16, stream: &Stream<'_>) -> RoutedTcp<'t> {
    let destination = stream.original_destination.map(|address| address.ip());
    let server_name = stream.hello.flatten();
    let matches = |rule: &&Arc<CompiledTcpRule>| {
        let holds = |it: &TcpMatcher| it.matches(port, destination, stream.peer.ip(), server_name);
        rule.matches.is_empty() || rule.matches.iter().any(holds)
    };
    let tls: &[_] = if stream.hello.is_some() { &rules.tls } else { &[] };
    match tls.iter().chain(&rules.tcp).find(matches) {
        Some(rule) => RoutedTcp::Route(TcpRoute {
            rule: Some(rule),
            host: &rules.name,
            port,
            sealed: false,
            target: Fixed::ByRule,
        }),
        None => RoutedTcp::NoRoute,
    }
}
