use super::{csv, html, markdown, table, view};
use crate::lab::subject::Subject;
use crate::lab::{
    goals,
    result::Lab,
    tests::{Figure, lab},
};

fn sample() -> Lab {
    let figures: [Figure<'_>; 10] = [
        ("small", Subject::Dromon, "", "cpu_us", &[10.0, 12.0, 11.0]),
        ("small", Subject::Dromon, "", "cpu_user_us", &[1.0, 2.0, 1.5]),
        ("small", Subject::Dromon, "", "cpu_system_us", &[9.0, 10.0, 9.5]),
        ("small", Subject::Envoy, "", "cpu_us", &[50.0, 60.0, 55.0]),
        ("small", Subject::Envoy, "", "requests_per_second", &[20_000.0, 21_000.0, 20_500.0]),
        ("small", Subject::Envoy, "", "generator_bound", &[1.0, 1.0, 1.0]),
        ("latency-80", Subject::Dromon, "", "p99_us", &[300.0, 310.0]),
        ("latency-80", Subject::Envoy, "", "p99_us", &[900.0, 930.0]),
        ("table", Subject::Dromon, "10 hosts", "cpu_us", &[10.0]),
        ("table", Subject::Dromon, "10,000 hosts", "cpu_us", &[10.5]),
    ];
    let mut lab = lab(&figures);
    lab.goals = goals::judge(&lab, &[]);
    lab
}

#[test]
fn a_run_survives_its_json_file() {
    let lab = sample();
    let text = serde_json::to_string(&lab).unwrap();
    let again: Lab = serde_json::from_str(&text).unwrap();
    assert_eq!(html::page(&again), html::page(&lab));
    assert_eq!(table::text(&again), table::text(&lab));
}

#[test]
fn the_table_shows_medians_ratios_and_what_the_generator_bounded() {
    let text = table::text(&sample());
    let line =
        |start: &str| text.lines().find(|line| line.trim_start().starts_with(start)).unwrap_or_default();
    assert!(line("Envoy").contains("55 ") && line("Envoy").contains("20,500 g"), "{text}");
    assert!(line("Dromon / Envoy").contains("0.20"), "{text}");
    assert!(text.contains("met"), "{text}");
}

#[test]
fn the_page_stands_alone_and_is_escaped() {
    let page = html::page(&sample());
    for wanted in ["<svg", "99.9 %", "polyline", "detail &lt;&amp;&gt;", "Envoy's configuration", "chip met"]
    {
        assert!(page.contains(wanted), "{wanted}");
    }
    for unwanted in ["<script", "http://cdn", "https://", "detail <&>", "NaN", "inf"] {
        assert!(!page.contains(unwanted), "{unwanted}");
    }
}

#[test]
fn every_sample_is_a_line_of_csv() {
    let text = csv::samples(&sample());
    assert!(text.contains("small,envoy,,1,cpu_us,60\n"), "{text}");
    assert!(text.contains("table,dromon,\"10,000 hosts\",0,cpu_us,10.5\n"), "{text}");
    assert!(text.contains("latency-80,dromon,,0,latency_p99_us,20\n"), "{text}");
}

#[test]
fn figures_have_the_digits_they_deserve() {
    let figures = [
        (0.0, "0"),
        (0.254, "0.25"),
        (9.876, "9.88"),
        (12.34, "12.3"),
        (123.4, "123"),
        (1_234_567.0, "1,234,567"),
    ];
    for (value, text) in figures {
        assert_eq!(view::figure(value), text);
    }
}

#[test]
fn markdown_has_the_goals_and_the_main_figures() {
    let text = markdown::text(&sample());
    assert!(text.contains("| 100 B: CPU per request / Envoy's | ≤ 0.25 | 0.20 | met |  |\n"), "{text}");
    assert!(text.contains("| Dromon | 11 | 1.50 | 9.50 |"), "{text}");
}
