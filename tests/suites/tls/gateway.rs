//! A gateway's TLS ports.

use std::net::SocketAddr;
use std::process::Output;

use dromon_core::config::model::{
    Credential, HttpRule, Protocol, Resource, ServerTls, TlsMode, TlsRule, TlsVersion, VirtualHost,
};
use dromon_tests::certs::{MeshCa, WebCa, run};
use dromon_tests::origin::Origin;
use dromon_tests::pair::{free_address, metric};
use dromon_tests::proxy::{Proxy, destination, gateway, to};

use crate::detection::tls_server;

fn settings(host: &str, mode: TlsMode, credential: &str) -> ServerTls {
    ServerTls {
        origin: "Gateway/default/front".into(),
        hosts: vec![host.into()],
        mode,
        protocol: Protocol::Http,
        credentials: if credential.is_empty() { Vec::new() } else { vec![format!("default/{credential}")] },
        ..ServerTls::default()
    }
}

fn start(
    driver: &str,
    upstream: SocketAddr,
    tls: Vec<ServerTls>,
    more: impl IntoIterator<Item = Resource>,
) -> (Proxy, SocketAddr) {
    let front = free_address();
    let mut resources = gateway(front, &[upstream], HttpRule::default());
    for resource in &mut resources {
        if let Resource::Proxy(proxy) = resource {
            proxy.listeners[0].tls = tls.clone();
        }
    }
    resources.extend(more);
    (Proxy::start("gateway~ingress.default", driver, &resources, &["--shards", "1"]), front)
}

