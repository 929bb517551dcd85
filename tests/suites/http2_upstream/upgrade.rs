//! Between two sidecars under mutual TLS: HTTP/1.1 carried as HTTP/2 where the policy says so, and gRPC as it is.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use dromon_core::config::model::{MtlsMode, Protocol, Resource};
use dromon_tests::certs::MeshCa;
use dromon_tests::http::Connection;
use dromon_tests::pair::{self, HOST, free_address, metric, sidecar};
use dromon_tests::process::Process;
use dromon_tests::proxy::Proxy;
use dromon_tests::scripted::{Answer, Scripted};
use dromon_tests::{eventually, python, root, skip};

/// A server's sidecar before `target`.
fn server(driver: &str, ca: &MeshCa, target: SocketAddr, protocol: Protocol) -> (Proxy, SocketAddr) {
    let inbound = free_address();
    let resources = pair::server(inbound, target, protocol, MtlsMode::Strict);
    (sidecar(driver, &resources, ca.folder("server").path()), inbound)
}

/// A client's sidecar that sends everything to a server of the account `server`.
fn client(
    driver: &str,
    ca: &MeshCa,
    server: SocketAddr,
    protocol: Protocol,
    h2_upgrade: bool,
) -> (Proxy, SocketAddr) {
    let front = free_address();
    let mut resources = pair::client(front, server, protocol, &ca.id("server"));
    for resource in &mut resources {
        if let Resource::Destination(it) = resource {
            it.h2_upgrade = h2_upgrade;
        }
    }
    (sidecar(driver, &resources, ca.folder("client").path()), front)
}

/// Sixteen clients at once, each of HTTP/1.1, on one connection between the sidecars; the application sees HTTP/1.1 requests
/// for the host that was asked for. Without the policy each has a connection of its own.
pub fn carried(driver: &str) {
    let ca = MeshCa::new();
    for (h2_upgrade, connections) in [(true, 1.0), (false, 16.0)] {
        let application = Scripted::start();
        application.answer(|_| {
            std::thread::sleep(Duration::from_millis(300));
            Answer::keep("HTTP/1.1 200 OK\r\nX-By: application\r\nContent-Length: 2\r\n\r\nok")
        });
        let (_down, inbound) = server(driver, &ca, application.address, Protocol::Http);
        let (up, front) = client(driver, &ca, inbound, Protocol::Http, h2_upgrade);
        let asking: Vec<_> = (0..16)
            .map(|number| {
                std::thread::spawn(move || {
                    let mut client = Connection::open(front).expect("the sidecar listens");
                    let headers = [("Host", HOST)];
                    client.send("PUT", &format!("/{number}"), &headers, b"body").expect("an answer")
                })
            })
            .collect();
        for thread in asking {
            let answer = thread.join().expect("no panic");
            assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{driver}, {h2_upgrade}");
            assert_eq!(answer.header("x-by"), Some("application"));
        }
        let seen = application.seen();
        assert_eq!(seen.len(), 16);
        for request in &seen {
            assert!(
                request.head.starts_with("PUT /") && request.head.contains(" HTTP/1.1\r\n"),
                "{}",
                request.head
            );
            assert_eq!(request.header("host"), Some(HOST), "{}", request.head);
            assert_eq!(request.header("content-length"), Some("4"), "{}", request.head);
            assert_eq!(request.body, b"body");
        }
        let made = metric(&up, &["dromon_upstream_connections_total"]);
        assert!((made - connections).abs() < 0.5, "{driver}: {made} connections, upgrade: {h2_upgrade}");
    }
}

/// A peer that takes mutual TLS and speaks HTTP/1.1 only: it gets that, and is not asked for each request.
pub fn falls_back(driver: &str) {
    let ca = MeshCa::new();
    let certs = ca.folder("server");
    let peer = free_address();
    let script = root().join("tests/suites/http2_upstream/http1_peer.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(peer.port().to_string()).arg(certs.path());
    let _peer = Process::start(&mut command);
    eventually("the peer to listen", || TcpStream::connect(peer).ok());
    let (up, front) = client(driver, &ca, peer, Protocol::Http, true);
    let mut client = Connection::open(front).expect("the sidecar listens");
    for _ in 0..5 {
        let answer = client.send("POST", "/path", &[("Host", HOST)], b"body").expect("an answer");
        assert_eq!(answer.status, 200, "{driver}: {}", answer.text());
        assert_eq!(answer.text(), format!("POST /path HTTP/1.1 {HOST} body"), "{driver}");
    }
    assert!(metric(&up, &["dromon_upstream_connections_total"]) < 2.5, "{driver}: it is offered HTTP/2 once");
}

/// gRPC from end to end: HTTP/2 to the client's sidecar, under mutual TLS between the two, and to the service.
pub fn grpc(driver: &str) {
    let Some(python) = python("grpc") else { return skip("grpc", "grpcio is missing") };
    let service = free_address();
    let scripts = root().join("tests/suites/http2");
    let mut command = Command::new(&python);
    let _service = Process::start(command.arg(scripts.join("grpc_service.py")).arg(service.to_string()));
    eventually("the service to listen", || TcpStream::connect(service).ok());
    let ca = MeshCa::new();
    let (_down, inbound) = server(driver, &ca, service, Protocol::Grpc);
    let (up, front) = client(driver, &ca, inbound, Protocol::Grpc, false);
    for scenario in ["kinds", "deadlines", "cancellation"] {
        let mut command = Command::new(&python);
        command.arg(scripts.join("grpc_calls.py")).args([&front.to_string(), scenario]);
        let output = command.output().expect("it can be started");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{driver}, {scenario}: {said}");
    }
    let made = metric(&up, &["dromon_upstream_connections_total"]);
    assert!(made < 1.5, "{driver}: all calls of all clients share a connection, not {made}");
}
