//! The text exposition format, version 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::hist::{BOUNDS_THOUSANDTHS, Buckets};
use super::interval::{HttpCounters, TcpCounters};
use super::labels::{Labels, escape};

/// How a family's samples change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// They only grow.
    Counter,
    /// They go up and down.
    Gauge,
}

/// One value with its labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Names and values of the labels.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

/// A metric of the proxy itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What it tells.
    pub help: &'static str,
    /// Counter or gauge.
    pub kind: FamilyKind,
    /// Its samples.
    pub samples: Vec<Sample>,
}

impl Family {
    /// A counter without labels.
    pub fn counter(name: &'static str, help: &'static str, value: f64) -> Family {
        let samples = vec![Sample { labels: Vec::new(), value }];
        Family { name, help, kind: FamilyKind::Counter, samples }
    }

    /// A gauge without labels.
    pub fn gauge(name: &'static str, help: &'static str, value: f64) -> Family {
        Family { kind: FamilyKind::Gauge, ..Family::counter(name, help, value) }
    }

    /// Adds a sample with labels.
    pub fn with(mut self, labels: &[(&'static str, &str)], value: f64) -> Family {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.samples.push(Sample { labels, value });
        self
    }

    /// A family without samples, to be filled by [`Family::with`].
    pub fn empty(name: &'static str, help: &'static str, kind: FamilyKind) -> Family {
        Family { name, help, kind, samples: Vec::new() }
    }
}

/// Renders a family.
pub(super) fn family(family: &Family, out: &mut String) {
    let kind = match family.kind {
        FamilyKind::Counter => "counter",
        FamilyKind::Gauge => "gauge",
    };
    head(family.name, family.help, kind, out);
    for sample in &family.samples {
        out.push_str(family.name);
        for (index, (name, value)) in sample.labels.iter().enumerate() {
            out.push(if index == 0 { '{' } else { ',' });
            out.push_str(name);
            out.push_str("=\"");
            escape(value, out);
            out.push('"');
        }
        if !sample.labels.is_empty() {
            out.push('}');
        }
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(out, " {}", sample.value);
    }
}

pub(super) fn http(series: &BTreeMap<Labels, HttpCounters>, out: &mut String) {
    counter(
        "istio_requests_total",
        "Requests handled by the proxy.",
        series.iter().map(|(labels, counters)| (&**labels, counters.requests)),
        out,
    );
    histogram(
        "istio_request_duration_milliseconds",
        "Duration of requests in milliseconds.",
        series.iter().map(|(labels, counters)| (&**labels, &counters.duration_ms)),
        out,
    );
    histogram(
        "istio_request_bytes",
        "Size of requests in bytes, head and body.",
        series.iter().map(|(labels, counters)| (&**labels, &counters.request_bytes)),
        out,
    );
    histogram(
        "istio_response_bytes",
        "Size of responses in bytes, head and body.",
        series.iter().map(|(labels, counters)| (&**labels, &counters.response_bytes)),
        out,
    );
}

pub(super) fn tcp(series: &BTreeMap<Labels, TcpCounters>, out: &mut String) {
    type Pick = fn(&TcpCounters) -> u64;
    let families: [(&str, &str, Pick); 4] = [
        ("istio_tcp_sent_bytes_total", "Bytes sent to TCP clients.", |it| it.sent_bytes),
        ("istio_tcp_received_bytes_total", "Bytes received from TCP clients.", |it| it.received_bytes),
        ("istio_tcp_connections_opened_total", "TCP connections opened.", |it| it.opened),
        ("istio_tcp_connections_closed_total", "TCP connections closed.", |it| it.closed),
    ];
    for (name, help, pick) in families {
        counter(name, help, series.iter().map(|(labels, counters)| (&**labels, pick(counters))), out);
    }
}

fn head(name: &str, help: &str, kind: &str, out: &mut String) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn counter<'a>(name: &str, help: &str, series: impl Iterator<Item = (&'a str, u64)>, out: &mut String) {
    head(name, help, "counter", out);
    for (labels, value) in series {
        let _ = writeln!(out, "{name}{{{labels}}} {value}");
    }
}

fn histogram<'a>(
    name: &str,
    help: &str,
    series: impl Iterator<Item = (&'a str, &'a Buckets)>,
    out: &mut String,
) {
    head(name, help, "histogram", out);
    for (labels, buckets) in series {
        let mut below = 0;
        for (count, bound) in buckets.counts().iter().zip(BOUNDS_THOUSANDTHS) {
            below += count;
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{}\"}} {below}", bound as f64 / 1_000.0);
        }
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", buckets.count());
        let sum = buckets.sum_thousandths();
        let _ = match sum % 1_000 {
            0 => writeln!(out, "{name}_sum{{{labels}}} {}", sum / 1_000),
            rest => writeln!(out, "{name}_sum{{{labels}}} {}.{rest:03}", sum / 1_000),
        };
        let _ = writeln!(out, "{name}_count{{{labels}}} {}", buckets.count());
    }
}
