use super::*;
use crate::testing::{Forge, authority, dns, id, issue};
use rustls_pki_types::UnixTime;

#[test]
fn chain_and_key_must_belong_together() {
    let forge = Forge::new();
    let (chain, key) = forge.leaf(|params| params.subject_alt_names = dns(&["a.example"]));
    let (_, other) = forge.leaf(|_| {});
    assert!(Credential::from_pem(chain.as_bytes(), key.as_bytes()).is_ok());
    let mismatch = Credential::from_pem(chain.as_bytes(), other.as_bytes()).expect_err("another one's key");
    assert_eq!(mismatch.to_string(), "the private key is not that of the first certificate (a.example)");
}

#[test]
fn no_secret_is_in_debug_output_or_errors() {
    let leaf = issue(&authority(), id("reviews"), UnixTime::now());
    let secret = leaf.key.lines().nth(1).expect("a line of the key").to_owned();
    let credential = Credential::from_pem(leaf.chain.as_bytes(), leaf.key.as_bytes()).expect("a credential");
    let broken = leaf.key.replace("-----END", "----END");
    let error = Credential::from_pem(leaf.chain.as_bytes(), broken.as_bytes()).expect_err("a broken key");
    let authority = authority();
    let files = authority.files();
    let ca_secret = files.key.lines().nth(1).expect("a line of the key").to_owned();
    let told = format!("{credential:?} {leaf:?} {error} {error:?} {authority:?} {files:?}");
    assert!(!told.contains(&secret) && !told.contains(&ca_secret), "{told}");
}
