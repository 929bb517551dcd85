//! What differs between two versions of a mesh, where that is endpoints and routes and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::gateway_api::{Place, Route};
use super::service::{Service, ServicePort};
use super::{HeldVirtualService, MESH_GATEWAY, Mesh};

/// What differs between two versions of a mesh, by host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Since {
    /// Of these, nothing but endpoints.
    pub endpoints: BTreeSet<String>,
    /// Of these, the rules that sidecars have; or their endpoints, each of which is a host of its own.
    pub rules: BTreeSet<String>,
}

impl Mesh {
    /// What differs from an earlier version by host; none where that cannot be told. The caller knows that no objects have changed
    /// but those that say where endpoints are, VirtualServices and routes of Gateway API.
    pub fn since(&self, before: &Mesh) -> Option<Since> {
        let mut since = Since::default();
        self.endpoints_since(before, &mut since)?;
        if !Arc::ptr_eq(&self.virtual_services, &before.virtual_services) {
            rules_since(&self.virtual_services, &before.virtual_services, &mut since)?;
        }
        if !Arc::ptr_eq(&self.gateway_api, &before.gateway_api) {
            routes_since(&self.gateway_api.routes, &before.gateway_api.routes, &mut since);
        }
        Some(since)
    }

    fn endpoints_since(&self, before: &Mesh, since: &mut Since) -> Option<()> {
        if self.services.len() != before.services.len() {
            return None;
        }
        for (now, before) in self.services.iter().zip(before.services.iter()) {
            if Arc::ptr_eq(now, before) {
                continue;
            }
            if !same_but_endpoints(now, before) {
                return None;
            }
            let ports = now.ports.iter().zip(&before.ports);
            let mut endpoints = ports.map(|(now, before)| (&now.endpoints, &before.endpoints));
            if now.identities == before.identities && endpoints.all(|(now, before)| now == before) {
                continue;
            }
            // Each endpoint of a headless service is a host of its own.
            if now.is_headless {
                since.rules.insert(now.host.clone());
            }
            since.endpoints.insert(now.host.clone());
        }
        Some(())
    }
}

/// None where a wildcard is among the hosts: it may concern any.
fn rules_since(
    now: &[Arc<HeldVirtualService>],
    before: &[Arc<HeldVirtualService>],
    since: &mut Since,
) -> Option<()> {
    for it in differing(now, before) {
        if it.hosts.iter().any(|host| host.starts_with('*')) {
            return None;
        }
        if it.gateways.iter().any(|gateway| gateway == MESH_GATEWAY) {
            since.rules.extend(it.hosts.iter().cloned());
        }
    }
    Some(())
}

fn routes_since(now: &[Arc<Route>], before: &[Arc<Route>], since: &mut Since) {
    for (_, place) in differing(now, before).flat_map(|it| it.places()) {
        if let Place::Service { host, .. } = place {
            since.rules.insert(host.clone());
        }
    }
}

/// What only one of two lists has, by identity. Both are in one order but for what differs.
fn differing<'a, T>(now: &'a [Arc<T>], before: &'a [Arc<T>]) -> impl Iterator<Item = &'a T> {
    let places = |all: &'a [Arc<T>]| all.iter().map(Arc::as_ptr).collect::<std::collections::HashSet<_>>();
    let (known, kept) = (places(before), places(now));
    let new = now.iter().filter(move |it| !known.contains(&Arc::as_ptr(it)));
    let gone = before.iter().filter(move |it| !kept.contains(&Arc::as_ptr(it)));
    new.chain(gone).map(Arc::as_ref)
}

fn same_but_endpoints(now: &Service, before: &Service) -> bool {
    // Taken apart in full, so that a field that is new is not forgotten here.
    let Service {
        host,
        name,
        namespace,
        origin,
        export,
        addresses,
        ports,
        selector,
        is_kubernetes,
        is_headless,
        is_external,
        // Its endpoints' accounts are among them.
        identities: _,
        subject_alt_names,
    } = now;
    *host == before.host
        && *name == before.name
        && *namespace == before.namespace
        && *origin == before.origin
        && *export == before.export
        && *addresses == before.addresses
        && *selector == before.selector
        && *is_kubernetes == before.is_kubernetes
        && *is_headless == before.is_headless
        && *is_external == before.is_external
        && *subject_alt_names == before.subject_alt_names
        && ports.len() == before.ports.len()
        && ports.iter().zip(&before.ports).all(|(now, before)| same_port_but_endpoints(now, before))
}

fn same_port_but_endpoints(now: &ServicePort, before: &ServicePort) -> bool {
    let ServicePort { number, name, protocol, discovery, target, endpoints: _ } = now;
    *number == before.number
        && *name == before.name
        && *protocol == before.protocol
        && *discovery == before.discovery
        && *target == before.target
}
