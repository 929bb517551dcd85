use std::collections::BTreeMap;

use dromon_core::config::model::{ListenerKind, MtlsMode, Protocol, Resource};

use super::goals::{Status, at_most, judge};
use super::result::{Lab, Machine, Row, Sample, ScenarioResult};
use super::setup::{Hop, Place, RateLimit, Setup};
use super::stats::{Spread, median, ratio, spread};
use super::subject::Subject;
use super::{config, dromon, http2, proc, scenario};

#[test]
fn medians() {
    assert_eq!(median(&[]), None);
    assert_eq!(median(&[3.0]), Some(3.0));
    assert_eq!(median(&[4.0, 1.0, 3.0]), Some(3.0));
    assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
}

#[test]
fn a_spread_holds_its_median_and_narrows_with_more_rounds() {
    let values = |count: usize| (0..count).map(|number| 10.0 + (number % 5) as f64).collect::<Vec<_>>();
    let (few, many) = (spread(&values(5)).unwrap(), spread(&values(100)).unwrap());
    for it in [few, many] {
        assert!(it.low <= it.median && it.median <= it.high, "{it:?}");
        assert_eq!(it.median, 12.0);
    }
    assert!(many.high - many.low < few.high - few.low, "{few:?} {many:?}");
    assert_eq!(spread(&values(5)), Some(few), "the same values give the same interval");
    let flat = spread(&[7.0; 4]).unwrap();
    assert_eq!((flat.low, flat.median, flat.high, flat.count), (7.0, 7.0, 7.0, 4));
}

#[test]
fn a_ratio_is_taken_within_each_round() {
    // The machine was twice as slow in round 1; the ratio does not see it.
    let a = [(0, 10.0), (1, 20.0), (2, 10.0)];
    let b = [(0, 20.0), (1, 40.0), (3, 1.0)];
    let ratio = ratio(&a, &b).unwrap();
    assert_eq!((ratio.median, ratio.low, ratio.high, ratio.count), (0.5, 0.5, 0.5, 2));
    assert_eq!(super::stats::ratio(&a, &[(0, 0.0)]), None);
}

#[test]
fn a_goal_is_met_only_by_the_bad_end_of_its_spread() {
    let of = |low, median, high| Some(Spread { median, low, high, count: 5 });
    assert_eq!(at_most(of(0.1, 0.2, 0.25), 0.25), Status::Met);
    assert_eq!(at_most(of(0.1, 0.2, 0.26), 0.25), Status::Unsure);
    assert_eq!(at_most(of(0.1, 0.26, 0.3), 0.25), Status::Missed);
    assert_eq!(at_most(None, 0.25), Status::Absent);
}

#[test]
fn the_kernels_accounts_are_read() {
    assert_eq!(proc::parse_schedstat("1500000000 77 12\n"), Some(1.5));
    let stat = "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 250 0 0 20 0 1 0 100";
    assert_eq!(proc::parse_stat(stat), Some((1.5, 2.5)));
    let rollup = "55d0-7ffe ---p 00000000 00:00 0    [rollup]\nRss:        2048 kB\nPss:         512 kB\n";
    assert_eq!(proc::parse_kilobytes(rollup, "Rss:"), Some(2 * 1024 * 1024));
    assert_eq!(proc::parse_kilobytes(rollup, "Pss:"), Some(512 * 1024));
    let stat = "cpu  1 1 1 1 1 1 1 1 0 0\ncpu0 9 9 9 9 9 9 9 9 0 0\ncpu1 100 0 200 5000 10 30 70 50 0 0\n";
    let processor = proc::parse_processor(stat, 1).unwrap();
    assert_eq!((processor.busy, processor.steal), (4.0, 0.5));
    assert_eq!(proc::parse_processor(stat, 2), None);
}

#[test]
fn this_process_is_seen_with_its_children() {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let tree = proc::tree(std::process::id());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(tree.contains(&std::process::id()) && tree.contains(&child.id()), "{tree:?}");
    let spent = proc::cpu_time(&[std::process::id()]);
    assert!(spent.total > 0.0);
    assert!(proc::memory(&[std::process::id()]).rss > 100_000);
}

