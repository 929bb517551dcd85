//! What services select: pods, processes and WorkloadEntries, found by namespace and labels.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use dromon_core::config::model;

use crate::api::pod::Pod;
use crate::api::service_entry::WorkloadEntry;
use crate::api::{Kind, Meta, Object, Rule};
use crate::mesh::protocol;
use crate::objects::{ObjectSet, Workload, WorkloadPort};

/// Labels of a workload or of a selector.
pub type Labels = BTreeMap<String, String>;

/// The mesh's default name of a cluster, in metrics.
pub const CLUSTER: &str = "Kubernetes";

/// Something that can be selected.
#[derive(Clone, Debug)]
pub struct Selectable {
    /// Name of the pod, process or WorkloadEntry.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: Arc<Labels>,
    /// IP address, or DNS name of a WorkloadEntry.
    pub address: String,
    /// Its addresses of the other family, where it has both.
    pub other_addresses: Vec<IpAddr>,
    /// Declared ports.
    pub ports: Vec<WorkloadPort>,
    /// May get new requests.
    pub ready: bool,
    /// Share among its siblings, at least 1.
    pub weight: u32,
    /// `region/zone/subzone`.
    pub locality: String,
    /// For metrics.
    pub facts: model::Workload,
    /// A WorkloadEntry, whose ports are named after the ServiceEntry's.
    pub is_entry: bool,
    /// It has a sidecar that takes mutual TLS.
    pub mtls: bool,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Workloads {
    all: Vec<Selectable>,
    by_label: HashMap<(String, String, String), Vec<usize>>,
    by_namespace: HashMap<String, Vec<usize>>,
    by_name: HashMap<(String, String), usize>,
    by_address: HashMap<String, usize>,
}

impl Workloads {
    /// Gathers the workloads of a set: those inserted, its pods, its WorkloadEntries.
    pub fn new(set: &ObjectSet) -> Workloads {
        let mut workloads = Workloads::default();
        for workload in set.workloads() {
            let name = (workload.namespace.clone(), workload.name.clone());
            workloads.push(selectable(workload), Some(name));
        }
        let localities = localities(set);
        for sourced in set.of_kind(Kind::Pod) {
            let Object::Pod(pod) = &sourced.object else { continue };
            let name = (sourced.key.namespace.clone(), sourced.key.name.clone());
            if let (Some(workload), false) = (selectable_pod(pod), workloads.by_name.contains_key(&name)) {
                let locality = localities.get(pod.node.as_str()).cloned().unwrap_or_default();
                workloads.push(Selectable { locality, ..workload }, Some(name));
            }
        }
        for sourced in set.of_kind(Kind::WorkloadEntry) {
            let Object::WorkloadEntry(entry) = &sourced.object else { continue };
            if !entry.spec.address.starts_with("unix:") {
                workloads.push(selectable_entry(entry), None);
            }
        }
        workloads.all.shrink_to_fit();
        workloads
    }

    fn push(&mut self, workload: Selectable, name: Option<(String, String)>) {
        let at = self.all.len();
        for (label, value) in workload.labels.iter() {
            let key = (workload.namespace.clone(), label.clone(), value.clone());
            self.by_label.entry(key).or_default().push(at);
        }
        self.by_namespace.entry(workload.namespace.clone()).or_default().push(at);
        self.by_address.insert(workload.address.clone(), at);
        self.by_address.extend(workload.other_addresses.iter().map(|it| (it.to_string(), at)));
        if let Some(name) = name {
            self.by_name.insert(name, at);
        }
        self.all.push(workload);
    }

    /// Those of a namespace that have all of the labels, in a fixed order.
    pub fn select<'a>(&'a self, namespace: &str, labels: &'a Labels) -> impl Iterator<Item = &'a Selectable> {
        let posting = |(label, value): (&String, &String)| {
            let key = (namespace.to_owned(), label.clone(), value.clone());
            self.by_label.get(&key).map(Vec::as_slice).unwrap_or_default()
        };
        let shortest = match labels.is_empty() {
            true => self.by_namespace.get(namespace).map(Vec::as_slice).unwrap_or_default(),
            false => labels.iter().map(posting).min_by_key(|posting| posting.len()).unwrap_or_default(),
        };
        shortest.iter().filter_map(|at| self.all.get(*at)).filter(move |it| has_all(&it.labels, labels))
    }

    /// Those of all namespaces, in a fixed order.
    pub fn all(&self) -> impl Iterator<Item = &Selectable> {
        self.all.iter()
    }

    /// A pod or process by name.
    pub fn named(&self, namespace: &str, name: &str) -> Option<&Selectable> {
        self.by_name.get(&(namespace.to_owned(), name.to_owned())).and_then(|at| self.all.get(*at))
    }

