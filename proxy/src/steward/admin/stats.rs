//! `/stats`: numbers for people.

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
    let page = json!({
        "ready": status.ready().is_ok(),
        "notReadyBecause": status.ready().err(),
        "version": status.table.as_ref().map(|table| table.version),
        "feed": status.feed,
        "counts": status.counts,
        "shards": shards,
        "accessLogDroppedBytes": totals.access_log_dropped_bytes,
    });
    format!("{page:#}\n")
}

fn counts(stats: &ShardStats) -> serde_json::Map<String, serde_json::Value> {
    named(stats).into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

/// A shard's numbers with their names.
pub fn named(stats: &ShardStats) -> [(&'static str, u64); 11] {
    [
        ("downstream_connections_active", stats.downstream_connections_active),
        ("downstream_connections_total", stats.downstream_connections_total),
        ("downstream_connections_refused", stats.downstream_connections_refused),
        ("upstream_connections_active", stats.upstream_connections_active),
        ("upstream_connections_total", stats.upstream_connections_total),
        ("upstream_connections_stale", stats.upstream_connections_stale),
        ("upstream_connections_poisoned", stats.upstream_connections_poisoned),
        ("upstream_connections_idle", stats.upstream_connections_idle),
        ("upstream_connections_failed", stats.upstream_connections_failed),
        ("requests_active", stats.requests_active),
        ("access_log_dropped_bytes", stats.access_log_dropped_bytes),
    ]
}

/// The page as text.
pub fn text(status: &Status, totals: &Totals) -> String {
    let mut page = String::new();
    let mut line = |name: &str, value: String| page.push_str(&format!("{name:36} {value}\n"));
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
        for (name, value) in named(stats) {
            line(&format!("shard.{}.{name}", shard.0), value.to_string());
        }
    }
    page
}

fn driver(report: Option<&DriverReport>) -> String {
    match report {
        None => "not started".into(),
        Some(report) if report.reason.is_empty() => report.driver.into(),
        Some(report) => format!("{} ({})", report.driver, report.reason),
    }
}
