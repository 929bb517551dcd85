//! What TLS origination asks of a server outside the mesh.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::EndEntityCert;

use super::allowed::list;
use super::chain::as_unknown_ca;
use crate::failure::PeerError;
use crate::options::provider;
use crate::roots::Roots;

/// Which servers are taken.
#[derive(Clone, Debug)]
pub enum Servers {
    /// Those whom these roots vouch for under the name that is asked for.
    Web(Roots),
    /// Those whom these roots vouch for and who have one of these names: DNS names (a certificate's wildcard matches as
    /// in RFC 9525, section 6.3), IP addresses, or URIs.
    Named(Roots, Vec<String>),
    /// Any, whoever it is: `insecureSkipVerify`.
    Any,
}

#[derive(Debug)]
pub(crate) struct ServerVerifier(pub(crate) Servers);

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let roots = match &self.0 {
            Servers::Any => return Ok(ServerCertVerified::assertion()),
            Servers::Web(roots) | Servers::Named(roots, _) => roots.store(),
        };
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, intermediates, now, algorithms)
            .map_err(as_unknown_ca)?;
        match &self.0 {
            Servers::Named(_, names) if !names.is_empty() => has_one_of(end_entity, names)?,
            _ => verify_server_name(&parsed, server_name)?,
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a certificate has one of these names.
pub(super) fn has_one_of(certificate: &CertificateDer<'_>, names: &[String]) -> Result<(), Error> {
    let parsed = EndEntityCert::try_from(certificate)
        .map_err(|_| Error::from(rustls::CertificateError::BadEncoding))?;
    let uris: Vec<&str> = parsed.valid_uri_names().collect();
    let is_named = |name: &String| {
        uris.contains(&name.as_str())
            || ServerName::try_from(name.as_str())
                .is_ok_and(|name| parsed.verify_is_valid_for_subject_name(&name).is_ok())
    };
    if names.iter().any(is_named) {
        return Ok(());
    }
    let presented: Vec<&str> = uris.into_iter().chain(parsed.valid_dns_names()).collect();
    if presented.is_empty() {
        return Err(PeerError::NoSan.into());
    }
    let expected = list(names.iter().map(String::as_str));
    Err(PeerError::NotExpected { presented: list(presented.into_iter()), expected }.into())
}
