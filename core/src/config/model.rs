//! The wire model: what travels on the feed, as JSON inside `Any`. Meaning is today's Istio unless said otherwise;
//! the controller has already resolved everything that depends on other objects or on who the proxy is
//! (source labels, `exportTo`, gateways, subset labels), so a proxy needs no Kubernetes knowledge.
//!
//! Unknown fields are tolerated (a newer controller), missing ones have the default that keeps the old meaning.
//! Durations are milliseconds, sizes bytes, shares parts per million.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Type URLs of the feed, in the order in which a proxy must have them: what is referred to comes first.
pub const TYPE_URLS: [&str; 6] = [
    "type.dromon.io/v1.Proxy",
    "type.dromon.io/v1.Endpoints",
    "type.dromon.io/v1.Destination",
    "type.dromon.io/v1.RateLimit",
    "type.dromon.io/v1.VirtualHost",
    "type.dromon.io/v1.Host",
];

/// Which of [`TYPE_URLS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// [`Proxy`]; always sent, exactly one, named by the proxy's id.
    Proxy,
    /// [`Endpoints`]; sent for subscribed names.
    Endpoints,
    /// [`Destination`]; sent for subscribed names.
    Destination,
    /// [`RateLimit`]; always sent.
    RateLimit,
    /// [`VirtualHost`]; sent for subscribed names to sidecars, always to gateways.
    VirtualHost,
    /// [`Host`], the index; always sent.
    Host,
}

impl Kind {
    /// All kinds, in feed order.
    pub const ALL: [Kind; 6] =
        [Kind::Proxy, Kind::Endpoints, Kind::Destination, Kind::RateLimit, Kind::VirtualHost, Kind::Host];

    /// The kind's type URL.
    pub const fn type_url(self) -> &'static str {
        TYPE_URLS[self as usize]
    }

    /// The kind that a type URL names.
    pub fn from_type_url(url: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.type_url() == url)
    }
}

/// Any object of the feed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body")]
#[allow(missing_docs)]
pub enum Resource {
    Proxy(Proxy),
    Endpoints(Endpoints),
    Destination(Destination),
    RateLimit(RateLimit),
    VirtualHost(VirtualHost),
    Host(Host),
}

impl Resource {
    /// The object's kind.
    pub fn kind(&self) -> Kind {
        match self {
            Resource::Proxy(_) => Kind::Proxy,
            Resource::Endpoints(_) => Kind::Endpoints,
            Resource::Destination(_) => Kind::Destination,
            Resource::RateLimit(_) => Kind::RateLimit,
            Resource::VirtualHost(_) => Kind::VirtualHost,
            Resource::Host(_) => Kind::Host,
        }
    }

    /// The object's name, unique within its kind.
    pub fn name(&self) -> &str {
        match self {
            Resource::Proxy(it) => &it.name,
            Resource::Endpoints(it) => &it.name,
            Resource::Destination(it) => &it.name,
            Resource::RateLimit(it) => &it.name,
            Resource::VirtualHost(it) => &it.name,
            Resource::Host(it) => &it.name,
        }
    }
}

/// What one proxy is and listens on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Proxy {
    /// The proxy's id: `sidecar~NAME.NAMESPACE` or `gateway~NAME.NAMESPACE`.
    pub name: String,
    /// Sidecar or gateway.
    pub role: Role,
    /// The workload it stands for.
    pub workload: Workload,
    /// What it listens on.
    pub listeners: Vec<Listener>,
    /// What happens to hosts that the index does not know.
    pub outbound_policy: OutboundPolicy,
    /// Access log; off when absent.
    pub access_log: Option<AccessLog>,
    /// Retry policy of routes that name none (Istio: 2 on connect-failure, refused-stream, unavailable, cancelled).
    pub default_retries: Option<Retries>,
    /// Send `x-dromon-reason` with responses made here (true inside the mesh, false at gateways).
    pub expose_reason: bool,
}

/// Which side of the mesh a proxy serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Role {
    #[default]
    Sidecar,
    Gateway,
}

