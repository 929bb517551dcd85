//! VirtualServices.

use std::collections::HashMap;

use crate::api::Kind;
use crate::diagnostic::Diagnostic;
use crate::mesh::host::covers;
use crate::mesh::{Held, HeldVirtualService, MESH_GATEWAY};
use crate::objects::Key;
use crate::parse::nearest;
use crate::translate::served;

use super::{Analysis, rules};

/// Looks at all VirtualServices.
pub fn analyze(analysis: &mut Analysis<'_>) {
    let mesh = analysis.mesh;
    for virtual_service in mesh.virtual_services.iter() {
        gateways(analysis, virtual_service);
        hosts(analysis, virtual_service);
        routes(analysis, virtual_service);
        rules::analyze(analysis, virtual_service);
    }
    same_hosts(analysis);
    delegates(analysis);
}

fn gateways(analysis: &mut Analysis<'_>, virtual_service: &HeldVirtualService) {
    let mesh = analysis.mesh;
    let key = &virtual_service.held.key;
    for (at, name) in virtual_service.gateways.iter().enumerate() {
        if name == MESH_GATEWAY {
            continue;
        }
        let field = format!("spec.gateways[{at}]");
        let (namespace, gateway) = name.split_once('/').unwrap_or_default();
        let is_named = |it: &&Held<_>| it.key.namespace == namespace && it.key.name == gateway;
        let Some(held) = mesh.gateways.iter().find(is_named) else {
            let elsewhere = mesh.gateways.iter().find(|it| it.key.name == gateway);
            let near = nearest(gateway, mesh.gateways.iter().map(|it| it.key.name.as_str()));
            let hint = match (elsewhere, near) {
                (Some(held), _) => format!("did you mean `{}/{gateway}`?", held.key.namespace),
                (None, Some(near)) => format!("did you mean `{near}`?"),
                (None, None) => "for sidecars, leave `gateways` out".to_owned(),
            };
            let message = format!("there is no Gateway `{name}`");
            analysis.report(key, Diagnostic::error(field, message).hint(hint));
            continue;
        };
        let serves = held.rule.spec.servers.iter().any(|it| !served(held, it, virtual_service).is_empty());
        if !serves && !virtual_service.hosts.is_empty() {
            let message = format!("no server of {} serves any of the hosts", held.key);
            let hint =
                "the hosts of both must overlap; a Gateway's `namespace/host` admits that namespace only";
            analysis.report(key, Diagnostic::warning(field, message).hint(hint));
        }
    }
}

/// A name without a dot is meant to be a Service; others may be hosts of the VirtualService's own.
fn hosts(analysis: &mut Analysis<'_>, virtual_service: &HeldVirtualService) {
    if !virtual_service.gateways.iter().any(|it| it == MESH_GATEWAY) {
        return;
    }
    let mesh = analysis.mesh;
    let held = &virtual_service.held;
    for (at, said) in held.rule.spec.hosts.iter().enumerate() {
        let name = virtual_service.hosts.get(at).map(String::as_str).unwrap_or_default();
        let is_known = mesh.services.iter().any(|it| covers(name, &it.host));
        let field = format!("spec.hosts[{at}]");
        let full = format!("{said}.{}", crate::mesh::host::SERVICE_DOMAIN);
        if is_known {
            continue;
        }
        if mesh.knows_host(&full) {
            let message = format!("`{said}` is taken as it is and is no service's host");
            analysis.report(
                &held.key,
                Diagnostic::warning(field, message).hint(format!("did you mean `{full}`?")),
            );
        } else if !said.contains(['.', '*']) {
            let message = format!("there is no Service `{said}` in namespace `{}`", held.key.namespace);
            let hint = match analysis.meant_host(said, &held.key.namespace) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "the rules wait for the Service".to_owned(),
            };
            analysis.report(&held.key, Diagnostic::warning(field, message).hint(hint));
        }
    }
}

