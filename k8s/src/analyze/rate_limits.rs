//! RateLimits: targets that are not there, and limits that no proxy keeps.
//!
//! A limit is kept by the sidecars of those who receive (Inbound) or send (Outbound), or by gateways (Gateway). A
//! workload without a sidecar of this mesh, such as what Endpoints or a WorkloadEntry name, keeps none.

use crate::api::rate_limit::{Direction, RateLimit, TargetRef};
use crate::diagnostic::Diagnostic;
use crate::mesh::protocol::may_be_http;
use crate::mesh::service::Service;
use crate::mesh::workloads::{Labels, Selectable, has_all};
use crate::mesh::{Held, Mesh};
use crate::translate::{PortProtocol, carries_http, rate_limit_direction, rate_limit_hosts, server_protocol};

use super::{Analysis, EMPTY};

/// Looks at all RateLimits.
pub fn analyze(analysis: &mut Analysis<'_>) {
    let mesh = analysis.mesh;
    for held in &mesh.rate_limits {
        let spec = &held.rule.spec;
        let direction = rate_limit_direction(spec);
        // A gateway's labels are its installation's matter and need not be among the objects.
        let chooses_none = direction != Direction::Gateway
            && spec.selector.as_ref().is_some_and(|it| {
                analysis.selector(&held.key, "spec.selector.matchLabels", &it.match_labels)
            });
        let mut all_there = true;
        for at in 0..spec.target_refs.len() {
            all_there &= target(analysis, held, at);
        }
        // What is told already explains why nobody keeps it.
        if chooses_none || !all_there {
            continue;
        }
        match direction {
            Direction::Gateway => at_gateways(analysis, held),
            Direction::Outbound => outbound(analysis, held),
            Direction::Inbound if spec.target_refs.is_empty() => everything_inbound(analysis, held),
            Direction::Inbound => {
                for at in 0..spec.target_refs.len() {
                    inbound(analysis, held, at);
                }
            }
        }
    }
}

/// Whether a target exists and speaks what can be limited; reported if not.
fn target(analysis: &mut Analysis<'_>, held: &Held<RateLimit>, at: usize) -> bool {
    let mesh = analysis.mesh;
    let Some(target) = held.rule.spec.target_refs.get(at) else { return true };
    let speaks_http = match target.kind.as_str() {
        "Gateway" => {
            let mut gateways = mesh.gateways.iter().filter(|it| is_it(target, held, &it.key)).peekable();
            gateways.peek().is_some().then(|| {
                let mut servers = gateways.flat_map(|it| &it.rule.spec.servers);
                servers.any(|it| server_protocol(it) == Some(PortProtocol::Http) || carries_http(it))
            })
        }
        _ => {
            let services = services(mesh, target, held);
            (!services.is_empty()).then(|| {
                services
                    .iter()
                    .any(|it| it.ports.is_empty() || it.ports.iter().any(|port| may_be_http(port.protocol)))
            })
        }
    };
    match speaks_http {
        Some(true) => true,
        Some(false) => {
            let message = format!("{} `{}` speaks no HTTP, so nothing is counted", target.kind, target.name);
            let hint = "limits count HTTP requests; a DestinationRule's `connectionPool` caps connections";
            let field = format!("spec.targetRefs[{at}]");
            analysis.report(&held.key, Diagnostic::warning(field, message).hint(hint));
            false
        }
        None => {
            absent(analysis, held, at, target);
            false
        }
    }
}

fn absent(analysis: &mut Analysis<'_>, held: &Held<RateLimit>, at: usize, target: &TargetRef) {
    let mesh = analysis.mesh;
    let namespace = namespace(target, held);
    let names: Vec<(&str, &str)> = match target.kind.as_str() {
        "Gateway" => {
            mesh.gateways.iter().map(|it| (it.key.name.as_str(), it.key.namespace.as_str())).collect()
        }
        kind => {
            let of_kind = mesh.services.iter().filter(|it| it.is_kubernetes == (kind == "Service"));
            of_kind.map(|it| (it.origin.name.as_str(), it.origin.namespace.as_str())).collect()
        }
    };
    let message = format!("there is no {} `{namespace}/{}`", target.kind, target.name);
    let hint = match super::nearest_of(&target.name, namespace, names) {
        Some((name, of)) if of == namespace => format!("did you mean `{name}`?"),
        Some((name, of)) => format!("did you mean `name: {name}, namespace: {of}`?"),
        None => "the limit holds for nothing until there is one".to_owned(),
    };
    let field = format!("spec.targetRefs[{at}].name");
    analysis.report(&held.key, Diagnostic::error(field, message).hint(hint));
}

