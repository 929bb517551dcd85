//! A host of the mesh with its ports and their endpoints, whether a Kubernetes Service or a ServiceEntry's host.

use std::sync::Arc;

use dromon_core::config::model::{self, Discovery, Protocol};

use crate::objects::Key;

use super::export::Export;
use super::workloads::{Labels, Selectable};

/// A host of the mesh.
#[derive(Clone, Debug)]
pub struct Service {
    /// Full name, lower case; may be a wildcard.
    pub host: String,
    /// Name in metrics: the Service's, or the host.
    pub name: String,
    /// Namespace of the object.
    pub namespace: String,
    /// The object.
    pub origin: Key,
    /// Who sees it.
    pub export: Export,
    /// Virtual addresses.
    pub addresses: Vec<String>,
    /// Ports, in the object's order.
    pub ports: Vec<ServicePort>,
    /// Labels of the pods that it selects, for what arrives at them; a Kubernetes Service's or ServiceEntry's.
    pub selector: Option<Labels>,
    /// A Kubernetes Service: answers to its short names too.
    pub is_kubernetes: bool,
    /// A Kubernetes Service without a virtual address: its name means its endpoints, each of which has a name too.
    pub is_headless: bool,
    /// Outside the mesh: spoken to with mutual TLS only where a rule says so.
    pub is_external: bool,
    /// SPIFFE ids that its endpoints may have, in order: of the accounts that run it, and those that it names itself.
    pub identities: Vec<String>,
    /// `subjectAltNames` of a ServiceEntry: what certificates of servers that are not of the mesh must say.
    pub subject_alt_names: Vec<String>,
}

/// A port of a service.
#[derive(Clone, Debug)]
pub struct ServicePort {
    /// Its number.
    pub number: u16,
    /// Its name; may be empty.
    pub name: String,
    /// What is spoken.
    pub protocol: Protocol,
    /// How endpoints are found.
    pub discovery: Discovery,
    /// Where it arrives at workloads.
    pub target: TargetPort,
    /// The endpoints, in a fixed order.
    pub endpoints: Vec<Endpoint>,
}

/// `targetPort`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// A number.
    Number(u16),
    /// The workload's port of that name.
    Name(String),
}

impl TargetPort {
    /// The port's number at a workload.
    pub fn at(&self, workload: &Selectable) -> Option<u16> {
        match self {
            TargetPort::Number(number) => Some(*number),
            TargetPort::Name(name) => workload.ports.iter().find(|it| it.name == *name).map(|it| it.number),
        }
    }
}

/// An endpoint with the labels that subsets choose by.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// As it travels.
    pub model: model::Endpoint,
    /// Its workload's labels.
    pub labels: Arc<Labels>,
    /// Name of its pod or process; empty where there is none.
    pub pod: String,
}

impl Service {
    /// The port of that number.
    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|it| it.number == number)
    }

    /// As metrics name it.
    pub fn facts(&self) -> model::ServiceRef {
        model::ServiceRef {
            host: self.host.clone(),
            name: self.name.clone(),
            namespace: self.namespace.clone(),
        }
    }
}

/// The endpoint that a workload is for a port.
pub fn endpoint(workload: &Selectable, port: u16) -> Endpoint {
    Endpoint {
        model: model::Endpoint {
            address: workload.address.clone(),
            port,
            weight: workload.weight,
            draining: !workload.ready,
            workload: workload.facts.clone(),
            locality: workload.locality.clone(),
            mtls: workload.mtls,
            ..model::Endpoint::default()
        },
        labels: workload.labels.clone(),
        pod: workload.name.clone(),
    }
}

/// Puts endpoints into their fixed order and drops repeated ones.
pub fn in_order(mut endpoints: Vec<Endpoint>) -> Vec<Endpoint> {
    endpoints.sort_by(|a, b| (&a.model.address, a.model.port).cmp(&(&b.model.address, b.model.port)));
    endpoints.dedup_by(|a, b| a.model.address == b.model.address && a.model.port == b.model.port);
    endpoints.shrink_to_fit();
    endpoints
}
