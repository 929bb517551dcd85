//! The certificate authority: a root made here or plugged in, and the leaves that it issues.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::rand;
use dromon_core::limits::{CERTIFICATE_BACKDATE_S, LEAF_LIFE_S_MAX, ROOT_LIFE_S};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize, SanType,
    SerialNumber, SignatureAlgorithm, SigningKey,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use time::OffsetDateTime;
use zeroize::{Zeroize, Zeroizing};

use crate::certificate::{CertificateError, CertificateInfo, fingerprint, read_chain, to_pem};
use crate::failure::Failure;
use crate::pem::{self, KeyError};
use crate::roots::{Roots, RootsError};
use crate::spiffe::{SpiffeId, TrustDomain};
use crate::verify::chain::verify_chain;

/// Why there is no authority, or no certificate of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// The CA's certificate cannot be read.
    #[error("CA certificate: {0}")]
    Certificate(CertificateError),
    /// The certificates between it and the root cannot be read.
    #[error("CA certificate chain: {0}")]
    Chain(CertificateError),
    /// The CA's key cannot be read.
    #[error("CA key: {0}")]
    Key(#[from] KeyError),
    /// They do not belong together.
    #[error("the CA key is not that of the CA certificate ({0})")]
    Mismatch(String),
    /// The certificate may not issue others.
    #[error("the certificate of {0} is not a CA's (no basicConstraints CA:TRUE)")]
    NotACa(String),
    /// The root cannot be used.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// What it issues would not be believed.
    #[error("certificates of this CA would not be believed by its own root: {}", .0.detail)]
    NotTrusted(Failure),
    /// The CA's own life is over.
    #[error("the CA certificate of {0} has expired: rotate the root, or plug in a new one")]
    Expired(String),
    /// The life asked for is none.
    #[error("a certificate's life is between 1 second and 90 days")]
    Life,
    /// The cryptographic library refuses.
    #[error("cannot make a certificate: {0}")]
    Make(String),
}

impl From<rcgen::Error> for AuthorityError {
    fn from(error: rcgen::Error) -> AuthorityError {
        AuthorityError::Make(error.to_string())
    }
}

/// The kind of a private key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// ECDSA on P-256: small and fast to sign with.
    #[default]
    EcdsaP256,
    /// RSA of 2048 bits, for peers that know nothing else.
    Rsa2048,
}

/// The files of an authority, as Istio's `cacerts` has them.
pub struct AuthorityFiles {
    /// `ca-cert.pem`: the certificate that issues.
    pub certificate: String,
    /// `ca-key.pem`: its key. Wiped when dropped.
    pub key: Zeroizing<String>,
    /// `cert-chain.pem`: from the certificate that issues up to, but without, the root; empty if it is the root.
    pub chain: String,
    /// `root-cert.pem`: the root.
    pub root: String,
}

impl fmt::Debug for AuthorityFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorityFiles").field("root", &self.root).field("key", &"[secret]").finish()
    }
}

/// What a leaf is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whose.
    pub id: SpiffeId,
    /// With which key.
    pub key: KeyKind,
    /// For how long from now; cut to what is left of the CA's own life.
    pub life: Duration,
}

/// A leaf with its key.
pub struct Issued {
    /// `cert-chain.pem`: the leaf, then the certificates up to, but without, the root.
    pub chain: String,
    /// `key.pem`. Wiped when dropped.
    pub key: Zeroizing<String>,
    /// What the leaf says.
    pub info: CertificateInfo,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("leaf", &self.info).field("key", &"[secret]").finish()
    }
}

/// A certificate authority.
pub struct Authority {
    root: CertificateDer<'static>,
    /// Between leaves and the root, the issuing one first; empty if the root issues.
    between: Vec<CertificateDer<'static>>,
    info: CertificateInfo,
    issuer: Issuer<'static, SecretKey>,
}

