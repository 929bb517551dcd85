//! A proxy's id and what the run says of it → the identity that its configuration depends on.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use dromon_k8s::mesh::{Mesh, protocol};
use dromon_k8s::objects::{Workload, WorkloadPort};
use dromon_k8s::translate::{
    GatewayIdentity, GatewaySelection, ProxyIdentity, ProxyRole, ServiceListener, SidecarIdentity,
    gateway_ports,
};

use crate::ca::members::GATEWAY_ACCOUNT;
use crate::local::{self, Local};

/// Port of a sidecar's outbound listener.
const OUTBOUND_PORT: u16 = 15_001;

/// The identity of the proxy with this id; none when nobody knows it.
pub fn identity(id: &str, local: Option<&Local>, mesh: &Mesh) -> Option<ProxyIdentity> {
    let (role, workload) = id.split_once('~')?;
    let (name, namespace) = workload.rsplit_once('.')?;
    match role {
        "gateway" => gateway(name, namespace, local, mesh),
        "sidecar" => sidecar(name, namespace, local?),
        _ => None,
    }
}

fn gateway(name: &str, namespace: &str, local: Option<&Local>, mesh: &Mesh) -> Option<ProxyIdentity> {
    let told = match local {
        Some(local) => {
            local.gateway.clone().filter(|told| told.name == name && told.namespace == namespace)?
        }
        // A controller on its own: every gateway opens its ports as the objects name them, everywhere.
        None => local::Gateway {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            ports: BTreeMap::new(),
            refused_below: 0,
            admin: None,
        },
    };
    let empty = GatewayIdentity { selection: GatewaySelection::Every, ports: BTreeMap::new() };
    let mut identity = ProxyIdentity {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        owner: name.to_owned(),
        labels: [("istio".to_owned(), "ingressgateway".to_owned())].into(),
        service_account: GATEWAY_ACCOUNT.into(),
        role: ProxyRole::Gateway(empty),
    };
    let ports = gateway_ports(mesh, &identity, GatewaySelection::Every)
        .into_iter()
        .map(|port| (port.at.number, port.at))
        .map(|(number, at)| (at, SocketAddr::new(told.bind, told.port(number))))
        .collect();
    identity.role = ProxyRole::Gateway(GatewayIdentity { selection: GatewaySelection::Every, ports });
    Some(identity)
}

fn sidecar(name: &str, namespace: &str, local: &Local) -> Option<ProxyIdentity> {
    let told = local.workloads.iter().find(|it| it.name == name && it.namespace == namespace)?;
    let address = IpAddr::V4(told.sidecar);
    let clients = local.service_ports.iter().filter_map(|(service, port)| {
        let (host, of) = service.rsplit_once(':')?;
        let (host, port_of) = (host.to_owned(), of.parse().ok()?);
        Some(ServiceListener { host, port: port_of, address: SocketAddr::new(address, *port) })
    });
    Some(ProxyIdentity {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        owner: name.to_owned(),
        labels: told.labels.clone(),
        service_account: told.service_account.clone(),
        role: ProxyRole::Sidecar(SidecarIdentity {
            address,
            application: IpAddr::V4(told.application),
            ports: ports(told),
            outbound: (!told.captured).then(|| SocketAddr::new(address, OUTBOUND_PORT)),
            captured: if told.captured { vec![address] } else { Vec::new() },
            service_addresses: match told.captured {
                true => {
                    local.service_addresses.iter().map(|(host, it)| (host.clone(), (*it).into())).collect()
                }
                false => BTreeMap::new(),
            },
            clients: if told.captured { Vec::new() } else { clients.collect() },
        }),
    })
}

/// A process of the run as services select it.
pub fn workload(told: &local::Workload) -> Workload {
    Workload {
        name: told.name.clone(),
        namespace: told.namespace.clone(),
        owner: told.name.clone(),
        labels: told.labels.clone(),
        address: IpAddr::V4(told.sidecar),
        ports: ports(told),
        service_account: told.service_account.clone(),
        ready: told.ready,
        locality: String::new(),
        other_addresses: Vec::new(),
        mtls: told.mtls,
    }
}

fn ports(told: &local::Workload) -> Vec<WorkloadPort> {
    let port = |port: &local::Port| WorkloadPort {
        name: port.name.clone(),
        number: port.number,
        protocol: protocol::of_port(&port.name, None, port.number),
    };
    told.ports.iter().map(port).collect()
}
