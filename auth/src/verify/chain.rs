//! Whether a chain leads to roots, outside a handshake.

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::failure::{Failure, Reason};
use crate::options::provider;
use crate::roots::Roots;

/// Whether a server of this chain (leaf first) would be believed at this time by whoever believes these roots.
///
/// # Errors
/// It would not; the failure says why.
pub fn verify_chain(chain: &[CertificateDer<'_>], roots: &Roots, now: UnixTime) -> Result<(), Failure> {
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Err(Failure::new(Reason::NoCertificate, "the chain is empty"));
    };
    let leaf = ParsedCertificate::try_from(leaf).map_err(|error| Failure::of(&error))?;
    let algorithms = provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&leaf, &roots.store(), intermediates, now, algorithms)
        .map_err(|error| Failure::of(&as_unknown_ca(error)))
}

/// A chain whose signature does not fit a root of the right name leads to another CA of that name: nobody whom we believe.
pub(crate) fn as_unknown_ca(error: Error) -> Error {
    match error {
        Error::InvalidCertificate(CertificateError::BadSignature) => CertificateError::UnknownIssuer.into(),
        other => other,
    }
}
