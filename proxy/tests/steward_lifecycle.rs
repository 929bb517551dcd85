//! Starting, being asked, being told to end.

mod steward_support;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::json;
use steward_support::process::{Process, free_port, get_through, own_address, request, request_for};
use steward_support::{calling, destination, host, proxy, until, within};
use tokio::io::AsyncReadExt;

const SIDECAR: &str = "sidecar~reviews.default";

fn file(objects: &[(&str, serde_json::Value)]) -> String {
    let objects: Vec<_> = objects.iter().map(|(kind, body)| json!({"kind": kind, "body": body})).collect();
    serde_json::to_string(&objects).expect("JSON")
}

#[tokio::test]
async fn a_file_is_followed_and_a_broken_one_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("config.json");
    let ip = own_address();
    let inbound = free_port(ip);
    let own = proxy(SIDECAR, &[("inbound/1", inbound)]);
    std::fs::write(&path, file(&[("Proxy", own.clone()), ("Host", host("a", false))])).expect("written");
    let process = Process::start(dir.path(), SIDECAR, ip, &["--config", &path.display().to_string()]);
    process.ready().await;
    let line = process.stderr();
    assert!(line.contains(&format!("inbound/1 on {inbound}")), "{line}");
    let hosts = |config: serde_json::Value| config["hosts"].as_array().map(Vec::len);
    assert_eq!(hosts(process.config().await), Some(1));

    std::fs::write(&path, "[{").expect("written");
    until("a word about the broken file", || async {
        process.stderr().contains("configuration refused").then_some(())
    })
    .await;
    assert_eq!(hosts(process.config().await), Some(1));

    let two = file(&[("Proxy", own), ("Host", host("a", false)), ("Host", host("b", false))]);
    std::fs::write(&path, two).expect("written");
    until("the change", || async { (hosts(process.config().await) == Some(2)).then_some(()) }).await;
}

#[tokio::test]
async fn the_admin_pages_answer_and_refuse() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("config.json");
    let ip = own_address();
    std::fs::write(&path, file(&[("Proxy", proxy(SIDECAR, &[]))])).expect("written");
    let (stats, metrics) = (free_port(ip), free_port(ip));
    let (stats_text, metrics_text) = (stats.to_string(), metrics.to_string());
    let process = Process::start(
        dir.path(),
        SIDECAR,
        ip,
        &[
            "--config",
            &path.display().to_string(),
            "--stats-addr",
            &stats_text,
            "--metrics-addr",
            &metrics_text,
        ],
    );
    process.ready().await;
    for address in [process.admin, stats, metrics] {
        let (status, body) = request(address, "GET", "/stats/prometheus").await.expect("an answer");
        assert_eq!(status, 200);
        assert!(body.contains("\ndromon_ready 1\n"), "{body}");
        assert!(body.contains("dromon_shard_driver_info{shard=\"1\",driver="), "{body}");
    }
    for (address, method, path, wanted) in [
        (process.admin, "GET", "/help", 200),
        (process.admin, "GET", "/nowhere", 404),
        (process.admin, "GET", "/quitquitquit", 405),
        (process.admin, "POST", "/config", 405),
        (process.health, "GET", "/config", 404),
        (process.health, "POST", "/quitquitquit", 404),
        (stats, "POST", "/drain", 404),
        (metrics, "GET", "/healthz/ready", 200),
    ] {
        let (status, body) = request(address, method, path).await.expect("an answer");
        assert_eq!(status, wanted, "{method} {path}: {body}");
    }
    for (host, wanted) in
        [("evil.example", 403), ("localhost", 200), ("127.0.0.1:15000", 200), ("[::1]", 200)]
    {
        let (status, _) = request_for(process.admin, host, "GET", "/config").await.expect("an answer");
        assert_eq!(status, wanted, "{host}: only this machine's own names are answered");
    }
    let (_, json) = request(process.admin, "GET", "/stats?format=json").await.expect("an answer");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["ready"], true);
    assert_eq!(json["shards"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_drain_takes_readiness_away_and_a_quit_ends_the_process() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("config.json");
    let ip = own_address();
    std::fs::write(&path, file(&[("Proxy", proxy(SIDECAR, &[]))])).expect("written");
    let mut process = Process::start(dir.path(), SIDECAR, ip, &["--config", &path.display().to_string()]);
    process.ready().await;
    assert_eq!(request(process.admin, "POST", "/drain").await.expect("an answer").0, 200);
    process.not_ready("draining").await;
    assert!(process.child.try_wait().expect("a child").is_none(), "a drain does not end the process");
    assert_eq!(request(process.admin, "POST", "/quitquitquit").await.expect("an answer").0, 200);
    assert_eq!(process.end().await, 0);
}

#[tokio::test]
async fn sigterm_ends_a_proxy_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("config.json");
    let ip = own_address();
    std::fs::write(&path, file(&[("Proxy", proxy(SIDECAR, &[]))])).expect("written");
    let mut process = Process::start(dir.path(), SIDECAR, ip, &["--config", &path.display().to_string()]);
    process.ready().await;
    process.signal("TERM");
    assert_eq!(process.end().await, 0);
    assert!(process.stderr().contains("drained"), "{}", process.stderr());
}

