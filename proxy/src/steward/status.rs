//! What the steward knows of the proxy's state, as its admin endpoints show it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use dromon_auth::report::Report;
use dromon_core::config::table::Table;
use serde::Serialize;

use crate::mailbox::DriverReport;

/// The state of everything, now.
#[derive(Debug, Default)]
pub struct Status {
    /// The table in force at all shards.
    pub table: Option<Arc<Table>>,
    /// The controller's version of each type in force, by type.
    pub system_versions: BTreeMap<String, String>,
    /// Listeners by name.
    pub listeners: BTreeMap<Arc<str>, ListenerStatus>,
    /// Shards by number.
    pub shards: Vec<ShardStatus>,
    /// The feed.
    pub feed: FeedStatus,
    /// What is wrong with the newest configuration, one line each.
    pub refused: Vec<String>,
    /// Why the first table is not in force yet, or the current one not everywhere.
    pub pending: Option<String>,
    /// The proxy's own certificate.
    pub certificates: Report,
    /// Draining has begun.
    pub draining: bool,
    /// What is counted here.
    pub counts: Counts,
}

/// A listener's socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// Where it listens, with the port that the kernel chose where the configured one is 0.
    pub address: SocketAddr,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One shard.
#[derive(Clone, Debug, Default)]
pub struct ShardStatus {
    /// What it runs on; none before it has said so.
    pub driver: Option<DriverReport>,
    /// The table it has.
    pub version: u64,
    /// It has ended.
    pub lost: bool,
}

/// The connection to the controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedStatus {
    /// Where the configuration comes from.
    pub source: String,
    /// A stream stands and has been answered.
    pub connected: bool,
    /// Why it does not.
    pub last_error: Option<String>,
    /// Streams opened.
    pub streams: u64,
    /// How long the last loss of the stream lasted until the controller, or another replica, answered again, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_outage_ms: Option<u64>,
    /// Since when it is lost.
    #[serde(skip)]
    pub lost: Option<Instant>,
}

impl FeedStatus {
    /// A stream is answered; true if none was before.
    pub fn answered(&mut self, now: Instant) -> bool {
        if let Some(lost) = self.lost.take() {
            self.last_outage_ms = u64::try_from(now.duration_since(lost).as_millis()).ok();
        }
        self.last_error = None;
        !std::mem::replace(&mut self.connected, true)
    }

    /// The stream has ended, or there was none; true if that is news.
    pub fn ended(&mut self, now: Instant, reason: &str) -> bool {
        if self.connected {
            self.lost = Some(now);
        }
        let is_news = self.connected || self.last_error.as_deref() != Some(reason);
        self.connected = false;
        self.last_error = Some(reason.to_owned());
        is_news
    }
}

/// The steward's own counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Tables in force since the start.
    pub tables: u64,
    /// Responses acknowledged.
    pub acks: u64,
    /// Responses refused in part.
    pub nacks: u64,
    /// Objects refused.
    pub refused_objects: u64,
    /// Hosts asked for on first use.
    pub needs: u64,
    /// Rules and destinations that nothing needed any more.
    pub forgotten: u64,
    /// Names looked up.
    pub dns_lookups: u64,
    /// Lookups without an answer.
    pub dns_failures: u64,
}

impl Status {
    /// Whether traffic can flow, or why not.
    pub fn ready(&self) -> Result<(), String> {
        if self.draining {
            return Err("draining: connections end with their next answer".into());
        }
        if let Some(shard) = self.shards.iter().position(|shard| shard.lost) {
            return Err(format!("shard {shard} has ended"));
        }
        if self.table.is_some() {
            return Ok(());
        }
        let detail = match (&self.pending, &self.feed.last_error) {
            (Some(pending), _) => pending.clone(),
            (None, Some(error)) => format!("{}: {error}", self.feed.source),
            (None, None) => format!("waiting for {}", self.feed.source),
        };
        Err(format!("no configuration yet: {detail}"))
    }
}

#[cfg(test)]
mod tests;
