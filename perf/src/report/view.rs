//! What each scenario shows, as rows and columns of text: shared by the terminal's table and the page.

use crate::lab::goals::Status;
use crate::lab::result::{Lab, Row, ScenarioResult};
use crate::lab::stats::Spread;
use crate::lab::subject::Subject;

/// A table of text.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// Column titles; the first column names rows and is set to the left.
    pub head: Vec<String>,
    /// Rows.
    pub rows: Vec<Vec<String>>,
}

/// Columns in their order: metric and title.
const COLUMNS: [(&str, &str); 39] = [
    ("cpu_ms_per_gib", "CPU ms/GiB"),
    ("mib_per_second", "MiB/s"),
    ("cpu_us", "CPU µs/req"),
    ("cpu_user_us", "user"),
    ("cpu_system_us", "system"),
    ("requests_per_second", "req/s"),
    ("busy_percent", "core busy %"),
    ("p50_us", "p50 µs"),
    ("p90_us", "p90 µs"),
    ("p99_us", "p99 µs"),
    ("p999_us", "p99.9 µs"),
    ("rss_mib", "RSS MiB"),
    ("idle_rss_mib", "idle RSS MiB"),
    ("idle_pss_mib", "idle PSS MiB"),
    ("loaded_rss_mib", "loaded RSS MiB"),
    ("loaded_pss_mib", "loaded PSS MiB"),
    ("kib_per_connection", "RSS KiB/conn"),
    ("pss_kib_per_connection", "PSS KiB/conn"),
    ("connections", "still open"),
    ("admitted", "admitted"),
    ("admitted_of_limit", "/ limit"),
    ("refused_429", "429"),
    ("changes", "changes"),
    ("failed", "failed"),
    ("closed", "drained"),
    ("steal_percent", "steal %"),
    ("foreign_percent", "others %"),
    ("route_event_p50_ms", "route p50 ms"),
    ("route_event_p99_ms", "route p99 ms"),
    ("route_answer_p99_ms", "from the answer p99 ms"),
    ("endpoint_event_p50_ms", "endpoint gone p50 ms"),
    ("endpoint_event_p99_ms", "endpoint gone p99 ms"),
    ("start_s", "all fed s"),
    ("controller_mib", "controller MiB"),
    ("controller_peak_mib", "largest MiB"),
    ("processor_ms_per_change", "CPU ms/change"),
    ("proxy_empty_mib", "proxy, empty mesh MiB"),
    ("proxy_mib", "proxy MiB"),
    ("proxy_more_mib", "more MiB"),
];

/// Peers that ratios are taken to.
const PEERS: [Subject; 6] = [
    Subject::Relay,
    Subject::Haproxy,
    Subject::HaproxySplice,
    Subject::Nginx,
    Subject::Nghttpx,
    Subject::Envoy,
];

/// A figure with as many digits as it deserves.
pub fn figure(value: f64) -> String {
    let size = value.abs();
    if size >= 1_000.0 {
        thousands(value.round() as i64)
    } else if size >= 100.0 || value == value.round() && size >= 10.0 || value == 0.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

fn thousands(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0 { format!("-{text}") } else { text }
}

/// A median with its interval.
pub fn spread(spread: &Spread) -> String {
    if spread.low == spread.high {
        return figure(spread.median);
    }
    format!("{} ({}–{})", figure(spread.median), figure(spread.low), figure(spread.high))
}

/// A row's name.
pub fn name(row: Row<'_>) -> String {
    if row.variant.is_empty() {
        row.subject.title().to_owned()
    } else {
        format!("{}, {}", row.subject.title(), row.variant)
    }
}

/// A scenario's figures: medians over rounds.
pub fn figures(scenario: &ScenarioResult) -> Grid {
    let rows = scenario.rows();
    let worth = |metric: &&(&str, &str)| {
        let values = rows.iter().flat_map(|row| scenario.series(*row, metric.0));
        // Shown only where there is something to tell.
        let least = match metric.0 {
            "failed" | "closed" | "steal_percent" => 0.0,
            "foreign_percent" => 2.0,
            _ => f64::MIN,
        };
        values.into_iter().any(|(_, value)| value > least)
    };
    let columns: Vec<&(&str, &str)> = COLUMNS.iter().filter(worth).collect();
    let cells = |row: &Row<'_>| {
        let bound = scenario.spread(*row, "generator_bound").is_some_and(|spread| spread.median > 0.0);
        let cell = |column: &&(&str, &str)| match scenario.spread(*row, column.0) {
            None => String::new(),
            Some(spread) if column.0 == "requests_per_second" && bound => {
                format!("{} g", figure(spread.median))
            }
            Some(spread) => figure(spread.median),
        };
        std::iter::once(name(*row)).chain(columns.iter().map(cell)).collect()
    };
    Grid {
        head: std::iter::once(String::new())
            .chain(columns.iter().map(|column| column.1.to_owned()))
            .collect(),
        rows: rows.iter().map(cells).collect(),
    }
}

