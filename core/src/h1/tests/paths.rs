//! Paths as rules match them (R8).

use super::request;
use crate::exchange::RequestView;
use crate::h1::{EscapedSlash, PathPolicy, RequestRef, Rule, normalize};

fn normal(path: &str, policy: PathPolicy) -> String {
    let mut out = b"kept".to_vec();
    normalize(path.as_bytes(), policy, &mut out).unwrap();
    assert!(out.starts_with(b"kept"), "what stood there stays");
    String::from_utf8(out.split_off(4)).unwrap()
}

#[test]
fn the_normal_form_is_that_of_rfc_3986() {
    for (sent, matched) in [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a/./b/../c", "/a/c"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/../../a", "/a"),
        ("/..", "/"),
        ("/...", "/..."),
        ("/%61%2E%2e/%7E", "/a../~"),
        ("/a/%2e%2e/b", "/b"),
        ("/a%2fb%2F..", "/a%2Fb%2F.."),
        ("/a%", "/a%"),
        ("/a%zz%4", "/a%zz%4"),
        ("/a//b", "/a//b"),
        ("/a//../b", "/a/b"),
        ("/a/../b?x=/../%61", "/b?x=/../%61"),
        ("/%C3%a9", "/%C3%A9"),
        ("/%00", "/%00"),
        ("/%2561", "/%2561"),
    ] {
        assert_eq!(normal(sent, PathPolicy::default()), matched, "{sent}");
    }
}

#[test]
fn slashes_follow_the_policy() {
    let merge = PathPolicy { merge_slashes: true, ..PathPolicy::default() };
    for (sent, matched) in
        [("//a///b//", "/a/b/"), ("/a//../b", "/b"), ("//", "/"), ("/a/", "/a/"), ("/a/.//b", "/a/b")]
    {
        assert_eq!(normal(sent, merge), matched, "{sent}");
    }
    let decode = PathPolicy { merge_slashes: true, escaped_slash: EscapedSlash::Decode };
    assert_eq!(normal("/a%2f%2Fb%5c..", decode), "/a/");
    let refuse = PathPolicy { escaped_slash: EscapedSlash::Reject, ..PathPolicy::default() };
    assert_eq!(normalize(b"/a%2fb", refuse, &mut Vec::new()).unwrap_err().rule, Rule::R8);
}

#[test]
fn only_what_differs_is_copied() {
    let mut scratch = Vec::new();
    for (path, matched) in [
        ("/a/b.html?c=%61", None),
        ("/a/b%20c", None),
        ("/.well-known/x", None),
        ("/a/../b?c", Some(&b"/b?c"[..])),
        ("/%61", Some(b"/a")),
    ] {
        let bytes = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = request(bytes.as_bytes()).unwrap();
        let found = head.normalized_path(bytes.as_bytes(), PathPolicy::default(), &mut scratch).unwrap();
        assert_eq!(found, matched, "{path}");
        let view = RequestRef::new(&head, bytes.as_bytes(), "http").with_path(found);
        assert_eq!(view.path_and_query(), matched.unwrap_or(path.as_bytes()));
        assert_eq!(view.sent_path(), path.as_bytes());
    }
}
