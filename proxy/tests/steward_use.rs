//! What a sidecar asks for when it is used, and the names it looks up: through the whole proxy.

mod steward_support;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use dromon_core::config::model::Kind;
use dromon_core::limits::FETCH_WAITERS_MAX;
use serde_json::{Value, json};
use steward_support::controller::{Controller, Link};
use steward_support::process::{Process, free_port, get_through, own_address};
use steward_support::{calling, destination, host, named_destination, origin, routing, until, within};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const ID: &str = "sidecar~productpage.default";

/// A sidecar with an outbound listener that knows these hosts, its controller and its stream.
async fn sidecar(dir: &Path, options: &[&str], hosts: &[Value]) -> (Process, Controller, Link, SocketAddr) {
    let mut controller = Controller::start(&dir.join("feed.sock"));
    let ip = own_address();
    let outbound = free_port(ip);
    let feed = format!("unix:{}", controller.path.display());
    let process = Process::start(dir, ID, ip, &[&["--feed", feed.as_str()], options].concat());
    let mut link = controller.link().await;
    let opening = link.opening(&[Kind::Proxy, Kind::RateLimit, Kind::Host]).await;
    assert_eq!(opening.len(), 3, "an unused sidecar asks for no bodies");
    link.send(Kind::Proxy, "1", &[calling(ID, outbound)], &[]);
    link.send_nothing(&[Kind::RateLimit]);
    link.send(Kind::Host, "1", hosts, &[]);
    process.ready().await;
    (process, controller, link, outbound)
}

#[tokio::test]
async fn a_first_request_fetches_rules_and_all_that_they_name_and_is_then_served() {
    let dir = tempfile::tempdir().expect("a directory");
    let hosts = [host("reviews", true), host("ratings", true)];
    let (_process, _controller, mut link, outbound) = sidecar(dir.path(), &[], &hosts).await;
    let upstream = origin("reviews v1").await;
    let answer = tokio::spawn(get_through(outbound, "reviews:9080"));
    assert_eq!(link.asked(&[Kind::VirtualHost]).await[&Kind::VirtualHost], ["reviews"]);
    let rules = link.send(Kind::VirtualHost, "1", &[routing("reviews", "v1")], &[]);
    let asked = link.asked(&[Kind::Destination, Kind::Endpoints]).await;
    let name = "outbound|9080|v1|reviews";
    assert_eq!(
        (&*asked[&Kind::Destination], &*asked[&Kind::Endpoints]),
        (&[name.into()][..], &[name.into()][..])
    );
    let [endpoints, of] = destination(name, "STATIC", upstream);
    link.send(Kind::Destination, "1", &[of], &[]);
    link.send(Kind::Endpoints, "1", &[endpoints], &[]);
    let answer = within("the answer", answer).await.expect("no panic").expect("an answer");
    assert_eq!(answer, (200, "reviews v1".into()));
    assert_eq!(link.answer(&rules).await, None, "the rules are acknowledged with their destinations");
}

#[tokio::test]
async fn a_host_without_rules_needs_one_destination_and_another_request_needs_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut two_ports = host("details", false);
    two_ports["ports"] = json!([{"number": 80, "protocol": "HTTP"}, {"number": 9080, "protocol": "HTTP"}]);
    let (process, _controller, mut link, outbound) = sidecar(dir.path(), &[], &[two_ports]).await;
    let upstream = origin("details").await;
    let first = tokio::spawn(get_through(outbound, "details:9080"));
    let second = tokio::spawn(get_through(outbound, "details:9080"));
    let asked = link.asked(&[Kind::Destination, Kind::Endpoints]).await;
    assert_eq!(asked[&Kind::Destination], ["outbound|9080||details"], "of the port in use");
    let [endpoints, of] = destination("outbound|9080||details", "STATIC", upstream);
    link.send(Kind::Endpoints, "1", &[endpoints], &[]);
    link.send(Kind::Destination, "1", &[of], &[]);
    for answer in [first, second] {
        let answer = within("the answer", answer).await.expect("no panic").expect("an answer");
        assert_eq!(answer, (200, "details".into()));
    }
    let before = process.config().await["version"].clone();
    assert_eq!(get_through(outbound, "details:9080").await, Some((200, "details".into())));
    assert_eq!(process.config().await["version"], before, "what is here is not fetched again");

    let (_, metrics) = process.get(process.admin, "/stats/prometheus").await.expect("an answer");
    let sample = metrics.lines().find(|line| line.starts_with("istio_requests_total{")).expect("a sample");
    assert!(sample.contains("response_code=\"200\"") && sample.ends_with(" 3"), "{sample}");
    assert!(metrics.contains("dromon_destination_requests{destination=\"outbound|9080||details\"} 0\n"));
    let (_, metrics) = process.get(process.admin, "/stats/prometheus").await.expect("an answer");
    assert!(metrics.contains(sample), "a scrape takes nothing away");
    let (_, page) = process.get(process.admin, "/stats").await.expect("an answer");
    let row = page.lines().find(|line| line.starts_with("outbound|9080||details")).expect("a row");
    assert_eq!(row.split_whitespace().nth(1), Some("3"), "{row}");
}

