//! `/stats/prometheus`: Istio's standard metrics, then the proxy's own.

use dromon_core::config::table::{Destination, Table};
use dromon_core::limits::DESTINATION_METRICS_MAX;
use dromon_core::telemetry::{Family, FamilyKind};

use rustls::pki_types::UnixTime;

use super::super::status::Status;
use super::super::totals::Totals;
use super::stats::NUMBERS;
use crate::refusal::{Counts, Ground, Offence, Side};

/// The page.
pub fn page(status: &Status, totals: &Totals) -> String {
    let mut families = own(status, totals);
    families.extend(of_shards(totals));
    if let Some(table) = &status.table {
        families.extend(of_destinations(table));
    }
    let mut page = String::new();
    totals.exchanges.render(&families, &mut page);
    page
}

/// The steward's own.
fn own(status: &Status, totals: &Totals) -> Vec<Family> {
    let counts = &status.counts;
    let flag = |flag: bool| f64::from(u8::from(flag));
    let version = status.table.as_ref().map_or(0, |table| table.version);
    let log_dropped = totals.access_log_dropped_bytes
        + totals.shards.values().map(|shard| shard.access_log_dropped_bytes).sum::<u64>();
    let dead = status.listeners.values().filter(|listener| listener.error.is_some()).count();
    let counter = |name, help, value: u64| Family::counter(name, help, value as f64);
    let mut drivers = Family::empty(
        "dromon_shard_driver_info",
        "What a shard does its I/O with, and why nothing better.",
        FamilyKind::Gauge,
    );
    for (number, shard) in status.shards.iter().enumerate() {
        if let Some(report) = &shard.driver {
            let number = number.to_string();
            drivers = drivers
                .with(&[("shard", &number), ("driver", report.driver), ("reason", &report.reason)], 1.0);
        }
    }
    let mut expiry = Family::empty(
        "dromon_certificate_expiry_seconds",
        "Time until the proxy's own certificate expires.",
        FamilyKind::Gauge,
    );
    if let Some(held) = &status.certificates.identity {
        let left = held.not_after as f64 - UnixTime::now().as_secs() as f64;
        expiry = expiry.with(&[("id", &held.id)], left);
    }
    let mut families = vec![
        expiry,
        Family::gauge("dromon_ready", "1 when traffic can flow.", flag(status.ready().is_ok())),
        Family::gauge("dromon_draining", "1 once draining has begun.", flag(status.draining)),
        Family::gauge("dromon_config_version", "Version of the table in force.", version as f64),
        counter("dromon_config_tables_total", "Tables put in force.", counts.tables),
        counter("dromon_config_refused_total", "Objects refused.", counts.refused_objects),
        Family::gauge("dromon_listeners_closed", "Listeners that could not be opened.", dead as f64),
        counter("dromon_dns_lookups_total", "Names looked up.", counts.dns_lookups),
        counter("dromon_dns_failures_total", "Lookups without an answer.", counts.dns_failures),
        counter(
            "dromon_access_log_dropped_bytes_total",
            "Access-log bytes that could not be handed over or written.",
            log_dropped,
        ),
        drivers,
    ];
    families.extend(of_refusals(&totals.refusals));
    families.extend(of_feed(status));
    families
}

/// Connections that were turned away, by reason.
fn of_refusals(refusals: &Counts) -> [Family; 3] {
    let mut failed = Family::empty(
        "dromon_tls_handshakes_failed_total",
        "TLS handshakes that failed, and clients refused for speaking plaintext, by reason.",
        FamilyKind::Counter,
    );
    let mut by_clients = Family::empty(
        "dromon_downstream_http2_abuses_total",
        "HTTP/2 connections closed because their client spent a budget on abuse, by the budget.",
        FamilyKind::Counter,
    );
    let mut by_servers = Family::empty(
        "dromon_upstream_http2_abuses_total",
        "HTTP/2 connections closed because their server spent a budget on abuse, by the budget.",
        FamilyKind::Counter,
    );
    for (Ground { offence, side, reason }, count) in refusals {
        let count = *count as f64;
        match (offence, side) {
            (Offence::Handshake, side) => {
                failed = failed.with(&[("side", side.name()), ("reason", reason)], count);
            }
            (Offence::Http2Abuse, Side::Downstream) => {
                by_clients = by_clients.with(&[("reason", reason)], count);
            }
            (Offence::Http2Abuse, Side::Upstream) => {
                by_servers = by_servers.with(&[("reason", reason)], count);
            }
        }
    }
    [failed, by_clients, by_servers]
}

