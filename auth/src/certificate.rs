//! What a certificate says, for people and for plans.
//!
//! This is not verification: nothing here makes a certificate trustworthy ([`crate::verify`] does).

use aws_lc_rs::digest;
use dromon_core::limits::CHAIN_CERTIFICATES_MAX;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::pem;
use crate::spiffe::SpiffeId;

/// Why bytes are no certificates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not PEM, or cut off.
    #[error("it is no PEM text: {0}")]
    Pem(String),
    /// There is no certificate in it.
    #[error("it has no certificate (-----BEGIN CERTIFICATE-----)")]
    None,
    /// More than a chain may have.
    #[error("it has more certificates than a chain may have (16)")]
    TooMany,
    /// A certificate cannot be read.
    #[error("its certificate number {number} cannot be read: {text}")]
    Broken {
        /// Counted from 1.
        number: usize,
        /// What is wrong.
        text: String,
    },
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Its names of kind URI.
    pub uris: Vec<String>,
    /// Its names of kind DNS.
    pub dns_names: Vec<String>,
    /// Its subject, in RFC 4514's way; empty for a workload's.
    pub subject: String,
    /// Its issuer's subject.
    pub issuer: String,
    /// Its serial number in hexadecimal digits.
    pub serial: String,
    /// First second of its life, since the Unix epoch.
    pub not_before: u64,
    /// Last second of its life, since the Unix epoch.
    pub not_after: u64,
    /// It may vouch for others.
    pub is_ca: bool,
    /// SHA-256 of the whole certificate in hexadecimal digits.
    pub fingerprint: String,
    /// Its public key with its algorithm (SubjectPublicKeyInfo), DER.
    pub(crate) public_key: Vec<u8>,
}

impl CertificateInfo {
    /// Reads one certificate.
    ///
    /// # Errors
    /// It is not a certificate, or has bytes after its end.
    pub fn of(der: &[u8]) -> Result<CertificateInfo, CertificateError> {
        let broken = |text: String| CertificateError::Broken { number: 1, text };
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|error| broken(error.to_string()))?;
        if !rest.is_empty() {
            return Err(broken("bytes follow its end".to_owned()));
        }
        let names = parsed.subject_alternative_name().map_err(|error| broken(error.to_string()))?;
        let (mut uris, mut dns_names) = (Vec::new(), Vec::new());
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
                _ => {}
            }
        }
        let validity = parsed.validity();
        Ok(CertificateInfo {
            uris,
            dns_names,
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            serial: hex(parsed.raw_serial()),
            not_before: u64::try_from(validity.not_before.timestamp()).unwrap_or_default(),
            not_after: u64::try_from(validity.not_after.timestamp()).unwrap_or_default(),
            is_ca: parsed.is_ca(),
            fingerprint: fingerprint(der),
            public_key: parsed.public_key().raw.to_vec(),
        })
    }

    /// The workload identity it gives, if it has exactly one URI (X509-SVID, section 2) and that is of the mesh's form.
    pub fn spiffe_id(&self) -> Option<SpiffeId> {
        match self.uris.as_slice() {
            [uri] => uri.parse().ok(),
            _ => None,
        }
    }
}

/// SHA-256 of a certificate in hexadecimal digits, as `openssl x509 -fingerprint -sha256` has it without the colons.
pub fn fingerprint(der: &[u8]) -> String {
    hex(&sha256(der))
}

/// SHA-256 of a certificate.
pub(crate) fn sha256(der: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.iter_mut().zip(digest::digest(&digest::SHA256, der).as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

/// Reads the certificates of a PEM text, in its order.
///
/// # Errors
/// It is no PEM, holds no certificate, too many, or one that cannot be read.
pub fn read_chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain = read_all(text)?;
    if chain.len() > CHAIN_CERTIFICATES_MAX {
        return Err(CertificateError::TooMany);
    }
    for (index, certificate) in chain.iter().enumerate() {
        CertificateInfo::of(certificate).map_err(|error| match error {
            CertificateError::Broken { text, .. } => CertificateError::Broken { number: index + 1, text },
            other => other,
        })?;
    }
    Ok(chain)
}

/// The certificates of a PEM text as they stand there.
pub(crate) fn read_all(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    pem::check(text).map_err(CertificateError::Pem)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|error| CertificateError::Pem(error.to_string()))?;
    if found.is_empty() { Err(CertificateError::None) } else { Ok(found) }
}

/// The PEM text of a certificate.
pub fn to_pem(der: &[u8]) -> String {
    pem::text("CERTIFICATE", der).to_string()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
