//! Outlier detection as in Envoy: endpoints that fail many times in a row are left alone for a while.
//!
//! Semantics follow Envoy's "Outlier detection" architecture page and `outlier_detection.proto`:
//! - Consecutive 5xx, consecutive gateway errors (502, 503, 504) and, with `splitExternalLocalOriginErrors`, consecutive
//!   failures of local origin each have a threshold of their own. Without the split, a failure of local origin counts
//!   as 503, or 504 where time ran out.
//! - An ejection lasts base time × how often the endpoint was ejected in a row, at most the larger of 300 s and the base time;
//!   it ends with the first sweep after that. Every sweep that finds an endpoint healthy takes one off its multiplier.
//! - At most `maxEjectionPercent` of the endpoints are out at a time, strictly: Envoy ejects one regardless only where
//!   `always_eject_one_host` is set (since 1.31, off by default), and Istio does not set it.
//!
//! Counts are in total over all shards. An ejection or a sweep is weighed by one shard at a time: one that finds
//! another at it goes on without waiting, and the next error decides.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::balance::EndpointState;
use crate::config::model::Outlier;
use crate::config::table::{Destination, Endpoint};
use crate::time::Tick;

/// Longest ejection unless the base time is longer (Envoy's `max_ejection_time`), in ms.
const EJECTION_MS_MAX: u64 = 300_000;

/// How a try ended, as far as it tells about its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint answered with this status.
    Status(u16),
    /// The endpoint took a TCP connection.
    Connected,
    /// No connection, or it broke before the answer was complete.
    Broken,
    /// No answer in time.
    TimedOut,
}

/// Accounts the outcome of a try at the endpoint at `position`, and ejects it where that makes one too many.
pub fn record(destination: &Destination, position: usize, outcome: Outcome, now: Tick) {
    let Some(outlier) = &destination.model.outlier else { return };
    let Some(endpoint) = destination.endpoints.get(position) else { return };
    let state = &endpoint.state;
    let status = match outcome {
        Outcome::Status(status) => status,
        Outcome::Connected => 200,
        Outcome::Broken => 503,
        Outcome::TimedOut => 504,
    };
    let local = matches!(outcome, Outcome::Broken | Outcome::TimedOut);
    let mut eject = false;
    if outlier.split_local {
        if local {
            eject = count(&state.consecutive_local, outlier.consecutive_local);
            return decide(destination, endpoint, outlier, eject, now);
        }
        clear(&state.consecutive_local);
    }
    match status {
        500..=599 => {
            eject |= count(&state.consecutive_5xx, outlier.consecutive_5xx);
            match status {
                502..=504 => eject |= count(&state.consecutive_gateway, outlier.consecutive_gateway),
                _ => clear(&state.consecutive_gateway),
            }
        }
        _ => {
            clear(&state.consecutive_5xx);
            clear(&state.consecutive_gateway);
        }
    }
    decide(destination, endpoint, outlier, eject, now);
}

/// Lets endpoints back in whose time is over, if a sweep is due. Cheap while nothing is ejected. Called before every pick; a
/// caller that shows state to operators may call it too.
pub fn sweep(destination: &Destination, now: Tick) {
    let state = &destination.state;
    if state.watched.load(Relaxed) == 0 || now.0 < state.sweep_at_ns.load(Relaxed) {
        return;
    }
    let Some(outlier) = &destination.model.outlier else { return pardon(destination) };
    if state.sweeping.swap(true, Ordering::Acquire) {
        return;
    }
    let due = Tick(state.sweep_at_ns.load(Relaxed));
    if now >= due {
        let interval_ms = outlier.interval_ms.max(1);
        // Sweeps that nobody came by to make count as made.
        let passed = 1 + (now.since(due).as_millis() as u64) / interval_ms;
        for endpoint in &destination.endpoints {
            sweep_one(endpoint, outlier, u32::try_from(passed).unwrap_or(u32::MAX), now);
        }
        tally(destination);
        state.sweep_at_ns.store(now.plus_millis(interval_ms).0, Relaxed);
    }
    state.sweeping.store(false, Ordering::Release);
}

