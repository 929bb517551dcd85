use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use super::address::{Addresses, Pair};
use super::env::{ServicePort, environment};
use super::options::port_map;
use super::{child, listening};
use crate::local::Gateway;

const PAIR: Pair = Pair { sidecar: Ipv4Addr::new(127, 77, 0, 3), application: Ipv4Addr::new(127, 78, 0, 3) };

#[test]
fn a_name_keeps_its_addresses_and_runs_never_share_a_block() {
    let (mut one, mut two) = (Addresses::default(), Addresses::default());
    let first = one.of("reviews-v1.default").unwrap();
    assert_eq!(one.of("reviews-v1.default").unwrap(), first);
    let [_, _, block, last] = first.sidecar.octets();
    assert_eq!(first.application, Ipv4Addr::new(127, 78, block, last));
    let other = two.of("reviews-v1.default").unwrap();
    assert_ne!(other.sidecar.octets()[2], block, "{other:?}");
    let mut all = BTreeSet::from([first.sidecar]);
    for number in 0..600 {
        all.insert(one.of(&format!("p{number}.default")).unwrap().sidecar);
    }
    assert_eq!(all.len(), 601, "a run may have more processes than a block has addresses");
    assert!(all.iter().all(|address| address.octets()[2] != other.sidecar.octets()[2]));
}

#[test]
fn a_block_is_free_again_when_its_run_has_ended() {
    let mut one = Addresses::default();
    let pair = one.of("a").unwrap();
    drop(one);
    // Another test may have taken a lower block meanwhile; this one must be had by somebody who asks often enough.
    let mut held = Vec::new();
    let again = (0..50).any(|_| {
        let mut next = Addresses::default();
        let found = next.of("a").unwrap() == pair;
        held.push(next);
        found
    });
    assert!(again);
}

#[test]
fn services_are_found_by_their_variables_and_the_objects_own_word_wins() {
    let port = |service: &str, name: &str, port: u16| ServicePort {
        service: service.into(),
        port_name: name.into(),
        listener: SocketAddr::new(PAIR.sidecar.into(), port),
    };
    let services = [port("my-db", "tcp", 20_000), port("my-db", "admin-ui", 20_001)];
    let own = BTreeMap::from([
        ("PORT".to_owned(), "7".to_owned()),
        ("JAVA_TOOL_OPTIONS".to_owned(), "-Xmx64m".to_owned()),
    ]);
    let env = environment(PAIR, Some(9080), &services, &own);
    let get = |name: &str| env.get(name).map(String::as_str);
    assert_eq!(get("MY_DB_SERVICE_HOST"), Some("127.77.0.3"));
    assert_eq!(get("MY_DB_SERVICE_PORT"), Some("20000"), "the first port");
    assert_eq!(get("MY_DB_SERVICE_PORT_ADMIN_UI"), Some("20001"));
    assert_eq!(get("PORT"), Some("7"));
    let java = get("JAVA_TOOL_OPTIONS").unwrap();
    assert!(java.contains("-Dhttp.proxyHost=127.77.0.3") && java.ends_with("-Xmx64m"), "{java}");
    assert_eq!(get("http_proxy"), get("HTTP_PROXY"));
    assert_eq!(get("https_proxy"), Some(""), "a sidecar takes no CONNECT");
    assert!(!environment(PAIR, None, &[], &BTreeMap::new()).contains_key("PORT"));
}

#[test]
fn a_gateway_port_opens_where_it_is_mapped_or_may_be_opened() {
    let gateway = Gateway {
        name: "g".into(),
        namespace: "default".into(),
        bind: [127, 0, 0, 1].into(),
        ports: [(443, 4443)].into(),
        refused_below: 1024,
        admin: None,
    };
    assert_eq!([80, 443, 1023, 1024, 8080].map(|port| gateway.port(port)), [8080, 4443, 9023, 1024, 8080]);
    assert_eq!(Gateway { refused_below: 0, ..gateway }.port(80), 80);
}

#[test]
fn port_maps_are_two_ports() {
    assert_eq!(port_map("80:8080"), Ok((80, 8080)));
    for bad in ["80", "80:", ":80", "80:70000", "0:80", "a:b", "80:8080:1"] {
        assert!(port_map(bad).is_err(), "{bad}");
    }
}

#[test]
fn listening_sockets_are_found_by_process_group() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = rustix::process::getpgid(None).unwrap().as_raw_nonzero().get();
    let group = u32::try_from(own).unwrap();
    assert!(listening::of_group(group).contains(&listener.local_addr().unwrap()));
    let (pid, _) = listening::owner(listener.local_addr().unwrap()).expect("it is known");
    assert_eq!(pid, std::process::id());
    let wildcard = TcpListener::bind("[::]:0").map(|it| it.local_addr().unwrap());
    drop(listener);
    assert!(wildcard.is_ok_and(|address| !listening::of_group(group).contains(&address)), "it is closed");
}

#[test]
fn programs_are_found_in_the_folder_and_in_path() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("serve.sh");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    assert_eq!(child::find("serve.sh", folder.path()), Path::new("serve.sh"), "not executable");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(child::find("serve.sh", folder.path()), script);
    assert_eq!(child::find("./serve.sh", folder.path()), folder.path().join("./serve.sh"));
    assert!(child::find("sh", folder.path()).is_absolute());
    assert_eq!(child::find("/bin/sh", folder.path()), Path::new("/bin/sh"));
    assert_eq!(child::find("no-such-program", folder.path()), Path::new("no-such-program"));
}
