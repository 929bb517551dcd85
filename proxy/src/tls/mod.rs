//! What a table's TLS settings come to: certificates and rules made into configurations that connections are made with.
//!
//! The steward builds a [`TlsTable`] beside each routing table and the shards get both in one message, so that a new
//! certificate is a swap like any other: connections that stand keep what they were made with. A server's configurations
//! are made ahead, since their mistakes are to be told before a client meets them; a client's are made by each shard when it
//! first connects ([`Clients`]), since most of a large mesh's destinations are never called.

mod clients;
mod servers;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use dromon_auth::options::{Options, Version};
use dromon_auth::{Identity, Roots, Sessions, Trust, TrustDomain, alpn, tls::server};
use dromon_core::config::model::{ClientTlsMode, Proxy};
use dromon_core::config::table::Table;
use rustls::ServerConfig;

pub use clients::Clients;
pub use servers::Served;

/// The TLS side of a table.
#[derive(Default)]
pub struct TlsTable {
    identity: Option<Identity>,
    identity_number: u32,
    trust: Option<Trust>,
    sessions: Arc<Sessions>,
    /// Public roots, where a destination needs them.
    public_roots: Option<Result<Roots, String>>,
    /// Oldest version spoken with other sidecars.
    mesh_min_version: Version,
    /// For connections of other sidecars.
    mesh: Option<Arc<ServerConfig>>,
    /// Of gateway listeners, by name, in the order of their settings.
    servers: HashMap<String, Vec<Served>>,
}

/// What a [`TlsTable`] is made of beside the table.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The proxy's own certificate, if it has one.
    pub identity: Option<Identity>,
    /// What is remembered of earlier handshakes; one for the process's life.
    pub sessions: Arc<Sessions>,
}

impl TlsTable {
    /// Builds what a table asks for. What is wrong with one setting concerns that one only.
    pub fn build(table: &Table, credentials: &Credentials, before: &TlsTable) -> TlsTable {
        let mut made = TlsTable {
            identity: credentials.identity.clone(),
            identity_number: before.identity_number,
            trust: trust(&table.proxy),
            sessions: credentials.sessions.clone(),
            public_roots: needs_public_roots(table)
                .then(|| before.public_roots.clone().unwrap_or_else(servers::public_roots)),
            mesh_min_version: table.proxy.mesh_min_version.map_or_else(Version::default, servers::version),
            mesh: None,
            servers: HashMap::new(),
        };
        if !made.has_identity_of(before) {
            made.identity_number = before.identity_number.wrapping_add(1);
        }
        let is_same = made.identity_number == before.identity_number
            && made.trust == before.trust
            && made.mesh_min_version == before.mesh_min_version
            && Arc::ptr_eq(&made.sessions, &before.sessions);
        made.mesh = match &before.mesh {
            Some(mesh) if is_same => Some(mesh.clone()),
            _ => made.identity.as_ref().zip(made.trust.as_ref()).and_then(|(identity, trust)| {
                let options = Options::mesh_from(made.mesh_min_version, alpn::MESH_SERVER);
                server::mesh_server(identity, trust, &options, &made.sessions).ok()
            }),
        };
        for listener in table.listeners.iter().filter(|it| !it.tls.is_empty()) {
            let old = before.servers.get(&listener.model.name).map_or(&[][..], Vec::as_slice);
            let served =
                listener.tls.iter().enumerate().map(|(at, tls)| made.serve(tls, old.get(at), before));
            made.servers.insert(listener.model.name.clone(), served.collect());
        }
        made
    }

    /// The proxy's own certificate.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Counts the proxy's own certificates and roots: another number says that they are others.
    pub fn identity_number(&self) -> u32 {
        self.identity_number
    }

    /// Whether the proxy's own certificate and roots are what they were.
    fn has_identity_of(&self, before: &TlsTable) -> bool {
        match (&self.identity, &before.identity) {
            (Some(new), Some(old)) => {
                new.info() == old.info() && new.roots().fingerprints() == old.roots().fingerprints()
            }
            (None, None) => true,
            _ => false,
        }
    }

    /// For connections of other sidecars; none without an identity.
    pub fn mesh(&self) -> Option<&Arc<ServerConfig>> {
        self.mesh.as_ref()
    }

    /// A gateway listener's configuration for its TLS settings number `at`.
    pub fn server(&self, listener: &str, at: usize) -> Option<&Served> {
        self.servers.get(listener)?.get(at)
    }

    /// What is wrong with settings of gateway listeners, one line each.
    pub fn problems(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.servers.values().flatten().filter_map(Served::problem).collect();
        lines.sort();
        lines
    }
}

impl fmt::Debug for TlsTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTable").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Whose ids are the mesh's; none where the configured name is no trust domain.
fn trust(proxy: &Proxy) -> Option<Trust> {
    let domain = TrustDomain::new(proxy.trust_domain()).ok()?;
    let aliases = proxy.trust_domain_aliases.iter().filter_map(|alias| TrustDomain::new(alias).ok());
    Some(Trust::new(domain, aliases.collect()))
}

fn needs_public_roots(table: &Table) -> bool {
    table.destinations().any(|destination| {
        let own = destination.credential.as_ref().is_some_and(|credential| !credential.ca.is_empty());
        let originates = |mode| matches!(mode, ClientTlsMode::Simple | ClientTlsMode::Mutual);
        destination.model.tls.as_ref().is_some_and(|tls| originates(tls.mode)) && !own
    })
}

#[cfg(test)]
mod tests;
