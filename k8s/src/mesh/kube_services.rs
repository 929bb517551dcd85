//! Kubernetes Services as hosts of the mesh. Endpoints come from EndpointSlices, else from an Endpoints object, else
//! (a local mesh has neither) from the workloads that the selector chooses.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use dromon_core::config::model::{self, Discovery};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::api::mesh_config::MeshConfig;
use crate::api::{Kind, Object};
use crate::objects::{Key, ObjectSet, Sourced};

use super::export::Export;
use super::host::service_host;
use super::protocol;
use super::service::{Endpoint, Service, ServicePort, TargetPort, endpoint, in_order};
use super::workloads::{Labels, Selectable, Workloads};

/// Annotation of a Service that says what `exportTo` says elsewhere.
const EXPORT_ANNOTATION: &str = "networking.istio.io/exportTo";
/// Label of an EndpointSlice that names its Service.
pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// What Kubernetes says of the endpoints of Services, by namespace and Service.
#[derive(Default)]
struct Published<'a> {
    slices: HashMap<(&'a str, &'a str), Vec<&'a EndpointSlice>>,
    endpoints: HashMap<(&'a str, &'a str), &'a core::Endpoints>,
}

/// The hosts that a set's Services are.
pub fn services(set: &ObjectSet, workloads: &Workloads, config: &MeshConfig) -> Vec<Service> {
    let published = published(set);
    set.of_kind(Kind::Service).filter_map(|it| service(it, &published, workloads, config)).collect()
}

/// One of them, which is there.
pub fn one(
    set: &ObjectSet,
    workloads: &Workloads,
    config: &MeshConfig,
    namespace: &str,
    name: &str,
) -> Option<Service> {
    let key = |kind| Key { kind, namespace: namespace.to_owned(), name: name.to_owned() };
    let sourced = set.get(&key(Kind::Service))?;
    let mut published = Published::default();
    for sourced in set.of_namespace(Kind::EndpointSlice, namespace) {
        let Object::EndpointSlice(slice) = &sourced.object else { continue };
        if labelled(slice) == Some(name) {
            published.slices.entry((namespace, name)).or_default().push(slice);
        }
    }
    if let Some(Object::Endpoints(endpoints)) = set.get(&key(Kind::Endpoints)).map(|it| &it.object) {
        published.endpoints.insert((namespace, name), endpoints);
    }
    service(sourced, &published, workloads, config)
}

/// Name of the Service that an EndpointSlice is of.
pub fn service_of_slice(sourced: &Sourced) -> Option<String> {
    match &sourced.object {
        Object::EndpointSlice(slice) => labelled(slice).map(str::to_owned),
        _ => None,
    }
}

fn labelled(slice: &EndpointSlice) -> Option<&str> {
    slice.metadata.labels.as_ref()?.get(SERVICE_LABEL).map(String::as_str)
}

fn published(set: &ObjectSet) -> Published<'_> {
    let mut published = Published::default();
    for sourced in set.of_kind(Kind::EndpointSlice) {
        let Object::EndpointSlice(slice) = &sourced.object else { continue };
        if let Some(service) = labelled(slice) {
            let key = (sourced.key.namespace.as_str(), service);
            published.slices.entry(key).or_default().push(slice);
        }
    }
    for sourced in set.of_kind(Kind::Endpoints) {
        let Object::Endpoints(endpoints) = &sourced.object else { continue };
        published.endpoints.insert((&sourced.key.namespace, &sourced.key.name), endpoints);
    }
    published
}

