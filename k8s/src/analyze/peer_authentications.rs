//! PeerAuthentications: objects that another one of the same level hides, and selectors and ports that fit nothing.

use std::collections::HashMap;

use crate::api::{Kind, Object};
use crate::diagnostic::Diagnostic;
use crate::mesh::workloads::Labels;
use crate::objects::{Key, Sourced};

use super::{Analysis, shown};

/// Looks at all PeerAuthentications.
pub fn analyze(analysis: &mut Analysis<'_>) {
    let set = analysis.set;
    let mut sorted: Vec<&Sourced> = set.of_kind(Kind::PeerAuthentication).collect();
    sorted.sort_by(|a, b| crate::mesh::age(a).cmp(&crate::mesh::age(b)));
    let mut first: HashMap<(String, Labels), Key> = HashMap::new();
    for sourced in sorted {
        let Object::PeerAuthentication(rule) = &sourced.object else { continue };
        let key = &sourced.key;
        let labels = rule.spec.selector.as_ref().map(|it| it.match_labels.clone()).unwrap_or_default();
        if !labels.is_empty() && key.namespace == analysis.mesh.root_namespace {
            let message = "in the root namespace, an object with a selector has no effect";
            let hint = "put it into the workload's namespace, or leave the selector out";
            analysis.report(key, Diagnostic::warning("spec.selector", message).hint(hint));
            continue;
        }
        let level = (key.namespace.clone(), labels.clone());
        if let Some(other) = first.get(&level) {
            let of = if labels.is_empty() { "the same".to_owned() } else { shown(&labels) };
            let message = format!("{other} is older and holds for {of} already; this one has no effect");
            analysis.report(key, Diagnostic::warning("", message).hint("keep one of them"));
            continue;
        }
        first.insert(level, key.clone());
        let fits_nothing = analysis.selector(key, "spec.selector.matchLabels", &labels);
        if !labels.is_empty() && !fits_nothing {
            ports(analysis, key, &labels, rule.spec.port_level_mtls.keys().copied());
        }
    }
}

/// Ports are the workload's own, not a Service's.
fn ports(analysis: &mut Analysis<'_>, key: &Key, labels: &Labels, ports: impl Iterator<Item = u16>) {
    let mesh = analysis.mesh;
    for port in ports {
        let mut chosen = mesh.workloads.select(&key.namespace, labels).peekable();
        if chosen.peek().is_none() || chosen.any(|it| it.ports.iter().any(|it| it.number == port)) {
            continue;
        }
        let services = mesh.services.iter().filter(|it| it.namespace == key.namespace);
        let target = services
            .filter_map(|it| it.port(port))
            .flat_map(|it| &it.endpoints)
            .find(|it| crate::mesh::workloads::has_all(&it.labels, labels))
            .map(|it| it.model.port)
            .filter(|target| *target != port);
        let message = format!("no workload with these labels declares port {port}");
        let hint = match target {
            Some(target) => format!("ports are the workload's own: did you mean {target}?"),
            None => "ports are the workload's own, not a Service's".to_owned(),
        };
        let field = format!("spec.portLevelMtls.{port}");
        analysis.report(key, Diagnostic::warning(field, message).hint(hint));
    }
}
