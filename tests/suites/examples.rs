//! The examples as people find them: each is free of errors, and does what its first lines say.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use dromon_tests::http::get;
use dromon_tests::mesh::{Mesh, Setup};
use dromon_tests::origin::Origin;
use dromon_tests::{bin, eventually, free_port, root, skip};
use tempfile::TempDir;

/// An example's text, with each of its ports on this machine moved elsewhere.
fn example(file: &str, ports: &[(u16, u16)]) -> String {
    let text = fs::read_to_string(root().join("examples").join(file)).expect("the example is there");
    ports.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(&format!(": {from}}}")), "{file} names no port {from}");
        text.replace(&format!(": {from}}}"), &format!(": {to}}}"))
    })
}

/// What `make-secret.sh` prints, and the directory with its files; none where there is no openssl.
fn secret(test: &str, name: &str, host: &str) -> Option<(String, TempDir)> {
    if Command::new("openssl").arg("version").output().is_err() {
        skip(test, "there is no openssl");
        return None;
    }
    let files = tempfile::tempdir().expect("a temporary folder");
    let made = Command::new("sh")
        .arg(root().join("examples/make-secret.sh"))
        .args([name, host])
        .arg(files.path())
        .output()
        .expect("sh runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some((String::from_utf8(made.stdout).expect("YAML is text"), files))
}

/// What `dromonctl analyze` says of a folder.
fn analyze(folder: &Path) -> (bool, String) {
    let output = Command::new(bin("dromonctl")).arg("analyze").arg(folder).output().expect("it runs");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn copy_yaml(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder of examples").flatten() {
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| name.ends_with(".yaml") && name != "secret.yaml");
        if is_ours {
            fs::copy(entry.path(), to.join(name)).expect("a copy");
        }
    }
}

#[test]
fn every_example_is_without_errors() {
    let examples = root().join("examples");
    for (name, of) in [
        ("proxy", None),
        ("protocols", None),
        ("gateway-tls", Some(("front-certificate", "localhost"))),
        ("egress-tls", Some(("origin-ca", "origin.example"))),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        copy_yaml(&examples.join(name), folder.path());
        if let Some((secret_name, host)) = of {
            let (well, said) = analyze(folder.path());
            assert!(!well && said.contains(secret_name), "{name} without its Secret: {said}");
            let Some((text, _)) = secret("every_example_is_without_errors", secret_name, host) else {
                continue;
            };
            fs::write(folder.path().join("secret.yaml"), text).expect("a file");
        }
        let (well, said) = analyze(folder.path());
        assert!(well, "{name}: {said}");
    }
}

#[test]
fn every_bookinfo_rule_is_without_errors() {
    let bookinfo = root().join("examples/bookinfo");
    for rule in fs::read_dir(bookinfo.join("try")).expect("rules to try").flatten() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        copy_yaml(&bookinfo.join("mesh"), folder.path());
        fs::copy(rule.path(), folder.path().join("rule.yaml")).expect("a copy");
        let (well, said) = analyze(folder.path());
        assert!(well, "{:?}: {said}", rule.file_name());
    }
}

#[test]
fn every_bookinfo_route_of_gateway_api_is_without_errors() {
    let bookinfo = root().join("examples/bookinfo");
    for route in fs::read_dir(bookinfo.join("gateway-api")).expect("routes to try").flatten() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::copy(bookinfo.join("mesh/bookinfo.yaml"), folder.path().join("bookinfo.yaml")).expect("a copy");
        for file in ["bookinfo-gateway.yaml", "bookinfo-versions.yaml"] {
            fs::copy(bookinfo.join("gateway-api").join(file), folder.path().join(file)).expect("a copy");
        }
        fs::copy(route.path(), folder.path().join(route.file_name())).expect("a copy");
        let (well, said) = analyze(folder.path());
        assert!(well, "{:?}: {said}", route.file_name());
        assert!(!said.contains("not known"), "{:?}: {said}", route.file_name());
    }
}

#[test]
fn bookinfo_goes_on_where_every_process_takes_mutual_tls_only() {
    let mesh = Setup::bookinfo().start();
    let processes = mesh.ready["processes"].as_array().expect("processes").clone();
    let details = processes.iter().find(|it| it["name"] == "details-v1.default").expect("details");
    let details: SocketAddr =
        format!("{}:9080", details["sidecar"].as_str().expect("an address")).parse().expect("an address");
    let plainly = || get(details, "/details/0", &[]).ok().filter(|answer| answer.status == 200);
    eventually("plaintext, which nothing forbids yet", plainly);
    mesh.try_rule("mtls-strict");
    eventually("plaintext to be refused", || plainly().is_none().then_some(()));
    for _ in 0..10 {
        let page = get(mesh.ingress, "/productpage", &[]).expect("an answer");
        assert!(page.status == 200 && page.text().contains("PublisherA"), "{} {}", page.status, page.text());
        assert!(plainly().is_none(), "no connection without a certificate");
    }
    let page = get(mesh.admin("details-v1.default"), "/stats/prometheus", &[]).expect("metrics").text();
    let from_productpage = "source_principal=\"cluster.local/ns/default/sa/bookinfo-productpage\"";
    assert!(page.contains(from_productpage) && page.contains("mutual_tls"), "{page}");
    mesh.remove("rule.yaml");
    eventually("plaintext again", plainly);
}

