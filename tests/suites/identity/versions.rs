//! TLS 1.2 between sidecars where the mesh allows it (`meshMTLS.minProtocolVersion`), with openssl as the other end.

use dromon_core::config::model::{ListenerKind, MtlsMode, Protocol, Resource, Role, TlsVersion};
use dromon_tests::eventually;
use dromon_tests::http::get;
use dromon_tests::origin::Origin;
use dromon_tests::proxy::{listener, proxy};

use crate::forge::Forge;
use crate::hostile::{HOST, free_address, sidecar, towards};
use crate::openssl;

/// The same resources for a proxy that speaks versions from this one on.
fn speaking(mut resources: Vec<Resource>, version: Option<TlsVersion>) -> Vec<Resource> {
    for resource in &mut resources {
        if let Resource::Proxy(it) = resource {
            it.mesh_min_version = version;
        }
    }
    resources
}

/// Clients of TLS 1.2: let in by choice, refused without, and a certificate is asked for all the same.
pub fn clients(driver: &str) {
    let forge = Forge::new();
    let (own, friend) = (forge.papers("web", |_| {}), forge.papers("friend", |_| {}));
    let (origin, inbound) = (Origin::start("application"), free_address());
    let kind = ListenerKind::Inbound {
        protocol: Protocol::Http,
        target: origin.address,
        service: None,
        pool: Default::default(),
        mtls: MtlsMode::Strict,
    };
    let resources = vec![proxy(Role::Sidecar, vec![listener("inbound/80", inbound, kind)])];
    let ask = |papers| openssl::ask(inbound, papers, &["-tls1_2", "-alpn", "istio-http/1.1"]);
    let server = sidecar(driver, &resources, &own);
    let seen = ask(Some(&friend));
    assert!(!seen.contains("HTTP/1.1 200"), "nobody has chosen TLS 1.2: {seen}");
    server.configure(&speaking(resources.clone(), Some(TlsVersion::V1_2)));
    let seen = eventually("TLS 1.2 to be let in", || {
        Some(ask(Some(&friend))).filter(|seen| seen.contains("HTTP/1.1 200 OK"))
    });
    assert!(seen.contains("TLSv1.2"), "{seen}");
    let seen = ask(None);
    assert!(!seen.contains("HTTP/1.1 200"), "without a certificate: {seen}");
    // And the choice taken back.
    server.configure(&resources);
    eventually("TLS 1.2 to be refused again", || {
        let seen = ask(Some(&friend));
        (!seen.contains("HTTP/1.1 200") && seen.contains("alert protocol version")).then_some(())
    });
}

/// Servers that have nothing newer than TLS 1.2.
pub fn servers(driver: &str) {
    let forge = Forge::new();
    let [front, address] = [(); 2].map(|()| free_address());
    let resources = towards(front, address);
    let client = sidecar(driver, &resources, &forge.papers("client", |_| {}));
    let good = forge.papers("web", |_| {});
    let _server = openssl::serve(address, &good, &["-tls1_2", "-alpn", "istio-http/1.1"]);
    let ask = || get(front, "/", &[("Host", HOST)]).expect("an answer");
    let answer = ask();
    assert_eq!(answer.status, 503, "nobody has chosen TLS 1.2: {}", answer.text());
    assert_eq!(answer.header("x-dromon-reason"), Some("upstream_tls_failed"));
    client.configure(&speaking(resources, Some(TlsVersion::V1_2)));
    let answer = eventually("TLS 1.2 to be spoken", || Some(ask()).filter(|it| it.status == 200));
    assert!(answer.text().contains("TLSv1.2"), "{}", answer.text());
    // Its certificate counts as with TLS 1.3.
    drop(_server);
    let other = forge.papers("ratings", |_| {});
    let _impostor = openssl::serve(address, &other, &["-tls1_2", "-alpn", "istio-http/1.1"]);
    let refused = eventually("the impostor to be refused", || Some(ask()).filter(|it| it.status == 503));
    assert_eq!(refused.header("x-dromon-reason"), Some("upstream_tls_failed"));
}
