//! [`Mesh`] and a proxy's identity → the proxy's configuration. Pure and deterministic: equal inputs give equal
//! resources in equal order, so that versions can be told by comparing bodies.
//!
//! A route to something that does not exist is kept and its destination named in [`View::missing`]: the store
//! keeps the last good version until all that a route needs exists, and a proxy answers 503 until then.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use dromon_core::config::model::{self, Resource};

use crate::diagnostic::Diagnostic;
use crate::mesh::Mesh;
use crate::objects::ObjectSet;

mod client_tls;
mod destination;
#[cfg(test)]
mod egress_tests;
mod gateway;
pub(crate) mod gateway_api;
#[cfg(test)]
mod gateway_tests;
mod http;
mod identity;
pub(crate) mod ingress;
mod pods;
mod policy;
mod proxy;
mod rate_limit;
mod retry;
pub mod shared;
mod sidecar;
mod tcp;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;

pub(crate) use gateway::{
    PROXY_PROTOCOL, carries_http, credential, credential_names, served, server_protocol, wants_proxy_protocol,
};
pub(crate) use http::is_authority;
pub(crate) use policy::Effective;
pub(crate) use rate_limit::{direction as rate_limit_direction, hosts as rate_limit_hosts};
pub(crate) use retry::retry_on;

pub use gateway::{GatewayPort, PortProtocol, gateway_ports};
pub use identity::{
    GatewayIdentity, GatewaySelection, PortAt, ProxyIdentity, ProxyRole, ServiceListener, SidecarIdentity,
};

/// A proxy's configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// In feed order of kinds, by name within each.
    pub resources: Vec<Resource>,
    /// Destinations that routes name and that do not exist; port 0 where the route names none.
    pub missing: BTreeSet<String>,
    /// What came up that depends on this proxy; what does not is [`crate::analyze`]'s.
    pub diagnostics: Vec<Diagnostic>,
}

/// One proxy's configuration.
pub fn translate(mesh: &Mesh, identity: &ProxyIdentity) -> View {
    let mut builder = Builder::new(mesh, identity);
    match &identity.role {
        ProxyRole::Sidecar(sidecar) => sidecar::build(&mut builder, sidecar),
        ProxyRole::Gateway(gateway) => gateway::build(&mut builder, gateway),
    }
    builder.finish()
}

/// The destinations of these names and their endpoints, as [`translate`] makes them; names of what does not exist are left
/// out. What it takes after a change of endpoints alone ([`Mesh::since`]).
pub fn destinations<'n>(
    mesh: &Mesh,
    identity: &ProxyIdentity,
    names: impl Iterator<Item = &'n str>,
) -> Vec<Resource> {
    let mut builder = Builder::new(mesh, identity);
    for (host, port, subset) in names.filter_map(model::split_destination_name) {
        builder.destination(host, port, subset);
    }
    let found = builder.destinations.into_values().flatten();
    found.flat_map(|(of, endpoints)| [Resource::Endpoints(endpoints), Resource::Destination(of)]).collect()
}

/// As [`translate`], for a set that is asked once.
pub fn translate_set(set: &ObjectSet, identity: &ProxyIdentity) -> View {
    translate(&Mesh::new(set), identity)
}

/// A view in the making.
struct Builder<'a> {
    mesh: &'a Mesh,
    identity: &'a ProxyIdentity,
    proxy: model::Proxy,
    hosts: Vec<model::Host>,
    virtual_hosts: Vec<model::VirtualHost>,
    rate_limits: Vec<model::RateLimit>,
    /// By name; none: asked for and found missing.
    destinations: BTreeMap<String, Option<(model::Destination, model::Endpoints)>>,
    /// By name; only what is referred to.
    credentials: BTreeMap<String, model::Credential>,
    diagnostics: Vec<Diagnostic>,
    /// What came up with destinations, by their names.
    of_destinations: BTreeMap<String, Vec<Diagnostic>>,
    /// Destinations that need not be built: they are as they were.
    known: Option<&'a dyn Fn(&str) -> bool>,
    /// Destinations asked for, since somebody last took this.
    uses: BTreeSet<String>,
    /// Addresses of hosts that are in another part of the view.
    taken: Option<&'a HashSet<String>>,
}

impl<'a> Builder<'a> {
    fn new(mesh: &'a Mesh, identity: &'a ProxyIdentity) -> Builder<'a> {
        Builder {
            mesh,
            identity,
            proxy: proxy::proxy(mesh, identity),
            hosts: Vec::new(),
            virtual_hosts: Vec::new(),
            rate_limits: Vec::new(),
            destinations: BTreeMap::new(),
            credentials: BTreeMap::new(),
            diagnostics: Vec::new(),
            of_destinations: BTreeMap::new(),
            known: None,
            uses: BTreeSet::new(),
            taken: None,
        }
    }

    /// Makes a destination part of the view; the answer is whether it exists.
    fn destination(&mut self, host: &str, port: u16, subset: &str) -> bool {
        let name = model::destination_name(port, subset, host);
        self.uses.insert(name.clone());
        if let Some(known) = self.destinations.get(&name) {
            return known.is_some();
        }
        if self.known.is_some_and(|known| known(&name)) {
            return true;
        }
        let found = destination::build(self.mesh, self.identity, host, port, subset);
        let found = found.map(|built| {
            if !built.diagnostics.is_empty() {
                self.of_destinations.insert(name.clone(), built.diagnostics);
            }
            built.credential.into_iter().for_each(|it| self.credential(it));
            (built.destination, built.endpoints)
        });
        let exists = found.is_some();
        self.destinations.insert(name, found);
        exists
    }

    /// Makes a credential part of the view. Where one of its name is, asked for other parts, the new parts are added.
    fn credential(&mut self, credential: model::Credential) {
        let known = self.credentials.entry(credential.name.clone()).or_insert_with(|| credential.clone());
        if known.cert_chain.is_empty() {
            (known.cert_chain, known.key) = (credential.cert_chain, credential.key);
        }
        if known.ca.is_empty() {
            (known.ca, known.crl) = (credential.ca, credential.crl);
        }
    }

    fn finish(mut self) -> View {
        self.virtual_hosts.sort_by(|a, b| a.name.cmp(&b.name));
        self.hosts.sort_by(|a, b| a.name.cmp(&b.name));
        self.rate_limits.sort_by(|a, b| a.name.cmp(&b.name));
        let mut missing = BTreeSet::new();
        let mut found = Vec::new();
        for (name, destination) in self.destinations {
            match destination {
                Some(destination) => found.push(destination),
                None => {
                    missing.insert(name);
                }
            }
        }
        let (destinations, endpoints): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let mut resources =
            Vec::with_capacity(1 + 2 * destinations.len() + self.virtual_hosts.len() + self.hosts.len());
        resources.extend(self.credentials.into_values().map(Resource::Credential));
        resources.push(Resource::Proxy(self.proxy));
        resources.extend(endpoints.into_iter().map(Resource::Endpoints));
        resources.extend(destinations.into_iter().map(Resource::Destination));
        resources.extend(self.rate_limits.into_iter().map(Resource::RateLimit));
        resources.extend(self.virtual_hosts.into_iter().map(Resource::VirtualHost));
        resources.extend(self.hosts.into_iter().map(Resource::Host));
        self.diagnostics.extend(self.of_destinations.into_values().flatten());
        self.diagnostics.sort();
        self.diagnostics.dedup();
        View { resources, missing, diagnostics: self.diagnostics }
    }
}