/// A sidecar with one request under way that is never answered.
async fn busy(dir: &std::path::Path, drain_seconds: &str) -> (Process, tokio::net::TcpListener) {
    let (path, ip) = (dir.join("config.json"), own_address());
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let outbound = free_port(ip);
    let name = "outbound|9080||silent";
    let [endpoints, of] = destination(name, "STATIC", silent.local_addr().expect("bound"));
    let objects = [
        ("Proxy", calling(SIDECAR, outbound)),
        ("Host", host("silent", false)),
        ("Destination", of),
        ("Endpoints", endpoints),
    ];
    std::fs::write(&path, file(&objects)).expect("written");
    let options = ["--config", &path.display().to_string(), "--drain-seconds", drain_seconds];
    let process = Process::start(dir, SIDECAR, ip, &options);
    process.ready().await;
    tokio::spawn(get_through(outbound, "silent:9080"));
    let (mut connection, _) = within("the request", silent.accept()).await.expect("a connection");
    tokio::spawn(async move {
        let mut buffer = [0; 1024];
        while let Ok(1..) = connection.read(&mut buffer).await {}
    });
    (process, silent)
}

#[tokio::test]
async fn a_drain_waits_for_what_is_under_way_until_its_time_is_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut process, _silent) = busy(dir.path(), "1").await;
    let begun = Instant::now();
    process.signal("TERM");
    process.not_ready("draining").await;
    assert_eq!(process.end().await, 0);
    assert!(begun.elapsed() >= Duration::from_secs(1), "it waited");
}

#[tokio::test]
async fn a_second_signal_ends_a_drain_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut process, _silent) = busy(dir.path(), "3600").await;
    process.signal("TERM");
    process.not_ready("draining").await;
    assert!(process.child.try_wait().expect("a child").is_none());
    process.signal("INT");
    assert_eq!(process.end().await, 130);
}

#[tokio::test]
async fn wrong_settings_end_the_process_with_a_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    let ip = own_address();
    let taken = TcpListener::bind((ip, 0)).expect("a port");
    let taken = taken.local_addr().map(|address| (taken, address.to_string())).expect("bound");
    for (id, options, text) in [
        ("reviews", vec!["--feed", "unix:/nonexistent"], "sidecar~NAME.NAMESPACE"),
        (SIDECAR, vec!["--feed", "tcp:localhost"], "unix:PATH"),
        (SIDECAR, vec!["--feed", "unix:/nonexistent", "--stats-addr", &taken.1], "cannot listen on"),
    ] {
        let mut process = Process::start(dir.path(), id, ip, &options);
        assert_ne!(process.end().await, 0);
        assert!(process.stderr().contains(text), "{}", process.stderr());
    }
}