/// A workload as metrics and logs name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Workload {
    pub name: String,
    pub namespace: String,
    pub app: String,
    pub version: String,
    pub canonical_service: String,
    pub canonical_revision: String,
    pub cluster: String,
    pub service_account: String,
}

/// What happens to a request for a host that the index does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutboundPolicy {
    /// It goes where it was going: to its original destination, or to what DNS says of its host.
    #[default]
    AllowAny,
    /// It is answered 502 (HTTP) or reset (TCP).
    RegistryOnly,
}

/// Access-log settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AccessLog {
    /// `/dev/stdout` or a file's path.
    pub path: String,
    /// Text in Envoy's format operators, or JSON.
    pub encoding: LogEncoding,
    /// The text format; Istio's default when empty.
    pub format: String,
    /// JSON fields, name → format operators; Istio's default set when empty.
    pub json: BTreeMap<String, String>,
}

/// How access-log records are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum LogEncoding {
    #[default]
    Text,
    Json,
}

/// One address that a proxy listens on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Unique within the proxy, e.g. `gateway/8080`, `inbound/9080`, `outbound`, `service/mongodb.default…:27017`.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The port that rules name (80 where a Gateway's 80 is served on 8080).
    pub logical_port: u16,
    /// What it does with a connection.
    pub kind: ListenerKind,
}

/// What a listener does with a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ListenerKind {
    /// A sidecar's side towards its own application, for one of the workload's ports.
    Inbound {
        /// Protocol declared for the port.
        protocol: Protocol,
        /// The application's own address.
        target: SocketAddr,
        /// FQDN of the service that selects this port (the first by name where several do); for metrics and limits.
        #[serde(default)]
        service: Option<ServiceRef>,
        /// `connectionPool` and the like for the application's side; name of a [`Destination`] is not needed.
        #[serde(default)]
        pool: ConnectionPool,
    },
    /// A sidecar's side towards the mesh: original destination, or absolute-form requests (explicit proxying).
    Outbound,
    /// A per-client listener for one service port: everything that arrives goes to that service.
    Service {
        /// The service's FQDN: name of a [`Host`].
        host: String,
        /// Its port.
        port: u16,
        /// The port's protocol.
        protocol: Protocol,
    },
    /// A gateway's HTTP port; its [`VirtualHost`]s name this listener.
    GatewayHttp,
    /// A gateway's TCP port; the one [`VirtualHost`] that names this listener has TCP rules.
    GatewayTcp,
}

/// A service as metrics name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct ServiceRef {
    /// FQDN: label `destination_service`.
    pub host: String,
    pub name: String,
    pub namespace: String,
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum Protocol {
    Http,
    Http2,
    Grpc,
    Tcp,
    Tls,
    /// Not declared: whichever side speaks first decides.
    #[default]
    Auto,
}

/// One entry of the index: a host that this proxy may call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Host {
    /// FQDN or wildcard (`*.example.com`).
    pub name: String,
    /// Every name it answers to for this proxy, without ports, lower case: short forms, FQDN.
    pub domains: Vec<String>,
    /// Virtual addresses (cluster IPs, ServiceEntry addresses), each an address or a CIDR.
    pub addresses: Vec<String>,
    /// Its ports. A request for another port of a known host is unknown.
    pub ports: Vec<HostPort>,
    /// A [`VirtualHost`] of the same name holds rules; without, requests go to `outbound|PORT||NAME`.
    pub routed: bool,
}

/// A port of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct HostPort {
    pub number: u16,
    pub protocol: Protocol,
}

/// Rules of one host (sidecar), or of a set of domains on a gateway listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VirtualHost {
    /// The [`Host`]'s name for sidecars; `LISTENER/DOMAIN` at gateways.
    pub name: String,
    /// The gateway listener it belongs to; none: outbound of sidecars.
    pub listener: Option<String>,
    /// Names that select it at a gateway: exact, `*.suffix` or `*`; lower case, without port.
    pub domains: Vec<String>,
    /// Objects it was made of, as `Kind/namespace/name`; what a NACK and `/config` name.
    pub origins: Vec<String>,
    /// HTTP rules; the first that matches wins. None matching: 404.
    pub http: Vec<HttpRule>,
    /// TCP rules; the first that matches wins.
    pub tcp: Vec<TcpRule>,
}

