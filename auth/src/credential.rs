//! A certificate chain with its private key, as a server or client shows it.

use std::fmt;
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;

use crate::certificate::{CertificateError, CertificateInfo, read_chain};
use crate::options::provider;
pub use crate::pem::KeyError;
use crate::pem::read_key;

/// Why a chain and a key are no credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The chain cannot be read.
    #[error("certificate chain: {0}")]
    Chain(CertificateError),
    /// The key cannot be read.
    #[error("private key: {0}")]
    Key(#[from] KeyError),
    /// They do not belong together.
    #[error("the private key is not that of the first certificate ({subject})")]
    Mismatch {
        /// Whose certificate it is.
        subject: String,
    },
}

/// A chain with its key. Cheap to clone; the key is in the memory of the cryptographic library only, which wipes it.
#[derive(Clone)]
pub struct Credential {
    key: Arc<CertifiedKey>,
    info: Arc<CertificateInfo>,
}

impl Credential {
    /// Reads a chain (leaf first) and its key from PEM.
    ///
    /// # Errors
    /// One of them cannot be read, or the key is another one's.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Credential, CredentialError> {
        let chain = read_chain(chain).map_err(CredentialError::Chain)?;
        let leaf = chain.first().ok_or(CredentialError::Chain(CertificateError::None))?;
        let info = CertificateInfo::of(leaf).map_err(CredentialError::Chain)?;
        let der = read_key(key)?;
        let signer = provider()
            .key_provider
            .load_private_key(der.clone_key())
            .map_err(|_| CredentialError::Key(KeyError::Unsupported))?;
        // Not CertifiedKey::keys_match: it refuses version 1 certificates, which some private CAs still make.
        let belongs = signer.public_key().is_some_and(|public| public.as_ref() == info.public_key);
        if !belongs {
            return Err(CredentialError::Mismatch { subject: whose(&info) });
        }
        Ok(Credential { key: Arc::new(CertifiedKey::new(chain, signer)), info: Arc::new(info) })
    }

    /// The chain, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    /// What the leaf says.
    pub fn info(&self) -> &CertificateInfo {
        &self.info
    }

    /// As rustls wants it.
    pub fn certified_key(&self) -> Arc<CertifiedKey> {
        self.key.clone()
    }
}

/// The name by which a certificate is best told from others.
pub(crate) fn whose(info: &CertificateInfo) -> String {
    let name = info.uris.first().or(info.dns_names.first());
    name.cloned().unwrap_or_else(|| format!("{} serial {}", info.subject, info.serial))
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("leaf", &self.info).field("key", &"[secret]").finish()
    }
}

#[cfg(test)]
mod tests;
