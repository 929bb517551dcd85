//! TLS as a server speaks it: sidecars and gateways.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::sni::CredentialsBySni;
use crate::credential::Credential;
use crate::identity::Identity;
use crate::options::{Options, OptionsError};
use crate::session::{Kind, Sessions};
use crate::spiffe::Trust;
use crate::verify::clients::Clients;

/// A sidecar's side towards other sidecars: shows the workload's identity and lets in workloads of the mesh only.
/// PERMISSIVE is the same: whether a client speaks TLS at all is seen before.
///
/// # Errors
/// The options ask for what there is not.
pub fn mesh_server(
    identity: &Identity,
    trust: &Trust,
    options: &Options,
    sessions: &Sessions,
) -> Result<Arc<ServerConfig>, OptionsError> {
    let clients = Clients::Mesh { roots: identity.roots().clone(), trust: trust.clone() };
    let shown = identity.info().fingerprint.as_bytes();
    let resolver = SingleCertAndKey::from(CertifiedKey::clone(&identity.credential().certified_key()));
    build(Arc::new(resolver), shown, &clients, options, sessions)
}

/// A gateway's side towards its clients, with the certificate by the name that they ask for.
///
/// # Errors
/// The options ask for what there is not.
pub fn gateway_server(
    credentials: Arc<CredentialsBySni>,
    clients: &Clients,
    options: &Options,
    sessions: &Sessions,
) -> Result<Arc<ServerConfig>, OptionsError> {
    let shown = credentials.fingerprint().to_vec();
    build(credentials, &shown, clients, options, sessions)
}

/// A server that asks nobody who they are: the controller's webhooks, which the API server calls without a certificate.
///
/// # Errors
/// The options ask for what there is not.
pub fn open_server(credential: &Credential, options: &Options) -> Result<Arc<ServerConfig>, OptionsError> {
    let resolver = SingleCertAndKey::from(CertifiedKey::clone(&credential.certified_key()));
    let mut config = ServerConfig::builder_with_provider(options.provider()?)
        .with_protocol_versions(&options.versions()?)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = options.alpn.clone();
    Ok(Arc::new(config))
}

fn build(
    resolver: Arc<dyn ResolvesServerCert>,
    shown: &[u8],
    clients: &Clients,
    options: &Options,
    sessions: &Sessions,
) -> Result<Arc<ServerConfig>, OptionsError> {
    sessions.server(Kind::server(shown, clients, options), || {
        let mut config = ServerConfig::builder_with_provider(options.provider()?)
            .with_protocol_versions(&options.versions()?)?
            .with_client_cert_verifier(clients.verifier()?)
            .with_cert_resolver(resolver);
        config.alpn_protocols = options.alpn.clone();
        Ok(config)
    })
}
