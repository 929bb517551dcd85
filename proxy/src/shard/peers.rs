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
    /// SHA-256 of the client's certificate, which the value names.
    hash: [u8; 32],
}

/// SPIFFE ids of client and server.
type Key = (Box<str>, Box<str>);

/// Peers of a shard.
#[derive(Debug, Default)]
pub struct Peers(RefCell<HashMap<Key, Arc<Ends>>>);

impl Peers {
    /// A connection from this SPIFFE id, proved by a certificate of this SHA-256, to this one.
    pub fn ends(&self, source: &str, destination: &str, hash: [u8; 32]) -> Arc<Ends> {
        let mut known = self.0.borrow_mut();
        let key: Key = (source.into(), destination.into());
        // A renewed certificate, or another of the same account, leaves the account's name what it is.
        let principals = match known.get(&key) {
            Some(found) if found.hash == hash => return found.clone(),
            found => found.map(|found| found.principals.clone()),
        };
        // Connections keep what they hold; the next of these peers are named anew.
        if known.len() >= PEERS_MAX {
            known.clear();
        }
        let plain = |id: &str| id.strip_prefix("spiffe://").unwrap_or(id).to_owned();
        let named = || Arc::new(Principals { source: plain(source), destination: plain(destination) });
        let principals = principals.unwrap_or_else(named);
        let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let forwarded = format!("By={destination};Hash={digits};URI={source}").into();
        let ends = Arc::new(Ends { principals, forwarded, hash });
        known.insert(key, ends.clone());
        ends
    }

    /// The names of both ends alone, for who made the connection.
    pub fn principals(&self, source: &str, destination: &str) -> Arc<Principals> {
        let key: Key = (source.into(), destination.into());
        let known = self.0.borrow().get(&key).map(|found| found.principals.clone());
        // No certificate has this hash, so whoever asks for more makes it anew.
        known.unwrap_or_else(|| self.ends(source, destination, [0; 32]).principals.clone())
    }
}

#[cfg(test)]
mod tests;