impl Authority {
    /// Makes a root of this trust domain that issues by itself.
    ///
    /// # Errors
    /// The cryptographic library refuses.
    pub fn new_root(domain: &TrustDomain, now: UnixTime) -> Result<Authority, AuthorityError> {
        let key = SecretKey(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?);
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, domain.as_str());
        // The serial number in the name tells roots of one mesh apart where people see them.
        let serial = serial()?;
        params.distinguished_name.push(DnType::CommonName, format!("Dromon root {}", short(&serial)));
        params.serial_number = Some(serial);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = lifetime(now, ROOT_LIFE_S)?;
        let root = params.self_signed(&key)?.der().clone();
        let info = CertificateInfo::of(&root).map_err(AuthorityError::Certificate)?;
        Ok(Authority { root, between: Vec::new(), info, issuer: Issuer::new(params, key) })
    }

    /// Loads an authority. `chain` may be empty, may or may not hold the issuing certificate and the root: what is missing
    /// is put in, what is too much is left out.
    ///
    /// # Errors
    /// A file cannot be read, they do not belong together, or what it issues would not be believed by its root.
    pub fn from_pem(
        certificate: &[u8],
        key: &[u8],
        chain: &[u8],
        root: &[u8],
        now: UnixTime,
    ) -> Result<Authority, AuthorityError> {
        let own = read_chain(certificate).map_err(AuthorityError::Certificate)?.swap_remove(0);
        let info = CertificateInfo::of(&own).map_err(AuthorityError::Certificate)?;
        if !info.is_ca {
            return Err(AuthorityError::NotACa(info.subject));
        }
        if info.not_after <= now.as_secs() {
            return Err(AuthorityError::Expired(info.subject));
        }
        let key = SecretKey::read(key)?;
        if key.subject_public_key_info() != info.public_key {
            return Err(AuthorityError::Mismatch(info.subject));
        }
        let roots = Roots::from_pem(root)?;
        let further = if chain.trim_ascii().is_empty() {
            Vec::new()
        } else {
            read_chain(chain).map_err(AuthorityError::Chain)?
        };
        let mut between = vec![own.clone()];
        between.extend(further.into_iter().filter(|certificate| *certificate != own));
        between.retain(|certificate| !roots.certificates().contains(certificate));
        let issuer = Issuer::from_ca_cert_der(&own, key)?;
        let mut authority = Authority { root: own, between, info, issuer };
        // A bundle may hold several roots; the authority's is the one that its leaves lead to.
        let mut refused = None;
        for root in roots.certificates() {
            authority.root = root.clone();
            match authority.try_out(now) {
                Ok(()) => return Ok(authority),
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or(AuthorityError::Roots(RootsError::NoneUsable(0))))
    }

    /// Issues a leaf to see whether it would be believed: chain, usages, path length and name constraints at once.
    fn try_out(&self, now: UnixTime) -> Result<(), AuthorityError> {
        let roots = Roots::from_pem(self.root_pem().as_bytes())?;
        let domain =
            TrustDomain::new("try.invalid").map_err(|error| AuthorityError::Make(error.to_string()))?;
        let id =
            SpiffeId::new(&domain, "try", "try").map_err(|error| AuthorityError::Make(error.to_string()))?;
        let wanted = Wanted { id, key: KeyKind::EcdsaP256, life: Duration::from_secs(60) };
        let leaf = self.issue(&wanted, now)?;
        let chain = read_chain(leaf.chain.as_bytes()).map_err(AuthorityError::Chain)?;
        verify_chain(&chain, &roots, now).map_err(AuthorityError::NotTrusted)
    }

    /// The files from which [`Authority::from_pem`] makes it again.
    pub fn files(&self) -> AuthorityFiles {
        let own = self.between.first().unwrap_or(&self.root);
        AuthorityFiles {
            certificate: to_pem(own),
            key: pem::text("PRIVATE KEY", self.issuer.key().0.serialized_der()),
            chain: self.between.iter().map(|certificate| to_pem(certificate)).collect(),
            root: self.root_pem(),
        }
    }

    /// The root as PEM, for bundles.
    pub fn root_pem(&self) -> String {
        to_pem(&self.root)
    }

    /// The root's SHA-256 fingerprint, by which it is known in a change of root.
    pub fn root_fingerprint(&self) -> String {
        fingerprint(&self.root)
    }

    /// Whether it issues below somebody else's root.
    pub fn is_intermediate(&self) -> bool {
        !self.between.is_empty()
    }

    /// What the issuing certificate says.
    pub fn info(&self) -> &CertificateInfo {
        &self.info
    }

    /// Issues a leaf for a workload, with a key made for it: for servers and clients, with the SPIFFE id as its only name
    /// and therefore critical (RFC 5280, section 4.2.1.6), beginning a little in the past for clocks that are slow.
    ///
    /// # Errors
    /// The life is none, the CA has expired, or the cryptographic library refuses.
    pub fn issue(&self, wanted: &Wanted, now: UnixTime) -> Result<Issued, AuthorityError> {
        let uri = wanted.id.as_str().try_into()?;
        self.sign(vec![SanType::URI(uri)], wanted.key, wanted.life, now)
    }

    /// Issues a leaf for a server that is known by DNS names, as the API server knows webhooks.
    ///
    /// # Errors
    /// As of [`Authority::issue`]; or a name cannot be one.
    pub fn issue_server(
        &self,
        names: &[String],
        life: Duration,
        now: UnixTime,
    ) -> Result<Issued, AuthorityError> {
        let names = names.iter().map(|name| Ok(SanType::DnsName(name.as_str().try_into()?)));
        let names = names.collect::<Result<Vec<_>, rcgen::Error>>()?;
        self.sign(names, KeyKind::EcdsaP256, life, now)
    }

    fn sign(
        &self,
        names: Vec<SanType>,
        key: KeyKind,
        life: Duration,
        now: UnixTime,
    ) -> Result<Issued, AuthorityError> {
        let left = self.info.not_after.saturating_sub(now.as_secs());
        if left == 0 {
            return Err(AuthorityError::Expired(self.info.subject.clone()));
        }
        let life = life.as_secs();
        if life == 0 || life > LEAF_LIFE_S_MAX {
            return Err(AuthorityError::Life);
        }
        let key = SecretKey::generate(key)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = names;
        params.serial_number = Some(serial()?);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = lifetime(now, life.min(left))?;
        let leaf = params.signed_by(&key, &self.issuer)?;
        let mut chain = to_pem(leaf.der());
        self.between.iter().for_each(|certificate| chain.push_str(&to_pem(certificate)));
        let info = CertificateInfo::of(leaf.der()).map_err(AuthorityError::Certificate)?;
        Ok(Issued { chain, key: pem::text("PRIVATE KEY", key.0.serialized_der()), info })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("issues_as", &self.info).field("key", &"[secret]").finish()
    }
}

