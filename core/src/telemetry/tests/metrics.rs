//! Series, histograms and their text.

use std::sync::Arc;

use crate::config::model::{Destination, Endpoint, ServiceRef, Workload};
use crate::exchange::Flags;
use crate::fault::Reason;
use crate::limits::SERIES_MAX;
use crate::telemetry::{Buckets, Family, FamilyKind, Merged, Record, Recorder, Reporter, Sides};

fn workload(name: &str) -> Arc<Workload> {
    Arc::new(Workload { name: name.into(), namespace: "default".into(), ..Workload::default() })
}

fn destination() -> Arc<Destination> {
    Arc::new(Destination {
        name: "outbound|9080||reviews.default.svc.cluster.local".into(),
        service: ServiceRef {
            host: "reviews.default.svc.cluster.local".into(),
            name: "reviews".into(),
            namespace: "default".into(),
        },
        ..Destination::default()
    })
}

fn endpoint(name: &str) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        address: "127.77.0.3".into(),
        port: 9080,
        workload: (*workload(name)).clone(),
        ..Endpoint::default()
    })
}

fn rendered(merged: &Merged) -> String {
    let mut out = String::new();
    merged.render(&[], &mut out);
    out
}

/// The value of the only sample of that name whose labels contain all of `labels`.
fn value<'a>(text: &'a str, name: &str, labels: &[&str]) -> &'a str {
    let mut found = text.lines().filter(|line| {
        line.split('{').next() == Some(name) && labels.iter().all(|label| line.contains(label))
    });
    let line = found.next().unwrap_or_else(|| panic!("no {name} with {labels:?} in:\n{text}"));
    assert_eq!(found.next(), None, "more than one {name} with {labels:?}");
    line.rsplit(' ').next().unwrap()
}

#[test]
fn shards_add_up_to_one_series_with_istios_labels() {
    let mut merged = Merged::default();
    let (reviews, v1) = (destination(), endpoint("reviews-v1"));
    for _ in 0..2 {
        let mut shard = Recorder::new(workload("productpage-v1"));
        for _ in 0..3 {
            shard.record(&Record {
                sides: Sides { destination: Some(&reviews), endpoint: Some(&v1), ..Sides::default() },
                response_code: 200,
                request_bytes: 150,
                response_bytes: 480,
                duration_ns: 4_000_000,
                ..Record::default()
            });
        }
        merged.add(shard.take());
        merged.add(shard.take());
    }
    let text = rendered(&merged);
    let labels = [
        "reporter=\"source\"",
        "source_workload=\"productpage-v1\"",
        "destination_workload=\"reviews-v1\"",
        "destination_workload_namespace=\"default\"",
        "destination_service=\"reviews.default.svc.cluster.local\"",
        "destination_service_name=\"reviews\"",
        "source_principal=\"unknown\"",
        "request_protocol=\"http\"",
        "response_code=\"200\"",
        "grpc_response_status=\"\"",
        "response_flags=\"-\"",
        "connection_security_policy=\"unknown\"",
    ];
    assert_eq!(value(&text, "istio_requests_total", &labels), "6");
    assert_eq!(value(&text, "istio_request_duration_milliseconds_sum", &labels), "24");
    let bucket =
        |bound: &str| value(&text, "istio_request_duration_milliseconds_bucket", &[bound]).to_owned();
    assert_eq!(
        (bucket("le=\"1\""), bucket("le=\"5\""), bucket("le=\"+Inf\"")),
        ("0".into(), "6".into(), "6".into())
    );
    assert_eq!(value(&text, "istio_response_bytes_sum", &[]), "2880");
    let (name, percentiles) = merged.latencies().next().unwrap();
    assert_eq!((name, percentiles.count), (reviews.name.as_str(), 6));
    assert!((3_950..=4_050).contains(&percentiles.p99_us), "{percentiles:?}");
}

#[test]
fn equal_labels_of_newer_configuration_are_the_same_series() {
    let own = workload("a");
    let mut shard = Recorder::new(Arc::clone(&own));
    let mut merged = Merged::default();
    for _ in 0..4 {
        let (reviews, v1) = (destination(), endpoint("reviews-v1"));
        let sides = Sides { destination: Some(&reviews), endpoint: Some(&v1), ..Sides::default() };
        shard.record(&Record { sides, response_code: 200, ..Record::default() });
        shard.table_changed(&own);
        assert_eq!(
            (Arc::strong_count(&reviews), Arc::strong_count(&v1)),
            (1, 1),
            "old configuration is held"
        );
    }
    merged.add(shard.take());
    assert_eq!(value(&rendered(&merged), "istio_requests_total", &[]), "4");
}

