//! What checks of servers have in common: a chain to roots that have not revoked it, and a signature that fits.

use std::fmt::Debug;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationOptionsBuilder,
};

use super::chain::as_unknown_ca;
use crate::options::provider;
use crate::roots::Roots;

/// Which servers are taken, beside the proof that they hold their certificate's key.
pub(crate) trait Rule: Debug + Send + Sync {
    /// Whether this server is one.
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error>;
}

/// A rule as rustls takes it.
#[derive(Debug)]
pub(crate) struct Verifier<R>(pub(crate) R);

impl<R: Rule> ServerCertVerifier for Verifier<R> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.check(end_entity, intermediates, server_name, now).map(|()| ServerCertVerified::assertion())
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

/// Whether a server's chain leads to these roots at this time, and whether their revocation lists, if there are any, have
/// nothing against it.
pub(super) fn led_to(
    roots: &Roots,
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), Error> {
    let parsed = ParsedCertificate::try_from(end_entity)?;
    let algorithms = provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&parsed, &roots.store(), intermediates, now, algorithms)
        .map_err(as_unknown_ca)?;
    unrevoked(roots, end_entity, intermediates, now)
}

/// rustls looks at lists only together with the name asked for, which says nothing of a server that may have another.
fn unrevoked(
    roots: &Roots,
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), Error> {
    let bad_list = |_| Error::from(CertificateError::UnknownRevocationStatus);
    let lists = roots.revocations().iter().map(|list| OwnedCertRevocationList::from_der(list));
    let lists: Vec<CertRevocationList<'_>> =
        lists.map(|list| list.map(Into::into)).collect::<Result<_, _>>().map_err(bad_list)?;
    let lists: Vec<&CertRevocationList<'_>> = lists.iter().collect();
    // Without lists there are no options.
    let Ok(options) = RevocationOptionsBuilder::new(&lists) else { return Ok(()) };
    let options = options.with_expiration_policy(ExpirationPolicy::Enforce).build();
    let leaf = EndEntityCert::try_from(end_entity).map_err(|_| CertificateError::BadEncoding)?;
    let anchors = roots.store();
    let algorithms = provider().signature_verification_algorithms.all;
    let usage = KeyUsage::server_auth();
    let verified =
        leaf.verify_for_usage(algorithms, &anchors.roots, intermediates, now, usage, Some(options), None);
    verified.map(|_| ()).map_err(|error| match error {
        webpki::Error::CertRevoked => CertificateError::Revoked.into(),
        webpki::Error::CrlExpired { time, next_update } => {
            CertificateError::ExpiredRevocationListContext { time, next_update }.into()
        }
        _ => CertificateError::UnknownRevocationStatus.into(),
    })
}