/// The metric that a scenario's ratios are of, and what it is called.
pub fn principal(scenario: &ScenarioResult) -> Option<(&'static str, &'static str)> {
    let candidates = [
        ("idle_rss_mib", "idle RSS"),
        ("kib_per_connection", "memory per connection"),
        ("p99_us", "p99"),
        ("cpu_ms_per_gib", "CPU per GiB"),
        ("cpu_us", "CPU per request"),
    ];
    let rows = scenario.rows();
    candidates
        .into_iter()
        .find(|(metric, _)| rows.iter().any(|row| !scenario.series(*row, metric).is_empty()))
}

/// Dromon's ratios to every peer, with their spread.
pub fn ratios(scenario: &ScenarioResult) -> Grid {
    let rows = scenario.rows();
    let metrics: Vec<(&str, &str)> = match principal(scenario) {
        Some(("p99_us", _)) => {
            vec![("p50_us", "p50"), ("p99_us", "p99"), ("p999_us", "p99.9"), ("cpu_us", "CPU per request")]
        }
        Some(("idle_rss_mib", _)) => {
            vec![("idle_pss_mib", "idle PSS"), ("loaded_pss_mib", "loaded PSS")]
        }
        Some(("cpu_us", name)) => {
            vec![("cpu_us", name), ("requests_per_second", "throughput"), ("rss_mib", "RSS")]
        }
        Some(one) => vec![one],
        None => Vec::new(),
    };
    let ours: Vec<&Row<'_>> = rows.iter().filter(|row| row.subject.is_dromon()).collect();
    let mut grid = Vec::new();
    for our in ours {
        let others = rows.iter().filter(|row| row.variant == our.variant && PEERS.contains(&row.subject));
        let again = rows.iter().filter(|row| {
            row.variant == our.variant
                && our.subject == Subject::DromonAgain
                && row.subject == Subject::Dromon
        });
        for other in others.chain(again) {
            let cells =
                metrics.iter().map(|(metric, _)| scenario.ratio(*our, *other, metric).map(|it| spread(&it)));
            let cells: Vec<String> = cells.map(Option::unwrap_or_default).collect();
            if cells.iter().any(|cell| !cell.is_empty()) {
                let name = format!("{} / {}", name(*our), other.subject.title());
                grid.push(std::iter::once(name).chain(cells).collect());
            }
        }
    }
    Grid {
        head: std::iter::once("ratio".to_owned())
            .chain(metrics.iter().map(|(_, name)| (*name).to_owned()))
            .collect(),
        rows: grid,
    }
}

/// The goals as a table.
pub fn goals(lab: &Lab) -> Grid {
    let row = |verdict: &crate::lab::goals::Verdict| {
        vec![
            verdict.figure.clone(),
            verdict.limit.clone(),
            verdict.value.as_ref().map(spread).unwrap_or_default(),
            word(verdict.status).to_owned(),
            verdict.note.clone(),
        ]
    };
    Grid {
        head: ["goal", "limit", "measured", "", "note"].map(str::to_owned).to_vec(),
        rows: lab.goals.iter().map(row).collect(),
    }
}

/// A status in a word.
pub const fn word(status: Status) -> &'static str {
    match status {
        Status::Met => "met",
        Status::Unsure => "within spread",
        Status::Missed => "missed",
        Status::Absent => "not measured",
    }
}

/// The machine in a line.
pub fn machine(lab: &Lab) -> String {
    let machine = &lab.machine;
    let virtual_machine =
        if machine.hypervisor.is_empty() { String::new() } else { format!(", {}", machine.hypervisor) };
    format!(
        "{}, {} processors, {} GiB{virtual_machine}; {}, kernel {}; proxy on processor {}, generator and origin on {}",
        machine.processor,
        machine.processors,
        machine.memory_mib.div_ceil(1024),
        machine.system,
        machine.kernel,
        machine.proxy_cpu,
        machine.rig_cpu,
    )
}
