//! A proxy's id and what the cluster says of its pod → the identity that its configuration depends on.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use dromon_k8s::mesh::Mesh;
use dromon_k8s::mesh::service::TargetPort;
use dromon_k8s::mesh::workloads::{Selectable, has_all};
use dromon_k8s::translate::{
    GatewayIdentity, GatewaySelection, ProxyIdentity, ProxyRole, SidecarIdentity, gateway_ports,
};

/// The identity of the proxy with this id; none while nobody knows its pod, or the pod has no address.
pub fn identity(id: &str, mesh: &Mesh) -> Option<ProxyIdentity> {
    let (role, pod) = id.split_once('~')?;
    let (name, namespace) = pod.rsplit_once('.')?;
    let pod = mesh.workloads.named(namespace, name)?;
    let address: IpAddr = pod.address.parse().ok()?;
    let mut identity = ProxyIdentity {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        owner: pod.facts.name.clone(),
        labels: pod.labels.as_ref().clone(),
        service_account: pod.facts.service_account.clone(),
        role: ProxyRole::Sidecar(sidecar(pod, address)),
    };
    match role {
        "sidecar" => {}
        "gateway" => identity.role = ProxyRole::Gateway(gateway(mesh, &identity, pod, address)),
        _ => return None,
    }
    Some(identity)
}

fn sidecar(pod: &Selectable, address: IpAddr) -> SidecarIdentity {
    SidecarIdentity {
        address,
        // The application may listen on the pod's address alone; nothing listens on loopback alone and is called.
        application: address,
        ports: pod.ports.clone(),
        outbound: None,
        captured: pod.other_addresses.iter().copied().chain([address]).collect(),
        service_addresses: BTreeMap::new(),
        clients: Vec::new(),
    }
}

/// A Gateway's port is a port of the Service before its pods: where that leads to, the pod listens. A port that no Service
/// has is opened as it is.
fn gateway(mesh: &Mesh, identity: &ProxyIdentity, pod: &Selectable, address: IpAddr) -> GatewayIdentity {
    let selection = GatewaySelection::ByLabels;
    let mut behind: BTreeMap<u16, u16> = BTreeMap::new();
    let before = mesh.services.iter().filter(|it| {
        let selector = it.selector.as_ref();
        it.namespace == identity.namespace && selector.is_some_and(|it| has_all(&identity.labels, it))
    });
    for port in before.flat_map(|it| &it.ports) {
        let target = match &port.target {
            TargetPort::Number(number) => Some(*number),
            TargetPort::Name(name) => pod.ports.iter().find(|it| it.name == *name).map(|it| it.number),
        };
        if let Some(target) = target {
            behind.entry(port.number).or_insert(target);
        }
    }
    let open = |number: u16| (number, SocketAddr::new(any(address), *behind.get(&number).unwrap_or(&number)));
    let ports = gateway_ports(mesh, identity, selection).into_iter().map(|it| open(it.number)).collect();
    GatewayIdentity { selection, ports }
}

/// All addresses of a pod, of both families where it has IPv6.
fn any(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}