fn service(
    sourced: &Sourced,
    published: &Published<'_>,
    workloads: &Workloads,
    config: &MeshConfig,
) -> Option<Service> {
    let Object::Service(object) = &sourced.object else { return None };
    let spec = object.spec.as_ref()?;
    let (namespace, name) = (&sourced.key.namespace, &sourced.key.name);
    let external = spec.external_name.as_deref().filter(|_| spec.type_.as_deref() == Some("ExternalName"));
    let selector: Option<Labels> = spec.selector.clone().filter(|it| !it.is_empty());
    let mut ports = Vec::new();
    for port in spec.ports.as_deref().unwrap_or_default() {
        let Some(mut port) = service_port(port) else { continue };
        if let Some(external) = external {
            port.discovery = Discovery::Dns;
            port.endpoints = vec![external_endpoint(external, &port)];
        } else {
            let key = (namespace.as_str(), name.as_str());
            port.endpoints = in_order(match (published.slices.get(&key), published.endpoints.get(&key)) {
                (Some(slices), _) => of_slices(slices, &port, workloads, (namespace, families(spec))),
                (None, Some(endpoints)) => of_endpoints(endpoints, &port, workloads, namespace),
                (None, None) => match &selector {
                    Some(selector) => selected(selector, &port, workloads, namespace),
                    None => Vec::new(),
                },
            });
        }
        ports.push(port);
    }
    let annotations = object.metadata.annotations.as_ref();
    let export_to: Vec<String> = annotations
        .and_then(|it| it.get(EXPORT_ANNOTATION))
        .map(|it| it.split(',').map(|name| name.trim().to_owned()).collect())
        .unwrap_or_default();
    Some(Service {
        host: service_host(name, namespace),
        name: name.clone(),
        namespace: namespace.clone(),
        origin: sourced.key.clone(),
        export: Export::new(&export_to, &config.default_service_export_to, namespace),
        addresses: cluster_ips(spec),
        ports,
        selector,
        is_kubernetes: true,
        is_headless: external.is_none() && spec.cluster_ip.as_deref() == Some("None"),
        is_external: external.is_some(),
        identities: Vec::new(),
        subject_alt_names: Vec::new(),
    })
}

fn service_port(port: &core::ServicePort) -> Option<ServicePort> {
    if port.protocol.as_deref().is_some_and(|it| it != "TCP") {
        return None;
    }
    let number = u16::try_from(port.port).ok()?;
    let name = port.name.clone().unwrap_or_default();
    let target = match &port.target_port {
        None => TargetPort::Number(number),
        Some(IntOrString::Int(target)) => TargetPort::Number(u16::try_from(*target).ok()?),
        Some(IntOrString::String(target)) => match target.parse() {
            Ok(target) => TargetPort::Number(target),
            Err(_) => TargetPort::Name(target.clone()),
        },
    };
    let protocol = protocol::of_port(&name, port.app_protocol.as_deref(), number);
    let discovery = Discovery::Static;
    Some(ServicePort { number, name, protocol, discovery, target, endpoints: Vec::new() })
}

fn cluster_ips(spec: &core::ServiceSpec) -> Vec<String> {
    let mut addresses: Vec<String> = spec.cluster_ips.clone().unwrap_or_default();
    addresses.extend(spec.cluster_ip.clone());
    addresses.retain(|it| it != "None" && !it.is_empty());
    addresses.sort();
    addresses.dedup();
    addresses
}

fn external_endpoint(name: &str, port: &ServicePort) -> Endpoint {
    let model = model::Endpoint {
        address: name.trim_end_matches('.').to_ascii_lowercase(),
        port: port.number,
        ..model::Endpoint::default()
    };
    Endpoint { model, labels: Arc::default(), pod: String::new() }
}

fn selected(selector: &Labels, port: &ServicePort, workloads: &Workloads, namespace: &str) -> Vec<Endpoint> {
    let chosen = workloads.select(namespace, selector);
    let is_ip = |it: &&Selectable| it.address.parse::<IpAddr>().is_ok();
    chosen.filter(is_ip).filter_map(|it| Some(endpoint(it, port.target.at(it)?))).collect()
}

/// The families of a Service's addresses, its first one first.
fn families(spec: &core::ServiceSpec) -> &[String] {
    spec.ip_families.as_deref().unwrap_or_default()
}