/// A key pair that is wiped when dropped.
struct SecretKey(KeyPair);

impl SecretKey {
    fn generate(kind: KeyKind) -> Result<SecretKey, AuthorityError> {
        Ok(SecretKey(match kind {
            KeyKind::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
            KeyKind::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?,
        }))
    }

    fn read(text: &[u8]) -> Result<SecretKey, AuthorityError> {
        let der = pem::read_key(text)?;
        let key = KeyPair::try_from(&*der).map_err(|_| KeyError::Unsupported)?;
        Ok(SecretKey(key))
    }
}

impl PublicKeyData for SecretKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl SigningKey for SecretKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// From a little before now until `life` from now.
fn lifetime(now: UnixTime, life: u64) -> Result<(OffsetDateTime, OffsetDateTime), AuthorityError> {
    let at = |seconds: u64| {
        i64::try_from(seconds)
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .ok_or(AuthorityError::Life)
    };
    let now = now.as_secs();
    Ok((at(now.saturating_sub(CERTIFICATE_BACKDATE_S))?, at(now.saturating_add(life))?))
}

/// 127 random bits, positive (RFC 5280, section 4.1.2.2).
fn serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| AuthorityError::Make("no randomness".to_owned()))?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn short(serial: &SerialNumber) -> String {
    crate::certificate::hex(serial.to_bytes().get(..4).unwrap_or_default())
}

#[cfg(test)]
mod tests;
