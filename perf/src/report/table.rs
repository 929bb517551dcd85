//! The terminal's report.

use std::fmt::Write as _;

use super::view::{self, Grid};
use crate::lab::result::Lab;

/// The whole report as text.
pub fn text(lab: &Lab) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}{}", view::machine(lab), if lab.quick { "; quick run" } else { "" });
    for (name, version) in &lab.versions {
        let _ = writeln!(text, "{name}: {version}");
    }
    for (name, reason) in &lab.skipped {
        let _ = writeln!(text, "left out: {name}: {reason}");
    }
    for scenario in &lab.scenarios {
        let _ = writeln!(text, "\n{}\n{}", scenario.title, scenario.detail);
        text.push_str(&grid(&view::figures(scenario)));
        let ratios = view::ratios(scenario);
        if !ratios.rows.is_empty() {
            text.push('\n');
            text.push_str(&grid(&ratios));
        }
    }
    if !lab.goals.is_empty() {
        text.push_str("\nGoals\n");
        text.push_str(&grid(&view::goals(lab)));
    }
    text.push_str(
        "\nMedians over rounds; in brackets the 95 % bootstrap interval. A g marks a throughput that the generator \
         bounded.\n",
    );
    text
}

/// A grid with aligned columns.
pub fn grid(grid: &Grid) -> String {
    let columns = grid.head.len();
    let lines = || std::iter::once(&grid.head).chain(&grid.rows);
    let width = |column: usize| {
        lines().filter_map(|line| Some(line.get(column)?.chars().count())).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines() {
        let mut row = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let fill = " ".repeat(width - cell.chars().count());
            // Names and notes to the left, figures to the right.
            let left = column == 0 || cell.chars().any(char::is_alphabetic) && cell.len() > 8;
            row.push_str("  ");
            row.push_str(&if left { format!("{cell}{fill}") } else { format!("{fill}{cell}") });
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}
