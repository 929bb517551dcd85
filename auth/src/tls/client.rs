//! TLS as a client speaks it: sidecars among themselves, and origination towards servers outside the mesh.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::ServerCertVerifier;
use rustls::sign::CertifiedKey;

use crate::credential::Credential;
use crate::identity::Identity;
use crate::options::{Options, OptionsError};
use crate::session::{Kind, Sessions};
use crate::spiffe::Trust;
use crate::verify::Allowed;
use crate::verify::mesh_servers::MeshServers;
use crate::verify::named_servers::Servers;
use crate::verify::servers::Verifier;

/// A sidecar's side towards the sidecars of one service: shows the workload's identity and takes only who may stand behind
/// the service's name.
///
/// # Errors
/// The options ask for what there is not.
pub fn mesh_client(
    identity: &Identity,
    trust: &Trust,
    allowed: &Allowed,
    options: &Options,
    sessions: &Sessions,
) -> Result<Arc<ClientConfig>, OptionsError> {
    let kind = Kind::mesh_client(identity, trust, allowed, options);
    let verifier =
        MeshServers { roots: identity.roots().clone(), trust: trust.clone(), allowed: allowed.clone() };
    build(Arc::new(Verifier(verifier)), Some(identity.credential()), options, kind, sessions)
}

/// Towards a server outside the mesh: SIMPLE without a credential, MUTUAL with one. The name that is asked for (SNI) is
/// given for each connection; with [`Servers::Web`] it is also the name that the server must have.
///
/// # Errors
/// The options ask for what there is not.
pub fn origination(
    servers: &Servers,
    credential: Option<&Credential>,
    options: &Options,
    sessions: &Sessions,
) -> Result<Arc<ClientConfig>, OptionsError> {
    let kind = Kind::origination(servers, credential, options);
    build(Arc::new(Verifier(servers.clone())), credential, options, kind, sessions)
}

fn build(
    verifier: Arc<dyn ServerCertVerifier>,
    credential: Option<&Credential>,
    options: &Options,
    kind: Kind,
    sessions: &Sessions,
) -> Result<Arc<ClientConfig>, OptionsError> {
    sessions.client(kind, || {
        let builder = ClientConfig::builder_with_provider(options.provider()?)
            .with_protocol_versions(&options.versions()?)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match credential {
            Some(credential) => builder.with_client_cert_resolver(Arc::new(Own(credential.certified_key()))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = options.alpn.clone();
        Ok(config)
    })
}

/// Shows one's own certificate whatever the server's hints say: there is only the one.
#[derive(Debug)]
struct Own(Arc<CertifiedKey>);

impl ResolvesClientCert for Own {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
