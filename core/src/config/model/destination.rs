//! Destinations and their endpoints.

use serde::{Deserialize, Serialize};

use super::{ClientTls, Protocol, ProxyProtocol, ServiceRef, Workload};

/// A service's port, or a subset of it: Istio's cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Destination {
    /// `outbound|PORT|SUBSET|HOST`; see [`destination_name`]. Its [`Endpoints`] have the same name.
    pub name: String,
    /// The service, as metrics name it.
    pub service: ServiceRef,
    /// Objects it was made of.
    pub origins: Vec<String>,
    /// What the endpoints speak; `Http2` and `Grpc`: HTTP/2.
    pub protocol: Protocol,
    /// How endpoints are found.
    pub discovery: Discovery,
    /// How one is chosen.
    pub balancer: Balancer,
    /// Caps and times.
    pub pool: ConnectionPool,
    /// Ejection of bad endpoints; none: off.
    pub outlier: Option<Outlier>,
    /// Retry budget.
    pub retry_budget: RetryBudget,
    /// TLS towards the endpoints; none: plaintext.
    pub tls: Option<ClientTls>,
    /// Requests that came as HTTP/1.1 are carried as HTTP/2 (`h2UpgradePolicy: UPGRADE`).
    pub h2_upgrade: bool,
    /// Requests go upstream in the protocol that the client spoke (`useClientProtocol`).
    pub use_client_protocol: bool,
    /// Connections begin with a PROXY protocol header that names the client.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// The name of a destination, as Istio writes it.
pub fn destination_name(port: u16, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

/// A destination's name taken apart: host, port, subset.
pub fn split_destination_name(name: &str) -> Option<(&str, u16, &str)> {
    let (port, rest) = name.strip_prefix("outbound|")?.split_once('|')?;
    let (subset, host) = rest.split_once('|')?;
    Some((host, port.parse().ok()?, subset))
}

/// How a destination's endpoints are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Discovery {
    /// [`Endpoints`] of the same name hold addresses.
    #[default]
    Static,
    /// [`Endpoints`] of the same name hold DNS names, resolved by the proxy, all answers used.
    Dns,
    /// As `Dns`, with one answer used at a time for new connections (`DNS_ROUND_ROBIN`).
    DnsRoundRobin,
    /// Where the request was going (`resolution: NONE`): its original destination, or DNS of its authority.
    OriginalDestination,
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Balancer {
    /// The less loaded of two random ones, by active requests and weight.
    #[default]
    LeastRequest,
    /// In turn, by weight.
    RoundRobin,
    /// At random, by weight.
    Random,
    /// Where the request was going.
    Passthrough,
}

/// `connectionPool`: `None` is no cap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConnectionPool {
    /// Connections to the destination.
    pub max_connections: Option<u32>,
    /// 10 s unless set.
    pub connect_timeout_ms: Option<u64>,
    /// Requests that wait for a connection.
    pub http1_max_pending_requests: Option<u32>,
    /// Requests in flight.
    pub http2_max_requests: Option<u32>,
    /// Requests on one connection; 0 or none: no cap; 1: no keep-alive.
    pub max_requests_per_connection: Option<u32>,
    /// Retries in flight.
    pub max_retries: Option<u32>,
    /// Idle time of a pooled HTTP connection or of a TCP relay; 1 h unless set.
    pub idle_timeout_ms: Option<u64>,
    /// Age at which a connection takes no further request.
    pub max_connection_duration_ms: Option<u64>,
    /// Keep-alive probes.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Streams at once on one HTTP/2 connection; none: what the server allows.
    pub max_concurrent_streams: Option<u32>,
    /// Pings of HTTP/2 connections.
    pub http2_keepalive: Option<Http2Keepalive>,
}

/// Pings that keep an HTTP/2 connection alive and find a dead one; 0 leaves the proxy's own time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Http2Keepalive {
    /// Silence after which the server is pinged, whether streams are open or not.
    pub interval_ms: u64,
    /// Time to answer.
    pub timeout_ms: u64,
}

/// TCP keep-alive probes; 0 leaves the system's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct TcpKeepalive {
    pub probes: u32,
    pub time_s: u32,
    pub interval_s: u32,
}

/// `outlierDetection`; 0 switches a detector off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Outlier {
    pub consecutive_5xx: u32,
    pub consecutive_gateway: u32,
    /// Count failures to connect on their own.
    pub split_local: bool,
    pub consecutive_local: u32,
    pub interval_ms: u64,
    pub base_ejection_ms: u64,
    pub max_ejection_percent: u32,
    /// Below this share of healthy endpoints, ejected ones are used again.
    pub min_health_percent: u32,
}

impl Default for Outlier {
    fn default() -> Outlier {
        Outlier {
            consecutive_5xx: 5,
            consecutive_gateway: 0,
            split_local: false,
            consecutive_local: 5,
            interval_ms: 10_000,
            base_ejection_ms: 30_000,
            max_ejection_percent: 10,
            min_health_percent: 0,
        }
    }
}

/// `retryBudget`: retries in flight may be this share of the requests in flight, but at least so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct RetryBudget {
    pub percent: u32,
    pub min_concurrency: u32,
}

impl Default for RetryBudget {
    fn default() -> RetryBudget {
        RetryBudget { percent: 20, min_concurrency: 3 }
    }
}

/// A destination's endpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Endpoints {
    /// The [`Destination`]'s name.
    pub name: String,
    /// In a fixed order, so that equal sets have equal versions.
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// An IP address, or a DNS name where the destination's discovery is DNS.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// Share among its siblings, at least 1.
    #[serde(default = "one")]
    pub weight: u32,
    /// Not picked for new requests: not ready, or going away.
    #[serde(default)]
    pub draining: bool,
    /// The workload behind it, for metrics.
    #[serde(default)]
    pub workload: Workload,
    /// `region/zone/subzone`.
    #[serde(default)]
    pub locality: String,
    /// It has a sidecar that takes mutual TLS.
    #[serde(default)]
    pub mtls: bool,
    /// The SPIFFE id it runs under; empty: not known.
    #[serde(default)]
    pub identity: String,
}

impl Endpoint {
    /// An endpoint of weight 1 of which nothing else is known.
    pub fn new(address: impl Into<String>, port: u16) -> Endpoint {
        Endpoint { address: address.into(), port, ..Endpoint::default() }
    }
}

impl Default for Endpoint {
    fn default() -> Endpoint {
        Endpoint {
            address: String::new(),
            port: 0,
            weight: one(),
            draining: false,
            workload: Workload::default(),
            locality: String::new(),
            mtls: false,
            identity: String::new(),
        }
    }
}

fn one() -> u32 {
    1
}
