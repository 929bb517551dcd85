//! Requests frame by frame: what is refused, how the rest goes on, how streams end.

use std::io::{Read, Write};
use std::net::TcpListener;

use dromon_core::config::model::Protocol;
use dromon_tests::eventually;
use dromon_tests::frames::{END_HEADERS, END_STREAM, Frame, Frames, PROTOCOL_ERROR, block, get, kind};
use dromon_tests::http::get as fetch;
use dromon_tests::origin::Origin;
use dromon_tests::scripted::{Answer, Scripted, Then};

use crate::{start, start_with};

const HEAD: u8 = END_HEADERS | END_STREAM;
const PSEUDO: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];

fn with(field: (&'static str, &'static str)) -> Vec<u8> {
    block(&[&PSEUDO[..], &[field]].concat())
}

fn without(name: &str) -> Vec<u8> {
    block(&PSEUDO.into_iter().filter(|(it, _)| *it != name).collect::<Vec<_>>())
}

/// R37: none of these is said to the service.
pub fn malformed(driver: &str) {
    let upstream = Scripted::start();
    let (_proxy, front) = start(driver, upstream.address, Protocol::Http, |_| {});
    let path = |path| block(&[PSEUDO[0], PSEUDO[1], (":path", path), PSEUDO[3]]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("no method", without(":method")),
        ("no scheme", without(":scheme")),
        ("no path", without(":path")),
        ("neither authority nor Host", without(":authority")),
        ("a method twice", with((":method", "GET"))),
        (
            "a pseudo-header field after others",
            block(&[PSEUDO[0], PSEUDO[1], ("a", "b"), PSEUDO[2], PSEUDO[3]]),
        ),
        ("an unknown pseudo-header field", with((":status", "200"))),
        ("Connection", with(("connection", "close"))),
        ("Transfer-Encoding", with(("transfer-encoding", "chunked"))),
        ("Upgrade", with(("upgrade", "h2c"))),
        ("TE beyond trailers", with(("te", "gzip"))),
        ("another Host", with(("host", "b"))),
        ("user information", block(&[PSEUDO[0], PSEUDO[1], PSEUDO[2], (":authority", "u@a")])),
        ("a path without slash", path("x")),
        ("a backslash in the path", path("/a\\b")),
        ("white space before a value", with(("x", " y"))),
        ("white space behind a value", with(("x", "y\t"))),
        ("a look-alike of Content-Length", with(("content_length", "5"))),
        ("a length with a sign", with(("content-length", "+5"))),
        ("a length and no body", with(("content-length", "5"))),
    ];
    for (name, head) in cases {
        let mut frames = Frames::open(front);
        frames.send(kind::HEADERS, HEAD, 1, &head).expect("open");
        let refused = frames.until(|frame| frame.stream == 1).unwrap_or_else(|| panic!("{driver}: {name}"));
        assert_eq!(refused.code(), Some(PROTOCOL_ERROR), "{driver}: {name}: {refused:?}");
        frames.send(kind::HEADERS, HEAD, 3, &get("/after")).expect("open");
        let next = frames.until(|frame| frame.stream == 3).expect("an answer");
        assert_eq!(next.payload.first(), Some(&0x88), "{driver}: {name} is an error of its stream only");
    }
    // The `h2` crate ends the whole connection for what its header decoder refuses.
    for field in [("Accept", "x"), ("x", "y\rz"), ("x", "y\nz"), ("x", "y\0z")] {
        let mut frames = Frames::open(front);
        frames.send(kind::HEADERS, HEAD, 1, &with(field)).expect("open");
        let refused = frames.until(|frame| frame.code().is_some());
        assert!(refused.is_some(), "{driver}: {field:?}");
    }
    assert!(upstream.seen().iter().all(|seen| seen.head.starts_with("GET /after ")), "{driver}");
}

