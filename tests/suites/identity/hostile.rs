//! Peers that must not get in, each played by openssl: refused with the reason in log and metric at our end and an alert at
//! theirs, while others go on as if nothing had happened.

pub mod broken_servers;
pub mod protocols;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use dromon_core::config::model::{ListenerKind, MtlsMode, Protocol, Resource, Role};
use dromon_tests::http::{Response, get};
use dromon_tests::origin::Origin;
pub(crate) use dromon_tests::pair::HOST;
use dromon_tests::pair::{self, service};
use dromon_tests::process::Process;
use dromon_tests::proxy::{Proxy, listener, proxy};
use dromon_tests::{eventually, free_port};

use crate::forge::{Forge, Papers, id};
use crate::openssl;

/// A service whose server is as it should be.
const CALM: &str = "calm.default.svc.cluster.local";

pub(crate) fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// A sidecar with these papers.
pub(crate) fn sidecar(driver: &str, resources: &[Resource], papers: &Papers) -> Proxy {
    let certs = papers.folder().display().to_string();
    Proxy::start("sidecar~app.default", driver, resources, &["--shards", "1", "--certs", &certs])
}

/// Handshakes that failed for this reason at this side.
fn failed(proxy: &Proxy, side: &str, reason: &str) -> f64 {
    let page = get(proxy.stats, "/stats/prometheus", &[]).expect("a page").text();
    let (side, reason) = (format!("side=\"{side}\""), format!("reason=\"{reason}\""));
    let counts = page.lines().filter(|line| {
        line.starts_with("dromon_tls_handshakes_failed_total{")
            && line.contains(&side)
            && line.contains(&reason)
    });
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn counted(proxy: &Proxy, side: &str, reason: &str, before: f64, what: &str) {
    eventually(&format!("{what} to be counted as {reason}"), || {
        (failed(proxy, side, reason) > before).then_some(())
    });
}

/// A server's sidecar that takes mutual TLS only, and what others do to it.
struct Strict {
    forge: Forge,
    friend: Papers,
    inbound: SocketAddr,
    proxy: Proxy,
    _origin: Origin,
}

impl Strict {
    fn start(driver: &str) -> Strict {
        let origin = Origin::start("application");
        let forge = Forge::new();
        let friend = forge.papers("friend", |_| {});
        let (inbound, proxy) =
            inbound_sidecar(driver, &forge, origin.address, Protocol::Http, MtlsMode::Strict);
        Strict { forge, friend, inbound, proxy, _origin: origin }
    }

    fn friend_is_served(&self, after: &str) {
        let seen = openssl::ask(self.inbound, Some(&self.friend), &["-alpn", "istio-http/1.1"]);
        assert!(seen.contains("HTTP/1.1 200 OK"), "after {after}: {seen}");
    }

    fn is_refused(&self, what: &str, papers: Option<&Papers>, reason: &str, more: &[&str], alert: &str) {
        let before = failed(&self.proxy, "downstream", reason);
        let lines = self.proxy.process.stderr().len();
        let seen = openssl::told(self.inbound, papers, more, openssl::REQUEST, alert);
        assert!(!seen.contains("HTTP/1.1 200"), "{what} got in: {seen}");
        assert!(seen.contains(alert), "{what} is told {alert:?}: {seen}");
        counted(&self.proxy, "downstream", reason, before, what);
        self.tells(lines, reason);
        self.friend_is_served(what);
    }

    /// The log says it in a line behind the first `lines`.
    fn tells(&self, lines: usize, reason: &str) {
        let reason = format!("(inbound/80): {reason}: ");
        self.proxy.process.expect_stderr_after(lines, &["TLS from 127.0.0.1", &reason]);
    }
}

/// The sidecar of the account `web` before this application, and where it takes what comes from others.
fn inbound_sidecar(
    driver: &str,
    forge: &Forge,
    application: SocketAddr,
    protocol: Protocol,
    mode: MtlsMode,
) -> (SocketAddr, Proxy) {
    let inbound = free_address();
    let kind = ListenerKind::Inbound {
        protocol,
        target: application,
        service: None,
        pool: Default::default(),
        mtls: mode,
    };
    let resources = [proxy(Role::Sidecar, vec![listener("inbound/80", inbound, kind)])];
    (inbound, sidecar(driver, &resources, &forge.papers("web", |_| {})))
}

/// The alert by which the other end learns of each reason (RFC 8446, section 6.2), in OpenSSL's words.
fn alert(reason: &str) -> &'static str {
    match reason {
        "unknown_ca" => "alert unknown ca",
        "expired" | "not_yet_valid" => "alert certificate expired",
        "wrong_usage" => "alert unsupported certificate",
        _ => "alert certificate unknown",
    }
}

