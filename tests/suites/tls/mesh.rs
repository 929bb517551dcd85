//! Two sidecars: a client's and a server's.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use dromon_core::config::model::{Limit, LimitKey, LimitScope, MtlsMode, Protocol, RateLimit, Resource};
use dromon_tests::certs::{MeshCa, run};
use dromon_tests::eventually;
use dromon_tests::http::get;
use dromon_tests::origin::Origin;
use dromon_tests::pair::{HOST, client, free_address, metric, server, sidecar};
use dromon_tests::scripted::Scripted;

/// Plain requests become mutual TLS between the sidecars, and the server knows the client's account.
pub fn http(driver: &str) {
    let ca = MeshCa::new();
    let origin = Origin::start("application");
    let [front, inbound] = [(); 2].map(|()| free_address());
    let (of_client, of_server) = (ca.folder("client"), ca.folder("server"));
    let down = server(inbound, origin.address, Protocol::Http, MtlsMode::Strict);
    let down = sidecar(driver, &down, of_server.path());
    let up = client(front, inbound, Protocol::Http, &ca.id("server"));
    let up = sidecar(driver, &up, of_client.path());
    for _ in 0..5 {
        let answer = get(front, "/", &[("Host", HOST)]).expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (200, "application"));
    }
    assert!(metric(&up, &["dromon_upstream_tls_handshakes_total"]) >= 1.0);
    assert!(metric(&down, &["dromon_downstream_tls_handshakes_total"]) >= 1.0);
    let mutual = ["istio_requests_total", "connection_security_policy=\"mutual_tls\""];
    assert!(metric(&down, &mutual) >= 5.0, "{}", get(down.stats, "/stats/prometheus", &[]).unwrap().text());
    let page = get(down.admin, "/certs", &[]).expect("a page").text();
    assert!(page.contains(&ca.id("server")) && page.contains("notAfter"), "{page}");
    assert!(!page.contains("PRIVATE"), "{page}");
    let left = metric(&down, &["dromon_certificate_expiry_seconds"]);
    assert!((3000.0..3601.0).contains(&left), "{left}");
}

/// The application is told who its client is, by the sidecar and nobody else; so are metrics and keyed limits.
pub fn principals(driver: &str) {
    let ca = MeshCa::new();
    let application = Scripted::start();
    let [front, inbound] = [(); 2].map(|()| free_address());
    let (of_client, of_server) = (ca.folder("client"), ca.folder("server"));
    let down = server(inbound, application.address, Protocol::Http, MtlsMode::Permissive);
    let down = sidecar(driver, &down, of_server.path());
    let up = client(front, inbound, Protocol::Http, &ca.id("server"));
    let up = sidecar(driver, &up, of_client.path());
    let lie = [("Host", HOST), ("X-Forwarded-Client-Cert", "URI=spiffe://cluster.local/ns/default/sa/admin")];
    assert_eq!(get(front, "/", &lie).expect("an answer").status, 200);
    assert_eq!(get(inbound, "/", &lie).expect("an answer").status, 200);
    let seen: Vec<_> =
        application.seen().iter().map(|it| it.header("x-forwarded-client-cert").map(str::to_owned)).collect();
    let shown = of_client.path().join("cert-chain.pem").display().to_string();
    let output = run("openssl", &["x509", "-in", &shown, "-noout", "-fingerprint", "-sha256"]).stdout;
    let hash = String::from_utf8_lossy(&output).trim().replace(':', "").to_ascii_lowercase();
    let hash = hash.rsplit('=').next().expect("a fingerprint");
    assert_eq!(seen, [Some(format!("By={};Hash={hash};URI={}", ca.id("server"), ca.id("client"))), None]);
    let plain = |account: &str| ca.id(account).replace("spiffe://", "");
    let source = format!("source_principal=\"{}\"", plain("client"));
    let destination = format!("destination_principal=\"{}\"", plain("server"));
    assert_eq!(metric(&down, &["istio_requests_total", "mutual_tls", &source, &destination]), 1.0);
    assert_eq!(metric(&down, &["istio_requests_total", "\"none\"", "source_principal=\"unknown\""]), 1.0);
    let reported = ["istio_requests_total", "reporter=\"source\"", &source, &destination];
    assert_eq!(metric(&up, &reported), 1.0, "the client's side names both as well");
}

