//! Requests: what is refused (400 and close unless stated), what passes.

use std::io::Write;
use std::time::{Duration, Instant};

use dromon_tests::scripted::Answer;

use crate::{Rig, read_to_close, status};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn with(head: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{head}\r\n").into_bytes()
}

fn posted(head: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n").into_bytes()
}

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// Rule, bytes, status.
fn refused_heads() -> Vec<(&'static str, Vec<u8>, u16)> {
    let long_token = "m".repeat(33);
    vec![
        ("R1", bytes("GET / HTTP/1.1\nHost: a\n\n"), 400),
        ("R1", bytes("GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"), 400),
        ("R1", with("X: a\rb\r\n"), 400),
        ("R2", bytes("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400),
        ("R3", with("X: a\r\n b\r\n"), 400),
        ("R4", with("X : a\r\n"), 400),
        ("R4", with(": a\r\n"), 400),
        ("R4", bytes("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), 400),
        ("R5", with("X: a\0b\r\n"), 400),
        ("R5", with("X: a\x01b\r\n"), 400),
        ("R5", [b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: b\r\n\r\n".as_slice()].concat(), 400),
        ("R5", with("X(: a\r\n"), 400),
        ("R6", with("Content_Length: 5\r\n"), 400),
        ("R6", with("Transfer_Encoding: chunked\r\n"), 400),
        ("R7", bytes("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), 400),
        ("R7", bytes("GET / HTTP/1.1 \r\nHost: a\r\n\r\n"), 400),
        ("R7", bytes("GET /\r\nHost: a\r\n\r\n"), 400),
        ("R7", bytes("GET / HTTP/1.2\r\nHost: a\r\n\r\n"), 505),
        ("R7", bytes("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505),
        ("R7", bytes(&format!("{long_token} / HTTP/1.1\r\nHost: a\r\n\r\n")), 400),
        ("R8", bytes("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"), 400),
        ("R8", bytes("GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n"), 400),
        ("R8", [b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n".as_slice()].concat(), 400),
        ("R8", bytes("GET a/b HTTP/1.1\r\nHost: a\r\n\r\n"), 400),
        ("R8", bytes("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), 400),
        ("R9", bytes("GET / HTTP/1.1\r\nX: a\r\n\r\n"), 400),
        ("R9", with("Host: b\r\n"), 400),
        ("R9", bytes("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), 400),
        ("R9", bytes("GET / HTTP/1.1\r\nHost: a:0\r\n\r\n"), 400),
        ("R9", bytes("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"), 400),
        ("R9", bytes("GET / HTTP/1.1\r\nHost: a:+80\r\n\r\n"), 400),
        ("R9", bytes("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400),
        ("R25", with("Connection: close, Host\r\n"), 400),
        ("R25", posted("Connection: Content-Length\r\nContent-Length: 0\r\n"), 400),
        ("R27", bytes("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"), 405),
        ("R28", posted("Expect: 200-ok\r\nContent-Length: 1\r\n"), 417),
        ("R36", bytes("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"), 405),
    ]
}

fn refused_framing() -> Vec<(&'static str, Vec<u8>, u16)> {
    let mut cases = vec![
        ("R10", posted("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400),
        ("R11", bytes("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), 400),
        ("R12", posted("Transfer-Encoding: gzip, chunked\r\n"), 501),
        ("R12", posted("Transfer-Encoding: chunked, chunked\r\n"), 400),
        ("R12", posted("Transfer-Encoding: chunked,\r\n"), 400),
        ("R12", posted("Transfer-Encoding: xchunked\r\n"), 400),
        ("R12", posted("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400),
        ("R13", posted("Content-Length: 5\r\nContent-Length: 5\r\n"), 400),
    ];
    for length in ["+5", "-5", "5 5", "5,5", "0x5", "", "12345678901234567890"] {
        cases.push(("R13", posted(&format!("Content-Length: {length}\r\n")), 400));
    }
    cases
}

fn refused_sizes() -> Vec<(&'static str, Vec<u8>, u16)> {
    let many = "X: y\r\n".repeat(100);
    let tokens = "Connection: ".to_owned() + &"a, ".repeat(65) + "b\r\n";
    let large = (0..5).map(|it| format!("X{it}: {}\r\n", "v".repeat(7_000))).collect::<String>();
    vec![
        ("R20", bytes(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "p".repeat(9_000))), 414),
        ("R20", with(&format!("X: {}\r\n", "v".repeat(9_000))), 431),
        ("R20", with(&many), 431),
        ("R20", with(&large), 431),
        ("R20", with(&tokens), 431),
    ]
}

/// Each is refused with its status and a closed connection, and the upstream hears nothing of it.
pub fn refused(rig: &Rig) {
    rig.upstream.answer(|_| Answer::keep(OK));
    for (rule, request, expected) in [refused_heads(), refused_framing(), refused_sizes()].concat() {
        let response = rig.raw(&request);
        let shown = String::from_utf8_lossy(&request[..request.len().min(120)]).into_owned();
        let got = status(&response);
        assert!(got == expected, "{rule}: {shown:?} was answered {response:?} and not {expected}");
        assert!(!response.ends_with("<silence>"), "{rule}: {shown:?} left the connection open");
    }
    assert_eq!(rig.upstream.seen(), vec![], "nothing of a refused request is forwarded");
    let good = rig.raw(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&good), 200, "the gateway is unharmed");
}

/// Rule, request, what the upstream must see, what it must not see.
type Passing = (&'static str, &'static [u8], &'static [&'static str], &'static [&'static str]);

const PASSED: &[Passing] = &[
    ("R2", b"\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", &["GET / HTTP/1.1\r\n"], &[]),
    ("R5", b"GET / HTTP/1.1\r\nHost: a\r\nX-Raw: \xe9\r\nConnection: close\r\n\r\n", &["\u{fffd}"], &[]),
    ("R6", b"GET / HTTP/1.1\r\nHost: a\r\nX_Y: b\r\nConnection: close\r\n\r\n", &["X_Y: b"], &[]),
    ("R7", b"get / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", &["get / HTTP/1.1"], &[]),
    ("R8", b"GET /%2e%2E/a%2Fb?x=%20 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", &["GET /%2e%2E/a%2Fb?x=%20 "], &[]),
    ("R8", b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", &["OPTIONS * HTTP/1.1"], &[]),
    ("R9", b"GET http://a/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", &["GET /x HTTP/1.1"], &[]),
    (
        "R25",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Mine\r\nX-Mine: b\r\nKeep-Alive: 5\r\nTE: gzip\r\n\
          Proxy-Connection: keep-alive\r\nX-Yours: c\r\n\r\n",
        &["X-Yours: c"],
        &["X-Mine", "Keep-Alive", "Proxy-Connection", "gzip"],
    ),
    (
        "R26",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
        &[],
        &["h2c", "HTTP2-Settings", "Upgrade"],
    ),
    ("R35", b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.9\r\nConnection: close\r\n\r\n", &["9.9.9.9, 127.0.0.1"], &[]),
];

/// Each is answered 200, and the upstream sees what it should.
pub fn passed(rig: &Rig) {
    for (rule, request, wanted, unwanted) in PASSED {
        rig.upstream.answer(|_| Answer::keep(OK));
        let response = rig.raw(request);
        assert_eq!(status(&response), 200, "{rule}: {response:?}");
        let seen = rig.upstream.seen();
        assert_eq!(seen.len(), 1, "{rule}");
        let head = seen[0].head.to_ascii_lowercase();
        for part in *wanted {
            assert!(head.contains(&part.to_ascii_lowercase()), "{rule}: no {part:?} in {head:?}");
        }
        for part in *unwanted {
            assert!(!head.contains(&part.to_ascii_lowercase()), "{rule}: {part:?} in {head:?}");
        }
        assert!(seen[0].header("x-request-id").is_some_and(|id| id.len() == 36), "a request id is made");
    }
    rig.upstream.answer(|_| Answer::keep(OK));
    rig.raw(b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\ntraceparent: 00-a-b-01\r\nConnection: close\r\n\r\n");
    let seen = rig.upstream.seen();
    assert_eq!(seen[0].header("x-request-id"), Some("mine"), "a request id is kept");
    assert_eq!(seen[0].header("traceparent"), Some("00-a-b-01"), "trace context passes through");
    body_passes(rig);
}

fn body_passes(rig: &Rig) {
    rig.upstream.answer(|_| Answer::keep(OK));
    // R16: extensions are dropped; R18: a trailer that frames is dropped.
    let chunked = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: Chunked\r\n\r\n\
        5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(status(&rig.raw(chunked)), 200);
    let seen = rig.upstream.seen();
    let body = String::from_utf8_lossy(&seen[0].body).into_owned();
    assert!(body.contains("hello") && body.contains(" world"), "R15: {body:?}");
    assert!(!body.contains("ext=1"), "R16: {body:?}");
    assert!(!body.contains("Content-Length"), "R18: {body:?}");
    rig.upstream.answer(|_| Answer::keep(OK));
    let sized = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(status(&rig.raw(sized)), 200);
    assert_eq!(rig.upstream.seen()[0].body, b"hello", "R13");
}

/// Bodies that break their framing: the client gets 400 and a close, the upstream never a complete request.
pub fn bad_bodies(rig: &Rig) {
    rig.upstream.answer(|_| Answer::keep(OK));
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let long_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "e".repeat(300));
    let many_trailers = format!("0\r\n{}\r\n", "X: y\r\n".repeat(17));
    let cases = [
        ("R1", "5\nhello\r\n0\r\n\r\n"),
        ("R15", "\r\nhello\r\n0\r\n\r\n"),
        ("R15", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("R15", "+5\r\nhello\r\n0\r\n\r\n"),
        ("R15", "5 \r\nhello\r\n0\r\n\r\n"),
        ("R15", "00000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("R16", &long_extension),
        ("R17", "5\r\nhelloX\r\n0\r\n\r\n"),
        ("R18", &many_trailers),
    ];
    for (rule, body) in cases {
        let response = rig.raw(format!("{head}{body}").as_bytes());
        assert_eq!(status(&response), 400, "{rule}: {body:?}: {response:?}");
    }
    assert_eq!(rig.upstream.seen(), vec![], "no broken body is completed towards the upstream");
    let cut = rig.raw_then_end(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    assert_ne!(status(&cut), 200, "R32: a cut body is no request: {cut:?}");
    assert_eq!(rig.upstream.seen(), vec![]);
}

/// R21: a client that keeps sending a little does not move the deadline.
pub fn slow_head(rig: &Rig) {
    let mut stream = rig.connect();
    let start = Instant::now();
    let pieces = std::iter::once("GET / HTTP/1.1\r\nHost: a\r\n").chain(std::iter::repeat("X: y\r\n"));
    for piece in pieces {
        if stream.write_all(piece.as_bytes()).is_err() || start.elapsed() > Duration::from_secs(40) {
            break;
        }
        std::thread::sleep(Duration::from_millis(250));
        stream.set_nonblocking(true).expect("a socket option");
        let readable = stream.peek(&mut [0; 1]).is_ok();
        stream.set_nonblocking(false).expect("a socket option");
        if readable {
            break;
        }
    }
    let response = read_to_close(&mut stream);
    assert_eq!(status(&response), 408, "{response:?}");
    assert!(start.elapsed() < Duration::from_secs(30), "the deadline moved with the bytes");
}