/// Clients with certificates that prove the wrong thing, or nothing.
pub fn clients(driver: &str) {
    let strict = Strict::start(driver);
    strict.friend_is_served("nothing");
    for (what, papers, reason) in strict.forge.wrong() {
        strict.is_refused(what, Some(&papers), reason, &[], alert(reason));
    }
    strict.is_refused(
        "a client without a certificate",
        None,
        "no_certificate",
        &[],
        "alert certificate required",
    );
}

/// Clients that want less than TLS 1.3, and renegotiation, which TLS 1.3 does not have.
pub fn downgrades(driver: &str) {
    let strict = Strict::start(driver);
    let friend = strict.forge.papers("friend", |_| {});
    // Before TLS 1.2 the hello lacks what every later one must have, and is refused for that.
    let versions = [("-tls1", "alert"), ("-tls1_1", "alert"), ("-tls1_2", "alert protocol version")];
    for (version, alert) in versions {
        let weak = [version, "-cipher", "ALL:@SECLEVEL=0"];
        strict.is_refused(version, Some(&friend), "incompatible", &weak, alert);
    }
}

/// Handshakes that stop in the middle: closed by the client, or left open until it is too late.
pub fn broken_off(driver: &str) {
    let strict = Strict::start(driver);
    let hello = openssl::hello();
    let connect = || TcpStream::connect(strict.inbound).expect("the proxy listens");
    let late = failed(&strict.proxy, "downstream", "handshake_timeout");
    let lines = strict.proxy.process.stderr().len();
    let mut slow = connect();
    slow.write_all(&hello[..hello.len() / 2]).expect("written");
    // One whose hello was answered, and who says no more.
    let mut mute = connect();
    mute.write_all(&hello).expect("written");
    for (turn, length) in [1, 5, 6, hello.len() / 2, hello.len() - 1, hello.len()].into_iter().enumerate() {
        let before = failed(&strict.proxy, "downstream", "truncated");
        let mut stream = connect();
        stream.write_all(&hello[..length]).expect("written");
        stream.shutdown(Shutdown::Write).expect("closed");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
        let _ = stream.read_to_end(&mut Vec::new());
        counted(&strict.proxy, "downstream", "truncated", before, &format!("a hello of {length} bytes"));
        if turn == 0 {
            strict.tells(lines, "truncated");
        }
        strict.friend_is_served("a handshake that was broken off");
    }
    let mut garbled = hello.clone();
    garbled[5] = 0xff;
    let before = failed(&strict.proxy, "downstream", "protocol");
    let mut stream = connect();
    stream.write_all(&garbled).expect("written");
    let _ = stream.read_to_end(&mut Vec::new());
    counted(&strict.proxy, "downstream", "protocol", before, "a garbled hello");
    strict.tells(lines, "protocol");
    // However small the parts that it comes in, a hello is one.
    let mut dripping = connect();
    dripping.set_nodelay(true).expect("a socket option");
    for byte in &hello {
        dripping.write_all(&[*byte]).expect("written");
    }
    let mut answer = [0; 6];
    dripping.read_exact(&mut answer).expect("an answer");
    assert_eq!((answer[0], answer[5]), (22, 2), "a handshake record with a ServerHello");
    for (mut stream, turn) in [(slow, 1.0), (mute, 2.0)] {
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
        let _ = stream.read_to_end(&mut Vec::new());
        counted(&strict.proxy, "downstream", "handshake_timeout", late + turn - 1.0, "a slow handshake");
    }
    strict.tells(lines, "handshake_timeout");
    strict.friend_is_served("a slow handshake");
}

/// The resources of a client's sidecar whose service has one endpoint, of the account `web`.
pub(crate) fn towards(front: SocketAddr, server: SocketAddr) -> Vec<Resource> {
    pair::client(front, server, Protocol::Http, &id("web"))
}

/// A client's sidecar for two services of the account `web`, each with one endpoint.
struct Caller {
    proxy: Proxy,
    front: SocketAddr,
    server: SocketAddr,
    calm_front: SocketAddr,
    _calm: Process,
}

