//! The PROXY protocol: who a client is, as told by whoever passes its connection on.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use dromon_core::config::model::{
    ClientTls, ClientTlsMode, HttpRule, MtlsMode, Protocol, ProxyProtocol, Resource, ServerTls, TlsMode,
};
use dromon_tests::certs::{MeshCa, WebCa, run};
use dromon_tests::eventually;
use dromon_tests::origin::Origin;
use dromon_tests::pair::{self, HOST, free_address, metric, server, sidecar};
use dromon_tests::proxy::{Proxy, gateway};
use dromon_tests::scripted::{Answer, Scripted};

use crate::detection::tls_server;
use crate::gateway::{curl, settings, text};

/// The first bytes of version 2, up to its command.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// What version 2 says of a client at 203.0.113.9:12345 that has asked for 192.0.2.1:80.
const BETWEEN: [u8; 12] = [203, 0, 113, 9, 192, 0, 2, 1, 0x30, 0x39, 0, 80];

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    [V2, &[command, family], &(body.len() as u16).to_be_bytes(), body].concat()
}

/// Headers, and whom their client is taken for.
fn headers() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let net = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let six = [&net[..], &[9], &net, &[1], &[0x30, 0x39, 0, 80]].concat();
    // A checksum (its type and length, four bytes) and padding.
    let more = [&BETWEEN[..], &[3, 0, 4, 1, 2, 3, 4], &[4, 0, 2, 0, 0]].concat();
    vec![
        ("v1 TCP4", b"PROXY TCP4 203.0.113.9 192.0.2.1 12345 80\r\n".to_vec(), "203.0.113.9"),
        ("v1 TCP6", b"PROXY TCP6 2001:db8::9 2001:db8::1 12345 80\r\n".to_vec(), "2001:db8::9"),
        ("v1 UNKNOWN", b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        ("v1 UNKNOWN and more", b"PROXY UNKNOWN 2001:db8::9 ::1 12345 80\r\n".to_vec(), "127.0.0.1"),
        ("v2 over IPv4", v2(0x21, 0x11, &BETWEEN), "203.0.113.9"),
        ("v2 over IPv6", v2(0x21, 0x21, &six), "2001:db8::9"),
        ("v2 with more", v2(0x21, 0x11, &more), "203.0.113.9"),
        ("v2 LOCAL", v2(0x20, 0, &[]), "127.0.0.1"),
        ("v2 LOCAL with addresses", v2(0x20, 0x11, &BETWEEN), "127.0.0.1"),
    ]
}

/// A gateway to `upstream` that takes the PROXY protocol, with these settings of TLS.
fn taking(
    driver: &str,
    upstream: SocketAddr,
    tls: Vec<ServerTls>,
    onward: Option<ProxyProtocol>,
    more: impl IntoIterator<Item = Resource>,
) -> (Proxy, SocketAddr) {
    let front = free_address();
    let mut resources = gateway(front, &[upstream], HttpRule::default());
    for resource in &mut resources {
        match resource {
            Resource::Proxy(proxy) => {
                (proxy.listeners[0].proxy_protocol, proxy.listeners[0].tls) = (true, tls.clone());
            }
            Resource::Destination(it) => it.proxy_protocol = onward,
            _ => {}
        }
    }
    resources.extend(more);
    (Proxy::start("gateway~ingress.default", driver, &resources, &["--shards", "1"]), front)
}

