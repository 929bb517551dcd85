//! Who is believed: a bundle of root certificates.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use crate::certificate::{CertificateError, CertificateInfo, fingerprint, read_all, read_chain};
use crate::pem;

/// Where distributions keep the bundle of public roots, in the order to try.
pub const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Why a bundle is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootsError {
    /// It cannot be read.
    #[error("root certificates: {0}")]
    Read(#[from] CertificateError),
    /// A certificate cannot vouch for others.
    #[error("root certificates: number {number} ({subject}) cannot be a root: {text}")]
    Unusable {
        /// Counted from 1.
        number: usize,
        /// Whose it is.
        subject: String,
        /// What is wrong.
        text: String,
    },
    /// Revocation lists were given and none can be read, or not all.
    #[error("revocation lists: {0}")]
    Revocations(String),
    /// Not one of many can be used.
    #[error("root certificates: none of {0} can be used")]
    NoneUsable(usize),
}

/// A bundle of roots. Cheap to clone.
#[derive(Clone)]
pub struct Roots {
    store: Arc<RootCertStore>,
    fingerprints: Arc<BTreeSet<String>>,
    certificates: Arc<[CertificateDer<'static>]>,
    revocations: Arc<[CertificateRevocationListDer<'static>]>,
}

impl Roots {
    /// Reads a bundle of which every certificate must be usable: a mesh's own.
    ///
    /// # Errors
    /// A certificate cannot be read or used, or there is none.
    pub fn from_pem(pem: &[u8]) -> Result<Roots, RootsError> {
        let mut store = RootCertStore::empty();
        let mut fingerprints = BTreeSet::new();
        let all = read_chain(pem)?;
        for (index, root) in all.iter().enumerate() {
            let unusable = |text: String| {
                let subject = CertificateInfo::of(root).map(|info| info.subject).unwrap_or_default();
                RootsError::Unusable { number: index + 1, subject, text }
            };
            let name = fingerprint(root);
            store.add(root.clone()).map_err(|error| unusable(error.to_string()))?;
            fingerprints.insert(name);
        }
        Ok(Roots {
            store: Arc::new(store),
            fingerprints: Arc::new(fingerprints),
            certificates: all.into(),
            revocations: Arc::from([]),
        })
    }

    /// Reads a bundle and leaves out what cannot be used: a system's public roots, or what a user was given.
    ///
    /// # Errors
    /// Nothing in it can be used.
    pub fn from_bundle(pem: &[u8]) -> Result<Roots, RootsError> {
        let all = read_all(pem)?;
        let known = all.len();
        let mut store = RootCertStore::empty();
        let mut fingerprints = BTreeSet::new();
        for root in all {
            let name = fingerprint(&root);
            if store.add(root).is_ok() {
                fingerprints.insert(name);
            }
        }
        // The whole of a large bundle need not be kept twice: nobody asks for its certificates.
        let certificates = Arc::from([]);
        if store.is_empty() {
            return Err(RootsError::NoneUsable(known));
        }
        Ok(Roots {
            store: Arc::new(store),
            fingerprints: Arc::new(fingerprints),
            certificates,
            revocations: Arc::from([]),
        })
    }

    /// The same roots with what they have revoked, in PEM; nothing where the text is empty. With lists every certificate below a
    /// root has to be in the care of one that is not out of date.
    ///
    /// # Errors
    /// The text holds no list, or one that cannot be read.
    pub fn with_revocations(self, pem: &[u8]) -> Result<Roots, RootsError> {
        if pem.trim_ascii().is_empty() {
            return Ok(self);
        }
        pem::check(pem).map_err(RootsError::Revocations)?;
        let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem).collect();
        let lists = lists.map_err(|error| RootsError::Revocations(error.to_string()))?;
        if lists.is_empty() {
            return Err(RootsError::Revocations("there is none (-----BEGIN X509 CRL-----)".to_owned()));
        }
        Ok(Roots { revocations: lists.into(), ..self })
    }

    /// The revocation lists in DER.
    pub(crate) fn revocations(&self) -> &[CertificateRevocationListDer<'static>] {
        &self.revocations
    }

    /// The SHA-256 fingerprints of the roots.
    pub fn fingerprints(&self) -> &BTreeSet<String> {
        &self.fingerprints
    }

    /// The roots of a mesh's bundle; none of one that was read by [`Roots::from_bundle`].
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    pub(crate) fn store(&self) -> Arc<RootCertStore> {
        self.store.clone()
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Roots").field(&self.fingerprints).finish()
    }
}
