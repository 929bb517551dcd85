//! WebSockets of HTTP/1 clients to upstreams of HTTP/2: an extended CONNECT (RFC 8441) where the server takes it, else the
//! upgrade as it came.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dromon_tests::eventually;
use dromon_tests::http::get;
use dromon_tests::pair::metric;
use http::{Method, Response};

use crate::start;
use crate::upstream::{Limits, send, serve};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What proves that its server has read [`KEY`] (RFC 6455, 1.3).
const PROOF: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// More than the windows of a stream.
const LARGE: usize = 1 << 20;

/// Asks for a WebSocket; the answer's head.
fn ask(front: SocketAddr) -> (TcpStream, String) {
    let mut client = TcpStream::connect(front).expect("the gateway listens");
    client.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket option");
    let head = format!(
        "GET /chat?room=1 HTTP/1.1\r\nHost: chat.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v1\r\n\r\n"
    );
    client.write_all(head.as_bytes()).expect("the gateway reads");
    let mut came = Vec::new();
    let mut byte = [0];
    while !came.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {came:?}"));
        came.push(byte[0]);
    }
    (client, String::from_utf8(came).expect("a head"))
}

/// Sends and gets back small and large pieces, then ends.
fn talk(client: TcpStream) {
    let mut client = client;
    for size in [4, LARGE, 1] {
        let sent = vec![size as u8; size];
        let mut writer = client.try_clone().expect("a socket");
        let copy = sent.clone();
        let writing = std::thread::spawn(move || writer.write_all(&copy).expect("a tunnel"));
        let mut back = vec![0; size];
        client.read_exact(&mut back).expect("an echo");
        writing.join().expect("no panic");
        assert!(back == sent, "{size} bytes come back as they went");
    }
    client.shutdown(Shutdown::Write).expect("open");
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).expect("a clean end");
    assert_eq!(rest, b"bye");
}

/// A server that takes it sees a CONNECT of its protocol, without what belongs to HTTP/1; the client sees the switch that it asked for.
pub fn by_stream(driver: &str) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    let limits = Limits { connect: true, ..Limits::default() };
    let (address, counts) = serve(limits, move |request, mut respond| {
        let protocol = request.extensions().get::<h2::ext::Protocol>().map(|it| it.as_str().to_owned());
        let (parts, mut body) = request.into_parts();
        kept.lock().expect("no panic").push((parts, protocol));
        async move {
            let response = Response::builder().header("sec-websocket-protocol", "v1").body(()).expect("fine");
            let Ok(mut stream) = respond.send_response(response, false) else { return };
            while let Some(Ok(part)) = body.data().await {
                let _ = body.flow_control().release_capacity(part.len());
                send(&mut stream, part, false).await;
            }
            send(&mut stream, Bytes::from_static(b"bye"), true).await;
        }
    });
    let (proxy, front) = start(driver, &[address], 1, |_, _| {});
    let (client, head) = ask(front);
    assert!(head.starts_with("HTTP/1.1 101 "), "{driver}: {head}");
    let head = head.to_ascii_lowercase();
    let proof = format!("sec-websocket-accept: {}", PROOF.to_ascii_lowercase());
    for field in ["upgrade: websocket", "connection: upgrade", "sec-websocket-protocol: v1", &proof] {
        assert!(head.contains(field), "{driver}: {field} in {head}");
    }
    talk(client);
    let (parts, protocol) = seen.lock().expect("no panic").pop().expect("a request");
    assert_eq!((parts.method, protocol.as_deref()), (Method::CONNECT, Some("websocket")), "{driver}");
    assert_eq!(parts.uri.path_and_query().map(|it| it.as_str()), Some("/chat?room=1"));
    assert_eq!(parts.uri.authority().map(|it| it.as_str()), Some("chat.example"));
    assert_eq!(parts.headers["sec-websocket-version"], "13");
    for gone in ["sec-websocket-key", "upgrade", "connection"] {
        assert!(!parts.headers.contains_key(gone), "{driver}: {gone} is HTTP/1's");
    }
    eventually("the exchange to be counted", || {
        let bytes = metric(&proxy, &["istio_request_bytes_sum", "response_code=\"101\""]);
        (bytes > LARGE as f64).then_some(())
    });
    // The connection is one like any other: a second WebSocket goes by it.
    talk(ask(front).0);
    assert_eq!(counts.connections(), 1, "{driver}");
}

/// What the server says in place of a switch is an answer like any other.
pub fn refused(driver: &str) {
    let limits = Limits { connect: true, ..Limits::default() };
    let (address, _) = serve(limits, |_, mut respond| async move {
        let response = Response::builder().status(403).body(()).expect("fine");
        if let Ok(mut stream) = respond.send_response(response, false) {
            send(&mut stream, Bytes::from_static(b"no chat"), true).await;
        }
    });
    let (_proxy, front) = start(driver, &[address], 1, |_, _| {});
    let (mut client, head) = ask(front);
    assert!(head.starts_with("HTTP/1.1 403 "), "{driver}: {head}");
    let mut body = Vec::new();
    while !body.ends_with(b"0\r\n\r\n") {
        let mut part = [0; 64];
        let count = client.read(&mut part).expect("a body");
        assert!(count > 0, "{driver}: {body:?}");
        body.extend_from_slice(&part[..count]);
    }
    assert!(String::from_utf8_lossy(&body).contains("no chat"), "{driver}");
    assert_eq!(get(front, "/", &[]).expect("an answer").status, 403, "{driver}");
}

/// A server that speaks both, and has no extended CONNECT, is asked as HTTP/1.1 has it.
pub fn by_upgrade(driver: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || either(stream));
        }
    });
    let (_proxy, front) = start(driver, &[address], 1, |_, _| {});
    let (client, head) = ask(front);
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains(PROOF), "{driver}: {head}");
    talk(client);
}

/// Answers the preface of HTTP/2 by settings that say nothing, and a request of HTTP/1 by a switch.
fn either(mut stream: TcpStream) {
    let mut came = Vec::new();
    let mut part = [0; 4096];
    while !came.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut part) {
            Ok(count @ 1..) => came.extend_from_slice(&part[..count]),
            _ => return,
        }
    }
    if came.starts_with(b"PRI ") {
        let _ = stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        while matches!(stream.read(&mut part), Ok(1..)) {}
        return;
    }
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {PROOF}\r\n\r\n"
    );
    let _ = stream.write_all(head.as_bytes());
    while let Ok(count @ 1..) = stream.read(&mut part) {
        if stream.write_all(&part[..count]).is_err() {
            return;
        }
    }
    let _ = stream.write_all(b"bye");
}
