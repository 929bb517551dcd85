//! Request heads on their way upstream: R25, R26, R35.

use super::{request, request_on};
use crate::h1::{Forwarded, PortRules, RequestRewrite, encode, request_id};
use crate::rng::Rng;
use crate::route::rule::Changes;

fn sent_on(bytes: &str, rewrite: &RequestRewrite<'_>, port: PortRules) -> String {
    let head = request_on(bytes.as_bytes(), port).unwrap();
    let mut out = b"before".to_vec();
    encode::request(&head, bytes.as_bytes(), rewrite, &mut out);
    let out = String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned();
    assert!(request(out.as_bytes()).is_ok(), "what is sent must itself be acceptable: {out:?}");
    out
}

#[track_caller]
fn becomes(bytes: &str, rewrite: &RequestRewrite<'_>, expected: &str) {
    assert_eq!(sent_on(bytes, rewrite, PortRules::default()), expected);
}

fn changes(set: &[(&str, &str)], add: &[(&str, &str)], remove: &[&str]) -> Changes {
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    };
    Changes {
        authority: None,
        set: pairs(set),
        add: pairs(add),
        remove: remove.iter().map(|it| it.parse().unwrap()).collect(),
    }
}

#[test]
fn what_needs_no_change_passes_byte_by_byte() {
    let plain = "GET /a?b HTTP/1.1\r\nHOST:  a \r\nX-Odd:\tcaf\u{e9}\t \r\nAccept: */*\r\n\r\n";
    becomes(plain, &RequestRewrite::default(), plain);
}

#[test]
fn r25_what_belongs_to_the_hop_stays() {
    becomes(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Secret\r\nKeep-Alive: 5\r\nX-Secret: 1\r\nx-secret: 2\r\n\
         Proxy-Connection: x\r\nX: y\r\nTE: gzip\r\nTrailer: z\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\
         Connection: http2-settings\r\n\r\n",
        &RequestRewrite::default(),
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n",
    );
    becomes(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nTE: trailers, gzip\r\nConnection: TE\r\n\r\n",
        &RequestRewrite::default(),
        "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\nte: trailers\r\nconnection: te\r\n\r\n",
    );
    let authorized = "GET / HTTP/1.1\r\nHost: a\r\nProxy-Authorization: b\r\n\r\n";
    becomes(authorized, &RequestRewrite::default(), authorized);
    assert_eq!(
        sent_on(authorized, &RequestRewrite::default(), PortRules { explicit_proxy: true }),
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    );
}