#[tokio::test]
async fn what_does_not_exist_is_answered_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_process, _controller, mut link, outbound) =
        sidecar(dir.path(), &[], &[host("reviews", true)]).await;
    let begun = Instant::now();
    let answer = tokio::spawn(get_through(outbound, "reviews:9080"));
    link.asked(&[Kind::VirtualHost]).await;
    link.send(Kind::VirtualHost, "1", &[routing("reviews", "v9")], &[]);
    link.asked(&[Kind::Destination, Kind::Endpoints]).await;
    let name = "outbound|9080|v9|reviews";
    link.send(Kind::Endpoints, "1", &[], &[name]);
    link.send(Kind::Destination, "1", &[], &[name]);
    let (status, _) = within("the answer", answer).await.expect("no panic").expect("an answer");
    assert_eq!(status, 503);
    assert!(begun.elapsed() < Duration::from_secs(2), "nobody waited for what will not come");
}

#[tokio::test]
async fn what_was_in_use_is_served_after_a_restart_without_a_controller() {
    let dir = tempfile::tempdir().expect("a directory");
    let state = dir.path().join("state").display().to_string();
    let options = ["--state-dir", state.as_str()];
    let (process, controller, mut link, outbound) =
        sidecar(dir.path(), &options, &[host("details", false)]).await;
    let upstream = origin("details").await;
    let answer = tokio::spawn(get_through(outbound, "details:9080"));
    link.asked(&[Kind::Destination, Kind::Endpoints]).await;
    let [endpoints, of] = destination("outbound|9080||details", "STATIC", upstream);
    link.send(Kind::Endpoints, "1", &[endpoints], &[]);
    link.send(Kind::Destination, "1", &[of], &[]);
    within("the answer", answer).await.expect("no panic").expect("an answer");
    let copy = Path::new(&state).join("last-good.json");
    until("the copy to have it", || async {
        let text = std::fs::read_to_string(&copy).ok()?;
        text.contains("outbound|9080||details").then_some(())
    })
    .await;
    drop(link);
    process.kill().await;
    controller.crash().await;
    let feed = format!("unix:{}", dir.path().join("feed.sock").display());
    let options = ["--feed", feed.as_str(), "--state-dir", state.as_str()];
    let process = Process::start(dir.path(), ID, own_address(), &options);
    process.ready().await;
    assert_eq!(get_through(outbound, "details:9080").await, Some((200, "details".into())));
    let mut controller = Controller::start(&dir.path().join("feed.sock"));
    let mut link = controller.link().await;
    let opening = link.opening(&[Kind::Host, Kind::Destination, Kind::Endpoints]).await;
    let asked = &opening[Kind::Destination.type_url()];
    assert_eq!(asked.resource_names_subscribe, ["outbound|9080||details"]);
    assert_eq!(asked.initial_resource_versions["outbound|9080||details"], "1");
}

#[tokio::test]
async fn names_are_looked_up_for_destinations_and_for_hosts_outside_the_index() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, ip) = (dir.path().join("config.json"), own_address());
    let (outbound, upstream) = (free_port(ip), origin("by name").await);
    let [endpoints, of] = named_destination("outbound|9080||external", "DNS", "localhost", upstream.port());
    let mut own = calling(ID, outbound);
    own["exposeReason"] = json!(true);
    let objects = json!([
        {"kind": "Proxy", "body": own},
        {"kind": "Host", "body": host("external", false)},
        {"kind": "Destination", "body": of},
        {"kind": "Endpoints", "body": endpoints},
    ]);
    std::fs::write(&path, objects.to_string()).expect("written");
    let process = Process::start(dir.path(), ID, ip, &["--config", &path.display().to_string()]);
    process.ready().await;
    let by_name = Some((200, "by name".to_owned()));
    assert_eq!(get_through(outbound, "external:9080").await, by_name, "{}", process.config().await);
    assert_eq!(get_through(outbound, format!("localhost:{}", upstream.port())).await, by_name);
    let (status, text) = get_through(outbound, "no-such-name.invalid:80").await.expect("an answer");
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("DNS has told no address of no-such-name.invalid"), "{text}");
}

#[tokio::test]
async fn the_access_log_is_written_and_follows_a_rotation() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, ip) = (dir.path().join("config.json"), own_address());
    let (log, rotated) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
    let (outbound, upstream) = (free_port(ip), origin("logged").await);
    let [endpoints, of] = destination("outbound|9080||details", "STATIC", upstream);
    let mut own = calling(ID, outbound);
    own["accessLog"] = json!({"path": log});
    let objects = json!([
        {"kind": "Proxy", "body": own},
        {"kind": "Host", "body": host("details", false)},
        {"kind": "Destination", "body": of},
        {"kind": "Endpoints", "body": endpoints},
    ]);
    std::fs::write(&path, objects.to_string()).expect("written");
    let process = Process::start(dir.path(), ID, ip, &["--config", &path.display().to_string()]);
    process.ready().await;
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap_or_default().lines().count();
    assert_eq!(get_through(outbound, "details:9080").await, Some((200, "logged".into())));
    until("a line", || async { (lines(&log) == 1).then_some(()) }).await;
    let text = std::fs::read_to_string(&log).expect("readable");
    assert!(text.contains("\"GET / HTTP/1.1\" 200") && text.contains("details:9080"), "{text}");
    std::fs::rename(&log, &rotated).expect("moved");
    process.signal("USR1");
    until("the new file to be written", || async {
        get_through(outbound, "details:9080").await?;
        (lines(&log) > 0).then_some(())
    })
    .await;
    assert!(lines(&rotated) >= 1);
}

