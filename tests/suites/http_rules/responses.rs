//! Responses: what is refused with 502, how the rest is framed for the client.

use dromon_tests::eventually;
use dromon_tests::scripted::Answer;

use crate::{Rig, status};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const GET_1_0: &[u8] = b"GET / HTTP/1.0\r\nHost: a\r\n\r\n";
const HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Each is answered 502, and its connection serves no further request.
pub fn refused(rig: &Rig) {
    let cases: &[(&str, &str)] = &[
        ("R3", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
        ("R1", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
        ("R29", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        ("R31", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("R31", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc"),
        ("R31", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab"),
        ("R31", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("R31", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
        ("R33", "HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n"),
        ("R33", "HTTP/1.1 1000 High\r\nContent-Length: 0\r\n\r\n"),
        ("R33", "HTTP/1.1 abc No\r\nContent-Length: 0\r\n\r\n"),
        ("R7", "HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("R7", "SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    ];
    for (rule, bytes) in cases {
        let answer = (*bytes).to_owned();
        rig.upstream.answer(move |_| Answer::keep(answer.clone()));
        let response = rig.raw(GET);
        assert_eq!(status(&response), 502, "{rule}: {bytes:?}: {response:?}");
        let first = rig.upstream.seen()[0].connection;
        rig.upstream.answer(|_| Answer::keep("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(status(&rig.raw(GET)), 200, "{rule}");
        assert_ne!(rig.upstream.seen()[0].connection, first, "{rule}: a bad connection was used again");
    }
}

/// The body as the client gets it, by version and method.
pub fn framed(rig: &Rig) {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let until_close = "HTTP/1.1 200 OK\r\n\r\nhello";
    let sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\nhello";

    rig.upstream.answer(move |_| Answer::keep(chunked));
    let response = rig.raw(GET);
    assert!(response.to_ascii_lowercase().contains("transfer-encoding: chunked"), "{response:?}");
    assert!(response.contains("hello") && response.ends_with("0\r\n\r\n"), "{response:?}");
    let response = rig.raw(GET_1_0);
    assert!(!response.to_ascii_lowercase().contains("chunked"), "R34: {response:?}");
    assert!(response.ends_with("\r\n\r\nhello"), "R34: {response:?}");

    rig.upstream.answer(move |_| Answer::close(until_close));
    let response = rig.raw(GET);
    assert!(response.to_ascii_lowercase().contains("transfer-encoding: chunked"), "R32: {response:?}");
    assert!(response.ends_with("5\r\nhello\r\n0\r\n\r\n"), "R32: {response:?}");
    let response = rig.raw(GET_1_0);
    assert!(response.ends_with("\r\n\r\nhello"), "R32: {response:?}");

    rig.upstream.answer(move |_| Answer::keep(sized));
    let response = rig.raw(GET);
    assert!(response.ends_with("\r\n\r\nhello"), "{response:?}");
    assert!(!response.contains("timeout=5"), "R25: {response:?}");

    // R30: no body whatever the head says; its length is kept for HEAD and 304, dropped for 204.
    rig.upstream.answer(|_| Answer::keep("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"));
    let response = rig.raw(HEAD);
    assert!(response.to_ascii_lowercase().contains("content-length: 5"), "R30: {response:?}");
    assert!(response.ends_with("\r\n\r\n"), "R30: {response:?}");
    rig.upstream.answer(|_| Answer::keep("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"));
    let response = rig.raw(GET);
    assert!(status(&response) == 304 && response.ends_with("\r\n\r\n"), "R30: {response:?}");
    rig.upstream.answer(|_| Answer::keep("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"));
    let response = rig.raw(GET);
    assert_eq!(status(&response), 204, "R30: {response:?}");
    assert!(!response.to_ascii_lowercase().contains("content-length"), "R30: {response:?}");
    kept_alive_1_0(rig);
}

/// R34: an HTTP/1.0 client that asks for keep-alive gets it where the length is known.
fn kept_alive_1_0(rig: &Rig) {
    rig.upstream.answer(|_| Answer::keep("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    let twice =
        b"GET /1 HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\nGET /2 HTTP/1.0\r\nHost: a\r\n\r\n";
    let response = rig.raw(twice);
    assert_eq!(response.matches("200 OK").count(), 2, "R34: {response:?}");
    assert_eq!(rig.upstream.seen().len(), 2, "R34");
}

/// R32: a response cut short is a cut connection for the client, never a clean end.
pub fn truncated(rig: &Rig) {
    rig.upstream.answer(|_| Answer::close("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"));
    let response = rig.raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(!response.ends_with("<silence>"), "the connection must end: {response:?}");
    rig.upstream.answer(|_| Answer::close("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"));
    let response = rig.raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(!response.ends_with("0\r\n\r\n"), "a cut chunked body has no last chunk: {response:?}");
    assert!(!response.ends_with("<silence>"), "{response:?}");
    let response = rig.raw(GET_1_0);
    assert!(response.ends_with("<reset>"), "only a reset tells a 1.0 client of the cut: {response:?}");
    rig.upstream.answer(|_| Answer::close(""));
    let response = rig.raw(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(status(&response), 503, "no answer at all: {response:?}");
    let log = eventually("the statistics to tell", || {
        let text = dromon_tests::http::get(rig.proxy.stats, "/stats/prometheus", &[]).ok()?.text();
        text.contains("response_flags=\"UC\"").then_some(text)
    });
    assert!(log.contains("istio_requests_total"));
}
