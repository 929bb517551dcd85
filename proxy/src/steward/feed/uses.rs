//! When what is in use was needed last, and what has not been for so long that it is to be forgotten.
//!
//! Shards mark a destination when a request goes there; the marks are collected now and then. Rules count as needed when any
//! destination that they name is: what led there is not marked, so that a request pays for one mark only. Rules that answer
//! some requests themselves leave no mark when they do, so they stay; they bring no endpoints that nothing else needs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dromon_core::config::model::Kind;
use tokio::time::Instant;

use super::interest::{InUse, Known, Need};

/// How often marks are collected in the time after which something is forgotten.
const LOOKS: u32 = 15;

/// The uses of one proxy.
#[derive(Debug)]
pub struct Uses {
    /// After so long without use something is forgotten; none: never.
    life: Option<Duration>,
    last: BTreeMap<(Kind, String), Instant>,
    looked: Instant,
}

impl Uses {
    /// Nothing is known yet. A life of zero never ends.
    pub fn new(life: Duration, now: Instant) -> Uses {
        Uses { life: Some(life).filter(|life| !life.is_zero()), last: BTreeMap::new(), looked: now }
    }

    /// When marks are to be collected next.
    pub fn due(&self) -> Option<Instant> {
        Some(self.looked + self.life? / LOOKS)
    }

    /// Takes in the destinations that were needed since the last time; returns what has not been for too long.
    pub fn look(
        &mut self,
        needed: &BTreeSet<String>,
        in_use: &InUse,
        known: &impl Known,
        now: Instant,
    ) -> Vec<(Kind, String)> {
        self.looked = now;
        let Some(life) = self.life else { return Vec::new() };
        self.last.retain(|key, _| in_use.contains(key));
        let mut unused = Vec::new();
        for (kind, name) in in_use {
            let last = self.last.entry((*kind, name.clone())).or_insert(now);
            let need = Need::of(*kind, name, known);
            if need.answers || need.destinations.iter().any(|name| needed.contains(name)) {
                *last = now;
            } else if now.saturating_duration_since(*last) >= life {
                unused.push((*kind, name.clone()));
            }
        }
        unused
    }
}

#[cfg(test)]
mod tests;
