//! The feed, against a scripted controller: what a proxy asks for, what it acknowledges and when, what it does when the
//! controller goes away and comes back.

mod steward_support;

use std::net::{SocketAddr, TcpListener};

use dromon_core::config::model::Kind;
use serde_json::json;
use steward_support::controller::{Controller, Link};
use steward_support::process::{Process, free_port, own_address};
use steward_support::{answering, host, proxy, until};

const SIDECAR: &str = "sidecar~reviews.default";
const GATEWAY: &str = "gateway~ingress.default";
const ALWAYS: [Kind; 3] = [Kind::Proxy, Kind::RateLimit, Kind::Host];

/// Answers a new stream of a sidecar: its listeners, this index, no limits.
fn introduce(link: &mut Link, listeners: &[(&str, SocketAddr)], hosts: &[serde_json::Value]) -> [String; 2] {
    let proxy = link.send(Kind::Proxy, "1", &[proxy(SIDECAR, listeners)], &[]);
    link.send_nothing(&[Kind::RateLimit]);
    [proxy, link.send(Kind::Host, "1", hosts, &[])]
}

#[tokio::test]
async fn a_sidecar_asks_for_the_index_and_acknowledges_what_is_in_force() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut controller = Controller::start(&dir.path().join("feed.sock"));
    let ip = own_address();
    let feed = format!("unix:{}", controller.path.display());
    let process = Process::start(dir.path(), SIDECAR, ip, &["--feed", &feed]);
    let mut link = controller.link().await;
    let opening = link.opening(&ALWAYS).await;
    let nodes: Vec<_> = opening.values().filter_map(|request| request.node.as_ref()).collect();
    assert_eq!(nodes.iter().map(|node| node.id.as_str()).collect::<Vec<_>>(), [SIDECAR]);
    assert!(opening.values().all(|request| request.resource_names_subscribe == ["*"]));
    process.not_ready("no configuration yet").await;

    let inbound = free_port(ip);
    let [proxy_nonce, hosts] = introduce(&mut link, &[("inbound/9080", inbound)], &[host("reviews", false)]);
    assert_eq!(link.answer(&proxy_nonce).await, None, "an ACK");
    assert_eq!(link.answer(&hosts).await, None, "an ACK");
    process.ready().await;
    assert_eq!(process.config().await["listeners"]["inbound/9080"]["address"], inbound.to_string());
    assert!(TcpListener::bind(inbound).is_err(), "the proxy listens there");

    let second = free_port(ip);
    let moved = link.send(Kind::Proxy, "2", &[proxy(SIDECAR, &[("inbound/9090", second)])], &[]);
    assert_eq!(link.answer(&moved).await, None);
    assert!(TcpListener::bind(second).is_err(), "an ACK says that the new listener listens");
    TcpListener::bind(inbound).expect("and that the old one is closed");
    let removed = link.send(Kind::Host, "2", &[], &["reviews"]);
    assert_eq!(link.answer(&removed).await, None);
    assert_eq!(process.config().await["hosts"], json!([]));
}

#[tokio::test]
async fn a_refused_object_is_named_with_its_origins_and_the_rest_applies() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut controller = Controller::start(&dir.path().join("feed.sock"));
    let ip = own_address();
    let feed = format!("unix:{}", controller.path.display());
    let process = Process::start(dir.path(), GATEWAY, ip, &["--feed", &feed]);
    let mut link = controller.link().await;
    let opening = link.opening(&Kind::ALL).await;
    assert!(opening.values().all(|request| request.resource_names_subscribe == ["*"]), "a gateway wants all");
    let at = free_port(ip);
    link.send(Kind::Proxy, "1", &[proxy(GATEWAY, &[("gateway/80", at)])], &[]);
    let good = answering("gateway/80", "good.example", "good");
    let first = link.send(Kind::VirtualHost, "1", std::slice::from_ref(&good), &[]);
    let others = [Kind::Credential, Kind::RateLimit, Kind::Endpoints, Kind::Destination, Kind::Host];
    link.send_nothing(&others);
    assert_eq!(link.answer(&first).await, None);

    let mut broken = answering("gateway/80", "good.example", "changed");
    broken["http"][0]["matches"] = json!([{"uri": {"regex": "("}}]);
    let other = answering("gateway/80", "other.example", "other");
    let second = link.send(Kind::VirtualHost, "2", &[broken, other], &[]);
    let refusal = link.answer(&second).await.expect("a NACK");
    assert_eq!(refusal.lines().count(), 1, "{refusal}");
    assert!(refusal.starts_with("VirtualHost gateway/80/good.example: "), "{refusal}");
    assert!(refusal.ends_with("(from VirtualService/default/changed)"), "{refusal}");
    let config = process.config().await;
    let names: Vec<_> =
        config["virtualHosts"].as_array().expect("a list").iter().map(|it| &it["origins"][0]).collect();
    assert_eq!(names, ["VirtualService/default/good", "VirtualService/default/other"]);
    assert_eq!(config["refused"].as_array().map(Vec::len), Some(1));

    let third = link.send(Kind::VirtualHost, "3", &[good], &[]);
    assert_eq!(link.answer(&third).await, None);
    assert_eq!(process.config().await["refused"], json!([]));
}

