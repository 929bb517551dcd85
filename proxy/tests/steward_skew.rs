//! A controller of another version of the feed, two ahead or two behind: what the proxy knows works, and what it does not know harms
//! nothing.

mod steward_support;

use std::net::SocketAddr;
use std::path::Path;

use dromon_core::config::model::Kind;
use dromon_core::config::wire::{Any, DeltaResponse, Resource};
use serde_json::{Value, json};
use steward_support::controller::{Controller, Link};
use steward_support::process::{Process, free_port, own_address, request_for};
use steward_support::{answering, proxy};

const GATEWAY: &str = "gateway~ingress.default";

/// A gateway with a listener at an address, and a stream on which it has asked for everything.
async fn gateway(dir: &Path) -> (Process, Controller, Link, SocketAddr) {
    let mut controller = Controller::start(&dir.join("feed.sock"));
    let ip = own_address();
    let feed = format!("unix:{}", controller.path.display());
    let process = Process::start(dir, GATEWAY, ip, &["--feed", &feed]);
    let mut link = controller.link().await;
    link.opening(&Kind::ALL).await;
    (process, controller, link, free_port(ip))
}

/// The same with fields that nobody knows here, at every depth.
fn newer(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.values_mut().for_each(|it| *it = newer(it.take()));
            fields.insert("ofALaterVersion".into(), json!({"mode": "NEW", "list": [1, {"a": null}]}));
        }
        Value::Array(items) => items.iter_mut().for_each(|it| *it = newer(it.take())),
        _ => {}
    }
    value
}

async fn says(at: SocketAddr, host: &str) -> Option<(u16, String)> {
    request_for(at, host, "GET", "/").await
}

#[tokio::test]
async fn of_a_newer_controller_fields_and_types_that_are_unknown_are_passed_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let (process, _controller, mut link, at) = gateway(dir.path()).await;
    let own = link.send(Kind::Proxy, "1", &[newer(proxy(GATEWAY, &[("gateway/80", at)]))], &[]);
    let one = newer(answering("gateway/80", "one.example", "one"));
    let rules = link.send(Kind::VirtualHost, "1", &[one], &[]);
    link.send_nothing(&[Kind::Credential, Kind::RateLimit, Kind::Endpoints, Kind::Destination, Kind::Host]);
    assert_eq!(link.answer(&own).await, None);
    assert_eq!(link.answer(&rules).await, None);
    process.ready().await;
    assert_eq!(says(at, "one.example").await, Some((200, "one".into())));

    // A type that nobody has asked for is refused as a whole, and the stream stands.
    let url = "type.dromon.io/v3.Weather";
    let resource = Any { type_url: url.into(), value: bytes::Bytes::from_static(b"{}") };
    let resource = Resource { version: "1".into(), name: "a".into(), resource: Some(resource) };
    link.send_response(DeltaResponse {
        system_version_info: "2".into(),
        resources: vec![resource],
        type_url: url.into(),
        nonce: "of-weather".into(),
        removed_resources: vec!["b".into()],
    });
    let refusal = link.answer("of-weather").await.expect("a NACK");
    assert!(refusal.contains(url) && refusal.contains("knows no such type"), "{refusal}");

    // What a rule is to do in a way that is unknown refuses that one object: its last good version stays, the others apply.
    let mut unknown = answering("gateway/80", "one.example", "changed");
    unknown["http"][0]["action"] = json!({"type": "teleport", "to": "elsewhere"});
    let two = newer(answering("gateway/80", "two.example", "two"));
    let second = link.send(Kind::VirtualHost, "2", &[unknown, two], &[]);
    let refusal = link.answer(&second).await.expect("a NACK");
    assert!(refusal.starts_with("VirtualHost gateway/80/one.example: "), "{refusal}");
    assert_eq!(refusal.lines().count(), 1, "{refusal}");
    assert_eq!(says(at, "one.example").await, Some((200, "one".into())));
    assert_eq!(says(at, "two.example").await, Some((200, "two".into())));
}

#[tokio::test]
async fn of_an_older_controller_types_that_it_does_not_know_are_not_waited_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let (process, _controller, mut link, at) = gateway(dir.path()).await;
    // No word about RateLimit, Credential and Host, which it has never heard of; of the others, no more than had to be said ever.
    let listener = json!({"name": "gateway/80", "address": at, "logicalPort": at.port(), "kind": {"type": "gatewayHttp"}});
    link.send(Kind::Proxy, "1", &[json!({"name": GATEWAY, "role": "Gateway", "listeners": [listener]})], &[]);
    link.send_nothing(&[Kind::Endpoints, Kind::Destination]);
    let action = json!({"type": "directResponse", "status": 200, "body": "old"});
    let rules = json!({
        "name": "gateway/80/*", "listener": "gateway/80", "domains": ["*"], "http": [{"action": action}],
    });
    let sent = link.send(Kind::VirtualHost, "1", &[rules], &[]);
    assert_eq!(link.answer(&sent).await, None);
    process.ready().await;
    assert_eq!(says(at, "any.example").await, Some((200, "old".into())));
}
