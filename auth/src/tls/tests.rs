use std::sync::Arc;

use rustls::{ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion, ServerConfig};

use super::client::{mesh_client, origination};
use super::server::{gateway_server, mesh_server};
use super::sni::{CredentialsBySni, SniMap};
use crate::alpn;
use crate::failure::Reason;
use crate::identity::Identity;
use crate::options::{Options, OptionsError, Version};
use crate::session::Sessions;
use crate::testing::{Forge, authority, id, identity, shake, trust};
use crate::verify::clients::Clients;
use crate::verify::named_servers::Servers;
use crate::verify::{Allowed, Peer, Vouched};

const NAME: &str = "outbound_.9080_._.reviews.default.svc.cluster.local";

fn server_of(identity: &Identity, sessions: &Sessions) -> Arc<ServerConfig> {
    mesh_server(identity, &trust(), &Options::mesh(alpn::MESH_SERVER), sessions).expect("a server")
}

fn client_of(identity: &Identity, account: &str, sessions: &Sessions) -> Arc<ClientConfig> {
    let options = Options::mesh(alpn::MESH_HTTP1_CLIENT);
    mesh_client(identity, &trust(), &Allowed::of([id(account)]), &options, sessions).expect("a client")
}

#[test]
fn mesh_peers_meet_and_know_each_other() {
    let (authority, sessions) = (authority(), Sessions::new());
    let server = server_of(&identity(&authority, "reviews"), &sessions);
    let client = client_of(&identity(&authority, "productpage"), "reviews", &sessions);
    let ends = shake(&client, &server, NAME);
    assert!(ends.is_done(), "{:?} {:?}", ends.client_error, ends.server_error);
    assert_eq!(ends.server.alpn_protocol(), Some(alpn::MESH_HTTP11));
    assert_eq!(ends.server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(ends.server.server_name(), Some(NAME));
    let group = ends.server.negotiated_key_exchange_group().expect("a group").name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
    let peer_by = |chain: Option<&[_]>, vouched| {
        Peer::of(chain.expect("a chain"), vouched, None).expect("alive").expect("a peer").id
    };
    let peer = |chain| peer_by(chain, Vouched::ByMesh);
    assert_eq!(peer(ends.server.peer_certificates()), Some(id("productpage")));
    assert_eq!(peer(ends.client.peer_certificates()), Some(id("reviews")));
    // The same names by the word of another CA, as a gateway's customer may have, make no workload of the mesh.
    assert_eq!(peer_by(ends.server.peer_certificates(), Vouched::ByOthers), None);
}

#[test]
fn a_second_connection_is_resumed_and_knows_its_peer() {
    let (authority, sessions) = (authority(), Sessions::new());
    let server = server_of(&identity(&authority, "reviews"), &sessions);
    let client = client_of(&identity(&authority, "productpage"), "reviews", &sessions);
    assert!(shake(&client, &server, NAME).is_done());
    let again = shake(&client, &server, NAME);
    assert!(again.is_done());
    assert_eq!(again.server.handshake_kind(), Some(HandshakeKind::Resumed));
    let chain = again.server.peer_certificates().expect("the chain of the first connection");
    assert_eq!(
        Peer::of(chain, Vouched::ByMesh, None).expect("alive").expect("a peer").id,
        Some(id("productpage"))
    );
    let later = crate::testing::seconds_from_now(4_000);
    assert_eq!(Peer::of(chain, Vouched::ByMesh, Some(later)).expect_err("over").reason(), Reason::Expired);
}

#[test]
fn a_session_is_not_resumed_by_who_would_not_be_let_in_now() {
    let (ours, theirs, sessions) = (authority(), authority(), Sessions::new());
    let reviews = identity(&ours, "reviews");
    let productpage = identity(&ours, "productpage");
    let server = server_of(&reviews, &sessions);
    let client = client_of(&productpage, "reviews", &sessions);
    assert!(shake(&client, &server, NAME).is_done());

    // The same server after its roots changed: the old ticket means nothing to it.
    let leaf = crate::testing::issue(&ours, id("reviews"), rustls_pki_types::UnixTime::now());
    let other_roots = crate::testing::identity_of(&leaf, &theirs.root_pem());
    let ends = shake(&client, &server_of(&other_roots, &sessions), NAME);
    assert_eq!(ends.refused_by_server().reason, Reason::UnknownCa);

    // The same client asks for another service at the same place: it must look at the server anew.
    let elsewhere = client_of(&productpage, "ratings", &sessions);
    let ends = shake(&elsewhere, &server, NAME);
    assert_eq!(ends.refused_by_client().reason, Reason::WrongIdentity);
}

#[test]
fn what_is_built_again_from_the_same_finds_its_sessions() {
    let (authority, sessions) = (authority(), Sessions::new());
    let (reviews, productpage) = (identity(&authority, "reviews"), identity(&authority, "productpage"));
    let (server, client) = (server_of(&reviews, &sessions), client_of(&productpage, "reviews", &sessions));
    assert!(shake(&client, &server, NAME).is_done());
    let (server_again, client_again) =
        (server_of(&reviews, &sessions), client_of(&productpage, "reviews", &sessions));
    let again = shake(&client_again, &server_again, NAME);
    assert_eq!(again.client.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn a_gateway_shows_the_certificate_of_the_name_and_only_a_broken_host_suffers() {
    let (forge, sessions) = (Forge::new(), Sessions::new());
    let (exact, wild) = (forge.credential(&["shop.example"]), forge.credential(&["*.mall.example"]));
    let mut hosts = CredentialsBySni::default();
    assert!(hosts.insert("shop.example", Ok(&exact)));
    assert!(hosts.insert("*.mall.example", Ok(&wild)));
    assert!(hosts.insert("broken.mall.example", Err("secret broken-tls has no tls.key".to_owned())));
    assert!(!hosts.insert("SHOP.example", Ok(&wild)), "the first one keeps the host");
    assert_eq!(
        hosts.missing(Some("broken.mall.example")).as_deref(),
        Some("secret broken-tls has no tls.key")
    );
    assert_eq!(hosts.missing(Some("a.mall.example")), None);
    let options = Options::public(alpn::HTTP_SERVER);
    let server = gateway_server(Arc::new(hosts), &Clients::Anyone, &options, &sessions).expect("a server");
    let client = origination(&Servers::Web(forge.roots()), None, &options, &sessions).expect("a client");
    for (name, shown) in [("shop.example", &exact), ("a.mall.example", &wild), ("SHOP.example", &exact)] {
        let ends = shake(&client, &server, name);
        assert!(ends.is_done(), "{name}: {:?} {:?}", ends.client_error, ends.server_error);
        assert_eq!(ends.client.peer_certificates(), Some(shown.chain()), "{name}");
    }
    for name in ["broken.mall.example", "elsewhere.invalid"] {
        let ends = shake(&client, &server, name);
        assert_eq!(ends.refused_by_server().reason, Reason::NoCredential, "{name}");
        assert_eq!(ends.refused_by_client().reason, Reason::RefusedByPeer, "{name}");
    }
}

#[test]
fn names_are_found_exactly_then_by_the_longest_wildcard() {
    let mut map = SniMap::default();
    for host in ["a.b.example", "*.b.example", "*.example", "*"] {
        assert_eq!(map.insert(host, host), Ok(()));
    }
    let found = |name| map.get(name).copied();
    assert_eq!(found(Some("a.b.example")), Some("a.b.example"));
    assert_eq!(found(Some("A.B.Example.")), Some("a.b.example"));
    assert_eq!(found(Some("c.b.example")), Some("*.b.example"));
    assert_eq!(found(Some("x.y.example")), Some("*.example"));
    assert_eq!(found(Some("example")), Some("*"));
    assert_eq!(found(None), Some("*"));
    let mut few = SniMap::default();
    assert_eq!(few.insert("*.example", 1), Ok(()));
    assert_eq!((few.get(None), few.get(Some("example"))), (None, None));
}

#[test]
fn versions_suites_and_groups_are_chosen() {
    let (forge, sessions) = (Forge::new(), Sessions::new());
    let credential = forge.credential(&["shop.example"]);
    let meet = |server: &Options, client: &Options| {
        let mut hosts = CredentialsBySni::default();
        assert!(hosts.insert("*", Ok(&credential)));
        let server = gateway_server(Arc::new(hosts), &Clients::Anyone, server, &sessions).expect("a server");
        let client = origination(&Servers::Web(forge.roots()), None, client, &sessions).expect("a client");
        shake(&client, &server, "shop.example")
    };
    let public = Options::public(&[]);
    let tls12 = Options { max_version: Version::Tls12, ..public.clone() };
    let tls13 = Options { min_version: Version::Tls13, ..public.clone() };
    let ends = meet(&public, &tls12);
    assert!(ends.is_done());
    assert_eq!(ends.server.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    assert_eq!(meet(&tls13, &tls12).refused_by_server().reason, Reason::Incompatible);

    let suite = "ECDHE-ECDSA-CHACHA20-POLY1305".to_owned();
    let chosen = Options { cipher_suites: vec![suite], ..tls12.clone() };
    let suite = meet(&chosen, &tls12).server.negotiated_cipher_suite().expect("a suite").suite();
    assert_eq!(suite, rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256);

    let suite = meet(&public, &public).server.negotiated_cipher_suite().expect("a suite").suite();
    assert_eq!(suite, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);

    let classic = Options { post_quantum: false, ..public.clone() };
    let group = meet(&public, &classic).server.negotiated_key_exchange_group().expect("a group").name();
    assert_eq!(group, NamedGroup::X25519);

    let h2_only = Options { alpn: alpn::list(&[alpn::H2]), ..public.clone() };
    let h1_only = Options { alpn: alpn::list(&[alpn::HTTP11]), ..public.clone() };
    assert_eq!(meet(&h2_only, &h1_only).refused_by_server().reason, Reason::Alpn);

    let unsound = Options { cipher_suites: vec!["AES128-SHA".to_owned()], ..public.clone() };
    let upside_down = Options { min_version: Version::Tls13, ..tls12 };
    let refused = |options: &Options| {
        origination(&Servers::Any, None, options, &sessions).map(drop).expect_err("cannot be carried out")
    };
    assert_eq!(refused(&unsound), OptionsError::CipherSuite("AES128-SHA".to_owned()));
    assert_eq!(refused(&upside_down), OptionsError::Versions);
}
