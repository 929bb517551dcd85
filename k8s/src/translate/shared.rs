//! A sidecar's view in two parts: what all sidecars like it see of the mesh, and what is its own.
//!
//! The first part is nearly all of it and the same for every sidecar of a namespace, unless rules choose clients by their
//! labels. Made and kept once for each such class, it costs what one proxy costs however many there are.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::Ipv4Addr;

use dromon_core::config::model::{Kind, Resource};

use crate::api::virtual_service::HttpMatch;
use crate::diagnostic::Diagnostic;
use crate::mesh::Mesh;

use super::sidecar::Sight;
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
            address: Ipv4Addr::UNSPECIFIED.into(),
            application: Ipv4Addr::UNSPECIFIED.into(),
            ports: Vec::new(),
            outbound: None,
            captured: Vec::new(),
            service_addresses: sidecar.service_addresses.clone(),
            clients: Vec::new(),
        }),
    })
}

/// What a class of sidecars sees of the mesh.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Hosts, their rules, their destinations and what these refer to. In what is seen of some hosts, destinations that are
    /// known are left out.
    pub resources: Vec<Resource>,
    /// Of which host each part is.
    pub parts: BTreeMap<String, Part>,
    /// What came up with destinations, by their names.
    pub diagnostics: BTreeMap<String, Vec<Diagnostic>>,
}

/// What is seen of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Names of what is its own: entries of the index, and rules.
    pub own: Vec<(Kind, String)>,
    /// Names of the destinations that it uses, whether they exist or not, each once; others may use them too.
    pub uses: Box<[String]>,
}

/// What a class sees of the whole mesh.
pub fn whole(mesh: &Mesh, class: &ProxyIdentity) -> Seen {
    let sight = Sight::new(mesh, class);
    let hosts: Vec<&str> = sight.hosts().into_iter().collect();
    seen(mesh, class, &sight, hosts.into_iter(), None)
}

/// What a class sees of some hosts. Destinations that are `known` are taken as built.
pub fn of_hosts<'h>(
    mesh: &Mesh,
    class: &ProxyIdentity,
    hosts: impl Iterator<Item = &'h str>,
    known: &dyn Fn(&str) -> bool,
) -> Seen {
    seen(mesh, class, &Sight::new(mesh, class), hosts, Some(known))
}

fn seen<'h>(
    mesh: &Mesh,
    class: &ProxyIdentity,
    sight: &Sight<'_>,
    hosts: impl Iterator<Item = &'h str>,
    known: Option<&dyn Fn(&str) -> bool>,
) -> Seen {
    let mut builder = Builder::new(mesh, class);
    builder.known = known;
    let mut parts = BTreeMap::new();
    for host in hosts {
        let (index, rules) = (builder.hosts.len(), builder.virtual_hosts.len());
        sight.add(&mut builder, host);
        let index = builder.hosts.iter().skip(index).map(|it| (Kind::Host, it.name.clone()));
        let rules = builder.virtual_hosts.iter().skip(rules).map(|it| (Kind::VirtualHost, it.name.clone()));
        let own = index.chain(rules).collect();
        parts.insert(
            host.to_owned(),
            Part { own, uses: std::mem::take(&mut builder.uses).into_iter().collect() },
        );
    }
    let diagnostics = builder.of_destinations.clone();
    let mut resources = builder.finish().resources;
    resources.retain(|it| it.kind() != Kind::Proxy);
    Seen { resources, parts, diagnostics }
}

/// What is a sidecar's own, with what came up. `taken` are the addresses of the hosts that its class sees.
pub fn own(
    mesh: &Mesh,
    identity: &ProxyIdentity,
    taken: &HashSet<String>,
) -> (Vec<Resource>, Vec<Diagnostic>) {
    let ProxyRole::Sidecar(own) = &identity.role else { return Default::default() };
    let mut builder = Builder::new(mesh, identity);
    builder.taken = Some(taken);
    sidecar::own(&mut builder, own);
    let view = builder.finish();
    (view.resources, view.diagnostics)
}
