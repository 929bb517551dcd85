//! The index of hosts that a proxy may call.

use serde::{Deserialize, Serialize};

use super::Protocol;

/// One entry of the index: a host that this proxy may call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Host {
    /// FQDN or wildcard (`*.example.com`).
    pub name: String,
    /// Every name it answers to for this proxy, without ports, lower case: short forms, FQDN.
    pub domains: Vec<String>,
    /// Virtual addresses (cluster IPs, ServiceEntry addresses), each an address or a CIDR.
    pub addresses: Vec<String>,
    /// Its ports. A request for another port of a known host is unknown.
    pub ports: Vec<HostPort>,
    /// A [`VirtualHost`] of the same name holds rules; without, requests go to `outbound|PORT||NAME`.
    pub routed: bool,
}

/// A port of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct HostPort {
    pub number: u16,
    pub protocol: Protocol,
}
