//! Calls to the sample's other services, with the headers that tracing and routing rules need passed on.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;

/// Headers that every service of the sample copies from the request that it serves to those it makes:
/// request id, trace context in its usual forms, and what rules and policies match on.
const FORWARDED: &[&str] = &[
    "x-request-id",
    "x-ot-span-context",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "traceparent",
    "tracestate",
    "x-cloud-trace-context",
    "grpc-trace-bin",
    "sw8",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "end-user",
    "user-agent",
    "cookie",
    "authorization",
    "jwt",
];

/// A client that honours `http_proxy`, as the sample's own clients do.
#[derive(Clone)]
pub struct Client(reqwest::Client);

impl Client {
    /// A client with connections kept alive.
    pub fn new() -> anyhow::Result<Client> {
        Ok(Client(reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?))
    }

    /// GET of `http://SERVICE:9080PATH` (the base may be replaced by `<SERVICE>_URL`): status and JSON body.
    pub async fn get(
        &self,
        service: &str,
        path: &str,
        headers: HeaderMap,
        timeout: Duration,
    ) -> Result<(StatusCode, Value), reqwest::Error> {
        let base = std::env::var(format!("{}_URL", service.to_uppercase()))
            .unwrap_or_else(|_| format!("http://{service}:9080"));
        let response = self.0.get(format!("{base}{path}")).headers(headers).timeout(timeout).send().await?;
        let status = response.status();
        let body = response.bytes().await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }
}

/// The headers of `from` that are passed on.
pub fn forwarded(from: &HeaderMap) -> HeaderMap {
    let mut to = HeaderMap::new();
    for name in FORWARDED {
        for value in from.get_all(*name) {
            to.append(*name, value.clone());
        }
    }
    to
}