/// Passes connections on to `to` after `prepare` has had both ends, its client's first.
fn relay(to: SocketAddr, prepare: impl Fn(&TcpStream, &TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(to) else { continue };
            prepare(&client, &server);
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { continue };
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    address
}

/// Sends a request behind this header, in two pieces, since nothing says that a header comes in one.
fn ask_behind(front: SocketAddr, header: &[u8]) -> String {
    let mut stream = TcpStream::connect(front).expect("the gateway listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket option");
    stream.set_nodelay(true).expect("a socket option");
    let (first, rest) = header.split_at(header.len().min(9));
    // One that was refused may be gone already.
    let _ = stream.write_all(first);
    std::thread::sleep(Duration::from_millis(20));
    let _ = stream.write_all(rest);
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Every kind of header before a request and before a ClientHello; what is none is refused with the reason.
pub fn taken(driver: &str) {
    let upstream = Scripted::start();
    upstream.answer(|_| Answer::keep("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    let told = || upstream.seen().last().expect("a request").header("x-forwarded-for").map(str::to_owned);
    let (proxy, front) = taking(driver, upstream.address, Vec::new(), None, []);
    for (what, header, client) in headers() {
        let answer = ask_behind(front, &header);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{driver}, {what}: {answer}");
        assert_eq!(told().as_deref(), Some(client), "{driver}, {what}");
    }
    let broken: [(&str, Vec<u8>); 8] = [
        ("no header", b"".to_vec()),
        ("another family's address", b"PROXY TCP4 2001:db8::9 192.0.2.1 12345 80\r\n".to_vec()),
        ("a port with a zero before it", b"PROXY TCP4 203.0.113.9 192.0.2.1 012345 80\r\n".to_vec()),
        ("a line that does not end", [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat()),
        ("no such command", v2(0x2f, 0x11, &BETWEEN)),
        ("no such version", v2(0x31, 0x11, &BETWEEN)),
        ("addresses that are cut off", v2(0x21, 0x11, &BETWEEN[..8])),
        ("more than anybody has to say", v2(0x21, 0x11, &[0; 60_000])),
    ];
    let failed = ["dromon_tls_handshakes_failed_total", "downstream", "reason=\"proxy_protocol\""];
    let served = upstream.seen().len();
    let lines = proxy.process.stderr().len();
    for (number, (what, header)) in broken.iter().enumerate() {
        let answer = ask_behind(front, header);
        assert!(!answer.contains(" 200 "), "{driver}, {what}: {answer}");
        eventually(&format!("{driver}: {what} to be counted"), || {
            (metric(&proxy, &failed) >= (number + 1) as f64).then_some(())
        });
    }
    assert_eq!(metric(&proxy, &failed), broken.len() as f64, "{driver}: each once");
    assert_eq!(upstream.seen().len(), served, "{driver}: nothing of it has gone on");
    proxy.process.expect_stderr_after(lines, &["127.0.0.1", "proxy_protocol"]);
    assert!(ask_behind(front, &headers()[0].1).starts_with("HTTP/1.1 200 "), "{driver}: others are served");
}

/// Before a ClientHello at a gateway's port, said by a load balancer or by curl itself.
pub fn before_tls(driver: &str) {
    let upstream = Scripted::start();
    upstream.answer(|_| Answer::keep("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    let told = || upstream.seen().last().expect("a request").header("x-forwarded-for").map(str::to_owned);
    let ca = WebCa::new();
    ca.issue("server", "DNS:a.example");
    let tls = vec![settings("a.example", TlsMode::Simple, "server")];
    let credential = Resource::Credential(ca.credential("server"));
    let (proxy, front) = taking(driver, upstream.address, tls, None, [credential]);
    for (what, header, client) in headers() {
        let balancer = relay(front, move |_, mut server| server.write_all(&header).expect("open"));
        for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
            let said = text(&curl(balancer, &ca, "a.example", &[flag]));
            assert_eq!(said, format!("ok {version}"), "{driver}, {what}");
            assert_eq!(told().as_deref(), Some(client), "{driver}, {what}");
        }
    }
    let itself = ["--http1.1", "--haproxy-protocol", "--interface", "127.0.0.7"];
    assert_eq!(text(&curl(front, &ca, "a.example", &itself)), "ok 1.1", "{driver}");
    assert_eq!(told().as_deref(), Some("127.0.0.7"), "{driver}");
    let failed = ["dromon_tls_handshakes_failed_total", "downstream", "reason=\"proxy_protocol\""];
    assert_eq!(metric(&proxy, &failed), 0.0, "{driver}");
    let said = text(&curl(front, &ca, "a.example", &["--http1.1"]));
    assert!(!said.contains("ok"), "{driver}: a ClientHello without a header: {said}");
    eventually("it to be counted", || (metric(&proxy, &failed) == 1.0).then_some(()));
}

/// Reads a header of either version.
fn read_header(mut stream: &TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket option");
    let mut header = Vec::new();
    let mut byte = [0];
    let ends = |header: &[u8]| match header.starts_with(V2) {
        true => {
            header.len() >= 16 && header.len() == 16 + usize::from(header[14]) * 256 + usize::from(header[15])
        }
        false => header.starts_with(b"PROXY ") && header.ends_with(b"\r\n"),
    };
    while !ends(&header) {
        stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {header:?}"));
        header.push(byte[0]);
    }
    stream.set_read_timeout(None).expect("a socket option");
    header
}

/// What an upstream is told of this client, in either version.
fn expected(version: ProxyProtocol, client: SocketAddr, front: SocketAddr) -> Vec<u8> {
    match version {
        ProxyProtocol::V1 => {
            let (from, to) = (client.ip(), front.ip());
            format!("PROXY TCP4 {from} {to} {} {}\r\n", client.port(), front.port()).into_bytes()
        }
        ProxyProtocol::V2 => {
            let ports = [client.port().to_be_bytes(), front.port().to_be_bytes()].concat();
            v2(0x21, 0x11, &[&[127, 0, 0, 1, 127, 0, 0, 1][..], &ports].concat())
        }
    }
}

const VERSIONS: [ProxyProtocol; 2] = [ProxyProtocol::V1, ProxyProtocol::V2];

/// The upstream is told the client before anything else, be it HTTP or a stream in which the server speaks first.
pub fn told(driver: &str) {
    for version in VERSIONS {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let upstream = listener.local_addr().expect("bound");
        for protocol in [Protocol::Http, Protocol::Tcp] {
            let front = free_address();
            let mut resources = pair::client(front, upstream, protocol, "");
            for resource in &mut resources {
                match resource {
                    Resource::Destination(it) => (it.proxy_protocol, it.tls) = (Some(version), None),
                    Resource::Endpoints(it) => it.endpoints.iter_mut().for_each(|it| it.mtls = false),
                    _ => {}
                }
            }
            let _proxy = Proxy::start("sidecar~app.default", driver, &resources, &["--shards", "1"]);
            let mut client = TcpStream::connect(front).expect("the proxy listens");
            client.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket option");
            if protocol == Protocol::Http {
                client.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).expect("open");
            }
            let (mut server, _) = listener.accept().expect("a connection");
            let client_address = client.local_addr().expect("connected");
            let what = format!("{driver}, {version:?}, {protocol:?}");
            assert_eq!(read_header(&server), expected(version, client_address, front), "{what}");
            if protocol == Protocol::Tcp {
                server.write_all(b"220 mail\r\n").expect("open");
                let mut greeting = [0; 10];
                client.read_exact(&mut greeting).expect("a greeting");
                assert_eq!(&greeting, b"220 mail\r\n", "{what}");
                client.write_all(b"GET / HTTP/1.1\r\n").expect("open");
            }
            let mut line = String::new();
            BufReader::new(&server).read_line(&mut line).expect("a line");
            assert_eq!(line, "GET / HTTP/1.1\r\n", "{what}");
        }
    }
}

/// Before TLS that begins here: towards a server outside the mesh, and under mutual TLS to a sidecar that takes it.
pub fn told_before_tls(driver: &str) {
    let ca = WebCa::new();
    ca.issue("server", "DNS:api.example");
    let outside = free_address();
    let _outside = tls_server(outside, &ca.path("server.crt"), &ca.path("server.key"), &[]);
    for version in VERSIONS {
        let (told, heard) = std::sync::mpsc::channel();
        let door = relay(outside, move |client, _| drop(told.send(read_header(client))));
        let front = free_address();
        let mut resources = gateway(front, &[door], HttpRule::default());
        for resource in &mut resources {
            if let Resource::Destination(it) = resource {
                it.proxy_protocol = Some(version);
                it.tls = Some(ClientTls {
                    mode: ClientTlsMode::Simple,
                    sni: "api.example".into(),
                    credential: "default/server".into(),
                    ..ClientTls::default()
                });
            }
        }
        resources.push(Resource::Credential(ca.credential("server")));
        let _proxy = Proxy::start("gateway~ingress.default", driver, &resources, &["--shards", "1"]);
        let mut client = TcpStream::connect(front).expect("the gateway listens");
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("open");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("an answer");
        assert!(answer.contains("s_server"), "{driver}, {version:?}: {answer}");
        let header = heard.recv_timeout(Duration::from_secs(30)).expect("a header");
        assert_eq!(header, expected(version, client.local_addr().expect("connected"), front), "{driver}");
        between_sidecars(driver, version);
    }
}

fn between_sidecars(driver: &str, version: ProxyProtocol) {
    let mesh = MeshCa::new();
    let origin = Origin::start("application");
    let [front, inbound] = [(); 2].map(|()| free_address());
    let (of_client, of_server) = (mesh.folder("client"), mesh.folder("server"));
    let mut down = server(inbound, origin.address, Protocol::Http, MtlsMode::Strict);
    for resource in &mut down {
        if let Resource::Proxy(it) = resource {
            it.listeners[0].proxy_protocol = true;
        }
    }
    let down = sidecar(driver, &down, of_server.path());
    let mut up = pair::client(front, inbound, Protocol::Http, &mesh.id("server"));
    for resource in &mut up {
        if let Resource::Destination(it) = resource {
            it.proxy_protocol = Some(version);
        }
    }
    let _up = sidecar(driver, &up, of_client.path());
    let (host, url) = (format!("Host: {HOST}"), format!("http://{front}/"));
    let said = run("curl", &["-sS", "-m", "30", "--interface", "127.0.0.7", "-H", &host, &url]);
    assert_eq!(text(&said), "application", "{driver}, {version:?}");
    assert_eq!(metric(&down, &["dromon_downstream_tls_handshakes_total"]), 1.0, "{driver}, {version:?}");
    eventually(&format!("{driver}, {version:?}: the server's access log to name the client"), || {
        down.process.stdout().iter().any(|line| line.contains("127.0.0.7:")).then_some(())
    });
}

/// What a gateway was told goes on as it was told, both addresses of it; what it was not told, it says itself.
pub fn passed_on(driver: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let upstream = listener.local_addr().expect("bound");
    let (_proxy, front) = taking(driver, upstream, Vec::new(), Some(ProxyProtocol::V1), []);
    for (what, header, client) in headers() {
        let mut stream = TcpStream::connect(front).expect("the gateway listens");
        stream.write_all(&header).expect("open");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("open");
        let (mut server, _) = listener.accept().expect("a connection");
        let said = String::from_utf8(read_header(&server)).expect("a line");
        let here = stream.local_addr().expect("connected").port();
        let expected = match client {
            "203.0.113.9" => "PROXY TCP4 203.0.113.9 192.0.2.1 12345 80\r\n".to_owned(),
            "2001:db8::9" => "PROXY TCP6 2001:db8::9 2001:db8::1 12345 80\r\n".to_owned(),
            _ => format!("PROXY TCP4 127.0.0.1 127.0.0.1 {here} {}\r\n", front.port()),
        };
        assert_eq!(said, expected, "{driver}, {what}");
        server.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").expect("open");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 204 "), "{driver}, {what}: {answer}");
    }
}
