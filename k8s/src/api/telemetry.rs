//! telemetry.istio.io Telemetry. Access logging is carried out; tracing and metrics are reported.

use serde::Deserialize;
use serde_json::Value;

use super::destination_rule::WorkloadSelector;
use super::rate_limit::TargetRef;
use super::scalar::null_as_default;

/// `spec` of a Telemetry.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Telemetry {
    pub selector: Option<WorkloadSelector>,
    pub target_ref: Option<TargetRef>,
    pub target_refs: Option<Vec<TargetRef>>,
    pub tracing: Option<Value>,
    pub metrics: Option<Value>,
    #[serde(deserialize_with = "null_as_default")]
    pub access_logging: Vec<AccessLogging>,
}

/// One entry of `accessLogging`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct AccessLogging {
    #[serde(rename = "match")]
    pub matches: Option<LogMatch>,
    #[serde(deserialize_with = "null_as_default")]
    pub providers: Vec<ProviderRef>,
    pub disabled: Option<bool>,
    pub filter: Option<LogFilter>,
}

/// `accessLogging[].match`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct LogMatch {
    pub mode: Option<String>,
}

/// One entry of `providers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ProviderRef {
    pub name: String,
}

/// `accessLogging[].filter`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct LogFilter {
    pub expression: String,
}
