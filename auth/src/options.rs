//! Which TLS is spoken: versions, cipher suites, key exchange, protocol names.

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{CipherSuite, NamedGroup, SupportedCipherSuite, SupportedProtocolVersion, version};

/// A version of TLS. Older ones do not exist here (RFC 8996).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    #[default]
    Tls13,
}

/// How TLS is spoken at one end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// Oldest version taken.
    pub min_version: Version,
    /// Newest version taken.
    pub max_version: Version,
    /// Protocol names (ALPN), best first; none when empty.
    pub alpn: Vec<Vec<u8>>,
    /// Cipher suites of TLS 1.2 by OpenSSL's or the IANA's name, best first; all sound ones when empty. Those of TLS 1.3
    /// are not chosen, as with Istio.
    pub cipher_suites: Vec<String>,
    /// Offer and take X25519MLKEM768 (a key exchange that a later quantum computer cannot undo).
    pub post_quantum: bool,
}

/// Why options cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// No version is left.
    #[error("the oldest TLS version allowed is newer than the newest")]
    Versions,
    /// A cipher suite is not known or not sound.
    #[error("cipher suite {0:?} is not supported: ECDHE with AES-GCM or ChaCha20 only")]
    CipherSuite(String),
    /// rustls refuses.
    #[error("TLS settings: {0}")]
    Rustls(String),
}

impl From<rustls::Error> for OptionsError {
    fn from(error: rustls::Error) -> OptionsError {
        OptionsError::Rustls(error.to_string())
    }
}

impl Options {
    /// What the parts of the mesh speak among themselves: TLS 1.3 with these protocol names.
    pub fn mesh(alpn: &[&[u8]]) -> Options {
        Options::mesh_from(Version::Tls13, alpn)
    }

    /// What sidecars speak where the mesh allows versions from this one on.
    pub fn mesh_from(min_version: Version, alpn: &[&[u8]]) -> Options {
        Options {
            min_version,
            max_version: Version::Tls13,
            alpn: crate::alpn::list(alpn),
            cipher_suites: Vec::new(),
            post_quantum: true,
        }
    }

    /// What gateways and origination speak unless told otherwise: TLS 1.2 and 1.3.
    pub fn public(alpn: &[&[u8]]) -> Options {
        Options::mesh_from(Version::Tls12, alpn)
    }

    pub(crate) fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>, OptionsError> {
        let allowed = |version| (self.min_version..=self.max_version).contains(&version);
        let mut versions = Vec::new();
        if allowed(Version::Tls13) {
            versions.push(&version::TLS13);
        }
        if allowed(Version::Tls12) {
            versions.push(&version::TLS12);
        }
        if versions.is_empty() { Err(OptionsError::Versions) } else { Ok(versions) }
    }

    pub(crate) fn provider(&self) -> Result<Arc<CryptoProvider>, OptionsError> {
        if self.cipher_suites.is_empty() && self.post_quantum {
            return Ok(provider().clone());
        }
        let mut chosen = CryptoProvider::clone(provider());
        if !self.post_quantum {
            chosen.kx_groups.retain(|group| group.name() != NamedGroup::X25519MLKEM768);
        }
        if !self.cipher_suites.is_empty() {
            chosen.cipher_suites.retain(|suite| suite.tls13().is_some());
            for name in &self.cipher_suites {
                let suite = suite(name).ok_or_else(|| OptionsError::CipherSuite(name.clone()))?;
                chosen.cipher_suites.push(suite);
            }
        }
        Ok(Arc::new(chosen))
    }
}

/// The one set of algorithms: aws-lc-rs, X25519MLKEM768 first, AES-128 before AES-256.
///
/// Browsers, Go and BoringSSL (so Envoy too) prefer TLS_AES_128_GCM_SHA256: RFC 8446 makes it the suite that all must have,
/// nobody breaks 128 bits, and it spares four of fourteen rounds for each block and SHA-384 in the handshake, for which
/// processors have no instructions. A client that puts AES-256 first gets that.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites.sort_by_key(|suite| match suite.suite() {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => 0,
            CipherSuite::TLS13_AES_256_GCM_SHA384 => 1,
            _ => 2,
        });
        Arc::new(provider)
    });
    &PROVIDER
}

fn suite(name: &str) -> Option<SupportedCipherSuite> {
    let wanted = match name {
        "ECDHE-ECDSA-AES128-GCM-SHA256" | "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => {
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        }
        "ECDHE-ECDSA-AES256-GCM-SHA384" | "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => {
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        }
        "ECDHE-ECDSA-CHACHA20-POLY1305" | "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" => {
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        "ECDHE-RSA-AES128-GCM-SHA256" | "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => {
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        }
        "ECDHE-RSA-AES256-GCM-SHA384" | "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => {
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
        }
        "ECDHE-RSA-CHACHA20-POLY1305" | "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" => {
            CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        }
        _ => return None,
    };
    provider().cipher_suites.iter().find(|suite| suite.suite() == wanted).copied()
}