/// The connection to the controller.
fn of_feed(status: &Status) -> Vec<Family> {
    let (feed, counts) = (&status.feed, &status.counts);
    let counter = |name, help, value: u64| Family::counter(name, help, value as f64);
    vec![
        Family::gauge(
            "dromon_feed_connected",
            "1 while the controller answers.",
            f64::from(u8::from(feed.connected)),
        ),
        Family::gauge(
            "dromon_feed_last_outage_seconds",
            "How long the last loss of the feed lasted; 0 where there was none.",
            feed.last_outage_ms.unwrap_or_default() as f64 / 1_000.0,
        ),
        counter("dromon_feed_streams_total", "Streams opened to the controller.", feed.streams),
        counter("dromon_feed_acks_total", "Responses acknowledged.", counts.acks),
        counter("dromon_feed_nacks_total", "Responses refused in part.", counts.nacks),
        counter("dromon_feed_needs_total", "Rules and destinations asked for on first use.", counts.needs),
        counter("dromon_feed_forgotten_total", "Rules and destinations let go of, unused.", counts.forgotten),
    ]
}

/// Connections and exchanges of each shard.
fn of_shards(totals: &Totals) -> Vec<Family> {
    // Dropped log bytes are told once, with what could not be written.
    let numbers = NUMBERS.iter().filter(|number| number.name != "access_log_dropped_bytes");
    numbers
        .map(|number| {
            totals.shards.iter().fold(
                Family::empty(number.metric, number.help, number.kind),
                |family, (shard, stats)| {
                    family.with(&[("shard", &shard.0.to_string())], (number.read)(stats) as f64)
                },
            )
        })
        .collect()
}

/// Caps, circuits and health of destinations, the first [`DESTINATION_METRICS_MAX`] of them.
fn of_destinations(table: &Table) -> Vec<Family> {
    type Read = fn(&Destination) -> u64;
    let families: [(&'static str, &'static str, FamilyKind, Read); 7] = [
        ("dromon_destination_connections", "Connections open.", FamilyKind::Gauge, |it| {
            u64::from(it.state.connections())
        }),
        ("dromon_destination_pending", "Requests that wait for a connection.", FamilyKind::Gauge, |it| {
            u64::from(it.state.pending())
        }),
        ("dromon_destination_requests", "Requests in flight.", FamilyKind::Gauge, |it| {
            u64::from(it.state.requests())
        }),
        ("dromon_destination_endpoints", "Endpoints that may be used.", FamilyKind::Gauge, |it| {
            it.endpoints.len() as u64
        }),
        ("dromon_destination_endpoints_ejected", "Endpoints ejected now.", FamilyKind::Gauge, |it| {
            it.endpoints.iter().filter(|endpoint| endpoint.state.ejected()).count() as u64
        }),
        ("dromon_destination_ejections_total", "Ejections of endpoints.", FamilyKind::Counter, |it| {
            it.state.ejections_total()
        }),
        ("dromon_destination_overflows_total", "Requests turned away at a cap.", FamilyKind::Counter, |it| {
            it.state.overflows_total()
        }),
    ];
    let destinations: Vec<_> = table.destinations().take(DESTINATION_METRICS_MAX).collect();
    families
        .into_iter()
        .map(|(name, help, kind, read)| {
            destinations.iter().fold(Family::empty(name, help, kind), |family, it| {
                family.with(&[("destination", &it.model.name)], read(it) as f64)
            })
        })
        .collect()
}