#[test]
fn what_no_destination_took_has_istios_names() {
    let mut shard = Recorder::new(workload("a"));
    let mut merged = Merged::default();
    shard.record(&Record { response_code: 200, ..Record::default() });
    shard.record(&Record { response_code: 502, reason: Some(Reason::UnknownHost), ..Record::default() });
    merged.add(shard.take());
    let text = rendered(&merged);
    let name = |name: &str| format!("destination_service_name=\"{name}\"");
    assert_eq!(
        value(&text, "istio_requests_total", &[&name("PassthroughCluster"), "response_flags=\"-\""]),
        "1"
    );
    assert_eq!(
        value(&text, "istio_requests_total", &[&name("BlackHoleCluster"), "response_flags=\"NR\""]),
        "1"
    );
}

#[test]
fn the_destinations_side_reports_its_own_workload() {
    let mut shard = Recorder::new(workload("reviews-v1"));
    let mut merged = Merged::default();
    let reviews = destination();
    let sides = Sides { reporter: Reporter::Destination, destination: Some(&reviews), ..Sides::default() };
    shard.record(&Record { sides, response_code: 200, ..Record::default() });
    shard.tcp_opened(&sides);
    shard.tcp_bytes(&sides, 10, 100);
    shard.tcp_closed(&sides, Flags::default(), 1, 2);
    merged.add(shard.take());
    let text = rendered(&merged);
    let labels =
        ["reporter=\"destination\"", "source_workload=\"unknown\"", "destination_workload=\"reviews-v1\""];
    assert_eq!(value(&text, "istio_requests_total", &labels), "1");
    for (name, expected) in [
        ("istio_tcp_connections_opened_total", "1"),
        ("istio_tcp_connections_closed_total", "1"),
        ("istio_tcp_received_bytes_total", "11"),
        ("istio_tcp_sent_bytes_total", "102"),
    ] {
        assert_eq!(value(&text, name, &["request_protocol=\"tcp\"", labels[2]]), expected);
    }
}

#[test]
fn series_beyond_the_cap_are_counted_as_other() {
    let mut shard = Recorder::new(workload("a"));
    let mut merged = Merged::default();
    let total = SERIES_MAX + 100;
    for index in 0..total {
        // Each outcome is a series of its own.
        let (code, grpc) = (100 + (index / 256) as u16, (index % 256) as u8);
        shard.record(&Record { response_code: code, grpc_status: Some(grpc), ..Record::default() });
    }
    merged.add(shard.take());
    let text = rendered(&merged);
    assert_eq!(value(&text, "istio_requests_total", &["reporter=\"other\""]), "100");
    assert_eq!(text.lines().filter(|line| line.starts_with("istio_requests_total{")).count(), SERIES_MAX + 1);
    assert!(text.contains("\ndromon_series_overflow_total 100\n"), "not counted");
}

#[test]
fn a_value_on_a_bound_belongs_below_it() {
    let mut buckets = Buckets::default();
    for thousandths in [0, 500, 501, 1_000, 3_600_000_001] {
        buckets.record(thousandths);
    }
    assert_eq!(buckets.counts()[..3], [2, 2, 0]);
    assert_eq!(buckets.counts()[19], 1);
    assert_eq!((buckets.count(), buckets.sum_thousandths()), (5, 3_600_002_002));
}

#[test]
fn own_metrics_follow_the_text_format() {
    let family = Family::empty("dromon_build_info", "What runs.", FamilyKind::Gauge)
        .with(&[("driver", "io_uring"), ("note", "a\"b\\c\nd")], 1.0);
    let mut out = String::new();
    Merged::default().render(&[family, Family::counter("dromon_x_total", "X.", 2.5)], &mut out);
    assert!(out.ends_with(
        "# HELP dromon_build_info What runs.\n# TYPE dromon_build_info gauge\n\
         dromon_build_info{driver=\"io_uring\",note=\"a\\\"b\\\\c\\nd\"} 1\n\
         # HELP dromon_x_total X.\n# TYPE dromon_x_total counter\ndromon_x_total 2.5\n"
    ));
}

#[test]
fn a_delayed_exchange_is_a_series_of_its_own() {
    let mut shard = Recorder::new(workload("a"));
    let mut merged = Merged::default();
    shard.record(&Record { response_code: 200, ..Record::default() });
    let flags = Flags { delayed: true, ..Flags::default() };
    shard.record(&Record { response_code: 200, flags, ..Record::default() });
    merged.add(shard.take());
    let text = rendered(&merged);
    for flags in ["-", "DI"] {
        let label = format!("response_flags=\"{flags}\"");
        assert_eq!(value(&text, "istio_requests_total", &[&label]), "1");
    }
}
