//! Servers and clients that nobody here has written: nginx behind TLS, a mail server that speaks first, WebSocket by Python.

mod key_exchange;
mod over_tls;

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use dromon_core::config::model::{
    ClientTls, ClientTlsMode, Credential, HttpAction, HttpRule, MtlsMode, Protocol, Resource, VirtualHost,
};
use dromon_tests::certs::{MeshCa, WebCa, run};
use dromon_tests::http::get;
use dromon_tests::pair::{client, free_address, metric, server, sidecar};
use dromon_tests::process::Process;
use dromon_tests::proxy::{DRIVERS, Proxy, destination, gateway, to};
use dromon_tests::{eventually, python, root, skip};

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
        || Command::new(program).arg("-v").output().is_ok()
}

/// nginx with TLS on two ports, the second of which wants certificates of its clients.
fn nginx(ca: &WebCa, folder: &Path, [open, closed]: [SocketAddr; 2]) -> Process {
    let path = |name: &str| ca.path(name).display().to_string();
    let (certificate, key, authority) = (path("server.crt"), path("server.key"), path("ca.crt"));
    let shown = format!("ssl_certificate {certificate}; ssl_certificate_key {key};");
    let here = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("{name}_temp_path {here}/{name}; "))
        .collect();
    let text = format!(
        "daemon off; master_process off; pid {here}/pid; error_log stderr;\n\
         events {{}}\n\
         http {{ access_log off; {temporary}\n\
         server {{ listen {open} ssl http2; {shown} return 200 \"$server_protocol of $ssl_server_name\"; }}\n\
         server {{ listen {closed} ssl; {shown} ssl_client_certificate {authority}; ssl_verify_client on;\n\
         location /who {{ return 200 \"$ssl_client_serial $connection\"; }}\n\
         location / {{ return 200 \"hello $ssl_client_s_dn\"; }} }} }}\n"
    );
    let config = folder.join("nginx.conf");
    std::fs::write(&config, text).expect("the folder is writable");
    let mut command = Command::new("nginx");
    let process = Process::start(command.arg("-p").arg(folder).arg("-c").arg(&config).args(["-e", "stderr"]));
    eventually("nginx to listen", || TcpStream::connect(closed).ok());
    process
}

#[test]
fn nginx_behind_tls() {
    if !is_there("nginx") {
        return skip("nginx_behind_tls", "nginx is missing");
    }
    let ca = WebCa::new();
    ca.issue("server", "DNS:api.example");
    ca.issue("client", "DNS:client.example");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ports = [(); 2].map(|()| free_address());
    let _nginx = nginx(&ca, folder.path(), ports);
    for driver in DRIVERS {
        let cases = [
            (ports[0], ClientTlsMode::Simple, Protocol::Http, 200, "HTTP/1.1 of api.example"),
            (ports[0], ClientTlsMode::Simple, Protocol::Http2, 200, "HTTP/2.0 of api.example"),
            (ports[1], ClientTlsMode::Mutual, Protocol::Http, 200, "hello O=test"),
            (ports[1], ClientTlsMode::Simple, Protocol::Http, 400, "No required SSL certificate"),
        ];
        for (upstream, mode, protocol, status, text) in cases {
            let front = free_address();
            let mut resources = gateway(front, &[upstream], HttpRule::default());
            for resource in &mut resources {
                if let Resource::Destination(it) = resource {
                    it.protocol = protocol;
                    it.tls = Some(ClientTls {
                        mode,
                        sni: "api.example".into(),
                        credential: "default/client".into(),
                        ..ClientTls::default()
                    });
                }
            }
            resources.push(Resource::Credential(ca.credential("client")));
            let proxy = Proxy::start("gateway~ingress.default", driver, &resources, &["--shards", "1"]);
            for _ in 0..3 {
                let answer = get(front, "/", &[]).expect("an answer");
                assert_eq!(answer.status, status, "{driver}, {mode:?}, {protocol:?}: {}", answer.text());
                assert!(answer.text().contains(text), "{driver}, {mode:?}, {protocol:?}: {}", answer.text());
            }
            assert!(metric(&proxy, &["dromon_upstream_tls_handshakes_total"]) >= 1.0);
        }
    }
}

