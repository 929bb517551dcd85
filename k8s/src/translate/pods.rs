//! Single endpoints as hosts of their own: the pods of headless services, by name (`POD.SERVICE.NAMESPACE.svc…`) and
//! address, and the workload itself by its address. A request or connection for one of them goes to that one, with the
//! service's policy and with mutual TLS where the endpoint takes it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use dromon_core::config::model::{
    self, ClientTls, Destination, Endpoints, Host, HostPort, ListenerKind, MtlsMode, Protocol,
    destination_name,
};

use crate::mesh::host::SERVICE_DOMAIN;
use crate::mesh::service::{Endpoint, Service};
use crate::mesh::{Mesh, spiffe_id};

use super::identity::SidecarIdentity;
use super::{Builder, destination};

/// A pod's addresses and the ports at which it is reached there, with the endpoint behind each.
struct Pod {
    addresses: Vec<String>,
    ports: BTreeMap<u16, (Protocol, u16, model::Endpoint)>,
}

/// Adds a host for each pod of a headless service.
pub(super) fn of_service(builder: &mut Builder<'_>, service: &Service) {
    let mut pods: BTreeMap<&str, Pod> = BTreeMap::new();
    for port in &service.ports {
        for endpoint in port.endpoints.iter().filter(|it| !it.pod.is_empty()) {
            let addresses = || addresses(builder.mesh, &service.namespace, endpoint);
            let pod = pods
                .entry(&endpoint.pod)
                .or_insert_with(|| Pod { addresses: addresses(), ports: BTreeMap::new() });
            // Nothing translates ports on the way to a pod's address: clients name the pod's own. By name, either.
            for number in [port.number, endpoint.model.port] {
                let entry = (port.protocol, port.number, endpoint.model.clone());
                pod.ports.entry(number).or_insert(entry);
            }
        }
    }
    for (name, pod) in pods {
        add(builder, service, name, pod);
    }
}

/// Where an endpoint's pod is reached: there, and at its address of the other family.
fn addresses(mesh: &Mesh, namespace: &str, endpoint: &Endpoint) -> Vec<String> {
    let mut all = vec![endpoint.model.address.clone()];
    if let Some(pod) = mesh.workloads.named(namespace, &endpoint.pod) {
        let others = pod.other_addresses.iter().map(IpAddr::to_string);
        all.extend(others.chain([pod.address.clone()]).filter(|it| *it != endpoint.model.address));
    }
    all
}

fn add(builder: &mut Builder<'_>, service: &Service, pod_name: &str, pod: Pod) {
    let full = format!("{pod_name}.{}", service.host).to_ascii_lowercase();
    let short = format!("{pod_name}.{}.{}", service.name, service.namespace).to_ascii_lowercase();
    let svc = SERVICE_DOMAIN.split('.').next().unwrap_or_default();
    let mut domains = vec![full.clone(), format!("{short}.{svc}"), short];
    if service.namespace == builder.identity.namespace {
        domains.push(format!("{pod_name}.{}", service.name).to_ascii_lowercase());
    }
    let mut ports = Vec::new();
    for (number, (protocol, service_port, endpoint)) in pod.ports {
        let built = destination::build(builder.mesh, builder.identity, &service.host, service_port, "");
        let Some(built) = built else { continue };
        built.credential.into_iter().for_each(|it| builder.credential(it));
        let name = destination_name(number, "", &full);
        let tls = built.destination.tls.map(|tls| of_endpoint(tls, &endpoint));
        let destination = Destination { name: name.clone(), tls, ..built.destination };
        insert(builder, destination, endpoint);
        ports.push(HostPort { number, protocol });
    }
    let host = Host { name: full, domains, addresses: pod.addresses, ports, ..Host::default() };
    builder.hosts.push(host);
}

/// Secure naming to the one endpoint.
fn of_endpoint(tls: ClientTls, endpoint: &model::Endpoint) -> ClientTls {
    let known = Some(&endpoint.identity).filter(|it| tls.identities.contains(*it));
    let identities = known.map(|it| vec![it.clone()]).unwrap_or(tls.identities);
    ClientTls { identities, ..tls }
}

fn insert(builder: &mut Builder<'_>, destination: Destination, endpoint: model::Endpoint) {
    let name = destination.name.clone();
    let endpoints = Endpoints { name: name.clone(), endpoints: vec![endpoint] };
    builder.uses.insert(name.clone());
    builder.destinations.insert(name, Some((destination, endpoints)));
}

/// Adds the workload itself: its own addresses lead to its own sidecar, whatever its ports take.
pub(super) fn own(builder: &mut Builder<'_>, sidecar: &SidecarIdentity) {
    let others = sidecar.captured.iter().filter(|it| **it != sidecar.address);
    for address in [&sidecar.address].into_iter().chain(others) {
        own_address(builder, address.to_string());
    }
}

fn own_address(builder: &mut Builder<'_>, address: String) {
    let (mesh, identity) = (builder.mesh, builder.identity);
    let known: BTreeSet<&str> =
        builder.hosts.iter().flat_map(|it| &it.addresses).map(String::as_str).collect();
    let takes_mtls = mesh.workloads.at(&address).is_some_and(|it| it.mtls);
    if known.contains(address.as_str()) || builder.taken.is_some_and(|it| it.contains(&address)) {
        return;
    }
    let mut ports = Vec::new();
    for listener in builder.proxy.listeners.clone() {
        let ListenerKind::Inbound { protocol, service, mtls, .. } = listener.kind else { continue };
        let number = listener.logical_port;
        let id = spiffe_id(mesh.config.trust_domain(), &identity.namespace, &identity.service_account);
        let endpoint = model::Endpoint {
            workload: builder.proxy.workload.clone(),
            mtls: takes_mtls && mtls != MtlsMode::Disable,
            identity: id.clone(),
            ..model::Endpoint::new(&address, number)
        };
        let destination = Destination {
            name: destination_name(number, "", &address),
            service: service.unwrap_or_default(),
            protocol,
            tls: Some(ClientTls { identities: vec![id], ..ClientTls::default() }),
            ..Destination::default()
        };
        insert(builder, destination, endpoint);
        ports.push(HostPort { number, protocol });
    }
    if !ports.is_empty() {
        let addresses = vec![address.clone()];
        builder.hosts.push(Host { name: address, addresses, ports, ..Host::default() });
    }
}
