//! A gateway's TLS ports.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use dromon_core::config::model::{
    Credential, HttpRule, ListenerKind, MtlsMode, Protocol, Resource, Role, ServerTls, TlsMode, TlsRule,
    TlsVersion, VirtualHost,
};
use dromon_tests::certs::{MeshCa, WebCa, run};
use dromon_tests::eventually;
use dromon_tests::http::get;
use dromon_tests::origin::Origin;
use dromon_tests::pair::{self, HOST, free_address, metric, sidecar};
use dromon_tests::proxy::{Proxy, destination, gateway, listener, proxy, to};

use crate::detection::tls_server;

pub(crate) fn settings(host: &str, mode: TlsMode, credential: &str) -> ServerTls {
    ServerTls {
        origin: "Gateway/default/front".into(),
        hosts: vec![host.into()],
        mode,
        protocol: Protocol::Http,
        credentials: if credential.is_empty() { Vec::new() } else { vec![format!("default/{credential}")] },
        ..ServerTls::default()
    }
}

pub(crate) fn start(
    driver: &str,
    upstream: SocketAddr,
    tls: Vec<ServerTls>,
    more: impl IntoIterator<Item = Resource>,
) -> (Proxy, SocketAddr) {
    start_with(driver, upstream, tls, more, &["--shards", "1"])
}

pub(crate) fn start_with(
    driver: &str,
    upstream: SocketAddr,
    tls: Vec<ServerTls>,
    more: impl IntoIterator<Item = Resource>,
    arguments: &[&str],
) -> (Proxy, SocketAddr) {
    let front = free_address();
    let mut resources = gateway(front, &[upstream], HttpRule::default());
    for resource in &mut resources {
        if let Resource::Proxy(proxy) = resource {
            proxy.listeners[0].tls = tls.clone();
        }
    }
    resources.extend(more);
    (Proxy::start("gateway~ingress.default", driver, &resources, arguments), front)
}

pub(crate) fn curl(front: SocketAddr, ca: &WebCa, host: &str, arguments: &[&str]) -> Output {
    let ca = ca.path("ca.crt").display().to_string();
    let resolve = format!("{host}:{}:127.0.0.1", front.port());
    let url = format!("https://{host}:{}/", front.port());
    let fixed = ["-sS", "-m", "20", "--cacert", &ca, "--resolve", &resolve, "-w", " %{http_version}"];
    run("curl", &[&fixed, arguments, &[&url]].concat())
}

pub(crate) fn text(output: &Output) -> String {
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
        settings("torn.example", TlsMode::Simple, "torn"),
    ];
    let mut credentials = ["exact", "wild"].map(|name| ca.credential(name)).to_vec();
    // The certificate of one key with another.
    let torn =
        Credential { name: "default/torn".into(), key: credentials[1].key.clone(), ..ca.credential("exact") };
    credentials.push(torn);
    let credentials = credentials.into_iter().map(Resource::Credential);
    let (mut proxy, front) = start(driver, origin.address, tls, credentials);
    for host in ["a.example", "x.wild.example"] {
        for (version, flag) in [("1.1", "--http1.1"), ("2", "--http2")] {
            let answer = curl(front, &ca, host, &[flag]);
            assert_eq!(text(&answer), format!("application {version}"), "{host}");
        }
    }
    for host in ["gone.example", "torn.example", "unknown.example"] {
        is_refused(&proxy, "no_credential", host, || text(&curl(front, &ca, host, &[])));
    }
    proxy.process.expect_stderr(&["torn.example", "default/torn"]);
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
    let (proxy, front) = start(driver, origin.address, tls, [credential]);
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
    let refused = |host: &str, shown: &[String], reason: &str| {
        is_refused(&proxy, reason, &format!("{host}: {reason}"), || ask(host, shown));
        assert_eq!(ask(host, &known), "application 1.1", "after {reason}");
    };
    refused("a.example", &[], "no_certificate");
    refused("a.example", &stranger, "unknown_ca");
    assert_eq!(ask("b.example", &[]), "application 1.1");
    refused("b.example", &stranger, "unknown_ca");
}