#[tokio::test]
async fn a_taken_port_is_told_and_taken_over_once_it_is_free() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut controller = Controller::start(&dir.path().join("feed.sock"));
    let ip = own_address();
    let feed = format!("unix:{}", controller.path.display());
    let taken = TcpListener::bind((ip, 0)).expect("a port");
    let (theirs, ours) = (taken.local_addr().expect("bound"), free_port(ip));
    let process = Process::start(dir.path(), SIDECAR, ip, &["--feed", &feed]);
    let mut link = controller.link().await;
    let [proxy_nonce, _] = introduce(&mut link, &[("inbound/1", theirs), ("inbound/2", ours)], &[]);
    let refusal = link.answer(&proxy_nonce).await.expect("a NACK");
    assert!(refusal.contains(&format!("listener inbound/1 cannot listen on {theirs}")), "{refusal}");
    assert_eq!(refusal.lines().count(), 1, "{refusal}");
    process.ready().await;
    assert!(TcpListener::bind(ours).is_err(), "the other listener listens");
    assert!(process.stderr().contains("another process listens there"), "{}", process.stderr());
    drop(taken);
    until("the listener to open", || async {
        let config = process.config().await;
        config["listeners"]["inbound/1"]["error"].is_null().then_some(())
    })
    .await;
    assert!(TcpListener::bind(theirs).is_err());
}

#[tokio::test]
async fn a_reconnect_resumes_with_the_versions_in_hand() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("feed.sock");
    let mut controller = Controller::start(&path);
    let ip = own_address();
    let feed = format!("unix:{}", path.display());
    let process = Process::start(dir.path(), SIDECAR, ip, &["--feed", &feed]);
    let mut link = controller.link().await;
    let inbound = free_port(ip);
    let [_, hosts] = introduce(&mut link, &[("inbound/1", inbound)], &[host("a", false), host("b", false)]);
    assert_eq!(link.answer(&hosts).await, None);
    process.ready().await;
    drop(link);
    controller.crash().await;
    until("the loss to be noticed", || async {
        (process.config().await["feed"]["connected"] == false).then_some(())
    })
    .await;
    process.ready().await;
    assert!(TcpListener::bind(inbound).is_err(), "the configuration stays");

    let mut controller = Controller::start(&path);
    let mut link = controller.link().await;
    let opening = link.opening(&ALWAYS).await;
    let versions = |kind: Kind| {
        let mut versions: Vec<_> =
            opening[kind.type_url()].initial_resource_versions.clone().into_iter().collect();
        versions.sort();
        versions
    };
    assert_eq!(versions(Kind::Host), [("a".into(), "1".into()), ("b".into(), "1".into())]);
    assert_eq!(versions(Kind::Proxy), [(SIDECAR.into(), "1".into())]);
    let removed = link.send(Kind::Host, "2", &[], &["b"]);
    assert_eq!(link.answer(&removed).await, None);
    let config = process.config().await;
    assert_eq!(config["hosts"].as_array().map(Vec::len), Some(1));
    assert_eq!(config["hosts"][0]["name"], "a");
}

#[tokio::test]
async fn a_proxy_restarts_from_its_copy_on_disk_without_a_controller() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("feed.sock");
    let state = dir.path().join("state");
    let (feed, state_dir) = (format!("unix:{}", path.display()), state.display().to_string());
    let options = ["--feed", feed.as_str(), "--state-dir", state_dir.as_str()];
    let ip = own_address();
    let inbound = free_port(ip);
    let mut controller = Controller::start(&path);
    let process = Process::start(dir.path(), SIDECAR, ip, &options);
    let mut link = controller.link().await;
    introduce(&mut link, &[("inbound/1", inbound)], &[host("a", false)]);
    let copy = state.join("last-good.json");
    until("the copy", || async { copy.exists().then_some(()) }).await;
    drop(link);
    process.kill().await;
    controller.crash().await;

    let process = Process::start(dir.path(), SIDECAR, ip, &options);
    process.ready().await;
    let config = process.config().await;
    assert_eq!(config["hosts"][0]["name"], "a");
    assert_eq!(config["feed"]["connected"], false);
    assert!(TcpListener::bind(inbound).is_err());
    let mut controller = Controller::start(&path);
    let mut link = controller.link().await;
    let opening = link.opening(&ALWAYS).await;
    assert_eq!(opening[Kind::Host.type_url()].initial_resource_versions["a"], "1");
    process.kill().await;
    controller.crash().await;

    let mut damaged = std::fs::read(&copy).expect("a copy");
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(&copy, damaged).expect("written");
    let process = Process::start(dir.path(), SIDECAR, ip, &options);
    process.not_ready("no configuration yet").await;
    assert!(process.stderr().contains("is damaged"), "{}", process.stderr());
    let mut controller = Controller::start(&path);
    let mut link = controller.link().await;
    introduce(&mut link, &[("inbound/1", inbound)], &[]);
    process.ready().await;
}
