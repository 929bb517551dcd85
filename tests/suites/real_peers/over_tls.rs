//! What others have written, over TLS at a gateway's port and towards its upstreams: grpcio, nghttp2's tools, WebSockets.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use dromon_core::config::model::{
    ClientTls, ClientTlsMode, HttpRule, MtlsMode, Protocol, Resource, ServerTls, TlsMode,
};
use dromon_tests::certs::{MeshCa, WebCa, run};
use dromon_tests::origin::Origin;
use dromon_tests::pair::{free_address, metric, server, sidecar};
use dromon_tests::process::Process;
use dromon_tests::proxy::{DRIVERS, Proxy, gateway};
use dromon_tests::{eventually, python, root, skip};

use crate::is_there;

/// The name that the gateway's certificate and its upstreams' is for.
const NAME: &str = "a.example";

/// A gateway that ends TLS for [`NAME`] and speaks `protocol` to its upstream, in TLS where `tls` says so.
struct Front {
    proxy: Proxy,
    address: SocketAddr,
    ca: WebCa,
}

impl Front {
    fn start(driver: &str, upstream: SocketAddr, protocol: Protocol, tls: Option<ClientTls>) -> Front {
        let ca = WebCa::new();
        ca.issue("server", "DNS:a.example");
        Front::with(driver, ca, upstream, protocol, tls, &[])
    }

    fn with(
        driver: &str,
        ca: WebCa,
        upstream: SocketAddr,
        protocol: Protocol,
        tls: Option<ClientTls>,
        arguments: &[&str],
    ) -> Front {
        let address = free_address();
        let mut resources = gateway(address, &[upstream], HttpRule::default());
        let mutual = tls.as_ref().is_some_and(|it| it.mode == ClientTlsMode::Auto);
        for resource in &mut resources {
            match resource {
                Resource::Proxy(it) => {
                    it.listeners[0].tls = vec![ServerTls {
                        hosts: vec![NAME.into()],
                        mode: TlsMode::Simple,
                        protocol: Protocol::Http,
                        credentials: vec!["default/server".into()],
                        ..ServerTls::default()
                    }];
                }
                Resource::Destination(it) => (it.protocol, it.tls) = (protocol, tls.clone()),
                Resource::Endpoints(it) => it.endpoints.iter_mut().for_each(|it| it.mtls = mutual),
                _ => {}
            }
        }
        resources.push(Resource::Credential(ca.credential("server")));
        let arguments = [&["--shards", "1"], arguments].concat();
        let proxy = Proxy::start("gateway~ingress.default", driver, &resources, &arguments);
        Front { proxy, address, ca }
    }

    fn ca_file(&self) -> String {
        self.ca.path("ca.crt").display().to_string()
    }

    /// curl with TLS, its answer's head before its body.
    fn curl(&self, more: &[&str]) -> String {
        let resolve = format!("{NAME}:{}:127.0.0.1", self.address.port());
        let url = format!("https://{NAME}:{}/chat", self.address.port());
        let fixed = ["-sS", "-i", "-m", "30", "--cacert", &self.ca_file(), "--resolve", &resolve];
        let output = run("curl", &[&fixed, more, &[&url]].concat());
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }
}

fn succeeds(what: &str, command: &mut Command) -> String {
    let output = command.output().expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{what}: {said} {text}");
    text
}

/// grpcio in TLS to a gateway, from there under mutual TLS to the sidecar of a grpcio service.
#[test]
fn grpcio_over_tls_to_a_service_behind_mutual_tls() {
    let Some(python) = python("grpc") else {
        return skip("grpcio_over_tls_to_a_service_behind_mutual_tls", "grpcio is missing");
    };
    let scripts = root().join("tests/suites/http2");
    let service = free_address();
    let mut command = Command::new(&python);
    let process = Process::start(command.arg(scripts.join("grpc_service.py")).arg(service.to_string()));
    eventually("the service to listen", || TcpStream::connect(service).ok());
    let mesh = MeshCa::new();
    for (turn, driver) in DRIVERS.into_iter().enumerate() {
        let (inbound, of_server, of_gateway) =
            (free_address(), mesh.folder("server"), mesh.folder("ingress"));
        let down = server(inbound, service, Protocol::Grpc, MtlsMode::Strict);
        let down = sidecar(driver, &down, of_server.path());
        let tls = ClientTls { identities: vec![mesh.id("server")], ..ClientTls::default() };
        let ca = WebCa::new();
        ca.issue("server", "DNS:a.example");
        let certs = of_gateway.path().display().to_string();
        let front = Front::with(driver, ca, inbound, Protocol::Grpc, Some(tls), &["--certs", &certs]);
        let at = front.address.to_string();
        for scenario in ["kinds", "deadlines", "cancellation"] {
            let mut command = Command::new(&python);
            command.arg(scripts.join("grpc_calls.py")).args([&at, scenario, &front.ca_file(), NAME]);
            succeeds(&format!("{driver}, {scenario}"), &mut command);
        }
        eventually("the service to see the cancellation", || {
            let lines = process.stderr();
            (lines.iter().filter(|line| line.contains("cancelled")).count() > turn).then_some(())
        });
        // Each scenario's channel is a connection in TLS; all share the gateway's to the sidecar.
        let taken = metric(&front.proxy, &["dromon_downstream_tls_handshakes_total"]);
        assert!(taken >= 3.0, "{driver}: {taken}");
        assert_eq!(metric(&down, &["dromon_downstream_tls_handshakes_total"]), 1.0, "{driver}");
        eventually("a failed call to be counted at the sidecar", || {
            let found = ["istio_requests_total", "reporter=\"destination\"", "grpc_response_status=\"5\""];
            (metric(&down, &found) >= 1.0).then_some(())
        });
    }
}

