//! Who is at either end of mutual TLS connections, so that many connections of one peer share one name.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use dromon_core::limits::PEERS_MAX;
use dromon_core::telemetry::Principals;

/// Both ends of a connection of mutual TLS.
#[derive(Debug)]
pub struct Ends {
    /// As metrics name them.
    pub principals: Arc<Principals>,
    /// The value of `x-forwarded-client-cert` for the application (Envoy's form).
    pub forwarded: Box<str>,
}

/// SPIFFE ids of client and server.
type Key = (Box<str>, Box<str>);

/// Peers of a shard.
#[derive(Debug, Default)]
pub struct Peers(RefCell<HashMap<Key, Arc<Ends>>>);

impl Peers {
    /// A connection from this SPIFFE id to this one.
    pub fn ends(&self, source: &str, destination: &str) -> Arc<Ends> {
        let mut known = self.0.borrow_mut();
        let key: Key = (source.into(), destination.into());
        if let Some(found) = known.get(&key) {
            return found.clone();
        }
        // Connections keep what they hold; the next of these peers are named anew.
        if known.len() >= PEERS_MAX {
            known.clear();
        }
        let plain = |id: &str| id.strip_prefix("spiffe://").unwrap_or(id).to_owned();
        let principals = Arc::new(Principals { source: plain(source), destination: plain(destination) });
        let forwarded = format!("By={destination};URI={source}").into();
        let ends = Arc::new(Ends { principals, forwarded });
        known.insert(key, ends.clone());
        ends
    }
}

#[cfg(test)]
mod tests;
