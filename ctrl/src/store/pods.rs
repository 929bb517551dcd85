//! A proxy's id and what the cluster says of its pod → the identity that its configuration depends on.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use dromon_k8s::mesh::Mesh;
use dromon_k8s::mesh::gateway_api::addresses::is_own;
use dromon_k8s::mesh::service::TargetPort;
use dromon_k8s::mesh::workloads::{Selectable, has_all};
use dromon_k8s::translate::{
    GatewayIdentity, GatewaySelection, PortAt, ProxyIdentity, ProxyRole, SidecarIdentity, gateway_ports,
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
/// has is opened as it is, but for one at an address of a Gateway's own: it waits for that Gateway's Service.
fn gateway(mesh: &Mesh, identity: &ProxyIdentity, pod: &Selectable, address: IpAddr) -> GatewayIdentity {
    let selection = GatewaySelection::ByLabels;
    let mut behind: BTreeMap<PortAt, u16> = BTreeMap::new();
    let before = mesh.services.iter().filter(|it| {
        let selector = it.selector.as_ref();
        it.namespace == identity.namespace && selector.is_some_and(|it| has_all(&identity.labels, it))
    });
    for (service, port) in before.flat_map(|it| it.ports.iter().map(move |port| (it, port))) {
        let target = match &port.target {
            TargetPort::Number(number) => Some(*number),
            TargetPort::Name(name) => pod.ports.iter().find(|it| it.name == *name).map(|it| it.number),
        };
        let name = if is_own(&service.name) { service.name.clone() } else { String::new() };
        if let Some(target) = target {
            behind.entry(PortAt { service: name, number: port.number }).or_insert(target);
        }
    }
    let open = |at: PortAt| {
        let otherwise = at.service.is_empty().then_some(at.number);
        let target = behind.get(&at).copied().or(otherwise)?;
        Some((at, SocketAddr::new(any(address), target)))
    };
    let ports = gateway_ports(mesh, identity, selection).into_iter().filter_map(|it| open(it.at)).collect();
    GatewayIdentity { selection, ports }
}

/// All addresses of a pod, of both families where it has IPv6.
fn any(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}
