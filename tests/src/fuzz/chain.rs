//! Chains that a peer shows, against a root that is believed.

use std::sync::OnceLock;
use std::time::Duration;

use dromon_auth::Roots;
use dromon_auth::certificate::to_pem;
use dromon_auth::verify::chain::verify_chain;
use dromon_auth::verify::{Peer, Vouched, workload_of};
use rustls_pki_types::{CertificateDer, UnixTime};

/// The root of the corpus: its private key is gone, so nothing but the corpus's leaf can lead to it.
const ROOT: &[u8] = include_bytes!("chain_root.der");
/// The chain of a leaf and an intermediate.
const WHOLE: &[u8] = include_bytes!("../../fuzz/corpus/certificate_chain/whole");
/// 2030 and 2200: the corpus's certificates are of a hundred years.
const OF_TIME_S: u64 = 1_893_456_000;
const TOO_LATE_S: u64 = 7_258_118_400;

/// Certificates as a handshake has them: each behind its length in three bytes (RFC 8446, 4.4.2, without extensions).
fn read(bytes: &[u8]) -> Vec<CertificateDer<'_>> {
    let mut rest = bytes;
    let mut chain = Vec::new();
    while let Some(([high, mid, low], after)) = rest.split_first_chunk() {
        let length = usize::from(*high) << 16 | usize::from(*mid) << 8 | usize::from(*low);
        let (der, next) = after.split_at(length.min(after.len()));
        chain.push(CertificateDer::from(der));
        rest = next;
    }
    chain
}

/// What is signed of a certificate: the first part of the outer sequence (RFC 5280, 4.1), whose length takes two bytes.
fn signed_part(der: &[u8]) -> &[u8] {
    let length = usize::from(der[6]) << 8 | usize::from(der[7]);
    &der[4..8 + length]
}

/// Nobody is believed but whom the root's holder has vouched for, and he only while he may be.
pub fn certificate_chain(bytes: &[u8]) {
    static ROOTS: OnceLock<Roots> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| Roots::from_pem(to_pem(ROOT).as_bytes()).expect("a root"));
    let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let chain = read(bytes);
    let believed = verify_chain(&chain, roots, at(OF_TIME_S)).is_ok();
    if believed {
        let real = signed_part(&read(WHOLE)[0]).to_vec();
        assert!(chain[0].windows(real.len()).any(|part| part == real), "a leaf that nobody has signed");
    }
    assert!(believed || bytes != WHOLE, "the corpus's own chain");
    assert!(verify_chain(&chain, roots, at(TOO_LATE_S)).is_err(), "an expired leaf");
    let workload = chain.first().map(workload_of);
    let peer = Peer::of(&chain, Vouched::ByMesh, None).expect("only a resumed session's life is looked at");
    let id = peer.and_then(|peer| peer.id);
    assert_eq!(id, workload.and_then(Result::ok), "who a peer is does not depend on who asks");
}