/// What `ask` gets is no answer, and the gateway says why in metric and log.
fn is_refused(proxy: &Proxy, reason: &str, what: &str, ask: impl FnOnce() -> String) {
    let failed = ["dromon_tls_handshakes_failed_total", "downstream", &format!("reason=\"{reason}\"")];
    let (before, lines) = (metric(proxy, &failed), proxy.process.stderr().len());
    let seen = ask();
    assert!(!seen.contains("application"), "{what}: {seen}");
    eventually(&format!("{what} to be counted"), || (metric(proxy, &failed) > before).then_some(()));
    proxy.process.expect_stderr_after(lines, &["TLS from 127.0.0.1", &format!("): {reason}: ")]);
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
    let (proxy, front) = start(driver, origin.address, tls, [Resource::Credential(credential)]);
    let ask = |host: &str, least: &str, most: &str| {
        text(&curl(front, &ca, host, &["--http1.1", least, "--tls-max", most]))
    };
    for (host, good, bad) in [("old.example", "1.2", "1.3"), ("new.example", "1.3", "1.2")] {
        let only = |version: &str| ask(host, &format!("--tlsv{version}"), version);
        assert_eq!(only(good), "application 1.1", "{host}");
        is_refused(&proxy, "incompatible", &format!("{host} in {bad}"), || only(bad));
        assert_eq!(only(good), "application 1.1", "{host}, after the refusal");
    }
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

/// What `openssl s_client` says; it ends by itself, or when the server closes.
pub(crate) fn s_client(front: SocketAddr, host: &str, input: &[u8], arguments: &[&str]) -> String {
    let mut command = Command::new("timeout");
    command.args(["30", "openssl", "s_client", "-servername", host, "-connect", &front.to_string()]);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("openssl is installed");
    let mut open = child.stdin.take().expect("piped");
    // One that was refused may be gone already.
    let _ = open.write_all(input);
    if input.is_empty() {
        drop(open);
        return text(&child.wait_with_output().expect("openssl ends"));
    }
    let output = child.wait_with_output().expect("openssl ends");
    drop(open);
    text(&output)
}

/// Two credentials of one host, of ECDSA and of RSA: each client gets the one that it can check.
pub fn both_kinds(driver: &str) {
    let origin = Origin::start("application");
    let ca = WebCa::new();
    ca.issue("ec", "DNS:a.example");
    ca.issue_rsa("rsa", "DNS:a.example");
    let both = ServerTls {
        credentials: vec!["default/ec".into(), "default/rsa".into()],
        ..settings("a.example", TlsMode::Simple, "")
    };
    let credentials = ["ec", "rsa"].map(|name| Resource::Credential(ca.credential(name)));
    let (_proxy, front) = start(driver, origin.address, vec![both], credentials);
    for version in ["-tls1_2", "-tls1_3"] {
        for (checked, kind) in [("ECDSA+SHA256", "ECDSA"), ("RSA-PSS+SHA256", "RSA-PSS")] {
            let said = s_client(front, "a.example", b"", &[version, "-sigalgs", checked]);
            let signed = format!("Peer signature type: {kind}");
            assert!(said.contains(&signed), "{driver}, {version}, {checked}: {said}");
        }
    }
    assert_eq!(text(&curl(front, &ca, "a.example", &["--http1.1"])), "application 1.1");
}

/// A client of TLS 1.2 that asks for another handshake within its session loses it, with the reason, and nobody else does.
pub fn renegotiation(driver: &str) {
    let origin = Origin::start("application");
    let ca = WebCa::new();
    ca.issue("server", "DNS:a.example");
    let tls = vec![settings("a.example", TlsMode::Simple, "server")];
    let (mut proxy, front) =
        start(driver, origin.address, tls, [Resource::Credential(ca.credential("server"))]);
    for alpn in [&[][..], &["-alpn", "h2"][..]] {
        let said = s_client(front, "a.example", b"R\n", &[&["-tls1_2"], alpn].concat());
        assert!(said.contains("RENEGOTIATING"), "{driver}: it was asked for: {said}");
        assert!(said.contains("no renegotiation"), "{driver}: it was refused: {said}");
        assert_eq!(
            text(&curl(front, &ca, "a.example", &["--http1.1", "--tls-max", "1.2"])),
            "application 1.1"
        );
    }
    proxy.process.expect_stderr(&["TLS from", "renegotiation", "new handshake"]);
    eventually("both to be counted", || {
        let failed = ["dromon_tls_handshakes_failed_total", "downstream", "reason=\"renegotiation\""];
        (metric(&proxy, &failed) == 2.0).then_some(())
    });
}

/// Between two sidecars, a gateway that knows nothing but the name that a sidecar spells its destination by.
pub fn spelled_passthrough(driver: &str) {
    let ca = MeshCa::new();
    let origin = Origin::start("application");
    let [front, inbound, between] = [(); 3].map(|()| free_address());
    let (of_client, of_server) = (ca.folder("client"), ca.folder("server"));
    let down = pair::server(inbound, origin.address, Protocol::Http, MtlsMode::Strict);
    let down = sidecar(driver, &down, of_server.path());
    let mut resources = destination(HOST, &[inbound]);
    let mut port = listener("gateway/tls", between, ListenerKind::GatewayTcp);
    port.tls = vec![settings("*.local", TlsMode::AutoPassthrough, "")];
    resources.insert(0, proxy(Role::Gateway, vec![port]));
    let mut gateway = Proxy::start("gateway~ingress.default", driver, &resources, &["--shards", "1"]);
    let up = pair::client(front, between, Protocol::Http, &ca.id("server"));
    let _up = sidecar(driver, &up, of_client.path());
    for _ in 0..3 {
        let answer = get(front, "/", &[("Host", HOST)]).expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (200, "application"), "{driver}");
    }
    let client = format!("source_principal=\"{}\"", &ca.id("client")["spiffe://".len()..]);
    assert_eq!(metric(&down, &["istio_requests_total", "mutual_tls", &client]), 3.0, "from end to end");
    assert_eq!(metric(&gateway, &["dromon_downstream_tls_handshakes_total"]), 0.0, "nothing ends here");
    for name in ["outbound_.80_._.nowhere.local", "web.local", "web.example"] {
        assert!(!s_client(between, name, b"", &[]).contains("BEGIN CERTIFICATE"), "{driver}: {name}");
    }
    assert!(gateway.process.ended().is_none());
    assert_eq!(get(front, "/", &[("Host", HOST)]).expect("an answer").status, 200, "{driver}");
}
