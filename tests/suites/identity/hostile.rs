//! Peers that must not get in, each played by openssl: refused with the reason in log and metric at our end and an alert at
//! theirs, while others go on as if nothing had happened.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use dromon_core::config::model::{
    ClientTls, ClientTlsMode, Host, HostPort, ListenerKind, MtlsMode, Protocol, Resource, Role,
};
use dromon_tests::http::get;
use dromon_tests::origin::Origin;
use dromon_tests::proxy::{Proxy, destination, listener, proxy};
use dromon_tests::{eventually, free_port};

use crate::forge::{Forge, Papers, id};
use crate::openssl;

/// The service that clients ask for.
pub(crate) const HOST: &str = "web.default.svc.cluster.local";

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
        let forge = Forge::new();
        let origin = Origin::start("application");
        let inbound = free_address();
        let kind = ListenerKind::Inbound {
            protocol: Protocol::Http,
            target: origin.address,
            service: None,
            pool: Default::default(),
            mtls: MtlsMode::Strict,
        };
        let resources = [proxy(Role::Sidecar, vec![listener("inbound/80", inbound, kind)])];
        let own = forge.papers("web", |_| {});
        let friend = forge.papers("friend", |_| {});
        let proxy = sidecar(driver, &resources, &own);
        Strict { forge, friend, inbound, proxy, _origin: origin }
    }

    fn friend_is_served(&self, after: &str) {
        let seen = openssl::ask(self.inbound, Some(&self.friend), &["-alpn", "istio-http/1.1"]);
        assert!(seen.contains("HTTP/1.1 200 OK"), "after {after}: {seen}");
    }

    fn is_refused(&mut self, what: &str, papers: Option<&Papers>, reason: &str, more: &[&str], alert: &str) {
        let before = failed(&self.proxy, "downstream", reason);
        let seen = openssl::ask(self.inbound, papers, more);
        assert!(!seen.contains("HTTP/1.1 200"), "{what} got in: {seen}");
        assert!(seen.contains(alert), "{what} is told {alert:?}: {seen}");
        counted(&self.proxy, "downstream", reason, before, what);
        self.proxy.process.expect_stderr(&["TLS from 127.0.0.1", reason]);
        self.friend_is_served(what);
    }
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
    let mut strict = Strict::start(driver);
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
    let mut strict = Strict::start(driver);
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
    let late = failed(&strict.proxy, "downstream", "handshake_timeout");
    let mut slow = TcpStream::connect(strict.inbound).expect("the proxy listens");
    slow.write_all(&hello[..hello.len() / 2]).expect("written");
    for length in [1, 5, 6, hello.len() / 2, hello.len() - 1, hello.len()] {
        let before = failed(&strict.proxy, "downstream", "truncated");
        let mut stream = TcpStream::connect(strict.inbound).expect("the proxy listens");
        stream.write_all(&hello[..length]).expect("written");
        stream.shutdown(Shutdown::Write).expect("closed");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
        let _ = stream.read_to_end(&mut Vec::new());
        if length > 5 {
            counted(&strict.proxy, "downstream", "truncated", before, &format!("a hello of {length} bytes"));
        }
        strict.friend_is_served("a handshake that was broken off");
    }
    let mut garbled = hello.clone();
    garbled[5] = 0xff;
    let before = failed(&strict.proxy, "downstream", "protocol");
    let mut stream = TcpStream::connect(strict.inbound).expect("the proxy listens");
    stream.write_all(&garbled).expect("written");
    let _ = stream.read_to_end(&mut Vec::new());
    counted(&strict.proxy, "downstream", "protocol", before, "a garbled hello");
    slow.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
    let _ = slow.read_to_end(&mut Vec::new());
    counted(&strict.proxy, "downstream", "handshake_timeout", late, "a slow handshake");
    strict.friend_is_served("a slow handshake");
}

/// The resources of a client's sidecar whose service has one endpoint, of the account `web`.
pub(crate) fn towards(front: SocketAddr, server: SocketAddr) -> Vec<Resource> {
    let kind = ListenerKind::Service { host: HOST.into(), port: 80, protocol: Protocol::Http };
    let mut resources = vec![proxy(Role::Sidecar, vec![listener("service/80", front, kind)])];
    for mut resource in destination(HOST, &[server]) {
        match &mut resource {
            Resource::Destination(it) => {
                it.protocol = Protocol::Http;
                let identities = vec![id("web")];
                it.tls = Some(ClientTls { mode: ClientTlsMode::Auto, identities, ..ClientTls::default() });
            }
            Resource::Endpoints(it) => it.endpoints.iter_mut().for_each(|it| it.mtls = true),
            _ => {}
        }
        resources.push(resource);
    }
    let ports = vec![HostPort { number: 80, protocol: Protocol::Http }];
    resources.push(Resource::Host(Host {
        name: HOST.into(),
        domains: vec![HOST.into()],
        ports,
        ..Host::default()
    }));
    resources
}

/// Servers that are not who the service's endpoints may be.
pub fn servers(driver: &str) {
    let forge = Forge::new();
    let [front, server] = [(); 2].map(|()| free_address());
    let mut client = sidecar(driver, &towards(front, server), &forge.papers("client", |_| {}));
    let ask = || get(front, "/", &[("Host", HOST)]).expect("an answer");
    let mut wrong = forge.wrong();
    // Good in itself, but another service's.
    wrong.push(("another service's account", forge.papers("ratings", |_| {}), "wrong_identity"));
    for (what, papers, reason) in wrong {
        let before = failed(&client, "upstream", reason);
        let mut impostor = openssl::serve(server, &papers, &["-alpn", "istio-http/1.1"]);
        let answer = ask();
        assert_eq!(answer.status, 503, "{what}: {}", answer.text());
        assert_eq!(answer.header("x-dromon-reason"), Some("upstream_tls_failed"), "{what}");
        counted(&client, "upstream", reason, before, what);
        client.process.expect_stderr(&["TLS to 127.0.0.1", reason]);
        impostor.expect_stderr(&[alert(reason)]);
    }
    let good = forge.papers("web", |_| {});
    let _server = openssl::serve(server, &good, &["-alpn", "istio-http/1.1"]);
    let answer = eventually("the right server to be taken", || Some(ask()).filter(|it| it.status == 200));
    assert!(answer.text().contains("s_server"), "{}", answer.text());
}
