mod tls;

use super::*;
use crate::config::model::{HttpAction, HttpMatch, HttpRule, StringMatch, WeightedDestination};

fn update(resource: Resource) -> Update {
    Update { version: "1".into(), resource }
}

fn to(host: &str, weight: u32) -> WeightedDestination {
    WeightedDestination { host: host.into(), port: Some(80), weight, ..Default::default() }
}

fn rule(edit: impl FnOnce(&mut HttpRule)) -> Resource {
    let mut rule = HttpRule {
        origin: "VirtualService/default/a spec.http[0]".into(),
        action: HttpAction::Route { destinations: vec![to("a", 1)] },
        ..HttpRule::default()
    };
    edit(&mut rule);
    Resource::VirtualHost(model::VirtualHost {
        name: "a".into(),
        origins: vec!["VirtualService/default/a".into()],
        http: vec![rule],
        ..Default::default()
    })
}

fn refusal(resource: Resource) -> String {
    let mut snapshot = Snapshot::new();
    let applied = snapshot.apply([update(resource)], []);
    match &applied.rejected[..] {
        [one] => one.reason.clone(),
        _ => panic!("{applied:?}"),
    }
}

#[test]
fn a_bad_object_is_refused_and_the_last_good_one_stays() {
    let mut snapshot = Snapshot::new();
    snapshot.apply([update(rule(|_| {}))], []);
    let good = Arc::clone(snapshot.virtual_hosts()["a"].body());
    let bad = rule(|rule| rule.action = HttpAction::DirectResponse { status: 99, body: None });
    let host = model::Host { name: "b".into(), ..Default::default() };
    let applied = snapshot.apply([update(bad), update(Resource::Host(host))], []);
    assert_eq!(
        applied.rejected,
        [Rejection {
            kind: Kind::VirtualHost,
            name: "a".into(),
            origins: vec!["VirtualService/default/a".into()],
            reason: "VirtualService/default/a spec.http[0]: directResponse.status: 99 is not in 200..=599"
                .into(),
        }]
    );
    assert_eq!(applied.accepted, [(Kind::Host, "b".to_owned())]);
    assert!(applied.changed);
    assert!(Arc::ptr_eq(&good, snapshot.virtual_hosts()["a"].body()));
}

#[test]
fn conditions_that_cannot_be_compiled_are_refused() {
    let with = |it: HttpMatch| refusal(rule(|rule| rule.matches = vec![it]));
    let regex = |text: &str| Some(StringMatch::Regex(text.into()));
    let reason = with(HttpMatch { uri: regex("("), ..Default::default() });
    assert!(reason.contains("spec.http[0]: match[0].uri: invalid regular expression"), "{reason}");
    let reason = with(HttpMatch { uri: regex("(a{1000}){1000}"), ..Default::default() });
    assert!(reason.contains("bytes when compiled"), "{reason}");
    // Closing the anchors' group must not smuggle an alternative past them.
    assert!(with(HttpMatch { uri: regex("a)|(b"), ..Default::default() }).contains("invalid regular"));
    let headers = |name: &str| [(name.to_owned(), None)].into();
    assert!(with(HttpMatch { headers: headers("End-User"), ..Default::default() }).contains("lower case"));
    assert!(
        with(HttpMatch { without_headers: headers("a b"), ..Default::default() }).contains("withoutHeaders")
    );
    let prefix = || Some(StringMatch::PathPrefix("/a".into()));
    assert!(with(HttpMatch { method: prefix(), ..Default::default() }).contains("anywhere but in uri"));
}

#[test]
fn headers_that_would_break_a_message_are_refused() {
    let set = |name: &str, value: &str| {
        refusal(rule(|rule| rule.headers.request.set = vec![(name.into(), value.into())]))
    };
    assert!(set("x", "a\r\nevil: 1").contains("control character"));
    assert!(set("x y", "a").contains("not a header name"));
    for name in ["Content-Length", "transfer-encoding", "connection", "upgrade", "TE", "trailer"] {
        assert!(set(name, "1").contains("frames the message"), "{name}");
    }
    let reason = refusal(rule(|rule| rule.headers.response.remove = vec!["transfer-encoding".into()]));
    assert!(reason.contains("headers.response.remove"), "{reason}");
    assert!(refusal(rule(|rule| rule.headers.request.remove = vec!["Host".into()])).contains("host"));
    // The authority may be set.
    let mut snapshot = Snapshot::new();
    let host = rule(|rule| rule.headers.request.set = vec![("Host".into(), "b".into())]);
    assert!(snapshot.apply([update(host)], []).rejected.is_empty());
}

