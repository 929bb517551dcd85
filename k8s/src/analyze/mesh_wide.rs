//! Sidecars, Telemetry and the mesh's settings.

use std::collections::HashMap;

use crate::api::Kind;
use crate::diagnostic::Diagnostic;
use crate::mesh::host;
use crate::objects::Key;
use crate::parse::nearest;

use super::Analysis;

/// Looks at all objects that hold for many workloads at once.
pub fn analyze(analysis: &mut Analysis<'_>) {
    sidecars(analysis);
    telemetry(analysis);
    settings(analysis);
}

fn sidecars(analysis: &mut Analysis<'_>) {
    let mesh = analysis.mesh;
    let mut general: HashMap<&str, &Key> = HashMap::new();
    for held in &mesh.sidecars {
        let labels =
            held.rule.spec.workload_selector.as_ref().map(|it| it.labels.clone()).unwrap_or_default();
        if labels.is_empty() {
            match general.get(held.key.namespace.as_str()) {
                Some(other) => {
                    let message = format!("{other} is the namespace's Sidecar already, and that one is used");
                    let hint = "one Sidecar without `workloadSelector` a namespace";
                    analysis
                        .report(&held.key, Diagnostic::error("spec.workloadSelector", message).hint(hint));
                }
                None => {
                    general.insert(&held.key.namespace, &held.key);
                }
            }
        }
        analysis.selector(&held.key, "spec.workloadSelector.labels", &labels);
        for (at, egress) in held.rule.spec.egress.iter().flatten().enumerate() {
            for (host_at, pattern) in egress.hosts.iter().enumerate() {
                let Some((namespace, name)) = pattern.split_once('/') else { continue };
                let namespace = if namespace == "." { held.key.namespace.as_str() } else { namespace };
                let shows = mesh.services.iter().any(|it| {
                    (namespace == "*" || it.namespace == namespace)
                        && host::covers(&name.to_ascii_lowercase(), &it.host)
                });
                if namespace != "~" && name != "*" && !shows {
                    let field = format!("spec.egress[{at}].hosts[{host_at}]");
                    let message = format!("no service is meant by `{pattern}`");
                    let hint = "hosts are full names, as in `./reviews.default.svc.cluster.local`";
                    analysis.report(&held.key, Diagnostic::warning(field, message).hint(hint));
                }
            }
        }
    }
}

fn telemetry(analysis: &mut Analysis<'_>) {
    let mesh = analysis.mesh;
    for held in &mesh.telemetry {
        if let Some(selector) = &held.rule.spec.selector {
            analysis.selector(&held.key, "spec.selector.matchLabels", &selector.match_labels);
        }
        for (at, logging) in held.rule.spec.access_logging.iter().enumerate() {
            for (provider_at, provider) in logging.providers.iter().enumerate() {
                let known =
                    mesh.config.extension_providers.iter().map(|it| it.name.as_str()).chain(["envoy"]);
                if known.clone().any(|it| it == provider.name) {
                    continue;
                }
                let field = format!("spec.accessLogging[{at}].providers[{provider_at}].name");
                let message = format!("there is no provider `{}`", provider.name);
                let hint = match nearest(&provider.name, known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "`envoy`, or one of the mesh's `extensionProviders`".to_owned(),
                };
                analysis.report(&held.key, Diagnostic::error(field, message).hint(hint));
            }
        }
    }
}

fn settings(analysis: &mut Analysis<'_>) {
    let root = &analysis.mesh.root_namespace;
    let set = analysis.set;
    let mut in_force = false;
    for sourced in set.of_kind(Kind::MeshConfig) {
        if sourced.key.namespace != *root {
            let message = format!("the mesh's settings are read in namespace `{root}` only");
            let hint = format!("set `metadata.namespace: {root}`");
            analysis.report(&sourced.key, Diagnostic::warning("metadata.namespace", message).hint(hint));
            continue;
        }
        if in_force {
            let message = "the ConfigMap `dromon` holds the mesh's settings, so this one has no effect";
            analysis.report(&sourced.key, Diagnostic::warning("metadata.name", message));
        }
        in_force = true;
    }
}