impl Caller {
    fn start(driver: &str, forge: &Forge, protocol: Protocol) -> Caller {
        let [front, server, calm_front, calm_server] = [(); 4].map(|()| free_address());
        let listens = [("service/80", front, HOST, protocol), ("calm/80", calm_front, CALM, Protocol::Http)]
            .map(|(name, at, host, protocol)| {
                listener(name, at, ListenerKind::Service { host: host.into(), port: 80, protocol })
            });
        let mut resources = vec![proxy(Role::Sidecar, listens.into())];
        resources.extend(service(HOST, server, protocol, &id("web")));
        resources.extend(service(CALM, calm_server, Protocol::Http, &id("web")));
        let calm = openssl::serve(calm_server, &forge.papers("web", |_| {}), &["-alpn", "istio-http/1.1"]);
        let proxy = sidecar(driver, &resources, &forge.papers("client", |_| {}));
        Caller { proxy, front, server, calm_front, _calm: calm }
    }

    fn ask(&self) -> Response {
        get(self.front, "/", &[("Host", HOST)]).expect("an answer")
    }

    /// The server was refused for this, in the log's lines behind the first `lines` and in the metric; others are called
    /// as before.
    fn has_refused(&self, what: &str, reason: &str, before: f64, lines: usize) {
        counted(&self.proxy, "upstream", reason, before, what);
        let (to, reason) = (format!("TLS to {}", self.server), format!("): {reason}: "));
        self.proxy.process.expect_stderr_after(lines, &[&to, HOST, &reason]);
        let answer = get(self.calm_front, "/", &[("Host", CALM)]).expect("an answer");
        assert_eq!(answer.status, 200, "after {what} another service is called: {}", answer.text());
    }
}

/// Servers that are not who the service's endpoints may be.
pub fn servers(driver: &str) {
    let forge = Forge::new();
    let client = Caller::start(driver, &forge, Protocol::Http);
    let mut wrong = forge.wrong();
    // Good in itself, but another service's.
    wrong.push(("another service's account", forge.papers("ratings", |_| {}), "wrong_identity"));
    for (what, papers, reason) in wrong {
        let before = failed(&client.proxy, "upstream", reason);
        let lines = client.proxy.process.stderr().len();
        let mut impostor = openssl::serve(client.server, &papers, &["-alpn", "istio-http/1.1"]);
        let answer = client.ask();
        assert_eq!(answer.status, 503, "{what}: {}", answer.text());
        assert_eq!(answer.header("x-dromon-reason"), Some("upstream_tls_failed"), "{what}");
        client.has_refused(what, reason, before, lines);
        impostor.expect_stderr(&[alert(reason)]);
    }
    let good = forge.papers("web", |_| {});
    let _server = openssl::serve(client.server, &good, &["-alpn", "istio-http/1.1"]);
    let answer =
        eventually("the right server to be taken", || Some(client.ask()).filter(|it| it.status == 200));
    assert!(answer.text().contains("s_server"), "{}", answer.text());
}

/// An impostor gets not one byte of what is meant for the service, whatever is spoken.
pub fn servers_of_every_protocol(driver: &str) {
    let forge = Forge::new();
    for protocol in [Protocol::Http2, Protocol::Grpc, Protocol::Tcp] {
        let client = Caller::start(driver, &forge, protocol);
        let alpn = if protocol == Protocol::Tcp { "istio" } else { "istio-h2" };
        for (papers, reason) in [
            (forge.papers("ratings", |_| {}), "wrong_identity"),
            (Forge::new().papers("web", |_| {}), "unknown_ca"),
        ] {
            let what = format!("{driver}, {protocol:?}: {reason}");
            let before = failed(&client.proxy, "upstream", reason);
            let lines = client.proxy.process.stderr().len();
            let mut impostor = openssl::serve(client.server, &papers, &["-alpn", alpn]);
            match protocol {
                Protocol::Tcp => {
                    // The impostor would answer it.
                    let mut stream = TcpStream::connect(client.front).expect("the sidecar listens");
                    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
                    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("written");
                    let mut answer = Vec::new();
                    let _ = stream.read_to_end(&mut answer);
                    assert!(answer.is_empty(), "{what}: {}", String::from_utf8_lossy(&answer));
                }
                _ => assert_eq!(client.ask().status, 503, "{what}"),
            }
            client.has_refused(&what, reason, before, lines);
            impostor.expect_stderr(&[alert(reason)]);
        }
    }
}