/// One HTTP rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpRule {
    /// The route's name in logs.
    pub name: String,
    /// Where it came from, e.g. `VirtualService/default/reviews spec.http[0]`.
    pub origin: String,
    /// Alternatives; empty matches everything.
    pub matches: Vec<HttpMatch>,
    /// What happens.
    pub action: HttpAction,
    /// Changes to the path and authority sent upstream.
    pub rewrite: Option<Rewrite>,
    /// Time for the whole exchange, tries and waits included, in ms; none: no limit.
    pub timeout_ms: Option<u64>,
    /// Tries; none: the proxy's default.
    pub retries: Option<Retries>,
    /// Faults to inject.
    pub fault: Option<FaultRule>,
    /// Header changes for whatever destination is chosen.
    pub headers: HeaderOps,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum HttpAction {
    /// To one of these, by weight.
    Route {
        /// At least one; a weight of 0 never gets a request unless all weights are 0 (then one entry only).
        destinations: Vec<WeightedDestination>,
    },
    /// Answer with a redirect.
    Redirect(Redirect),
    /// Answer from here.
    DirectResponse {
        /// HTTP status.
        status: u16,
        /// Body; none: empty.
        #[serde(default)]
        body: Option<String>,
    },
}

impl Default for HttpAction {
    fn default() -> HttpAction {
        HttpAction::Route { destinations: Vec::new() }
    }
}

/// A destination with its share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WeightedDestination {
    /// FQDN.
    pub host: String,
    /// Subset, empty for none.
    pub subset: String,
    /// Port; none: the port that the request came for.
    pub port: Option<u16>,
    /// Share among its siblings.
    pub weight: u32,
    /// Header changes for this destination only.
    pub headers: HeaderOps,
}

/// One alternative of a rule's condition; all fields present must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct HttpMatch {
    pub name: String,
    /// On the path without its query.
    pub uri: Option<StringMatch>,
    pub ignore_uri_case: bool,
    pub scheme: Option<StringMatch>,
    pub method: Option<StringMatch>,
    pub authority: Option<StringMatch>,
    /// Lower-case name → condition; `None` means present.
    pub headers: BTreeMap<String, Option<StringMatch>>,
    /// Lower-case name → condition that must not hold; `None`: must be absent.
    pub without_headers: BTreeMap<String, Option<StringMatch>>,
    pub query_params: BTreeMap<String, Option<StringMatch>>,
    /// The port that the request came for.
    pub port: Option<u16>,
}

/// A condition on a string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StringMatch {
    /// Equal.
    Exact(String),
    /// Starts with.
    Prefix(String),
    /// The whole string matches this RE2 expression.
    Regex(String),
    /// A path prefix that ends at a segment's border (Gateway API `PathPrefix`).
    PathPrefix(String),
}

/// Header changes, carried out in the order set, add, remove.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct HeaderOps {
    pub request: HeaderChange,
    pub response: HeaderChange,
}

/// Changes to one direction's headers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct HeaderChange {
    pub set: Vec<(String, String)>,
    pub add: Vec<(String, String)>,
    pub remove: Vec<String>,
}

/// `redirect` of a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Redirect {
    /// Replaces the path, query kept; none: unchanged.
    pub uri: Option<String>,
    /// Replaces the authority.
    pub authority: Option<String>,
    /// Replaces the scheme.
    pub scheme: Option<String>,
    /// Port to name.
    pub port: RedirectPort,
    /// 301 unless set.
    pub code: u16,
}

/// Port of a redirect's `Location`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RedirectPort {
    /// As in the authority.
    #[default]
    Keep,
    /// This one.
    Number(u16),
    /// None: the scheme's default (`FROM_PROTOCOL_DEFAULT`).
    ProtocolDefault,
    /// The port that the request came for (`FROM_REQUEST_PORT`).
    RequestPort,
}

