//! Services, ServiceEntries and WorkloadEntries.

use std::collections::HashMap;

use crate::api::{Kind, Object};
use crate::diagnostic::Diagnostic;
use crate::mesh::SERVICE_LABEL;
use crate::mesh::service::{Service, TargetPort};
use crate::mesh::workloads::has_all;
use crate::objects::Key;
use dromon_core::config::model::{Discovery, Protocol};

use super::Analysis;

/// Looks at all Services, ServiceEntries and what they select.
pub fn analyze(analysis: &mut Analysis<'_>) {
    let mesh = analysis.mesh;
    for service in mesh.services.iter() {
        if service.is_kubernetes {
            kubernetes(analysis, service);
        } else if let Some(selector) = &service.selector {
            analysis.selector(&service.origin, "spec.workloadSelector.labels", selector);
        }
    }
    same_hosts(analysis);
    unselected(analysis);
    endpoints_of_nothing(analysis);
}

fn kubernetes(analysis: &mut Analysis<'_>, service: &Service) {
    let Some(selector) = &service.selector else { return no_selector(analysis, service) };
    let mesh = analysis.mesh;
    let is_published = service.ports.iter().any(|it| !it.endpoints.is_empty());
    if !is_published {
        analysis.selector(&service.origin, "spec.selector", selector);
    }
    for (at, port) in service.ports.iter().enumerate() {
        let path = format!("spec.ports[{at}]");
        if port.protocol == Protocol::Auto {
            let message =
                format!("port {} declares no protocol, so each connection's is detected", port.number);
            let hint = "name it `http…`, `tcp…` and so on, or set `appProtocol`";
            analysis.report(&service.origin, Diagnostic::info(format!("{path}.name"), message).hint(hint));
        }
        for workload in mesh.workloads.select(&service.namespace, selector) {
            let field = format!("{path}.targetPort");
            let name = &workload.facts.name;
            match &port.target {
                TargetPort::Name(target) if port.target.at(workload).is_none() => {
                    let message = format!("{name} has no port named `{target}`, so it gets nothing");
                    let known: Vec<&str> = workload.ports.iter().map(|it| it.name.as_str()).collect();
                    let hint = format!("its ports are named {}", known.join(", "));
                    analysis.report(&service.origin, Diagnostic::error(field, message).hint(hint));
                }
                TargetPort::Number(number)
                    if !workload.ports.is_empty()
                        && !workload.ports.iter().any(|it| it.number == *number) =>
                {
                    let message = format!("{name} declares no port {number}");
                    let known: Vec<String> = workload.ports.iter().map(|it| it.number.to_string()).collect();
                    let hint = format!("it declares {}", known.join(", "));
                    analysis.report(&service.origin, Diagnostic::warning(field, message).hint(hint));
                }
                _ => {}
            }
        }
    }
}

fn no_selector(analysis: &mut Analysis<'_>, service: &Service) {
    let is_static = service.ports.iter().all(|it| it.discovery == Discovery::Static);
    if is_static && service.ports.iter().all(|it| it.endpoints.is_empty()) {
        let message = "it has neither a selector nor endpoints, so every request is answered 503";
        let hint = "add a selector, or Endpoints or an EndpointSlice";
        analysis.report(&service.origin, Diagnostic::warning("spec.selector", message).hint(hint));
    }
}

/// Hosts that several objects claim.
fn same_hosts(analysis: &mut Analysis<'_>) {
    let mesh = analysis.mesh;
    let mut first: HashMap<&str, &Service> = HashMap::new();
    for service in mesh.services.iter() {
        match first.get(service.host.as_str()) {
            None => {
                first.insert(&service.host, service);
            }
            Some(other) => {
                let message = format!("the host `{}` is also that of {}", service.host, other.origin);
                let hint = "a client sees its own namespace's object, else the first";
                analysis.report(&service.origin, Diagnostic::warning("spec.hosts", message).hint(hint));
            }
        }
    }
}

/// Processes and WorkloadEntries that nothing selects.
fn unselected(analysis: &mut Analysis<'_>) {
    let (set, mesh) = (analysis.set, analysis.mesh);
    for kind in [Kind::Process, Kind::WorkloadEntry] {
        for sourced in set.of_kind(kind) {
            let mut labels = sourced.object.meta().labels.clone().unwrap_or_default();
            let serves = match &sourced.object {
                Object::Process(process) => !process.spec.ports.is_empty(),
                Object::WorkloadEntry(entry) => {
                    labels.extend(entry.spec.labels.clone());
                    true
                }
                _ => false,
            };
            let selects = |it: &&Service| {
                it.namespace == sourced.key.namespace
                    && it.selector.as_ref().is_some_and(|selector| has_all(&labels, selector))
            };
            if serves && mesh.services().find(selects).is_none() {
                let message = "no Service or ServiceEntry selects it, so nothing is sent to it by name";
                let hint = "its labels must include those of a Service's selector";
                analysis.report(&sourced.key, Diagnostic::info("metadata.labels", message).hint(hint));
            }
        }
    }
}

/// Endpoints and EndpointSlices that belong to no Service. Those without addresses are other programs' records (leader
/// election keeps them as Endpoints).
fn endpoints_of_nothing(analysis: &mut Analysis<'_>) {
    let (set, mesh) = (analysis.set, analysis.mesh);
    let names = mesh.services.iter().filter(|it| it.is_kubernetes);
    let names: Vec<(&str, &str)> = names.map(|it| (it.name.as_str(), it.namespace.as_str())).collect();
    for sourced in set.of_kind(Kind::Endpoints).chain(set.of_kind(Kind::EndpointSlice)) {
        let (field, service) = match &sourced.object {
            Object::Endpoints(it) if it.subsets.iter().flatten().any(|it| it.addresses.is_some()) => {
                ("metadata.name", Some(sourced.key.name.as_str()))
            }
            Object::EndpointSlice(it) if !it.endpoints.is_empty() => {
                let label = it.metadata.labels.as_ref().and_then(|it| it.get(SERVICE_LABEL));
                ("metadata.labels", label.map(String::as_str))
            }
            _ => continue,
        };
        let namespace = &sourced.key.namespace;
        let Some(service) = service else {
            let message = format!("the label `{SERVICE_LABEL}` is missing, so it belongs to no Service");
            let hint = "give it the Service's name as value";
            analysis.report(&sourced.key, Diagnostic::warning(field, message).hint(hint));
            continue;
        };
        // One without ports of TCP is no host of the mesh, but it is there.
        let key = Key { kind: Kind::Service, namespace: namespace.clone(), name: service.to_owned() };
        if set.get(&key).is_some() {
            continue;
        }
        let message =
            format!("there is no Service `{service}` in namespace `{namespace}`, so nothing is sent there");
        let hint = match super::nearest_of(service, namespace, names.iter().copied()) {
            Some((near, of)) if of == namespace => format!("did you mean `{near}`?"),
            Some((near, of)) => format!("did you mean `{near}` of namespace `{of}`?"),
            None => "add a Service of this name, without a selector".to_owned(),
        };
        analysis.report(&sourced.key, Diagnostic::warning(field, message).hint(hint));
    }
}
