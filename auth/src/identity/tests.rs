use super::*;
use crate::credential::KeyError;
use crate::testing::{Forge, authority, dns, id, identity, identity_of, issue, seconds_from_now};

#[test]
fn an_identity_tells_who_it_is() {
    let authority = authority();
    let identity = identity(&authority, "reviews");
    assert_eq!(identity.id(), &id("reviews"));
    assert_eq!(identity.check(UnixTime::now()), Ok(()));
    assert_eq!(identity.roots().fingerprints().iter().collect::<Vec<_>>(), [&authority.root_fingerprint()]);
}

#[test]
fn an_identity_is_checked_against_the_clock_and_its_own_roots() {
    let (authority, other) = (authority(), authority());
    let identity = identity(&authority, "reviews");
    let text = |now| identity.check(now).expect_err("not good").to_string();
    assert!(text(seconds_from_now(3_700)).contains("expired"));
    assert!(text(seconds_from_now(-3_600)).contains("not valid yet"), "{}", text(seconds_from_now(-3_600)));
    let leaf = issue(&authority, id("reviews"), UnixTime::now());
    let stray = identity_of(&leaf, &other.root_pem());
    assert!(stray.check(UnixTime::now()).expect_err("a stray").to_string().contains("vouches"));
}

#[test]
fn broken_files_are_refused_with_the_reason() {
    let authority = authority();
    let leaf = issue(&authority, id("reviews"), UnixTime::now());
    let root = authority.root_pem();
    let read = |chain: &str, key: &str, roots: &str| {
        Identity::from_pem(chain.as_bytes(), key.as_bytes(), roots.as_bytes()).expect_err("broken")
    };
    assert!(matches!(read("", &leaf.key, &root), IdentityError::Credential(CredentialError::Chain(_))));
    let no_key = read(&leaf.chain, "", &root);
    assert_eq!(no_key, IdentityError::Credential(CredentialError::Key(KeyError::None)));
    assert!(matches!(read(&leaf.chain, &leaf.key, "nothing"), IdentityError::Roots(_)));
    let (chain, key) = Forge::new().leaf(|params| params.subject_alt_names = dns(&["a.example"]));
    assert!(matches!(read(&chain, &key, &root), IdentityError::NoSpiffeId { whose } if whose == "a.example"));
}
