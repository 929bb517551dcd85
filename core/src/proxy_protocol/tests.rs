use super::{Addresses, Header, HeaderError, Version, encode, parse};

fn addresses(source: &str, destination: &str) -> Addresses {
    Addresses { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn both() -> [Addresses; 2] {
    [addresses("192.0.2.7:51000", "198.51.100.1:443"), addresses("[2001:db8::7]:51000", "[2001:db8::1]:443")]
}

#[test]
fn what_is_written_is_read() {
    for version in [Version::V1, Version::V2] {
        for addresses in both().map(Some).into_iter().chain([None]) {
            let mut bytes = encode(version, addresses);
            let length = bytes.len();
            bytes.extend(b"GET /");
            assert_eq!(parse(&bytes), Ok(Some(Header { bytes: length, addresses })), "{version:?}");
            for cut in 0..length {
                assert_eq!(parse(&bytes[..cut]), Ok(None), "{version:?} {cut}");
            }
        }
    }
}

#[test]
fn ends_of_two_families_are_not_told() {
    let [v4, v6] = both();
    let mixed = Addresses { source: v4.source, destination: v6.destination };
    assert_eq!(encode(Version::V1, Some(mixed)), b"PROXY UNKNOWN\r\n");
}

#[test]
fn examples_of_the_specification() {
    let line = b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\nGET";
    let header = parse(line).unwrap().unwrap();
    assert_eq!(header.bytes, 56);
    assert_eq!(header.addresses.unwrap().source, "255.255.255.255:65535".parse().unwrap());
    let unknown = parse(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n").unwrap().unwrap();
    assert_eq!(unknown.addresses, None);
}

#[test]
fn further_values_of_version_2_are_skipped() {
    let mut bytes = encode(Version::V2, Some(both()[0]));
    bytes[15] += 7;
    bytes.extend([4, 0, 4, 0, 0, 0, 0]);
    let header = parse(&bytes).unwrap().unwrap();
    assert_eq!((header.bytes, header.addresses), (bytes.len(), Some(both()[0])));
}

#[test]
fn what_is_no_header() {
    for bytes in [&b"GET / HTTP/1.1"[..], b"PROXz", b"\r\n\r\n\0\r\nQUIT?", b"X"] {
        assert_eq!(parse(bytes), Err(HeaderError::Missing), "{bytes:?}");
    }
    for line in [
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4\r\n",
        "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    ] {
        assert_eq!(parse(line.as_bytes()), Err(HeaderError::Malformed), "{line:?}");
    }
    let endless = [&b"PROXY TCP4 "[..], &[b'1'; 100]].concat();
    assert_eq!(parse(&endless), Err(HeaderError::Malformed));
    let mut long = encode(Version::V2, None);
    (long[14], long[15]) = (0xff, 0xff);
    assert_eq!(parse(&long), Err(HeaderError::TooLong));
    let mut short = encode(Version::V2, Some(both()[0]));
    short[15] = 4;
    assert_eq!(parse(&short), Err(HeaderError::Malformed));
    let mut version = encode(Version::V2, Some(both()[0]));
    version[12] = 0x31;
    assert_eq!(parse(&version), Err(HeaderError::Malformed));
}

#[test]
fn any_bytes_are_taken_or_refused() {
    let mut random = crate::rng::Rng::new(11);
    for round in 0..20_000 {
        let version = if round % 2 == 0 { Version::V1 } else { Version::V2 };
        let mut bytes = encode(version, Some(both()[round / 2 % 2]));
        let at = random.below(bytes.len() as u32) as usize;
        bytes[at] = random.below(256) as u8;
        bytes.truncate(random.below(bytes.len() as u32 + 1) as usize);
        let _ = parse(&bytes);
    }
}
