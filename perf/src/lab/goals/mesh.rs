//! The goals of the mesh's scenarios.

use super::{DROMON, Verdict, absolute, relative, row};
use crate::lab::result::{Lab, Row, ScenarioResult};
use crate::lab::scenario::mesh::{NO_METRICS, PAIR};
use crate::lab::stats::{self, Spread};
use crate::lab::subject::Subject;

/// A scenario, what its figure is called, and the limits by peer.
type Limits = (&'static str, &'static str, &'static [(Subject, f64)]);

/// Goals of CPU per request.
const CPU: [Limits; 6] = [
    ("mtls-down", "mTLS downstream: CPU per request", &[(Subject::Envoy, 0.30)]),
    ("mtls-up", "mTLS upstream: CPU per request", &[(Subject::Envoy, 0.30)]),
    ("mtls-connect", "mTLS: CPU per full handshake and request", &[(Subject::Envoy, 0.70)]),
    (
        "h2-10x10",
        "HTTP/2, 10 connections × 10 streams: CPU per request",
        &[(Subject::Envoy, 0.20), (Subject::Nghttpx, 1.25)],
    ),
    (
        "h2-64x1",
        "HTTP/2, 64 connections × 1 stream: CPU per request",
        &[(Subject::Envoy, 0.30), (Subject::Nghttpx, 1.15)],
    ),
    ("grpc-pair", "gRPC through a pair with mTLS: CPU per call", &[(Subject::Envoy, 0.30)]),
];

/// The same with metrics off, to nghttpx, which keeps none.
const SILENT: [(&str, &str, f64); 2] = [
    ("h2-10x10", "HTTP/2, 10 connections × 10 streams, metrics off: CPU per request", 1.05),
    ("h2-64x1", "HTTP/2, 64 connections × 1 stream, metrics off: CPU per request", 1.0),
];

pub(super) fn judge(lab: &Lab) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for (id, figure, limits) in CPU {
        let Some(scenario) = lab.scenario(id) else { continue };
        for &(peer, limit) in limits {
            let value = scenario.ratio(DROMON, row(peer), "cpu_us");
            verdicts.push(relative(&format!("{figure} / {}'s", peer.title()), value, limit));
        }
    }
    for (id, figure, limit) in SILENT {
        let Some(scenario) = lab.scenario(id) else { continue };
        let silent = Row { variant: NO_METRICS, ..DROMON };
        let value = scenario.ratio(silent, row(Subject::Nghttpx), "cpu_us");
        verdicts.push(relative(&format!("{figure} / nghttpx's"), value, limit));
    }
    if let Some(idle) = lab.scenario("mtls-idle") {
        let value = idle.spread(DROMON, "kib_per_connection");
        verdicts.push(absolute("user-space memory per idle mTLS connection", value, 20.0, "KiB"));
    }
    for (id, figure, limit) in [
        ("pair-1k", "sidecar pair with mTLS at 1,000 requests/s: added p99 / two Envoys'", 0.9),
        (
            "pair-80",
            "sidecar pair with mTLS at 80 % of the Envoy pair's maximum: added p99 / two Envoys'",
            0.5,
        ),
    ] {
        if let Some(scenario) = lab.scenario(id) {
            let value = added_ratio(scenario, Subject::Dromon, Subject::Envoy);
            verdicts.push(Verdict { note: floor(scenario), ..relative(figure, value, limit) });
        }
    }
    if let Some(tcp) = lab.scenario("tcp-mtls") {
        let value = tcp.ratio(DROMON, row(Subject::Envoy), "cpu_ms_per_gib");
        verdicts.push(relative("1 GiB over TCP with mTLS: CPU / Envoy's", value, 0.8));
    }
    verdicts
}

/// What a pair adds to the p99 of talking directly, by round, in µs; at least a microsecond.
fn added(scenario: &ScenarioResult, subject: Subject) -> Vec<(usize, f64)> {
    let direct = scenario.series(row(Subject::Direct), "p99_us");
    let through = scenario.series(Row { subject, variant: PAIR }, "p99_us");
    let of = |round: usize| direct.iter().find(|(other, _)| *other == round).map(|(_, value)| *value);
    through.into_iter().filter_map(|(round, value)| Some((round, (value - of(round)?).max(1.0)))).collect()
}

fn added_ratio(scenario: &ScenarioResult, of: Subject, to: Subject) -> Option<Spread> {
    stats::ratio(&added(scenario, of), &added(scenario, to))
}

/// What the others of the scenario add, for the note.
fn floor(scenario: &ScenarioResult) -> String {
    let of = |subject: Subject| {
        let values: Vec<f64> = added(scenario, subject).into_iter().map(|(_, value)| value).collect();
        let median = stats::median(&values)?;
        Some(format!("{} {median:.0}", subject.title()))
    };
    let parts: Vec<String> = [Subject::Relay, Subject::Dromon, Subject::DromonAgain, Subject::Envoy]
        .into_iter()
        .filter_map(of)
        .collect();
    format!("added to the direct p99, µs: {}", parts.join(", "))
}
