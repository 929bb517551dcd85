//! `retries` and `retryOn`.

use dromon_core::config::model::{Retries, RetryOn};

use crate::api::virtual_service;

/// Tries after the first where nothing is said (Istio's default policy).
const DEFAULT_ATTEMPTS: u32 = 2;
/// Conditions where `retryOn` is empty (Istio's default policy).
const DEFAULT_RETRY_ON: &str = "connect-failure,refused-stream,unavailable,cancelled";

/// gRPC statuses that `retryOn` may name.
const GRPC: &[(&str, u8)] = &[
    ("cancelled", 1),
    ("deadline-exceeded", 4),
    ("resource-exhausted", 8),
    ("internal", 13),
    ("unavailable", 14),
];

/// The policy of routes that name none, where the mesh's settings name none either.
pub fn default_policy() -> Retries {
    Retries { attempts: DEFAULT_ATTEMPTS, on: retry_on(DEFAULT_RETRY_ON).0, ..Retries::default() }
}

/// A rule's policy.
pub fn retries(retries: &virtual_service::Retries) -> Retries {
    let named = if retries.retry_on.trim().is_empty() { DEFAULT_RETRY_ON } else { &retries.retry_on };
    Retries {
        attempts: retries.attempts,
        per_try_timeout_ms: retries.per_try_timeout.map(|it| it.millis()).filter(|it| *it > 0),
        on: retry_on(named).0,
        backoff_ms: retries.backoff.map(|it| it.millis()).filter(|it| *it > 0),
        allow_previous_hosts: retries.retry_ignore_previous_hosts == Some(false),
    }
}

/// Reads conditions; the second part is what is not known or not carried out.
pub fn retry_on(text: &str) -> (RetryOn, Vec<String>) {
    let mut on = RetryOn::default();
    let mut unknown = Vec::new();
    for word in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        match word {
            "5xx" => on.server_error = true,
            "gateway-error" => on.gateway_error = true,
            "reset" => on.reset = true,
            "connect-failure" => on.connect_failure = true,
            "refused-stream" => on.refused_stream = true,
            "retriable-4xx" => on.retriable_4xx = true,
            // Switches on the codes that stand in the same list.
            "retriable-status-codes" => {}
            _ => match (GRPC.iter().find(|(name, _)| *name == word), word.parse::<u16>()) {
                (Some((_, number)), _) => on.grpc.push(*number),
                (None, Ok(status)) if (100..=599).contains(&status) => on.statuses.push(status),
                _ => unknown.push(word.to_owned()),
            },
        }
    }
    on.statuses.sort_unstable();
    on.statuses.dedup();
    on.grpc.sort_unstable();
    on.grpc.dedup();
    (on, unknown)
}
