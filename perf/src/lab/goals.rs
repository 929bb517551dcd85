//! The goals and whether a run met them. A goal counts as met only when the bad end of its spread meets it.

mod mesh;

use serde::{Deserialize, Serialize};

use super::result::{Lab, Row, ScenarioResult};
use super::stats::Spread;
use super::subject::Subject;
use crate::feed::SCENARIO as FEED;

/// How a goal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The whole spread is within the limit.
    Met,
    /// The median is within the limit, the spread is not.
    Unsure,
    /// The median is beyond the limit.
    Missed,
    /// Not measured in this run.
    Absent,
}

/// A goal with its figure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// What is compared.
    pub figure: String,
    /// The limit, with its unit.
    pub limit: String,
    /// What was measured.
    pub value: Option<Spread>,
    /// How it stands.
    pub status: Status,
    /// What a reader should know.
    pub note: String,
}

/// Judges a value that must not exceed a limit.
pub fn at_most(value: Option<Spread>, limit: f64) -> Status {
    match value {
        None => Status::Absent,
        Some(spread) if spread.high <= limit => Status::Met,
        Some(spread) if spread.median <= limit => Status::Unsure,
        Some(_) => Status::Missed,
    }
}

/// Judges all goals; `instructions` are the ratios of the instruction benchmarks, by what they compare.
pub fn judge(lab: &Lab, instructions: &[(String, f64)]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    if let Some(small) = lab.scenario("small") {
        verdicts.extend(cpu(
            small,
            "100 B",
            &[("Envoy", 0.25), ("nginx", 0.85), ("HAProxy", 0.85), ("raw relay", 1.30)],
        ));
    }
    if let Some(large) = lab.scenario("100k") {
        verdicts.extend(cpu(large, "100 KiB", &[("HAProxy", 0.90), ("Envoy", 0.45)]));
    }
    if let Some(huge) = lab.scenario("1m") {
        verdicts.extend(cpu(huge, "1 MiB", &[("HAProxy", 0.75), ("Envoy", 0.55)]));
    }
    if let Some(memory) = lab.scenario("memory") {
        let value = memory.spread(DROMON, "idle_rss_mib");
        verdicts.push(absolute("resident memory idle, two shards", value, 8.0, "MiB"));
    }
    if let Some(idle) = lab.scenario("idle-connections") {
        let value = idle.spread(DROMON, "kib_per_connection");
        verdicts.push(absolute("user-space memory per idle keep-alive connection", value, 6.0, "KiB"));
    }
    if let Some(latency) = lab.scenario("latency-80") {
        let value = latency.ratio(DROMON, row(Subject::Envoy), "p99_us");
        let figure = "p99 at 80 % of Envoy's maximum rate / Envoy's p99";
        verdicts.push(relative(figure, value, 0.5));
    }
    for (figure, ratio) in instructions {
        let value = Spread { median: *ratio, low: *ratio, high: *ratio, count: 1 };
        verdicts.push(relative(&format!("instructions, {figure}"), Some(value), 1.05));
    }
    if let Some(churn) = lab.scenario("churn") {
        verdicts.extend(churned(churn));
    }
    if let Some(limit) = lab.scenario("rate-limit") {
        verdicts.extend(["1 shard", "4 shards"].map(|variant| admitted(limit, variant)));
    }
    verdicts.extend(mesh::judge(lab));
    if let Some(feed) = lab.scenario(FEED) {
        verdicts.extend(control_plane(feed));
    }
    verdicts
}

const DROMON: Row<'static> = row(Subject::Dromon);

const fn row(subject: Subject) -> Row<'static> {
    Row { subject, variant: "" }
}

fn relative(figure: &str, value: Option<Spread>, limit: f64) -> Verdict {
    let status = at_most(value, limit);
    Verdict {
        figure: figure.to_owned(), limit: format!("≤ {limit:.2}"), value, status, note: String::new()
    }
}

fn absolute(figure: &str, value: Option<Spread>, limit: f64, unit: &str) -> Verdict {
    let status = at_most(value, limit);
    Verdict {
        figure: figure.to_owned(),
        limit: format!("≤ {limit} {unit}"),
        value,
        status,
        note: String::new(),
    }
}

