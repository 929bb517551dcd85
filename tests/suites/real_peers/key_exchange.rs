//! X25519MLKEM768 with a peer that is not rustls: Go's own TLS at either end.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use dromon_core::config::model::{
    ClientTls, ClientTlsMode, HttpRule, MtlsMode, Protocol, Resource, ServerTls, TlsMode,
};
use dromon_tests::certs::{MeshCa, WebCa};
use dromon_tests::http::get;
use dromon_tests::origin::Origin;
use dromon_tests::pair::{free_address, server, sidecar};
use dromon_tests::process::Process;
use dromon_tests::proxy::{DRIVERS, Proxy, gateway};
use dromon_tests::{eventually, root, skip};

/// Builds the peer; where it cannot be, says why not.
fn build(folder: &Path) -> Result<PathBuf, String> {
    let own = root().join("target/go/bin/go");
    let go = [PathBuf::from("go"), own]
        .into_iter()
        .find(|go| Command::new(go).arg("version").output().is_ok_and(|output| output.status.success()));
    let program = folder.join("key-exchange");
    let mut command = Command::new(go.ok_or("Go is missing")?);
    // As Kubernetes' programs are built, so that what they have in common is compiled once.
    command.args(["build", "-trimpath", "-mod=readonly", "-buildvcs=false", "-o"]).arg(&program).arg(".");
    command.env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0").env_remove("GOFLAGS");
    command.current_dir(root().join("tests/suites/real_peers/key_exchange"));
    let output = command.output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(program),
        false => Err(format!("Go refuses: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// What Go's client says was agreed on, when its request was answered by the application.
fn agreed(program: &Path, at: SocketAddr, offer: &str, papers: &[PathBuf]) -> String {
    let mut command = Command::new(program);
    let output = command.args(["ask", &at.to_string(), "a.example", offer]).args(papers).output();
    let output = output.expect("it can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("HTTP/1.1 200 OK") && said.ends_with("application"), "{said} {error}");
    said.lines().next().unwrap_or_default().to_owned()
}

const HYBRID: &str = "X25519MLKEM768";

#[test]
fn keys_are_exchanged_by_the_hybrid_where_a_peer_of_go_offers_it() {
    const TEST: &str = "keys_are_exchanged_by_the_hybrid_where_a_peer_of_go_offers_it";
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = match build(folder.path()) {
        Ok(program) => program,
        Err(reason) => {
            assert!(std::env::var("KUBE").as_deref() != Ok("1"), "{reason}");
            return skip(TEST, &reason);
        }
    };
    let (ca, mesh) = (WebCa::new(), MeshCa::new());
    ca.issue("server", "DNS:a.example");
    let outside = free_address();
    let mut command = Command::new(&program);
    command.args(["serve", &outside.to_string()]).arg(ca.path("server.crt")).arg(ca.path("server.key"));
    let _outside = Process::start(&mut command);
    eventually("Go's server to listen", || TcpStream::connect(outside).ok());
    let origin = Origin::start("application");
    for driver in DRIVERS {
        // A gateway's port.
        let front = free_address();
        let mut resources = gateway(front, &[origin.address], HttpRule::default());
        if let Some(Resource::Proxy(it)) = resources.first_mut() {
            it.listeners[0].tls = vec![ServerTls {
                hosts: vec!["a.example".into()],
                mode: TlsMode::Simple,
                protocol: Protocol::Http,
                credentials: vec!["default/server".into()],
                ..ServerTls::default()
            }];
        }
        resources.push(Resource::Credential(ca.credential("server")));
        let _gateway = Proxy::start("gateway~ingress.default", driver, &resources, &["--shards", "1"]);
        assert_eq!(agreed(&program, front, "default", &[]), HYBRID, "{driver}");
        assert_eq!(agreed(&program, front, "classical", &[]), "X25519", "{driver}: not offered");
        // Mutual TLS of the mesh.
        let (inbound, of_server, of_client) = (free_address(), mesh.folder("server"), mesh.folder("client"));
        let down = server(inbound, origin.address, Protocol::Http, MtlsMode::Strict);
        let _down = sidecar(driver, &down, of_server.path());
        let papers = ["cert-chain.pem", "key.pem"].map(|name| of_client.path().join(name));
        assert_eq!(agreed(&program, inbound, "default", &papers), HYBRID, "{driver}");
        assert_eq!(agreed(&program, inbound, "classical", &papers), "X25519", "{driver}: not offered");
        // Towards a server outside the mesh.
        let front = free_address();
        let mut resources = gateway(front, &[outside], HttpRule::default());
        for resource in &mut resources {
            if let Resource::Destination(it) = resource {
                it.tls = Some(ClientTls {
                    mode: ClientTlsMode::Simple,
                    sni: "a.example".into(),
                    insecure_skip_verify: true,
                    ..ClientTls::default()
                });
            }
        }
        let _egress = Proxy::start("gateway~ingress.default", driver, &resources, &["--shards", "1"]);
        let answer = get(front, "/", &[]).expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (200, HYBRID), "{driver}");
    }
}
