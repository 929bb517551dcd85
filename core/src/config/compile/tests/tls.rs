use super::*;
use crate::config::model::{
    ClientTls, ClientTlsMode, Credential, PrivateKey, ServerTls, TlsMatch, TlsMode, TlsRule,
};
use crate::exchange::CameBy;
use crate::route::RoutedTcp;

const KEY: &str = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";

fn credential(name: &str) -> Resource {
    Resource::Credential(Credential {
        name: name.into(),
        cert_chain: "-----BEGIN CERTIFICATE-----".into(),
        key: PrivateKey::new(KEY.into()),
        ..Credential::default()
    })
}

fn server(mode: TlsMode, hosts: &[&str], credential: &str) -> ServerTls {
    ServerTls {
        mode,
        hosts: hosts.iter().map(|&host| host.into()).collect(),
        protocol: model::Protocol::Tcp,
        credentials: if credential.is_empty() { Vec::new() } else { vec![credential.into()] },
        ..ServerTls::default()
    }
}

/// A gateway's port 443 with these settings.
fn gateway(tls: Vec<ServerTls>) -> Resource {
    let address = "127.0.0.1:8443".parse().unwrap();
    let listener = model::Listener::new("gateway/443", address, 443, model::ListenerKind::GatewayTcp);
    Resource::Proxy(model::Proxy {
        name: "gateway~a.default".into(),
        role: model::Role::Gateway,
        listeners: vec![model::Listener { tls, ..listener }],
        ..Default::default()
    })
}

fn rule(sni: &[&str], to: &str) -> TlsRule {
    let sni_hosts = sni.iter().map(|&name| name.into()).collect();
    let to = WeightedDestination { host: to.into(), port: Some(443), weight: 1, ..Default::default() };
    TlsRule {
        matches: vec![TlsMatch { sni_hosts, ..TlsMatch::default() }],
        destinations: vec![to],
        ..TlsRule::default()
    }
}

fn names(domain: &str, tls: Vec<TlsRule>) -> Resource {
    Resource::VirtualHost(model::VirtualHost {
        name: format!("gateway/443/{domain}"),
        listener: Some("gateway/443".into()),
        domains: vec![domain.into()],
        tls,
        ..Default::default()
    })
}