/// An nghttpd with TLS, whose one file is [`TEXT`].
fn nghttpd(ca: &WebCa, folder: &std::path::Path) -> (Process, SocketAddr) {
    std::fs::write(folder.join("small"), TEXT).expect("the folder is writable");
    let at = free_address();
    let mut command = Command::new("nghttpd");
    command.args(["--address", "127.0.0.1", "-d"]).arg(folder).arg(at.port().to_string());
    let process = Process::start(command.arg(ca.path("server.key")).arg(ca.path("server.crt")));
    eventually("nghttpd to listen", || TcpStream::connect(at).ok());
    (process, at)
}

const TEXT: &str = "what nghttpd has to say";

/// nghttp and h2load choose their version by ALPN at the gateway, which does so at nghttpd.
#[test]
fn tools_of_nghttp2_over_tls_choose_by_alpn() {
    const TEST: &str = "tools_of_nghttp2_over_tls_choose_by_alpn";
    if let Some(missing) = ["nghttpd", "nghttp", "h2load"].into_iter().find(|it| !is_there(it)) {
        return skip(TEST, &format!("{missing} is missing"));
    }
    let upstream_ca = WebCa::new();
    upstream_ca.issue("server", "DNS:a.example");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_nghttpd, upstream) = nghttpd(&upstream_ca, folder.path());
    let origin = Origin::start("application");
    for driver in DRIVERS {
        // It speaks HTTP/2 only, and says so by ALPN only.
        let tls = ClientTls {
            mode: ClientTlsMode::Simple,
            sni: NAME.into(),
            insecure_skip_verify: true,
            ..ClientTls::default()
        };
        let front = Front::start(driver, upstream, Protocol::Http2, Some(tls));
        let (authority, url) = (format!(":authority: {NAME}"), format!("https://{}/small", front.address));
        let mut command = Command::new("nghttp");
        let said = succeeds("nghttp", command.args(["-v", "-H", &authority, &url]));
        assert!(said.contains("The negotiated protocol: h2"), "{driver}: {said}");
        assert!(said.contains(":status: 200") && said.contains(TEXT), "{driver}: {said}");
        let (url, to) = (format!("https://{NAME}/small"), format!("--connect-to={}", front.address));
        let load = ["-n", "1000", "-c", "5", "-m", "10", &to, &url];
        for (flag, version) in [("--npn-list=h2", "h2"), ("--h1", "http/1.1")] {
            let said = succeeds("h2load", Command::new("h2load").arg(flag).args(load));
            assert!(said.contains("TLS Protocol: TLSv1.3"), "{driver}: {said}");
            assert!(said.contains(&format!("Application protocol: {version}")), "{driver}: {said}");
            assert!(said.contains("1000 succeeded, 0 failed, 0 errored, 0 timeout"), "{driver}: {said}");
        }
        assert_eq!(metric(&front.proxy, &["dromon_upstream_tls_handshakes_total"]), 1.0, "{driver}");
        // One that chooses by nothing gets HTTP/1.1, and so does the upstream that is not declared HTTP/2.
        let front = Front::start(driver, origin.address, Protocol::Http, None);
        let said = front.curl(&["--no-alpn"]);
        assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("application"), "{driver}: {said}");
    }
}

/// WebSockets in TLS at the gateway: the library's own client, and curl, which asks for the switch and reads what comes.
#[test]
fn websockets_over_tls() {
    let Some(python) = python("websockets") else {
        return skip("websockets_over_tls", "websockets is missing");
    };
    let script = root().join("tests/suites/real_peers/websocket.py");
    let at = free_address();
    let mut command = Command::new(&python);
    let _server = Process::start(command.arg(&script).args(["serve", &at.to_string()]));
    eventually("the server to listen", || TcpStream::connect(at).ok());
    let upgrade = [
        "--http1.1",
        "-H",
        "Connection: Upgrade",
        "-H",
        "Upgrade: websocket",
        "-H",
        "Sec-WebSocket-Version: 13",
        "-H",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "-H",
        "X-Greet: from the server",
    ];
    let is_greeted = |what: &str, said: &str| {
        assert!(said.starts_with("HTTP/1.1 101"), "{what}: {said}");
        assert!(said.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{what}: {said}");
        // The frame's length, its text, and then a frame of the end.
        assert!(said.contains("\u{f}from the server"), "{what}: {said:?}");
    };
    for driver in DRIVERS {
        let front = Front::start(driver, at, Protocol::Http, None);
        let mut command = Command::new(&python);
        let target = front.address.to_string();
        command.arg(&script).args(["talk", &target, &front.ca_file(), NAME]);
        succeeds(&format!("{driver}, wss"), &mut command);
        is_greeted(&format!("{driver}, in TLS"), &front.curl(&upgrade));
        let plain = free_address();
        let resources = gateway(plain, &[at], HttpRule::default());
        let _plain = Proxy::start("gateway~ingress.default", driver, &resources, &["--shards", "1"]);
        let url = format!("http://{plain}/chat");
        let output = run("curl", &[&["-sS", "-i", "-m", "30"], &upgrade[..], &[&url]].concat());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        is_greeted(&format!("{driver}, in plaintext"), &said);
    }
}