/// Plaintext against each mode.
pub fn modes(driver: &str) {
    let ca = MeshCa::new();
    let origin = Origin::start("application");
    for (mode, plaintext) in
        [(MtlsMode::Strict, false), (MtlsMode::Permissive, true), (MtlsMode::Disable, true)]
    {
        let [front, inbound] = [(); 2].map(|()| free_address());
        let (of_client, of_server) = (ca.folder("client"), ca.folder("server"));
        let resources = server(inbound, origin.address, Protocol::Http, mode);
        let mut down = sidecar(driver, &resources, of_server.path());
        let answer = get(inbound, "/", &[]);
        assert_eq!(answer.is_ok_and(|it| it.status == 200), plaintext, "{mode:?}");
        if mode == MtlsMode::Strict {
            down.process.expect_stderr(&["plaintext", "mutual TLS only"]);
            let failed =
                ["dromon_tls_handshakes_failed_total", "reason=\"plaintext\"", "side=\"downstream\""];
            assert!(metric(&down, &failed) >= 1.0);
        }
        if mode != MtlsMode::Disable {
            let up = client(front, inbound, Protocol::Http, &ca.id("server"));
            let _up = sidecar(driver, &up, of_client.path());
            assert_eq!(get(front, "/", &[("Host", HOST)]).expect("an answer").status, 200, "{mode:?}");
            assert!(metric(&down, &["dromon_downstream_tls_handshakes_total"]) >= 1.0, "{mode:?}");
        }
    }
}

/// Secure naming.
pub fn wrong_identity(driver: &str) {
    let ca = MeshCa::new();
    let origin = Origin::start("application");
    let [front, inbound] = [(); 2].map(|()| free_address());
    let (of_client, of_server) = (ca.folder("client"), ca.folder("impostor"));
    let down = server(inbound, origin.address, Protocol::Http, MtlsMode::Strict);
    let mut down = sidecar(driver, &down, of_server.path());
    let up = client(front, inbound, Protocol::Http, &ca.id("server"));
    let mut up = sidecar(driver, &up, of_client.path());
    let answer = get(front, "/", &[("Host", HOST)]).expect("an answer");
    assert_eq!((answer.status, answer.header("x-dromon-reason")), (503, Some("upstream_tls_failed")));
    up.process.expect_stderr(&["TLS to", "wrong_identity", &ca.id("impostor"), &ca.id("server")]);
    down.process.expect_stderr(&["TLS from", "refused_by_peer"]);
    assert_eq!(origin.served(), 0);
    eventually("the access log to say why", || {
        let lines = up.process.stdout();
        lines.iter().any(|line| line.contains("UF") && line.contains("wrong_identity")).then_some(())
    });
    assert!(metric(&up, &["dromon_tls_handshakes_failed_total", "wrong_identity", "upstream"]) >= 1.0);
}

/// A client whose certificate nobody here vouches for.
pub fn wrong_ca(driver: &str) {
    let (ca, other) = (MeshCa::new(), MeshCa::new());
    let origin = Origin::start("application");
    let [front, inbound] = [(); 2].map(|()| free_address());
    let of_server = ca.folder("server");
    // It believes the mesh's CA and shows a certificate of another.
    let of_client = other.folder("client");
    let both = [of_server.path(), of_client.path()]
        .map(|folder| std::fs::read_to_string(folder.join("root-cert.pem")).expect("written"))
        .concat();
    std::fs::write(of_client.path().join("root-cert.pem"), both).expect("writable");
    let down = server(inbound, origin.address, Protocol::Http, MtlsMode::Strict);
    let mut down = sidecar(driver, &down, of_server.path());
    let up = client(front, inbound, Protocol::Http, &ca.id("server"));
    let mut up = sidecar(driver, &up, of_client.path());
    let answer = get(front, "/", &[("Host", HOST)]).expect("an answer");
    assert_eq!((answer.status, answer.header("x-dromon-reason")), (503, Some("upstream_tls_failed")));
    down.process.expect_stderr(&["TLS from", "unknown_ca"]);
    up.process.expect_stderr(&["TLS to", "refused_by_peer", "unknown_ca"]);
    assert_eq!(origin.served(), 0);
}