/// Heads and bodies as an HTTP/1 service sees them.
pub fn as_http1(driver: &str) {
    let upstream = Scripted::start();
    let (_proxy, front) = start(driver, upstream.address, Protocol::Http, |_| {});
    let mut frames = Frames::open(front);
    let head = block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/p?q"),
        (":authority", "shop:80"),
        ("cookie", "a=1"),
        ("x-under_score", "kept"),
        ("cookie", "b=2"),
        ("te", "trailers"),
    ]);
    frames.send(kind::HEADERS, END_HEADERS, 1, &head).expect("open");
    frames.send(kind::DATA, 0, 1, b"hello ").expect("open");
    frames.send(kind::DATA, 0, 1, b"world").expect("open");
    frames.send(kind::HEADERS, HEAD, 1, &block(&[("x-sum", "11"), ("content-length", "11")])).expect("open");
    frames.until(|frame| frame.stream == 1 && frame.flags & END_STREAM != 0).expect("an answer");
    let seen = upstream.seen().remove(0);
    assert!(seen.head.starts_with("POST /p?q HTTP/1.1\r\nhost: shop:80\r\n"), "{driver}: {}", seen.head);
    assert_eq!(seen.header("cookie"), Some("a=1; b=2"), "{driver}: crumbs are one cookie");
    assert_eq!(seen.header("transfer-encoding"), Some("chunked"));
    assert_eq!(seen.header("te"), Some("trailers"));
    assert_eq!(seen.header("x-under_score"), Some("kept"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert!(seen.header("x-request-id").is_some());
    let body = String::from_utf8_lossy(&seen.body).into_owned();
    assert!(body.ends_with("0\r\nx-sum: 11\r\n\r\n"), "{driver}: trailers that frame nothing pass: {body:?}");

    let head = block(&[&[(":method", "PUT")], &PSEUDO[1..], &[("content-length", "5")]].concat());
    frames.send(kind::HEADERS, END_HEADERS, 3, &head).expect("open");
    frames.send(kind::DATA, END_STREAM, 3, b"12345").expect("open");
    frames.until(|frame| frame.stream == 3).expect("an answer");
    let seen = upstream.seen().remove(1);
    assert_eq!((seen.header("content-length"), &seen.body[..]), (Some("5"), &b"12345"[..]));
    assert_eq!(seen.header("transfer-encoding"), None);

    // More than was said is a stream error, however much of it went on.
    let head = block(&[&[(":method", "PUT")], &PSEUDO[1..], &[("content-length", "2")]].concat());
    frames.send(kind::HEADERS, END_HEADERS, 5, &head).expect("open");
    frames.send(kind::DATA, END_STREAM, 5, b"12345").expect("open");
    let refused = frames.until(|frame| frame.stream == 5).expect("an answer");
    assert_eq!(refused.code(), Some(PROTOCOL_ERROR), "{driver}");
    assert_eq!(upstream.seen().len(), 2, "{driver}: no whole request of it reached the service");
}

/// Trailers of a chunked answer are trailers, 103 comes before 200.
pub fn trailers_and_interim(driver: &str) {
    let upstream = Scripted::start();
    upstream.answer(|_| {
        Answer::keep(
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\
             Connection: x-hop\r\nX-Hop: 1\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n",
        )
    });
    let (_proxy, front) = start(driver, upstream.address, Protocol::Http, |_| {});
    let mut frames = Frames::open(front);
    frames.send(kind::HEADERS, HEAD, 1, &get("/")).expect("open");
    let mut of_stream = Vec::new();
    while of_stream.last().is_none_or(|frame: &Frame| frame.flags & END_STREAM == 0) {
        of_stream.push(frames.until(|frame| frame.stream == 1).expect("more of the answer"));
    }
    let kinds: Vec<u8> = of_stream.iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [kind::HEADERS, kind::HEADERS, kind::DATA, kind::HEADERS], "{driver}");
    assert_ne!(of_stream[0].payload.first(), Some(&0x88), "{driver}: 103 first");
    assert_eq!(of_stream[1].payload.first(), Some(&0x88), "{driver}: then 200");
    assert_eq!(of_stream[2].payload, b"hello");
    let seen = upstream.seen();
    assert_eq!((seen.len(), upstream.connections()), (1, 1));
}

/// The service learns at once that nobody waits any more.
pub fn cancelled(driver: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let (_proxy, front) = start(driver, listener.local_addr().expect("bound"), Protocol::Http, |_| {});
    let mut frames = Frames::open(front);
    frames.send(kind::HEADERS, HEAD, 1, &get("/")).expect("open");
    let (mut upstream, _) = listener.accept().expect("the request comes");
    let mut buffer = [0; 4096];
    assert!(upstream.read(&mut buffer).expect("a head") > 0);
    frames.send(kind::RST_STREAM, 0, 1, &8_u32.to_be_bytes()).expect("open");
    upstream.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("a socket option");
    let ended = upstream.read(&mut buffer);
    assert!(!matches!(ended, Ok(1..)), "{driver}: the connection of a cancelled request is closed");
    frames.send(kind::PING, 0, 0, &[1; 8]).expect("open");
    assert!(frames.until(|frame| frame.kind == kind::PING).is_some(), "{driver}: the client's lives on");
}

