use super::*;

fn rewritten(uri: Option<&str>, regex: Option<(&str, &str)>, path: &str, matched: Matched) -> String {
    let rewrite = Rewrite::compile(&model::Rewrite {
        uri: uri.map(Into::into),
        authority: None,
        uri_regex: regex.map(|(regex, with)| (regex.into(), with.into())),
    });
    let mut out = b"kept ".to_vec();
    assert!(rewrite.unwrap().path(path.as_bytes(), matched, &mut out));
    String::from_utf8(out.split_off(5)).unwrap()
}

#[test]
fn istio_prefixes_are_replaced_and_queries_kept() {
    let uri = |with, path, matched| rewritten(Some(with), None, path, matched);
    assert_eq!(uri("/new", "/old/x?a=/old", Matched::Prefix(4)), "/new/x?a=/old");
    assert_eq!(uri("/", "/old/x", Matched::Prefix(5)), "/x");
    assert_eq!(uri("/new", "/old/x?q", Matched::Whole), "/new?q");
    assert_eq!(uri("new", "/old", Matched::Whole), "/new");
}

/// The table of Gateway API's `ReplacePrefixMatch`.
#[test]
fn gateway_prefixes_are_replaced_by_segment() {
    for (path, prefix, with, expected) in [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/", "/foo", "", "/"),
        ("/foo", "/foo", "", "/"),
        ("/foo/", "/foo", "/", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/foo?a=b", "/foo", "/xyz", "/xyz?a=b"),
    ] {
        let matched = Matched::Segments(prefix.trim_end_matches('/').len());
        assert_eq!(rewritten(Some(with), None, path, matched), expected, "{path} {prefix} {with}");
    }
}

#[test]
fn expressions_replace_every_match_of_the_path_only() {
    let regex = |regex, with, path| rewritten(None, Some((regex, with)), path, Matched::Whole);
    assert_eq!(
        regex("^/service/([^/]+)(/.*)$", r"\2/instance/\1", "/service/foo/v1/api?x=1"),
        "/v1/api/instance/foo?x=1"
    );
    assert_eq!(regex("one", "two", "/xxx/one/yyy/one/zzz"), "/xxx/two/yyy/two/zzz");
    assert_eq!(regex("(?i)/xxx/", "/yyy/", "/aaa/XxX/bbb"), "/aaa/yyy/bbb");
    assert_eq!(regex("^/a$", r"/\0\\b", "/a"), r"/\a\b".replace(r"/\a", "//a"));
    assert_eq!(regex("nothing", "x", "/kept?one"), "/kept?one");
}

#[test]
fn bad_rewrites_are_refused() {
    let compile = |uri: Option<&str>, authority: Option<&str>, regex: Option<(&str, &str)>| {
        let uri_regex = regex.map(|(regex, with)| (regex.into(), with.into()));
        Rewrite::compile(&model::Rewrite {
            uri: uri.map(Into::into),
            authority: authority.map(Into::into),
            uri_regex,
        })
    };
    assert!(compile(Some("/a b"), None, None).is_err());
    assert!(compile(Some("/a\r\nx: y"), None, None).is_err());
    assert!(compile(None, Some("a\r\nb"), None).is_err());
    assert!(compile(None, None, Some(("(", ""))).is_err());
    assert!(compile(None, None, Some(("(a)", r"\2"))).is_err());
    assert!(compile(None, None, Some(("a", r"\x"))).is_err());
    assert!(compile(None, None, Some(("a", "b c"))).is_err());
}

#[test]
fn locations_name_a_port_only_where_it_says_something() {
    let to = |redirect: model::Redirect, authority: &str, path: &str| {
        location(&redirect, b"http", authority.as_bytes(), 8080, path.as_bytes(), Matched::Segments(2))
    };
    let redirect = model::Redirect::default;
    let scheme = || Some("https".to_owned());
    assert_eq!(to(redirect(), "a:81", "/x?q"), "http://a:81/x?q");
    assert_eq!(to(model::Redirect { uri: Some("/y".into()), ..redirect() }, "a", "/x?q"), "http://a/y?q");
    assert_eq!(to(model::Redirect { uri: Some("/y?z".into()), ..redirect() }, "a", "/x?q"), "http://a/y?z");
    assert_eq!(
        to(model::Redirect { authority: Some("b:90".into()), ..redirect() }, "a:1", "/"),
        "http://b:90/"
    );
    assert_eq!(to(model::Redirect { scheme: scheme(), ..redirect() }, "a:80", "/"), "https://a/");
    assert_eq!(to(model::Redirect { scheme: scheme(), ..redirect() }, "a:81", "/"), "https://a:81/");
    let port = |port| model::Redirect { scheme: scheme(), port, ..redirect() };
    assert_eq!(to(port(RedirectPort::Number(443)), "a:81", "/"), "https://a/");
    assert_eq!(to(port(RedirectPort::Number(8443)), "[::1]", "/"), "https://[::1]:8443/");
    assert_eq!(to(port(RedirectPort::ProtocolDefault), "a:81", "/"), "https://a/");
    assert_eq!(to(port(RedirectPort::RequestPort), "a", "/"), "https://a:8080/");
    // Gateway API's `ReplacePrefixMatch`, its table of examples.
    let prefix = |prefix: &str| model::Redirect { prefix: Some(prefix.into()), ..redirect() };
    assert_eq!(to(prefix("/y"), "a", "/x/z?q"), "http://a/y/z?q");
    assert_eq!(to(prefix("/y/"), "a", "/x/z"), "http://a/y/z");
    assert_eq!(to(prefix("/"), "a", "/x"), "http://a/");
    assert_eq!(to(prefix(""), "a", "/x/"), "http://a/");
}
