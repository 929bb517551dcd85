//! Rate limits.

use serde::{Deserialize, Serialize};

use super::HttpMatch;

/// A `RateLimit` object, or the part of one that concerns this proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RateLimit {
    /// `NAMESPACE/NAME`; with its limits' positions the identity of the buckets, which outlive a change elsewhere.
    pub name: String,
    /// What it guards.
    pub scope: LimitScope,
    /// All that apply must admit.
    pub limits: Vec<Limit>,
}

/// What a rate limit guards in this proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum LimitScope {
    /// Everything that arrives for the application, or for one service (FQDN) of it.
    #[default]
    Inbound,
    /// What arrives for the application by way of this service.
    InboundService {
        /// FQDN.
        host: String,
    },
    /// What this workload sends to this host (FQDN).
    Outbound {
        /// FQDN.
        host: String,
    },
    /// What arrives at these gateway listeners.
    Gateway {
        /// Names of listeners.
        listeners: Vec<String>,
    },
}

/// One limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Limit {
    /// Admitted per unit.
    pub requests: u64,
    /// The unit, in ms.
    pub unit_ms: u64,
    /// Admitted at once, 1 being an even pace; 0: `requests`, a whole unit's share. In any span of T units at most
    /// `requests` × T + `burst` are admitted.
    pub burst: u64,
    /// What tells clients apart; empty: one bucket for all.
    pub per: Vec<LimitKey>,
    /// Only requests for which this holds.
    pub when: Option<HttpMatch>,
}

/// A part of a keyed limit's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum LimitKey {
    Header(String),
    Path,
    Method,
    SourceAddress,
    SourcePrincipal,
}
