//! TLSRoute and TCPRoute: connections that are not read.

use serde::Deserialize;

use super::{BackendRef, ParentReference};
use crate::api::scalar::null_as_default;

/// `spec` of a TLSRoute.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct TlsRoute {
    #[serde(deserialize_with = "null_as_default")]
    pub parent_refs: Vec<ParentReference>,
    pub use_default_gateways: Option<String>,
    /// Server names; empty: all of the listener's.
    #[serde(deserialize_with = "null_as_default")]
    pub hostnames: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub rules: Vec<StreamRule>,
}

/// `spec` of a TCPRoute.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct TcpRoute {
    #[serde(deserialize_with = "null_as_default")]
    pub parent_refs: Vec<ParentReference>,
    pub use_default_gateways: Option<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub rules: Vec<StreamRule>,
}

/// One entry of `rules`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct StreamRule {
    pub name: Option<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub backend_refs: Vec<BackendRef>,
}
