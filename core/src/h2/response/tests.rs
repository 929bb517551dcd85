//! Answers of HTTP/1 on their way to HTTP/2, and trailers both ways.

use super::*;
use crate::h1::Progress;

fn response(text: &str) -> Option<Response<()>> {
    let mut head = ResponseHead::new();
    let parsed = head.parse(text.as_bytes(), false);
    assert!(matches!(parsed, Ok(Progress::Complete(_))), "{parsed:?}");
    from_h1(&head, text.as_bytes())
}

#[test]
fn a_head_loses_what_belongs_to_its_connection() {
    let text = "HTTP/1.1 201 Made Up\r\nContent-Length: 5\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: a\r\n\
                Set-Cookie: a\r\nSet-Cookie: b\r\nX-Raw: \u{e9}\r\n\r\n";
    let head = response(text).unwrap();
    assert_eq!(head.status(), 201);
    let fields: Vec<_> =
        head.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let expected: [(&str, &[u8]); 4] = [
        ("content-length", b"5"),
        ("set-cookie", b"a"),
        ("set-cookie", b"b"),
        ("x-raw", "\u{e9}".as_bytes()),
    ];
    assert_eq!(fields, expected);
    let chunked = response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    assert!(chunked.headers().is_empty());
}

#[test]
fn a_switch_answers_an_extended_connect() {
    let text = "HTTP/1.1 101 Switching\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: x\r\n\
                Sec-WebSocket-Protocol: chat\r\n\r\n";
    let mut head = ResponseHead::new();
    head.parse(text.as_bytes(), false).unwrap();
    let answer = from_switch(&head, text.as_bytes(), "websocket").unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers().len()), (200, 1));
    assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
    assert!(from_switch(&head, text.as_bytes(), "other").is_none());
}

#[test]
fn there_is_no_101() {
    assert!(response("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n").is_none());
}

#[test]
fn trailers_pass_but_for_those_that_frame_or_route() {
    let fields = trailers_from_h1(b"X-Sum: 5\r\nContent-Length: 5\r\nAuthorization: x\r\ngrpc-status: 0\r\n");
    let names: Vec<&str> = fields.keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["x-sum", "grpc-status"]);
    let mut out = Vec::new();
    trailers_to_h1(&fields, true, &mut out);
    assert_eq!(out, b"x-sum: 5\r\ngrpc-status: 0\r\n\r\n");
    out.clear();
    trailers_to_h1(&fields, false, &mut out);
    assert_eq!(out, b"\r\n");
}