/// `rewrite` of a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Rewrite {
    /// With a prefix match: replaces the matched prefix; else the whole path. Query kept.
    pub uri: Option<String>,
    /// Replaces the authority.
    pub authority: Option<String>,
    /// Regular expression and replacement (`\1` groups) on the path.
    pub uri_regex: Option<(String, String)>,
}

/// `retries` of a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Retries {
    /// Tries after the first; 0 switches retries off.
    pub attempts: u32,
    /// Time of one try; none: the rule's timeout.
    pub per_try_timeout_ms: Option<u64>,
    /// Conditions.
    pub on: RetryOn,
    /// Base of the exponential back-off with jitter; 25 unless set.
    pub backoff_ms: Option<u64>,
    /// Let a retry go to the host that failed (`retryIgnorePreviousHosts: false`).
    pub allow_previous_hosts: bool,
}

/// `retryOn`, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RetryOn {
    /// Any 5xx, and no answer at all.
    pub server_error: bool,
    /// 502, 503, 504.
    pub gateway_error: bool,
    /// The connection or the stream broke without an answer.
    pub reset: bool,
    /// No connection.
    pub connect_failure: bool,
    /// The upstream refused the stream.
    pub refused_stream: bool,
    /// 409.
    pub retriable_4xx: bool,
    /// Envoy's `retriable-headers` are not supported; these are `retriable-status-codes`.
    pub statuses: Vec<u16>,
    /// gRPC statuses by number (cancelled 1, deadline-exceeded 4, resource-exhausted 8, internal 13, unavailable 14).
    pub grpc: Vec<u8>,
}

/// `fault` of a rule. Delay comes first, abort after it; each drawn on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FaultRule {
    /// Delay in ms and its share.
    pub delay: Option<FaultDelay>,
    /// Status and its share.
    pub abort: Option<FaultAbort>,
}

/// A delay to inject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct FaultDelay {
    pub delay_ms: u64,
    pub per_million: u32,
}

/// An abort to inject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct FaultAbort {
    pub status: u16,
    pub per_million: u32,
}

/// One TCP rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct TcpRule {
    pub origin: String,
    /// Alternatives; empty matches everything.
    pub matches: Vec<TcpMatch>,
    pub destinations: Vec<WeightedDestination>,
}

/// One alternative of a TCP rule's condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct TcpMatch {
    pub port: Option<u16>,
    /// CIDRs of the destination address.
    pub destination_subnets: Vec<String>,
    /// CIDR of the client's address.
    pub source_subnet: Option<String>,
}

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
    /// What the endpoints speak.
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
}

/// The name of a destination, as Istio writes it.
pub fn destination_name(port: u16, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
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
}

fn one() -> u32 {
    1
}

/// A `RateLimit` object, or the part of one that concerns this proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RateLimit {
    /// `NAMESPACE/NAME`; with its limits' positions the identity of the buckets, which outlive a change elsewhere.
    pub name: String,
    /// What it guards.
    pub scope: LimitScope,
    /// All that apply must admit.
    pub limits: Vec<Limit>,
}

/// What a rate limit guards in this proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum LimitScope {
    /// Everything that arrives for the application, or for one service (FQDN) of it.
    #[default]
    Inbound,
    /// What arrives for the application by way of this service.
    InboundService {
        /// FQDN.
        host: String,
    },
    /// What this workload sends to this host (FQDN).
    Outbound {
        /// FQDN.
        host: String,
    },
    /// What arrives at these gateway listeners.
    Gateway {
        /// Names of listeners.
        listeners: Vec<String>,
    },
}

/// One limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Limit {
    /// Admitted per unit.
    pub requests: u64,
    /// The unit, in ms.
    pub unit_ms: u64,
    /// Admitted at once beyond the even pace; 0: `requests` of the unit (a whole unit's share may come at once).
    pub burst: u64,
    /// What tells clients apart; empty: one bucket for all.
    pub per: Vec<LimitKey>,
    /// Only requests for which this holds.
    pub when: Option<HttpMatch>,
}

/// A part of a keyed limit's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum LimitKey {
    Header(String),
    Path,
    Method,
    SourceAddress,
    SourcePrincipal,
}
