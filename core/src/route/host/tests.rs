use proptest::prelude::*;

use super::*;

#[test]
fn authorities_are_split() {
    assert_eq!(split_authority(b"reviews"), Some((&b"reviews"[..], None)));
    assert_eq!(split_authority(b"reviews.default.:9080"), Some((&b"reviews.default"[..], Some(9080))));
    assert_eq!(split_authority(b"[::1]:80"), Some((&b"::1"[..], Some(80))));
    assert_eq!(split_authority(b"[::1]"), Some((&b"::1"[..], None)));
    for wrong in [&b"a:"[..], b"a:+80", b"a:65536", b"a:123456", b"[::1", b"[::1]x", b"a:8o"] {
        assert_eq!(split_authority(wrong), None, "{}", String::from_utf8_lossy(wrong));
    }
}

#[test]
fn networks_contain_their_addresses() {
    let net = Cidr::parse("10.1.0.0/16").unwrap();
    assert!(net.contains("10.1.255.1".parse().unwrap()));
    assert!(net.contains("::ffff:10.1.2.3".parse().unwrap()));
    assert!(!net.contains("10.2.0.1".parse().unwrap()));
    assert!(Cidr::parse("0.0.0.0/0").unwrap().contains("9.9.9.9".parse().unwrap()));
    assert!(!Cidr::parse("::/0").unwrap().contains("9.9.9.9".parse().unwrap()));
    assert!(Cidr::parse("fd00::1").unwrap().contains("fd00::1".parse().unwrap()));
    for wrong in ["10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "x", "::/129", "10.0.0.0/+8", "10.0.0.0/999"] {
        assert!(Cidr::parse(wrong).is_err(), "{wrong}");
    }
}

fn entry(name: &str, domains: &[&str], addresses: &[&str], ports: &[u16]) -> HostEntry {
    let text = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    let model = model::Host {
        name: name.into(),
        domains: text(domains),
        addresses: text(addresses),
        ..model::Host::default()
    };
    let port = |number: &u16| PortEntry {
        number: *number,
        protocol: model::Protocol::Http,
        default: DestinationId(0),
    };
    HostEntry {
        name: name.into(),
        model: Arc::new(model),
        ports: ports.iter().map(port).collect(),
        limits: Vec::new(),
        virtual_host: None,
    }
}

#[test]
fn hosts_are_found_by_name_and_address() {
    let index = HostIndex::build(vec![
        entry("*.example.com", &["*.example.com"], &[], &[443]),
        entry("a.example.com", &["a.example.com"], &["240.1.0.0/16"], &[80]),
        entry("b.default.svc.cluster.local", &["b", "b.default"], &["10.0.0.7", "240.1.2.3"], &[9080]),
    ]);
    let by_domain = |host: &str, port| index.by_domain(host.as_bytes(), port).map(|entry| &*entry.name);
    assert_eq!(by_domain("B.Default", 1), Some("b.default.svc.cluster.local"));
    assert_eq!(by_domain("b.default.svc.cluster.local", 1), Some("b.default.svc.cluster.local"));
    assert_eq!(by_domain("a.example.com", 1), Some("a.example.com"));
    assert_eq!(by_domain("x.y.example.com", 1), Some("*.example.com"));
    assert_eq!(by_domain("example.com", 1), None);
    assert_eq!(by_domain(".example.com", 1), None);
    assert_eq!(by_domain("10.0.0.7", 9080), Some("b.default.svc.cluster.local"));
    assert_eq!(by_domain("10.0.0.7", 80), None);
    assert_eq!(by_domain(&"B".repeat(300), 80), None);
    // The longest network that has the port: two services that share an address space do not hijack each other.
    let by_address =
        |address: &str, port| index.by_address(address.parse().unwrap(), port).map(|it| &*it.name);
    assert_eq!(by_address("240.1.2.3", 9080), Some("b.default.svc.cluster.local"));
    assert_eq!(by_address("240.1.2.3", 80), Some("a.example.com"));
    assert_eq!(by_address("240.2.2.3", 80), None);
    assert_eq!(index.by_name("*.example.com").map(|it| &*it.name), Some("*.example.com"));
    assert_eq!(index.by_name("b").map(|it| &*it.name), None);
}

/// Exact first, then the longest wildcard, by looking at all.
fn slow(domains: &[String], host: &str) -> Option<u32> {
    let exact = domains.iter().position(|domain| *domain == host);
    let wildcards = domains.iter().enumerate().filter(|(_, domain)| {
        domain.strip_prefix('*').is_some_and(|suffix| host.ends_with(suffix) && host.len() > suffix.len())
    });
    let longest = wildcards.map(|(at, domain)| (domain.len(), std::cmp::Reverse(at))).max();
    exact.map(|at| at as u32).or(longest.map(|(_, at)| at.0 as u32))
}

proptest! {
    #[test]
    fn domains_are_found_as_a_scan_finds_them(
        domains in proptest::collection::vec("(\\*?\\.)?[ab]{0,2}(\\.[ab]{1,2}){0,3}", 0..30),
        hosts in proptest::collection::vec("[ab]{0,2}(\\.[ab]{1,2}){0,4}", 1..20),
    ) {
        let map = DomainMap::build(domains.iter().enumerate().map(|(at, domain)| (domain.as_str(), at as u32)));
        for host in &hosts {
            prop_assert_eq!(map.get(host.as_bytes()), slow(&domains, host));
            prop_assert_eq!(map.get(host.to_ascii_uppercase().as_bytes()), slow(&domains, host));
        }
    }
}
