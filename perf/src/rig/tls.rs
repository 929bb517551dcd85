//! TLS as the rig's ends speak it: mutual, TLS 1.3, one cipher suite and one key exchange, so that every proxy under test
//! does the same arithmetic. Sessions are not resumed: a new connection is a full handshake. The rig checks of its
//! peers only what TLS itself needs, since it is not what is measured.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use dromon_auth::verify::named_servers;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, version};

/// The files of a workload's identity, in the folder that a sidecar would be given.
const FILES: [&str; 3] = ["cert-chain.pem", "key.pem", "root-cert.pem"];

/// TLS_AES_128_GCM_SHA256 and X25519, which Envoy and Dromon both choose gladly.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    })
}

type Files = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, RootCertStore);

fn read(folder: &Path) -> Result<Files> {
    let [chain, key, roots] = FILES.map(|name| folder.join(name));
    let certificates = |path: &Path| -> Result<Vec<CertificateDer<'static>>> {
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
        read.with_context(|| format!("reading {}", path.display()))
    };
    let mut store = RootCertStore::empty();
    for root in certificates(&roots)? {
        store.add(root)?;
    }
    let key = PrivateKeyDer::from_pem_file(&key).with_context(|| format!("reading {}", key.display()))?;
    Ok((certificates(&chain)?, key, store))
}

/// A client with the identity in `folder`.
pub fn client(folder: &Path) -> Result<Arc<ClientConfig>> {
    let (chain, key, _) = read(folder)?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(named_servers::any())
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"istio-http/1.1".to_vec(), b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A client of the controller's feed with the identity in `folder`: the key exchange is what a proxy's is.
pub fn feed_client(folder: &Path) -> Result<Arc<ClientConfig>> {
    let (chain, key, _) = read(folder)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(named_servers::any())
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A server with the identity in `folder` that wants certificates of the same roots from its clients.
pub fn server(folder: &Path) -> Result<Arc<ServerConfig>> {
    let (chain, key, roots) = read(folder)?;
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"istio-http/1.1".to_vec(), b"http/1.1".to_vec(), b"istio".to_vec()];
    Ok(Arc::new(config))
}

/// The name that the rig asks for; certificates of workloads have none.
pub fn server_name() -> ServerName<'static> {
    ServerName::try_from("lab.example").unwrap_or_else(|_| unreachable!())
}
