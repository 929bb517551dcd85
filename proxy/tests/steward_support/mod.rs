//! A scripted controller and a proxy process under its care, for the steward's black-box tests.
#![allow(dead_code, clippy::unwrap_used)]

pub mod controller;
pub mod process;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

/// Longest wait for anything that must happen.
pub const DEADLINE: Duration = Duration::from_secs(15);

/// Waits for a future, with a deadline.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("never came: {what}"))
}

/// Asks again and again until something holds.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut holds: impl FnMut() -> F) -> T {
    within(what, async {
        loop {
            if let Some(it) = holds().await {
                return it;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

/// A `Proxy` object with these inbound listeners.
pub fn proxy(id: &str, listeners: &[(&str, SocketAddr)]) -> Value {
    let role = if id.starts_with("gateway") { "Gateway" } else { "Sidecar" };
    let listeners: Vec<Value> = listeners
        .iter()
        .map(|(name, address)| {
            json!({
                "name": name, "address": address, "logicalPort": address.port(),
                "kind": if role == "Gateway" {
                    json!({"type": "gatewayHttp"})
                } else {
                    json!({"type": "inbound", "protocol": "HTTP", "target": "127.0.0.1:9"})
                },
            })
        })
        .collect();
    json!({"name": id, "role": role, "listeners": listeners})
}

/// A `Host` object.
pub fn host(name: &str, routed: bool) -> Value {
    json!({
        "name": name, "domains": [name], "ports": [{"number": 9080, "protocol": "HTTP"}], "routed": routed,
    })
}

/// A gateway's `VirtualHost` that answers every request with this body.
pub fn answering(listener: &str, domain: &str, body: &str) -> Value {
    json!({
        "name": format!("{listener}/{domain}"), "listener": listener, "domains": [domain],
        "origins": [format!("VirtualService/default/{body}")],
        "http": [{"action": {"type": "directResponse", "status": 200, "body": body}}],
    })
}
