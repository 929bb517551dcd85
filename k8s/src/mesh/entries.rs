//! ServiceEntries as hosts of the mesh.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use dromon_core::config::model::{self, Discovery, Protocol};

use crate::api::mesh_config::MeshConfig;
use crate::api::service_entry::{self, Location, Resolution, ServiceEntry, WorkloadEntry};
use crate::api::{Kind, Object, Rule};
use crate::objects::{ObjectSet, Sourced};

use super::export::Export;
use super::service::{Endpoint, Service, ServicePort, TargetPort, endpoint, in_order};
use super::workloads::{Selectable, Workloads, facts};
use super::{protocol, workloads};

/// The hosts that a set's ServiceEntries are, oldest first.
pub fn services(set: &ObjectSet, workloads: &Workloads, config: &MeshConfig) -> Vec<Service> {
    let mut entries: Vec<&Sourced> = set.of_kind(Kind::ServiceEntry).collect();
    entries.sort_by(|a, b| super::age(a).cmp(&super::age(b)));
    let mut services: Vec<Service> = Vec::new();
    let mut at = HashMap::new();
    for sourced in entries {
        let Object::ServiceEntry(rule) = &sourced.object else { continue };
        for host in &rule.spec.hosts {
            let service = service(sourced, rule, host, workloads, config);
            // Several entries of one namespace may each bring ports of one host.
            let key = (service.namespace.clone(), service.host.clone());
            match at.get(&key).and_then(|at: &usize| services.get_mut(*at)) {
                Some(known) => {
                    for port in service.ports {
                        if known.port(port.number).is_none() {
                            known.ports.push(port);
                        }
                    }
                }
                None => {
                    at.insert(key, services.len());
                    services.push(service);
                }
            }
        }
    }
    services
}

fn service(
    sourced: &Sourced,
    rule: &Rule<ServiceEntry>,
    host: &str,
    workloads: &Workloads,
    config: &MeshConfig,
) -> Service {
    let spec = &rule.spec;
    let namespace = &sourced.key.namespace;
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let port = |port: &service_entry::ServicePort| ServicePort {
        number: port.number,
        name: port.name.clone(),
        protocol: protocol_of(port),
        discovery: discovery(spec.resolution),
        target: TargetPort::Number(port.target_port.unwrap_or(port.number)),
        endpoints: in_order(endpoints(spec, port, &host, namespace, workloads)),
    };
    Service {
        name: host.clone(),
        namespace: namespace.clone(),
        origin: sourced.key.clone(),
        export: Export::new(&spec.export_to, &config.default_service_export_to, namespace),
        addresses: spec.addresses.clone(),
        ports: spec.ports.iter().map(port).collect(),
        selector: spec.workload_selector.as_ref().map(|it| it.labels.clone()),
        is_kubernetes: false,
        is_headless: false,
        is_external: spec.location == Location::MeshExternal,
        identities: Vec::new(),
        subject_alt_names: spec.subject_alt_names.clone().unwrap_or_default(),
        host,
    }
}

/// A ServiceEntry's port says its protocol outright.
fn protocol_of(port: &service_entry::ServicePort) -> Protocol {
    protocol::of_word(&port.protocol).unwrap_or_else(|| protocol::of_port(&port.name, None, port.number))
}

fn discovery(resolution: Resolution) -> Discovery {
    match resolution {
        Resolution::None | Resolution::DynamicDns => Discovery::OriginalDestination,
        Resolution::Static => Discovery::Static,
        Resolution::Dns => Discovery::Dns,
        Resolution::DnsRoundRobin => Discovery::DnsRoundRobin,
    }
}

fn endpoints(
    spec: &ServiceEntry,
    port: &service_entry::ServicePort,
    host: &str,
    namespace: &str,
    workloads: &Workloads,
) -> Vec<Endpoint> {
    if discovery(spec.resolution) == Discovery::OriginalDestination {
        return Vec::new();
    }
    if let Some(selector) = spec.workload_selector.as_ref().filter(|it| !it.labels.is_empty()) {
        let chosen = workloads.select(namespace, &selector.labels);
        let fits =
            |it: &&Selectable| spec.resolution != Resolution::Static || it.address.parse::<IpAddr>().is_ok();
        return chosen.filter(fits).map(|it| endpoint(it, port_at(it, port))).collect();
    }
    let is_dns = matches!(spec.resolution, Resolution::Dns | Resolution::DnsRoundRobin);
    if is_dns && spec.endpoints.is_empty() {
        let itself = WorkloadEntry { address: host.to_owned(), ..WorkloadEntry::default() };
        return vec![inline(&itself, port, namespace)];
    }
    let usable = |it: &&WorkloadEntry| !it.address.starts_with("unix:") && !it.address.is_empty();
    spec.endpoints.iter().filter(usable).map(|it| inline(it, port, namespace)).collect()
}

/// The port at a selected workload: what a WorkloadEntry maps the port's name to, else `targetPort`, else the port.
fn port_at(workload: &Selectable, port: &service_entry::ServicePort) -> u16 {
    let mapped = workload.ports.iter().find(|it| workload.is_entry && it.name == port.name);
    mapped.map(|it| it.number).or(port.target_port).unwrap_or(port.number)
}

/// An endpoint written into the ServiceEntry.
fn inline(entry: &WorkloadEntry, port: &service_entry::ServicePort, namespace: &str) -> Endpoint {
    let number = entry.ports.get(&port.name).copied().or(port.target_port).unwrap_or(port.number);
    let app = entry.labels.get("app").cloned().unwrap_or_default();
    let known = !entry.labels.is_empty() || !entry.service_account.is_empty();
    let workload = match known {
        true => facts(&app, namespace, &entry.labels, &entry.service_account),
        false => model::Workload { cluster: workloads::CLUSTER.to_owned(), ..model::Workload::default() },
    };
    let model = model::Endpoint {
        address: entry.address.to_ascii_lowercase(),
        port: number,
        weight: entry.weight.max(1),
        workload,
        locality: entry.locality.clone(),
        mtls: workloads::takes_mtls(&entry.labels),
        ..model::Endpoint::default()
    };
    Endpoint { model, labels: Arc::new(entry.labels.clone()), pod: String::new() }
}