fn at_gateways(analysis: &mut Analysis<'_>, held: &Held<RateLimit>) {
    if held.rule.spec.target_refs.is_empty() && analysis.mesh.gateways.is_empty() {
        let message = "there is no Gateway, so nobody keeps the limit";
        let hint = "for what arrives at workloads, leave `direction` out";
        analysis.report(&held.key, Diagnostic::warning("spec.direction", message).hint(hint));
    }
}

fn outbound(analysis: &mut Analysis<'_>, held: &Held<RateLimit>) {
    if in_reach(analysis.mesh, held).next().is_some() {
        return;
    }
    let message =
        format!("no sidecar of {} sends anything, so nobody keeps the limit", reach(analysis, held));
    let hint = "gateways keep limits of direction Gateway only: name a Gateway in `targetRefs` for what comes in there";
    analysis.report(&held.key, Diagnostic::warning("spec.direction", message).hint(hint));
}

fn everything_inbound(analysis: &mut Analysis<'_>, held: &Held<RateLimit>) {
    if in_reach(analysis.mesh, held).next().is_some() {
        return;
    }
    let message =
        format!("no sidecar of {} receives anything, so nobody keeps the limit", reach(analysis, held));
    let hint = "for what comes in at a Gateway, name it in `targetRefs`";
    analysis.report(&held.key, Diagnostic::warning("spec", message).hint(hint));
}

fn inbound(analysis: &mut Analysis<'_>, held: &Held<RateLimit>, at: usize) {
    let mesh = analysis.mesh;
    let Some(target) = held.rule.spec.target_refs.get(at) else { return };
    let named = format!("{} `{}/{}`", target.kind, namespace(target, held), target.name);
    let services = services(mesh, target, held);
    let mut receivers = services.iter().flat_map(|it| receivers(mesh, it)).peekable();
    if receivers.peek().is_none() {
        let message = format!("no workload with a sidecar stands behind {named}, so nobody keeps the limit");
        let hint = "`direction: Outbound` is kept by the sidecars of those who send to it, a Gateway as target by that gateway";
        let field = format!("spec.targetRefs[{at}]");
        analysis.report(&held.key, Diagnostic::warning(field, message).hint(hint));
        return;
    }
    if held.rule.spec.selector.is_some() && !receivers.any(|it| is_in_reach(mesh, held, it)) {
        let message = format!("it chooses no workload that stands behind {named}, so nobody keeps the limit");
        let hint = "the selector narrows to some of the targets' workloads, of the limit's own namespace";
        analysis.report(&held.key, Diagnostic::warning("spec.selector.matchLabels", message).hint(hint));
    }
}

fn namespace<'a>(target: &'a TargetRef, held: &'a Held<RateLimit>) -> &'a str {
    target.namespace.as_deref().unwrap_or(&held.key.namespace)
}

fn is_it(target: &TargetRef, held: &Held<RateLimit>, key: &crate::objects::Key) -> bool {
    key.name == target.name && key.namespace == namespace(target, held)
}

/// The services that a target names.
fn services<'a>(mesh: &'a Mesh, target: &TargetRef, held: &Held<RateLimit>) -> Vec<&'a Service> {
    let hosts = rate_limit_hosts(mesh, target, &held.key.namespace);
    mesh.services().filter(|it| hosts.contains(&it.host)).collect()
}

/// Workloads with a sidecar that a service selects.
fn receivers<'a>(mesh: &'a Mesh, service: &'a Service) -> impl Iterator<Item = &'a Selectable> {
    let chosen = service.selector.iter().flat_map(|it| mesh.workloads.select(&service.namespace, it));
    chosen.filter(|it| !it.is_entry)
}

/// Workloads with a sidecar that the limit's namespace and selector mean.
fn in_reach<'a>(mesh: &'a Mesh, held: &'a Held<RateLimit>) -> impl Iterator<Item = &'a Selectable> {
    mesh.workloads.all().filter(|it| is_in_reach(mesh, held, it))
}

fn is_in_reach(mesh: &Mesh, held: &Held<RateLimit>, workload: &Selectable) -> bool {
    let of = &held.key.namespace;
    let is_meant = *of == mesh.root_namespace || *of == workload.namespace;
    is_meant && !workload.is_entry && has_all(&workload.labels, labels(held))
}

fn labels(held: &Held<RateLimit>) -> &Labels {
    held.rule.spec.selector.as_ref().map_or(&EMPTY, |it| &it.match_labels)
}

/// In words, whose sidecars a limit means.
fn reach(analysis: &Analysis<'_>, held: &Held<RateLimit>) -> String {
    let labels = labels(held);
    let of = match held.key.namespace == analysis.mesh.root_namespace {
        true => "the mesh".to_owned(),
        false => format!("namespace `{}`", held.key.namespace),
    };
    if labels.is_empty() { of } else { format!("{of} with the labels {}", super::shown(labels)) }
}
