//! Which refusals the log tells of. Hostile peers choose how many there are, so a line each would be theirs to fill the
//! disk with; but the first of every kind, from everyone and at every place, must be found there, and a flood must be
//! seen to be one.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::refusal::{Ground, Refusal};

/// For how long lines are remembered.
const WINDOW: Duration = Duration::from_secs(10);
/// Lines within that time that differ in nothing but the peer's port.
const ALIKE_MAX: u32 = 10;
/// Different lines within that time.
const DIFFERENT_MAX: usize = 64;

/// What makes two refusals alike.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Alike {
    ground: Ground,
    peer: IpAddr,
    at: Box<str>,
    detail: String,
}

/// Refusals of the last seconds.
#[derive(Debug, Default)]
pub struct Told {
    known: HashMap<Alike, u32>,
    untold: BTreeMap<Ground, u64>,
    /// When the window ends that the first of them has begun.
    due: Option<Instant>,
}

impl Told {
    /// Whether the log is to have this one as a line of its own.
    pub fn tells(&mut self, refusal: &Refusal, now: Instant) -> bool {
        self.due.get_or_insert(now + WINDOW);
        let alike = Alike {
            ground: refusal.ground,
            peer: refusal.peer.ip(),
            at: refusal.at.clone(),
            detail: refusal.detail.clone(),
        };
        let has_room = self.known.len() < DIFFERENT_MAX;
        let tells = match self.known.get_mut(&alike) {
            Some(lines) if *lines < ALIKE_MAX => {
                *lines += 1;
                true
            }
            None if has_room => {
                self.known.insert(alike, 1);
                true
            }
            _ => false,
        };
        if !tells {
            *self.untold.entry(refusal.ground).or_default() += 1;
        }
        tells
    }

    /// When [`Told::summary`] is to be asked for.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Ends the window where it is time. What the log has not been told in it, if anything.
    pub fn summary(&mut self, now: Instant) -> Option<String> {
        self.due.filter(|due| *due <= now)?;
        self.due = None;
        self.known.clear();
        let untold = std::mem::take(&mut self.untold);
        let total: u64 = untold.values().sum();
        let kinds: Vec<_> = untold.iter().map(|(ground, count)| format!("{ground} {count}")).collect();
        let seconds = WINDOW.as_secs();
        (total > 0).then(|| {
            format!("{total} more connections refused in the last {seconds} s ({})", kinds.join(", "))
        })
    }
}

#[cfg(test)]
mod tests;