fn curl(arguments: &[&str]) -> Option<(bool, String)> {
    let output = Command::new("curl").args(["-sS", "--max-time", "10"]).args(arguments).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn the_gateway_ends_tls_and_takes_a_new_certificate() {
    let test = "the_gateway_ends_tls_and_takes_a_new_certificate";
    let Some((text, files)) = secret(test, "front-certificate", "localhost") else { return };
    let (origin, port) = (Origin::start("application"), free_port());
    let mesh = Setup::new()
        .file("gateway.yaml", &example("gateway-tls/gateway.yaml", &[(9001, origin.address.port())]))
        .file("secret.yaml", &text)
        .arguments(&["--port-map", &format!("8443:{port}")])
        .start();
    let ask = |files: &TempDir| {
        let ca = files.path().join("ca.crt").display().to_string();
        curl(&["--cacert", &ca, &format!("https://localhost:{port}/")])
    };
    let Some(answer) = ask(&files) else { return skip(test, "there is no curl") };
    assert_eq!(answer, (true, "application".to_owned()));
    let Some((text, newer)) = secret(test, "front-certificate", "localhost") else { return };
    mesh.put("secret.yaml", &text);
    eventually("the new certificate", || ask(&newer).filter(|(well, body)| *well && body == "application"));
    let (well, said) = ask(&files).expect("curl is there");
    assert!(!well, "the old CA vouches for the old certificate only: {said}");
}

/// `openssl s_server`, ended when dropped.
struct Server(std::process::Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_gateway_speaks_tls_to_a_server_outside_and_checks_it() {
    let test = "the_gateway_speaks_tls_to_a_server_outside_and_checks_it";
    let Some((text, files)) = secret(test, "origin-ca", "origin.example") else { return };
    let port = free_port();
    let server = Command::new("openssl")
        .args(["s_server", "-www", "-quiet", "-accept", &format!("127.0.0.1:{port}"), "-cert"])
        .arg(files.path().join("tls.crt"))
        .arg("-key")
        .arg(files.path().join("tls.key"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _server = Server(server.expect("openssl is there"));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    eventually("the server", || TcpStream::connect(address).ok());
    let mesh = Setup::new()
        .file("origination.yaml", &example("egress-tls/origination.yaml", &[(9443, port)]))
        .file("secret.yaml", &text)
        .start();
    let page = get(mesh.ingress, "/", &[]).expect("an answer");
    assert!(page.status == 200 && page.text().contains("TLSv1.3"), "{} {}", page.status, page.text());
    // A server that cannot show the name that is asked for gets nothing.
    let other = example("egress-tls/origination.yaml", &[(9443, port)])
        .replace("subjectAltNames: [origin.example]", "subjectAltNames: [other.example]");
    mesh.put("origination.yaml", &other);
    let refused = |mesh: &Mesh| get(mesh.ingress, "/", &[]).ok().filter(|answer| answer.status == 503);
    eventually("the server to be refused", || refused(&mesh));
}

#[test]
fn a_gateway_carries_websocket_and_tcp_whose_server_speaks_first() {
    let (chat, database) = (listener(), listener());
    let ports = [&chat, &database].map(|it| it.local_addr().expect("bound").port());
    let tcp_port = free_port();
    let mesh = Setup::new()
        .file("gateway.yaml", &example("protocols/gateway.yaml", &[]))
        .file("websocket.yaml", &example("protocols/websocket.yaml", &[(9002, ports[0])]))
        .file("tcp.yaml", &example("protocols/tcp.yaml", &[(9306, ports[1])]))
        .arguments(&["--port-map", &format!("3306:{tcp_port}")])
        .start();
    let upgrade = std::thread::spawn(move || {
        let (stream, _) = chat.accept().expect("a connection");
        let mut reader = BufReader::new(stream);
        let head = head(&mut reader);
        assert!(head.to_ascii_lowercase().contains("upgrade: websocket"), "{head}");
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello";
        reader.get_mut().write_all(answer.as_bytes()).expect("an answer");
        let mut said = [0; 5];
        reader.read_exact(&mut said).expect("bytes from the client");
        assert_eq!(&said, b"world");
    });
    let client = TcpStream::connect(mesh.ingress).expect("the gateway");
    let mut client = BufReader::new(client);
    let ask = "GET /socket HTTP/1.1\r\nHost: chat.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.get_mut().write_all(ask.as_bytes()).expect("the gateway reads");
    assert!(head(&mut client).starts_with("HTTP/1.1 101"));
    let mut said = [0; 5];
    client.read_exact(&mut said).expect("bytes from the server");
    assert_eq!(&said, b"hello");
    client.get_mut().write_all(b"world").expect("the gateway reads");
    upgrade.join().expect("the server is content");

    let greet = std::thread::spawn(move || {
        let (mut stream, _) = database.accept().expect("a connection");
        stream.write_all(b"5.7 server\n").expect("a greeting");
    });
    let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], tcp_port))).expect("the gateway");
    let mut greeting = String::new();
    BufReader::new(stream).read_line(&mut greeting).expect("a greeting");
    assert_eq!(greeting, "5.7 server\n", "though the client never spoke");
    greet.join().expect("the server is content");
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a loopback port")
}

fn head(reader: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).expect("a head") > 0, "it ended with {head:?}");
    }
    head
}
