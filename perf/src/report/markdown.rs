//! The goals and the main figures as Markdown, for a README or a page of docs.

use std::fmt::Write as _;

use super::view::{self, Grid};
use crate::lab::result::Lab;

/// Scenarios whose figures are shown beside the goals.
const SHOWN: [&str; 15] = [
    "small",
    "10k",
    "100k",
    "1m",
    "latency-1k",
    "latency-10k",
    "latency-80",
    "memory",
    "idle-connections",
    "table",
    "churn",
    "h2-10x10",
    "h2-64x1",
    "grpc-pair",
    "tcp-mtls",
];

/// Machine, goals and main figures.
pub fn text(lab: &Lab) -> String {
    let quick = if lab.quick { ", a quick run" } else { "" };
    let mut text = format!("One run of {}{quick}, on {}.\n", lab.started, view::machine(lab));
    if !lab.goals.is_empty() {
        text.push('\n');
        text.push_str(&table(&view::goals(lab)));
    }
    for scenario in lab.scenarios.iter().filter(|scenario| SHOWN.contains(&scenario.id.as_str())) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n{}:\n", scenario.title);
        text.push_str(&table(&view::figures(scenario)));
        let ratios = view::ratios(scenario);
        if !ratios.rows.is_empty() {
            text.push('\n');
            text.push_str(&table(&ratios));
        }
    }
    text
}

fn table(grid: &Grid) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule: Vec<String> =
        (0..grid.head.len()).map(|column| if column == 0 { "---" } else { "---:" }.to_owned()).collect();
    let rows: String = grid.rows.iter().map(|row| line(row)).collect();
    format!("{}{}{rows}", line(&grid.head), line(&rule))
}
