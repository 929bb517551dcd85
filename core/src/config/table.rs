//! What shards read: immutable, compiled once per version, shared without locks.
//!
//! Rules name destinations by slot ([`DestinationId`]) and the index names rules by slot, so a change replaces one slot and
//! leaves everything that refers to it as it is: versions share what did not change.

use std::hash::BuildHasher;
use std::sync::Arc;

use crate::balance::{DestinationState, EndpointState, Shares};
use crate::config::compile::LimitSet;
use crate::config::model;
use crate::config::snapshot::Snapshot;
use crate::route::host::{DomainMap, HostIndex};
use crate::route::rank::RuleSet;
use crate::route::rule::{CompiledLimit, CompiledRule, CompiledTcpRule};

/// Slot of a destination. Means something only together with the table it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DestinationId(pub u32);

/// The table in force. Built only by [`crate::config::compile`]; versions share what did not change.
#[derive(Debug)]
pub struct Table {
    /// Counts up with every table of this process.
    pub version: u64,
    /// What this proxy is.
    pub proxy: Arc<model::Proxy>,
    /// Listeners, in the order of `proxy.listeners`.
    pub listeners: Vec<Arc<ListenerTable>>,
    /// Everything else.
    pub(crate) parts: Parts,
}

/// The table's shared parts.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    /// What the table was made of.
    pub source: Snapshot,
    pub hosts: Arc<HostIndex>,
    /// By slot.
    pub virtual_hosts: Vec<Slot<VirtualHost>>,
    /// By slot.
    pub destinations: Vec<Slot<Destination>>,
    /// Names of slots.
    pub names: Arc<Names>,
    /// Rate limits, attached to hosts and listeners.
    pub limits: Arc<LimitSet>,
    /// What happens to a request of a host without rules.
    pub default_rule: Arc<CompiledRule>,
    /// What happens to a request that arrives for the application: no retries.
    pub inbound_rule: Arc<CompiledRule>,
}

/// A place in the table for an object of one name.
#[derive(Debug)]
pub(crate) enum Slot<T> {
    /// It is here.
    Here(Arc<T>),
    /// It has not come (yet).
    NotLoaded,
    /// There is no such object.
    Absent,
}

impl<T> Slot<T> {
    pub(crate) fn here(&self) -> Option<&Arc<T>> {
        match self {
            Slot::Here(it) => Some(it),
            Slot::NotLoaded | Slot::Absent => None,
        }
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Slot<T> {
        match self {
            Slot::Here(it) => Slot::Here(Arc::clone(it)),
            Slot::NotLoaded => Slot::NotLoaded,
            Slot::Absent => Slot::Absent,
        }
    }
}

/// Names of slots, by slot.
#[derive(Debug, Default, Clone)]
pub(crate) struct Names {
    pub destinations: NameSlots,
    pub virtual_hosts: NameSlots,
    /// Names in use when slots were last numbered afresh.
    settled: usize,
}

/// Slots of names long gone that a table may keep beside as many as it uses.
const STALE_SLOTS_MAX: usize = 1_024;

impl Names {
    fn len(&self) -> usize {
        self.destinations.len() + self.virtual_hosts.len()
    }

    /// More than half of the slots may be of names long gone.
    pub(crate) fn outgrown(&self) -> bool {
        self.len() > 2 * self.settled + STALE_SLOTS_MAX
    }
}

impl Table {
    /// The table, its slots numbered afresh: all of them are in use.
    pub(crate) fn settled(mut self) -> Table {
        let names = Arc::make_mut(&mut self.parts.names);
        names.settled = names.len();
        self
    }
}

/// Names, each with a slot of its own.
#[derive(Debug, Default, Clone)]
pub(crate) struct NameSlots {
    names: Vec<Arc<str>>,
    /// Slots by the hash of their names.
    slots: hashbrown::HashTable<u32>,
    hasher: foldhash::fast::FixedState,
}

impl NameSlots {
    /// The slot of a name, a new one where it has none.
    pub(crate) fn intern(&mut self, name: impl AsRef<str> + Into<Arc<str>>) -> u32 {
        if let Some(slot) = self.get(name.as_ref()) {
            return slot;
        }
        let (slot, hash) = (self.names.len() as u32, self.hasher.hash_one(name.as_ref()));
        self.names.push(name.into());
        let (names, hasher) = (&self.names, &self.hasher);
        let name_of = |slot: u32| names.get(slot as usize).map_or("", |name| name);
        self.slots.insert_unique(hash, slot, |slot| hasher.hash_one(name_of(*slot)));
        slot
    }

