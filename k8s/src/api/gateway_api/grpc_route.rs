//! GRPCRoute.

use serde::Deserialize;
use serde_json::Value;

use super::{HeaderMatch, HttpBackendRef, HttpFilter, ParentReference};
use crate::api::scalar::null_as_default;

/// `spec` of a GRPCRoute.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct GrpcRoute {
    #[serde(deserialize_with = "null_as_default")]
    pub parent_refs: Vec<ParentReference>,
    pub use_default_gateways: Option<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub hostnames: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub rules: Vec<GrpcRule>,
}

/// One entry of `rules`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct GrpcRule {
    pub name: Option<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub matches: Vec<GrpcMatch>,
    #[serde(deserialize_with = "null_as_default")]
    pub filters: Vec<HttpFilter>,
    #[serde(deserialize_with = "null_as_default")]
    pub backend_refs: Vec<HttpBackendRef>,
    pub session_persistence: Option<Value>,
}

/// One entry of `rules[].matches`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct GrpcMatch {
    pub method: Option<GrpcMethodMatch>,
    #[serde(deserialize_with = "null_as_default")]
    pub headers: Vec<HeaderMatch>,
}

/// `rules[].matches[].method`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct GrpcMethodMatch {
    #[serde(rename = "type")]
    pub kind: NamedMatchType,
    pub service: Option<String>,
    pub method: Option<String>,
}

/// How a name is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub enum NamedMatchType {
    #[default]
    Exact,
    RegularExpression,
}