/// A body that stops short is a reset, not an end (R32).
pub fn truncated(driver: &str) {
    let upstream = Scripted::start();
    let (_proxy, front) = start(driver, upstream.address, Protocol::Http, |_| {});
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nzz\r\n",
    ] {
        upstream.answer(move |_| Answer { bytes: answer.into(), then: Then::Close });
        let mut frames = Frames::open(front);
        frames.send(kind::HEADERS, HEAD, 1, &get("/")).expect("open");
        let mut last = frames.until(|frame| frame.stream == 1).expect("an answer");
        while last.kind != kind::RST_STREAM {
            assert_eq!(last.flags & END_STREAM, 0, "{driver}: no clean end of {answer:?}");
            last = frames.until(|frame| frame.stream == 1).expect("more");
        }
    }
    // Without a word before its head it is an answer of the proxy's own.
    upstream.answer(|_| Answer { bytes: Vec::new(), then: Then::Close });
    let mut frames = Frames::open(front);
    frames.send(kind::HEADERS, HEAD, 1, &get("/")).expect("open");
    let head = frames.until(|frame| frame.stream == 1).expect("an answer");
    assert_eq!((head.kind, head.payload.first() == Some(&0x88)), (kind::HEADERS, false), "{driver}: 503");
}

/// SIGTERM: GOAWAY at once, what is under way is finished, then the connection closes.
pub fn drain(driver: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let (mut proxy, front) = start(driver, listener.local_addr().expect("bound"), Protocol::Http, |_| {});
    let mut frames = Frames::open(front);
    let mut idle = Frames::open(front);
    idle.until(|frame| frame.kind == kind::SETTINGS && frame.flags == 1).expect("served");
    frames.send(kind::HEADERS, HEAD, 1, &get("/")).expect("open");
    let (mut upstream, _) = listener.accept().expect("the request comes");
    proxy.process.signal(15);
    let goaway = frames.until(|frame| frame.kind == kind::GOAWAY).expect("a word of parting");
    assert_eq!(goaway.code(), Some(0), "{driver}");
    let ping = frames.until(|frame| frame.kind == kind::PING).expect("what tells that the client knows");
    frames.send(kind::PING, 1, 0, &ping.payload).expect("open");
    upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("open");
    let head = frames.until(|frame| frame.stream == 1).expect("the answer");
    assert_eq!(head.payload.first(), Some(&0x88), "{driver}");
    let body = frames.until(|frame| frame.stream == 1).expect("the answer");
    assert_eq!((body.payload.as_slice(), body.flags & END_STREAM), (&b"ok"[..], END_STREAM));
    assert!(idle.until(|frame| frame.kind == kind::GOAWAY).is_some(), "{driver}: idle clients are told too");
    eventually("the proxy to end", || proxy.process.ended());
}