#[test]
fn a_mail_server_that_nobody_declares() {
    if !is_there("msmtpd") {
        return skip("a_mail_server_that_nobody_declares", "msmtpd (package msmtp-mta) is missing");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (inbox, letter) = (folder.path().join("inbox"), folder.path().join("letter"));
    std::fs::write(&letter, "Subject: mesh\r\n\r\nthrough two sidecars\r\n").expect("writable");
    let at = free_address();
    let deliver = format!("--command=sh -c 'cat >> {}' --", inbox.display());
    let mut command = Command::new("msmtpd");
    let port = format!("--port={}", at.port());
    let _server = Process::start(command.args(["--interface=127.0.0.1", &port, &deliver]));
    eventually("the mail server to listen", || TcpStream::connect(at).ok());
    let ca = MeshCa::new();
    for driver in DRIVERS {
        for mode in [MtlsMode::Disable, MtlsMode::Permissive, MtlsMode::Strict] {
            let (front, inbound) = (free_address(), free_address());
            let (of_client, of_server) = (ca.folder("client"), ca.folder("server"));
            let down = server(inbound, at, Protocol::Auto, mode);
            let down = sidecar(driver, &down, of_server.path());
            let mut up = client(front, inbound, Protocol::Auto, &ca.id("server"));
            for resource in &mut up {
                if let Resource::Endpoints(it) = resource {
                    it.endpoints.iter_mut().for_each(|it| it.mtls = mode != MtlsMode::Disable);
                }
            }
            let _up = sidecar(driver, &up, of_client.path());
            let _ = std::fs::remove_file(&inbox);
            let (url, letter) = (format!("smtp://{front}"), letter.display().to_string());
            let from_to = ["--mail-from", "a@mesh.example", "--mail-rcpt", "b@mesh.example"];
            let sent = run("curl", &[&["-sS", "-m", "30", &url, "-T", &letter], &from_to[..]].concat());
            let said = String::from_utf8_lossy(&sent.stderr).into_owned();
            assert!(sent.status.success(), "{driver}, {mode:?}: {said}");
            let arrived = std::fs::read_to_string(&inbox).unwrap_or_default();
            assert!(arrived.contains("through two sidecars"), "{driver}, {mode:?}: {arrived:?}");
            let handshakes = metric(&down, &["dromon_downstream_tls_handshakes_total"]);
            assert_eq!(handshakes >= 1.0, mode != MtlsMode::Disable, "{driver}, {mode:?}");
        }
    }
}

#[test]
fn websockets_of_python_between_sidecars() {
    let Some(python) = python("websockets") else {
        return skip("websockets_of_python_between_sidecars", "websockets is missing");
    };
    let script = root().join("tests/suites/real_peers/websocket.py");
    let at = free_address();
    let mut command = Command::new(&python);
    let _server = Process::start(command.arg(&script).args(["serve", &at.to_string()]));
    eventually("the server to listen", || TcpStream::connect(at).ok());
    let ca = MeshCa::new();
    // As an upgrade, and as a stream of HTTP/2 between the sidecars.
    for (driver, between) in DRIVERS.into_iter().flat_map(|it| [(it, Protocol::Http), (it, Protocol::Http2)])
    {
        let (front, inbound) = (free_address(), free_address());
        let (of_client, of_server) = (ca.folder("client"), ca.folder("server"));
        let down = server(inbound, at, Protocol::Http, MtlsMode::Strict);
        let down = sidecar(driver, &down, of_server.path());
        let up = client(front, inbound, between, &ca.id("server"));
        let _up = sidecar(driver, &up, of_client.path());
        let mut command = Command::new(&python);
        let output = command.arg(&script).args(["talk", &front.to_string()]).output().expect("started");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{driver}, {between:?}: {said}");
        let version = if between == Protocol::Http2 { "HTTP/2" } else { "HTTP/1.1" };
        eventually("the server's access log", || {
            down.process.stdout().iter().any(|line| line.contains(version)).then_some(())
        });
    }
}

/// The serial number that nginx has been shown, and the number of its connection.
fn shown(front: SocketAddr, host: &str) -> (String, String) {
    let answer = get(front, "/who", &[("Host", host)]).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let (serial, connection) = text.split_once(' ').expect("two words");
    (serial.to_owned(), connection.to_owned())
}

/// Connections made with one certificate serve nobody who has another: neither another destination at the same address, nor the
/// same one after its credential was replaced.
#[test]
fn connections_are_kept_apart_by_credential() {
    if !is_there("nginx") {
        return skip("connections_are_kept_apart_by_credential", "nginx is missing");
    }
    let ca = WebCa::new();
    ca.issue("server", "DNS:api.example");
    ["one", "two", "three"].iter().for_each(|name| ca.issue(name, "DNS:client.example"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ports = [(); 2].map(|()| free_address());
    let _nginx = nginx(&ca, folder.path(), ports);
    for driver in DRIVERS {
        let front = free_address();
        let resources = |first: &str| {
            let mut resources = gateway(front, &[ports[1]], HttpRule::default());
            resources.extend(destination("other.local", &[ports[1]]));
            resources.push(Resource::VirtualHost(VirtualHost {
                name: "gateway/http/other".into(),
                listener: Some("gateway/http".into()),
                domains: vec!["other.example".into()],
                http: vec![HttpRule {
                    action: HttpAction::Route { destinations: vec![to("other.local")] },
                    ..HttpRule::default()
                }],
                ..VirtualHost::default()
            }));
            for resource in &mut resources {
                if let Resource::Destination(it) = resource {
                    let of = if it.name.ends_with("other.local") { "second" } else { "first" };
                    it.protocol = Protocol::Http;
                    it.tls = Some(ClientTls {
                        mode: ClientTlsMode::Mutual,
                        sni: "api.example".into(),
                        credential: format!("default/{of}"),
                        ..ClientTls::default()
                    });
                }
            }
            for (name, of) in [("first", first), ("second", "two")] {
                let credential = Credential { name: format!("default/{name}"), ..ca.credential(of) };
                resources.push(Resource::Credential(credential));
            }
            resources
        };
        let proxy = Proxy::start("gateway~ingress.default", driver, &resources("one"), &["--shards", "1"]);
        let (first, second) = (shown(front, "api.example"), shown(front, "other.example"));
        assert!(first.0 != second.0 && first.1 != second.1, "{driver}: {first:?} {second:?}");
        for _ in 0..3 {
            assert_eq!(shown(front, "api.example"), first, "{driver}: its own connection serves again");
            assert_eq!(shown(front, "other.example"), second, "{driver}");
        }
        proxy.configure(&resources("three"));
        let third = eventually("the new certificate to be shown", || {
            Some(shown(front, "api.example")).filter(|it| it.0 != first.0)
        });
        assert_ne!(third.1, first.1, "{driver}: on a connection of its own");
        for _ in 0..3 {
            assert_eq!(shown(front, "api.example"), third, "{driver}: the old one is for nothing any more");
            assert_eq!(shown(front, "other.example"), second, "{driver}: the other's stays");
        }
    }
}
