//! What differs between two versions of a mesh, where that is endpoints and nothing else.

use std::collections::BTreeSet;

use super::Mesh;
use super::service::{Service, ServicePort};

impl Mesh {
    /// The hosts whose endpoints differ from those of an earlier version; none where anything else about hosts does. Only
    /// hosts are looked at: the caller knows that no rule has changed.
    pub fn endpoints_since(&self, before: &Mesh) -> Option<BTreeSet<&str>> {
        if self.services.len() != before.services.len() {
            return None;
        }
        let mut changed = BTreeSet::new();
        for (now, before) in self.services.iter().zip(before.services.iter()) {
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
                return None;
            }
            changed.insert(now.host.as_str());
        }
        Some(changed)
    }
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
