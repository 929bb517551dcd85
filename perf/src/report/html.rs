//! The page: one file with everything in it, that needs no network.

use std::fmt::Write as _;

use super::plot::{self, Bar, Line, escape};
use super::view::{self, Grid, figure};
use crate::lab::goals::Status;
use crate::lab::result::{Lab, Row, ScenarioResult};
use crate::lab::stats;
use crate::lab::subject::Subject;

/// The style sheet.
const STYLE: &str = include_str!("page.css");
/// The peers' configurations, as they were used.
const CONFIGS: [(&str, &str); 3] = [
    ("Envoy", include_str!("../../peers/envoy.yaml")),
    ("nginx", include_str!("../../peers/nginx.conf")),
    ("HAProxy", include_str!("../../peers/haproxy.cfg")),
];

/// The page of a run. Writing to a string cannot fail, so the results of `write!` are ignored here.
pub fn page(lab: &Lab) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Dromon perf lab</title><style>{STYLE}</style><main>"
    );
    head(&mut html, lab);
    goals(&mut html, lab);
    for scenario in &lab.scenarios {
        section(&mut html, scenario);
    }
    method(&mut html);
    html.push_str("</main></html>\n");
    html
}

fn head(html: &mut String, lab: &Lab) {
    let quick = if lab.quick { " A quick run: fewer and shorter rounds." } else { "" };
    let _ = write!(
        html,
        "<h1>Dromon beside its peers</h1><p>One interleaved run on one machine, {}, {:.0} minutes.{quick} Only ratios \
         within this run mean anything.</p><p class=\"soft\">{}</p>",
        escape(&lab.started),
        (lab.seconds / 60.0).max(1.0),
        escape(&view::machine(lab))
    );
    let versions: Vec<String> = lab
        .versions
        .iter()
        .map(|(name, version)| format!("<b>{}</b> {}", escape(name), escape(version)))
        .collect();
    let _ = write!(html, "<p class=\"soft\">{}</p>", versions.join(" · "));
    for (name, reason) in &lab.skipped {
        let _ = write!(html, "<p class=\"missed\">Left out: {}: {}</p>", escape(name), escape(reason));
    }
}

const fn class(status: Status) -> &'static str {
    match status {
        Status::Met => "met",
        Status::Unsure => "unsure",
        Status::Missed => "missed",
        Status::Absent => "absent",
    }
}

fn goals(html: &mut String, lab: &Lab) {
    if lab.goals.is_empty() {
        return;
    }
    html.push_str("<section><h2>Goals</h2><div class=\"score\">");
    for status in [Status::Met, Status::Unsure, Status::Missed, Status::Absent] {
        let count = lab.goals.iter().filter(|verdict| verdict.status == status).count();
        if count > 0 {
            let _ =
                write!(html, "<div class=\"{}\"><b>{count}</b>{}</div>", class(status), view::word(status));
        }
    }
    html.push_str("</div><div class=\"scroll\"><table><tr><th>figure<th>limit<th>measured<th><th>");
    for verdict in &lab.goals {
        let value = verdict.value.as_ref().map(view::spread).unwrap_or_default();
        let _ = write!(
            html,
            "<tr><td>{}<td>{}<td>{value}<td><span class=\"chip {}\">{}</span><td class=\"note\">{}",
            escape(&verdict.figure),
            escape(&verdict.limit),
            class(verdict.status),
            view::word(verdict.status),
            escape(&verdict.note)
        );
    }
    html.push_str("</table></div></section>");
}

fn section(html: &mut String, scenario: &ScenarioResult) {
    let _ = write!(
        html,
        "<section id=\"{}\"><h2>{}</h2><p class=\"soft\">{}</p>",
        escape(&scenario.id),
        escape(&scenario.title),
        escape(&scenario.detail)
    );
    html.push_str(&plots(scenario));
    grid(html, &view::figures(scenario));
    let ratios = view::ratios(scenario);
    if !ratios.rows.is_empty() {
        grid(html, &ratios);
    }
    html.push_str("</section>");
}

fn grid(html: &mut String, grid: &Grid) {
    html.push_str("<div class=\"scroll\"><table><tr>");
    for title in &grid.head {
        let _ = write!(html, "<th>{}", escape(title));
    }
    for row in &grid.rows {
        let ours = row.first().is_some_and(|name| name == "Dromon" || name.starts_with("Dromon /"));
        html.push_str(if ours { "<tr class=\"ours\">" } else { "<tr>" });
        for cell in row {
            let _ = write!(html, "<td>{}", escape(cell));
        }
    }
    html.push_str("</table></div>");
}