#[test]
fn numbers_out_of_range_are_refused() {
    let route = |destinations| refusal(rule(|rule| rule.action = HttpAction::Route { destinations }));
    assert!(route(vec![]).contains("no destination"));
    assert!(route(vec![to("a", 0), to("b", 0)]).contains("sum to 0"));
    assert!(route(vec![to("a", u32::MAX), to("b", 1)]).contains("weights sum to 4294967296"));
    assert!(route(vec![to("", 1)]).contains("host: empty"));
    assert!(route(vec![to("a", 1); 300]).contains("at most 256"));
    assert!(refusal(rule(|rule| rule.timeout_ms = Some(u64::MAX))).contains("timeout"));
    let abort = model::FaultAbort { status: 99, per_million: 1 };
    let fault = model::FaultRule { delay: None, abort: Some(abort) };
    assert!(refusal(rule(|rule| rule.fault = Some(fault))).contains("fault.abort.httpStatus: 99"));
    let delay = model::FaultDelay { delay_ms: 1, per_million: 1_000_001 };
    let fault = model::FaultRule { delay: Some(delay), abort: None };
    assert!(refusal(rule(|rule| rule.fault = Some(fault))).contains("over 100 %"));
    let redirect = model::Redirect { code: 200, ..Default::default() };
    assert!(refusal(rule(|rule| rule.action = HttpAction::Redirect(redirect))).contains("redirectCode: 200"));
    let outlier = model::Outlier { max_ejection_percent: 101, ..Default::default() };
    let destination = model::Destination { name: "d".into(), outlier: Some(outlier), ..Default::default() };
    assert!(refusal(Resource::Destination(destination)).contains("maxEjectionPercent: 101"));
    let limit = model::Limit { requests: 1, ..Default::default() };
    let limit = model::RateLimit { name: "n/l".into(), limits: vec![limit], ..Default::default() };
    assert!(refusal(Resource::RateLimit(limit)).contains("limits[0].unit"));
    let host = model::Host { name: "h".into(), addresses: vec!["10.0.0.0/33".into()], ..Default::default() };
    assert!(refusal(Resource::Host(host)).contains("at most 32 bits"));
    let host = model::Host { name: "h".into(), domains: vec!["H:80".into()], ..Default::default() };
    assert!(refusal(Resource::Host(host)).contains("without port"));
}

#[test]
fn what_is_not_there_is_unknown_until_it_is_said_not_to_exist() {
    let mut snapshot = Snapshot::new();
    assert!(!snapshot.is_absent(Kind::VirtualHost, "a"));
    assert!(snapshot.apply([], [(Kind::VirtualHost, "a".into())]).changed);
    assert!(snapshot.is_absent(Kind::VirtualHost, "a"));
    assert!(snapshot.apply([update(rule(|_| {}))], []).changed);
    assert!(!snapshot.is_absent(Kind::VirtualHost, "a"));
    // The same body again, at a new version, changes nothing but the version.
    let again = Update { version: "2".into(), resource: rule(|_| {}) };
    assert!(!snapshot.apply([again], []).changed);
    assert_eq!(snapshot.versions(Kind::VirtualHost), [("a", "2")]);
    assert!(snapshot.forget(Kind::VirtualHost, "a"));
    assert!(!snapshot.is_absent(Kind::VirtualHost, "a"));
    snapshot.set_whole(true);
    assert!(snapshot.is_absent(Kind::VirtualHost, "a"));
}

#[test]
fn the_disk_copy_reads_back_as_it_was() {
    let mut snapshot = Snapshot::new();
    let proxy = model::Proxy { name: "sidecar~a.b".into(), ..Default::default() };
    snapshot.apply([update(rule(|_| {})), update(Resource::Proxy(proxy))], []);
    let saved = serde_json::to_string(&snapshot.saved()).unwrap();
    let mut copy = Snapshot::new();
    let applied = copy.apply(serde_json::from_str::<Vec<Update>>(&saved).unwrap(), []);
    assert!(applied.rejected.is_empty());
    assert_eq!(copy.saved(), snapshot.saved());
    assert_eq!(diff(&snapshot, &copy), []);
}

#[test]
fn wire_bodies_are_decoded_or_refused_by_name() {
    let decode = |json: &str| Update::decode(Kind::Host, "a", "7", json.as_bytes());
    let update = decode(r#"{"name":"a","domains":["a"],"somethingNewer":1}"#).unwrap();
    assert_eq!((update.version.as_str(), update.resource.name()), ("7", "a"));
    assert!(decode(r#"{"name":"b"}"#).unwrap_err().reason.contains("named \"b\""));
    assert!(decode("{").unwrap_err().to_string().starts_with("Host a: not JSON"));
}

#[test]
fn differences_name_objects_and_fields() {
    let (mut before, mut after) = (Snapshot::new(), Snapshot::new());
    let host = |name: &str| update(Resource::Host(model::Host { name: name.into(), ..Default::default() }));
    before.apply([host("gone"), update(rule(|_| {}))], []);
    after.apply([host("new"), update(rule(|rule| rule.timeout_ms = Some(5)))], []);
    let changes: Vec<String> = diff(&before, &after).iter().map(ToString::to_string).collect();
    assert_eq!(changes, ["~ VirtualHost a: http[0].timeoutMs", "- Host gone", "+ Host new"]);
}
