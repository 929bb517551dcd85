//! Outlier detection that can never eject anything. Like Envoy, a proxy keeps the ejected share of a destination's endpoints
//! at or below `maxEjectionPercent`, so with few endpoints and the default of 10 % not even one may be out.

use std::collections::BTreeMap;

use dromon_core::config::model::{Discovery, Outlier};

use crate::api::destination_rule::{OutlierDetection, TrafficPolicy};
use crate::diagnostic::Diagnostic;
use crate::mesh::Mesh;
use crate::mesh::destination_rules::Policy;
use crate::mesh::host;
use crate::mesh::workloads::has_all;
use crate::translate::Effective;

use super::Analysis;

/// Destinations that a finding names at most.
const NAMED_MAX: usize = 4;

/// Looks at the outlier detection of all DestinationRules.
pub fn analyze(analysis: &mut Analysis<'_>) {
    let mesh = analysis.mesh;
    for policy in mesh.destination_rules.all() {
        for (key, rule) in &policy.parts {
            let mut blocks = Vec::new();
            if let Some(top) = &rule.spec.traffic_policy {
                blocks.extend(written(top, "spec.trafficPolicy"));
            }
            for (at, subset) in rule.spec.subsets.iter().enumerate() {
                if let Some(of_subset) = &subset.traffic_policy {
                    blocks.extend(written(of_subset, &format!("spec.subsets[{at}].trafficPolicy")));
                }
            }
            for (path, detection) in blocks {
                if let Some(finding) = never_ejects(mesh, policy, &path, detection) {
                    analysis.report(key, finding);
                }
            }
        }
    }
}

/// All `outlierDetection`s of a policy, with where they stand.
fn written<'a>(policy: &'a TrafficPolicy, path: &str) -> Vec<(String, &'a OutlierDetection)> {
    let top = policy.outlier_detection.as_ref().map(|it| (format!("{path}.outlierDetection"), it));
    let of_ports = policy.port_level_settings.iter().enumerate().filter_map(|(at, settings)| {
        let path = format!("{path}.portLevelSettings[{at}].outlierDetection");
        Some((path, settings.outlier_detection.as_ref()?))
    });
    top.into_iter().chain(of_ports).collect()
}

fn never_ejects(
    mesh: &Mesh,
    policy: &Policy,
    path: &str,
    detection: &OutlierDetection,
) -> Option<Diagnostic> {
    let set = detection.max_ejection_percent.filter(|it| *it > 0);
    let percent = set.unwrap_or(Outlier::default().max_ejection_percent) as usize;
    let mut too_few = governed(mesh, policy, detection);
    too_few.retain(|_, count| *count > 0 && *count * percent < 100);
    let fewest = too_few.values().min()?;
    let mut named: Vec<String> =
        too_few.iter().take(NAMED_MAX).map(|(name, count)| format!("{name} ({count})")).collect();
    if too_few.len() > NAMED_MAX {
        named.push("more".to_owned());
    }
    let message = format!(
        "{percent} % of the endpoints is less than one, so none is ever ejected of {}",
        named.join(", ")
    );
    let field = if set.is_some() { format!("{path}.maxEjectionPercent") } else { path.to_owned() };
    let hint = format!("set `maxEjectionPercent: {}` or more", 100usize.div_ceil(*fewest));
    Some(Diagnostic::warning(field, message).hint(hint))
}

/// Destinations that an `outlierDetection` holds for, with the number of their endpoints where that is known.
fn governed(mesh: &Mesh, policy: &Policy, detection: &OutlierDetection) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let subsets = || policy.subsets().filter_map(|name| policy.subset(name)).map(|(_, it)| Some(it));
    for service in mesh.services.iter().filter(|it| host::covers(&policy.host, &it.host)) {
        for port in service.ports.iter().filter(|it| it.discovery == Discovery::Static) {
            for subset in std::iter::once(None).chain(subsets()) {
                let own = subset.and_then(|it| it.traffic_policy.as_ref());
                let in_force = Effective::new(policy.top(), own, port.number).outlier_detection();
                if !in_force.is_some_and(|it| std::ptr::eq(it, detection)) {
                    continue;
                }
                let (name, count) = match subset {
                    None => (service.host.clone(), port.endpoints.len()),
                    Some(subset) => {
                        let chosen = port.endpoints.iter().filter(|it| has_all(&it.labels, &subset.labels));
                        (format!("{} subset `{}`", service.host, subset.name), chosen.count())
                    }
                };
                let most = found.entry(name).or_default();
                *most = count.max(*most);
            }
        }
    }
    found
}
