use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::config::describe::Sample;
use crate::config::model::{HttpMatch, Retries, StringMatch};
use crate::route::rule::{Action, HeaderOps};

fn rule(name: &str) -> Arc<CompiledRule> {
    Arc::new(CompiledRule {
        name: name.into(),
        origin: "".into(),
        action: Action::HostDefault,
        rewrite: None,
        timeout_ms: None,
        retries: Arc::new(Retries::default()),
        retries_configured: false,
        fault: None,
        headers: HeaderOps::default(),
    })
}

fn rules(matches: &[Vec<HttpMatch>]) -> RuleSet {
    let compiled = matches.iter().enumerate().map(|(at, matches)| {
        (rule(&at.to_string()), matches.iter().map(|it| Matcher::compile(it).unwrap()).collect())
    });
    RuleSet::build(compiled.collect())
}

// The slow obvious model: straight from the configuration, no indexes, and regular expressions that are only ever literal
// alternatives, so that it needs no engine of its own.

fn text_holds(it: &StringMatch, value: &str) -> bool {
    match it {
        StringMatch::Exact(text) => value == text,
        StringMatch::Prefix(text) => value.starts_with(text.as_str()),
        StringMatch::Regex(text) => text.split('|').any(|alternative| alternative == value),
        StringMatch::PathPrefix(text) => {
            let text = text.trim_end_matches('/');
            value == text || value.starts_with(&format!("{text}/"))
        }
    }
}

fn holds(it: &HttpMatch, sample: &Sample, port: u16) -> bool {
    let (path, query) = sample.path.split_once('?').unwrap_or((&sample.path, ""));
    let fold = |text: &str| if it.ignore_uri_case { text.to_ascii_lowercase() } else { text.to_owned() };
    let uri = it.uri.as_ref().is_none_or(|uri| match uri {
        StringMatch::Exact(text) => fold(path) == fold(text),
        StringMatch::Prefix(text) => fold(path).starts_with(&fold(text)),
        StringMatch::Regex(_) => text_holds(uri, path),
        StringMatch::PathPrefix(text) => text_holds(&StringMatch::PathPrefix(fold(text)), &fold(path)),
    });
    let joined = |name: &str| {
        let lines: Vec<&str> =
            sample.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).collect();
        (!lines.is_empty()).then(|| lines.join(","))
    };
    let header = |name: &str, wanted: &Option<StringMatch>| match (joined(name), wanted) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(value), Some(wanted)) => text_holds(wanted, &value),
    };
    let parameter = |name: &str, wanted: &Option<StringMatch>| {
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let value = { pairs }.find(|(own, _)| *own == name).map(|(_, value)| value);
        value.is_some_and(|value| wanted.as_ref().is_none_or(|wanted| text_holds(wanted, value)))
    };
    let plain =
        |wanted: &Option<StringMatch>, value: &str| wanted.as_ref().is_none_or(|it| text_holds(it, value));
    uri && plain(&it.method, &sample.method)
        && plain(&it.scheme, &sample.scheme)
        && plain(&it.authority, &sample.authority)
        && it.port.is_none_or(|wanted| wanted == port)
        && it.headers.iter().all(|(name, wanted)| header(name, wanted))
        && !it.without_headers.iter().any(|(name, wanted)| header(name, wanted))
        && it.query_params.iter().all(|(name, wanted)| parameter(name, wanted))
}

fn slow(matches: &[Vec<HttpMatch>], sample: &Sample, port: u16) -> Option<usize> {
    matches.iter().position(|it| it.is_empty() || it.iter().any(|it| holds(it, sample, port)))
}

fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof!["/", "/a", "/b", "/A", "a"], 1..4)
        .prop_map(|parts| format!("/{}", parts.concat()))
}

fn uri() -> impl Strategy<Value = StringMatch> {
    prop_oneof![
        path().prop_map(StringMatch::Exact),
        path().prop_map(StringMatch::Prefix),
        path().prop_map(|path| StringMatch::PathPrefix(path.trim_end_matches('/').to_owned())),
        (path(), path()).prop_map(|(a, b)| StringMatch::Regex(format!("{a}|{b}"))),
    ]
}

fn word() -> impl Strategy<Value = StringMatch> {
    prop_oneof![
        2 => "[xy]{0,2}".prop_map(StringMatch::Exact),
        2 => "[xy]".prop_map(StringMatch::Prefix),
        // With a comma: several lines of a header are one value.
        1 => "[xy]{1,2}(\\|[xy],[xy]?)?".prop_map(StringMatch::Regex),
    ]
}

