//! A workload's own identity: chain, key and the roots that it believes.

use rustls_pki_types::UnixTime;

use crate::certificate::CertificateInfo;
use crate::credential::{Credential, CredentialError, whose};
use crate::failure::Reason;
use crate::roots::{Roots, RootsError};
use crate::spiffe::SpiffeId;
use crate::verify::chain::verify_chain;

/// File of the certificate chain, leaf first, in a directory of certificates.
pub const CHAIN_FILE: &str = "cert-chain.pem";
/// File of the private key.
pub const KEY_FILE: &str = "key.pem";
/// File of the roots to believe.
pub const ROOTS_FILE: &str = "root-cert.pem";

/// Why files are no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The chain or the key.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The roots.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The leaf is nobody's in the mesh.
    #[error("the certificate of {whose} has no name of the form spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT")]
    NoSpiffeId {
        /// The best name there is.
        whose: String,
    },
    /// It would not be believed by those who believe the same roots.
    #[error("the certificate of {id} is not good by its own roots: {text}")]
    NotTrusted {
        /// Whose it is.
        id: SpiffeId,
        /// Why it is not.
        reason: Reason,
        /// What is wrong.
        text: String,
    },
}

impl IdentityError {
    /// Nothing is wrong but the time: it is not valid yet, or not any more by this clock.
    pub fn is_of_time(&self) -> bool {
        let IdentityError::NotTrusted { reason, .. } = self else { return false };
        matches!(reason, Reason::NotYetValid | Reason::Expired)
    }
}

/// A workload's identity. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Identity {
    credential: Credential,
    roots: Roots,
    id: SpiffeId,
}

impl Identity {
    /// Reads the three files of a workload ([`CHAIN_FILE`], [`KEY_FILE`], [`ROOTS_FILE`]).
    ///
    /// # Errors
    /// One cannot be read, chain and key do not belong together, or the leaf has no SPIFFE id.
    pub fn from_pem(chain: &[u8], key: &[u8], roots: &[u8]) -> Result<Identity, IdentityError> {
        let credential = Credential::from_pem(chain, key)?;
        let roots = Roots::from_pem(roots)?;
        let id = credential
            .info()
            .spiffe_id()
            .ok_or_else(|| IdentityError::NoSpiffeId { whose: whose(credential.info()) })?;
        Ok(Identity { credential, roots, id })
    }

    /// Whether others of the same roots would believe it now.
    ///
    /// # Errors
    /// It has expired, is not valid yet, or leads to none of the roots.
    pub fn check(&self, now: UnixTime) -> Result<(), IdentityError> {
        verify_chain(self.credential.chain(), &self.roots, now).map_err(|failure| IdentityError::NotTrusted {
            id: self.id.clone(),
            reason: failure.reason,
            text: failure.detail,
        })
    }

    /// Who it is.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// What its certificate says: serial number, life, issuer.
    pub fn info(&self) -> &CertificateInfo {
        self.credential.info()
    }

    /// Chain and key.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Whom it believes.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }
}

#[cfg(test)]
mod tests;