fn plots(scenario: &ScenarioResult) -> String {
    match scenario.id.as_str() {
        "memory" => bars(scenario, &["idle_rss_mib"], "MiB") + &bars(scenario, &["loaded_rss_mib"], "MiB"),
        "idle-connections" => bars(scenario, &["kib_per_connection"], "KiB"),
        "table" => tables(scenario),
        "rate-limit" => String::new(),
        id if id.starts_with("latency") || id == "churn" => curves(scenario),
        _ => bars(scenario, &["cpu_system_us", "cpu_user_us"], "µs of CPU per request"),
    }
}

/// Medians of stacked figures, one bar for each row.
fn bars(scenario: &ScenarioResult, metrics: &[&str], unit: &str) -> String {
    let bar = |row: &Row<'_>| {
        let parts: Vec<f64> =
            metrics.iter().filter_map(|metric| Some(scenario.spread(*row, metric)?.median)).collect();
        let whole = parts.iter().sum::<f64>();
        (whole > 0.0).then(|| {
            let split = match parts.as_slice() {
                [system, user] => format!(" ({} kernel, {} user)", figure(*system), figure(*user)),
                _ => String::new(),
            };
            let note = format!("{} {unit}{split}", figure(whole));
            Bar { name: view::name(*row), colour: row.subject.id(), parts, note }
        })
    };
    // Where the figure is split the unit goes beside the first bar only.
    let mut all: Vec<Bar> = scenario.rows().iter().filter_map(bar).collect();
    if metrics.len() > 1 {
        all.iter_mut().skip(1).for_each(|bar| bar.note = bar.note.replace(&format!(" {unit}"), ""));
    }
    plot::bars(&all)
}

/// Latency curves: at each percentile the median over rounds.
fn curves(scenario: &ScenarioResult) -> String {
    let line = |row: &Row<'_>| {
        let samples: Vec<_> = scenario.of(*row).filter(|sample| !sample.curve.is_empty()).collect();
        let first = samples.first()?;
        let at = |&(percentile, _): &(f64, f64)| {
            let values: Vec<f64> = samples
                .iter()
                .filter_map(|sample| Some(sample.curve.iter().find(|point| point.0 == percentile)?.1))
                .collect();
            Some((percentile, stats::median(&values)?))
        };
        let points = first.curve.iter().filter_map(at).collect();
        let short = row.variant.to_owned();
        let name = if short.is_empty() { row.subject.title().to_owned() } else { view::name(*row) };
        Some(Line { name, colour: colour(*row), points })
    };
    plot::percentiles(
        &scenario.rows().iter().filter_map(line).collect::<Vec<_>>(),
        "µs from the planned send time",
    )
}

/// Variants of one subject need colours of their own.
fn colour(row: Row<'_>) -> &'static str {
    match (row.subject, row.variant) {
        (Subject::Dromon, "static") => "dromon-epoll",
        (Subject::Envoy, "static") => "haproxy",
        (subject, _) => subject.id(),
    }
}

/// Processor time over the size of the table: one plot for hosts, one for routes.
fn tables(scenario: &ScenarioResult) -> String {
    let plot = |kind: &str| {
        let mut sizes: Vec<f64> = Vec::new();
        let mut lines: Vec<Line> = Vec::new();
        for row in scenario.rows().iter().filter(|row| row.variant.ends_with(kind)) {
            let size =
                row.variant.split(' ').next().unwrap_or_default().replace(',', "").parse().unwrap_or(1.0);
            let Some(spread) = scenario.spread(*row, "cpu_us") else { continue };
            if !sizes.contains(&size) {
                sizes.push(size);
            }
            let id = row.subject.id();
            match lines.iter_mut().find(|line| line.colour == id) {
                Some(line) => line.points.push((size, spread.median)),
                None => {
                    let name = row.subject.title().to_owned();
                    lines.push(Line { name, colour: id, points: vec![(size, spread.median)] });
                }
            }
        }
        plot::sizes(&lines, &sizes, &format!("µs of CPU per request, by number of {kind}"))
    };
    plot("hosts") + &plot("routes")
}

fn method(html: &mut String) {
    html.push_str(
        "<section><h2>How to read this</h2><p>Every proxy runs alone on one processor; the generator and the origin \
         share another. In each round every proxy is started afresh and measured once, every second round in the \
         reverse order. Figures are medians over rounds. A ratio is taken within each round; in brackets stands the 95 % \
         bootstrap interval of its median, and a goal counts as met only when the bad end of it does.</p><p>CPU is the \
         scheduler's own account of all threads of the proxy, divided by the answers that came meanwhile. Latency counts \
         from the moment at which a request was planned, so a stall shows in every request that it delayed. A g beside a \
         throughput means that the proxy's processor was less than 95 % busy: the generator or the origin was the limit.</p>",
    );
    for (name, text) in CONFIGS {
        let _ = write!(
            html,
            "<details><summary>{name}'s configuration</summary><pre>{}</pre></details>",
            escape(text)
        );
    }
    html.push_str("</section>");
}
