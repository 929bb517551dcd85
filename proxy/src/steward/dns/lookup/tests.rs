use super::*;

const HOSTS: &str = "\
# written by hand
127.0.0.1 localhost
10.0.0.7\tdb.example DB # the database
fd00::7 db.example.
not-an-address db.example
";

#[test]
fn a_hosts_file_gives_names_and_aliases_whatever_their_case() {
    let addresses = |name| in_hosts_file(HOSTS, name).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(addresses("db.example"), ["10.0.0.7", "fd00::7"]);
    assert_eq!(addresses("db"), ["10.0.0.7"]);
    assert!(addresses("the").is_empty(), "a comment names nothing");
}

#[tokio::test]
async fn literal_addresses_and_localhost_need_no_name_server() {
    let lookup = Lookup::new("/nonexistent".into(), "/nonexistent".into(), 53);
    for (name, address) in [("192.0.2.1", "192.0.2.1"), ("[2001:db8::1]", "2001:db8::1"), ("::1", "::1")] {
        let answer = lookup.addresses(name).await.expect("an address");
        assert_eq!(answer.addresses, [address.parse::<IpAddr>().expect("an address")]);
    }
    let answer = lookup.addresses("LocalHost.").await.expect("an address");
    assert_eq!(answer.addresses, [IpAddr::from([127, 0, 0, 1]), Ipv6Addr::LOCALHOST.into()]);
    let error = lookup.addresses("db.example").await.expect_err("no resolv.conf");
    assert!(error.contains("/nonexistent"), "{error}");
}