fn curl(front: SocketAddr, ca: &WebCa, host: &str, arguments: &[&str]) -> Output {
    let ca = ca.path("ca.crt").display().to_string();
    let resolve = format!("{host}:{}:127.0.0.1", front.port());
    let url = format!("https://{host}:{}/", front.port());
    let fixed = ["-sS", "-m", "20", "--cacert", &ca, "--resolve", &resolve, "-w", " %{http_version}"];
    run("curl", &[&fixed, arguments, &[&url]].concat())
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// By name, by wildcard, in HTTP/1.1 and HTTP/2; one credential that is missing.
pub fn certificates(driver: &str) {
    let origin = Origin::start("application");
    let ca = WebCa::new();
    ca.issue("exact", "DNS:a.example");
    ca.issue("wild", "DNS:*.wild.example");
    let tls = vec![
        settings("a.example", TlsMode::Simple, "exact"),
        settings("*.wild.example", TlsMode::Simple, "wild"),
        settings("gone.example", TlsMode::Simple, "gone"),
    ];
    let credentials = ["exact", "wild"].map(|name| Resource::Credential(ca.credential(name)));
    let (mut proxy, front) = start(driver, origin.address, tls, credentials);
    for host in ["a.example", "x.wild.example"] {
        for (version, flag) in [("1.1", "--http1.1"), ("2", "--http2")] {
            let answer = curl(front, &ca, host, &[flag]);
            assert_eq!(text(&answer), format!("application {version}"), "{host}");
        }
    }
    for host in ["gone.example", "unknown.example"] {
        assert!(!curl(front, &ca, host, &[]).status.success(), "{host}");
    }
    proxy.process.expect_stderr(&["gone.example", "default/gone"]);
    proxy.process.expect_stderr(&["TLS from", "no_credential"]);
    assert!(metric(&proxy, &["dromon_tls_handshakes_failed_total", "no_credential"]) >= 1.0);
    let plain = dromon_tests::http::get(front, "/", &[]);
    assert!(plain.is_err(), "plaintext on a TLS port");
    assert_eq!(text(&curl(front, &ca, "a.example", &["--http1.1"])), "application 1.1");
}

/// MUTUAL and OPTIONAL_MUTUAL.
pub fn client_certificates(driver: &str) {
    let origin = Origin::start("application");
    let (ca, other) = (WebCa::new(), WebCa::new());
    ca.issue("server", "DNS:a.example,DNS:b.example");
    ca.issue("client", "DNS:client.example");
    other.issue("stranger", "DNS:client.example");
    let tls = vec![
        settings("a.example", TlsMode::Mutual, "server"),
        settings("b.example", TlsMode::OptionalMutual, "server"),
    ];
    let credential = Resource::Credential(ca.credential("server"));
    let (_proxy, front) = start(driver, origin.address, tls, [credential]);
    let shown = |of: &WebCa, name: &str| {
        ["--cert", "--key"]
            .into_iter()
            .zip(["crt", "key"])
            .flat_map(|(flag, end)| {
                [flag.to_owned(), of.path(&format!("{name}.{end}")).display().to_string()]
            })
            .collect::<Vec<_>>()
    };
    let ask = |host: &str, shown: &[String]| {
        let arguments: Vec<&str> = shown.iter().map(String::as_str).collect();
        text(&curl(front, &ca, host, &[&arguments[..], &["--http1.1"]].concat()))
    };
    let (known, stranger) = (shown(&ca, "client"), shown(&other, "stranger"));
    assert_eq!(ask("a.example", &known), "application 1.1");
    assert!(!ask("a.example", &[]).contains("application"));
    assert!(!ask("a.example", &stranger).contains("application"));
    assert_eq!(ask("b.example", &known), "application 1.1");
    assert_eq!(ask("b.example", &[]), "application 1.1");
    assert!(!ask("b.example", &stranger).contains("application"));
}

/// Oldest and newest version.
pub fn versions(driver: &str) {
    let origin = Origin::start("application");
    let ca = WebCa::new();
    ca.issue("server", "DNS:old.example,DNS:new.example");
    let only = |host: &str, version| ServerTls {
        min_version: Some(version),
        max_version: Some(version),
        ..settings(host, TlsMode::Simple, "server")
    };
    let tls = vec![only("old.example", TlsVersion::V1_2), only("new.example", TlsVersion::V1_3)];
    let credential: Credential = ca.credential("server");
    let (_proxy, front) = start(driver, origin.address, tls, [Resource::Credential(credential)]);
    let ask = |host: &str, least: &str, most: &str| {
        text(&curl(front, &ca, host, &["--http1.1", least, "--tls-max", most])).contains("application")
    };
    assert!(ask("old.example", "--tlsv1.2", "1.2") && !ask("old.example", "--tlsv1.3", "1.3"));
    assert!(ask("new.example", "--tlsv1.3", "1.3") && !ask("new.example", "--tlsv1.2", "1.2"));
}

/// Raw bytes by SNI, beside a host whose TLS ends here.
pub fn passthrough(driver: &str) {
    let origin = Origin::start("application");
    let ca = WebCa::new();
    ca.issue("here", "DNS:here.example");
    ca.issue("there", "DNS:there.example");
    let behind = free_address();
    let _server = tls_server(behind, &ca.path("there.crt"), &ca.path("there.key"), &[]);
    let tls = vec![
        settings("here.example", TlsMode::Simple, "here"),
        settings("there.example", TlsMode::Passthrough, ""),
    ];
    let mut more = destination("there.local", &[behind]);
    more.push(Resource::Credential(ca.credential("here")));
    more.push(Resource::VirtualHost(VirtualHost {
        name: "gateway/http/there".into(),
        listener: Some("gateway/http".into()),
        domains: vec!["there.example".into()],
        tls: vec![TlsRule { destinations: vec![to("there.local")], ..TlsRule::default() }],
        ..VirtualHost::default()
    }));
    let (_proxy, front) = start(driver, origin.address, tls, more);
    assert_eq!(text(&curl(front, &ca, "here.example", &["--http1.1"])), "application 1.1");
    assert!(text(&curl(front, &ca, "there.example", &["--http1.1"])).contains("s_server"));
    assert!(!curl(front, &ca, "else.example", &[]).status.success());
}

/// A client that the CA has revoked, at a port that wants certificates.
pub fn revoked(driver: &str) {
    let origin = Origin::start("application");
    let ca = WebCa::new();
    for (name, host) in [("server", "a.example"), ("good", "good.example"), ("bad", "bad.example")] {
        ca.issue(name, &format!("DNS:{host}"));
    }
    let mut credential = ca.credential("server");
    credential.crl = ca.revocations(&["bad"]);
    let tls = vec![settings("a.example", TlsMode::Mutual, "server")];
    let (mut proxy, front) = start(driver, origin.address, tls, [Resource::Credential(credential)]);
    let ask = |name: &str| {
        let [certificate, key] =
            ["crt", "key"].map(|end| ca.path(&format!("{name}.{end}")).display().to_string());
        text(&curl(front, &ca, "a.example", &["--http1.1", "--cert", &certificate, "--key", &key]))
    };
    assert_eq!(ask("good"), "application 1.1");
    assert!(!ask("bad").contains("application"));
    proxy.process.expect_stderr(&["TLS from", "revoked"]);
    assert!(metric(&proxy, &["dromon_tls_handshakes_failed_total", "reason=\"revoked\""]) >= 1.0);
    assert_eq!(ask("good"), "application 1.1");
}

/// A request for a host whose clients have to prove more than this connection's has (RFC 9110, 15.5.20).
pub fn misdirected(driver: &str) {
    let origin = Origin::start("application");
    let ca = WebCa::new();
    ca.issue("server", "DNS:open.example,DNS:closed.example");
    let tls = vec![
        settings("open.example", TlsMode::Simple, "server"),
        settings("closed.example", TlsMode::Mutual, "server"),
    ];
    let (_proxy, front) = start(driver, origin.address, tls, [Resource::Credential(ca.credential("server"))]);
    for flag in ["--http1.1", "--http2"] {
        let ask = |host: &str| {
            let header = format!("Host: {host}:{}", front.port());
            let output = curl(
                front,
                &ca,
                "open.example",
                &[flag, "-H", &header, "-o", "/dev/null", "-w", "%{http_code}"],
            );
            text(&output)
        };
        assert_eq!(ask("open.example"), "200", "{flag}");
        assert_eq!(ask("closed.example"), "421", "{flag}");
    }
    assert_eq!(origin.served(), 2);
}

/// Workloads of the mesh, and nobody else.
pub fn istio_mutual(driver: &str) {
    let (mesh, other) = (MeshCa::new(), MeshCa::new());
    let origin = Origin::start("application");
    let front = free_address();
    let mut resources = gateway(front, &[origin.address], HttpRule::default());
    for resource in &mut resources {
        if let Resource::Proxy(proxy) = resource {
            proxy.listeners[0].tls = vec![settings("*", TlsMode::IstioMutual, "")];
        }
    }
    let (own, client, stranger) = (mesh.folder("gateway"), mesh.folder("client"), other.folder("client"));
    let certs = own.path().display().to_string();
    let arguments = ["--shards", "1", "--certs", &certs];
    let proxy = Proxy::start("gateway~ingress.default", driver, &resources, &arguments);
    // A workload's certificate names no host: curl looks at the chain of what it shows only.
    let ask = |shown: Option<&std::path::Path>, flag: &str| {
        let url = format!("https://{front}/");
        let mut arguments = vec!["-sSk".to_owned(), "-m".into(), "20".into(), flag.into()];
        if let Some(folder) = shown {
            for (flag, file) in [("--cert", "cert-chain.pem"), ("--key", "key.pem")] {
                arguments.extend([flag.to_owned(), folder.join(file).display().to_string()]);
            }
        }
        arguments.push(url);
        text(&run("curl", &arguments.iter().map(String::as_str).collect::<Vec<_>>()))
    };
    for flag in ["--http1.1", "--http2"] {
        assert_eq!(ask(Some(client.path()), flag), "application");
        assert!(!ask(None, flag).contains("application"));
        assert!(!ask(Some(stranger.path()), flag).contains("application"));
    }
    for reason in ["no_certificate", "unknown_ca"] {
        let reason = format!("reason=\"{reason}\"");
        assert!(metric(&proxy, &["dromon_tls_handshakes_failed_total", &reason]) >= 1.0, "{reason}");
    }
}