/// Endpoints of a namespace's Service. A pod that has addresses of both families stands in two slices and is one endpoint, at its
/// address of the Service's first family.
fn of_slices(
    slices: &[&EndpointSlice],
    port: &ServicePort,
    workloads: &Workloads,
    (namespace, families): (&str, &[String]),
) -> Vec<Endpoint> {
    let mut found: Vec<Endpoint> = Vec::new();
    let mut slices: Vec<_> = slices.iter().filter(|it| it.address_type != "FQDN").collect();
    let place = |it: &EndpointSlice| families.iter().position(|family| *family == it.address_type);
    slices.sort_by_key(|it| (place(it).unwrap_or(families.len()), it.address_type.clone()));
    let mut family = "";
    // Pods of families before the present one.
    let mut known = BTreeSet::new();
    for slice in slices {
        if slice.address_type != family {
            family = &slice.address_type;
            known.extend(found.iter().map(|it| it.pod.clone()).filter(|it| !it.is_empty()));
        }
        let ports = slice.ports.as_deref().unwrap_or_default();
        let named = ports.iter().find(|it| it.name.as_deref().unwrap_or_default() == port.name);
        let Some(number) = named.and_then(|it| u16::try_from(it.port?).ok()) else { continue };
        for item in &slice.endpoints {
            let endpoint = of_slice_endpoint(item, number, workloads, namespace);
            found.extend(endpoint.filter(|it| !known.contains(&it.pod)));
        }
    }
    found
}

fn of_slice_endpoint(
    item: &SliceEndpoint,
    port: u16,
    workloads: &Workloads,
    namespace: &str,
) -> Option<Endpoint> {
    let conditions = item.conditions.as_ref();
    let is_ready = conditions.and_then(|it| it.ready).unwrap_or(true);
    let is_terminating = conditions.and_then(|it| it.terminating).unwrap_or(false);
    // Neither ready nor on its way out: it never was fit for requests, so nothing of it has to be drained.
    if !is_ready && !is_terminating {
        return None;
    }
    let target = item.target_ref.as_ref().and_then(|it| it.name.as_deref());
    let mut found = published_endpoint(item.addresses.first()?, port, target, workloads, namespace);
    found.model.draining = !is_ready || is_terminating;
    if let Some(zone) = item.zone.as_deref().filter(|_| found.model.locality.is_empty()) {
        found.model.locality = format!("/{zone}");
    }
    Some(found)
}

fn of_endpoints(
    endpoints: &core::Endpoints,
    port: &ServicePort,
    workloads: &Workloads,
    namespace: &str,
) -> Vec<Endpoint> {
    let mut found = Vec::new();
    for subset in endpoints.subsets.as_deref().unwrap_or_default() {
        let ports = subset.ports.as_deref().unwrap_or_default();
        let named = ports.iter().find(|it| it.name.as_deref().unwrap_or_default() == port.name);
        let Some(number) = named.and_then(|it| u16::try_from(it.port).ok()) else { continue };
        for address in subset.addresses.as_deref().unwrap_or_default() {
            let target = address.target_ref.as_ref().and_then(|it| it.name.as_deref());
            found.push(published_endpoint(&address.ip, number, target, workloads, namespace));
        }
    }
    found
}

/// An address that Kubernetes publishes, with what is known of the pod behind it.
fn published_endpoint(
    address: &str,
    port: u16,
    pod: Option<&str>,
    workloads: &Workloads,
    namespace: &str,
) -> Endpoint {
    let known = pod.and_then(|name| workloads.named(namespace, name)).or_else(|| workloads.at(address));
    let model = model::Endpoint {
        address: address.to_owned(),
        port,
        workload: known.map(|it| it.facts.clone()).unwrap_or_default(),
        locality: known.map(|it| it.locality.clone()).unwrap_or_default(),
        mtls: known.is_some_and(|it| it.mtls),
        ..model::Endpoint::default()
    };
    Endpoint {
        model,
        labels: known.map(|it| it.labels.clone()).unwrap_or_default(),
        pod: known.map(|it| it.name.clone()).unwrap_or_default(),
    }
}
