//! The mesh's settings: key `mesh` of the ConfigMap `dromon` (or `istio`) in the root namespace.

use serde::Deserialize;
use serde_json::Value;

use super::scalar::{Span, null_as_default};
use super::sidecar::OutboundTrafficPolicy;
use super::virtual_service::Retries;

/// What of Istio's MeshConfig is carried out; other fields are reported as unknown to the mesh.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct MeshConfig {
    /// Empty: no access log.
    pub access_log_file: String,
    pub access_log_encoding: Option<LogEncoding>,
    /// Text in format operators; with encoding JSON, a JSON object of name → operators.
    pub access_log_format: String,
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    pub default_http_retry_policy: Option<Retries>,
    pub connect_timeout: Option<Span>,
    /// `exportTo` of Services and ServiceEntries that have none; `*` unless set.
    #[serde(deserialize_with = "null_as_default")]
    pub default_service_export_to: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub default_virtual_service_export_to: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub default_destination_rule_export_to: Vec<String>,
    pub trust_domain: String,
    /// Named access-log and tracing providers; `envoyFileAccessLog` is carried out.
    #[serde(deserialize_with = "null_as_default")]
    pub extension_providers: Vec<ExtensionProvider>,
    /// Parsed and reported.
    pub root_namespace: Option<String>,
    pub default_config: Option<Value>,
    pub enable_tracing: Option<bool>,
    pub enable_auto_mtls: Option<bool>,
    pub ingress_controller_mode: Option<String>,
    pub ingress_class: Option<String>,
    pub ingress_service: Option<String>,
    pub ingress_selector: Option<String>,
    pub protocol_detection_timeout: Option<Span>,
    pub tcp_keepalive: Option<Value>,
    pub dns_refresh_rate: Option<Span>,
    pub locality_lb_setting: Option<Value>,
    pub h2_upgrade_policy: Option<String>,
    pub default_providers: Option<Value>,
    pub discovery_selectors: Option<Value>,
    pub path_normalization: Option<Value>,
    pub service_settings: Option<Value>,
    pub ca_certificates: Option<Value>,
    pub certificates: Option<Value>,
    /// This project's own: gateways tell clients why an answer is theirs, as sidecars do.
    pub expose_reason_at_gateways: Option<bool>,
    #[serde(rename = "meshMTLS")]
    pub mesh_mtls: Option<MeshTls>,
    pub tls_defaults: Option<Value>,
    pub trust_domain_aliases: Option<Vec<String>>,
    pub verify_certificate_at_client: Option<bool>,
    pub disable_envoy_listener_log: Option<bool>,
    pub enable_envoy_access_log_service: Option<bool>,
    pub enable_prometheus_merge: Option<bool>,
    pub inbound_cluster_stat_name: Option<String>,
    pub outbound_cluster_stat_name: Option<String>,
    pub hbone: Option<Value>,
    pub config_sources: Option<Value>,
    pub proxy_listen_port: Option<u16>,
    pub proxy_inbound_listen_port: Option<u16>,
    pub proxy_http_port: Option<u16>,
}

/// `meshMTLS`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct MeshTls {
    /// `TLSV1_2` or `TLSV1_3`; `TLS_AUTO` is 1.3 here, where Istio has 1.2.
    pub min_protocol_version: Option<String>,
    pub ecdh_curves: Option<Value>,
    pub cipher_suites: Option<Value>,
}

/// `accessLogEncoding`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum LogEncoding {
    #[default]
    Text,
    Json,
}

/// One entry of `extensionProviders`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct ExtensionProvider {
    pub name: String,
    pub envoy_file_access_log: Option<FileAccessLog>,
    pub envoy_ext_authz_http: Option<Value>,
    pub envoy_ext_authz_grpc: Option<Value>,
    pub zipkin: Option<Value>,
    pub datadog: Option<Value>,
    pub stackdriver: Option<Value>,
    pub skywalking: Option<Value>,
    pub opentelemetry: Option<Value>,
    pub prometheus: Option<Value>,
    pub envoy_http_als: Option<Value>,
    pub envoy_tcp_als: Option<Value>,
    pub envoy_otel_als: Option<Value>,
    pub sds: Option<Value>,
}

/// `extensionProviders[].envoyFileAccessLog`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct FileAccessLog {
    /// `/dev/stdout` unless set.
    pub path: String,
    pub log_format: Option<LogFormat>,
    pub omit_empty_values: Option<bool>,
}

/// `envoyFileAccessLog.logFormat`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct LogFormat {
    pub text: Option<String>,
    pub labels: Option<serde_json::Map<String, Value>>,
}
