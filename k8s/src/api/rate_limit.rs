//! policy.dromon.io RateLimit: limits kept by the proxies themselves, exact over a proxy's shards.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::destination_rule::WorkloadSelector;
use super::scalar::{StringMatch, null_as_default};

/// `spec` of a RateLimit.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RateLimit {
    /// Services or Gateways; each is a target of its own.
    #[serde(deserialize_with = "null_as_default")]
    pub target_refs: Vec<TargetRef>,
    /// Workloads: the receiving ones (Inbound, Gateway), or the sending ones (Outbound).
    pub selector: Option<WorkloadSelector>,
    /// Which way the traffic goes; Inbound unless said, Gateway for Gateway targets.
    pub direction: Option<Direction>,
    /// All must admit.
    #[serde(deserialize_with = "null_as_default")]
    pub limits: Vec<Limit>,
}

/// One entry of `targetRefs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct TargetRef {
    pub group: Option<String>,
    /// `Service`, `ServiceEntry` or `Gateway`.
    pub kind: String,
    pub name: String,
    pub namespace: Option<String>,
}

/// `direction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub enum Direction {
    #[default]
    Inbound,
    Outbound,
    Gateway,
}

/// One entry of `limits`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limit {
    /// Requests admitted per unit; 0 refuses all.
    pub requests: u64,
    /// The unit.
    pub unit: Unit,
    /// Most that is admitted at once, at least 1; `requests` unless set.
    #[serde(default)]
    pub burst: Option<u64>,
    /// What tells clients apart; empty: one bucket for all.
    #[serde(default, deserialize_with = "null_as_default")]
    pub per: Vec<LimitKey>,
    /// Only requests for which this holds.
    #[serde(default)]
    pub when: Option<When>,
}

/// `limits[].unit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[allow(missing_docs)]
pub enum Unit {
    #[serde(alias = "second", alias = "SECOND")]
    Second,
    #[serde(alias = "minute", alias = "MINUTE")]
    Minute,
    #[serde(alias = "hour", alias = "HOUR")]
    Hour,
    #[serde(alias = "day", alias = "DAY")]
    Day,
}

impl Unit {
    /// The unit in milliseconds.
    pub fn millis(self) -> u64 {
        match self {
            Unit::Second => 1_000,
            Unit::Minute => 60_000,
            Unit::Hour => 3_600_000,
            Unit::Day => 86_400_000,
        }
    }
}

/// One entry of `per`; exactly one field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct LimitKey {
    pub header: Option<String>,
    pub source_address: Option<Empty>,
    pub source_principal: Option<Empty>,
    pub path: Option<Empty>,
    pub method: Option<Empty>,
}

/// `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Empty {}

/// `when`: all fields present must hold.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct When {
    pub path: Option<StringMatch>,
    pub method: Option<StringMatch>,
    pub authority: Option<StringMatch>,
    #[serde(deserialize_with = "null_as_default")]
    pub headers: BTreeMap<String, Option<StringMatch>>,
    #[serde(deserialize_with = "null_as_default")]
    pub without_headers: BTreeMap<String, Option<StringMatch>>,
    #[serde(deserialize_with = "null_as_default")]
    pub query_params: BTreeMap<String, Option<StringMatch>>,
    pub port: Option<u16>,
}
