use dromon_core::config::model::{Destination, Endpoints, Resource, Role, VirtualHost};
use dromon_core::config::wire::{Any, Resource as WireResource};

use super::*;
use crate::steward::feed::interest::Known;

struct OneRoutedHost;

impl Known for OneRoutedHost {
    fn host(&self, name: &str) -> Option<&dromon_core::config::model::Host> {
        static HOST: std::sync::OnceLock<dromon_core::config::model::Host> = std::sync::OnceLock::new();
        (name == "reviews").then(|| {
            HOST.get_or_init(|| dromon_core::config::model::Host {
                name: "reviews".into(),
                routed: true,
                ..Default::default()
            })
        })
    }
    fn virtual_host(&self, _: &str) -> Option<&VirtualHost> {
        None
    }
    fn destination(&self, _: &str) -> Option<&Destination> {
        None
    }
}

fn sidecar(in_use: &[&str]) -> Interest {
    let in_use = in_use.iter().map(|name| (Kind::VirtualHost, (*name).to_owned())).collect();
    Interest::of(Role::Sidecar, &in_use, &OneRoutedHost)
}

fn wire(name: &str, json: &str) -> WireResource {
    WireResource {
        version: "7".into(),
        name: name.into(),
        resource: Some(Any { type_url: String::new(), value: json.to_owned().into() }),
    }
}

fn response(kind: Kind, resources: Vec<WireResource>) -> DeltaResponse {
    DeltaResponse {
        type_url: kind.type_url().into(),
        nonce: "n1".into(),
        resources,
        removed_resources: vec!["gone".into()],
        ..DeltaResponse::default()
    }
}

#[test]
fn a_stream_opens_with_the_node_once_and_the_versions_in_hand() {
    let (_, requests) = Session::open("sidecar~a.b", &sidecar(&["reviews"]), |kind| match kind {
        Kind::Host => vec![("reviews".into(), "3".into())],
        Kind::VirtualHost => vec![("reviews".into(), "4".into()), ("unused".into(), "5".into())],
        _ => Vec::new(),
    });
    let nodes: Vec<_> = requests.iter().filter_map(|request| request.node.as_ref()).collect();
    assert_eq!(nodes.len(), 1);
    assert_eq!(requests[0].node.as_ref().map(|node| node.id.as_str()), Some("sidecar~a.b"));
    let of = |kind: Kind| requests.iter().find(|request| request.type_url == kind.type_url()).expect("asked");
    assert_eq!(of(Kind::Host).resource_names_subscribe, ["*"]);
    assert_eq!(of(Kind::Host).initial_resource_versions["reviews"], "3");
    assert_eq!(of(Kind::VirtualHost).resource_names_subscribe, ["reviews"]);
    assert_eq!(of(Kind::VirtualHost).initial_resource_versions.len(), 1, "what is not wanted is not named");
    assert!(!requests.iter().any(|request| request.type_url == Kind::Destination.type_url()));
}

#[test]
fn a_changed_interest_travels_as_a_difference() {
    let (mut session, _) = Session::open("sidecar~a.b", &sidecar(&[]), |_| Vec::new());
    let requests = session.subscribe(&sidecar(&["reviews"]));
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].resource_names_subscribe, ["reviews"]);
    assert!(requests[0].response_nonce.is_empty());
    assert!(session.subscribe(&sidecar(&["reviews"])).is_empty(), "nothing is asked twice");
    let requests = session.subscribe(&sidecar(&[]));
    assert_eq!(requests[0].resource_names_unsubscribe, ["reviews"]);
}

#[test]
fn a_response_is_read_object_by_object() {
    let good = wire("outbound|80||a", r#"{"name":"outbound|80||a","endpoints":[],"fieldOfTomorrow":1}"#);
    let broken = wire("outbound|80||b", r#"{"name":"outbound|80||b","endpoints":7}"#);
    let misnamed = wire("outbound|80||c", r#"{"name":"outbound|80||d"}"#);
    let update = read(response(Kind::Endpoints, vec![good, broken, misnamed])).expect("a known type");
    assert_eq!(update.removed, ["gone"]);
    assert_eq!(
        update.changed,
        [Update {
            version: "7".into(),
            resource: Resource::Endpoints(Endpoints { name: "outbound|80||a".into(), endpoints: Vec::new() }),
        }]
    );
    let names: Vec<_> = update.unreadable.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["outbound|80||b", "outbound|80||c"]);
    assert!(update.unreadable[1].reason.contains("outbound|80||d"));
}

#[test]
fn an_unknown_type_is_refused_by_its_nonce() {
    let unknown =
        DeltaResponse { type_url: "type.dromon.io/v9.New".into(), nonce: "n9".into(), ..Default::default() };
    let nack = read(unknown).expect_err("no such type");
    assert_eq!((nack.type_url.as_str(), nack.response_nonce.as_str()), ("type.dromon.io/v9.New", "n9"));
    assert!(nack.error_detail.is_some());
}

#[test]
fn a_nack_has_one_line_for_each_refused_object_with_its_origins() {
    let rejection = |kind, name: &str, reason: &str, origins: &[&str]| Rejection {
        kind,
        name: name.into(),
        reason: reason.into(),
        origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
    };
    let lines = [
        line(&rejection(
            Kind::VirtualHost,
            "reviews",
            "bad regex:\n  (",
            &["VirtualService/default/reviews"],
        )),
        line(&rejection(Kind::Endpoints, "outbound|80||a", "no such address", &[])),
    ];
    let nack = refuse(Kind::VirtualHost, "n3".into(), &lines);
    let detail = nack.error_detail.expect("a NACK has an error");
    assert_eq!(detail.code, INVALID_ARGUMENT);
    assert_eq!(
        detail.message,
        "VirtualHost reviews: bad regex:;   ( (from VirtualService/default/reviews)\n\
         Endpoints outbound|80||a: no such address"
    );
    assert_eq!(acknowledge(Kind::Host, "n4".into()).error_detail, None);
}
