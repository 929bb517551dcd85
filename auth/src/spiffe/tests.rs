use super::*;

fn trust(domain: &str, aliases: &[&str]) -> Trust {
    let domain_of = |text: &&str| TrustDomain::new(text).expect("a trust domain");
    Trust::new(domain_of(&domain), aliases.iter().map(domain_of).collect())
}

#[test]
fn an_id_is_read_and_written() {
    let text = "spiffe://cluster.local/ns/default/sa/bookinfo-reviews";
    let id: SpiffeId = text.parse().expect("an id");
    assert_eq!(
        (id.trust_domain(), id.namespace(), id.account()),
        ("cluster.local", "default", "bookinfo-reviews")
    );
    assert_eq!(id.to_string(), text);
    let made =
        SpiffeId::new(&TrustDomain::new("cluster.local").expect("domain"), "default", "bookinfo-reviews");
    assert_eq!(made, Ok(id));
}

#[test]
fn what_is_not_exactly_an_id_is_refused() {
    for text in [
        "",
        "https://cluster.local/ns/a/sa/b",
        "SPIFFE://cluster.local/ns/a/sa/b",
        "spiffe://Cluster.local/ns/a/sa/b",
        "spiffe:///ns/a/sa/b",
        "spiffe://cluster.local",
        "spiffe://cluster.local/",
        "spiffe://cluster.local/ns/a",
        "spiffe://cluster.local/ns//sa/b",
        "spiffe://cluster.local/ns/a/sa/",
        "spiffe://cluster.local/ns/a/sa/b/",
        "spiffe://cluster.local/ns/a/sa/b/c",
        "spiffe://cluster.local/ns/a/sa/b?x",
        "spiffe://cluster.local/ns/a/sa/b#x",
        "spiffe://cluster.local/ns/%61/sa/b",
        "spiffe://cluster.local/ns/../sa/b",
        "spiffe://cluster.local:80/ns/a/sa/b",
        "spiffe://user@cluster.local/ns/a/sa/b",
        "spiffe://cluster.local/ns/a/sa/b\0",
        "spiffe://cluster.local/ns/ä/sa/b",
        " spiffe://cluster.local/ns/a/sa/b",
    ] {
        assert!(text.parse::<SpiffeId>().is_err(), "{text:?} was taken");
    }
    let long = format!("spiffe://cluster.local/ns/a/sa/{}", "b".repeat(2048));
    assert_eq!(long.parse::<SpiffeId>(), Err(SpiffeError::Length(long.len())));
}

#[test]
fn aliases_name_the_same_workloads() {
    let trust = trust("new.example", &["old.example"]);
    let id = |text: &str| text.parse::<SpiffeId>().expect("an id");
    let expected = id("spiffe://new.example/ns/a/sa/b");
    assert!(trust.is_same(&expected, &id("spiffe://old.example/ns/a/sa/b")));
    assert!(!trust.is_same(&expected, &id("spiffe://old.example/ns/a/sa/c")));
    assert!(!trust.is_same(&expected, &id("spiffe://other.example/ns/a/sa/b")));
    // An identity of a foreign domain that was asked for by name is just that one.
    let foreign = id("spiffe://other.example/ns/a/sa/b");
    assert!(trust.is_same(&foreign, &foreign));
    assert!(!trust.is_same(&foreign, &expected));
}
