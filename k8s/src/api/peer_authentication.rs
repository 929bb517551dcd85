//! security.istio.io PeerAuthentication.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::destination_rule::WorkloadSelector;
use super::scalar::null_as_default;

/// `spec` of a PeerAuthentication.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PeerAuthentication {
    /// Workloads that it holds for; none or empty: all of the namespace, or of the mesh in the root namespace.
    pub selector: Option<WorkloadSelector>,
    /// What holds for all ports.
    pub mtls: Option<MutualTls>,
    /// What holds for single ports of the workload, by their numbers; needs a selector.
    #[serde(deserialize_with = "null_as_default")]
    pub port_level_mtls: BTreeMap<u16, MutualTls>,
}

/// `mtls`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct MutualTls {
    pub mode: Mode,
}

/// `mtls.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Mode {
    /// As the next wider object says; PERMISSIVE where none says anything.
    #[default]
    Unset,
    /// No mutual TLS.
    Disable,
    /// Either.
    Permissive,
    /// Mutual TLS only.
    Strict,
}