fn cpu(scenario: &ScenarioResult, answer: &str, limits: &[(&str, f64)]) -> Vec<Verdict> {
    let ratio = |subject| scenario.ratio(DROMON, row(subject), "cpu_us");
    let verdict = |&(peer, limit): &(&str, f64)| {
        let figure = format!("{answer}: CPU per request / {peer}'s");
        let (subject, note) = match peer {
            "Envoy" => (Subject::Envoy, None),
            "nginx" => (Subject::Nginx, None),
            "raw relay" => (Subject::Relay, None),
            // Splicing moves pages on loopback that a real network card would have to be given: shown, not judged.
            _ => (Subject::Haproxy, ratio(Subject::HaproxySplice)),
        };
        let note = note
            .map(|it| format!("to HAProxy that splices: {:.2} ({:.2}–{:.2})", it.median, it.low, it.high));
        Verdict { note: note.unwrap_or_default(), ..relative(&figure, ratio(subject), limit) }
    };
    limits.iter().map(verdict).collect()
}

/// The control plane at size.
fn control_plane(feed: &ScenarioResult) -> Vec<Verdict> {
    let goals = [
        ("a route's change: watch event → first request routed by it, p99", "route_event_p99_ms", 20.0, "ms"),
        ("a route's change: the API server's answer → the same, p99", "route_answer_p99_ms", 150.0, "ms"),
        ("endpoint gone: watch event → not used any more, p99", "endpoint_event_p99_ms", 10.0, "ms"),
        ("controller's memory with all proxies fed", "controller_mib", 150.0, "MiB"),
        ("controller's start → all proxies fed", "start_s", 5.0, "s"),
        ("a proxy's memory over an empty mesh", "proxy_more_mib", 2.0, "MiB"),
    ];
    goals
        .map(|(figure, metric, limit, unit)| absolute(figure, feed.spread(DROMON, metric), limit, unit))
        .into()
}

fn churned(churn: &ScenarioResult) -> Vec<Verdict> {
    let of = |subject, variant| Row { subject, variant };
    let changing = of(Subject::Dromon, "changing");
    let total = |metric: &str| {
        let values: Vec<f64> = churn.series(changing, metric).iter().map(|(_, value)| *value).collect();
        let sum: f64 = values.iter().sum();
        (!values.is_empty()).then_some(Spread { median: sum, low: sum, high: sum, count: values.len() })
    };
    let failed = total("failed").zip(total("refused")).map(|(failed, refused)| {
        let sum = failed.median + refused.median;
        Spread { median: sum, low: sum, high: sum, count: failed.count }
    });
    let still = of(Subject::Dromon, "static");
    let noise = churn.ratio(of(Subject::DromonAgain, "static"), still, "p99_us");
    let limit = noise.map_or(1.25, |noise| noise.high.max(1.0 / noise.low).max(1.25));
    let ratio = churn.ratio(changing, still, "p99_us");
    let noise =
        noise.map(|noise| format!("A against A: {:.2} ({:.2}–{:.2})", noise.median, noise.low, noise.high));
    vec![
        absolute("rules changing 10 times a second: errors", failed, 0.0, "requests"),
        absolute(
            "rules changing 10 times a second: drained connections",
            total("closed"),
            0.0,
            "connections",
        ),
        Verdict {
            note: noise.unwrap_or_default(),
            ..relative("rules changing 10 times a second: p99 / p99 of static rules", ratio, limit)
        },
    ]
}

fn admitted(limit: &ScenarioResult, variant: &str) -> Verdict {
    let row = Row { subject: Subject::Dromon, variant };
    let value = limit.spread(row, "admitted");
    let allowed = limit.spread(row, "limit").map(|spread| spread.median);
    let ceiling = limit.spread(row, "limit_and_burst").map(|spread| spread.median);
    let status = match (value, allowed, ceiling) {
        (Some(value), Some(allowed), Some(ceiling)) => {
            let within = |count: f64| count >= 0.99 * allowed && count <= ceiling;
            match (within(value.low) && within(value.high), within(value.median)) {
                (true, _) => Status::Met,
                (false, true) => Status::Unsure,
                _ => Status::Missed,
            }
        }
        _ => Status::Absent,
    };
    let text =
        allowed.zip(ceiling).map(|(allowed, ceiling)| format!("{:.0} to {ceiling:.0}", 0.99 * allowed));
    Verdict {
        figure: format!("requests admitted by a limit, {variant}"),
        limit: text.unwrap_or_default(),
        value,
        status,
        note: "0.99 × limit to limit + burst".to_owned(),
    }
}
