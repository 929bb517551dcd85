//! networking.istio.io Sidecar.

use serde::Deserialize;

use super::destination_rule::ConnectionPool;
use super::gateway::{Port, ServerTls};
use super::scalar::null_as_default;
use super::service_entry::LabelSelector;
use super::virtual_service::Destination;

/// `spec` of a Sidecar.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Sidecar {
    pub workload_selector: Option<LabelSelector>,
    pub ingress: Option<Vec<IngressListener>>,
    pub egress: Option<Vec<EgressListener>>,
    pub inbound_connection_pool: Option<ConnectionPool>,
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
}

/// One entry of `ingress`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct IngressListener {
    pub port: Option<Port>,
    pub bind: String,
    pub capture_mode: Option<String>,
    pub default_endpoint: String,
    pub tls: Option<ServerTls>,
    pub connection_pool: Option<ConnectionPool>,
}

/// One entry of `egress`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct EgressListener {
    pub port: Option<Port>,
    pub bind: String,
    pub capture_mode: Option<String>,
    /// `namespace/host`; namespace `.`, `*`, `~` or a name.
    #[serde(deserialize_with = "null_as_default")]
    pub hosts: Vec<String>,
}

/// `outboundTrafficPolicy`, of a Sidecar and of the mesh.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct OutboundTrafficPolicy {
    pub mode: Option<OutboundMode>,
    pub egress_proxy: Option<Destination>,
}

/// `outboundTrafficPolicy.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum OutboundMode {
    RegistryOnly,
    #[default]
    AllowAny,
}