fn sweep_one(endpoint: &Endpoint, outlier: &Outlier, passed: u32, now: Tick) {
    let state = &endpoint.state;
    let multiplier = state.ejection_multiplier.load(Relaxed);
    match state.ejected_at() {
        Some(since) => {
            let longest = EJECTION_MS_MAX.max(outlier.base_ejection_ms);
            let lasts_ms = outlier.base_ejection_ms.saturating_mul(u64::from(multiplier)).min(longest);
            if now >= since.plus_millis(lasts_ms) {
                release(endpoint);
            }
        }
        None => state.ejection_multiplier.store(multiplier.saturating_sub(passed), Relaxed),
    }
}

/// Ends an ejection: the endpoint starts with a clean slate, only its multiplier remembers.
fn release(endpoint: &Endpoint) {
    clear(&endpoint.state.consecutive_5xx);
    clear(&endpoint.state.consecutive_gateway);
    clear(&endpoint.state.consecutive_local);
    endpoint.state.ejected_at_ns.store(0, Relaxed);
}

/// Outlier detection was switched off by a newer table: nobody stays out.
fn pardon(destination: &Destination) {
    for endpoint in &destination.endpoints {
        release(endpoint);
        endpoint.state.ejection_multiplier.store(0, Relaxed);
    }
    tally(destination);
}

fn decide(destination: &Destination, endpoint: &Endpoint, outlier: &Outlier, eject: bool, now: Tick) {
    if !eject || endpoint.state.ejected() {
        return;
    }
    let state = &destination.state;
    if state.sweeping.swap(true, Ordering::Acquire) {
        return;
    }
    let count = destination.endpoints.len() as u64;
    let ejected = destination.endpoints.iter().filter(|endpoint| endpoint.state.ejected()).count() as u64;
    if !endpoint.state.ejected()
        && (ejected + 1) * 100 <= u64::from(outlier.max_ejection_percent.min(100)) * count
    {
        let multiplier = endpoint.state.ejection_multiplier.load(Relaxed);
        let longest = EJECTION_MS_MAX.max(outlier.base_ejection_ms);
        // One step past the longest ejection is remembered, as in Envoy.
        if outlier.base_ejection_ms.saturating_mul(u64::from(multiplier))
            < longest.saturating_add(outlier.base_ejection_ms)
        {
            endpoint.state.ejection_multiplier.store(multiplier.saturating_add(1), Relaxed);
        }
        endpoint.state.ejected_at_ns.store(now.0.saturating_add(1), Relaxed);
        state.ejections_total.fetch_add(1, Relaxed);
        if state.watched.load(Relaxed) == 0 {
            state.sweep_at_ns.store(now.plus_millis(outlier.interval_ms.max(1)).0, Relaxed);
        }
        tally(destination);
    }
    clear(&endpoint.state.consecutive_5xx);
    clear(&endpoint.state.consecutive_gateway);
    clear(&endpoint.state.consecutive_local);
    state.sweeping.store(false, Ordering::Release);
}

fn tally(destination: &Destination) {
    let remembered = |state: &EndpointState| state.ejected() || state.ejection_multiplier.load(Relaxed) > 0;
    let watched = destination.endpoints.iter().filter(|endpoint| remembered(&endpoint.state)).count();
    destination.state.watched.store(watched as u32, Relaxed);
}

/// Counts one more error; true from the threshold on, until somebody has decided.
fn count(errors: &AtomicU32, threshold: u32) -> bool {
    let before = errors.fetch_add(1, Relaxed);
    threshold > 0 && before.saturating_add(1) >= threshold
}

/// Healthy traffic must not write to a shared line, so a zero is left as it is.
fn clear(errors: &AtomicU32) {
    if errors.load(Relaxed) != 0 {
        errors.store(0, Relaxed);
    }
}