fn directory() -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("dromon-perf-test-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn peers_get_every_value_of_their_templates() {
    let directory = directory();
    let places =
        config::Places { directory: &directory, port: 1, admin_port: 2, origin_port: 3, certs: &directory };
    for setup in [Setup::default(), Setup { hosts: 1, routes: 20, ..Setup::default() }] {
        config::envoy(&setup, Hop::GATEWAY, &places).unwrap();
        config::nginx(&setup, &places, 1_000).unwrap();
        config::haproxy(&setup, &places, true).unwrap();
        let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
        for name in ["envoy.yaml", "nginx.conf", "haproxy.cfg"] {
            let text = read(name);
            let code = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<String>();
            assert!(!code.contains("{{"), "{name}: {code}");
        }
        let entries = setup.hosts * setup.routes;
        assert_eq!(read("routes.map").lines().count(), entries);
        assert_eq!(read("routes.conf").matches("proxy_pass").count(), entries);
        assert_eq!(read("routes.json").matches("\"cluster\"").count(), entries);
    }
}

#[test]
fn dromons_resources_are_what_its_config_file_holds() {
    let limit = Some(RateLimit { per_second: 10, burst: 5 });
    let setup = Setup { hosts: 3, routes: 2, limit, ..Setup::default() };
    let resources = dromon::resources(&setup, Hop::GATEWAY, 8080, 9080, 7);
    let text = serde_json::to_string(&resources).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Resource>>(&text).unwrap(), resources);
    let hosts = resources.iter().filter(|resource| matches!(resource, Resource::VirtualHost(_))).count();
    assert_eq!(hosts, 3);
    assert!(resources.iter().any(|resource| matches!(resource, Resource::RateLimit(_))));
    assert_ne!(
        resources,
        dromon::resources(&setup, Hop::GATEWAY, 8080, 9080, 8),
        "a generation changes a rule"
    );
}

#[test]
fn requests_take_every_host_in_turn_or_the_last_only() {
    let setup = Setup { hosts: 3, routes: 2, ..Setup::default() };
    let all = setup.requests("10k", false, false);
    assert_eq!(all.len(), 3);
    let text = String::from_utf8(all[2].clone()).unwrap();
    assert!(text.starts_with("GET /r00001/10k HTTP/1.1\r\nHost: h00002.lab.example\r\n"), "{text}");
    assert_eq!(setup.requests("10k", true, false), [all[2].clone()]);
}

#[test]
fn scenarios_have_names_of_their_own() {
    for quick in [true, false] {
        let all = scenario::all(&scenario::Budget { quick, rounds: 2 });
        let mut names: Vec<&str> = all.iter().map(|scenario| scenario.id).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
        for name in scenario::NOT_QUICK {
            assert!(names.contains(&name), "{name}");
        }
    }
}

/// Scenario, subject, variant, metric, and its value by round.
pub(crate) type Figure<'a> = (&'a str, Subject, &'a str, &'a str, &'a [f64]);

