//! When a certificate is renewed.

use std::time::Duration;

use dromon_core::limits::{CERTIFICATE_BACKDATE_S, RENEWAL_BACKOFF_MS_MAX, RENEWAL_BACKOFF_MS_MIN};
use dromon_core::rng::Rng;

/// How far renewals spread around half of a life, as a part of the life: workloads that started together do not come
/// back together.
const JITTER: f64 = 0.05;
/// Largest part of the remaining life that a pause after a failure may take.
const PAUSE_PART: u32 = 10;

/// When a certificate made here is renewed: at half of its life, give or take a little. Seconds since the Unix epoch.
///
/// Its life is what is usable: it begins [`CERTIFICATE_BACKDATE_S`] before it was made.
pub fn due(not_before: u64, not_after: u64, rng: &mut Rng) -> f64 {
    let made = not_before.saturating_add(CERTIFICATE_BACKDATE_S).min(not_after);
    let life = (not_after - made) as f64;
    made as f64 + life * (0.5 + JITTER * (2.0 * rng.unit() - 1.0))
}

/// How long to wait after a renewal failed for the `failures`th time in a row: longer each time, never so long that
/// there would not be several more tries while the certificate lives.
pub fn pause(failures: u32, life_left: Duration, rng: &mut Rng) -> Duration {
    let doubled = RENEWAL_BACKOFF_MS_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let longest = Duration::from_millis(RENEWAL_BACKOFF_MS_MAX).min(life_left / PAUSE_PART);
    let pause = Duration::from_millis(doubled).min(longest).max(Duration::from_millis(100));
    pause.mul_f64(0.75 + 0.5 * rng.unit())
}

#[cfg(test)]
mod tests;
