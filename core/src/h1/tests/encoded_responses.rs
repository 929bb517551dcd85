//! Response heads on their way to the client: R25, R29, R30, R32 to R34.

use super::response;
use crate::h1::{Body, LocalResponse, ResponseRewrite, Sent, Version, encode, local_response};
use crate::route::rule::Changes;

const TO_1_1: ResponseRewrite<'static> = ResponseRewrite {
    client: Version::Http11,
    keep_alive: true,
    accepts_trailers: false,
    changes: &[],
    extra: &[],
};

fn sent_on(bytes: &[u8], rewrite: &ResponseRewrite<'_>, to_head: bool) -> (String, Sent) {
    let head = response(bytes, to_head).unwrap();
    let mut out = Vec::new();
    let sent = encode::response(&head, bytes, rewrite, &mut out);
    assert!(response(&out, to_head).is_ok(), "what is sent must itself be acceptable");
    (String::from_utf8(out).unwrap(), sent)
}

#[track_caller]
fn becomes(bytes: &str, rewrite: &ResponseRewrite<'_>, expected: &str, body: Body, keep_alive: bool) {
    let (out, sent) = sent_on(bytes.as_bytes(), rewrite, false);
    assert_eq!(out, expected);
    assert_eq!(sent, Sent { body, keep_alive });
}

#[test]
fn what_needs_no_change_passes_byte_by_byte() {
    let plain = "HTTP/1.1 200 Fine\r\nContent-Length:5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n";
    becomes(plain, &TO_1_1, plain, Body::Length(5), true);
}

#[test]
fn r25_what_belongs_to_the_hop_stays() {
    becomes(
        "HTTP/1.1 200 OK\r\nConnection: close, x-hop\r\nKeep-Alive: 5\r\nX-Hop: 1\r\nX: y\r\nTransfer-Encoding: chunked\r\nTrailer: Z\r\n\r\n",
        &TO_1_1,
        "HTTP/1.1 200 OK\r\nX: y\r\ntransfer-encoding: chunked\r\n\r\n",
        Body::Chunked,
        true,
    );
    becomes(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Z\r\n\r\n",
        &ResponseRewrite { accepts_trailers: true, ..TO_1_1 },
        "HTTP/1.1 200 OK\r\nTrailer: Z\r\ntransfer-encoding: chunked\r\n\r\n",
        Body::Chunked,
        true,
    );
}

#[test]
fn r30_bodiless_answers() {
    becomes(
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nX: y\r\n\r\n",
        &TO_1_1,
        "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
        Body::Empty,
        true,
    );
    let unmodified = "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n";
    becomes(unmodified, &TO_1_1, unmodified, Body::Empty, true);
    let (out, sent) = sent_on(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", &TO_1_1, true);
    assert_eq!((out.as_str(), sent.body), ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Body::Empty));
}

#[test]
fn r31_a_repeated_length_is_sent_once() {
    becomes(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        &TO_1_1,
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        Body::Length(5),
        true,
    );
}

#[test]
fn r32_r34_bodies_without_a_length_follow_the_clients_version() {
    let (open, chunked) =
        ("HTTP/1.0 200 OK\r\nX: y\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    becomes(
        open,
        &TO_1_1,
        "HTTP/1.1 200 OK\r\nX: y\r\ntransfer-encoding: chunked\r\n\r\n",
        Body::Chunked,
        true,
    );
    let old = ResponseRewrite { client: Version::Http10, ..TO_1_1 };
    becomes(open, &old, "HTTP/1.1 200 OK\r\nX: y\r\nconnection: close\r\n\r\n", Body::UntilClose, false);
    becomes(chunked, &old, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", Body::UntilClose, false);
    becomes(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        &old,
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nconnection: keep-alive\r\n\r\n",
        Body::Length(5),
        true,
    );
    becomes(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        &ResponseRewrite { keep_alive: false, ..TO_1_1 },
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nconnection: close\r\n\r\n",
        Body::Length(5),
        false,
    );
}

#[test]
fn r29_interim_heads_pass_without_framing() {
    becomes(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 5\r\n\r\n",
        &TO_1_1,
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        Body::Empty,
        true,
    );
    becomes(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: k\r\n\r\n",
        &TO_1_1,
        "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: k\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        Body::Empty,
        true,
    );
}

#[test]
fn r33_reason_phrases_are_made_harmless() {
    for (line, sent) in [
        ("HTTP/1.1 200 d\u{e9}j\u{e0} vu", "HTTP/1.1 200 OK"),
        ("HTTP/1.1 200", "HTTP/1.1 200 OK"),
        ("HTTP/1.1 200 ", "HTTP/1.1 200 "),
        ("HTTP/1.1 599 ", "HTTP/1.1 599 "),
        ("HTTP/1.0 404 Gone Fishing", "HTTP/1.1 404 Gone Fishing"),
    ] {
        let (out, _) = sent_on(format!("{line}\r\nContent-Length: 1\r\n\r\n").as_bytes(), &TO_1_1, false);
        assert_eq!(out.split("\r\n").next(), Some(sent), "{line}");
    }
}

#[test]
fn changes_and_own_fields_apply() {
    let change = Changes {
        set: vec![("server".parse().unwrap(), "dromon".parse().unwrap())],
        remove: vec!["x-powered-by".parse().unwrap()],
        ..Changes::default()
    };
    becomes(
        "HTTP/1.1 200 OK\r\nServer: x\r\nX-Powered-By: y\r\nContent-Length: 1\r\n\r\n",
        &ResponseRewrite { changes: &[&change], extra: &[("x-dromon-reason", b"z")], ..TO_1_1 },
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nserver: dromon\r\nx-dromon-reason: z\r\n\r\n",
        Body::Length(1),
        true,
    );
}

#[test]
fn answers_made_here_are_whole() {
    let full = LocalResponse {
        status: 429,
        content_type: "text/plain",
        body: b"slow down\n",
        fields: &[("retry-after", b"3")],
        client: Version::Http11,
        keep_alive: true,
        to_head: false,
    };
    let made = |response: &LocalResponse<'_>| {
        let mut out = Vec::new();
        local_response(response, &mut out);
        String::from_utf8(out).unwrap()
    };
    let head = "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 10\r\ncontent-type: text/plain\r\nretry-after: 3\r\n";
    assert_eq!(made(&full), format!("{head}\r\nslow down\n"));
    assert_eq!(
        made(&LocalResponse { to_head: true, keep_alive: false, ..full }),
        format!("{head}connection: close\r\n\r\n")
    );
    assert_eq!(
        made(&LocalResponse { status: 204, client: Version::Http10, fields: &[], ..full }),
        "HTTP/1.1 204 No Content\r\nconnection: keep-alive\r\n\r\n"
    );
    assert_eq!(
        made(&LocalResponse { status: 503, body: b"", fields: &[], ..full }),
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
    );
}
