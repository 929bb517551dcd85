//! How many retries a destination may have in flight, in total over all shards, so that retries cannot turn a slow service
//! into a dead one.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::balance::{DestinationState, give, take};
use crate::config::table::Destination;

/// The right to one retry, from the decision until its answer. Returned when dropped.
#[derive(Debug)]
#[must_use]
pub struct RetryToken(Arc<DestinationState>);

impl RetryToken {
    /// Takes one retry from the budget: `percent` of the requests in flight, but at least `minRetryConcurrency`, and never
    /// more than `maxRetries`.
    pub fn acquire(destination: &Destination) -> Option<RetryToken> {
        let state = &destination.state;
        if take(&state.retries, ceiling(destination)) {
            return Some(RetryToken(Arc::clone(state)));
        }
        state.retry_overflows_total.fetch_add(1, Relaxed);
        None
    }
}

/// Retries that may be in flight at this moment.
fn ceiling(destination: &Destination) -> u32 {
    let cap = destination.model.pool.max_retries.unwrap_or(u32::MAX);
    let budget = &destination.model.retry_budget;
    let least = budget.min_concurrency.min(cap);
    // The sum over the endpoints is needed only once the assured part is in use.
    if destination.state.retries.load(Relaxed) < least {
        return least;
    }
    let active: u64 = destination.endpoints.iter().map(|endpoint| u64::from(endpoint.state.active())).sum();
    let share = active.saturating_mul(u64::from(budget.percent)) / 100;
    u32::try_from(share).unwrap_or(u32::MAX).max(least).min(cap)
}

impl Drop for RetryToken {
    fn drop(&mut self) {
        give(&self.0.retries);
    }
}
