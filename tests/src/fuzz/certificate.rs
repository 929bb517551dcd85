//! Certificates and keys, from files and from peers.

use dromon_auth::certificate::{CertificateInfo, read_chain, to_pem};
use dromon_auth::{Credential, Roots, SpiffeId};

/// Whatever a file or a peer shows is read or refused, and what is read as a chain can be written as one.
pub fn certificate(bytes: &[u8]) {
    if let Ok(info) = CertificateInfo::of(bytes) {
        let _ = info.spiffe_id();
    }
    if let Ok(chain) = read_chain(bytes) {
        let text: String = chain.iter().map(|der| to_pem(der)).collect();
        assert_eq!(read_chain(text.as_bytes()).ok(), Some(chain));
    }
    let _ = Roots::from_pem(bytes);
    let _ = Credential::from_pem(bytes, bytes);
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(id) = text.parse::<SpiffeId>()
    {
        assert_eq!(id.to_string().parse::<SpiffeId>().ok(), Some(id));
    }
}
