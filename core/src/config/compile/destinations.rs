//! Destinations with their endpoints' addresses and the state they had.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hashbrown::HashMap;

use crate::config::compile::{Answers, Build, Inputs};
use crate::config::model::{self, Balancer, Discovery, Kind};
use crate::config::snapshot::Snapshot;
use crate::config::table::{Destination, Endpoint, NameSlots, Parts, Slot};

/// Compiles all destinations, by slot. Where the table before knew the same names to be absent, only what differs is looked
/// at.
pub(super) fn compile_destinations(
    build: &mut Build,
    inputs: &Inputs<'_>,
    old: Option<&Parts>,
) -> Vec<Slot<Destination>> {
    let snapshot = inputs.snapshot;
    let comparable = [Kind::Destination, Kind::Endpoints];
    let Some(old) = old.filter(|old| old.source.same_absence(snapshot, &comparable)) else {
        snapshot.destinations().keys().for_each(|name| _ = build.destination(name));
        let names = &build.names.destinations;
        return (0..names.len() as u32).map(|slot| compile_slot(names, inputs, old, slot)).collect();
    };
    let changed: Vec<&str> = old.source.changed_destinations(snapshot).collect();
    changed.iter().filter(|name| snapshot.destinations().contains_key(**name)).for_each(|name| {
        build.destination(name);
    });
    let names = &build.names.destinations;
    let mut slots = old.destinations.clone();
    slots.resize(names.len(), Slot::NotLoaded);
    let by_name = old.destinations.iter().enumerate();
    let by_name =
        by_name.filter(|(_, slot)| slot.here().is_some_and(|it| it.by_name)).map(|(slot, _)| slot as u32);
    let new = old.destinations.len() as u32..names.len() as u32;
    for slot in changed.iter().filter_map(|name| names.get(name)).chain(by_name).chain(new) {
        slots[slot as usize] = compile_slot(names, inputs, Some(old), slot);
    }
    slots
}

/// One destination. One whose endpoints have not come has not come.
fn compile_slot(names: &NameSlots, inputs: &Inputs<'_>, old: Option<&Parts>, slot: u32) -> Slot<Destination> {
    let snapshot = inputs.snapshot;
    let Some(name) = names.name(slot) else { return Slot::Absent };
    let Some(held) = snapshot.destinations().get(name) else {
        return if snapshot.is_absent(Kind::Destination, name) { Slot::Absent } else { Slot::NotLoaded };
    };
    let endpoints = snapshot.endpoints().get(name).map(|held| held.body());
    if endpoints.is_none() && needs_endpoints(held.body()) && !snapshot.is_absent(Kind::Endpoints, name) {
        return Slot::NotLoaded;
    }
    let shared = old.and_then(|old| old.destinations.get(slot as usize)?.here());
    let credential = credential(snapshot, held.body());
    let same = |it: &&Arc<Destination>| {
        same_credential(&it.credential, &credential) && unchanged(it, held.body(), endpoints, inputs.answers)
    };
    if let Some(same) = shared.filter(same) {
        return Slot::Here(Arc::clone(same));
    }
    let before = inputs.previous.and_then(|table| table.destination_named(name)).map(|it| &**it);
    let mut joined = join(Arc::clone(held.body()), endpoints.map(|it| &**it), inputs.answers, before);
    joined.source = endpoints.cloned();
    joined.credential = credential;
    joined.by_name =
        endpoints.is_some_and(|it| it.endpoints.iter().any(|it| it.address.parse::<IpAddr>().is_err()));
    Slot::Here(Arc::new(joined))
}

/// What the destination's TLS settings name, where it is here.
fn credential(snapshot: &Snapshot, destination: &model::Destination) -> Option<Arc<model::Credential>> {
    let tls = destination.tls.as_ref().filter(|tls| !tls.credential.is_empty())?;
    snapshot.credentials().get(tls.credential.as_str()).map(|held| Arc::clone(held.body()))
}

fn same_credential(old: &Option<Arc<model::Credential>>, new: &Option<Arc<model::Credential>>) -> bool {
    match (old, new) {
        (None, None) => true,
        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
        _ => false,
    }
}

fn needs_endpoints(destination: &model::Destination) -> bool {
    destination.discovery != Discovery::OriginalDestination && destination.balancer != Balancer::Passthrough
}

fn unchanged(
    old: &Destination,
    model: &Arc<model::Destination>,
    endpoints: Option<&Arc<model::Endpoints>>,
    answers: &Answers,
) -> bool {
    let same_source = match (&old.source, endpoints) {
        (None, None) => true,
        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
        _ => false,
    };
    if !same_source || !Arc::ptr_eq(&old.model, model) {
        return false;
    }
    // DNS answers may have changed under the same objects.
    !old.by_name
        || addresses(model, endpoints.map(|it| &**it), answers)
            .map(|(address, _)| address)
            .eq(old.endpoints.iter().map(|endpoint| endpoint.address))
}

/// Joins a destination with its endpoints, and with the state that it and they had before.
pub(super) fn join(
    model: Arc<model::Destination>,
    endpoints: Option<&model::Endpoints>,
    answers: &Answers,
    before: Option<&Destination>,
) -> Destination {
    let known: HashMap<SocketAddr, &Endpoint, foldhash::fast::FixedState> =
        before.iter().flat_map(|it| &it.endpoints).map(|endpoint| (endpoint.address, endpoint)).collect();
    // One answer at a time is one endpoint, whatever its address is today (Envoy's logical host).
    let logical = match before.map(|it| it.endpoints.as_slice()) {
        Some([only]) if model.discovery == Discovery::DnsRoundRobin => Some(only),
        _ => None,
    };
    let compiled = addresses(&model, endpoints, answers).map(|(address, endpoint)| {
        let old = known.get(&address).copied().or(logical.filter(|old| *old.model == *endpoint));
        Endpoint {
            address,
            model: match old {
                Some(old) if *old.model == *endpoint => Arc::clone(&old.model),
                _ => Arc::new(endpoint.clone()),
            },
            state: old.map(|old| Arc::clone(&old.state)).unwrap_or_default(),
        }
    });
    let compiled = compiled.collect();
    let state = before.map(|before| Arc::clone(&before.state)).unwrap_or_default();
    Destination::new(model, compiled, state)
}

/// Usable endpoints with their addresses, each address once.
fn addresses<'a>(
    model: &model::Destination,
    endpoints: Option<&'a model::Endpoints>,
    answers: &'a Answers,
) -> impl Iterator<Item = (SocketAddr, &'a model::Endpoint)> {
    // One answer at a time for new connections.
    let per_name = if model.discovery == Discovery::DnsRoundRobin { 1 } else { usize::MAX };
    let mut seen = hashbrown::HashSet::with_hasher(foldhash::fast::FixedState::default());
    endpoints
        .into_iter()
        .flat_map(|it| &it.endpoints)
        .filter(|endpoint| !endpoint.draining)
        .flat_map(move |endpoint| {
            let literal = endpoint.address.parse::<IpAddr>().ok();
            let answers = match literal {
                Some(_) => None,
                None => answers.get(endpoint.address.as_str()),
            };
            let resolved = answers.into_iter().flatten().copied().take(per_name);
            literal.into_iter().chain(resolved).map(move |ip| (SocketAddr::new(ip, endpoint.port), endpoint))
        })
        .filter(move |(address, _)| seen.insert(*address))
}