/// A run with these figures: scenario, subject, variant, metric, value by round.
pub(crate) fn lab(figures: &[Figure<'_>]) -> Lab {
    let mut scenarios: Vec<ScenarioResult> = Vec::new();
    for &(id, subject, variant, metric, values) in figures {
        if !scenarios.iter().any(|scenario| scenario.id == id) {
            let (title, detail) = (format!("Title of {id}"), "detail <&>".to_owned());
            scenarios.push(ScenarioResult { id: id.to_owned(), title, detail, samples: Vec::new() });
        }
        let scenario = scenarios.iter_mut().find(|scenario| scenario.id == id).unwrap();
        for (round, value) in values.iter().enumerate() {
            let known = scenario
                .samples
                .iter_mut()
                .find(|it| it.subject == subject && it.variant == variant && it.round == round);
            match known {
                Some(sample) => drop(sample.metrics.insert(metric.to_owned(), *value)),
                None => scenario.samples.push(Sample {
                    subject,
                    variant: variant.to_owned(),
                    round,
                    metrics: BTreeMap::from([(metric.to_owned(), *value)]),
                    curve: vec![(50.0, 10.0), (99.0, 20.0), (100.0, 30.0)],
                    errors: BTreeMap::new(),
                }),
            }
        }
    }
    Lab {
        started: "2026-11-22T12:00Z".into(),
        seconds: 60.0,
        quick: false,
        machine: Machine::default(),
        versions: BTreeMap::new(),
        skipped: BTreeMap::new(),
        scenarios,
        goals: Vec::new(),
    }
}

fn status(lab: &Lab, figure: &str) -> Status {
    let verdicts = judge(lab, &[("last of 10,000 hosts / of 10".into(), 1.01)]);
    verdicts.iter().find(|verdict| verdict.figure.starts_with(figure)).expect(figure).status
}

#[test]
fn goals_are_judged_from_samples() {
    use Subject::{Dromon, DromonAgain, Envoy, Haproxy};
    let lab = lab(&[
        ("small", Dromon, "", "cpu_us", &[10.0, 11.0, 10.0]),
        ("small", Envoy, "", "cpu_us", &[50.0, 55.0, 50.0]),
        ("small", Haproxy, "", "cpu_us", &[11.0, 12.0, 11.0]),
        ("churn", Dromon, "static", "p99_us", &[100.0, 100.0]),
        ("churn", DromonAgain, "static", "p99_us", &[150.0, 100.0]),
        ("churn", Dromon, "changing", "p99_us", &[140.0, 140.0]),
        ("churn", Dromon, "changing", "failed", &[0.0, 0.0]),
        ("churn", Dromon, "changing", "refused", &[0.0, 1.0]),
        ("churn", Dromon, "changing", "closed", &[0.0, 0.0]),
        ("rate-limit", Dromon, "1 shard", "admitted", &[60_050.0]),
        ("rate-limit", Dromon, "1 shard", "limit", &[60_000.0]),
        ("rate-limit", Dromon, "1 shard", "limit_and_burst", &[60_100.0]),
        ("rate-limit", Dromon, "4 shards", "admitted", &[60_200.0]),
        ("rate-limit", Dromon, "4 shards", "limit", &[60_000.0]),
        ("rate-limit", Dromon, "4 shards", "limit_and_burst", &[60_100.0]),
    ]);
    assert_eq!(status(&lab, "100 B: CPU per request / Envoy"), Status::Met);
    assert_eq!(status(&lab, "100 B: CPU per request / HAProxy"), Status::Missed);
    assert_eq!(status(&lab, "100 B: CPU per request / nginx"), Status::Absent);
    assert_eq!(status(&lab, "instructions, last of 10,000 hosts"), Status::Met);
    assert_eq!(status(&lab, "rules changing 10 times a second: errors"), Status::Missed);
    assert_eq!(status(&lab, "rules changing 10 times a second: drained"), Status::Met);
    // 1.4 is more than 1.25, but within what the same thing measured twice differs by.
    assert_eq!(status(&lab, "rules changing 10 times a second: p99"), Status::Met);
    assert_eq!(status(&lab, "requests admitted by a limit, 1 shard"), Status::Met);
    assert_eq!(status(&lab, "requests admitted by a limit, 4 shards"), Status::Missed);
}

#[test]
fn rows_come_in_the_order_of_tables() {
    let lab = lab(&[
        ("x", Subject::Envoy, "b", "cpu_us", &[1.0]),
        ("x", Subject::Relay, "b", "cpu_us", &[1.0]),
        ("x", Subject::Dromon, "a", "cpu_us", &[1.0]),
    ]);
    let rows = lab.scenarios[0].rows();
    let names: Vec<(&str, &str)> = rows.iter().map(|row| (row.subject.id(), row.variant)).collect();
    assert_eq!(names, [("relay", "b"), ("envoy", "b"), ("dromon", "a")]);
    let row = Row { subject: Subject::Dromon, variant: "a" };
    assert_eq!(lab.scenarios[0].series(row, "cpu_us"), [(0, 1.0)]);
}

#[test]
fn sidecars_get_every_value_of_their_templates() {
    let directory = directory().join("sidecars");
    std::fs::create_dir_all(&directory).unwrap();
    let places =
        config::Places { directory: &directory, port: 1, admin_port: 2, origin_port: 3, certs: &directory };
    for protocol in [Protocol::Http, Protocol::Http2, Protocol::Grpc, Protocol::Tcp] {
        let setup = Setup { place: Place::Pair, protocol, mtls: true, ..Setup::default() };
        for hop in setup.hops() {
            config::envoy(&setup, hop, &places).unwrap();
            let text = std::fs::read_to_string(directory.join("envoy.yaml")).unwrap();
            let code = text.lines().filter(|line| !line.starts_with('#')).collect::<String>();
            assert!(!code.contains("{{"), "{code}");
            assert_eq!(code.contains("DownstreamTlsContext"), hop.tls_down);
            assert_eq!(code.contains("UpstreamTlsContext"), hop.tls_up);
            assert_eq!(code.contains("TcpProxy"), protocol == Protocol::Tcp);
        }
        config::nghttpx(&setup, &places).unwrap();
        let text = std::fs::read_to_string(directory.join("nghttpx.conf")).unwrap();
        assert!(!text.contains("{{"), "{text}");
    }
}

#[test]
fn a_pair_is_a_servers_sidecar_that_wants_tls_and_a_clients_that_speaks_it() {
    let setup = Setup { place: Place::Pair, mtls: true, ..Setup::default() };
    let [server, client] = setup.hops()[..] else { panic!("a pair has two") };
    assert!(server.tls_down && !server.tls_up && !client.tls_down && client.tls_up);
    let inbound = dromon::resources(&setup, server, 1, 2, 0);
    let modes = inbound.iter().filter_map(|resource| match resource {
        Resource::Proxy(proxy) => proxy.listeners.first(),
        _ => None,
    });
    let modes: Vec<_> = modes
        .map(|listener| match &listener.kind {
            ListenerKind::Inbound { mtls, .. } => *mtls,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(modes, [MtlsMode::Strict]);
    let outbound = dromon::resources(&setup, client, 1, 2, 0);
    let tls = outbound.iter().find_map(|resource| match resource {
        Resource::Destination(destination) => destination.tls.clone(),
        _ => None,
    });
    assert_eq!(tls.unwrap().identities, ["spiffe://cluster.local/ns/default/sa/server"]);
    assert!(!setup.tls_to_origin(), "a pair's ends are plain");
}

#[test]
fn h2loads_summary_is_read() {
    let text = "starting benchmark...\n\nfinished in 3.00s, 93333.33 req/s, 12.10MB/s\n\
        requests: 280000 total, 280100 started, 280000 done, 279990 succeeded, 10 failed, 2 errored, 0 timeout\n\
        status codes: 279990 2xx, 0 3xx, 0 4xx, 8 5xx\ntraffic: 36.31MB (38074944) total\n";
    let outcome = http2::parse(text).unwrap();
    assert_eq!((outcome.succeeded, outcome.failed, outcome.per_second), (279_990, 10, 93333.33));
    assert_eq!(http2::parse("could not connect to 127.0.0.1\n"), None);
}

#[test]
fn a_pairs_goal_is_judged_by_what_it_adds_to_talking_directly() {
    use Subject::{Direct, Dromon, Envoy};
    let lab = lab(&[
        ("pair-1k", Direct, "", "p99_us", &[100.0, 200.0]),
        ("pair-1k", Dromon, "pair", "p99_us", &[150.0, 250.0]),
        ("pair-1k", Envoy, "pair", "p99_us", &[200.0, 300.0]),
        ("h2-10x10", Dromon, "", "cpu_us", &[10.0]),
        ("h2-10x10", Dromon, "metrics off", "cpu_us", &[9.0]),
        ("h2-10x10", Subject::Nghttpx, "", "cpu_us", &[9.0]),
        ("tcp-mtls", Dromon, "", "cpu_ms_per_gib", &[700.0]),
        ("tcp-mtls", Envoy, "", "cpu_ms_per_gib", &[800.0]),
    ]);
    let verdicts = judge(&lab, &[]);
    let of = |figure: &str| verdicts.iter().find(|verdict| verdict.figure.starts_with(figure)).expect(figure);
    let pair = of("sidecar pair with mTLS at 1,000");
    assert_eq!((pair.value.unwrap().median, pair.status), (0.5, Status::Met));
    assert!(pair.note.contains("Dromon 50, Envoy 100"), "{}", pair.note);
    assert_eq!(of("HTTP/2, 10 connections × 10 streams: CPU per request / nghttpx").status, Status::Met);
    assert_eq!(of("HTTP/2, 10 connections × 10 streams, metrics off").status, Status::Met);
    assert_eq!(of("HTTP/2, 10 connections × 10 streams: CPU per request / Envoy").status, Status::Absent);
    assert_eq!(of("1 GiB over TCP").status, Status::Missed);
}
