use super::*;
use crate::testing::{Forge, authority, dns, id, issue, uri};
use rustls_pki_types::UnixTime;

#[test]
fn a_leaf_says_whose_it_is_and_until_when() {
    let authority = authority();
    let leaf = issue(&authority, id("reviews"), UnixTime::now());
    let info = leaf.info;
    assert_eq!(info.spiffe_id(), Some(id("reviews")));
    assert_eq!(info.issuer, authority.info().subject);
    assert_eq!(info.subject, "");
    assert!(!info.is_ca && authority.info().is_ca);
    assert_eq!(info.not_after - info.not_before, 3_600 + dromon_core::limits::CERTIFICATE_BACKDATE_S);
    assert_eq!((info.serial.len(), info.fingerprint.len()), (32, 64));
}

#[test]
fn two_uris_are_no_identity() {
    let two = vec![uri("spiffe://cluster.local/ns/a/sa/b"), uri("spiffe://cluster.local/ns/a/sa/c")];
    let (leaf, _) = Forge::new().leaf(|params| params.subject_alt_names = two);
    let chain = read_chain(leaf.as_bytes()).expect("a chain");
    assert_eq!(CertificateInfo::of(&chain[0]).expect("readable").spiffe_id(), None);
}

#[test]
fn broken_texts_are_refused_with_the_reason() {
    let (leaf, _) = Forge::new().leaf(|params| params.subject_alt_names = dns(&["a.example"]));
    assert_eq!(read_chain(b"").map(drop), Err(CertificateError::Pem("it is empty".to_owned())));
    assert_eq!(read_chain(b"no certificate").map(drop), Err(CertificateError::None));
    let cut = leaf.replace("-----END CERTIFICATE-----", "");
    assert!(matches!(read_chain(cut.as_bytes()), Err(CertificateError::Pem(_))));
    let garbled = format!("{leaf}{}", to_pem(b"no DER"));
    assert!(matches!(read_chain(garbled.as_bytes()), Err(CertificateError::Broken { number: 2, .. })));
    assert_eq!(read_chain(leaf.repeat(17).as_bytes()).map(drop), Err(CertificateError::TooMany));
}

#[test]
fn no_garbled_certificate_panics() {
    let (leaf, _) = Forge::new().leaf(|params| params.subject_alt_names = dns(&["a.example", "*.b.example"]));
    let good = read_chain(leaf.as_bytes()).expect("a chain").swap_remove(0);
    let mut rng = dromon_core::rng::Rng::new(3);
    for _ in 0..5_000 {
        let mut bytes = good.to_vec();
        for _ in 0..=rng.below(4) {
            let place = rng.below(bytes.len() as u32) as usize;
            bytes[place] = rng.below(256) as u8;
        }
        bytes.truncate(rng.below(bytes.len() as u32 + 1) as usize);
        let _ = CertificateInfo::of(&bytes);
        let _ = crate::verify::workload_of(&bytes.into());
    }
}
