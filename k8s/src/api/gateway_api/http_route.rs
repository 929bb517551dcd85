//! HTTPRoute.

use serde::Deserialize;
use serde_json::Value;

use super::{BackendObjectReference, NamedMatchType, ParentReference};
use crate::api::scalar::{Span, null_as_default};

/// `spec` of an HTTPRoute.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct HttpRoute {
    #[serde(deserialize_with = "null_as_default")]
    pub parent_refs: Vec<ParentReference>,
    pub use_default_gateways: Option<String>,
    /// Empty: all of the listener's.
    #[serde(deserialize_with = "null_as_default")]
    pub hostnames: Vec<String>,
    /// None: one rule that takes everything, as the API server fills it in.
    pub rules: Option<Vec<HttpRule>>,
}

/// One entry of `rules`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct HttpRule {
    pub name: Option<String>,
    /// Empty: everything.
    #[serde(deserialize_with = "null_as_default")]
    pub matches: Vec<HttpMatch>,
    #[serde(deserialize_with = "null_as_default")]
    pub filters: Vec<HttpFilter>,
    #[serde(deserialize_with = "null_as_default")]
    pub backend_refs: Vec<HttpBackendRef>,
    pub timeouts: Option<Timeouts>,
    pub retry: Option<Retry>,
    pub session_persistence: Option<Value>,
}

/// One entry of `rules[].matches`; all parts present must hold.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct HttpMatch {
    pub path: Option<PathMatch>,
    #[serde(deserialize_with = "null_as_default")]
    pub headers: Vec<HeaderMatch>,
    #[serde(deserialize_with = "null_as_default")]
    pub query_params: Vec<HeaderMatch>,
    pub method: Option<String>,
}

/// `rules[].matches[].path`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct PathMatch {
    #[serde(rename = "type")]
    pub kind: PathMatchType,
    /// `/` unless set.
    pub value: Option<String>,
}

/// `path.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub enum PathMatchType {
    Exact,
    #[default]
    PathPrefix,
    RegularExpression,
}

/// One entry of `headers` or `queryParams` of a match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct HeaderMatch {
    #[serde(rename = "type")]
    pub kind: NamedMatchType,
    pub name: String,
    pub value: String,
}

/// One entry of `filters`: its type names the one field that counts.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct HttpFilter {
    #[serde(rename = "type")]
    pub kind: String,
    pub request_header_modifier: Option<HeaderModifier>,
    pub response_header_modifier: Option<HeaderModifier>,
    pub request_redirect: Option<RequestRedirect>,
    pub url_rewrite: Option<UrlRewrite>,
    pub request_mirror: Option<RequestMirror>,
    pub cors: Option<Value>,
    pub external_auth: Option<Value>,
    pub extension_ref: Option<Value>,
}

/// `requestHeaderModifier` and `responseHeaderModifier`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct HeaderModifier {
    #[serde(deserialize_with = "null_as_default")]
    pub set: Vec<HeaderValue>,
    #[serde(deserialize_with = "null_as_default")]
    pub add: Vec<HeaderValue>,
    #[serde(deserialize_with = "null_as_default")]
    pub remove: Vec<String>,
}

/// A header's name and value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct HeaderValue {
    pub name: String,
    pub value: String,
}

/// `requestRedirect`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct RequestRedirect {
    pub scheme: Option<String>,
    pub hostname: Option<String>,
    pub path: Option<PathModifier>,
    pub port: Option<u16>,
    /// 302 unless set.
    pub status_code: Option<u16>,
}

/// `urlRewrite`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct UrlRewrite {
    pub hostname: Option<String>,
    pub path: Option<PathModifier>,
}

/// `path` of a redirect or rewrite.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct PathModifier {
    #[serde(rename = "type")]
    pub kind: PathModifierType,
    pub replace_full_path: Option<String>,
    pub replace_prefix_match: Option<String>,
}

/// `path.type` of a redirect or rewrite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub enum PathModifierType {
    #[default]
    ReplaceFullPath,
    ReplacePrefixMatch,
}

/// `requestMirror`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct RequestMirror {
    pub backend_ref: BackendObjectReference,
    pub percent: Option<u32>,
    pub fraction: Option<Fraction>,
}

/// A share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Fraction {
    pub numerator: u32,
    /// 100 unless set.
    pub denominator: Option<u32>,
}

/// One entry of `backendRefs` of HTTPRoute and GRPCRoute.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct HttpBackendRef {
    pub group: Option<String>,
    pub kind: Option<String>,
    pub name: String,
    pub namespace: Option<String>,
    pub port: Option<u16>,
    /// 1 unless set.
    pub weight: Option<u32>,
    #[serde(deserialize_with = "null_as_default")]
    pub filters: Vec<HttpFilter>,
}

impl HttpBackendRef {
    /// Without its weight and filters.
    pub fn reference(&self) -> BackendObjectReference {
        BackendObjectReference {
            group: self.group.clone(),
            kind: self.kind.clone(),
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            port: self.port,
        }
    }
}

/// `rules[].timeouts`; 0 switches one off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Timeouts {
    pub request: Option<Span>,
    pub backend_request: Option<Span>,
}

/// `rules[].retry` (GEP-1731).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Retry {
    #[serde(deserialize_with = "null_as_default")]
    pub codes: Vec<u16>,
    pub attempts: Option<u32>,
    pub backoff: Option<Span>,
}