/// Name of the destination that a TLS connection goes to, or what happens instead.
fn tls_goes_to(table: &Table, listener: usize, to: Option<&str>, sni: Option<&str>) -> String {
    let (to, peer) = (to.map(|it| it.parse().unwrap()), "127.0.0.1:1".parse().unwrap());
    match table.route_tls(listener, to, peer, sni.map(str::as_bytes)) {
        RoutedTcp::Route(route) => match route.choose(table, &mut Rng::new(0)) {
            Some(Lookup::Here(it)) => it.model.name.clone(),
            other => format!("{other:?}"),
        },
        RoutedTcp::NoRoute => "no route".into(),
        RoutedTcp::Passthrough(address) => address.to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn the_most_specific_server_name_counts() {
    let mut world = World::new();
    let tls = vec![
        server(TlsMode::Simple, &["*"], "default/all"),
        server(TlsMode::Simple, &["*.example.com"], "default/wild"),
        server(TlsMode::Simple, &["a.example.com"], "default/a"),
    ];
    let table = world.apply([gateway(tls), credential("default/a"), credential("default/all")]);
    let listener = &table.listeners[0];
    let at = |name: Option<&str>| listener.server_tls(name.map(str::as_bytes)).map(|(at, _)| at);
    assert_eq!(
        [at(Some("a.example.com")), at(Some("B.Example.com")), at(Some("example.com")), at(None)],
        [Some(2), Some(1), Some(0), Some(0)]
    );
    let here = |at: usize| listener.tls[at].credentials.iter().map(|it| it.name.as_str()).collect::<Vec<_>>();
    assert_eq!([here(0), here(1), here(2)], [vec!["default/all"], vec![], vec!["default/a"]]);
}

#[test]
fn without_a_name_only_a_server_of_all_names_answers() {
    let mut world = World::new();
    let table = world.apply([gateway(vec![server(TlsMode::Passthrough, &["*.example.com"], "")])]);
    assert!(table.listeners[0].server_tls(None).is_none());
    assert!(table.listeners[0].server_tls(Some(b"other.org")).is_none());
}

#[test]
fn a_host_of_other_tls_settings_is_misdirected() {
    let mut world = World::new();
    let tls = vec![
        server(TlsMode::Simple, &["a.example"], "default/a"),
        server(TlsMode::Mutual, &["b.example"], "default/a"),
        server(TlsMode::Simple, &["c.example"], "default/a"),
    ];
    let table = world.apply([gateway(tls)]);
    let misdirected = |server_tls, host: &str| {
        let arrival = Arrival { listener: 0, server_tls, ..outbound() };
        table.is_misdirected(&arrival, host.as_bytes())
    };
    let by_a = Some(CameBy::Settings(0));
    assert!(misdirected(by_a, "b.example") && misdirected(by_a, "B.example:8443"));
    assert!(misdirected(Some(CameBy::Settings(1)), "a.example"));
    assert!(misdirected(Some(CameBy::Gone), "a.example"));
    assert!(!misdirected(by_a, "a.example:443"));
    assert!(!misdirected(by_a, "c.example"), "settings that ask the same");
    assert!(!misdirected(by_a, "other.example"), "no host of this listener");
    assert!(!misdirected(None, "b.example"), "plaintext");
}

#[test]
fn tls_is_passed_on_by_server_name() {
    let mut world = World::new();
    let table = world.apply([
        gateway(vec![server(TlsMode::Passthrough, &["*"], "")]),
        names("a.example.com", vec![rule(&["a.example.com"], "a")]),
        names("*.example.com", vec![rule(&["b.example.com"], "b"), rule(&["*.example.com"], "c")]),
        destination("outbound|443||a"),
        endpoints("outbound|443||a", &["10.0.0.1:443"]),
        destination("outbound|443||b"),
        endpoints("outbound|443||b", &["10.0.0.2:443"]),
        destination("outbound|443||c"),
        endpoints("outbound|443||c", &["10.0.0.3:443"]),
    ]);
    let to = |sni| tls_goes_to(&table, 0, None, sni);
    assert_eq!(to(Some("a.example.com")), "outbound|443||a");
    assert_eq!(to(Some("b.example.com")), "outbound|443||b");
    assert_eq!(to(Some("x.example.com")), "outbound|443||c");
    assert_eq!(to(Some("example.org")), "no route");
    assert_eq!(to(None), "no route");
}

#[test]
fn a_mesh_server_name_spells_its_destination() {
    let mut world = World::new();
    let name = model::destination_name(9080, "v1", "reviews.default.svc.cluster.local");
    let table = world.apply([
        gateway(vec![server(TlsMode::AutoPassthrough, &["*.local"], "")]),
        destination(&name),
        endpoints(&name, &["10.0.0.1:9080"]),
    ]);
    let sni = model::mesh_server_name(9080, "v1", "reviews.default.svc.cluster.local");
    assert_eq!(tls_goes_to(&table, 0, None, Some(&sni)), name);
    let other = model::mesh_server_name(9080, "v2", "reviews.default.svc.cluster.local");
    assert_eq!(tls_goes_to(&table, 0, None, Some(&other)), "no route");
}

#[test]
fn a_captured_tls_connection_goes_by_address_then_by_name() {
    let mut world = World::new();
    let by_address = Resource::Host(model::Host {
        name: "a".into(),
        addresses: vec!["10.9.9.9".into()],
        ports: vec![model::HostPort { number: 443, protocol: model::Protocol::Tls }],
        ..Default::default()
    });
    let (a, b) = ("outbound|443||a", "outbound|443||www.example.com");
    let table = world.apply([
        proxy(),
        by_address,
        host("www.example.com", &[443], false),
        destination(a),
        endpoints(a, &["10.0.0.1:443"]),
        destination(b),
        endpoints(b, &["10.0.0.2:443"]),
    ]);
    let to = |address, sni| tls_goes_to(&table, 0, Some(address), sni);
    assert_eq!(to("10.9.9.9:443", Some("www.example.com")), a);
    assert_eq!(to("192.0.2.1:443", Some("www.example.com")), b);
    assert_eq!(to("192.0.2.1:444", Some("www.example.com")), "192.0.2.1:444");
    assert_eq!(to("192.0.2.1:443", None), "192.0.2.1:443");
}

#[test]
fn a_renewed_credential_reaches_only_what_names_it() {
    let mut world = World::new();
    let tls = |credential: &str| ClientTls {
        mode: ClientTlsMode::Mutual,
        credential: credential.into(),
        ..ClientTls::default()
    };
    let destination = |name: &str, credential| {
        let tls = Some(tls(credential));
        Resource::Destination(model::Destination { name: name.into(), tls, ..Default::default() })
    };
    let all = [
        destination("outbound|443||a", "default/a"),
        endpoints("outbound|443||a", &["10.0.0.1:443"]),
        destination("outbound|443||b", "default/b"),
        endpoints("outbound|443||b", &["10.0.0.2:443"]),
        credential("default/a"),
    ];
    let before = world.apply(all);
    let renewed = match credential("default/a") {
        Resource::Credential(it) => Resource::Credential(Credential { ca: "-----BEGIN".into(), ..it }),
        other => other,
    };
    let after = world.apply([renewed, credential("default/b")]);
    let credential = |table: &Table, name| table.destination_named(name).unwrap().credential.clone();
    assert!(credential(&before, "outbound|443||b").is_none());
    assert!(credential(&after, "outbound|443||b").is_some());
    assert_eq!(credential(&after, "outbound|443||a").unwrap().ca, "-----BEGIN");
    let again = world.apply([host("x", &[80], false)]);
    let both = [&after, &again].map(|it| Arc::clone(it.destination_named("outbound|443||a").unwrap()));
    assert!(Arc::ptr_eq(&both[0], &both[1]), "what did not change is shared");
}

#[test]
fn a_dump_names_credentials_and_shows_none() {
    let mut world = World::new();
    let tls = vec![server(TlsMode::Simple, &["*"], "default/a")];
    let table = world.apply([gateway(tls), credential("default/a")]);
    let dumped = dump(&table);
    assert_eq!(dumped["credentials"], serde_json::json!([{"name": "default/a"}]));
    assert!(!dumped.to_string().contains("PRIVATE KEY"), "{dumped}");
    assert!(!format!("{table:?}").contains("PRIVATE KEY"));
}

#[test]
fn an_explanation_says_who_must_prove_what() {
    let mut world = World::new();
    let id = "spiffe://cluster.local/ns/default/sa/a";
    let tls = ClientTls { identities: vec![id.into()], ..ClientTls::default() };
    let name = "outbound|80||a";
    let destination = model::Destination { name: name.into(), tls: Some(tls), ..Default::default() };
    let with = |mtls| model::Endpoint { mtls, ..model::Endpoint::new("10.0.0.1", if mtls { 1 } else { 2 }) };
    let endpoints = |list: &[bool]| {
        let endpoints = list.iter().map(|mtls| with(*mtls)).collect();
        Resource::Endpoints(model::Endpoints { name: name.into(), endpoints })
    };
    let inbound = model::ListenerKind::Inbound {
        protocol: model::Protocol::Http,
        target: "127.0.0.1:1".parse().unwrap(),
        service: None,
        pool: Default::default(),
        mtls: model::MtlsMode::Strict,
    };
    let Resource::Proxy(mut own) = proxy() else { panic!("a proxy") };
    let listener = model::Listener::new("inbound/80", "127.0.0.1:2".parse().unwrap(), 80, inbound);
    own.listeners
        .push(model::Listener { mtls_origin: "PeerAuthentication/default/p spec.mtls".into(), ..listener });
    let said = |table: &Table, arrival: &Arrival| explain(table, arrival, &get("a:80", "/")).to_string();
    let table = world.apply([Resource::Proxy(own), host("a", &[80], false), endpoints(&[true, false])]);
    assert!(!said(&table, &outbound()).contains("TLS"));
    let table = world.apply([Resource::Destination(destination)]);
    let text = said(&table, &outbound());
    assert!(text.contains(&format!("mutual TLS to 1 of 2 endpoints; the server must be {id}")), "{text}");
    let text = said(&world.apply([endpoints(&[true])]), &outbound());
    assert!(text.contains(&format!("mutual TLS; the server must be {id}")), "{text}");
    let text = said(&world.apply([endpoints(&[false])]), &outbound());
    assert!(text.contains("plaintext: no endpoint takes mutual TLS"), "{text}");
    let text = said(&table, &Arrival { listener: 2, ..outbound() });
    let wanted = "takes mutual TLS only (STRICT) (PeerAuthentication/default/p spec.mtls)";
    assert!(text.contains(wanted), "{text}");
}
