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

/// A name server that knows one name: `A 192.0.2.7` and `AAAA 2001:db8::7`, with this TTL; refuses the rest (RFC 1035).
async fn name_server(name: &'static str, ttl_s: u32) -> u16 {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let port = socket.local_addr().expect("bound").port();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&answer(&buffer[..len], name, ttl_s), from).await;
        }
    });
    port
}

fn answer(query: &[u8], name: &str, ttl_s: u32) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|&byte| byte == 0).expect("a name ends");
    let (mut labels, mut at) = (Vec::new(), 12);
    while at < end {
        let label = &query[at + 1..=at + usize::from(query[at])];
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += label.len() + 1;
    }
    let known = labels.join(".") == name;
    let data: Vec<u8> = match u16::from_be_bytes([query[end + 1], query[end + 2]]) {
        1 => vec![192, 0, 2, 7],
        _ => vec![0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7],
    };
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, if known { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(known), 0, 0, 0, 0]);
    answer.extend(&query[12..end + 5]);
    if known {
        answer.extend([0xc0, 12]);
        answer.extend(&query[end + 1..end + 5]);
        answer.extend(ttl_s.to_be_bytes());
        answer.extend((data.len() as u16).to_be_bytes());
        answer.extend(data);
    }
    answer
}

#[tokio::test]
async fn a_name_server_is_asked_for_both_families_and_its_ttl_is_kept_within_bounds() {
    let dir = tempfile::tempdir().expect("a directory");
    let conf = dir.path().join("resolv.conf");
    std::fs::write(&conf, "nameserver 127.0.0.1\noptions timeout:2 attempts:1\n").expect("written");
    for (ttl_s, kept_s) in [(30, 30), (0, DNS_TTL_S_MIN), (86_400, DNS_TTL_S_MAX)] {
        let port = name_server("db.example", ttl_s).await;
        let lookup = Lookup::new("/nonexistent".into(), conf.clone(), port);
        let answer = lookup.addresses("db.example").await.expect("addresses");
        let addresses: Vec<_> = answer.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["192.0.2.7", "2001:db8::7"]);
        let kept = Duration::from_secs(kept_s);
        assert!(
            answer.ttl <= kept && answer.ttl + Duration::from_secs(2) > kept,
            "{ttl_s}: {:?}",
            answer.ttl
        );
        assert!(lookup.addresses("other.example").await.is_err(), "the name server says that there is none");
    }
}

#[test]
fn what_is_answered_first_stays_first_and_the_order_of_the_rest_says_nothing() {
    let ordered = |answered: &[&str]| {
        let addresses = answered.iter().map(|it| it.parse().expect("an address")).collect();
        in_order(addresses).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let first = ["10.0.0.2", "10.0.0.1", "10.0.0.3"];
    assert_eq!(ordered(&["10.0.0.2", "10.0.0.3", "10.0.0.1", "10.0.0.2"]), first);
    assert_eq!(ordered(&["10.0.0.2", "10.0.0.1", "10.0.0.3"]), first);
    assert_eq!(ordered(&["fd00::2", "10.0.0.9", "fd00::1"]), ["10.0.0.9", "fd00::1", "fd00::2"]);
    assert_eq!(ordered(&["fd00::2", "fd00::1"]), ["fd00::2", "fd00::1"]);
}
