//! Hostile certificates, each shown in a real handshake and refused for the right reason at both ends.

use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::UnixTime;

use super::Allowed;
use super::clients::Clients;
use super::named_servers::Servers;
use crate::alpn;
use crate::credential::Credential;
use crate::failure::Reason;
use crate::identity::Identity;
use crate::options::Options;
use crate::session::Sessions;
use crate::spiffe::{SpiffeId, Trust, TrustDomain};
use crate::testing::{Forge, authority, dns, id, identity_of, issue, seconds_from_now, shake, trust, uri};
use crate::tls::client::{mesh_client, origination};
use crate::tls::server::{gateway_server, mesh_server};
use crate::tls::sni::CredentialsBySni;

const NAME: &str = "reviews.default.svc.cluster.local";

/// A workload of a mesh whose CA the tests can make do anything.
fn forged(forge: &Forge, change: impl FnOnce(&mut rcgen::CertificateParams)) -> Identity {
    let (chain, key) = forge.leaf(|params| {
        params.subject_alt_names = vec![uri("spiffe://cluster.local/ns/default/sa/forged")];
        change(params);
    });
    Identity::from_pem(chain.as_bytes(), key.as_bytes(), forge.root.as_bytes()).expect("an identity")
}

fn server(identity: &Identity, trust: &Trust) -> Arc<ServerConfig> {
    mesh_server(identity, trust, &Options::mesh(alpn::MESH_SERVER), &Sessions::new()).expect("a server")
}

fn client(identity: &Identity, allowed: &Allowed) -> Arc<ClientConfig> {
    mesh_client(identity, &trust(), allowed, &Options::mesh(alpn::MESH_TCP_CLIENT), &Sessions::new())
        .expect("a client")
}

/// A client that shows any credential at all.
fn any_client(credential: Option<&Credential>) -> Arc<ClientConfig> {
    origination(&Servers::Any, credential, &Options::public(&[]), &Sessions::new()).expect("a client")
}

fn at(time: UnixTime) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(time.as_secs() as i64).expect("a date")
}

/// Certificates of a right CA that are wrong in themselves, with the reason they are refused for.
fn wrong_in_itself(forge: &Forge) -> Vec<(&'static str, Credential, Reason)> {
    let forged = |what, reason, change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let (chain, key) = forge.leaf(|params| {
            params.subject_alt_names = vec![uri("spiffe://cluster.local/ns/default/sa/forged")];
            change(params);
        });
        (what, Credential::from_pem(chain.as_bytes(), key.as_bytes()).expect("a credential"), reason)
    };
    vec![
        forged("expired", Reason::Expired, &|params| params.not_after = at(seconds_from_now(-60))),
        forged("not yet valid", Reason::NotYetValid, &|params| params.not_before = at(seconds_from_now(60))),
        forged("no name", Reason::NoSan, &|params| params.subject_alt_names.clear()),
        forged("a host's name", Reason::NoSan, &|params| params.subject_alt_names = dns(&[NAME])),
        forged("two names", Reason::WrongIdentity, &|params| {
            params.subject_alt_names.push(uri("spiffe://cluster.local/ns/default/sa/other"));
        }),
        forged("no workload", Reason::WrongIdentity, &|params| {
            params.subject_alt_names = vec![uri("spiffe://cluster.local/host/a")];
        }),
        forged("another trust domain", Reason::WrongIdentity, &|params| {
            params.subject_alt_names = vec![uri("spiffe://evil.example/ns/default/sa/forged")];
        }),
        forged("wrong usage", Reason::WrongUsage, &|params| {
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::EmailProtection];
        }),
    ]
}

#[test]
fn a_sidecar_refuses_clients_by_their_certificate() {
    let forge = Forge::new();
    let server = server(&forged(&forge, |_| {}), &trust());
    for (what, credential, reason) in wrong_in_itself(&forge) {
        let ends = shake(&any_client(Some(&credential)), &server, NAME);
        assert_eq!(ends.refused_by_server().reason, reason, "{what}");
        assert_eq!(ends.refused_by_client().reason, Reason::RefusedByPeer, "{what}: told to the other end");
    }
    let stranger = forged(&Forge::new(), |_| {});
    let ends = shake(&any_client(Some(stranger.credential())), &server, NAME);
    assert_eq!(ends.refused_by_server().reason, Reason::UnknownCa);
    let ends = shake(&any_client(None), &server, NAME);
    assert_eq!(ends.refused_by_server().reason, Reason::NoCertificate);
    assert!(ends.refused_by_client().detail.contains("certificate_required"));
}

