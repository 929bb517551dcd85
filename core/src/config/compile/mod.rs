//! Snapshot → table, sharing whatever did not change with the table before.
//!
//! What was compiled from an object is kept where the new snapshot holds the very same object (by address, so the check is
//! cheap and cannot be wrong). State outlives objects: counters and circuits by destination name, load and health by
//! destination name and address, buckets by rate-limit object and position.

mod destinations;
mod headers;
mod limits;
mod listeners;
pub(crate) mod rules;

pub use headers::frames_message;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::config::model::{self, Kind};
use crate::config::snapshot::Snapshot;
use crate::config::table::{DestinationId, Names, Parts, Slot, Table, VirtualHost};
use crate::route::host::{HostEntry, HostIndex, PortEntry};
use crate::route::rule::{Action, CompiledRule, HeaderOps};

pub(crate) use limits::{LimitSet, compile_limit};

/// What DNS says of the names in [`Snapshot::dns_names`]; first the address for new connections where one is used at a time.
pub type Answers = BTreeMap<String, Vec<IpAddr>>;

/// All that a table is made of.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The new table's version.
    pub version: u64,
    /// The objects.
    pub snapshot: &'a Snapshot,
    /// What DNS says; a name without an answer has no endpoint.
    pub answers: &'a Answers,
    /// The table in force, whose unchanged parts and whose state are kept.
    pub previous: Option<&'a Table>,
    /// Keeps clients from choosing rate-limit keys that collide; any random number, the same for a process's life.
    pub seed: u64,
}

/// Compiles the table that shards will read.
pub fn compile(inputs: &Inputs<'_>) -> Arc<Table> {
    if inputs.previous.is_none() {
        return Arc::new(compile_once(inputs, None).settled());
    }
    let table = compile_once(inputs, inputs.previous);
    if table.parts.names.outgrown() {
        // Slots of names long gone: number afresh. State is kept, rules are compiled again.
        return Arc::new(compile_once(inputs, None).settled());
    }
    Arc::new(table)
}

/// Compiles with the structure of `shared` reused; state comes from `inputs.previous` in any case.
fn compile_once(inputs: &Inputs<'_>, shared: Option<&Table>) -> Table {
    let snapshot = inputs.snapshot;
    let old = shared.map(|table| &table.parts);
    let proxy = snapshot.proxy().map(|held| Arc::clone(held.body())).unwrap_or_default();
    let retries = proxy.default_retries.clone().unwrap_or_else(istio_retries);
    let mut build = Build {
        names: old.map(|old| Arc::clone(&old.names)).unwrap_or_default(),
        retries: match old {
            Some(old) if *old.default_rule.retries == retries => Arc::clone(&old.default_rule.retries),
            _ => Arc::new(retries),
        },
    };
    let limits = limits::compile_limits(inputs, inputs.previous.map(|table| &table.parts.limits));
    let hosts = compile_hosts(&mut build, snapshot, &limits, old);
    let virtual_hosts =
        compile_virtual_hosts(&mut build, snapshot, &proxy, shared.map(|table| (&table.parts, &table.proxy)));
    let destinations = destinations::compile_destinations(&mut build, inputs, old);
    let listeners =
        listeners::compile_listeners(inputs, &proxy, &limits, &build.names, &virtual_hosts, shared);
    let shared_rule = old.filter(|old| Arc::ptr_eq(&old.default_rule.retries, &build.retries));
    let (default_rule, inbound_rule) = match shared_rule {
        Some(old) => (Arc::clone(&old.default_rule), Arc::clone(&old.inbound_rule)),
        None => (plain_rule(Arc::clone(&build.retries)), plain_rule(Arc::default())),
    };
    let names = build.names;
    let source = snapshot.clone();
    let parts =
        Parts { source, hosts, virtual_hosts, destinations, names, limits, default_rule, inbound_rule };
    Table { version: inputs.version, proxy, listeners, parts }
}

/// Istio's default policy where the mesh sets none.
fn istio_retries() -> model::Retries {
    let on = model::RetryOn {
        connect_failure: true,
        refused_stream: true,
        statuses: vec![503],
        grpc: vec![1, 14],
        ..model::RetryOn::default()
    };
    model::Retries { attempts: 2, on, ..model::Retries::default() }
}

/// The rule of whatever no rule concerns.
fn plain_rule(retries: Arc<model::Retries>) -> Arc<CompiledRule> {
    Arc::new(CompiledRule {
        name: "default".into(),
        origin: "".into(),
        action: Action::HostDefault,
        rewrite: None,
        timeout_ms: None,
        retries,
        retries_configured: false,
        fault: None,
        headers: HeaderOps::default(),
    })
}

/// What all parts of a compilation share.
pub(crate) struct Build {
    pub(crate) names: Arc<Names>,
    pub(crate) retries: Arc<model::Retries>,
}

impl Build {
    /// The slot of a destination's name. The names are copied only once one is new.
    pub(crate) fn destination(&mut self, name: &str) -> DestinationId {
        let known = self.names.destinations.get(name);
        DestinationId(known.unwrap_or_else(|| Arc::make_mut(&mut self.names).destinations.intern(name)))
    }

