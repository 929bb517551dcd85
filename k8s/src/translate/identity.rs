//! Who a proxy is, as far as its configuration depends on it. The caller knows: it started the proxy, or the cluster did.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::mesh::destination_rules::Client;
use crate::mesh::workloads::Labels;
use crate::objects::WorkloadPort;

/// A proxy, as its configuration depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyIdentity {
    /// Name of its workload.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The workload's name in metrics: the Deployment's, say.
    pub owner: String,
    /// The workload's labels.
    pub labels: Labels,
    /// The workload's service account.
    pub service_account: String,
    /// What it does.
    pub role: ProxyRole,
}

/// What a proxy does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ProxyRole {
    Sidecar(SidecarIdentity),
    Gateway(GatewayIdentity),
}

/// A sidecar's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SidecarIdentity {
    /// Where others reach the workload: inbound ports are opened here.
    pub address: IpAddr,
    /// Where the application listens.
    pub application: IpAddr,
    /// Ports that the workload declares; those that services target are added.
    pub ports: Vec<WorkloadPort>,
    /// Where the application's outbound traffic comes in; none: no such listener.
    pub outbound: Option<SocketAddr>,
    /// The workload's own addresses whose connections netfilter brings to the sidecar ([`dromon_core::capture`]): no inbound
    /// port is opened then, but the two that capture leads to. Empty: nothing is captured.
    pub captured: Vec<IpAddr>,
    /// Addresses that services have for this workload beside their own, by host.
    pub service_addresses: BTreeMap<String, IpAddr>,
    /// Ports of services for clients that need an address of their own for each.
    pub clients: Vec<ServiceListener>,
}

/// An address at which the application reaches one port of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceListener {
    /// The service's full name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Where to listen.
    pub address: SocketAddr,
}

/// A gateway's share of the Gateway objects, and its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayIdentity {
    /// Which Gateway objects configure it.
    pub selection: GatewaySelection,
    /// Port of the objects → where it is opened. Ports that are not here are not opened.
    pub ports: BTreeMap<PortAt, SocketAddr>,
}

/// A port of Gateway objects, at one of the addresses that a gateway has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortAt {
    /// The Service of a Gateway with an address of its own ([`crate::mesh::gateway_api::addresses`]); empty: the gateway's.
    pub service: String,
    /// The port, as the objects name it.
    pub number: u16,
}

impl From<u16> for PortAt {
    fn from(number: u16) -> PortAt {
        PortAt { service: String::new(), number }
    }
}

/// Which Gateway objects configure a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewaySelection {
    /// All, at one address: a local mesh has one gateway.
    Every,
    /// Those whose selector its labels satisfy.
    ByLabels,
}

impl ProxyIdentity {
    /// The proxy's id on the feed.
    pub fn id(&self) -> String {
        let role = match self.role {
            ProxyRole::Sidecar(_) => "sidecar",
            ProxyRole::Gateway(_) => "gateway",
        };
        format!("{role}~{}.{}", self.name, self.namespace)
    }

    /// As the one who calls.
    pub fn client(&self) -> Client<'_> {
        Client { namespace: &self.namespace, labels: &self.labels }
    }
}
