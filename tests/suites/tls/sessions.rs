//! What a gateway remembers of a session, and what it never shows of a key.

use dromon_core::config::model::{Resource, TlsMode};
use dromon_tests::certs::WebCa;
use dromon_tests::http::get;
use dromon_tests::origin::Origin;

use crate::gateway::{curl, s_client, settings, start, text};

const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

/// A client that comes back with its session goes on with it, in either version; one without makes a new one.
pub fn resumed(driver: &str) {
    let origin = Origin::start("application");
    let ca = WebCa::new();
    ca.issue("exact", "DNS:a.example");
    let tls = vec![settings("a.example", TlsMode::Simple, "exact")];
    let (_proxy, front) = start(driver, origin.address, tls, [Resource::Credential(ca.credential("exact"))]);
    for (version, name) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
        let kept = ca.path(&format!("session{version}")).display().to_string();
        let first = s_client(front, "a.example", ASK, &[version, "-sess_out", &kept]);
        assert!(
            first.contains(&format!("New, {name}")) && first.contains("application"),
            "{driver}: {first}"
        );
        let second = s_client(front, "a.example", ASK, &[version, "-sess_in", &kept]);
        let reused = second.contains(&format!("Reused, {name}")) && second.contains("application");
        assert!(reused, "{driver}: {second}");
        let other = s_client(front, "a.example", ASK, &[version]);
        assert!(other.contains(&format!("New, {name}")), "{driver}: {other}");
    }
}

/// No page, line or argument of the process holds any of a credential's key.
pub fn kept_secret(driver: &str) {
    let origin = Origin::start("application");
    let ca = WebCa::new();
    ca.issue("exact", "DNS:a.example");
    let credential = ca.credential("exact");
    let key = credential.key.pem().to_owned();
    let body: Vec<String> =
        key.lines().filter(|line| line.len() > 16 && !line.contains("---")).map(str::to_owned).collect();
    assert!(!body.is_empty(), "a key in PEM");
    let tls = vec![settings("a.example", TlsMode::Simple, "exact")];
    let verbose = ["--shards", "1", "--log-level", "debug"];
    let (proxy, front) =
        crate::gateway::start_with(driver, origin.address, tls, [Resource::Credential(credential)], &verbose);
    assert_eq!(text(&curl(front, &ca, "a.example", &["--http1.1"])), "application 1.1");
    let mut shown: Vec<(String, String)> = ["/config", "/stats", "/stats?format=json", "/certs", "/help"]
        .map(|page| (page.to_owned(), get(proxy.admin, page, &[]).expect("a page").text()))
        .to_vec();
    shown.push((
        "/stats/prometheus".into(),
        get(proxy.stats, "/stats/prometheus", &[]).expect("a page").text(),
    ));
    shown.push(("the log".into(), proxy.process.stderr().join("\n")));
    for file in ["cmdline", "environ"] {
        let path = format!("/proc/{}/{file}", proxy.process.pid());
        shown.push((
            path.clone(),
            String::from_utf8_lossy(&std::fs::read(path).expect("it runs")).into_owned(),
        ));
    }
    let config = &shown[0].1;
    assert!(config.contains("default/exact"), "the page names the credential: {config}");
    for (place, text) in &shown {
        let hit = text.contains("PRIVATE KEY") || body.iter().any(|line| text.contains(line.as_str()));
        assert!(!hit, "{driver}: {place} shows the key: {text}");
    }
}
