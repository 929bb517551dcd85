use super::*;
use crate::identity::Identity;
use crate::testing::{Forge, authority, id, issue, seconds_from_now};

fn load(files: &AuthorityFiles) -> Result<Authority, AuthorityError> {
    let [certificate, chain, root] =
        [&files.certificate, &files.chain, &files.root].map(|file| file.as_bytes());
    Authority::from_pem(certificate, files.key.as_bytes(), chain, root, UnixTime::now())
}

#[test]
fn a_root_is_loaded_as_it_was_kept() {
    let made = authority();
    let loaded = load(&made.files()).expect("the same root");
    assert_eq!(loaded.root_fingerprint(), made.root_fingerprint());
    let leaf = issue(&loaded, id("reviews"), UnixTime::now());
    let identity = Identity::from_pem(leaf.chain.as_bytes(), leaf.key.as_bytes(), made.root_pem().as_bytes());
    assert_eq!(identity.expect("an identity").check(UnixTime::now()), Ok(()));
}

/// A root, an intermediate below it, and the intermediate's key.
fn plugged_in() -> AuthorityFiles {
    let root_key = KeyPair::generate().expect("a key");
    let mut root = CertificateParams::default();
    root.distinguished_name.push(DnType::CommonName, "company root");
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    let root_certificate = root.self_signed(&root_key).expect("a root");
    let issuer = Issuer::new(root, root_key);
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "mesh intermediate");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let certificate = params.signed_by(&key, &issuer).expect("an intermediate").pem();
    let key = Zeroizing::new(key.serialize_pem());
    AuthorityFiles { certificate, key, chain: String::new(), root: root_certificate.pem() }
}

#[test]
fn an_intermediate_is_plugged_in_and_shown_with_each_leaf() {
    let mut files = plugged_in();
    files.chain = format!("{}{}", files.certificate, files.root);
    let authority = load(&files).expect("an intermediate");
    let leaf = issue(&authority, id("reviews"), UnixTime::now());
    assert_eq!(
        read_chain(leaf.chain.as_bytes()).expect("a chain").len(),
        2,
        "leaf and intermediate, no root"
    );
    assert_eq!(leaf.info.issuer, authority.info().subject);
}

#[test]
fn what_would_not_be_believed_is_not_taken() {
    let text = |files: &AuthorityFiles| load(files).expect_err("no authority").to_string();
    let mut files = plugged_in();
    files.root = Forge::new().root;
    assert!(text(&files).contains("would not be believed by its own root"), "{}", text(&files));
    let mut files = plugged_in();
    files.key = authority().files().key;
    assert!(text(&files).contains("the CA key is not that"), "{}", text(&files));
    let (certificate, key) = Forge::new().leaf(|_| {});
    let leaf = AuthorityFiles {
        root: certificate.clone(),
        certificate,
        key: Zeroizing::new(key),
        chain: String::new(),
    };
    assert!(text(&leaf).contains("not a CA's"));
}

#[test]
fn a_leaf_does_not_outlive_the_ca() {
    let authority = authority();
    let near_its_end = seconds_from_now(i64::try_from(ROOT_LIFE_S).expect("fits") - 100);
    let leaf = issue(&authority, id("reviews"), near_its_end);
    assert!(leaf.info.not_after <= authority.info().not_after);
    let after = seconds_from_now(i64::try_from(ROOT_LIFE_S).expect("fits") + 100);
    let wanted = Wanted { id: id("reviews"), key: KeyKind::EcdsaP256, life: Duration::from_secs(10) };
    assert!(matches!(authority.issue(&wanted, after), Err(AuthorityError::Expired(_))));
}

#[test]
fn a_life_of_nothing_or_of_years_is_refused() {
    for life in [Duration::ZERO, Duration::from_secs(LEAF_LIFE_S_MAX + 1)] {
        let wanted = Wanted { id: id("reviews"), key: KeyKind::EcdsaP256, life };
        assert_eq!(authority().issue(&wanted, UnixTime::now()).map(drop), Err(AuthorityError::Life));
    }
}

#[test]
fn leaves_are_for_servers_and_clients_with_a_critical_name() {
    use x509_parser::prelude::{FromDer, X509Certificate};
    for key in [KeyKind::EcdsaP256, KeyKind::Rsa2048] {
        let wanted = Wanted { id: id("reviews"), key, life: Duration::from_secs(60) };
        let leaf = authority().issue(&wanted, UnixTime::now()).expect("a leaf");
        let chain = read_chain(leaf.chain.as_bytes()).expect("a chain");
        let (_, parsed) = X509Certificate::from_der(&chain[0]).expect("readable");
        let name = parsed.subject_alternative_name().expect("readable").expect("a name");
        assert!(name.critical, "the subject is empty (RFC 5280, section 4.2.1.6)");
        let usage = parsed.extended_key_usage().expect("readable").expect("usages").value;
        assert!(usage.server_auth && usage.client_auth && !usage.any);
        let rsa = parsed.public_key().algorithm.algorithm.to_id_string() == "1.2.840.113549.1.1.1";
        assert_eq!(rsa, key == KeyKind::Rsa2048);
    }
}
