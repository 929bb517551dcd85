//! What the access log tells of TLS, whatever version of HTTP either side speaks.

use std::path::Path;

use dromon_core::config::model::{
    AccessLog, ClientTls, ClientTlsMode, HttpRule, Protocol, Resource, ServerTls, TlsMode,
};
use dromon_tests::certs::{WebCa, run};
use dromon_tests::eventually;
use dromon_tests::pair::free_address;
use dromon_tests::proxy::{Proxy, gateway};

use crate::detection::tls_server;

/// An upstream whose certificate is for another name, and one that wants a certificate that it does not get, which with
/// TLS 1.3 it says after the handshake: the log has the text, and the name that the client asked for.
pub fn failures(driver: &str) {
    let ca = WebCa::new();
    ca.issue("server", "DNS:api.example");
    ca.issue("front", "DNS:a.example");
    let (certificate, key) = (ca.path("server.crt"), ca.path("server.key"));
    let authority = ca.path("ca.crt").display().to_string();
    let wants = ["-Verify", "1", "-CAfile", &authority, "-verify_return_error", "-alpn", "h2,http/1.1"];
    for (arguments, name, told) in [
        (&["-alpn", "h2,http/1.1"][..], "other.example", "wrong_identity"),
        (&wants[..], "api.example", "refused_by_peer"),
    ] {
        let upstream = free_address();
        let _server = tls_server(upstream, &certificate, &key, arguments);
        for protocol in [Protocol::Http, Protocol::Http2] {
            let (proxy, front) = start(driver, upstream, protocol, name, &ca);
            for (flag, version) in [("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2")] {
                let url = format!("https://a.example:{}/{}", front.port(), &flag[2..]);
                assert_eq!(ask(front.port(), &ca.path("ca.crt"), &url, flag), "503");
                let path = format!("/{} ", &flag[2..]);
                eventually(&format!("{told} for {version} to {protocol:?} in the log"), || {
                    let lines = proxy.process.stdout();
                    let line = lines.iter().find(|line| line.contains(&path) && line.contains(version))?;
                    let parts = [" UF,", told, " a.example "];
                    assert!(parts.iter().all(|part| line.contains(part)), "{driver}, {told}: {line}");
                    Some(())
                });
            }
        }
    }
}

fn start(
    driver: &str,
    upstream: std::net::SocketAddr,
    protocol: Protocol,
    name: &str,
    ca: &WebCa,
) -> (Proxy, std::net::SocketAddr) {
    let front = free_address();
    let mut resources = gateway(front, &[upstream], HttpRule::default());
    for resource in &mut resources {
        match resource {
            Resource::Proxy(proxy) => {
                proxy.access_log = Some(AccessLog { path: "/dev/stdout".into(), ..AccessLog::default() });
                proxy.listeners[0].tls = vec![ServerTls {
                    origin: "Gateway/default/front".into(),
                    hosts: vec!["a.example".into()],
                    mode: TlsMode::Simple,
                    protocol: Protocol::Http,
                    credentials: vec!["default/front".into()],
                    ..ServerTls::default()
                }];
            }
            Resource::Destination(it) => {
                it.protocol = protocol;
                it.tls = Some(ClientTls {
                    mode: ClientTlsMode::Simple,
                    sni: name.into(),
                    credential: "default/front".into(),
                    ..ClientTls::default()
                });
            }
            _ => {}
        }
    }
    resources.push(Resource::Credential(ca.credential("front")));
    (Proxy::start("gateway~ingress.default", driver, &resources, &["--shards", "1"]), front)
}

/// The status that curl gets.
fn ask(port: u16, ca: &Path, url: &str, flag: &str) -> String {
    let ca = ca.display().to_string();
    let resolve = format!("a.example:{port}:127.0.0.1");
    let fixed = ["-sS", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", &ca];
    let output = run("curl", &[&fixed[..], &["--resolve", &resolve, flag, url]].concat());
    String::from_utf8_lossy(&output.stdout).into_owned()
}
