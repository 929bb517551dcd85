//! `/stats/prometheus`: numbers in Prometheus' text format, 0.0.4.

use super::super::status::Status;
use super::super::totals::Totals;
use super::stats::named;

/// The page.
pub fn page(status: &Status, totals: &Totals) -> String {
    let mut page = Page::default();
    totals.exchanges.render(&[], &mut page.text);
    page.own(status, totals);
    page.text
}

#[derive(Debug, Default)]
struct Page {
    text: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escape(value))).collect();
        match labels.is_empty() {
            true => self.text.push_str(&format!("{name} {value}\n")),
            false => self.text.push_str(&format!("{name}{{{}}} {value}\n", labels.join(","))),
        }
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// The proxy's own state.
    fn own(&mut self, status: &Status, totals: &Totals) {
        let counts = &status.counts;
        let version = status.table.as_ref().map_or(0, |table| table.version);
        self.single("dromon_ready", "gauge", "1 when traffic can flow.", status.ready().is_ok().into());
        self.single("dromon_draining", "gauge", "1 once draining has begun.", status.draining.into());
        self.single("dromon_config_version", "gauge", "Version of the table in force.", version);
        self.single("dromon_config_tables_total", "counter", "Tables put in force.", counts.tables);
        self.single("dromon_config_refused_total", "counter", "Objects refused.", counts.refused_objects);
        self.single(
            "dromon_feed_connected",
            "gauge",
            "1 while the controller answers.",
            status.feed.connected.into(),
        );
        self.single(
            "dromon_feed_streams_total",
            "counter",
            "Streams opened to the controller.",
            status.feed.streams,
        );
        self.single("dromon_feed_acks_total", "counter", "Responses acknowledged.", counts.acks);
        self.single("dromon_feed_nacks_total", "counter", "Responses refused in part.", counts.nacks);
        self.single("dromon_feed_needs_total", "counter", "Hosts asked for on first use.", counts.needs);
        self.single("dromon_dns_lookups_total", "counter", "Names looked up.", counts.dns_lookups);
        self.single(
            "dromon_dns_failures_total",
            "counter",
            "Lookups without an answer.",
            counts.dns_failures,
        );
        self.single(
            "dromon_access_log_dropped_bytes_total",
            "counter",
            "Access-log bytes that could not be written.",
            totals.access_log_dropped_bytes
                + totals.shards.values().map(|shard| shard.access_log_dropped_bytes).sum::<u64>(),
        );
        self.family(
            "dromon_shard_driver_info",
            "gauge",
            "What a shard does its I/O with, and why nothing better.",
        );
        for (number, shard) in status.shards.iter().enumerate() {
            if let Some(report) = &shard.driver {
                let number = number.to_string();
                let labels = [("shard", &*number), ("driver", report.driver), ("reason", &report.reason)];
                self.sample("dromon_shard_driver_info", &labels, 1);
            }
        }
        self.per_shard(totals);
    }

    fn per_shard(&mut self, totals: &Totals) {
        let families = named(&crate::shard::stats::ShardStats::default());
        for (at, (name, _)) in families.iter().enumerate() {
            let (kind, family) = match name.strip_suffix("_active") {
                Some(_) => ("gauge", format!("dromon_{name}")),
                None if name.ends_with("_total") => ("counter", format!("dromon_{name}")),
                None => ("counter", format!("dromon_shard_{name}_total")),
            };
            self.family(&family, kind, "Of one shard.");
            for (shard, stats) in &totals.shards {
                if let Some((_, value)) = named(stats).get(at) {
                    self.sample(&family, &[("shard", &shard.0.to_string())], *value);
                }
            }
        }
    }
}

/// A label's value, escaped as the format asks.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
