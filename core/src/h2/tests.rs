use http::{HeaderMap, HeaderName, HeaderValue, Request, Version};

use super::{PartsRef, edit, request_from_h1, response_to_h1};
use crate::exchange::RequestView;
use crate::h1::{Forwarded, PortRules, RequestHead, RequestRewrite, ResponseHead, Rule};
use crate::route::rule::Changes;

fn name(text: &'static str) -> HeaderName {
    HeaderName::from_static(text)
}

fn value(text: &'static str) -> HeaderValue {
    HeaderValue::from_static(text)
}

#[test]
fn a_request_is_seen_by_its_pseudo_headers() {
    let request = Request::builder()
        .method("POST")
        .uri("https://reviews:9080/a%2Fb?x=1")
        .header("host", "other")
        .header("accept", "a")
        .header("accept", "b")
        .body(())
        .unwrap();
    let (parts, ()) = request.into_parts();
    let view = PartsRef::new(&parts, "http");
    assert_eq!(view.method(), b"POST");
    assert_eq!(view.path_and_query(), b"/a%2Fb?x=1");
    assert_eq!(view.authority(), b"reviews:9080");
    assert_eq!(view.scheme(), b"http", "the connection's scheme, not the one claimed");
    assert_eq!(view.header("accept"), Some(&b"a"[..]));
    assert_eq!(view.header_all("accept").collect::<Vec<_>>(), [b"a", b"b"]);
    assert_eq!(view.header("absent"), None);
    assert_eq!(view.with_path(Some(b"/c")).path_and_query(), b"/c");
}

#[test]
fn host_stands_in_where_there_is_no_authority() {
    let (parts, ()) = Request::builder().uri("/").header("host", "reviews").body(()).unwrap().into_parts();
    assert_eq!(PartsRef::new(&parts, "http").authority(), b"reviews");
}

#[test]
fn changes_are_set_added_and_removed_but_for_framing() {
    let mut headers = HeaderMap::new();
    for (field, text) in [("a", "1"), ("a", "2"), ("b", "1"), ("content-length", "5")] {
        headers.append(name(field), value(text));
    }
    let first = Changes {
        set: vec![(name("a"), value("3")), (name("content-length"), value("6")), (name("host"), value("x"))],
        add: vec![(name("b"), value("2")), (name("te"), value("gzip"))],
        ..Changes::default()
    };
    let second = Changes { remove: vec![name("b"), name("content-length")], ..Changes::default() };
    edit(&mut headers, &[&first, &second]);
    let left: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(left, [("a", &b"3"[..]), ("content-length", b"5")]);
}

/// An HTTP/1 head as it goes on by HTTP/2: method, URI, version and fields in order of their names.
fn onward(bytes: &[u8], rewrite: &RequestRewrite<'_>) -> Result<(String, Version, Vec<String>), Rule> {
    let mut head = RequestHead::new();
    head.parse(bytes, PortRules::default()).expect("a head that HTTP/1 takes");
    let request = request_from_h1(&head, bytes, "http", rewrite).map_err(|reject| reject.rule)?;
    let mut fields: Vec<String> = request
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?")))
        .collect();
    fields.sort();
    Ok((format!("{} {}", request.method(), request.uri()), request.version(), fields))
}

#[test]
fn what_belongs_to_the_connection_stays_behind() {
    let bytes = b"POST /a?b=c HTTP/1.1\r\nHost: Reviews:9080\r\nConnection: close, X-Hop, te\r\nX-Hop: 1\r\nTE: trailers, gzip\r\n\
        Upgrade: h2c\r\nHTTP2-Settings: AAAA\r\nKeep-Alive: timeout=1\r\nProxy-Connection: close\r\nTransfer-Encoding: chunked\r\n\
        Trailer: x-sum\r\nAccept: a\r\nACCEPT: b\r\n\r\n";
    let (line, version, fields) = onward(bytes, &RequestRewrite::default()).unwrap();
    assert_eq!(line, "POST http://Reviews:9080/a?b=c");
    assert_eq!(version, Version::HTTP_2);
    assert_eq!(fields, ["accept: a", "accept: b", "te: trailers"]);
}

#[test]
fn rewrites_reach_the_pseudo_headers() {
    let bytes = b"GET /old HTTP/1.1\r\nHost: old\r\nX-Forwarded-For: 1.1.1.1\r\nX-Request-Id: theirs\r\n\r\n";
    let rewrite = RequestRewrite {
        path: Some(b"/new"),
        authority: Some(b"new:80"),
        request_id: Some(b"ours"),
        forwarded: Forwarded::Append { client: [9, 9, 9, 9].into(), secure: true },
        extra: &[("x-envoy-attempt-count", b"2")],
        ..RequestRewrite::default()
    };
    let (line, _, fields) = onward(bytes, &rewrite).unwrap();
    assert_eq!(line, "GET http://new:80/new");
    let expected = [
        "x-envoy-attempt-count: 2",
        "x-forwarded-for: 1.1.1.1, 9.9.9.9",
        "x-forwarded-proto: https",
        "x-request-id: ours",
    ];
    assert_eq!(fields, expected);
}

#[test]
fn unusual_targets_go_on_or_are_refused() {
    let plain = RequestRewrite::default();
    let (line, ..) = onward(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &plain).unwrap();
    assert_eq!(line, "OPTIONS http://a/*".replace("/*", "*"));
    let (line, version, fields) = onward(b"GET / HTTP/1.0\r\n\r\n", &plain).unwrap();
    assert_eq!((line.as_str(), version, fields.len()), ("GET /", Version::HTTP_11, 0));
    assert_eq!(onward(b"GET /a<b HTTP/1.1\r\nHost: a\r\n\r\n", &plain), Err(Rule::R8));
}

