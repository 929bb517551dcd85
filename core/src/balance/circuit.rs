//! Circuit caps (`connectionPool`), exact in total over all shards. A destination without a cap pays no shared write for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use thiserror::Error;

use super::DestinationState;
use crate::config::table::Destination;

/// A cap of a destination was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Overflow {
    /// `tcp.maxConnections`.
    #[error("all {0} connections are in use")]
    Connections(u32),
    /// `http.http1MaxPendingRequests`.
    #[error("{0} requests already wait for a connection")]
    Pending(u32),
    /// `http.http2MaxRequests`.
    #[error("{0} requests are already in flight")]
    Requests(u32),
}

/// The right to one connection of a destination. Returned when dropped, from any thread, so it may be kept beside the
/// connection across awaits.
#[derive(Debug)]
#[must_use]
pub struct ConnectionToken(Option<Arc<DestinationState>>);

/// The right to wait for a connection. Returned when dropped.
#[derive(Debug)]
#[must_use]
pub struct PendingToken(Option<Arc<DestinationState>>);

/// A place in line for a connection, told to all shards: one that holds an idle connection then gives it up. Given back
/// when dropped.
#[derive(Debug)]
#[must_use]
pub struct WaitingToken(Arc<DestinationState>);

impl WaitingToken {
    /// Stands in line.
    pub fn new(state: &Arc<DestinationState>) -> WaitingToken {
        state.waiting.fetch_add(1, Relaxed);
        WaitingToken(Arc::clone(state))
    }
}

impl Drop for WaitingToken {
    fn drop(&mut self) {
        give(&self.0.waiting);
    }
}

impl ConnectionToken {
    /// Takes one of `maxConnections`. The token counts from the attempt to connect until the connection is closed.
    pub fn acquire(destination: &Destination) -> Result<ConnectionToken, Overflow> {
        let Some(cap) = destination.model.pool.max_connections else { return Ok(ConnectionToken(None)) };
        match take(&destination.state.connections, cap) {
            true => Ok(ConnectionToken(Some(Arc::clone(&destination.state)))),
            // Not counted as an overflow: whoever is refused here waits its turn and asks again.
            false => Err(Overflow::Connections(cap)),
        }
    }
}

impl PendingToken {
    /// Takes one of `http1MaxPendingRequests`. Needed by a request that finds no idle connection, until it has one.
    pub fn acquire(destination: &Destination) -> Result<PendingToken, Overflow> {
        let Some(cap) = destination.model.pool.http1_max_pending_requests else {
            return Ok(PendingToken(None));
        };
        match take(&destination.state.pending, cap) {
            true => Ok(PendingToken(Some(Arc::clone(&destination.state)))),
            false => {
                destination.state.overflows_total.fetch_add(1, Relaxed);
                Err(Overflow::Pending(cap))
            }
        }
    }
}

impl Drop for ConnectionToken {
    fn drop(&mut self) {
        if let Some(state) = &self.0 {
            give(&state.connections);
        }
    }
}

impl Drop for PendingToken {
    fn drop(&mut self) {
        if let Some(state) = &self.0 {
            give(&state.pending);
        }
    }
}

/// Adds one to `count` unless it is `cap` already.
pub(crate) fn take(count: &AtomicU32, cap: u32) -> bool {
    count.fetch_update(Relaxed, Relaxed, |count| (count < cap).then(|| count + 1)).is_ok()
}

/// Takes one from `count`.
pub(crate) fn give(count: &AtomicU32) {
    let before = count.fetch_sub(1, Relaxed);
    debug_assert!(before > 0, "a count was returned that nobody had taken");
}
