//! A sidecar's view in two parts: what all sidecars like it see of the mesh, and what is its own.
//!
//! The first part is nearly all of it and the same for every sidecar of a namespace, unless rules choose clients by their
//! labels. Made and kept once for each such class, it costs what one proxy costs however many there are.

use std::collections::{BTreeSet, HashSet};

use dromon_core::config::model::{Kind, Resource};

use crate::api::virtual_service::HttpMatch;
use crate::mesh::Mesh;

use super::{Builder, ProxyIdentity, ProxyRole, SidecarIdentity, sidecar};

/// The labels by which rules choose among clients; all others make no difference to what a sidecar sees of the mesh.
pub fn selecting_labels(mesh: &Mesh) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for held in &mesh.sidecars {
        let selector = held.rule.spec.workload_selector.as_ref();
        names.extend(selector.iter().flat_map(|it| it.labels.keys().cloned()));
    }
    names.extend(mesh.destination_rules.selecting_labels().map(str::to_owned));
    for it in mesh.virtual_services.iter() {
        let of_http = |it: &HttpMatch| it.source_labels.keys().cloned().collect::<Vec<_>>();
        names.extend(it.http.iter().flat_map(|it| it.route.matches.iter().flat_map(of_http)));
        let spec = &it.held.rule.spec;
        names.extend(
            spec.tcp.iter().flat_map(|it| &it.matches).flat_map(|it| it.source_labels.keys().cloned()),
        );
        names.extend(
            spec.tls.iter().flat_map(|it| &it.matches).flat_map(|it| it.source_labels.keys().cloned()),
        );
    }
    names
}

/// What a sidecar's class is known by: an identity without what is its own. None: it is no sidecar.
pub fn class_of(identity: &ProxyIdentity, selecting: &BTreeSet<String>) -> Option<ProxyIdentity> {
    let ProxyRole::Sidecar(sidecar) = &identity.role else { return None };
    let labels = identity.labels.iter().filter(|(name, _)| selecting.contains(*name));
    Some(ProxyIdentity {
        name: String::new(),
        namespace: identity.namespace.clone(),
        owner: String::new(),
        labels: labels.map(|(name, value)| (name.clone(), value.clone())).collect(),
        service_account: String::new(),
        role: ProxyRole::Sidecar(SidecarIdentity {
            ports: Vec::new(),
            clients: Vec::new(),
            ..sidecar.clone()
        }),
    })
}

/// What a class of sidecars sees of the mesh. Destinations that are `known` are taken as built: their names are the second
/// part of the answer, in place of their content.
pub fn shared(
    mesh: &Mesh,
    class: &ProxyIdentity,
    known: &dyn Fn(&str) -> bool,
) -> (Vec<Resource>, BTreeSet<String>) {
    let mut builder = Builder::new(mesh, class);
    builder.known = Some(known);
    sidecar::outbound(&mut builder);
    let kept = std::mem::take(&mut builder.kept);
    let mut resources = builder.finish().resources;
    resources.retain(|it| it.kind() != Kind::Proxy);
    (resources, kept)
}

/// What is a sidecar's own. `taken` are the addresses of the hosts that its class sees.
pub fn own(mesh: &Mesh, identity: &ProxyIdentity, taken: &HashSet<String>) -> Vec<Resource> {
    let ProxyRole::Sidecar(own) = &identity.role else { return Vec::new() };
    let mut builder = Builder::new(mesh, identity);
    builder.taken = Some(taken);
    sidecar::own(&mut builder, own);
    builder.finish().resources
}

/// The addresses of the hosts among resources.
pub fn addresses(resources: &[Resource]) -> HashSet<String> {
    let hosts = resources.iter().filter_map(|it| match it {
        Resource::Host(host) => Some(host.addresses.iter().cloned()),
        _ => None,
    });
    hosts.flatten().collect()
}