/// An HTTP/2 answer as HTTP/1 has it.
fn answer(status: u16, fields: &[(&'static str, &'static str)], ends: bool, to_head: bool) -> String {
    let mut response = http::Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    let (parts, ()) = response.body(()).unwrap().into_parts();
    let mut out = Vec::new();
    response_to_h1(&parts, ends, to_head, &mut out);
    let mut head = ResponseHead::new();
    assert!(head.parse(&out, to_head).is_ok(), "it is an answer of HTTP/1");
    String::from_utf8(out).unwrap()
}

#[test]
fn answers_get_the_framing_that_http_1_needs() {
    let head = "HTTP/1.1 200 OK\r\n";
    assert_eq!(answer(200, &[], false, false), format!("{head}transfer-encoding: chunked\r\n\r\n"));
    assert_eq!(answer(200, &[], true, false), format!("{head}content-length: 0\r\n\r\n"));
    assert_eq!(answer(200, &[], true, true), format!("{head}\r\n"), "what a GET would get is not known");
    let told = [("content-length", "5")];
    assert_eq!(answer(200, &told, false, false), format!("{head}content-length: 5\r\n\r\n"));
    assert_eq!(answer(304, &told, true, false), "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(answer(204, &[], true, false), "HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(answer(103, &[("link", "x")], false, false), "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n");
    let hop = [("connection", "close"), ("transfer-encoding", "gzip")];
    assert_eq!(answer(200, &hop, true, false), format!("{head}content-length: 0\r\n\r\n"));
}

mod web {
    use bytes::Bytes;
    use http::HeaderMap;

    use super::{name, value};
    use crate::h2::grpc_web::{Decoder, Malformed, Web};

    fn of(content_type: &str) -> Option<Web> {
        Web::of(Some(content_type.as_bytes()), None)
    }

    #[test]
    fn types_say_how_a_call_came() {
        for (came, goes) in [
            ("application/grpc-web", "application/grpc-web"),
            ("application/grpc-web+proto", "application/grpc-web+proto"),
            ("application/grpc-web-text", "application/grpc-web-text"),
            ("Application/GRPC-Web-Text+proto; charset=x", "application/grpc-web-text+proto"),
        ] {
            assert_eq!(of(came).map(Web::content_type), Some(goes), "{came}");
        }
        for other in
            ["application/grpc", "application/grpc+proto", "application/grpc-website", "text/plain", ""]
        {
            assert_eq!(of(other), None, "{other}");
        }
        let accepts = Web::of(Some(b"application/grpc-web"), Some(b"application/grpc-web-text")).unwrap();
        assert_eq!(accepts.content_type(), "application/grpc-web-text");
        assert!(accepts.decoder().is_none(), "the request itself is binary");
    }

    #[test]
    fn trailers_become_the_last_frame() {
        let mut trailers = HeaderMap::new();
        trailers.insert(name("grpc-status"), value("0"));
        let frame = of("application/grpc-web").unwrap().trailers(&trailers);
        assert_eq!(frame, b"\x80\0\0\0\x10grpc-status: 0\r\n"[..]);
        let text = of("application/grpc-web-text").unwrap().trailers(&trailers);
        assert_eq!(text, b"gAAAABBncnBjLXN0YXR1czogMA0K"[..]);
    }

    #[test]
    fn heads_are_those_of_the_other_side() {
        let web = of("application/grpc-web-text+proto").unwrap();
        let mut fields = HeaderMap::new();
        fields.insert(name("content-type"), value("application/grpc-web-text+proto"));
        fields.insert(name("content-length"), value("8"));
        web.request(&mut fields);
        assert_eq!(fields.get("content-type").unwrap(), "application/grpc+proto");
        assert_eq!((fields.get("te").unwrap().as_bytes(), fields.len()), (&b"trailers"[..], 2));
        assert!(web.response(&mut fields));
        assert_eq!(fields.get("content-type").unwrap(), "application/grpc-web-text+proto");
        fields.insert(name("content-type"), value("text/html"));
        assert!(!web.response(&mut fields), "an error page passes as it is");
    }

    #[test]
    fn base64_is_decoded_in_whatever_parts_it_comes() {
        let web = of("application/grpc-web-text").unwrap();
        let texts: Vec<Vec<u8>> =
            (0..20u8).map(|length| (0..length).map(|at| at.wrapping_mul(91)).collect()).collect();
        for step in 1..6 {
            let (mut decoder, mut out, mut all) = (Decoder::default(), Vec::new(), Vec::new());
            for text in &texts {
                all.extend_from_slice(text);
                for part in web.data(Bytes::from(text.clone())).chunks(step) {
                    decoder.push(part, &mut out).unwrap();
                }
            }
            assert_eq!((out == all, decoder.finish()), (true, Ok(())), "in steps of {step}");
        }
        assert_eq!(web.data(Bytes::from_static(b"Man")), b"TWFu"[..], "RFC 4648's alphabet");
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for bad in ["T", "TW", "TWF", "TWF-", "=WFu", "T===", "TW=u", "TW\nFu", "TWFuT"] {
            let (mut decoder, mut out) = (Decoder::default(), Vec::new());
            let told = decoder.push(bad.as_bytes(), &mut out).and_then(|()| decoder.finish());
            assert_eq!(told, Err(Malformed), "{bad:?}");
        }
    }
}
