//! A scripted controller and a proxy process under its care, for the steward's black-box tests.
#![allow(dead_code, clippy::unwrap_used)]

pub mod controller;
pub mod process;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

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

/// A sidecar's `Proxy` object with an outbound listener.
pub fn calling(id: &str, outbound: SocketAddr) -> Value {
    let kind = json!({"type": "outbound"});
    let listener = json!({"name": "outbound", "address": outbound, "logicalPort": 15001, "kind": kind});
    json!({"name": id, "role": "Sidecar", "listeners": [listener]})
}

/// A sidecar's `VirtualHost` that sends everything to a subset of its host.
pub fn routing(host: &str, subset: &str) -> Value {
    let destinations = json!([{"host": host, "subset": subset, "weight": 1}]);
    json!({
        "name": host, "origins": [format!("VirtualService/default/{host}")],
        "http": [{"action": {"type": "route", "destinations": destinations}}],
    })
}

/// The `Endpoints` and the `Destination` of a name.
pub fn destination(name: &str, discovery: &str, endpoint: SocketAddr) -> [Value; 2] {
    named_destination(name, discovery, &endpoint.ip().to_string(), endpoint.port())
}

/// The same, with an endpoint that has a name for an address.
pub fn named_destination(name: &str, discovery: &str, address: &str, port: u16) -> [Value; 2] {
    let endpoints = json!({"name": name, "endpoints": [{"address": address, "port": port}]});
    [endpoints, json!({"name": name, "protocol": "HTTP", "discovery": discovery})]
}

/// An HTTP server that answers every request with this body.
pub async fn origin(body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
                while let Ok(len @ 1..) = stream.read(&mut buffer).await {
                    head.extend_from_slice(&buffer[..len]);
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        let answer =
                            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                        let _ = stream.write_all(answer.as_bytes()).await;
                    }
                }
            });
        }
    });
    address
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
