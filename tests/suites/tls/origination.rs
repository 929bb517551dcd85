//! TLS towards servers outside the mesh.

use dromon_core::config::model::{ClientTls, ClientTlsMode, HttpRule, Resource};
use dromon_tests::certs::WebCa;
use dromon_tests::http::get;
use dromon_tests::pair::free_address;
use dromon_tests::proxy::{Proxy, gateway};

use crate::detection::tls_server;

/// SIMPLE and MUTUAL against openssl, with names that fit and names that do not.
pub fn simple_and_mutual(driver: &str) {
    let ca = WebCa::new();
    ca.issue("server", "DNS:api.example");
    ca.issue("client", "DNS:client.example");
    let [simple, mutual] = [(); 2].map(|()| free_address());
    let (certificate, key) = (ca.path("server.crt"), ca.path("server.key"));
    let authority = ca.path("ca.crt").display().to_string();
    let _simple = tls_server(simple, &certificate, &key, &[]);
    let _mutual = tls_server(
        mutual,
        &certificate,
        &key,
        &["-Verify", "1", "-CAfile", &authority, "-verify_return_error"],
    );
    let settings = |mode, sni: &str, names: &[&str], skip| ClientTls {
        mode,
        sni: sni.into(),
        subject_alt_names: names.iter().map(|&name| name.to_owned()).collect(),
        credential: "default/client".into(),
        insecure_skip_verify: skip,
        ..ClientTls::default()
    };
    use ClientTlsMode::{Mutual, Simple};
    let cases = [
        (simple, settings(Simple, "api.example", &[], false), 200),
        (simple, settings(Simple, "other.example", &[], false), 503),
        (simple, settings(Simple, "other.example", &["api.example"], false), 200),
        (simple, settings(Simple, "api.example", &["other.example"], false), 503),
        (simple, settings(Simple, "other.example", &[], true), 200),
        (mutual, settings(Mutual, "api.example", &[], false), 200),
        (mutual, settings(Simple, "api.example", &[], false), 503),
    ];
    for (upstream, tls, status) in cases {
        let front = free_address();
        let mut resources = gateway(front, &[upstream], HttpRule::default());
        for resource in &mut resources {
            if let Resource::Destination(it) = resource {
                it.tls = Some(tls.clone());
            }
        }
        resources.push(Resource::Credential(ca.credential("client")));
        let _proxy = Proxy::start("gateway~ingress.default", driver, &resources, &["--shards", "1"]);
        let answer = get(front, "/", &[]).expect("an answer");
        assert_eq!(answer.status, status, "{tls:?}: {}", answer.text());
        if status == 503 {
            assert_eq!(answer.header("x-dromon-reason"), Some("upstream_tls_failed"), "{tls:?}");
        }
    }
}
