//! `/stats`: numbers for people.

use dromon_core::telemetry::FamilyKind;
use serde_json::json;

use super::super::status::Status;
use super::super::totals::Totals;
use crate::mailbox::DriverReport;
use crate::shard::stats::ShardStats;

/// The page as JSON.
pub fn json(status: &Status, totals: &Totals) -> String {
    let shards: Vec<_> = status
        .shards
        .iter()
        .enumerate()
        .map(|(number, shard)| {
            json!({
                "shard": number,
                "driver": shard.driver.as_ref().map(|report| report.driver),
                "driverReason": shard.driver.as_ref().map(|report| report.reason.as_str()),
                "version": shard.version,
                "counts": totals.shards.get(&crate::mailbox::ShardId(number)).map(counts),
            })
        })
        .collect();
    let latencies: serde_json::Map<_, _> = totals
        .exchanges
        .latencies()
        .map(|(name, it)| {
            let values = json!({
                "count": it.count, "p50Us": it.p50_us, "p90Us": it.p90_us, "p99Us": it.p99_us,
                "p999Us": it.p999_us, "maxUs": it.max_us,
            });
            (name.to_owned(), values)
        })
        .collect();
    let page = json!({
        "ready": status.ready().is_ok(),
        "notReadyBecause": status.ready().err(),
        "version": status.table.as_ref().map(|table| table.version),
        "feed": status.feed,
        "listeners": status.listeners,
        "counts": status.counts,
        "shards": shards,
        "latencies": latencies,
        "accessLogDroppedBytes": totals.access_log_dropped_bytes,
    });
    format!("{page:#}\n")
}

fn counts(stats: &ShardStats) -> serde_json::Map<String, serde_json::Value> {
    NUMBERS.iter().map(|number| (number.name.to_owned(), (number.read)(stats).into())).collect()
}

/// One of a shard's numbers.
#[derive(Clone, Copy, Debug)]
pub struct Number {
    /// On `/stats`.
    pub name: &'static str,
    /// For Prometheus.
    pub metric: &'static str,
    /// Counter or gauge.
    pub kind: FamilyKind,
    /// What it tells.
    pub help: &'static str,
    /// Its value.
    pub read: fn(&ShardStats) -> u64,
}

macro_rules! number {
    ($field:ident, $metric:literal, $kind:ident, $help:literal) => {
        Number {
            name: stringify!($field),
            metric: $metric,
            kind: FamilyKind::$kind,
            help: $help,
            read: |stats| stats.$field,
        }
    };
}

/// A shard's numbers.
pub const NUMBERS: [Number; 15] = [
    number!(
        downstream_connections_active,
        "dromon_downstream_connections_active",
        Gauge,
        "Client connections open now."
    ),
    number!(
        downstream_connections_total,
        "dromon_downstream_connections_total",
        Counter,
        "Client connections accepted."
    ),
    number!(
        downstream_connections_refused,
        "dromon_downstream_connections_refused_total",
        Counter,
        "Client connections refused at the cap."
    ),
    number!(
        upstream_connections_active,
        "dromon_upstream_connections_active",
        Gauge,
        "Upstream connections open now, pooled ones included."
    ),
    number!(
        upstream_connections_idle,
        "dromon_upstream_connections_idle",
        Gauge,
        "Upstream connections idle in pools now."
    ),
    number!(
        upstream_connections_total,
        "dromon_upstream_connections_total",
        Counter,
        "Upstream connections made."
    ),
    number!(
        upstream_connections_failed,
        "dromon_upstream_connections_failed_total",
        Counter,
        "Upstream connections that could not be made."
    ),
    number!(
        upstream_connections_stale,
        "dromon_upstream_connections_stale_total",
        Counter,
        "Pooled connections found closed when wanted."
    ),
    number!(
        upstream_connections_poisoned,
        "dromon_upstream_connections_poisoned_total",
        Counter,
        "Pooled connections closed because of bytes that nobody had asked for."
    ),
    number!(
        downstream_tls_handshakes_total,
        "dromon_downstream_tls_handshakes_total",
        Counter,
        "TLS handshakes with clients that were completed."
    ),
    number!(
        upstream_tls_handshakes_total,
        "dromon_upstream_tls_handshakes_total",
        Counter,
        "TLS handshakes with upstreams that were completed."
    ),
    number!(requests_active, "dromon_requests_active", Gauge, "Exchanges and relays under way now."),
    number!(
        route_waits_active,
        "dromon_route_waits_active",
        Gauge,
        "Requests and connections that wait for rules from the controller now."
    ),
    number!(
        route_waits_refused,
        "dromon_route_waits_refused_total",
        Counter,
        "Requests and connections refused because too many waited for rules."
    ),
    number!(
        access_log_dropped_bytes,
        "dromon_access_log_dropped_bytes_total",
        Counter,
        "Access-log bytes dropped at a full mailbox."
    ),
];

/// The page as text.
pub fn text(status: &Status, totals: &Totals) -> String {
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut line = |name: &str, value: String| lines.push((name.to_owned(), value));
    line("ready", status.ready().map_or_else(|reason| format!("no: {reason}"), |()| "yes".into()));
    line("config.version", status.table.as_ref().map_or(0, |table| table.version).to_string());
    line("config.tables", status.counts.tables.to_string());
    line("config.acks", status.counts.acks.to_string());
    line("config.nacks", status.counts.nacks.to_string());
    line("config.refused_objects", status.counts.refused_objects.to_string());
    line("feed.connected", if status.feed.connected { "yes".into() } else { "no".into() });
    line("feed.streams", status.feed.streams.to_string());
    line("dns.lookups", status.counts.dns_lookups.to_string());
    line("dns.failures", status.counts.dns_failures.to_string());
    for (number, shard) in status.shards.iter().enumerate() {
        line(&format!("shard.{number}.driver"), driver(shard.driver.as_ref()));
        line(&format!("shard.{number}.version"), shard.version.to_string());
    }
    for (shard, stats) in &totals.shards {
        for number in NUMBERS {
            line(&format!("shard.{}.{}", shard.0, number.name), (number.read)(stats).to_string());
        }
    }
    for error in &status.refused {
        line("refused", error.clone());
    }
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut page: String = lines.iter().map(|(name, value)| format!("{name:width$} {value}\n")).collect();
    latencies(totals, &mut page);
    page
}

/// A table of latencies in milliseconds, by destination.
fn latencies(totals: &Totals, page: &mut String) {
    let milliseconds = |micros: u64| format!("{:.1}", micros as f64 / 1_000.0);
    let title = "latency in ms, by destination";
    let width = totals.exchanges.latencies().map(|(name, _)| name.len()).max().unwrap_or(0).max(title.len());
    page.push_str(&format!(
        "\n{title:width$} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9}\n",
        "count", "p50", "p90", "p99", "p99.9", "max"
    ));
    for (name, it) in totals.exchanges.latencies() {
        let [p50, p90, p99, p999, max] =
            [it.p50_us, it.p90_us, it.p99_us, it.p999_us, it.max_us].map(milliseconds);
        page.push_str(&format!(
            "{name:width$} {:>10} {p50:>9} {p90:>9} {p99:>9} {p999:>9} {max:>9}\n",
            it.count
        ));
    }
}

fn driver(report: Option<&DriverReport>) -> String {
    match report {
        None => "not started".into(),
        Some(report) if report.reason.is_empty() => report.driver.into(),
        Some(report) => format!("{} ({})", report.driver, report.reason),
    }
}
