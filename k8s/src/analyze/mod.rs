//! What is wrong or suspicious across objects: references to what is not there, rules that can never hold, objects that
//! get into each other's way. What can be said of one object alone is said when it is read ([`crate::parse`]).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::api::process::ProcessPort;
use crate::api::{Kind, Object};
use crate::diagnostic::Diagnostic;
use crate::mesh::workloads::Labels;
use crate::mesh::{Mesh, protocol};
use crate::objects::{Key, ObjectSet, Workload, WorkloadPort};
use crate::parse::nearest;

mod destination_rules;
mod gateway_api;
mod gateways;
mod mesh_wide;
mod outlier;
mod peer_authentications;
mod rate_limits;
mod references;
mod rules;
mod services;
#[cfg(test)]
mod tests;
mod virtual_services;

pub(crate) use gateways::UNBOUND;

/// Everything that is wrong or suspicious across a set, in order of severity, file and object.
pub fn analyze(set: &ObjectSet) -> Vec<Diagnostic> {
    let set = with_processes(set);
    of(&set, &Mesh::new(&set))
}

/// As [`analyze`], of a set whose index is at hand.
pub fn analyze_indexed(set: &ObjectSet, mesh: &Mesh) -> Vec<Diagnostic> {
    match set.of_kind(Kind::Process).next() {
        None => of(set, mesh),
        // They are to be workloads first.
        Some(_) => analyze(set),
    }
}

fn of(set: &ObjectSet, mesh: &Mesh) -> Vec<Diagnostic> {
    let mut analysis = Analysis { set, mesh, findings: Vec::new() };
    for (hidden, in_force) in set.hidden() {
        let message = format!("{} has this object too, and that one is in force", in_force.file);
        let diagnostic = Diagnostic::warning("", message).hint("keep it in one file");
        analysis.findings.push(hidden.diagnostic(diagnostic));
    }
    virtual_services::analyze(&mut analysis);
    destination_rules::analyze(&mut analysis);
    outlier::analyze(&mut analysis);
    gateways::analyze(&mut analysis);
    gateway_api::analyze(&mut analysis);
    services::analyze(&mut analysis);
    rate_limits::analyze(&mut analysis);
    peer_authentications::analyze(&mut analysis);
    mesh_wide::analyze(&mut analysis);
    let mut findings = analysis.findings;
    findings.sort();
    findings.dedup();
    findings
}

/// An analysis in the making.
struct Analysis<'a> {
    set: &'a ObjectSet,
    mesh: &'a Mesh,
    findings: Vec<Diagnostic>,
}

impl Analysis<'_> {
    /// Reports something about an object of the set.
    fn report(&mut self, key: &Key, diagnostic: Diagnostic) {
        let diagnostic = match self.set.get(key) {
            Some(sourced) => sourced.diagnostic(diagnostic),
            None => diagnostic.on(key),
        };
        self.findings.push(diagnostic);
    }

    /// Whether anything of a namespace runs that selectors could choose.
    fn runs_anything(&self, namespace: &str) -> bool {
        self.mesh.workloads.select(namespace, &Labels::new()).next().is_some()
    }

    /// Reports a selector that chooses nothing, where there is something to choose from; true if it was reported.
    fn selector(&mut self, key: &Key, field: &str, labels: &Labels) -> bool {
        let namespace = &key.namespace;
        let is_root = *namespace == self.mesh.root_namespace;
        if labels.is_empty() || is_root || !self.runs_anything(namespace) {
            return false;
        }
        let chooses_none = self.mesh.workloads.select(namespace, labels).next().is_none();
        if chooses_none {
            let message = format!("no workload of `{namespace}` has the labels {}", shown(labels));
            let hint = self.label_hint(namespace, labels);
            self.report(key, Diagnostic::warning(field, message).hint(hint));
        }
        chooses_none
    }

    /// What values the workloads of a namespace have where the wanted ones were not found.
    fn label_hint(&self, namespace: &str, labels: &Labels) -> String {
        for (label, wanted) in labels {
            let all = self.mesh.workloads.select(namespace, &EMPTY);
            let mut values: Vec<String> = all.filter_map(|it| it.labels.get(label).cloned()).collect();
            values.sort();
            values.dedup();
            if values.is_empty() {
                return format!("no workload has the label `{label}` at all");
            }
            if !values.contains(wanted) {
                return match nearest(wanted, values.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `{label}: {near}`?"),
                    None => format!("workloads have `{label}`: {}", values.join(", ")),
                };
            }
        }
        "each label is known, but no workload has all of them".to_owned()
    }
}

static EMPTY: Labels = BTreeMap::new();

/// The (name, namespace) that was probably meant by a name as seen from a namespace: the same name of another
/// namespace, else the nearest name, that of the own namespace first.
fn nearest_of<'a>(
    name: &str,
    namespace: &str,
    known: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Option<(&'a str, &'a str)> {
    let known: Vec<_> = known.into_iter().collect();
    if let Some(same) = known.iter().find(|(other, _)| *other == name) {
        return Some(*same);
    }
    let (own, others): (Vec<_>, Vec<_>) = known.into_iter().partition(|(_, of)| *of == namespace);
    [own, others].into_iter().find_map(|part| {
        let near = nearest(name, part.iter().map(|(name, _)| *name))?;
        part.into_iter().find(|(name, _)| *name == near)
    })
}

/// Labels as people write them.
fn shown(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
    pairs.join(",")
}

/// The set as it will be once its processes run: analysis is for files at rest as well.
fn with_processes(set: &ObjectSet) -> ObjectSet {
    let mut whole = set.clone();
    for (at, sourced) in set.of_kind(Kind::Process).enumerate() {
        let Object::Process(process) = &sourced.object else { continue };
        if set.workload(&sourced.key.namespace, &sourced.key.name).is_some() {
            continue;
        }
        let port = |it: &ProcessPort| WorkloadPort {
            name: it.name.clone(),
            number: it.container_port,
            protocol: protocol::of_port(&it.name, None, it.container_port),
        };
        let offset = u32::try_from(at).unwrap_or(u32::MAX) & 0xffff;
        whole.insert_workload(Workload {
            name: sourced.key.name.clone(),
            namespace: sourced.key.namespace.clone(),
            owner: sourced.key.name.clone(),
            labels: process.meta.labels.clone().unwrap_or_default(),
            address: IpAddr::V4(Ipv4Addr::from_bits(Ipv4Addr::new(127, 77, 0, 0).to_bits() + offset)),
            ports: process.spec.ports.iter().map(port).collect(),
            service_account: process
                .spec
                .service_account_name
                .clone()
                .unwrap_or_else(|| "default".to_owned()),
            ready: true,
            locality: String::new(),
            other_addresses: Vec::new(),
            mtls: true,
        });
    }
    whole
}
