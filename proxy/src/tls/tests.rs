use std::sync::Arc;
use std::time::Duration;

use dromon_auth::authority::{Authority, KeyKind, Wanted};
use dromon_auth::{Identity, SpiffeId, TrustDomain};
use dromon_core::config::compile;
use dromon_core::config::model::{
    Credential, Listener, ListenerKind, PrivateKey, Protocol, Proxy, Resource, ServerTls, TlsMode,
};
use dromon_core::config::snapshot::{Snapshot, Update};
use dromon_core::config::table::Table;
use rustls::pki_types::UnixTime;

use super::{Credentials, TlsTable};

fn table(servers: Vec<ServerTls>, credentials: Vec<Credential>) -> Arc<Table> {
    let address = "127.0.0.1:443".parse().unwrap();
    let listener =
        Listener { tls: servers, ..Listener::new("gateway/443", address, 443, ListenerKind::GatewayHttp) };
    let proxy = Proxy { name: "gateway".into(), listeners: vec![listener], ..Proxy::default() };
    let mut resources = vec![Resource::Proxy(proxy)];
    resources.extend(credentials.into_iter().map(Resource::Credential));
    let updates = resources.into_iter().map(|resource| Update { version: "1".into(), resource });
    let mut snapshot = Snapshot::new();
    assert_eq!(snapshot.apply(updates, []).rejected, []);
    compile::compile(&compile::Inputs {
        version: 1,
        snapshot: &snapshot,
        answers: &Default::default(),
        previous: None,
        seed: 1,
    })
}

fn issued(name: &str, chain_of: &str) -> (Credential, Identity) {
    let now = UnixTime::now();
    let domain = TrustDomain::new("cluster.local").unwrap();
    let authority = Authority::new_root(&domain, now).unwrap();
    let id = SpiffeId::new(&domain, "shop", chain_of).unwrap();
    let wanted = Wanted { id, key: KeyKind::EcdsaP256, life: Duration::from_secs(600) };
    let leaf = authority.issue(&wanted, now).unwrap();
    let root = authority.root_pem();
    let identity = Identity::from_pem(leaf.chain.as_bytes(), leaf.key.as_bytes(), root.as_bytes()).unwrap();
    let credential = Credential {
        name: name.into(),
        cert_chain: leaf.chain,
        key: PrivateKey::new(leaf.key.to_string()),
        ca: root,
        ..Credential::default()
    };
    (credential, identity)
}

fn server(host: &str, mode: TlsMode, credential: &str) -> ServerTls {
    ServerTls {
        origin: "Gateway/shop/front".into(),
        hosts: vec![host.into()],
        mode,
        protocol: Protocol::Http,
        credentials: vec![credential.into()],
        ..ServerTls::default()
    }
}

#[test]
fn a_missing_credential_takes_down_its_own_hosts_only() {
    let (good, _) = issued("shop/good", "good");
    let servers = vec![
        server("a.example", TlsMode::Simple, "shop/good"),
        server("b.example", TlsMode::Simple, "shop/gone"),
        server("c.example", TlsMode::Mutual, "shop/good"),
    ];
    let tls = TlsTable::build(&table(servers, vec![good]), &Credentials::default(), &TlsTable::default());
    let state: Vec<bool> = (0..3).map(|at| tls.server("gateway/443", at).unwrap().config().is_ok()).collect();
    assert_eq!(state, [true, false, true]);
    let problems = tls.problems();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("b.example") && problems[0].contains("shop/gone"), "{problems:?}");
}

#[test]
fn what_stays_the_same_is_not_made_again() {
    let (good, identity) = issued("shop/good", "good");
    let table = table(vec![server("a.example", TlsMode::Simple, "shop/good")], vec![good]);
    let credentials = Credentials { identity: Some(identity), ..Credentials::default() };
    let first = TlsTable::build(&table, &credentials, &TlsTable::default());
    let second = TlsTable::build(&table, &credentials, &first);
    let config = |tls: &TlsTable| tls.server("gateway/443", 0).unwrap().config().unwrap().clone();
    assert!(Arc::ptr_eq(&config(&first), &config(&second)));
    assert!(Arc::ptr_eq(first.mesh().unwrap(), second.mesh().unwrap()));
}

#[test]
fn without_a_certificate_no_mutual_tls_is_served() {
    let mutual = vec![server("*", TlsMode::IstioMutual, "")];
    let tls = TlsTable::build(&table(mutual, Vec::new()), &Credentials::default(), &TlsTable::default());
    assert!(tls.mesh().is_none());
    assert!(tls.server("gateway/443", 0).unwrap().config().unwrap_err().contains("no certificate"));
}
