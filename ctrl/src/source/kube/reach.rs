//! Whether the API server can be reached, as all watches of a source know it together.
//!
//! Each watch pauses for longer after each try. When the server is back, the first that hears of it wakes the others, and what they
//! tell within a moment is one version: a rule and what it names, written as the server returned, are of two kinds, and one
//! without the other would answer requests with 503.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How long after the server's return all watches have caught up.
const CATCH_UP: Duration = Duration::from_millis(500);

/// Shared by the watches of a source.
#[derive(Debug, Default)]
pub struct Reach {
    state: Mutex<State>,
    back: Notify,
}

#[derive(Debug, Default)]
struct State {
    away: bool,
    /// When the watches will have caught up since the last absence.
    caught_up: Option<Instant>,
}

impl Reach {
    /// The server cannot be reached.
    pub fn lost(&self) {
        self.state().away = true;
    }

    /// It has told something at that moment.
    pub fn heard(&self, now: Instant) {
        let mut state = self.state();
        if state.away {
            *state = State { away: false, caught_up: Some(now + CATCH_UP) };
            self.back.notify_waiters();
        }
    }

    /// Waits until it is back; for ever where it is not away. A server that begins refuses what it will serve, so watches that are
    /// refused while it is away wait for this too.
    pub async fn back(&self) {
        let back = self.back.notified();
        if self.state().away {
            back.await;
        } else {
            std::future::pending::<()>().await;
        }
    }

    /// Until when changes are gathered, where watches are catching up.
    pub fn catching_up(&self, now: Instant) -> Option<Instant> {
        self.state().caught_up.filter(|until| *until > now)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing can panic while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