fn routes(analysis: &mut Analysis<'_>, virtual_service: &HeldVirtualService) {
    let Held { key, rule } = &virtual_service.held;
    for (at, route) in rule.spec.http.iter().enumerate() {
        let path = format!("spec.http[{at}]");
        analysis.destinations(key, &format!("{path}.route"), &route.route, &key.namespace);
        for (alternative, condition) in route.matches.iter().enumerate() {
            let at_gateways = virtual_service.gateways.iter().any(|it| it != MESH_GATEWAY);
            let field = format!("{path}.match[{alternative}].sourceLabels");
            if !at_gateways && condition.source_namespace.is_empty() {
                analysis.selector(key, &field, &condition.source_labels);
            }
        }
        let Some(delegate) = &route.delegate else { continue };
        let namespace = if delegate.namespace.is_empty() { &key.namespace } else { &delegate.namespace };
        let target =
            Key { kind: Kind::VirtualService, namespace: namespace.clone(), name: delegate.name.clone() };
        let field = format!("{path}.delegate");
        match analysis.mesh.virtual_services.iter().find(|it| it.held.key == target) {
            None => {
                let message = format!("there is no {target} to delegate to");
                analysis.report(
                    key,
                    Diagnostic::error(field, message).hint("the route answers nothing until then"),
                );
            }
            Some(found) if !found.held.rule.spec.hosts.is_empty() => {
                let message = format!("{target} has hosts of its own, so nothing can be delegated to it");
                analysis.report(
                    key,
                    Diagnostic::error(field, message).hint("leave its `hosts` and `gateways` out"),
                );
            }
            Some(_) => {}
        }
    }
    for (at, route) in rule.spec.tls.iter().enumerate() {
        analysis.destinations(key, &format!("spec.tls[{at}].route"), &route.route, &key.namespace);
    }
    for (at, route) in rule.spec.tcp.iter().enumerate() {
        analysis.destinations(key, &format!("spec.tcp[{at}].route"), &route.route, &key.namespace);
    }
}

/// For sidecars, only the oldest VirtualService of a host is used.
fn same_hosts(analysis: &mut Analysis<'_>) {
    let mesh = analysis.mesh;
    let mut first: HashMap<&str, &HeldVirtualService> = HashMap::new();
    for virtual_service in mesh.virtual_services_of(MESH_GATEWAY) {
        for (at, host) in virtual_service.hosts.iter().enumerate() {
            match first.get(host.as_str()) {
                None => {
                    first.insert(host, virtual_service);
                }
                Some(other) if other.held.key != virtual_service.held.key => {
                    let message = format!(
                        "{} has rules for `{host}` already, and sidecars use those only",
                        other.held.key
                    );
                    let diagnostic = Diagnostic::warning(format!("spec.hosts[{at}]"), message);
                    analysis.report(
                        &virtual_service.held.key,
                        diagnostic.hint("put all rules of a host into one object"),
                    );
                }
                Some(_) => {
                    let message = format!("`{host}` is named twice");
                    analysis.report(
                        &virtual_service.held.key,
                        Diagnostic::warning(format!("spec.hosts[{at}]"), message),
                    );
                }
            }
        }
    }
}

/// Objects without hosts, to which nobody delegates.
fn delegates(analysis: &mut Analysis<'_>) {
    let mesh = analysis.mesh;
    for virtual_service in mesh.virtual_services.iter().filter(|it| it.hosts.is_empty()) {
        let key = &virtual_service.held.key;
        let delegates_here = |other: &&HeldVirtualService| {
            other.held.rule.spec.http.iter().filter_map(|it| it.delegate.as_ref()).any(|it| {
                let namespace =
                    if it.namespace.is_empty() { &other.held.key.namespace } else { &it.namespace };
                it.name == key.name && *namespace == key.namespace
            })
        };
        if mesh.virtual_services.iter().map(|it| it.as_ref()).find(delegates_here).is_none() {
            let message = "it has no hosts, and no VirtualService delegates to it";
            analysis.report(key, Diagnostic::warning("spec.hosts", message).hint("name the hosts"));
        }
    }
}
