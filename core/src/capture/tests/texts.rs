//! Settings as texts.

use super::*;

#[test]
fn lists_are_read_with_their_spaces_and_without_their_duplicates() {
    assert_eq!(Settings::ports(" 80, 443,80,, 8080 "), Ok(vec![80, 443, 8080]));
    assert_eq!(Settings::ports(""), Ok(Vec::new()));
    assert_eq!(Ports::parse("*"), Ok(Ports::All));
    assert_eq!(Ports::parse(""), Ok(Ports::Only(Vec::new())));
    assert_eq!(Ranges::parse("*"), Ok(Ranges::All));
    let ranges = Settings::ranges("10.1.2.3/8,192.0.2.1,fd00::1/8").unwrap();
    let texts: Vec<String> = ranges.iter().map(Cidr::to_string).collect();
    assert_eq!(texts, ["10.0.0.0/8", "192.0.2.1/32", "fd00::/8"]);
    assert_eq!(Settings::interfaces("eth1, net1.5"), Ok(vec!["eth1".to_owned(), "net1.5".to_owned()]));
}

#[test]
fn what_is_no_entry_is_refused_by_name() {
    for text in ["0", "65536", "+80", "-1", "http", "80-90", "8 0", "*"] {
        let error = Settings::ports(text).unwrap_err();
        assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
    }
    for text in ["10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "10.0.0.0/+8", "all", "10.0.0.1/8/8"] {
        assert!(Settings::ranges(text).is_err(), "{text}");
    }
    for text in ["sixteen-letters-", "eth 1", "-j", "eth1\n-A", "eth+", "\"x"] {
        assert!(Settings::interfaces(text).is_err(), "{text}");
    }
    let many = (1..=crate::limits::CAPTURE_ENTRIES_MAX + 1).map(|port| port.to_string()).collect::<Vec<_>>();
    assert!(matches!(Settings::ports(&many.join(",")), Err(CaptureError::TooMany(_))));
}

#[test]
fn a_range_holds_what_agrees_in_its_prefix() {
    let holds = |range: &str, it: &str| Cidr::parse(range).unwrap().contains(address(it));
    assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.0"));
    assert!(holds("0.0.0.0/0", "255.255.255.255") && !holds("0.0.0.0/0", "::1"));
    assert!(holds("::/0", "ffff::") && holds("fd00::/8", "fdff::1") && !holds("fd00::/8", "fe00::1"));
    assert!(holds("192.0.2.1", "192.0.2.1") && !holds("192.0.2.1", "192.0.2.2"));
}

#[test]
fn arguments_name_what_differs_from_the_defaults() {
    assert!(Settings::default().arguments().is_empty());
    let settings = Settings {
        mode: Mode::Nftables,
        inbound_ports: Ports::Only(Vec::new()),
        excluded_outbound_ports: vec![3306, 6379],
        outbound_ranges: Ranges::Only(vec![Cidr::parse("10.0.0.0/8").unwrap()]),
        excluded_interfaces: vec!["net1".to_owned()],
        ipv6: false,
        ..Settings::default()
    };
    let wanted = [
        "--mode",
        "nftables",
        "--inbound-ports",
        "",
        "--exclude-outbound-ports",
        "3306,6379",
        "--exclude-interfaces",
        "net1",
        "--include-outbound-ranges",
        "10.0.0.0/8",
        "--no-ipv6",
    ];
    assert_eq!(settings.arguments(), wanted);
}
