//! What a server asks of its clients' certificates.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::allowed::Allowed;
use super::believed::Believed;
use super::chain::as_unknown_ca;
use super::named_servers::has_one_of;
use super::peer::workload_of;
use crate::options::{OptionsError, provider};
use crate::roots::Roots;
use crate::spiffe::Trust;

/// Whom a server lets in.
#[derive(Clone, Debug)]
pub enum Clients {
    /// Anybody; no certificate is asked for.
    Anyone,
    /// Workloads of the mesh.
    Mesh {
        /// Whom the mesh believes.
        roots: Roots,
        /// Whose ids are the mesh's.
        trust: Trust,
    },
    /// Whoever these roots vouch for and have not revoked, and has one of these names (any, if there are none).
    Known {
        /// Who vouches.
        roots: Roots,
        /// Names as [`super::named_servers::Servers::Named`] has them.
        names: Vec<String>,
        /// Clients without a certificate are let in as well; one with a bad certificate never.
        optional: bool,
    },
}

impl Clients {
    pub(crate) fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, OptionsError> {
        let (roots, optional, rule) = match self {
            Clients::Anyone => return Ok(WebPkiClientVerifier::no_client_auth()),
            Clients::Mesh { roots, trust } => (roots, false, Rule::Mesh(trust.clone())),
            Clients::Known { roots, names, optional } => (roots, *optional, Rule::Names(names.clone())),
        };
        let chain = WebPkiClientVerifier::builder_with_provider(roots.store(), provider().clone());
        let chain = chain.with_crls(roots.revocations().iter().cloned()).enforce_revocation_expiration();
        let chain = if optional { chain.allow_unauthenticated() } else { chain };
        // Sidecars have one certificate and need no hint which to show; the hints would only make the handshake longer.
        let chain = if matches!(rule, Rule::Mesh(_)) { chain.clear_root_hint_subjects() } else { chain };
        let chain = chain.build().map_err(|error| OptionsError::Rustls(error.to_string()))?;
        // A revocation list says no from some day on, so what it lets in is looked at each time.
        let believed = roots.revocations().is_empty().then(Believed::default);
        Ok(Arc::new(Verifier { chain, rule, believed }))
    }
}

#[derive(Debug)]
enum Rule {
    Mesh(Trust),
    Names(Vec<String>),
}

#[derive(Debug)]
struct Verifier {
    chain: Arc<dyn ClientCertVerifier>,
    rule: Rule,
    /// Whom it has let in already; none where that may change with time.
    believed: Option<Believed>,
}

impl Verifier {
    /// Whether the chain leads to the roots and the leaf has a name that is let in.
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        self.chain.verify_client_cert(end_entity, intermediates, now).map_err(as_unknown_ca)?;
        match &self.rule {
            Rule::Mesh(trust) => Allowed::AnyOfMesh.check(&workload_of(end_entity)?, trust)?,
            Rule::Names(names) if names.is_empty() => {}
            Rule::Names(names) => has_one_of(end_entity, names)?,
        }
        Ok(())
    }
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.chain.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let check = || self.check(end_entity, intermediates, now);
        match &self.believed {
            Some(believed) => believed.or_verify(end_entity, intermediates, now, check)?,
            None => check()?,
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
