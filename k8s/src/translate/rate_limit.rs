//! RateLimits, as far as they concern one proxy.

use std::collections::BTreeMap;

use dromon_core::config::model::{self, HttpMatch, LimitKey, LimitScope};

use crate::api::destination_rule::WorkloadSelector;
use crate::api::rate_limit::{self as api, Direction, RateLimit, TargetRef};
use crate::mesh::workloads::has_all;
use crate::mesh::{Held, Mesh, host};

use super::http::{by_name, parameters, string_match};
use super::{Builder, ProxyIdentity, sidecar};

/// Which way a limit's traffic goes: as it says, or as its targets imply.
pub(crate) fn direction(spec: &RateLimit) -> Direction {
    let is_gateway = |it: &TargetRef| it.kind == "Gateway";
    let implied =
        if spec.target_refs.iter().any(is_gateway) { Direction::Gateway } else { Direction::Inbound };
    spec.direction.unwrap_or(implied)
}

/// The host that a target names: a Service's full name, or the hosts of a ServiceEntry.
pub(crate) fn hosts(mesh: &Mesh, target: &TargetRef, namespace: &str) -> Vec<String> {
    let namespace = target.namespace.as_deref().unwrap_or(namespace);
    match target.kind.as_str() {
        "Service" => vec![host::service_host(&target.name, namespace)],
        "ServiceEntry" => {
            let of = |it: &&crate::mesh::service::Service| {
                !it.is_kubernetes && it.origin.name == target.name && it.origin.namespace == namespace
            };
            mesh.services().filter(of).map(|it| it.host.clone()).collect()
        }
        _ => Vec::new(),
    }
}

/// Limits of what arrives at a gateway.
pub(super) fn of_gateway(builder: &mut Builder<'_>, listeners: &BTreeMap<String, Vec<String>>) {
    let mesh = builder.mesh;
    for held in mesh.rate_limits.iter().filter(|it| direction(&it.rule.spec) == Direction::Gateway) {
        let spec = &held.rule.spec;
        if !concerns(mesh, held, builder.identity, spec.selector.as_ref()) {
            continue;
        }
        let mut names: Vec<String> = Vec::new();
        for target in &spec.target_refs {
            let namespace = target.namespace.as_deref().unwrap_or(&held.key.namespace);
            let key = format!("{}/{namespace}/{}", target.kind, target.name);
            names.extend(listeners.get(&key).into_iter().flatten().cloned());
        }
        if spec.target_refs.is_empty() {
            names.extend(listeners.values().flatten().cloned());
        }
        names.sort();
        names.dedup();
        if !names.is_empty() {
            push(builder, held, "", LimitScope::Gateway { listeners: names });
        }
    }
}

/// Limits of what arrives at a sidecar's application, and of what it sends.
pub(super) fn of_sidecar(builder: &mut Builder<'_>) {
    let mesh = builder.mesh;
    let selecting: Vec<String> = sidecar::selecting(builder).into_iter().map(|it| it.host.clone()).collect();
    for held in &mesh.rate_limits {
        let spec = &held.rule.spec;
        let direction = direction(spec);
        let concerns_own = concerns(mesh, held, builder.identity, spec.selector.as_ref());
        let namespace = &held.key.namespace;
        match direction {
            Direction::Gateway => {}
            Direction::Inbound if spec.target_refs.is_empty() => {
                if concerns_own {
                    push(builder, held, "", LimitScope::Inbound);
                }
            }
            Direction::Inbound => {
                let arriving = |host: &String| selecting.contains(host);
                let targets =
                    spec.target_refs.iter().flat_map(|it| hosts(mesh, it, namespace)).filter(arriving);
                // A selector beside the targets narrows to some of their workloads.
                let narrowed = spec.selector.is_none() || concerns_own;
                for host in targets.filter(|_| narrowed).collect::<Vec<_>>() {
                    push(builder, held, &host, LimitScope::InboundService { host: host.clone() });
                }
            }
            Direction::Outbound if concerns_own => {
                for host in
                    spec.target_refs.iter().flat_map(|it| hosts(mesh, it, namespace)).collect::<Vec<_>>()
                {
                    push(builder, held, &host, LimitScope::Outbound { host: host.clone() });
                }
            }
            Direction::Outbound => {}
        }
    }
}

/// Whether a proxy's workload is meant: its namespace (the root namespace means all), and its labels.
fn concerns(
    mesh: &Mesh,
    held: &Held<RateLimit>,
    identity: &ProxyIdentity,
    selector: Option<&WorkloadSelector>,
) -> bool {
    let of = &held.key.namespace;
    let is_gateway = direction(&held.rule.spec) == Direction::Gateway;
    // A gateway's namespace is its installation's, so for limits on Gateways the targets alone decide.
    let in_reach =
        *of == identity.namespace || *of == mesh.root_namespace || (is_gateway && selector.is_none());
    in_reach && selector.is_none_or(|it| has_all(&identity.labels, &it.match_labels))
}

/// Adds a limit. Its name is the identity of its buckets, so it is the same whatever other targets come and go.
fn push(builder: &mut Builder<'_>, held: &Held<RateLimit>, target: &str, scope: LimitScope) {
    let several = held.rule.spec.target_refs.len() > 1 && !target.is_empty();
    let suffix = if several { format!("/{target}") } else { String::new() };
    builder.rate_limits.push(model::RateLimit {
        name: format!("{}/{}{suffix}", held.key.namespace, held.key.name),
        scope,
        limits: held.rule.spec.limits.iter().map(limit).collect(),
    });
}

fn limit(limit: &api::Limit) -> model::Limit {
    model::Limit {
        requests: limit.requests,
        unit_ms: limit.unit.millis(),
        burst: limit.burst.unwrap_or(0),
        per: limit.per.iter().filter_map(key).collect(),
        when: limit.when.as_ref().map(when),
    }
}

fn key(key: &api::LimitKey) -> Option<LimitKey> {
    Some(match key {
        api::LimitKey { header: Some(name), .. } => LimitKey::Header(name.to_ascii_lowercase()),
        api::LimitKey { source_address: Some(_), .. } => LimitKey::SourceAddress,
        api::LimitKey { source_principal: Some(_), .. } => LimitKey::SourcePrincipal,
        api::LimitKey { path: Some(_), .. } => LimitKey::Path,
        api::LimitKey { method: Some(_), .. } => LimitKey::Method,
        _ => return None,
    })
}

fn when(when: &api::When) -> HttpMatch {
    HttpMatch {
        uri: when.path.as_ref().and_then(string_match),
        method: when.method.as_ref().and_then(string_match),
        authority: when.authority.as_ref().and_then(string_match),
        headers: by_name(&when.headers),
        without_headers: by_name(&when.without_headers),
        query_params: parameters(&when.query_params),
        port: when.port,
        ..HttpMatch::default()
    }
}
