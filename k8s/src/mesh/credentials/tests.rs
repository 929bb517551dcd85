use super::*;
use crate::testing::{pems, secret, set};

const SERVER: Needs = Needs { certificate: true, ca: false };
const MUTUAL: Needs = Needs { certificate: true, ca: true };
const CA: Needs = Needs { certificate: false, ca: true };

fn find(text: &str, name: &str, needs: Needs) -> Result<Credential, String> {
    let found = Credentials::new(&set(text)).find(name, &["own", "other"], needs);
    found.map_err(|error| error.to_string())
}

#[test]
fn a_secret_is_read_under_the_names_of_kubernetes_and_of_istio() {
    let pems = pems();
    for names in [["tls.crt", "tls.key", "ca.crt"], ["cert", "key", "cacert"]] {
        let parts: Vec<_> = names.into_iter().zip([&*pems.chain, &pems.key, &pems.ca]).collect();
        let found = find(&secret("shop", "own", &parts), "shop", MUTUAL).expect("a credential");
        assert_eq!(found.name, "own/shop");
        assert_eq!(
            [found.cert_chain.trim(), found.key.pem().trim(), found.ca.trim()],
            [pems.chain.trim(), pems.key.trim(), pems.ca.trim()]
        );
    }
}

#[test]
fn the_cas_may_lie_beside() {
    let pems = pems();
    let own = secret("shop", "own", &[("tls.crt", &pems.chain), ("tls.key", &pems.key)]);
    let beside = secret("shop-cacert", "own", &[("cacert", &pems.ca)]);
    let found = find(&format!("{own}{beside}"), "shop", MUTUAL).expect("a credential");
    assert_eq!(found.ca.trim(), pems.ca.trim());
    let missing = find(&own, "shop", MUTUAL).expect_err("no CA");
    assert_eq!(missing, "Secret/own/shop has no CA (`ca.crt` or `cacert`)");
    let only = find(&beside, "shop", CA).expect("CAs");
    assert!(only.cert_chain.is_empty() && only.key.is_empty());
}

#[test]
fn the_first_namespace_counts() {
    let pems = pems();
    let parts = [("tls.crt", pems.chain.as_str()), ("tls.key", &pems.key)];
    let (own, other) = (secret("shop", "own", &parts), secret("shop", "other", &parts));
    assert_eq!(find(&other, "kubernetes://shop", SERVER).expect("there").name, "other/shop");
    assert_eq!(find(&format!("{other}{own}"), "shop", SERVER).expect("there").name, "own/shop");
    let third = secret("shop", "third", &parts);
    assert_eq!(
        find(&third, "shop", SERVER).expect_err("elsewhere"),
        "there is no Secret `shop` in own or other"
    );
}

#[test]
fn what_could_not_be_served_is_refused_by_name() {
    let (pems, another) = (pems(), pems());
    let why =
        |parts: &[(&str, &str)], needs| find(&secret("shop", "own", parts), "shop", needs).expect_err("bad");
    assert_eq!(
        why(&[("tls.key", &pems.key)], SERVER),
        "Secret/own/shop has no certificate (`tls.crt` or `cert`)"
    );
    assert_eq!(why(&[("tls.crt", &pems.chain)], SERVER), "Secret/own/shop has no key (`tls.key` or `key`)");
    let foreign_key = [("tls.crt", pems.chain.as_str()), ("tls.key", &another.key)];
    assert!(why(&foreign_key, SERVER).contains("private key is not that of the first certificate"));
    let nonsense = why(&[("tls.crt", "nonsense"), ("tls.key", &pems.key)], SERVER);
    assert!(nonsense.starts_with("Secret/own/shop: certificate chain"), "{nonsense}");
    let bad_ca = [("tls.crt", pems.chain.as_str()), ("tls.key", &pems.key), ("ca.crt", "nonsense")];
    assert!(why(&bad_ca, MUTUAL).starts_with("Secret/own/shop: CA: "));
    assert!(find(&secret("shop", "own", &bad_ca), "shop", SERVER).expect("good as it is").ca.is_empty());
}
