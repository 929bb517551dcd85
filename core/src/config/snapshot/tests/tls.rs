use super::*;
use crate::config::model::{
    ClientTls, ClientTlsMode, Credential, Destination, Listener, ListenerKind, PrivateKey, Proxy, ServerTls,
    TlsMode, TlsVersion,
};

const KEY: &str = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";

fn credential() -> Credential {
    Credential {
        name: "default/shop".into(),
        cert_chain: "-----BEGIN CERTIFICATE-----".into(),
        key: PrivateKey::new(KEY.into()),
        ..Credential::default()
    }
}

fn server(edit: impl FnOnce(&mut ServerTls)) -> Resource {
    let mut tls = ServerTls {
        origin: "Gateway/default/shop spec.servers[0]".into(),
        hosts: vec!["*".into()],
        credentials: vec!["default/shop".into()],
        protocol: model::Protocol::Http,
        ..ServerTls::default()
    };
    edit(&mut tls);
    let address = "127.0.0.1:8443".parse().unwrap();
    let listener = Listener::new("gateway/443", address, 443, ListenerKind::GatewayHttp);
    let listeners = vec![Listener { tls: vec![tls], ..listener }];
    Resource::Proxy(Proxy { name: "gateway~a.default".into(), listeners, ..Proxy::default() })
}

fn client(tls: ClientTls) -> Resource {
    let name = "outbound|443||a".into();
    Resource::Destination(Destination { name, tls: Some(tls), ..Destination::default() })
}

#[test]
fn tls_settings_that_cannot_be_carried_out_are_refused() {
    let why = refusal(server(|it| {
        (it.min_version, it.max_version) = (Some(TlsVersion::V1_3), Some(TlsVersion::V1_2));
    }));
    assert_eq!(
        why,
        "listener gateway/443: Gateway/default/shop spec.servers[0]: minVersion is over maxVersion"
    );
    assert!(refusal(server(|it| it.hosts = vec!["A b".into()])).contains("hosts: \"A b\""));
    assert!(refusal(server(|it| it.protocol = model::Protocol::Tls)).contains("protocol: Tls"));
    assert!(refusal(server(|it| it.subject_alt_names = vec!["x".into()])).contains("subjectAltNames"));
    let mutual = ClientTls { mode: ClientTlsMode::Mutual, ..ClientTls::default() };
    assert!(refusal(client(mutual)).contains("tls.credential: mode MUTUAL"));
    let named = ClientTls { identities: vec!["cluster.local/ns/a".into()], ..ClientTls::default() };
    assert!(refusal(client(named)).contains("is not a SPIFFE id"));
    let proxy = Proxy { name: "a".into(), trust_domain: "Not a domain".into(), ..Proxy::default() };
    assert!(refusal(Resource::Proxy(proxy)).contains("trustDomain"));
    let half = Credential { key: PrivateKey::default(), ..credential() };
    assert!(refusal(Resource::Credential(half)).contains("belong together"));
    let empty = Credential { name: "a/b".into(), ..Credential::default() };
    assert!(refusal(Resource::Credential(empty)).contains("neither a certificate nor a CA"));
}

#[test]
fn passthrough_needs_no_credential() {
    let pass = server(|it| (it.mode, it.credentials) = (TlsMode::Passthrough, Vec::new()));
    assert_eq!(Snapshot::new().apply([update(pass)], []).rejected, []);
}

#[test]
fn private_keys_are_neither_saved_nor_shown() {
    let mut snapshot = Snapshot::new();
    snapshot.apply([update(Resource::Credential(credential())), update(server(|_| {}))], []);
    assert_eq!(snapshot.credentials().len(), 1);
    let saved = serde_json::to_string(&snapshot.saved()).unwrap();
    assert!(saved.contains("default/shop") && !saved.contains("PRIVATE KEY"), "{saved}");
    let shown = format!("{snapshot:?}");
    assert!(shown.contains("(redacted)") && !shown.contains("c2VjcmV0"), "{shown}");
    let renewed = Credential { key: PrivateKey::new("another".into()), ..credential() };
    let mut after = snapshot.clone();
    after.apply([Update { version: "2".into(), resource: Resource::Credential(renewed) }], []);
    let changes: Vec<String> = diff(&snapshot, &after).iter().map(|it| it.to_string()).collect();
    assert_eq!(changes, ["~ Credential default/shop: key"]);
}

#[test]
fn a_credential_travels_whole() {
    let json = serde_json::to_vec(&credential()).unwrap();
    let read = Update::decode(Kind::Credential, "default/shop", "1", &json).unwrap();
    assert_eq!(read.resource, Resource::Credential(credential()));
}

#[test]
fn what_an_older_controller_sends_keeps_its_meaning() {
    let json = br#"{"name":"a","listeners":[{"name":"i","address":"127.0.0.1:1","logicalPort":1,
        "kind":{"type":"inbound","protocol":"HTTP","target":"127.0.0.1:2"}}]}"#;
    let read = Update::decode(Kind::Proxy, "a", "1", json).unwrap();
    let Resource::Proxy(proxy) = read.resource else { panic!("{read:?}") };
    assert_eq!(proxy.trust_domain(), "cluster.local");
    let ListenerKind::Inbound { mtls, .. } = &proxy.listeners[0].kind else { panic!("inbound") };
    assert_eq!(*mtls, model::MtlsMode::Permissive);
    assert!(proxy.listeners[0].tls.is_empty() && !proxy.listeners[0].proxy_protocol);
    let read = Update::decode(Kind::Destination, "b", "1", br#"{"name":"b"}"#).unwrap();
    assert_eq!(read.resource, Resource::Destination(Destination { name: "b".into(), ..Default::default() }));
}