#[test]
fn a_sidecar_refuses_servers_by_their_certificate() {
    let forge = Forge::new();
    let client = client(&forged(&forge, |_| {}), &Allowed::AnyOfMesh);
    for (what, credential, reason) in wrong_in_itself(&forge) {
        let mut hosts = CredentialsBySni::default();
        assert!(hosts.insert("*", Ok(&credential)));
        let options = Options::mesh(alpn::MESH_SERVER);
        let server =
            gateway_server(Arc::new(hosts), &Clients::Anyone, &options, &Sessions::new()).expect("a server");
        let ends = shake(&client, &server, NAME);
        assert_eq!(ends.refused_by_client().reason, reason, "{what}");
        assert_eq!(ends.refused_by_server().reason, Reason::RefusedByPeer, "{what}: told to the other end");
    }
    let stranger = forged(&Forge::new(), |_| {});
    let ends = shake(&client, &server(&stranger, &trust()), NAME);
    assert_eq!(ends.refused_by_client().reason, Reason::UnknownCa);
}

#[test]
fn who_stands_behind_a_service_is_checked_and_both_ends_know() {
    let authority = authority();
    let of =
        |account: &str| identity_of(&issue(&authority, id(account), UnixTime::now()), &authority.root_pem());
    let server = server(&of("impostor"), &trust());
    let ends =
        shake(&client(&of("productpage"), &Allowed::of([id("reviews"), id("reviews-2")])), &server, NAME);
    let failure = ends.refused_by_client();
    assert_eq!(failure.reason, Reason::WrongIdentity);
    assert_eq!(
        failure.detail,
        "the peer is spiffe://cluster.local/ns/default/sa/impostor; expected \
         spiffe://cluster.local/ns/default/sa/reviews or spiffe://cluster.local/ns/default/sa/reviews-2"
    );
    assert!(ends.refused_by_server().detail.contains("does not accept who we are"));
    assert!(shake(&client(&of("productpage"), &Allowed::of([id("impostor")])), &server, NAME).is_done());
}

#[test]
fn aliases_of_the_trust_domain_are_let_in() {
    let authority = authority();
    let old = TrustDomain::new("old.example").expect("a domain");
    let of_old = SpiffeId::new(&old, "default", "productpage").expect("an id");
    let peer = identity_of(&issue(&authority, of_old, UnixTime::now()), &authority.root_pem());
    let own = identity_of(&issue(&authority, id("reviews"), UnixTime::now()), &authority.root_pem());
    let client = any_client(Some(peer.credential()));
    let ends = shake(&client, &server(&own, &trust()), NAME);
    assert_eq!(ends.refused_by_server().reason, Reason::WrongIdentity);
    let with_alias = Trust::new(crate::testing::domain(), vec![old]);
    assert!(shake(&client, &server(&own, &with_alias), NAME).is_done());
}

#[test]
fn a_gateway_asks_clients_for_certificates_as_its_mode_says() {
    let (forge, clients) = (Forge::new(), Forge::new());
    let own = forge.credential(&["shop.example"]);
    let meet = |names: &[&str], optional: bool, shown: Option<&Credential>| {
        let mut hosts = CredentialsBySni::default();
        assert!(hosts.insert("shop.example", Ok(&own)));
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let rule = Clients::Known { roots: clients.roots(), names, optional };
        let server = gateway_server(Arc::new(hosts), &rule, &Options::public(&[]), &Sessions::new());
        shake(&any_client(shown), &server.expect("a server"), "shop.example")
    };
    let (known, stranger) =
        (clients.credential(&["partner.example"]), forge.credential(&["partner.example"]));
    assert!(meet(&[], false, Some(&known)).is_done());
    assert_eq!(meet(&[], false, None).refused_by_server().reason, Reason::NoCertificate);
    assert_eq!(meet(&[], false, Some(&stranger)).refused_by_server().reason, Reason::UnknownCa);
    assert!(meet(&[], true, None).is_done(), "optional");
    assert_eq!(meet(&[], true, Some(&stranger)).refused_by_server().reason, Reason::UnknownCa);
    assert!(meet(&["partner.example", "other.example"], false, Some(&known)).is_done());
    let ends = meet(&["other.example"], false, Some(&known));
    assert_eq!(ends.refused_by_server().detail, "the peer is partner.example; expected other.example");
}