/// HTTP/2 between the sidecars: what the client speaks so, and HTTP/1.1 that the destination has upgraded.
pub fn http2(driver: &str) {
    let ca = MeshCa::new();
    let origin = Origin::start("application");
    for upgrade in [false, true] {
        let [front, inbound] = [(); 2].map(|()| free_address());
        let (of_client, of_server) = (ca.folder("client"), ca.folder("server"));
        let down = server(inbound, origin.address, Protocol::Http, MtlsMode::Strict);
        let down = sidecar(driver, &down, of_server.path());
        let declared = if upgrade { Protocol::Http } else { Protocol::Http2 };
        let mut up = client(front, inbound, declared, &ca.id("server"));
        for resource in &mut up {
            if let Resource::Destination(it) = resource {
                it.h2_upgrade = upgrade;
            }
        }
        let up = sidecar(driver, &up, of_client.path());
        let flag = if upgrade { "--http1.1" } else { "--http2-prior-knowledge" };
        let url = format!("http://{front}/");
        let host = format!("Host: {HOST}");
        for _ in 0..3 {
            let output = run("curl", &["-sS", "-m", "20", flag, "-H", &host, &url]);
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(String::from_utf8_lossy(&output.stdout), "application", "{upgrade}: {error}");
        }
        eventually("the server's access log", || {
            let lines = down.process.stdout();
            (lines.iter().filter(|line| line.contains("HTTP/2")).count() == 3).then_some(())
        });
        assert_eq!(metric(&down, &["dromon_downstream_tls_handshakes_total"]), 1.0, "{upgrade}");
        let [source, destination] = [("source", "client"), ("destination", "server")]
            .map(|(side, account)| format!("{side}_principal=\"{}\"", &ca.id(account)["spiffe://".len()..]));
        let reported = ["istio_requests_total", "reporter=\"source\"", &source, &destination];
        assert_eq!(metric(&up, &reported), 3.0, "{upgrade}: the client's side names both as well");
    }
}

/// Handshakes that break off, are no TLS, show nothing or speak too old a version; others are unharmed.
pub fn hostile(driver: &str) {
    let ca = MeshCa::new();
    let origin = Origin::start("application");
    let [front, inbound] = [(); 2].map(|()| free_address());
    let (of_client, of_server) = (ca.folder("client"), ca.folder("server"));
    let down = server(inbound, origin.address, Protocol::Http, MtlsMode::Strict);
    let down = sidecar(driver, &down, of_server.path());
    let up = client(front, inbound, Protocol::Http, &ca.id("server"));
    let _up = sidecar(driver, &up, of_client.path());
    let request = || assert_eq!(get(front, "/", &[("Host", HOST)]).expect("an answer").status, 200);
    request();
    let refused = |reason: &str| {
        let reason = format!("reason=\"{reason}\"");
        eventually(&reason, || {
            let failed = ["dromon_tls_handshakes_failed_total", "downstream", &reason];
            (metric(&down, &failed) >= 1.0).then_some(())
        });
        request();
    };
    let send = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(inbound).expect("it listens");
        stream.write_all(bytes).expect("open");
        stream
    };
    drop(send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"));
    refused("truncated");
    drop(send(b"\x16\x03\x01\x00\x05\x07garbage"));
    refused("protocol");
    let url = format!("https://{inbound}/");
    assert!(!run("curl", &["-sSk", "-m", "20", "--http1.1", &url]).status.success());
    refused("no_certificate");
    assert!(!run("curl", &["-sSk", "-m", "20", "--http1.1", "--tls-max", "1.2", &url]).status.success());
    refused("incompatible");
    assert_eq!(metric(&down, &["dromon_downstream_connections_refused_total"]), 0.0);
}

/// Certificates are replaced while requests flow.
pub fn rotation(driver: &str) {
    let ca = MeshCa::new();
    let origin = Origin::start("application");
    let [front, inbound] = [(); 2].map(|()| free_address());
    let (of_client, of_server) = (ca.folder("client"), ca.folder("server"));
    let down = server(inbound, origin.address, Protocol::Http, MtlsMode::Strict);
    let mut down = sidecar(driver, &down, of_server.path());
    let up = client(front, inbound, Protocol::Http, &ca.id("server"));
    let _up = sidecar(driver, &up, of_client.path());
    let request = || assert_eq!(get(front, "/", &[("Host", HOST)]).expect("an answer").status, 200);
    let serial = || get(down.admin, "/certs", &[]).expect("a page").text();
    request();
    let before = serial();
    ca.write(of_server.path(), "server");
    eventually("the new certificate", || {
        request();
        (serial() != before).then_some(())
    });
    request();
    let good = serial();
    ca.write_expired(of_server.path(), "server");
    eventually("the refusal", || {
        request();
        serial().contains("expired").then_some(())
    });
    down.process.expect_stderr(&["certificate refused", "expired", "stays in use"]);
    let kept = get(down.admin, "/certs", &[]).expect("a page").text();
    let line = |page: &str| page.lines().find(|line| line.contains("serial")).map(str::to_owned);
    assert_eq!(line(&kept), line(&good));
    request();
}

/// A proxy that is told to have a certificate waits for it.
pub fn readiness(driver: &str) {
    let ca = MeshCa::new();
    let origin = Origin::start("application");
    let inbound = free_address();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let resources = server(inbound, origin.address, Protocol::Http, MtlsMode::Strict);
    let path = folder.path().to_owned();
    let later = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(700));
        assert!(TcpStream::connect(inbound).is_err(), "nothing listens before the certificate is in");
        ca.write(&path, "server");
    });
    let mut down = sidecar(driver, &resources, folder.path());
    later.join().expect("no listener");
    down.process.expect_stderr(&["certified as", "sa/server"]);
    let mut stream = TcpStream::connect(inbound).expect("it listens");
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("open");
    assert!(!matches!(stream.read(&mut [0; 1]), Ok(1..)), "plaintext is refused");
}