    pub(crate) fn get(&self, name: &str) -> Option<u32> {
        let is_it = |slot: &u32| self.name(*slot).is_some_and(|it| **it == *name);
        self.slots.find(self.hasher.hash_one(name), is_it).copied()
    }

    pub(crate) fn name(&self, slot: u32) -> Option<&Arc<str>> {
        self.names.get(slot as usize)
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }
}

/// A listener with what it needs to route.
#[derive(Debug)]
pub struct ListenerTable {
    /// As configured.
    pub model: model::Listener,
    /// Rate limits on whatever arrives here.
    pub limits: Vec<Arc<CompiledLimit>>,
    /// An inbound listener's application: one endpoint, its caps, its state.
    pub inbound: Option<Arc<Destination>>,
    /// A gateway listener's TLS settings, in the order of `model.tls`.
    pub tls: Box<[ServerTls]>,
    /// Server names, with the positions of their settings in `tls`.
    pub(crate) server_names: DomainMap,
    /// A gateway listener's domains, with the slots of their rules.
    pub(crate) domains: DomainMap,
    /// What `domains` was made of: slots of the virtual hosts that name this listener, in the order of their names.
    pub(crate) virtual_hosts: Vec<u32>,
    /// Of those slots and their domains, so that an unchanged map is recognised without keeping them.
    pub(crate) domains_fingerprint: u64,
}

impl ListenerTable {
    /// The TLS settings for a ClientHello's server name (with their position in `tls`): exact, then the longest wildcard,
    /// then `*`, which also takes a ClientHello without a name. None: the connection is refused.
    pub fn server_tls(&self, server_name: Option<&[u8]>) -> Option<(usize, &ServerTls)> {
        // A name that no host can have leaves only what takes everything.
        let at = self.server_names.get(server_name.unwrap_or(b"?"))? as usize;
        Some((at, self.tls.get(at)?))
    }
}

/// TLS settings of a gateway listener with the credentials that they name.
#[derive(Debug)]
pub struct ServerTls {
    /// As configured.
    pub model: model::ServerTls,
    /// Those that are here. Without any, a mode that needs one serves no handshake.
    pub credentials: Vec<Arc<model::Credential>>,
}

/// Rules of one host, or of a set of domains at a gateway.
#[derive(Debug)]
pub struct VirtualHost {
    /// The host's FQDN; `LISTENER/DOMAIN` at gateways.
    pub name: Arc<str>,
    /// As configured.
    pub model: Arc<model::VirtualHost>,
    /// HTTP rules.
    pub(crate) rules: RuleSet,
    /// TLS rules, in order.
    pub(crate) tls: Box<[Arc<CompiledTcpRule>]>,
    /// TCP rules, in order.
    pub(crate) tcp: Box<[Arc<CompiledTcpRule>]>,
    /// The ports that requests can come for, which the rules' open ports stand for.
    pub(crate) ports: Vec<u16>,
}

impl VirtualHost {
    /// The HTTP rules, in order.
    pub fn http_rules(&self) -> &[Arc<CompiledRule>] {
        self.rules.rules()
    }
}

/// A destination with its endpoints, as an exchange holds it while it needs it.
#[derive(Debug)]
pub struct Destination {
    /// As configured.
    pub model: Arc<model::Destination>,
    /// Usable endpoints; an endpoint that drains is not among them.
    pub endpoints: Vec<Endpoint>,
    /// Counters and circuit state; outlives a swap while the destination's name stays.
    pub state: Arc<DestinationState>,
    /// The endpoints' weights, compiled.
    pub shares: Shares,
    /// What `model.tls` names, where it is here.
    pub credential: Option<Arc<model::Credential>>,
    /// The application behind captured ports: a connection goes to the address that it was for, and comes from
    /// [`crate::capture::to_application`], by which netfilter knows not to capture it again.
    pub captured: bool,
    /// The object that the endpoints come from.
    pub(crate) source: Option<Arc<model::Endpoints>>,
    /// DNS has a say in its endpoints.
    pub(crate) by_name: bool,
}

impl Destination {
    /// Joins a destination's configuration, endpoints and state.
    pub fn new(
        model: Arc<model::Destination>,
        endpoints: Vec<Endpoint>,
        state: Arc<DestinationState>,
    ) -> Destination {
        let shares = Shares::new(&endpoints);
        Destination {
            model,
            endpoints,
            state,
            shares,
            credential: None,
            captured: false,
            source: None,
            by_name: false,
        }
    }
}

/// An endpoint with its address known.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where it listens.
    pub address: std::net::SocketAddr,
    /// As configured.
    pub model: Arc<model::Endpoint>,
    /// Load and health; outlives a swap while address and destination stay.
    pub state: Arc<EndpointState>,
}