#[test]
fn a_gateway_lets_in_no_client_that_is_revoked() {
    let (forge, sessions) = (Forge::new(), Sessions::new());
    let own = forge.credential(&["shop.example"]);
    let of = |serial: u64| {
        let (chain, key) = forge.leaf(|params| params.serial_number = Some(serial.into()));
        Credential::from_pem(chain.as_bytes(), key.as_bytes()).expect("a credential")
    };
    let meet = |lists: &str, shown: &Arc<ClientConfig>| {
        let mut hosts = CredentialsBySni::default();
        assert!(hosts.insert("shop.example", Ok(&own)));
        let roots = forge.roots().with_revocations(lists.as_bytes()).expect("lists");
        let rule = Clients::Known { roots, names: Vec::new(), optional: true };
        let server = gateway_server(Arc::new(hosts), &rule, &Options::public(&[]), &sessions);
        shake(shown, &server.expect("a server"), "shop.example")
    };
    let (one, two) = (any_client(Some(&of(1))), any_client(Some(&of(2))));
    assert!(meet("", &one).is_done(), "without a list nobody is revoked");
    let list = forge.revoke(&[1], 600);
    assert_eq!(meet(&list, &one).refused_by_server().reason, Reason::Revoked, "nor by the session before");
    assert!(meet(&list, &two).is_done());
    assert!(!meet(&forge.revoke(&[], -60), &two).is_done(), "a list that is out of date tells nothing");
    assert!(!meet(&Forge::new().revoke(&[], 600), &two).is_done(), "nor does one of another CA");
    assert!(forge.roots().with_revocations(b"no list").is_err());
}

#[test]
fn origination_takes_no_server_that_is_revoked() {
    let forge = Forge::new();
    let (chain, key) = forge.leaf(|params| {
        params.serial_number = Some(1.into());
        params.subject_alt_names = dns(&["api.example"]);
    });
    let shown = Credential::from_pem(chain.as_bytes(), key.as_bytes()).expect("a credential");
    let mut hosts = CredentialsBySni::default();
    assert!(hosts.insert("*", Ok(&shown)));
    let (options, sessions) = (Options::public(&[]), Sessions::new());
    let server = gateway_server(Arc::new(hosts), &Clients::Anyone, &options, &sessions).expect("a server");
    let meet = |lists: &str, names: &[&str]| {
        let roots = forge.roots().with_revocations(lists.as_bytes()).expect("lists");
        let servers = Servers::Named(roots, names.iter().map(|name| (*name).to_owned()).collect());
        shake(&origination(&servers, None, &options, &sessions).expect("a client"), &server, "api.example")
    };
    for names in [&[][..], &["api.example"]] {
        assert!(meet("", names).is_done(), "without a list nobody is revoked");
        assert!(meet(&forge.revoke(&[2], 600), names).is_done());
        let ends = meet(&forge.revoke(&[1], 600), names);
        assert_eq!(ends.refused_by_client().reason, Reason::Revoked, "nor by the session before");
        assert!(!meet(&forge.revoke(&[2], -60), names).is_done(), "a list that is out of date tells nothing");
        assert!(!meet(&Forge::new().revoke(&[], 600), names).is_done(), "nor does one of another CA");
    }
}

#[test]
fn origination_checks_the_name_or_the_list_of_names() {
    let forge = Forge::new();
    let mut hosts = CredentialsBySni::default();
    assert!(hosts.insert("*", Ok(&forge.credential(&["api.example", "*.wild.example"]))));
    let options = Options::public(&[]);
    let server =
        gateway_server(Arc::new(hosts), &Clients::Anyone, &options, &Sessions::new()).expect("a server");
    let meet = |servers: Servers, name: &str| {
        shake(&origination(&servers, None, &options, &Sessions::new()).expect("a client"), &server, name)
    };
    let named =
        |names: &[&str]| Servers::Named(forge.roots(), names.iter().map(|name| (*name).to_owned()).collect());
    assert!(meet(Servers::Web(forge.roots()), "api.example").is_done());
    let ends = meet(Servers::Web(forge.roots()), "other.example");
    assert_eq!(ends.refused_by_client().reason, Reason::WrongIdentity);
    assert!(meet(named(&["nobody.example", "api.example"]), "other.example").is_done());
    assert!(meet(named(&["a.wild.example"]), "other.example").is_done());
    assert_eq!(
        meet(named(&["a.b.wild.example"]), "api.example").refused_by_client().reason,
        Reason::WrongIdentity
    );
    assert!(meet(named(&[]), "api.example").is_done(), "an empty list is the name that is asked for");
    let ends = meet(Servers::Web(Forge::new().roots()), "api.example");
    assert_eq!(ends.refused_by_client().reason, Reason::UnknownCa);
    assert!(meet(Servers::Any, "whatever.example").is_done());
}
