//! What VirtualServices name, and what of it does not exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use dromon_k8s::api::virtual_service::Destination;
use dromon_k8s::mesh::destination_rules::{Client, Policy};
use dromon_k8s::mesh::{HeldVirtualService, Mesh, host};
use dromon_k8s::objects::Key;

/// A subset that the routes of a namespace name. Who asks matters: a client's own DestinationRules come first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SubsetName {
    /// The namespace of the routes.
    pub(super) client: String,
    /// The host's full name.
    pub(super) host: String,
    /// The subset.
    pub(super) subset: String,
}

/// Something that is named and does not exist.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Missing {
    /// A host.
    Host(String),
    /// A port of a host.
    Port(u16, String),
    /// A subset of a host.
    Subset(SubsetName),
    /// A VirtualService to delegate to.
    Delegate(Key),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Host(host) => write!(f, "host {host}"),
            Missing::Port(port, host) => write!(f, "port {port} of {host}"),
            Missing::Subset(name) => write!(f, "subset {} of {}", name.subset, name.host),
            Missing::Delegate(key) => write!(f, "{key} to delegate to"),
        }
    }
}

/// VirtualServices that name what does not exist, with what that is.
pub(super) type Unmet = BTreeMap<Key, BTreeSet<Missing>>;

/// All of them.
pub(super) fn unmet(mesh: &Mesh) -> Unmet {
    mesh.virtual_services.iter().filter_map(|it| unmet_of(mesh, it)).collect()
}

/// The same, of a mesh that differs from that of `before` in nothing that can be named, and in these VirtualServices.
pub(super) fn unmet_since(mesh: &Mesh, before: &Unmet, changed: &BTreeSet<Key>) -> Unmet {
    let delegates = |it: &HeldVirtualService| {
        let spec = &it.held.rule.spec;
        spec.hosts.is_empty() || spec.http.iter().any(|it| it.delegate.is_some())
    };
    // What one says others may delegate to.
    if mesh.virtual_services.iter().any(|it| delegates(it)) {
        return unmet(mesh);
    }
    let kept = before.iter().filter(|(key, _)| !changed.contains(key));
    let kept = kept.map(|(key, missing)| (key.clone(), missing.clone()));
    let new = mesh.virtual_services.iter().filter(|it| changed.contains(&it.held.key));
    kept.chain(new.filter_map(|it| unmet_of(mesh, it))).collect()
}

fn unmet_of(mesh: &Mesh, it: &HeldVirtualService) -> Option<(Key, BTreeSet<Missing>)> {
    let mut missing: BTreeSet<Missing> = destinations(it)
        .filter_map(|(namespace, destination)| absent(mesh, namespace, destination))
        .collect();
    missing.extend(it.lost_delegates.iter().map(|key| Missing::Delegate(key.clone())));
    (!missing.is_empty()).then(|| (it.held.key.clone(), missing))
}

/// The subsets that routes name, each with the VirtualServices that do.
pub(super) fn subsets(mesh: &Mesh) -> BTreeMap<SubsetName, BTreeSet<Key>> {
    let mut named: BTreeMap<SubsetName, BTreeSet<Key>> = BTreeMap::new();
    for it in mesh.virtual_services.iter() {
        for (namespace, destination) in destinations(it).filter(|(_, it)| !it.subset.is_empty()) {
            named.entry(subset_name(namespace, destination)).or_default().insert(it.held.key.clone());
        }
    }
    named
}

/// The policy that holds for such clients of the host.
pub(super) fn policy<'a>(mesh: &'a Mesh, name: &SubsetName) -> Option<&'a Policy> {
    let labels = BTreeMap::new();
    let client = Client { namespace: &name.client, labels: &labels };
    let service = mesh.service(&name.host, &name.client)?;
    mesh.destination_rules.find(&client, &name.host, &service.namespace, &mesh.root_namespace)
}

/// Every destination, with the namespace in which its names are meant; delegated routes included.
fn destinations(it: &HeldVirtualService) -> impl Iterator<Item = (&str, &Destination)> {
    let http = it
        .http
        .iter()
        .flat_map(|route| route.route.route.iter().map(|to| (route.namespace.as_str(), &to.destination)));
    let own = it.held.key.namespace.as_str();
    let tcp = it.held.rule.spec.tcp.iter().flat_map(|rule| &rule.route);
    http.chain(tcp.map(move |to| (own, &to.destination)))
}

fn subset_name(client: &str, destination: &Destination) -> SubsetName {
    SubsetName {
        client: client.to_owned(),
        host: host::resolve(&destination.host, client),
        subset: destination.subset.clone(),
    }
}

/// What of a destination does not exist, if anything.
fn absent(mesh: &Mesh, namespace: &str, destination: &Destination) -> Option<Missing> {
    let host = host::resolve(&destination.host, namespace);
    let Some(service) = mesh.service(&host, namespace) else { return Some(Missing::Host(host)) };
    if let Some(port) = destination.port
        && service.port(port.number).is_none()
    {
        return Some(Missing::Port(port.number, host));
    }
    if destination.subset.is_empty() {
        return None;
    }
    let name = subset_name(namespace, destination);
    let known = policy(mesh, &name).is_some_and(|policy| policy.subset(&name.subset).is_some());
    (!known).then_some(Missing::Subset(name))
}