    /// Whatever has an address.
    pub fn at(&self, address: &str) -> Option<&Selectable> {
        self.by_address.get(address).and_then(|at| self.all.get(*at))
    }
}

/// `region/zone/subzone` of each node, from Kubernetes' well-known labels and Istio's for the third.
fn localities(set: &ObjectSet) -> HashMap<&str, String> {
    let nodes = set.of_kind(Kind::Node).map(|sourced| {
        let labels = sourced.object.meta().labels.as_ref();
        let label = |name: &str| labels.and_then(|it| it.get(name)).map(String::as_str).unwrap_or_default();
        let region = label("topology.kubernetes.io/region");
        let zone = label("topology.kubernetes.io/zone");
        let subzone = label("topology.istio.io/subzone");
        let locality = format!("{region}/{zone}/{subzone}");
        (sourced.key.name.as_str(), locality.trim_end_matches('/').to_owned())
    });
    nodes.collect()
}

/// Annotation that injection gives to what it has given a sidecar.
pub const SIDECAR_ANNOTATION: &str = "dromon.io/status";

/// Whether a pod has a sidecar, be it by our injection's word or by Istio's label.
pub fn has_sidecar(meta: &Meta) -> bool {
    meta.annotations.as_ref().is_some_and(|it| it.contains_key(SIDECAR_ANNOTATION))
        || meta.labels.as_ref().is_some_and(takes_mtls)
}

/// Label that Istio's injection gives to what it has given a sidecar.
const TLS_MODE_LABEL: &str = "security.istio.io/tlsMode";

/// Whether labels say that the workload has a sidecar that takes mutual TLS.
pub fn takes_mtls(labels: &Labels) -> bool {
    labels.get(TLS_MODE_LABEL).is_some_and(|mode| mode == "istio")
}

/// Whether `labels` has all of `wanted`.
pub fn has_all(labels: &Labels, wanted: &Labels) -> bool {
    wanted.iter().all(|(label, value)| labels.get(label) == Some(value))
}

/// A workload as metrics name it; the canonical names as Istio derives them from labels.
pub fn facts(name: &str, namespace: &str, labels: &Labels, service_account: &str) -> model::Workload {
    let first = |keys: &[&str], default: &str| {
        keys.iter().find_map(|key| labels.get(*key)).cloned().unwrap_or_else(|| default.to_owned())
    };
    model::Workload {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        app: first(&["app", "app.kubernetes.io/name"], ""),
        version: first(&["version", "app.kubernetes.io/version"], ""),
        canonical_service: first(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"], name),
        canonical_revision: first(
            &["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"],
            "latest",
        ),
        cluster: CLUSTER.to_owned(),
        service_account: service_account.to_owned(),
    }
}

fn selectable(workload: &Workload) -> Selectable {
    Selectable {
        namespace: workload.namespace.clone(),
        labels: Arc::new(workload.labels.clone()),
        address: workload.address.to_string(),
        ports: workload.ports.clone(),
        ready: workload.ready,
        weight: 1,
        locality: workload.locality.clone(),
        mtls: workload.mtls,
        name: workload.name.clone(),
        facts: facts(&workload.owner, &workload.namespace, &workload.labels, &workload.service_account),
        is_entry: false,
        other_addresses: workload.other_addresses.clone(),
    }
}

/// A pod as what can be selected; none while it has no address, or once it has ended.
fn selectable_pod(pod: &Pod) -> Option<Selectable> {
    let address = pod.address.filter(|_| !pod.has_ended)?;
    Some(Selectable {
        name: pod.name.clone(),
        namespace: pod.namespace.clone(),
        labels: pod.labels.clone(),
        address: address.to_string(),
        other_addresses: pod.other_addresses.to_vec(),
        ports: pod.ports.to_vec(),
        ready: pod.is_ready,
        weight: 1,
        locality: String::new(),
        facts: facts(&pod.owner, &pod.namespace, &pod.labels, &pod.service_account),
        is_entry: false,
        mtls: pod.has_sidecar,
    })
}

fn selectable_entry(rule: &Rule<WorkloadEntry>) -> Selectable {
    let name = rule.meta.name.clone().unwrap_or_default();
    let namespace = rule.meta.namespace.clone().unwrap_or_default();
    let entry = &rule.spec;
    // Istio selects an entry by the labels of its spec and of its metadata alike.
    let mut labels = rule.meta.labels.clone().unwrap_or_default();
    labels.extend(entry.labels.clone());
    let mtls = takes_mtls(&labels);
    let port = |(name, number): (&String, &u16)| WorkloadPort {
        name: name.clone(),
        number: *number,
        protocol: protocol::of_port(name, None, *number),
    };
    Selectable {
        facts: facts(&name, &namespace, &labels, &entry.service_account),
        namespace,
        labels: Arc::new(labels),
        address: entry.address.clone(),
        ports: entry.ports.iter().map(port).collect(),
        ready: true,
        weight: entry.weight.max(1),
        locality: entry.locality.clone(),
        is_entry: true,
        other_addresses: Vec::new(),
        mtls,
        name,
    }
}
