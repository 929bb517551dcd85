//! Request heads: R1 to R14, R20, R25 to R28, R36.

use super::{request, request_on};
use crate::exchange::RequestView;
use crate::h1::{Body, Form, PortRules, Progress, RequestHead, RequestRef, Rule, Version};
use crate::limits::{CONNECTION_TOKENS_MAX, FIELDS_MAX, HEAD_BYTES_MAX, LINE_BYTES_MAX};

/// Refused, by which rule and with which status.
fn refused(bytes: &[u8]) -> (Rule, u16) {
    match request(bytes) {
        Err(reject) => (reject.rule, reject.reason.facts().status),
        Ok(_) => panic!("accepted: {:?}", String::from_utf8_lossy(bytes)),
    }
}

#[track_caller]
fn all_refused(rule: Rule, status: u16, heads: &[&[u8]]) {
    for bytes in heads {
        assert_eq!(refused(bytes), (rule, status), "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[track_caller]
fn all_accepted(heads: &[&[u8]]) {
    for bytes in heads {
        if let Err(reject) = request(bytes) {
            panic!("{reject}: {:?}", String::from_utf8_lossy(bytes));
        }
    }
}

/// A request with these lines after a Host.
fn with(lines: &str) -> Vec<u8> {
    format!("POST /a HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes()
}

#[test]
fn r1_bare_cr_or_lf() {
    all_refused(
        Rule::R1,
        400,
        &[
            b"GET / HTTP/1.1\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX\r: b\r\n\r\n",
            b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
            b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    );
    all_accepted(&[b"GET / HTTP/1.1\r\nHost: a\r\nX: a b\r\n\r\n"]);
}

#[test]
fn r2_one_empty_line_before_a_request() {
    let bytes = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
    let mut head = RequestHead::new();
    assert_eq!(head.parse(bytes, PortRules::default()), Ok(Progress::Complete(bytes.len() - 4)));
    assert_eq!(RequestRef::new(&head, bytes, "http").method(), b"GET");
    all_refused(Rule::R2, 400, &[b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"]);
}

#[test]
fn r3_obsolete_folding() {
    all_refused(
        Rule::R3,
        400,
        &[&with("X: a\r\n b\r\n"), &with("X: a\r\n\tb\r\n"), &with(" folded: host\r\n")],
    );
}

#[test]
fn r4_space_around_names() {
    all_refused(
        Rule::R4,
        400,
        &[
            &with("X : a\r\n"),
            &with("Content-Length\t: 5\r\n"),
            &with(": a\r\n"),
            &with("no colon\r\n"),
            b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        ],
    );
}

#[test]
fn r5_names_and_values() {
    all_refused(
        Rule::R5,
        400,
        &[
            &with("X(: a\r\n"),
            &with("X\u{e9}: a\r\n"),
            &with("X: a\0b\r\n"),
            &with("X: a\x0bb\r\n"),
            &with("X: a\x7fb\r\n"),
        ],
    );
    all_accepted(&[&with("X: \t caf\u{e9}\t\r\n"), &with("!#$%&'*+-.^_`|~: a\r\n"), &with("X:\r\n")]);
}

#[test]
fn r6_look_alikes() {
    all_refused(
        Rule::R6,
        400,
        &[
            &with("content_length: 5\r\n"),
            &with("Transfer_Encoding: chunked\r\n"),
            &with("TRANSFER_encoding: chunked\r\n"),
        ],
    );
    all_accepted(&[&with("x_request_start: 5\r\n"), &with("grpc_tags_bin: a\r\n")]);
}

#[test]
fn r7_request_line() {
    all_refused(
        Rule::R7,
        400,
        &[
            b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /\r\n\r\n",
            b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTQ/1.1\r\nHost: a\r\n\r\n",
            b"GET / http/1.1\r\nHost: a\r\n\r\n",
            b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    );
    all_refused(
        Rule::R7,
        505,
        &[
            b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
            b"GET / HTTP/0.9\r\nHost: a\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\n",
        ],
    );
    let bytes = b"pUrGe / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(RequestRef::new(&request(bytes).unwrap(), bytes, "http").method(), b"pUrGe");
}

#[test]
fn r7_what_is_not_http_is_refused_at_its_first_byte() {
    let mut head = RequestHead::new();
    let reject = head.parse(b"\x16\x03\x01\x02\x00", PortRules::default()).unwrap_err();
    assert_eq!(reject.rule, Rule::R7);
}

#[test]
fn r8_targets() {
    for target in
        ["/a#b", "/a\\b", "/caf\u{e9}", "/a\x7f", "*", "a", "a:80", "ftp://a/", "http://a?b", "http:///a", ""]
    {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let reject = request(bytes.as_bytes()).unwrap_err();
        let rules = [Rule::R8, Rule::R9, Rule::R7];
        assert!(rules.contains(&reject.rule) && reject.reason.facts().status == 400, "{target}: {reject}");
    }
    all_refused(
        Rule::R8,
        400,
        &[b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"],
    );
    all_refused(Rule::R8, 400, &[b"GET /a?b\\c HTTP/1.1\r\nHost: a\r\n\r\n"]);
    for (method, target, form) in [
        ("GET", "/", Form::Origin),
        ("GET", "/a?b=http://c/../d", Form::Origin),
        ("GET", "//a//b", Form::Origin),
        ("GET", "http://a/b", Form::Absolute),
        ("GET", "HTTPS://a", Form::Absolute),
        ("OPTIONS", "*", Form::Asterisk),
    ] {
        let bytes = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(request(bytes.as_bytes()).unwrap().form(), form, "{target}");
    }
}

#[test]
fn r9_host() {
    all_refused(
        Rule::R9,
        400,
        &[
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a:0\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a:\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a:+80\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: []\r\n\r\n",
            b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
            b"GET http://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n",
        ],
    );
    all_accepted(&[
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a:65535\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: my_service.default\r\n\r\n",
        b"GET http://A/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ]);
}

#[test]
fn r9_an_explicit_proxy_goes_by_the_target() {
    let bytes = b"GET http://b:81/x HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = request_on(bytes, PortRules { explicit_proxy: true }).unwrap();
    let view = RequestRef::new(&head, bytes, "http");
    assert_eq!(
        (view.authority(), view.path_and_query(), view.scheme()),
        (&b"b:81"[..], &b"/x"[..], &b"http"[..])
    );
    let bytes = b"GET http://b HTTP/1.1\r\nHost: b\r\n\r\n";
    assert_eq!(RequestRef::new(&request(bytes).unwrap(), bytes, "http").path_and_query(), b"/");
}

#[test]
fn r10_to_r14_framing() {
    all_refused(Rule::R10, 400, &[&with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n")]);
    all_refused(Rule::R10, 400, &[&with("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n")]);
    all_refused(Rule::R11, 400, &[b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"]);
    for coding in ["gzip", "gzip, chunked", "x-gzip;q=1,chunked", "deflate"] {
        all_refused(Rule::R12, 501, &[&with(&format!("Transfer-Encoding: {coding}\r\n"))]);
    }
    for coding in
        ["", "identity", "chunked,", ",chunked", "chunked, chunked", "chunked;a", "xchunked", "chunked\x0b"]
    {
        let reject = request(&with(&format!("Transfer-Encoding: {coding}\r\n"))).unwrap_err();
        let rule = if coding.contains('\x0b') { Rule::R5 } else { Rule::R12 };
        assert_eq!((reject.rule, reject.reason.facts().status), (rule, 400), "{coding:?}");
    }
    all_refused(Rule::R12, 400, &[&with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")]);
    for length in ["", "+5", "-5", "5,5", "5 5", "0x5", "5.0", "12345678901234567890", "\u{b2}"] {
        all_refused(Rule::R13, 400, &[&with(&format!("Content-Length: {length}\r\n"))]);
    }
    all_refused(Rule::R13, 400, &[&with("Content-Length: 5\r\nContent-Length: 5\r\n")]);
    for (lines, body) in [
        ("", Body::Empty),
        ("Content-Length: 0\r\n", Body::Empty),
        ("Content-Length: 0000000000000000005\r\n", Body::Length(5)),
        ("Content-Length: 9999999999999999999\r\n", Body::Length(9_999_999_999_999_999_999)),
        ("Transfer-Encoding: Chunked\r\n", Body::Chunked),
    ] {
        assert_eq!(request(&with(lines)).unwrap().body(), body, "{lines}");
    }
}

#[test]
fn r20_caps() {
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(LINE_BYTES_MAX));
    all_refused(Rule::R20, 414, &[long.as_bytes()]);
    all_refused(Rule::R20, 431, &[&with(&format!("X: {}\r\n", "a".repeat(LINE_BYTES_MAX)))]);
    all_refused(Rule::R20, 431, &[&with(&"X: a\r\n".repeat(FIELDS_MAX))]);
    all_accepted(&[&with(&"X: a\r\n".repeat(FIELDS_MAX - 1))]);
    let fat = format!("X: {}\r\n", "a".repeat(LINE_BYTES_MAX - 10)).repeat(5);
    assert!(fat.len() > HEAD_BYTES_MAX);
    all_refused(Rule::R20, 431, &[&with(&fat)]);
    let tokens = |count| with(&format!("Connection: {}\r\n", vec!["x"; count].join(",")));
    all_accepted(&[&tokens(CONNECTION_TOKENS_MAX)]);
    all_refused(Rule::R20, 431, &[&tokens(CONNECTION_TOKENS_MAX + 1)]);
}

#[test]
fn r20_a_partial_line_is_refused_before_it_ends() {
    let partial = [b"GET /".as_slice(), &vec![b'a'; LINE_BYTES_MAX]].concat();
    assert_eq!(refused(&partial), (Rule::R20, 414));
}

#[test]
fn r25_connection_may_not_name_what_frames() {
    for name in ["Host", "content-length", "Transfer-Encoding", "close, HOST"] {
        all_refused(Rule::R25, 400, &[&with(&format!("Connection: {name}\r\n"))]);
    }
    all_refused(Rule::R25, 400, &[&with("Connection: a b\r\n")]);
}

#[test]
fn keep_alive_follows_version_and_connection() {
    for (version, connection, kept) in [
        ("1.1", "", true),
        ("1.1", "Connection: Close\r\n", false),
        ("1.1", "Connection: foo\r\nConnection: close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let bytes = format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n");
        assert_eq!(request(bytes.as_bytes()).unwrap().keep_alive(), kept, "{version} {connection}");
    }
}

#[test]
fn r26_an_upgrade_needs_all_its_parts() {
    let wants = |head: &str| request(head.as_bytes()).unwrap().wants_upgrade();
    let full = "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert!(wants(full));
    assert!(!wants(&full.replace("keep-alive, Upgrade", "keep-alive")));
    assert!(!wants(&full.replace("HTTP/1.1", "HTTP/1.0")));
    assert!(!wants(&full.replace("websocket", "h2c")));
    assert!(!wants(&full.replace("Host: a", "Host: a\r\nContent-Length: 1")));
    assert!(wants(&full.replace("websocket", "h2c, websocket")));
}

#[test]
fn r27_r36_methods_that_are_off() {
    all_refused(Rule::R27, 405, &[b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"]);
    all_refused(Rule::R36, 405, &[b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"]);
    all_refused(Rule::R36, 405, &[b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"]);
    all_accepted(&[
        b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n",
    ]);
}

#[test]
fn r28_expectations() {
    all_refused(Rule::R28, 417, &[&with("Expect: 200-maybe\r\n"), &with("Expect: 100-continue, x\r\n")]);
    assert!(request(&with("Expect: 100-Continue\r\nContent-Length: 1\r\n")).unwrap().expects_continue());
    assert!(!request(&with("")).unwrap().expects_continue());
    let old = request(b"POST / HTTP/1.0\r\nExpect: x\r\nContent-Length: 1\r\n\r\n").unwrap();
    assert!(!old.expects_continue());
    assert_eq!(old.version(), Version::Http10);
}

#[test]
fn r40_idempotent_methods() {
    for (method, idempotent) in [
        ("GET", true),
        ("HEAD", true),
        ("PUT", true),
        ("DELETE", true),
        ("POST", false),
        ("PATCH", false),
        ("get", false),
    ] {
        let bytes = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(
            request(bytes.as_bytes()).unwrap().is_idempotent(bytes.as_bytes()),
            idempotent,
            "{method}"
        );
    }
}

#[test]
fn a_head_that_trickles_in_is_the_same_and_nothing_of_it_lingers() {
    let first = b"\r\nPOST /a HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n".as_slice();
    let mut head = RequestHead::new();
    for end in 0..first.len() {
        assert_eq!(head.parse(&first[..end], PortRules::default()), Ok(Progress::Incomplete), "{end}");
    }
    assert_eq!(head.parse(first, PortRules::default()), Ok(Progress::Complete(first.len())));
    assert!(head.expects_continue() && head.accepts_trailers() && head.body() == Body::Length(1));
    let second = b"GET / HTTP/1.1\r\nHost: b\r\n\r\n";
    assert_eq!(head.parse(second, PortRules::default()), Ok(Progress::Complete(second.len())));
    assert!(!head.expects_continue() && !head.accepts_trailers() && head.body() == Body::Empty);
    assert_eq!(RequestRef::new(&head, second, "http").authority(), b"b");
}

#[test]
fn headers_are_found_in_any_case_and_all_of_them() {
    let bytes = with("X-A: 1\r\nx-b: 2\r\nX-a:  3 \r\n");
    let head = request(&bytes).unwrap();
    let view = RequestRef::new(&head, &bytes, "http");
    assert_eq!(view.header("x-a"), Some(&b"1"[..]));
    assert_eq!(view.header("x-c"), None);
    assert_eq!(view.header_all("x-a").collect::<Vec<_>>(), [b"1", b"3"]);
}
