//! Between two sidecars under mutual TLS: HTTP/1.1 carried as HTTP/2 where the policy says so, and gRPC as it is.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use dromon_core::config::model::{
    ClientTls, ClientTlsMode, Host, HostPort, ListenerKind, MtlsMode, Protocol, Resource, Role,
};
use dromon_tests::certs::MeshCa;
use dromon_tests::http::{Connection, get};
use dromon_tests::process::Process;
use dromon_tests::proxy::{Proxy, destination, listener, proxy};
use dromon_tests::scripted::{Answer, Scripted};
use dromon_tests::{eventually, free_port, python, root, skip};

const HOST: &str = "web.default.svc.cluster.local";

fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

fn sidecar(driver: &str, resources: &[Resource], certs: &std::path::Path) -> Proxy {
    let certs = certs.display().to_string();
    Proxy::start("sidecar~app.default", driver, resources, &["--shards", "1", "--certs", &certs])
}

/// A server's sidecar before `target`.
fn server(driver: &str, ca: &MeshCa, target: SocketAddr, protocol: Protocol) -> (Proxy, SocketAddr) {
    let inbound = free_address();
    let pool = Default::default();
    let mtls = MtlsMode::Strict;
    let kind = ListenerKind::Inbound { protocol, target, service: None, pool, mtls };
    let resources = [proxy(Role::Sidecar, vec![listener("inbound/80", inbound, kind)])];
    let certs = ca.folder("server");
    (sidecar(driver, &resources, certs.path()), inbound)
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
    let kind = ListenerKind::Service { host: HOST.into(), port: 80, protocol };
    let mut resources = vec![proxy(Role::Sidecar, vec![listener("service/80", front, kind)])];
    for mut resource in destination(HOST, &[server]) {
        match &mut resource {
            Resource::Destination(it) => {
                it.protocol = protocol;
                it.h2_upgrade = h2_upgrade;
                let identities = vec![ca.id("server")];
                it.tls = Some(ClientTls { mode: ClientTlsMode::Auto, identities, ..ClientTls::default() });
            }
            Resource::Endpoints(it) => it.endpoints.iter_mut().for_each(|it| it.mtls = true),
            _ => {}
        }
        resources.push(resource);
    }
    resources.push(Resource::Host(Host {
        name: HOST.into(),
        domains: vec![HOST.into()],
        ports: vec![HostPort { number: 80, protocol }],
        ..Host::default()
    }));
    let certs = ca.folder("client");
    (sidecar(driver, &resources, certs.path()), front)
}

fn metric(proxy: &Proxy, name: &str) -> f64 {
    let page = get(proxy.stats, "/stats/prometheus", &[]).expect("a page").text();
    let lines = page.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
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
        let made = metric(&up, "dromon_upstream_connections_total");
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
    assert!(metric(&up, "dromon_upstream_connections_total") < 2.5, "{driver}: it is offered HTTP/2 once");
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
    let made = metric(&up, "dromon_upstream_connections_total");
    assert!(made < 1.5, "{driver}: all calls of all clients share a connection, not {made}");
}