#[test]
fn r26_an_upgrade_is_offered_on_only_where_allowed() {
    let asked = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c, websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
    becomes(
        asked,
        &RequestRewrite { upgrade: true, ..RequestRewrite::default() },
        "GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: k\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    );
    becomes(asked, &RequestRewrite::default(), "GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: k\r\n\r\n");
}

#[test]
fn path_and_authority_are_replaced() {
    becomes(
        "GET /old?q HTTP/1.1\r\nA: b\r\nHost: old\r\n\r\n",
        &RequestRewrite { path: Some(b"/new?q"), authority: Some(b"new:81"), ..RequestRewrite::default() },
        "GET /new?q HTTP/1.1\r\nhost: new:81\r\nA: b\r\n\r\n",
    );
    let change = Changes { authority: Some("by-rule".parse().unwrap()), ..Changes::default() };
    becomes(
        "GET / HTTP/1.1\r\nHost: old\r\n\r\n",
        &RequestRewrite { changes: &[&change], ..RequestRewrite::default() },
        "GET / HTTP/1.1\r\nhost: by-rule\r\n\r\n",
    );
}

#[test]
fn absolute_targets_and_old_versions_become_origin_form_of_1_1() {
    let proxied =
        |bytes: &str| sent_on(bytes, &RequestRewrite::default(), PortRules { explicit_proxy: true });
    assert_eq!(
        proxied("GET http://b:81/x?y HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"),
        "GET /x?y HTTP/1.1\r\nhost: b:81\r\nX: y\r\n\r\n"
    );
    assert_eq!(proxied("GET http://b HTTP/1.1\r\nHost: b\r\n\r\n"), "GET / HTTP/1.1\r\nhost: b\r\n\r\n");
    assert_eq!(
        proxied("OPTIONS http://b HTTP/1.1\r\nHost: b\r\n\r\n"),
        "OPTIONS * HTTP/1.1\r\nhost: b\r\n\r\n"
    );
    becomes(
        "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
        &RequestRewrite::default(),
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    becomes(
        "GET /x HTTP/1.0\r\n\r\n",
        &RequestRewrite { authority: Some(b"a:80"), ..RequestRewrite::default() },
        "GET /x HTTP/1.1\r\nhost: a:80\r\n\r\n",
    );
}

#[test]
fn ids_and_own_fields_replace_what_came() {
    becomes(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: theirs\r\nX-Envoy-Attempt-Count: 9\r\nX: y\r\n\r\n",
        &RequestRewrite {
            request_id: Some(b"ours"),
            extra: &[("x-envoy-attempt-count", b"1")],
            close: true,
            ..RequestRewrite::default()
        },
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nconnection: close\r\nx-request-id: ours\r\nx-envoy-attempt-count: 1\r\n\r\n",
    );
    let named = "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: theirs\r\nConnection: x-request-id\r\n\r\n";
    assert_eq!(
        request(named.as_bytes()).unwrap().request_id(),
        None,
        "dropped by Connection, so one is to be made"
    );
}

#[test]
fn r35_forwarding_fields_follow_trust() {
    let asked = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n\
                 X-Forwarded-Proto: https\r\nForwarded: for=x\r\nX-Forwarded-Host: h\r\nX: y\r\n\r\n";
    becomes(asked, &RequestRewrite::default(), asked);
    let client = "10.0.0.1".parse().unwrap();
    becomes(
        asked,
        &RequestRewrite {
            forwarded: Forwarded::Append { client, secure: false },
            ..RequestRewrite::default()
        },
        "GET / HTTP/1.1\r\nHost: a\r\nForwarded: for=x\r\nX-Forwarded-Host: h\r\nX: y\r\n\
         x-forwarded-for: 1.1.1.1, 2.2.2.2, 10.0.0.1\r\nx-forwarded-proto: http\r\n\r\n",
    );
    becomes(
        asked,
        &RequestRewrite {
            forwarded: Forwarded::Overwrite { client, secure: true },
            ..RequestRewrite::default()
        },
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nx-forwarded-for: 10.0.0.1\r\nx-forwarded-proto: https\r\n\r\n",
    );
}

#[test]
fn addresses_are_written_as_everywhere() {
    let octets = (0..=255u8).map(|octet| std::net::Ipv4Addr::new(octet, 10, 255 - octet, octet / 2).into());
    let v6 = ["::1", "2001:db8::a:0:1", "::ffff:10.0.0.1"].map(|text| text.parse().unwrap());
    for client in octets.chain(v6) {
        let forwarded = Forwarded::Append { client, secure: false };
        becomes(
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            &RequestRewrite { forwarded, ..RequestRewrite::default() },
            &format!(
                "GET / HTTP/1.1\r\nHost: a\r\nx-forwarded-for: {client}\r\nx-forwarded-proto: http\r\n\r\n"
            ),
        );
    }
}

#[test]
fn r36_max_forwards_counts_down_for_options() {
    for (method, sent) in [("OPTIONS", "max-forwards: 4"), ("GET", "max-forwards: 5")] {
        becomes(
            &format!("{method} / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 5\r\n\r\n"),
            &RequestRewrite::default(),
            &format!("{method} / HTTP/1.1\r\nHost: a\r\n{sent}\r\n\r\n"),
        );
    }
}

#[test]
fn changes_are_carried_out_in_order() {
    let asked =
        "GET / HTTP/1.1\r\nHost: a\r\nX-Set: old\r\nX-Add: old\r\nX-Gone: old\r\nx-gone: older\r\n\r\n";
    let destination =
        changes(&[("x-set", "destination"), ("x-both", "destination")], &[("x-add", "1")], &["x-gone"]);
    let rule = changes(&[("x-set", "rule")], &[("x-add", "2")], &["x-both"]);
    becomes(
        asked,
        &RequestRewrite { changes: &[&destination, &rule], ..RequestRewrite::default() },
        "GET / HTTP/1.1\r\nHost: a\r\nX-Add: old\r\nx-add: 1\r\nx-set: rule\r\nx-add: 2\r\n\r\n",
    );
}

#[test]
fn no_change_touches_framing() {
    let change = changes(
        &[("content-length", "0"), ("host", "evil"), ("connection", "close")],
        &[("transfer-encoding", "chunked"), ("te", "x")],
        &["content-length", "host"],
    );
    let asked = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    becomes(asked, &RequestRewrite { changes: &[&change], ..RequestRewrite::default() }, asked);
}

#[test]
fn a_made_request_id_is_a_random_uuid() {
    let mut rng = Rng::new(7);
    let (one, other) = (request_id::generate(&mut rng), request_id::generate(&mut rng));
    assert_ne!(one, other);
    for id in [one, other] {
        let text = std::str::from_utf8(&id).unwrap();
        let lengths: Vec<_> = text.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{text}");
        assert!(text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()));
        assert_eq!(text.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&text.as_bytes()[19]));
    }
}

#[test]
fn an_expectation_of_http10_ends_here() {
    for expectation in ["100-continue", "-01c0ontinue"] {
        let asked =
            format!("PUT / HTTP/1.0\r\nHost: a\r\nExpect: {expectation}\r\nContent-Length: 2\r\n\r\n");
        let sent = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n";
        becomes(&asked, &RequestRewrite::default(), sent);
    }
}
