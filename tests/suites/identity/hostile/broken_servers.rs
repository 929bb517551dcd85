//! Servers that break a handshake, each in its own way: the call fails for that reason, and the next service is called as before.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dromon_core::config::model::Protocol;

use super::{Caller, failed};
use crate::forge::Forge;
use crate::openssl;

/// How long the proxy may take to give up a server that says nothing, several tries included.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server does once it has heard a ClientHello.
type Script = fn(&mut TcpStream);

/// What of a ServerHello says that 118 bytes follow its head (RFC 8446, 4.1.3, in a record of 5.1).
const HELLO_BEGUN: [u8; 11] = [22, 3, 3, 0, 122, 2, 0, 0, 118, 3, 3];

/// Ways to break a handshake, and the reasons they are told by.
const SCRIPTS: [(&str, &str, Script); 6] = [
    ("a server that hangs up", "truncated", |_| {}),
    ("a ServerHello that ends early", "truncated", |stream| {
        let _ = stream.write_all(&[&HELLO_BEGUN[..], &[7; 40]].concat());
    }),
    ("a server without TLS", "protocol", |stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    }),
    ("a ServerHello of nonsense", "protocol", |stream| {
        let _ = stream.write_all(&[&HELLO_BEGUN[..], &[0xff; 116]].concat());
    }),
    ("an alert instead of a ServerHello", "refused_by_peer", |stream| {
        // handshake_failure, fatal (RFC 8446, 6.2).
        let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, 40]);
    }),
    ("a server that says nothing", "handshake_timeout", |stream| {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        let _ = stream.read_to_end(&mut Vec::new());
    }),
];

/// A server that has a handshake go as a script says, and keeps what it was sent.
struct Broken {
    script: Arc<AtomicUsize>,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Broken {
    fn start(address: SocketAddr) -> Broken {
        let listener = TcpListener::bind(address).expect("the service's address");
        let broken = Broken { script: Arc::default(), heard: Arc::default() };
        let (script, heard) = (broken.script.clone(), broken.heard.clone());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let (_, _, run) = SCRIPTS[script.load(Ordering::SeqCst)];
                let heard = heard.clone();
                std::thread::spawn(move || {
                    let mut hello = [0; 16 * 1024];
                    let count = stream.read(&mut hello).unwrap_or(0);
                    heard.lock().expect("no panic").extend_from_slice(&hello[..count]);
                    run(&mut stream);
                    let _ = stream.shutdown(Shutdown::Write);
                    let mut rest = Vec::new();
                    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
                    let _ = stream.read_to_end(&mut rest);
                    heard.lock().expect("no panic").extend(rest);
                });
            }
        });
        broken
    }
}

/// Each way, the reason in log and metric, and nothing of the request on the wire.
pub fn each_way(driver: &str) {
    let forge = Forge::new();
    let client = Caller::start(driver, &forge, Protocol::Http);
    let server = Broken::start(client.server);
    for (turn, (what, reason, _)) in SCRIPTS.into_iter().enumerate() {
        server.script.store(turn, Ordering::SeqCst);
        let before = failed(&client.proxy, "upstream", reason);
        let lines = client.proxy.process.stderr().len();
        let answer = client.ask();
        assert_eq!(answer.status, 503, "{driver}, {what}: {}", answer.text());
        assert_eq!(answer.header("x-dromon-reason"), Some("upstream_tls_failed"), "{driver}, {what}");
        client.has_refused(&format!("{driver}, {what}"), reason, before, lines);
    }
    let heard = server.heard.lock().expect("no panic");
    assert!(heard.len() > 1_000, "{driver}: handshakes were begun");
    assert!(!heard.windows(4).any(|bytes| bytes == b"GET "), "{driver}: a request went out in plain text");
}

/// A server that has nothing newer than TLS 1.2, where nobody has chosen that.
pub fn older(driver: &str) {
    let forge = Forge::new();
    let client = Caller::start(driver, &forge, Protocol::Http);
    let before = failed(&client.proxy, "upstream", "refused_by_peer");
    let lines = client.proxy.process.stderr().len();
    let papers = forge.papers("web", |_| {});
    let _server = openssl::serve(client.server, &papers, &["-tls1_2", "-alpn", "istio-http/1.1"]);
    assert_eq!(client.ask().status, 503);
    client.has_refused("a server of TLS 1.2", "refused_by_peer", before, lines);
}