#[tokio::test]
async fn waits_for_rules_have_a_cap_beyond_which_requests_are_answered_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = ["--shards", "1"];
    let (process, _controller, mut link, outbound) =
        sidecar(dir.path(), &options, &[host("reviews", true)]).await;
    let mut waiting = Vec::new();
    for _ in 0..FETCH_WAITERS_MAX {
        let mut stream = TcpStream::connect(outbound).await.expect("the sidecar listens");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: reviews:9080\r\n\r\n").await.expect("open");
        waiting.push(stream);
    }
    let metric = async |name: &str| {
        let (_, metrics) = process.get(process.admin, "/stats/prometheus").await.expect("an answer");
        let line = metrics.lines().find(|line| line.starts_with(name)).expect("the metric");
        line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok()).expect("a number")
    };
    until("all of them to wait", || async {
        (metric("dromon_route_waits_active").await == FETCH_WAITERS_MAX).then_some(())
    })
    .await;
    assert_eq!(metric("dromon_route_waits_refused_total").await, 0);
    let (status, _) = get_through(outbound, "reviews:9080").await.expect("an answer");
    assert_eq!((status, metric("dromon_route_waits_refused_total").await), (503, 1));

    // A client that leaves gives its place to another.
    drop(waiting.pop());
    until("its place to be free", || async {
        (metric("dromon_route_waits_active").await < FETCH_WAITERS_MAX).then_some(())
    })
    .await;
    let answer = tokio::spawn(get_through(outbound, "reviews:9080"));
    assert_eq!(link.asked(&[Kind::VirtualHost]).await[&Kind::VirtualHost], ["reviews"]);
    let direct = json!({
        "name": "reviews", "origins": ["VirtualService/default/reviews"],
        "http": [{"action": {"type": "directResponse", "status": 200, "body": "here"}}],
    });
    link.send(Kind::VirtualHost, "1", &[direct], &[]);
    let answer = within("the answer", answer).await.expect("no panic").expect("an answer");
    assert_eq!(answer, (200, "here".into()), "who waits is served");
}

#[tokio::test]
async fn what_no_request_needs_for_long_is_forgotten_and_fetched_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let hosts = [host("details", false), host("ratings", false)];
    let (process, _controller, mut link, outbound) =
        sidecar(dir.path(), &["--forget-after", "1"], &hosts).await;
    let upstream = origin("answer").await;
    let of = |host: &str| format!("outbound|9080||{host}");
    let provide = |link: &mut Link, host: &str, version: &str| {
        let [endpoints, destination] = destination(&of(host), "STATIC", upstream);
        link.send(Kind::Endpoints, version, &[endpoints], &[]);
        link.send(Kind::Destination, version, &[destination], &[]);
    };
    for host in ["details", "ratings"] {
        let answer = tokio::spawn(get_through(outbound, format!("{host}:9080")));
        assert_eq!(link.asked(&[Kind::Destination, Kind::Endpoints]).await[&Kind::Destination], [of(host)]);
        provide(&mut link, host, "1");
        assert_eq!(within("the answer", answer).await.expect("no panic"), Some((200, "answer".into())));
    }
    // One goes on being used, the other does not.
    let users = tokio::spawn(async move {
        loop {
            assert_eq!(get_through(outbound, "details:9080").await, Some((200, "answer".into())));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut left = std::collections::HashMap::new();
    while left.len() < 2 {
        let request = link.request().await;
        assert_eq!(request.resource_names_subscribe, Vec::<String>::new(), "what is used stays");
        if !request.resource_names_unsubscribe.is_empty() {
            left.insert(
                Kind::from_type_url(&request.type_url).expect("known"),
                request.resource_names_unsubscribe,
            );
        }
    }
    assert_eq!(left[&Kind::Destination], [of("ratings")]);
    assert_eq!(left[&Kind::Endpoints], [of("ratings")]);
    let held = until("the objects to be gone", || async {
        let config = process.config().await;
        let held = config["destinations"].as_array()?.clone();
        (held.len() == 1).then_some(held)
    })
    .await;
    assert!(held[0].to_string().contains(&of("details")), "{held:?}");
    let answer = tokio::spawn(get_through(outbound, "ratings:9080"));
    assert_eq!(link.asked(&[Kind::Destination, Kind::Endpoints]).await[&Kind::Destination], [of("ratings")]);
    provide(&mut link, "ratings", "2");
    assert_eq!(within("the answer", answer).await.expect("no panic"), Some((200, "answer".into())));
    assert!(!users.is_finished(), "and the other never missed anything");
    users.abort();
}
