//! Response heads: R3, R29 to R33.

use super::{request, response};
use crate::h1::{Body, Interim, Rule, Version, check_switch, interim};
use crate::limits::INTERIM_RESPONSES_MAX;

#[track_caller]
fn refused(rule: Rule, bytes: &str) {
    let reject = match response(bytes.as_bytes(), false) {
        Err(reject) => reject,
        Ok(_) => panic!("accepted: {bytes:?}"),
    };
    assert_eq!((reject.rule, reject.reason.facts().status), (rule, 502), "{bytes:?}");
}

fn body(status: &str, lines: &str, to_head: bool) -> Body {
    response(format!("HTTP/1.1 {status}\r\n{lines}\r\n").as_bytes(), to_head).unwrap().body()
}

#[test]
fn heads_that_break_the_grammar_are_the_upstreams_fault() {
    refused(Rule::R1, "HTTP/1.1 200 OK\nA: b\r\n\r\n");
    refused(Rule::R1, "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n");
    refused(Rule::R2, "\r\nHTTP/1.1 200 OK\r\n\r\n");
    refused(Rule::R3, "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n");
    refused(Rule::R4, "HTTP/1.1 200 OK\r\nA : b\r\n\r\n");
    refused(Rule::R5, "HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n");
    refused(Rule::R6, "HTTP/1.1 200 OK\r\ncontent_length: 1\r\n\r\n");
    refused(Rule::R25, "HTTP/1.1 200 OK\r\nConnection: content-length\r\n\r\n");
    for line in [
        "HTTP/1.1 99 X",
        "HTTP/1.1 600 X",
        "HTTP/1.1 2000 X",
        "HTTP/1.1 20 X",
        "HTTP/2 200",
        "ICY 200 OK",
        "HTTP/1.1 +20 X",
    ] {
        refused(Rule::R33, &format!("{line}\r\n\r\n"));
    }
}

#[test]
fn r30_r31_r32_bodies() {
    assert_eq!(body("200 OK", "Content-Length: 5\r\n", false), Body::Length(5));
    assert_eq!(body("200 OK", "Content-Length: 0\r\n", false), Body::Empty);
    assert_eq!(body("200 OK", "Transfer-Encoding: chunked\r\n", false), Body::Chunked);
    assert_eq!(body("200 OK", "", false), Body::UntilClose);
    assert_eq!(body("200 OK", "Content-Length: 5\r\n", true), Body::Empty);
    assert_eq!(body("200 OK", "Transfer-Encoding: chunked\r\n", true), Body::Empty);
    assert_eq!(body("204 No Content", "Content-Length: 5\r\n", false), Body::Empty);
    assert_eq!(body("304 Not Modified", "Content-Length: 5\r\n", false), Body::Empty);
    assert_eq!(body("103 Early Hints", "Content-Length: 5\r\n", false), Body::Empty);
    assert_eq!(body("200 OK", "Content-Length: 5\r\nContent-Length: 5\r\n", false), Body::Length(5));
    refused(Rule::R31, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n");
    refused(Rule::R31, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n");
    refused(Rule::R31, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n");
    refused(Rule::R13, "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n");
    refused(Rule::R13, "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n");
    refused(Rule::R11, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    refused(Rule::R12, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n");
}

#[test]
fn r32_a_connection_is_used_again_only_where_the_body_ends_by_itself() {
    for (head, kept) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", true),
        ("HTTP/1.1 204 No Content\r\n\r\n", true),
    ] {
        assert_eq!(response(head.as_bytes(), false).unwrap().keep_alive(), kept, "{head}");
    }
}

#[test]
fn r29_interim_responses() {
    assert!(response(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", false).unwrap().is_interim());
    assert!(!response(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", false).unwrap().is_interim());
    assert_eq!(interim(103, Version::Http11, 0), Ok(Interim::Relay));
    assert_eq!(interim(100, Version::Http10, 0), Ok(Interim::Drop));
    assert_eq!(interim(101, Version::Http11, 0), Ok(Interim::Switch));
    assert_eq!(interim(102, Version::Http11, INTERIM_RESPONSES_MAX).unwrap_err().rule, Rule::R29);
}

#[test]
fn r26_a_switch_names_what_was_offered() {
    let check = |offer: &str, answer: &str| {
        let asked = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: {offer}\r\n\r\n");
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{answer}\r\n");
        let (head, reply) = (request(asked.as_bytes()).unwrap(), response(answer.as_bytes(), false).unwrap());
        check_switch((&head, asked.as_bytes()), (&reply, answer.as_bytes())).map_err(|reject| reject.rule)
    };
    assert_eq!(check("websocket", "Connection: upgrade\r\nUpgrade: WebSocket\r\n"), Ok(()));
    assert_eq!(check("websocket", "Connection: upgrade\r\nUpgrade: other\r\n"), Err(Rule::R26));
    assert_eq!(check("websocket", "Connection: upgrade\r\n"), Err(Rule::R26));
    assert_eq!(check("websocket", "Upgrade: websocket\r\n"), Err(Rule::R26));
    assert_eq!(check("websocket, h2c", "Connection: upgrade\r\nUpgrade: h2c\r\n"), Err(Rule::R26));
    assert_eq!(check("h2c", "Connection: upgrade\r\nUpgrade: h2c\r\n"), Err(Rule::R29));
}

#[test]
fn a_status_of_grpc_is_read_from_the_head() {
    for (value, status) in
        [("0", Some(0)), ("14", Some(14)), ("16", Some(16)), ("17", None), ("+1", None), ("", None)]
    {
        let bytes = format!("HTTP/1.1 200 OK\r\ngrpc-status: {value}\r\n\r\n");
        assert_eq!(
            response(bytes.as_bytes(), false).unwrap().grpc_status(bytes.as_bytes()),
            status,
            "{value}"
        );
    }
}
