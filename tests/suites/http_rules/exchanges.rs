//! What depends on both sides: interim responses, upgrades, reuse of connections, pipelining.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dromon_core::limits::HEAD_DEADLINE_MS;
use dromon_tests::scripted::{Answer, Then};

use crate::{Rig, read_until, status};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// R28 and R29.
pub fn interim(rig: &Rig) {
    rig.upstream.answer(|_| {
        Answer::keep(format!(
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n{OK}"
        ))
    });
    let response = rig.raw(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let order = ["103 Early Hints", "102 Processing", "200 OK"].map(|part| response.find(part));
    assert!(order.is_sorted() && order.iter().all(Option::is_some), "R29: {response:?}");
    let response = rig.raw(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert!(!response.contains("103") && response.contains("200"), "R29: not to 1.0 clients: {response:?}");

    rig.upstream.answer(|_| Answer::keep(format!("{}{OK}", "HTTP/1.1 102 Processing\r\n\r\n".repeat(40))));
    let response = rig.raw(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(response.matches("102").count() <= 8, "R29: at most 8 are relayed: {response:?}");

    // Those that are not sent on count too: an upstream may not keep a request busy for ever.
    rig.upstream.answer(|_| Answer::keep(format!("{}{OK}", "HTTP/1.1 100 Continue\r\n\r\n".repeat(40))));
    for version in ["1.0", "1.1"] {
        let request = format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n");
        let response = rig.raw(request.as_bytes());
        assert_eq!(status(&response), 502, "R29: {response:?}");
    }

    // R28: an upstream that says nothing gets the body after a while; the client waits for a word of ours or its.
    rig.upstream.answer(|_| Answer::keep(OK));
    let mut stream = rig.connect();
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    stream.write_all(head).expect("open");
    let first = read_until(&mut stream, "\r\n\r\n");
    assert_eq!(status(&first), 100, "R28: {first:?}");
    stream.write_all(b"hello").expect("open");
    let last = read_until(&mut stream, "ok");
    assert_eq!(status(&last), 200, "R28: {last:?}");
    assert_eq!(rig.upstream.seen()[0].body, b"hello", "R28");
}

/// R26: an upgrade tunnels after a 101 that names an offered protocol; any other answer is a normal one.
pub fn upgrades(rig: &Rig) {
    let ask = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    rig.upstream.answer(|seen| {
        assert!(seen.header("upgrade").is_some_and(|it| it.eq_ignore_ascii_case("websocket")), "{seen:?}");
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        Answer { bytes: head.into(), then: Then::Echo }
    });
    let mut stream = rig.connect();
    stream.write_all(ask).expect("open");
    let head = read_until(&mut stream, "\r\n\r\n");
    assert_eq!(status(&head), 101, "{head:?}");
    for text in ["one", "two", "three"] {
        stream.write_all(text.as_bytes()).expect("open");
        let mut echoed = vec![0; text.len()];
        stream.read_exact(&mut echoed).expect("the tunnel echoes");
        assert_eq!(echoed, text.as_bytes());
    }
    stream.shutdown(std::net::Shutdown::Write).expect("open");
    assert_eq!(stream.read(&mut [0; 8]).expect("a clean end"), 0, "half-close passes through the tunnel");

    rig.upstream.answer(|_| Answer::keep("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"));
    let mut stream = rig.connect();
    stream.write_all(ask).expect("open");
    assert_eq!(status(&read_until(&mut stream, "no")), 403);

    rig.upstream.answer(|_| {
        Answer::keep("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n")
    });
    let mut stream = rig.connect();
    stream.write_all(ask).expect("open");
    let head = read_until(&mut stream, "\r\n\r\n");
    assert_eq!(status(&head), 502, "R26: a protocol that was not offered: {head:?}");
}

/// R24 and R40.
pub fn reuse(rig: &Rig) {
    let get = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    rig.upstream.answer(|_| Answer::keep(OK));
    for _ in 0..3 {
        assert_eq!(status(&rig.raw(get)), 200);
    }
    let seen = rig.upstream.seen();
    assert!(
        seen.iter().all(|it| it.connection == seen[0].connection),
        "upstream connections are kept: {seen:?}"
    );

    rig.upstream.answer(|_| Answer::keep(format!("{OK}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")));
    assert!(!rig.raw(get).contains("evil"), "R24");
    rig.upstream.answer(|_| Answer::keep(OK));
    assert!(!rig.raw(get).contains("evil"), "R24: bytes after an answer poison their connection");

    // R40: a kept connection that closes without a byte: a GET is tried again, a POST that was sent is not.
    for (request, expected) in [
        (get.as_slice(), 200),
        (b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx".as_slice(), 503),
    ] {
        rig.upstream.answer(|_| Answer::keep(OK));
        assert_eq!(status(&rig.raw(get)), 200);
        let asked = AtomicU64::new(0);
        rig.upstream.answer(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
            0 => Answer::close(""),
            _ => Answer::keep(OK),
        });
        let response = rig.raw(request);
        assert_eq!(status(&response), expected, "R40: {response:?}");
        let tries = if expected == 200 { 2 } else { 1 };
        assert_eq!(rig.upstream.seen().len(), tries, "R40");
    }
}

/// R19: what follows a request on a connection that ends with it reaches nobody, least of all the next client.
pub fn leftovers(rig: &Rig) {
    let echo_path = |seen: &dromon_tests::scripted::Seen| {
        let path = seen.head.split(' ').nth(1).unwrap_or_default().to_owned();
        Answer::keep(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len()))
    };
    rig.upstream.answer(echo_path);
    let hostile = b"POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\n\
        xGET /EVIL HTTP/1.1\r\nHost: a\r\n\r\n";
    for _ in 0..3 {
        assert!(rig.raw(hostile).contains("/a"), "the request itself is served");
        let next = rig.raw(
            b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        );
        assert_eq!(next.matches("HTTP/1.1 200").count(), 2, "R19: {next:?}");
        assert!(next.contains("\r\n\r\n/1") && next.ends_with("\r\n\r\n/2"), "R19: {next:?}");
    }
    assert!(rig.upstream.seen().iter().all(|it| !it.head.contains("EVIL")), "R19: {:?}", rig.upstream.seen());

    // A stray line end after a body, as old browsers sent it, starts no request and no deadline of one (R2).
    let mut stream = rig.connect();
    stream.write_all(b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx\r\n").expect("open");
    read_until(&mut stream, "/b");
    stream.write_all(b"GET /c HTTP/1.1\r\nHost: a\r\n\r\n").expect("open");
    read_until(&mut stream, "\r\n\r\n/c");

    // The same by itself, on connections with a buffer of their own and without: heads that do not fit lose it.
    let padding = "p".repeat(6_000);
    let large = format!("GET /large HTTP/1.1\r\nHost: a\r\nX-Pad: {padding}\r\n\r\n");
    let mut streams = [rig.connect(), rig.connect()];
    for (stream, request) in streams.iter_mut().zip(["GET /large HTTP/1.1\r\nHost: a\r\n\r\n", &large]) {
        stream.write_all(request.as_bytes()).expect("open");
        read_until(stream, "\r\n\r\n/large");
        std::thread::sleep(Duration::from_millis(50));
        stream.write_all(b"\r\n").expect("open");
    }
    std::thread::sleep(Duration::from_millis(HEAD_DEADLINE_MS + 500));
    for stream in &mut streams {
        stream.write_all(b"GET /d HTTP/1.1\r\nHost: a\r\n\r\n").expect("open");
        let response = read_until(stream, "\r\n\r\n/d");
        assert_eq!(status(&response), 200, "R21: {response:?}");
    }
}

/// R40 (d): an answer that has begun is never asked for again.
pub fn begun_answers(rig: &Rig) {
    let get = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    rig.upstream.answer(|_| Answer::keep(OK));
    assert_eq!(status(&rig.raw(get)), 200);
    rig.upstream.answer(|_| Answer::close("HTTP/1.1 200 O"));
    let response = rig.raw(get);
    assert_ne!(status(&response), 200, "R40: {response:?}");
    assert_eq!(rig.upstream.seen().len(), 1, "R40: part of an answer had come");
}

/// R22: answers come in the order of the requests, whatever arrives early.
pub fn pipelining(rig: &Rig) {
    rig.upstream.answer(|seen| {
        let path = seen.head.split(' ').nth(1).unwrap_or_default().to_owned();
        Answer::keep(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len()))
    });
    let mut requests = Vec::new();
    for number in 1..=5 {
        let close = if number == 5 { "Connection: close\r\n" } else { "" };
        requests.extend(format!("GET /{number} HTTP/1.1\r\nHost: a\r\n{close}\r\n").bytes());
    }
    let response = rig.raw(&requests);
    let order: Vec<_> = (1..=5).map(|number| response.find(&format!("\r\n\r\n/{number}"))).collect();
    assert!(order.is_sorted() && order.iter().all(Option::is_some), "R22: {response:?}");
}
