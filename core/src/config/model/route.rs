//! Rules: which request goes where, and what happens to it on the way.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::TlsRule;

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
    /// TLS rules, for connections that are passed on unread; the first that matches wins. At gateways the domains are
    /// server names. None matching: TCP rules.
    pub tls: Vec<TlsRule>,
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
    /// It can lead nowhere as it is written: its share of the requests is answered with this status, and of the connections
    /// closed. The host is then only what people are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refuse: Option<u16>,
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
    /// Replaces what the rule's condition took of the path, query kept; `uri` comes before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
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
