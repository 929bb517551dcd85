//! Exponential back-off with full jitter, as in Envoy's router.

use crate::rng::Rng;

/// Base of the back-off unless a rule sets it, in ms (Envoy's and Istio's 25 ms).
const BASE_MS: u64 = 25;
/// The longest back-off as a multiple of the base (Envoy).
const CAP_FACTOR: u64 = 10;

/// Time to wait before retry number `retry` (from 1), in ms: anything below base × 2^(retry-1), capped at ten times the base.
pub fn backoff_ms(base_ms: Option<u64>, retry: u32, rng: &mut Rng) -> u64 {
    let base = base_ms.unwrap_or(BASE_MS).max(1);
    let cap = base.saturating_mul(CAP_FACTOR);
    let doubled = match retry.saturating_sub(1) {
        doublings @ 0..=4 => base.saturating_mul(1 << doublings),
        _ => cap,
    };
    rng.below_u64(doubled.min(cap))
}