/// RFC 8441: to a service of HTTP/1 as an upgrade, and before that through a second proxy as it is.
pub fn websocket(driver: &str) {
    let upstream = Scripted::start();
    upstream.answer(|seen| match seen.header("upgrade") {
        Some("websocket") => Answer {
            bytes: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
                    Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\nearly"
                .into(),
            then: Then::Echo,
        },
        _ => Answer::keep("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"),
    });
    let (_near, near) = start(driver, upstream.address, Protocol::Http, |_| {});
    let (_far, far) = start(driver, near, Protocol::Http2, |_| {});
    for front in [near, far] {
        let mut frames = Frames::open(front);
        let settings =
            frames.until(|frame| frame.kind == kind::SETTINGS && frame.flags == 0).expect("SETTINGS");
        let allowed = [0, 8, 0, 0, 0, 1];
        assert!(settings.payload.chunks(6).any(|setting| setting == allowed), "{driver}: SETTINGS say so");
        let connect = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", "/chat"),
            (":authority", "a"),
            ("sec-websocket-version", "13"),
        ];
        frames.send(kind::HEADERS, END_HEADERS, 1, &block(&connect)).expect("open");
        let head = frames.until(|frame| frame.stream == 1).expect("an answer");
        assert_eq!(
            (head.kind, head.payload.first()),
            (kind::HEADERS, Some(&0x88)),
            "{driver} {front}: {head:?}"
        );
        let heard = |frames: &mut Frames, expected: &[u8]| {
            let mut bytes = Vec::new();
            while bytes.len() < expected.len() {
                bytes.extend(frames.until(|it| it.kind == kind::DATA).expect("more comes back").payload);
            }
            assert_eq!(bytes, expected, "{driver} {front}");
        };
        heard(&mut frames, b"early");
        for word in ["hello", "world"] {
            frames.send(kind::DATA, 0, 1, word.as_bytes()).expect("open");
            heard(&mut frames, word.as_bytes());
        }
        frames.send(kind::DATA, END_STREAM, 1, b"bye").expect("open");
        heard(&mut frames, b"bye");
        assert!(
            frames.until(|frame| frame.stream == 1 && frame.flags & END_STREAM != 0).is_some(),
            "{driver}"
        );
        let seen = upstream.seen().pop().expect("it came");
        assert!(seen.head.starts_with("GET /chat HTTP/1.1\r\n"), "{driver}: {}", seen.head);
        assert_eq!(seen.header("sec-websocket-key").map(str::len), Some(24));
        assert_eq!(seen.header("connection"), Some("upgrade"));
    }
    // Another answer than 101 is an answer; another protocol than asked for is the service's mistake.
    let mut frames = Frames::open(near);
    let other = [PSEUDO[1], PSEUDO[2], PSEUDO[3], (":protocol", "chess"), (":method", "CONNECT")];
    frames.send(kind::HEADERS, END_HEADERS, 1, &block(&other)).expect("open");
    let head = frames.until(|frame| frame.stream == 1).expect("an answer");
    assert_eq!((head.kind, head.payload.first() == Some(&0x88)), (kind::HEADERS, false), "{driver}: 403");
}

/// Sixteen clients of four shards: about four each, wherever the kernel has put them.
pub fn spread(driver: &str) {
    let origin = Origin::start("up");
    let arguments = ["--shards", "4"];
    let (proxy, front) = start_with(driver, origin.address, Protocol::Http, |_| {}, &arguments);
    let mut clients: Vec<Frames> = (0..16).map(|_| Frames::open(front)).collect();
    for frames in &mut clients {
        frames.send(kind::HEADERS, HEAD, 1, &get("/")).expect("open");
        let answer = frames.until(|frame| frame.stream == 1).expect("an answer");
        assert_eq!(answer.payload.first(), Some(&0x88), "{driver}");
    }
    let statistics = || fetch(proxy.stats, "/stats/prometheus", &[]).expect("statistics").text();
    let active = || -> Vec<u64> {
        let text = statistics();
        let lines = text.lines().filter(|line| line.starts_with("dromon_downstream_connections_active{"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect()
    };
    let counts = active();
    assert_eq!((counts.len(), counts.iter().sum::<u64>()), (4, 16), "{driver}: {counts:?}");
    assert!(counts.iter().all(|count| (3..=5).contains(count)), "{driver}: {counts:?}");
    drop(clients);
    eventually("all connections to end", || (active() == [0; 4]).then_some(()));
}

/// GOAWAY without an error, and every request that came before it is answered.
pub fn requests_max(driver: &str) {
    let origin = Origin::start("up");
    let arguments = ["--shards", "1", "--http2-max-requests", "20"];
    let (_proxy, front) = start_with(driver, origin.address, Protocol::Http, |_| {}, &arguments);
    let mut frames = Frames::open(front);
    for turn in 0..20 {
        frames.send(kind::HEADERS, HEAD, 1 + 2 * turn, &get("/")).expect("open");
    }
    let (mut answers, mut goaway) = (0, None);
    while let Some(frame) = frames.read() {
        match frame.kind {
            kind::HEADERS => answers += 1,
            kind::GOAWAY => goaway = frame.code(),
            kind::PING => frames.send(kind::PING, 1, 0, &frame.payload).expect("open"),
            _ => {}
        }
    }
    assert_eq!((answers, goaway), (20, Some(0)), "{driver}");
}
