use http::{HeaderMap, HeaderName, HeaderValue, Request};

use super::{PartsRef, edit};
use crate::exchange::RequestView;
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
