//! Plots as inline SVG, coloured by the page's style sheet: bars, a percentile plot, and lines over a size.

use std::fmt::Write as _;

use super::view::figure;

/// Width of every plot, in its own units.
const WIDTH: f64 = 960.0;
/// Room for names to the left of bars.
const NAMES: f64 = 150.0;
/// Room for figures to the right of bars.
const FIGURES: f64 = 210.0;
/// Height of a bar with its gap.
const PITCH: f64 = 30.0;

/// A bar: its name, the id that colours it, its parts from left to right, and what stands beside it.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Name.
    pub name: String,
    /// Subject's id.
    pub colour: &'static str,
    /// Lengths; the first is drawn in full colour, the next paler.
    pub parts: Vec<f64>,
    /// Text beside it.
    pub note: String,
}

/// A line: its name, the id that colours it, its points.
#[derive(Clone, Debug)]
pub struct Line {
    /// Name.
    pub name: String,
    /// Subject's id.
    pub colour: &'static str,
    /// Points, x rising.
    pub points: Vec<(f64, f64)>,
}

/// Text that is safe inside XML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Horizontal bars on one scale.
pub fn bars(bars: &[Bar]) -> String {
    let longest = bars.iter().map(|bar| bar.parts.iter().sum::<f64>()).fold(0.0, f64::max);
    if longest <= 0.0 {
        return String::new();
    }
    let scale = (WIDTH - NAMES - FIGURES) / longest;
    let mut svg = open(bars.len() as f64 * PITCH + 6.0);
    for (number, bar) in bars.iter().enumerate() {
        let top = number as f64 * PITCH + 4.0;
        let bold = if bar.colour == "dromon" { " class=\"bold\"" } else { "" };
        let middle = top + 15.0;
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\"{bold}>{}</text>",
            NAMES - 10.0,
            escape(&bar.name)
        );
        let mut left = NAMES;
        for (part, length) in bar.parts.iter().enumerate() {
            let width = (length * scale).max(1.0);
            let opacity = if part == 0 { "1" } else { ".5" };
            let _ = write!(
                svg,
                "<rect x=\"{left:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"22\" rx=\"3\" fill=\"var(--{})\" opacity=\"{opacity}\"/>",
                bar.colour
            );
            left += width;
        }
        let _ =
            write!(svg, "<text x=\"{:.1}\" y=\"{middle}\"{bold}>{}</text>", left + 8.0, escape(&bar.note));
    }
    svg.push_str("</svg>");
    svg
}

/// Latency by percentile: the further right, the rarer (each step one nine more); latency on a logarithmic scale.
pub fn percentiles(lines: &[Line], unit: &str) -> String {
    let marks = [
        (0.0, "0"),
        (50.0, "50"),
        (90.0, "90"),
        (99.0, "99"),
        (99.9, "99.9"),
        (99.99, "99.99"),
        (99.999, "99.999"),
    ];
    let nines = |percentile: f64| -(1.0 - percentile.min(99.999) / 100.0).log10();
    let lines: Vec<Line> = lines
        .iter()
        .map(|line| Line {
            points: line
                .points
                .iter()
                .filter(|(at, _)| *at < 100.0)
                .map(|&(at, value)| (nines(at), value))
                .collect(),
            ..line.clone()
        })
        .collect();
    let ticks: Vec<(f64, String)> = marks.map(|(at, name)| (nines(at), format!("{name} %"))).into();
    chart(&lines, &ticks, unit)
}

/// A figure over sizes, the sizes on a logarithmic scale.
pub fn sizes(lines: &[Line], sizes: &[f64], unit: &str) -> String {
    let lines: Vec<Line> = lines
        .iter()
        .map(|line| Line {
            points: line.points.iter().map(|&(at, value)| (at.max(1.0).log10(), value)).collect(),
            ..line.clone()
        })
        .collect();
    let ticks: Vec<(f64, String)> = sizes.iter().map(|&size| (size.max(1.0).log10(), figure(size))).collect();
    chart(&lines, &ticks, unit)
}

fn open(height: f64) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\">")
}

/// Lines over ticks, with a logarithmic vertical axis.
fn chart(lines: &[Line], ticks: &[(f64, String)], unit: &str) -> String {
    let values =
        || lines.iter().flat_map(|line| &line.points).map(|point| point.1).filter(|value| *value > 0.0);
    let (least, most) = (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));
    if most <= 0.0 {
        return String::new();
    }
    let (bottom, top) = ((least * 0.9).log10(), (most * 1.1).log10());
    let (left, right, high, low) = (70.0, WIDTH - 150.0, 24.0, 330.0);
    let (first, last) = (ticks.first().map_or(0.0, |tick| tick.0), ticks.last().map_or(1.0, |tick| tick.0));
    let x = |at: f64| left + (at - first) / (last - first).max(1e-9) * (right - left);
    let y = |value: f64| low - (value.max(1e-9).log10() - bottom) / (top - bottom).max(1e-9) * (low - high);
    let mut svg = open(370.0);
    let _ = write!(svg, "<text class=\"soft\" x=\"8\" y=\"14\">{}</text>", escape(unit));
    for decade in -1..8 {
        for step in [1.0, 2.0, 5.0] {
            let value = step * 10f64.powi(decade);
            if (bottom..=top).contains(&value.log10()) {
                let at = y(value);
                let _ = write!(
                    svg,
                    "<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>"
                );
                let _ = write!(
                    svg,
                    "<text class=\"soft\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                    left - 8.0,
                    at + 4.0,
                    figure(value)
                );
            }
        }
    }
    write_ticks(&mut svg, ticks, x, (high, low));
    let mut labels: Vec<(f64, &Line)> = Vec::new();
    for line in lines {
        let points: Vec<String> =
            line.points.iter().map(|&(at, value)| format!("{:.1},{:.1}", x(at), y(value))).collect();
        let width = if line.colour == "dromon" { 3 } else { 2 };
        let _ = write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"var(--{})\" stroke-width=\"{width}\" stroke-linejoin=\"round\"/>",
            points.join(" "),
            line.colour
        );
        if let Some(&(_, value)) = line.points.last() {
            labels.push((y(value), line));
        }
    }
    write_legend(&mut svg, labels, right);
    svg.push_str("</svg>");
    svg
}

fn write_ticks(svg: &mut String, ticks: &[(f64, String)], x: impl Fn(f64) -> f64, (high, low): (f64, f64)) {
    for (at, name) in ticks {
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{high}\" y2=\"{low}\"/>",
            x(*at)
        );
        let _ = write!(
            svg,
            "<text class=\"soft\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>",
            x(*at),
            low + 18.0
        );
    }
}

fn write_legend(svg: &mut String, mut labels: Vec<(f64, &Line)>, right: f64) {
    place(&mut labels);
    for (at, line) in labels {
        let _ = write!(
            svg,
            "<rect x=\"{}\" y=\"{:.1}\" width=\"9\" height=\"9\" rx=\"2\" fill=\"var(--{})\"/><text x=\"{}\" y=\"{:.1}\">{}</text>",
            right + 10.0,
            at - 4.5,
            line.colour,
            right + 25.0,
            at + 4.0,
            escape(&line.name)
        );
    }
}

/// Moves labels apart, in their order, so that none covers another.
fn place(labels: &mut [(f64, &Line)]) {
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut least = 12.0;
    for (at, _) in labels {
        *at = at.max(least);
        least = *at + 16.0;
    }
}
