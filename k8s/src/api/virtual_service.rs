//! networking.istio.io VirtualService.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::scalar::{Percent, Span, StringMatch, null_as_default};

/// `spec` of a VirtualService.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct VirtualService {
    #[serde(deserialize_with = "null_as_default")]
    pub hosts: Vec<String>,
    /// `mesh` where empty.
    #[serde(deserialize_with = "null_as_default")]
    pub gateways: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub export_to: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub http: Vec<HttpRoute>,
    #[serde(deserialize_with = "null_as_default")]
    pub tls: Vec<TlsRoute>,
    #[serde(deserialize_with = "null_as_default")]
    pub tcp: Vec<TcpRoute>,
}

/// One entry of `http`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct HttpRoute {
    pub name: String,
    #[serde(rename = "match", deserialize_with = "null_as_default")]
    pub matches: Vec<HttpMatch>,
    #[serde(deserialize_with = "null_as_default")]
    pub route: Vec<RouteDestination>,
    pub redirect: Option<Redirect>,
    pub direct_response: Option<DirectResponse>,
    pub delegate: Option<Delegate>,
    pub rewrite: Option<Rewrite>,
    pub timeout: Option<Span>,
    pub retries: Option<Retries>,
    pub fault: Option<Fault>,
    pub mirror: Option<Destination>,
    pub mirrors: Option<Vec<Mirror>>,
    pub mirror_percent: Option<u32>,
    pub mirror_percentage: Option<Percent>,
    pub cors_policy: Option<CorsPolicy>,
    pub headers: Option<Headers>,
}

/// One alternative of a route's condition.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct HttpMatch {
    pub name: String,
    pub uri: Option<StringMatch>,
    pub scheme: Option<StringMatch>,
    pub method: Option<StringMatch>,
    pub authority: Option<StringMatch>,
    /// `null` or `{}`: the header must be present.
    #[serde(deserialize_with = "null_as_default")]
    pub headers: BTreeMap<String, Option<StringMatch>>,
    #[serde(deserialize_with = "null_as_default")]
    pub without_headers: BTreeMap<String, Option<StringMatch>>,
    #[serde(deserialize_with = "null_as_default")]
    pub query_params: BTreeMap<String, Option<StringMatch>>,
    pub port: Option<u16>,
    #[serde(deserialize_with = "null_as_default")]
    pub source_labels: BTreeMap<String, String>,
    pub source_namespace: String,
    #[serde(deserialize_with = "null_as_default")]
    pub gateways: Vec<String>,
    pub ignore_uri_case: bool,
    pub stat_prefix: String,
}

/// Where traffic goes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Destination {
    pub host: String,
    pub subset: String,
    pub port: Option<PortSelector>,
}

/// `port: {number: 80}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct PortSelector {
    pub number: u16,
}

/// A destination with its share and header changes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct RouteDestination {
    pub destination: Destination,
    /// None where the file gives none, which is 0 but seldom meant.
    pub weight: Option<u32>,
    pub headers: Option<Headers>,
}

impl RouteDestination {
    /// The share; 0 unless given.
    pub fn share(&self) -> u32 {
        self.weight.unwrap_or_default()
    }
}

/// `redirect`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Redirect {
    pub uri: String,
    pub authority: String,
    pub port: Option<u16>,
    pub derive_port: Option<DerivePort>,
    pub scheme: String,
    pub redirect_code: Option<u16>,
    /// On Istio's master branch only; reported.
    pub prefix_rewrite: Option<String>,
}

/// `redirect.derivePort`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum DerivePort {
    FromProtocolDefault,
    FromRequestPort,
}

/// `directResponse`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct DirectResponse {
    pub status: u16,
    pub body: Option<Body>,
}

/// `directResponse.body`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Body {
    pub string: Option<String>,
    /// Base64, as protobuf's JSON writes bytes.
    pub bytes: Option<String>,
}

/// `delegate`: another VirtualService holds the rules.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Delegate {
    pub name: String,
    pub namespace: String,
}

/// `rewrite`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Rewrite {
    pub uri: String,
    pub authority: String,
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// `rewrite.uriRegexRewrite`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct RegexRewrite {
    #[serde(rename = "match")]
    pub pattern: String,
    pub rewrite: String,
}

/// `retries`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Retries {
    pub attempts: u32,
    pub per_try_timeout: Option<Span>,
    pub retry_on: String,
    pub retry_remote_localities: Option<bool>,
    pub retry_ignore_previous_hosts: Option<bool>,
    pub backoff: Option<Span>,
}

/// `fault`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Fault {
    pub delay: Option<FaultDelay>,
    pub abort: Option<FaultAbort>,
}

/// `fault.delay`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct FaultDelay {
    pub fixed_delay: Option<Span>,
    pub exponential_delay: Option<Span>,
    pub percentage: Option<Percent>,
    /// Deprecated whole number.
    pub percent: Option<u32>,
}

/// `fault.abort`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct FaultAbort {
    pub http_status: Option<u16>,
    pub grpc_status: Option<String>,
    pub http2_error: Option<String>,
    pub percentage: Option<Percent>,
}

/// One entry of `mirrors`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Mirror {
    pub destination: Destination,
    pub percentage: Option<Percent>,
}

/// `corsPolicy`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct CorsPolicy {
    pub allow_origin: Option<Vec<String>>,
    pub allow_origins: Option<Vec<StringMatch>>,
    pub allow_methods: Option<Vec<String>>,
    pub allow_headers: Option<Vec<String>>,
    pub expose_headers: Option<Vec<String>>,
    pub max_age: Option<Span>,
    pub allow_credentials: Option<bool>,
    pub unmatched_preflights: Option<String>,
}

/// `headers`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Headers {
    pub request: Option<HeaderOperations>,
    pub response: Option<HeaderOperations>,
}

/// `headers.request`, `headers.response`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct HeaderOperations {
    #[serde(deserialize_with = "null_as_default")]
    pub set: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_as_default")]
    pub add: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_as_default")]
    pub remove: Vec<String>,
}

/// One entry of `tls`: parsed and reported.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct TlsRoute {
    #[serde(rename = "match", deserialize_with = "null_as_default")]
    pub matches: Vec<TlsMatch>,
    #[serde(deserialize_with = "null_as_default")]
    pub route: Vec<RouteDestination>,
}

/// One alternative of a TLS route's condition.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct TlsMatch {
    pub sni_hosts: Vec<String>,
    pub destination_subnets: Vec<String>,
    pub port: Option<u16>,
    pub source_labels: BTreeMap<String, String>,
    pub gateways: Vec<String>,
    pub source_namespace: String,
}

/// One entry of `tcp`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct TcpRoute {
    #[serde(rename = "match", deserialize_with = "null_as_default")]
    pub matches: Vec<L4Match>,
    #[serde(deserialize_with = "null_as_default")]
    pub route: Vec<RouteDestination>,
}

/// One alternative of a TCP route's condition.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct L4Match {
    #[serde(deserialize_with = "null_as_default")]
    pub destination_subnets: Vec<String>,
    pub port: Option<u16>,
    pub source_subnet: String,
    #[serde(deserialize_with = "null_as_default")]
    pub source_labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_as_default")]
    pub gateways: Vec<String>,
    pub source_namespace: String,
}