/// A connection that streams share is for no new request once the certificate that it was made with has been replaced; nor
/// once the roots have.
pub fn replaced(driver: &str) {
    let ca = MeshCa::new();
    let origin = Origin::start("application");
    let [front, inbound] = [(); 2].map(|()| free_address());
    let (of_client, of_server) = (ca.folder("client"), ca.folder("server"));
    let down = server(inbound, origin.address, Protocol::Http, MtlsMode::Strict);
    let _down = sidecar(driver, &down, of_server.path());
    let up = client(front, inbound, Protocol::Http2, &ca.id("server"));
    let up = sidecar(driver, &up, of_client.path());
    let request = || {
        let (host, url) = (format!("Host: {HOST}"), format!("http://{front}/"));
        let output = run("curl", &["-sS", "-m", "20", "--http2-prior-knowledge", "-H", &host, &url]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "application");
    };
    let made = || metric(&up, &["dromon_upstream_connections_total"]);
    request();
    request();
    assert_eq!(made(), 1.0, "{driver}: requests share a connection");
    ca.write(of_client.path(), "client");
    eventually("a connection under the new certificate", || {
        request();
        (made() >= 2.0).then_some(())
    });
    let roots = of_client.path().join("root-cert.pem");
    let both = std::fs::read_to_string(&roots).expect("written") + &MeshCa::new().root_pem();
    let before = made();
    std::fs::write(&roots, both).expect("writable");
    eventually("a connection under the new roots", || {
        request();
        (made() > before).then_some(())
    });
}

/// RSA at both ends, in TLS between the sidecars, for HTTP and for TCP.
pub fn rsa(driver: &str) {
    let ca = MeshCa::new();
    let origin = Origin::start("application");
    let (of_client, of_server) = (ca.rsa_folder("client"), ca.rsa_folder("server"));
    for protocol in [Protocol::Http, Protocol::Tcp] {
        let [front, inbound] = [(); 2].map(|()| free_address());
        let down = server(inbound, origin.address, protocol, MtlsMode::Strict);
        let down = sidecar(driver, &down, of_server.path());
        let up = client(front, inbound, protocol, &ca.id("server"));
        let up = sidecar(driver, &up, of_client.path());
        let answer = get(front, "/", &[("Host", HOST)]).expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (200, "application"), "{protocol:?}");
        if protocol == Protocol::Tcp {
            let named = format!("source_principal=\"{}\"", &ca.id("client")["spiffe://".len()..]);
            let opened = ["istio_tcp_connections_opened_total", "reporter=\"source\"", &named];
            assert_eq!(metric(&up, &opened), 1.0, "the client's side names itself");
        }
        assert!(metric(&down, &["dromon_downstream_tls_handshakes_total"]) >= 1.0, "{protocol:?}");
    }
}

/// A keyed limit counts each account for itself, whatever connection its requests come by; who proves nothing is one more.
pub fn limits(driver: &str) {
    let ca = MeshCa::new();
    let origin = Origin::start("application");
    let inbound = free_address();
    let of_server = ca.folder("server");
    let mut resources = server(inbound, origin.address, Protocol::Http, MtlsMode::Permissive);
    let limit =
        Limit { requests: 3, unit_ms: 600_000, per: vec![LimitKey::SourcePrincipal], ..Limit::default() };
    resources.push(Resource::RateLimit(RateLimit {
        name: "default/accounts".into(),
        scope: LimitScope::Inbound,
        limits: vec![limit],
    }));
    let _down = sidecar(driver, &resources, of_server.path());
    let admitted = |at: SocketAddr| {
        let ask = |_| get(at, "/", &[("Host", HOST)]).expect("an answer").status;
        (0..5).map(ask).filter(|status| *status == 200).count()
    };
    for account in ["one", "two"] {
        let front = free_address();
        let up = client(front, inbound, Protocol::Http, &ca.id("server"));
        let folder = ca.folder(account);
        let up = sidecar(driver, &up, folder.path());
        assert_eq!(admitted(front), 3, "{driver}: {account}");
        // Another connection, and another sidecar of the account, changes nothing.
        drop(up);
        let again = free_address();
        let up = client(again, inbound, Protocol::Http, &ca.id("server"));
        let _up = sidecar(driver, &up, folder.path());
        assert_eq!(admitted(again), 0, "{driver}: {account}");
    }
    assert_eq!(admitted(inbound), 3, "{driver}: in plaintext");
}
