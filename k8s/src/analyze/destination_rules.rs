//! DestinationRules.

use std::collections::HashMap;

use crate::api::destination_rule::TrafficPolicy;
use crate::api::{Kind, Object};
use crate::diagnostic::Diagnostic;
use crate::mesh::host;
use crate::mesh::service::Service;
use crate::mesh::workloads::has_all;
use crate::objects::Sourced;

use super::references::ports;
use super::{Analysis, shown};

/// Looks at all DestinationRules.
pub fn analyze(analysis: &mut Analysis<'_>) {
    let (set, mesh) = (analysis.set, analysis.mesh);
    for sourced in set.of_kind(Kind::DestinationRule) {
        let Object::DestinationRule(rule) = &sourced.object else { continue };
        let namespace = &sourced.key.namespace;
        let name = host::resolve(&rule.spec.host, namespace);
        let services: Vec<&Service> = mesh.services().filter(|it| host::covers(&name, &it.host)).collect();
        if services.is_empty() {
            no_host(analysis, sourced, &rule.spec.host, &name);
            continue;
        }
        if let Some(labels) = rule.spec.workload_selector.as_ref().map(|it| &it.match_labels) {
            analysis.selector(&sourced.key, "spec.workloadSelector.matchLabels", labels);
        }
        if let Some(policy) = &rule.spec.traffic_policy {
            port_settings(analysis, sourced, "spec.trafficPolicy", policy, &services);
        }
        for (at, subset) in rule.spec.subsets.iter().enumerate() {
            let path = format!("spec.subsets[{at}]");
            if let Some(policy) = &subset.traffic_policy {
                port_settings(analysis, sourced, &format!("{path}.trafficPolicy"), policy, &services);
            }
            let mut endpoints =
                services.iter().flat_map(|it| &it.ports).flat_map(|it| &it.endpoints).peekable();
            // Subsets for what may come later are usual; that all are missing is not.
            if endpoints.peek().is_some() && !endpoints.any(|it| has_all(&it.labels, &subset.labels)) {
                let message = format!("no endpoint of {name} has the labels {}", shown(&subset.labels));
                analysis.report(&sourced.key, Diagnostic::info(format!("{path}.labels"), message));
            }
        }
    }
    repeated(analysis);
}

fn no_host(analysis: &mut Analysis<'_>, sourced: &Sourced, said: &str, name: &str) {
    let mesh = analysis.mesh;
    let full = format!("{said}.{}", host::SERVICE_DOMAIN);
    let near = analysis.meant_host(said, &sourced.key.namespace);
    let diagnostic = Diagnostic::warning("spec.host", format!("no service has the host `{name}`"));
    let diagnostic = match near {
        _ if mesh.knows_host(&full) => diagnostic.hint(format!("did you mean `{full}`?")),
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic.hint("it has no effect until there is one"),
    };
    analysis.report(&sourced.key, diagnostic);
}

fn port_settings(
    analysis: &mut Analysis<'_>,
    sourced: &Sourced,
    path: &str,
    policy: &TrafficPolicy,
    services: &[&Service],
) {
    for (at, settings) in policy.port_level_settings.iter().enumerate() {
        let Some(port) = settings.port else { continue };
        if services.iter().all(|it| it.port(port.number).is_none()) {
            let message = format!("the host has no port {}", port.number);
            let hint = services.first().map(|it| format!("its ports: {}", ports(it))).unwrap_or_default();
            let field = format!("{path}.portLevelSettings[{at}].port.number");
            analysis.report(&sourced.key, Diagnostic::warning(field, message).hint(hint));
        }
    }
}

/// Several objects of one namespace and host are one policy: the first word on each point counts.
fn repeated(analysis: &mut Analysis<'_>) {
    let mesh = analysis.mesh;
    for policy in mesh.destination_rules.all() {
        let mut subsets: HashMap<&str, String> = HashMap::new();
        let mut top: Option<String> = None;
        for (key, rule) in &policy.parts {
            for (at, subset) in rule.spec.subsets.iter().enumerate() {
                if let Some(other) = subsets.get(subset.name.as_str()) {
                    let message =
                        format!("{other} defines `{}` of the same host, and that one is used", subset.name);
                    analysis.report(key, Diagnostic::warning(format!("spec.subsets[{at}].name"), message));
                } else {
                    subsets.insert(&subset.name, key.to_string());
                }
            }
            if rule.spec.traffic_policy.is_some() {
                if let Some(other) = &top {
                    let message = format!("{other} has a policy for the same host, and that one is used");
                    analysis.report(key, Diagnostic::warning("spec.trafficPolicy", message));
                }
                top.get_or_insert(key.to_string());
            }
        }
    }
}