    /// The slot of a virtual host's name, which shares the text of the object's.
    fn virtual_host(&mut self, name: &Arc<str>) -> u32 {
        let known = self.names.virtual_hosts.get(name);
        known.unwrap_or_else(|| Arc::make_mut(&mut self.names).virtual_hosts.intern(Arc::clone(name)))
    }
}

fn compile_hosts(
    build: &mut Build,
    snapshot: &Snapshot,
    limits: &Arc<LimitSet>,
    old: Option<&Parts>,
) -> Arc<HostIndex> {
    if let Some(old) = old.filter(|old| Arc::ptr_eq(&old.limits, limits)) {
        let before = old.hosts.entries();
        let same = before.iter().zip(snapshot.hosts().values());
        if before.len() == snapshot.hosts().len() && { same }
            .all(|(entry, held)| Arc::ptr_eq(&entry.model, held.body()))
        {
            return Arc::clone(&old.hosts);
        }
    }
    let entries = snapshot.hosts().iter().map(|(name, held)| {
        let host = held.body();
        let ports: SmallVec<[PortEntry; 2]> = host
            .ports
            .iter()
            .map(|port| PortEntry {
                number: port.number,
                protocol: port.protocol,
                default: build.destination(&model::destination_name(port.number, "", name)),
            })
            .collect();
        HostEntry {
            name: Arc::clone(name),
            model: Arc::clone(host),
            ports,
            limits: limits.outbound(name),
            virtual_host: host.routed.then(|| build.virtual_host(name)),
        }
    });
    Arc::new(HostIndex::build(entries.collect()))
}

/// Compiles all rules, by slot. Where nothing that concerns all of them has changed, only what differs is looked at.
fn compile_virtual_hosts(
    build: &mut Build,
    snapshot: &Snapshot,
    proxy: &Arc<model::Proxy>,
    old: Option<(&Parts, &Arc<model::Proxy>)>,
) -> Vec<Slot<VirtualHost>> {
    let old = old.filter(|(old, _)| Arc::ptr_eq(&old.default_rule.retries, &build.retries));
    let comparable = |old: &Parts| old.source.same_absence(snapshot, &[Kind::VirtualHost]);
    let same = old.filter(|(old, before)| comparable(old) && Arc::ptr_eq(before, proxy));
    let old = old.map(|(old, _)| old);
    let Some((before, _)) = same else {
        snapshot.virtual_hosts().keys().for_each(|name| _ = build.virtual_host(name));
        let slots = 0..build.names.virtual_hosts.len() as u32;
        return slots.map(|slot| compile_rules(build, snapshot, proxy, old, slot)).collect();
    };
    let changed: Vec<&str> = before.source.changed_virtual_hosts(snapshot).collect();
    changed.iter().filter_map(|name| snapshot.virtual_hosts().get_key_value(*name)).for_each(|(name, _)| {
        build.virtual_host(name);
    });
    let mut slots = before.virtual_hosts.clone();
    let count = build.names.virtual_hosts.len();
    let new = slots.len() as u32..count as u32;
    let touched = changed.iter().filter_map(|name| build.names.virtual_hosts.get(name));
    let touched: Vec<u32> = touched.chain(new).collect();
    slots.resize(count, Slot::NotLoaded);
    for slot in touched {
        slots[slot as usize] = compile_rules(build, snapshot, proxy, old, slot);
    }
    slots
}

/// The rules of one slot; the old ones where their object and the ports that it depends on are the same.
fn compile_rules(
    build: &mut Build,
    snapshot: &Snapshot,
    proxy: &model::Proxy,
    old: Option<&Parts>,
    slot: u32,
) -> Slot<VirtualHost> {
    let Some(name) = build.names.virtual_hosts.name(slot).cloned() else { return Slot::Absent };
    let Some(held) = snapshot.virtual_hosts().get(&name) else {
        return if snapshot.is_absent(Kind::VirtualHost, &name) { Slot::Absent } else { Slot::NotLoaded };
    };
    let ports = arrival_ports(held.body(), snapshot, proxy);
    let before = old.and_then(|old| old.virtual_hosts.get(slot as usize)?.here());
    match before.filter(|it| Arc::ptr_eq(&it.model, held.body()) && it.ports == ports) {
        Some(same) => Slot::Here(Arc::clone(same)),
        // Always there: the snapshot compiled it when it took it over.
        None => match rules::compile_virtual_host(build, &name, held.body(), ports) {
            Some(rules) => Slot::Here(Arc::new(rules)),
            None => Slot::Absent,
        },
    }
}

/// The ports that requests for a virtual host can come for.
fn arrival_ports(rules: &model::VirtualHost, snapshot: &Snapshot, proxy: &model::Proxy) -> Vec<u16> {
    match &rules.listener {
        Some(listener) => {
            let own = proxy.listeners.iter().filter(|it| it.name == *listener);
            own.map(|listener| listener.logical_port).collect()
        }
        None => {
            let host = snapshot.hosts().get(rules.name.as_str());
            host.map(|held| held.body().ports.iter().map(|port| port.number).collect()).unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests;