/// A condition on one of these words, now and then on its start, or on either of two.
fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = StringMatch> {
    let one = || proptest::sample::select(words);
    prop_oneof![
        2 => one().prop_map(|it| StringMatch::Exact(it.into())),
        1 => (one(), 1usize..5).prop_map(|(it, length)| StringMatch::Prefix(it.chars().take(length).collect())),
        1 => (one(), one()).prop_map(|(a, b)| StringMatch::Regex(format!("{a}|{b}"))),
    ]
}

const METHODS: &[&str] = &["GET", "POST", "PUT"];
const SCHEMES: &[&str] = &["http", "https"];
/// With and without a port, and in letters of either case, which count.
const AUTHORITIES: &[&str] = &["host", "host:81", "Host", "other"];

fn named() -> impl Strategy<Value = BTreeMap<String, Option<StringMatch>>> {
    let some = proptest::collection::btree_map("[kl]", proptest::option::of(word()), 0..3);
    prop_oneof![3 => Just(BTreeMap::new()), 1 => some]
}

fn condition() -> impl Strategy<Value = HttpMatch> {
    let rare = |words| proptest::option::weighted(0.15, one_of(words));
    (
        proptest::option::weighted(0.9, uri()),
        any::<bool>(),
        (rare(METHODS), rare(SCHEMES), rare(AUTHORITIES)),
        proptest::option::weighted(0.2, 80u16..82),
        (named(), named(), named()),
    )
        .prop_map(|(uri, ignore_uri_case, (method, scheme, authority), port, named)| {
            let (headers, without_headers, query_params) = named;
            HttpMatch {
                name: String::new(),
                uri,
                ignore_uri_case,
                scheme,
                method,
                authority,
                headers,
                without_headers,
                query_params,
                port,
            }
        })
}

fn sample() -> impl Strategy<Value = Sample> {
    let query = proptest::option::of("([kl](=[xy]{0,2})?(&[kl]=[xy]?)?)?");
    let headers = proptest::collection::vec(("[kl]", "[xy]{0,2}"), 0..3);
    let one = |words: &'static [&'static str]| proptest::sample::select(words).prop_map(str::to_owned);
    (path(), query, one(METHODS), one(SCHEMES), one(AUTHORITIES), headers).prop_map(
        |(path, query, method, scheme, authority, headers)| Sample {
            method,
            scheme,
            path: format!("{path}{}", query.map(|query| format!("?{query}")).unwrap_or_default()),
            authority,
            headers,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn the_first_rule_wins_as_in_a_scan(
        matches in proptest::collection::vec(proptest::collection::vec(condition(), 0..3), 0..25),
        samples in proptest::collection::vec((sample(), 80u16..82), 1..20),
    ) {
        // A rule without alternatives takes everything; keep those rare, or nothing after the first is ever tried.
        let matches: Vec<_> = matches.into_iter().enumerate().filter(|(at, it)| !it.is_empty() || at % 7 == 6).map(|(_, it)| it).collect();
        let set = rules(&matches);
        for (sample, port) in &samples {
            let path = sample.path.split('?').next().unwrap_or_default().as_bytes();
            let found = set.first_match(&Subject { request: sample, path, port: *port });
            let found = found.map(|(rule, _)| rule.name.parse::<usize>().unwrap());
            prop_assert_eq!(found, slow(&matches, sample, *port), "{:?}", sample);
        }
    }
}

fn first(matches: &[Vec<HttpMatch>], path: &str) -> Option<(String, Matched)> {
    let sample = Sample { path: path.into(), ..Sample::default() };
    let set = rules(matches);
    let subject = Subject { request: &sample, path: path.as_bytes(), port: 80 };
    set.first_match(&subject).map(|(rule, matched)| (rule.name.to_string(), matched))
}

#[test]
fn what_was_matched_is_told() {
    let uri = |uri| vec![HttpMatch { uri: Some(uri), ..HttpMatch::default() }];
    let matches = [
        uri(StringMatch::Exact("/a".into())),
        uri(StringMatch::PathPrefix("/b/".into())),
        uri(StringMatch::Regex("/c.+".into())),
        uri(StringMatch::Prefix("/".into())),
    ];
    let taken = |path| first(&matches, path);
    assert_eq!(taken("/a"), Some(("0".into(), Matched::Whole)));
    assert_eq!(taken("/b"), Some(("1".into(), Matched::Segments(2))));
    assert_eq!(taken("/b/x"), Some(("1".into(), Matched::Segments(2))));
    assert_eq!(taken("/bx"), Some(("3".into(), Matched::Prefix(1))));
    assert_eq!(taken("/cx"), Some(("2".into(), Matched::Whole)));
    // Whole-string: neither a start nor a part of the path is enough.
    assert_eq!(taken("/x/cx"), Some(("3".into(), Matched::Prefix(1))));
    assert_eq!(taken("*"), None);
}
