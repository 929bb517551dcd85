//! Who a verified peer is.

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::EndEntityCert;

use crate::certificate::{CertificateInfo, sha256};
use crate::failure::PeerError;
use crate::spiffe::SpiffeId;

/// By whose roots a peer's certificate was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vouched {
    /// The mesh's own: a SPIFFE id in it is the mesh's word.
    ByMesh,
    /// Others', such as a gateway's customer: what it says of the mesh's workloads is nothing to the mesh.
    ByOthers,
}

/// A peer whose certificate was verified in this handshake or, for a resumed session, in an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The names of kind URI in its certificate.
    pub uris: Vec<String>,
    /// The workload it is, if it is one and the mesh vouches for that.
    pub id: Option<SpiffeId>,
    /// SHA-256 of its certificate.
    pub hash: [u8; 32],
}

impl Peer {
    /// The peer of a connection by its certificates, as rustls has them after the handshake. A resumed session carries
    /// those of the connection before, so their life is looked at again (`resumed_at` is the time then).
    ///
    /// # Errors
    /// The certificate of a resumed session has expired.
    pub fn of(
        chain: &[CertificateDer<'_>],
        vouched: Vouched,
        resumed_at: Option<UnixTime>,
    ) -> Result<Option<Peer>, PeerError> {
        let Some(leaf) = chain.first() else { return Ok(None) };
        let uris: Vec<String> = uris_of(leaf).unwrap_or_default();
        let id = match (vouched, uris.as_slice()) {
            (Vouched::ByMesh, [uri]) => uri.parse().ok(),
            _ => None,
        };
        if let Some(now) = resumed_at {
            let life_ends = CertificateInfo::of(leaf).map(|info| info.not_after).unwrap_or_default();
            if life_ends < now.as_secs() {
                let presented = uris.first().cloned().unwrap_or_else(|| "the peer".to_owned());
                return Err(PeerError::ExpiredSince { presented });
            }
        }
        Ok(Some(Peer { uris, id, hash: sha256(leaf) }))
    }
}

/// The workload that a certificate names (X509-SVID: exactly one URI, a SPIFFE id).
///
/// # Errors
/// It names none, several, or something that is no workload.
pub fn workload_of(leaf: &CertificateDer<'_>) -> Result<SpiffeId, PeerError> {
    let uris = uris_of(leaf).unwrap_or_default();
    match uris.as_slice() {
        [] => Err(PeerError::NoSan),
        [uri] => uri.parse().map_err(|_| PeerError::NotAWorkload(uri.clone())),
        _ => Err(PeerError::SeveralSans(uris)),
    }
}

fn uris_of(leaf: &CertificateDer<'_>) -> Option<Vec<String>> {
    let leaf = EndEntityCert::try_from(leaf).ok()?;
    Some(leaf.valid_uri_names().map(str::to_owned).collect())
}
