//! R37 beyond what `h2` checks, and requests as HTTP/1 says them.

use std::net::Ipv4Addr;

use http::Request;

use super::*;

fn parts(method: &str, uri: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn rule(method: &str, uri: &str, fields: &[(&str, &str)]) -> Option<&'static str> {
    check(&parts(method, uri, fields), None).err().map(|reject| reject.rule.name())
}

#[test]
fn good_requests_pass() {
    let sent = parts("POST", "http://a/b/../c?d", &[("content-length", "7"), ("expect", "100-continue")]);
    let checked = Checked { length: Some(7), expects_continue: true, ..Checked::default() };
    assert_eq!(check(&sent, None), Ok(checked));
    let plain = Checked { plain_path: true, ..Checked::default() };
    assert_eq!(check(&parts("GET", "http://a:80/", &[("host", "A:80")]), None), Ok(plain));
    let known = Checked { has_request_id: true, ..plain };
    assert_eq!(check(&parts("GET", "http://a:80/", &[("x-request-id", "")]), None), Ok(known));
    assert_eq!(check(&parts("OPTIONS", "*", &[("host", "a")]), None), Ok(plain));
    assert_eq!(check(&parts("CONNECT", "http://a/chat", &[]), Some("websocket")), Ok(plain));
    assert_eq!(
        check(&parts("GET", "http://a/", &[("x-under_score", "kept"), ("content-length", "0")]), None)
            .map(|it| it.length),
        Ok(Some(0))
    );
}

#[test]
fn bad_requests_name_their_rule() {
    for (method, uri, fields, expected) in [
        ("CONNECT", "http://a/", &[][..], "R27"),
        ("TRACE", "http://a/", &[], "R36"),
        ("GET", "/", &[], "R9"),
        ("GET", "/", &[("host", "a"), ("host", "a")], "R9"),
        ("GET", "http://u@a/", &[], "R9"),
        ("GET", "http://a:0/", &[], "R9"),
        ("GET", "http://a/", &[("host", "b")], "R37"),
        ("GET", "*", &[("host", "a")], "R8"),
        ("GET", "http://a/", &[("x", "y ")], "R37"),
        ("GET", "http://a/", &[("transfer_encoding", "x")], "R6"),
        ("GET", "http://a/", &[("content-length", "+1")], "R13"),
        ("GET", "http://a/", &[("content-length", "1"), ("content-length", "1")], "R13"),
        ("GET", "http://a/", &[("expect", "wonders")], "R28"),
    ] {
        assert_eq!(rule(method, uri, fields), Some(expected), "{method} {uri} {fields:?}");
    }
    let many = vec![("cookie", "a=b"); FIELDS_MAX + 1];
    assert_eq!(rule("GET", "http://a/", &many), Some("R20"));
    assert_eq!(rule("GET", &format!("http://a/{}", "x".repeat(LINE_BYTES_MAX)), &[]), Some("R20"));
}

#[test]
fn a_request_goes_on_as_http1_says_it() {
    let sent = parts(
        "POST",
        "http://shop/p?q",
        &[
            ("host", "shop"),
            ("cookie", "a=1"),
            ("x", "1"),
            ("cookie", "b=2"),
            ("te", "trailers"),
            ("content-length", "3"),
        ],
    );
    let changes = Changes {
        set: vec![
            ("x".parse().unwrap(), "2".parse().unwrap()),
            ("content-length".parse().unwrap(), "9".parse().unwrap()),
        ],
        ..Changes::default()
    };
    let onward = Onward {
        changes: &[&changes],
        request_id: Some(b"id"),
        forwarded: Forwarded::Append { client: Ipv4Addr::LOCALHOST.into(), secure: true },
        client: None,
        extra: &[(ATTEMPT_COUNT, b"2")],
    };
    let fields = fields(&sent, &onward);
    let line = Line {
        method: b"POST",
        path: b"/p?q",
        authority: b"shop",
        body: Sending::Length(3),
        upgrade: None,
        close: true,
    };
    let mut out = Vec::new();
    to_h1(&line, &fields, &mut out);
    let text = String::from_utf8(out).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["POST /p?q HTTP/1.1", "host: shop"]);
    lines.sort_unstable();
    let expected = [
        "",
        "POST /p?q HTTP/1.1",
        "connection: te, close",
        "content-length: 3",
        "cookie: a=1; b=2",
        "host: shop",
        "te: trailers",
        "x-envoy-attempt-count: 2",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: https",
        "x-request-id: id",
        "x: 2",
    ];
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(lines, expected);
    assert!(text.ends_with("\r\n\r\n"));
}

#[test]
fn addresses_of_earlier_hops_stay_or_go_by_trust() {
    let sent = parts("GET", "http://a/", &[("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=x")]);
    let client = Ipv4Addr::new(9, 9, 9, 9).into();
    let by = |forwarded| fields(&sent, &Onward { forwarded, ..Onward::default() });
    assert_eq!(by(Forwarded::Append { client, secure: false })["x-forwarded-for"], "1.1.1.1, 9.9.9.9");
    let overwritten = by(Forwarded::Overwrite { client, secure: false });
    assert_eq!(
        (overwritten["x-forwarded-for"].as_bytes(), overwritten.get("forwarded")),
        (&b"9.9.9.9"[..], None)
    );
    assert_eq!(by(Forwarded::Keep)["x-forwarded-for"], "1.1.1.1");
}

#[test]
fn an_address_made_before_serves_where_nothing_stands_before_it() {
    let ready = client_value(Ipv4Addr::new(9, 9, 9, 9).into());
    let forwarded = Forwarded::Append { client: Ipv4Addr::new(9, 9, 9, 9).into(), secure: true };
    let onward = Onward { forwarded, client: ready.as_ref(), ..Onward::default() };
    let by = |sent: &[(&str, &str)]| fields(&parts("GET", "http://a/", sent), &onward);
    assert_eq!(by(&[])["x-forwarded-for"], "9.9.9.9");
    assert_eq!(by(&[("x-forwarded-for", "1.1.1.1")])["x-forwarded-for"], "1.1.1.1, 9.9.9.9");
}

#[test]
fn what_differs_with_every_request_is_kept_in_no_table() {
    let sent = parts("GET", "http://a/", &[("traceparent", "00-1"), ("x-b3-traceid", "1"), ("accept", "x")]);
    let onward = Onward { request_id: Some(b"id"), ..Onward::default() };
    let fields = fields(&sent, &onward);
    let kept: Vec<(&str, bool)> =
        fields.iter().map(|(name, value)| (name.as_str(), !value.is_sensitive())).collect();
    let expected =
        [("traceparent", false), ("x-b3-traceid", false), ("accept", true), ("x-request-id", false)];
    assert_eq!(kept, expected);
}
