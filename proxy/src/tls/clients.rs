//! How a destination's endpoints are spoken to.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use dromon_auth::options::Options;
use dromon_auth::tls::client::{mesh_client, origination};
use dromon_auth::verify::named_servers::Servers;
use dromon_auth::verify::{Allowed, Vouched};
use dromon_auth::{Credential, SpiffeId, alpn};
use dromon_core::config::model::{ClientTls, ClientTlsMode};
use dromon_core::config::table::Destination;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::TlsTable;
use super::servers::revoking;
use crate::pool::Offer;
use crate::shard::Shard;

/// A connection is to be made with this.
#[derive(Clone)]
pub struct Secured {
    /// What is offered and checked.
    pub config: Arc<ClientConfig>,
    /// By whose roots the server is checked.
    pub vouched: Vouched,
    /// The name to ask for.
    pub name: ServerName<'static>,
}

/// A shard's client configurations under the table in force.
#[derive(Default)]
pub struct Clients {
    made: RefCell<HashMap<Key, Made>>,
}

/// A destination by its address, which the entry keeps from being taken by another, and how it is to be spoken to.
type Key = (usize, bool, Offer);

struct Made {
    _destination: Arc<Destination>,
    secured: Result<Option<Secured>, Arc<str>>,
}

impl Clients {
    /// How to speak to an endpoint of this destination, which has a sidecar or (`mtls`) has not; none: plaintext.
    ///
    /// # Errors
    /// The settings cannot be carried out; in words for an operator.
    pub fn secured(
        &self,
        shard: &Shard,
        destination: &Arc<Destination>,
        mtls: bool,
        offer: Offer,
    ) -> Result<Option<Secured>, Arc<str>> {
        let Some(settings) = &destination.model.tls else { return Ok(None) };
        if settings.mode == ClientTlsMode::Disable {
            return Ok(None);
        }
        let key = (Arc::as_ptr(destination) as usize, mtls, offer);
        let mut made = self.made.borrow_mut();
        let entry = made.entry(key).or_insert_with(|| Made {
            _destination: destination.clone(),
            secured: shard.tls().client(destination, settings, mtls, offer).map_err(Arc::from),
        });
        entry.secured.clone()
    }

    /// Another table is in force.
    pub fn forget(&self) {
        self.made.borrow_mut().clear();
    }
}

impl TlsTable {
    fn client(
        &self,
        destination: &Destination,
        settings: &ClientTls,
        mtls: bool,
        offer: Offer,
    ) -> Result<Option<Secured>, String> {
        match settings.mode {
            ClientTlsMode::Disable => Ok(None),
            // Whoever has no certificate of the mesh is outside of it and speaks plaintext, as the endpoint may allow.
            ClientTlsMode::Auto if !mtls || self.identity.is_none() => Ok(None),
            ClientTlsMode::Auto | ClientTlsMode::IstioMutual => {
                self.of_mesh(destination, settings, offer).map(Some)
            }
            ClientTlsMode::Simple | ClientTlsMode::Mutual => {
                self.outside(destination, settings, offer).map(Some)
            }
        }
    }

    /// Towards a sidecar of the mesh: whoever answers must be one of the accounts that run the service.
    fn of_mesh(
        &self,
        destination: &Destination,
        settings: &ClientTls,
        offer: Offer,
    ) -> Result<Secured, String> {
        let identity = self.identity.as_ref().ok_or("this proxy has no certificate of the mesh")?;
        let trust = self.trust.as_ref().ok_or("the mesh's trust domain is no trust domain")?;
        let ids: Result<Vec<SpiffeId>, String> = settings
            .identities
            .iter()
            .map(|id| id.parse().map_err(|error| format!("identity {id:?}: {error}")))
            .collect();
        let names = match offer {
            Offer::Tcp => alpn::list(alpn::MESH_TCP_CLIENT),
            Offer::Http1 => alpn::list(alpn::MESH_HTTP1_CLIENT),
            Offer::Http2 => alpn::list(alpn::MESH_H2_CLIENT),
            Offer::Either => [alpn::list(alpn::MESH_H2_CLIENT), alpn::list(alpn::MESH_HTTP1_CLIENT)].concat(),
        };
        let options = Options { alpn: names, ..Options::mesh_from(self.mesh_min_version, &[]) };
        let config = mesh_client(identity, trust, &Allowed::of(ids?), &options, &self.sessions)
            .map_err(|error| error.to_string())?;
        let name = match settings.sni.as_str() {
            "" => destination.model.name.replace('|', "_."),
            sni => sni.to_owned(),
        };
        // What a certificate of the mesh names is an account; the name asked for only tells servers apart.
        let name = server_name(&name).or_else(|_| server_name(host(destination)))?;
        Ok(Secured { config, vouched: Vouched::ByMesh, name })
    }

    /// Towards a server outside the mesh.
    fn outside(
        &self,
        destination: &Destination,
        settings: &ClientTls,
        offer: Offer,
    ) -> Result<Secured, String> {
        let held = destination.credential.as_deref();
        if held.is_none() && !settings.credential.is_empty() {
            return Err(format!("there is no credential {}", settings.credential));
        }
        let roots = || match held.filter(|held| !held.ca.is_empty()) {
            Some(held) => revoking(held),
            None => self.public_roots.clone().unwrap_or_else(|| Err("no public roots were read".to_owned())),
        };
        let servers = match settings.insecure_skip_verify {
            true => Servers::Any,
            false if settings.subject_alt_names.is_empty() => Servers::Web(roots()?),
            false => Servers::Named(roots()?, settings.subject_alt_names.clone()),
        };
        let own = match (settings.mode, held) {
            (ClientTlsMode::Mutual, Some(held)) => Some(
                Credential::from_pem(held.cert_chain.as_bytes(), held.key.pem().as_bytes())
                    .map_err(|error| format!("credential {}: {error}", held.name))?,
            ),
            (ClientTlsMode::Mutual, None) => return Err("mutual TLS names no credential".to_owned()),
            _ => None,
        };
        let names: &[&[u8]] = match offer {
            Offer::Tcp => &[],
            Offer::Http1 => &[alpn::HTTP11],
            Offer::Http2 => &[alpn::H2],
            Offer::Either => &[alpn::H2, alpn::HTTP11],
        };
        let config = origination(&servers, own.as_ref(), &Options::public(names), &self.sessions)
            .map_err(|error| error.to_string())?;
        let name = match settings.sni.as_str() {
            "" => host(destination),
            sni => sni,
        };
        Ok(Secured { config, vouched: Vouched::ByOthers, name: server_name(name)? })
    }
}

/// The host in a destination's name.
fn host(destination: &Destination) -> &str {
    destination.model.name.rsplit('|').next().unwrap_or_default()
}

fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned()).map_err(|_| format!("{name:?} is no server name"))
}
