//! How long to wait before the next try to reach the controller.
//!
//! Exponential with jitter, so that a thousand proxies that lose one controller do not come back in one moment.

use std::time::Duration;

use dromon_core::limits::{FEED_BACKOFF_MS_MAX, FEED_BACKOFF_MS_MIN};
use dromon_core::rng::Rng;

/// Waits between tries: the ceiling doubles from [`FEED_BACKOFF_MS_MIN`] to [`FEED_BACKOFF_MS_MAX`], each wait is drawn
/// from the upper half below it.
#[derive(Debug)]
pub struct Backoff {
    rng: Rng,
    ceiling_ms: u64,
}

impl Backoff {
    /// Starts at the shortest wait.
    pub fn new(rng: Rng) -> Backoff {
        Backoff { rng, ceiling_ms: FEED_BACKOFF_MS_MIN }
    }

    /// The peer has answered: the next wait is the shortest again.
    pub fn reset(&mut self) {
        self.ceiling_ms = FEED_BACKOFF_MS_MIN;
    }

    /// The wait before the next try.
    pub fn next_wait(&mut self) -> Duration {
        let half = self.ceiling_ms / 2;
        let jitter = self.rng.below(u32::try_from(self.ceiling_ms - half + 1).unwrap_or(u32::MAX));
        self.ceiling_ms = (self.ceiling_ms * 2).min(FEED_BACKOFF_MS_MAX);
        Duration::from_millis(half + u64::from(jitter))
    }
}

#[cfg(test)]
mod tests;
