//! One table on its way to all shards: what has been answered and what is still awaited. No I/O.
//!
//! A table counts as in force when every shard has acknowledged it, accepts on every socket it was given and has closed
//! every socket it was told to close.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::mailbox::ShardId;

use super::listeners::{Place, Plan};

/// What is still awaited of a table's roll-out.
#[derive(Debug)]
pub struct Rollout {
    version: u64,
    shard_count: usize,
    acks: BTreeSet<ShardId>,
    opening: BTreeMap<Arc<str>, BTreeSet<ShardId>>,
    closing: BTreeMap<Arc<str>, BTreeSet<ShardId>>,
    open_after_close: Vec<Place>,
}

impl Rollout {
    /// A table's roll-out to this many shards. Sockets are announced with [`Rollout::opened`] when they are sent.
    pub fn new(version: u64, shard_count: usize, plan: &Plan) -> Rollout {
        let all: BTreeSet<ShardId> = (0..shard_count).map(ShardId).collect();
        Rollout {
            version,
            shard_count,
            closing: plan.close.iter().map(|name| (name.clone(), all.clone())).collect(),
            acks: all,
            opening: BTreeMap::new(),
            open_after_close: plan.open_after_close.clone(),
        }
    }

    /// A roll-out of sockets only, for the table that every shard has.
    pub fn of_sockets(version: u64, shard_count: usize) -> Rollout {
        Rollout { acks: BTreeSet::new(), ..Rollout::new(version, shard_count, &Plan::default()) }
    }

    /// Sockets for this listener have been sent to every shard.
    pub fn opened(&mut self, listener: Arc<str>) {
        self.opening.insert(listener, (0..self.shard_count).map(ShardId).collect());
    }

    /// A shard has this version.
    pub fn acknowledged(&mut self, shard: ShardId, version: u64) {
        if version >= self.version {
            self.acks.remove(&shard);
        }
    }

    /// A shard accepts for this listener, or has said that it cannot.
    pub fn listening(&mut self, shard: ShardId, listener: &str) {
        strike(&mut self.opening, shard, listener);
    }

    /// A shard has closed this listener. The answer: sockets that may be opened now.
    pub fn unlistened(&mut self, shard: ShardId, listener: &str) -> Vec<Place> {
        strike(&mut self.closing, shard, listener);
        if self.closing.is_empty() { std::mem::take(&mut self.open_after_close) } else { Vec::new() }
    }

    /// Nothing is awaited any more.
    pub fn is_complete(&self) -> bool {
        self.acks.is_empty()
            && self.opening.is_empty()
            && self.closing.is_empty()
            && self.open_after_close.is_empty()
    }

    /// What is awaited, for people.
    pub fn awaited(&self) -> String {
        let shards = |set: &BTreeSet<ShardId>| {
            set.iter().map(|shard| shard.0.to_string()).collect::<Vec<_>>().join(",")
        };
        let mut parts = Vec::new();
        if !self.acks.is_empty() {
            parts.push(format!("table {} at shard {}", self.version, shards(&self.acks)));
        }
        parts.extend(
            self.opening.iter().map(|(name, left)| format!("opening {name} at shard {}", shards(left))),
        );
        parts.extend(
            self.closing.iter().map(|(name, left)| format!("closing {name} at shard {}", shards(left))),
        );
        parts.join("; ")
    }
}

fn strike(awaited: &mut BTreeMap<Arc<str>, BTreeSet<ShardId>>, shard: ShardId, listener: &str) {
    if let Some(left) = awaited.get_mut(listener) {
        left.remove(&shard);
        if left.is_empty() {
            awaited.remove(listener);
        }
    }
}

#[cfg(test)]
mod tests;
