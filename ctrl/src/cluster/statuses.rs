//! What statuses say: the pure word of `dromon-k8s` on a version, with what only a cluster knows beside.

use std::collections::BTreeSet;
use std::sync::Arc;

use dromon_k8s::api::{Kind, Object};
use dromon_k8s::objects::{Key, ObjectSet};
use dromon_k8s::status::{Inputs, Outside, Told, statuses};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::jiff::Timestamp;

use super::live::Live;
use super::status::{Compute, Write};
use crate::store::oversee::Seen;

/// Computes statuses; `service` in `namespace` is what leads to the gateway from outside.
pub fn compute(namespace: &str, service: &str) -> Compute {
    let key = Key { kind: Kind::Service, namespace: namespace.to_owned(), name: service.to_owned() };
    Arc::new(move |seen, live| {
        let Some(mesh) = &seen.mesh else { return Vec::new() };
        let outside = outside(&key, seen, live);
        let previous = |key: &Key| live.get(key).map(|it| it.status);
        let now = Timestamp::now();
        let inputs = Inputs { set: &seen.set, mesh, outside: &outside, previous: &previous, now };
        let write = |it: dromon_k8s::status::StatusWrite| Write { key: it.key, status: it.status };
        statuses(&inputs).into_iter().map(write).collect()
    })
}

fn outside(key: &Key, seen: &Seen, live: &Live) -> Outside {
    let told = seen.told.iter().map(|(key, findings)| {
        let generation = live.get(key).map(|it| it.generation);
        (key.clone(), Told { generation, findings: findings.clone() })
    });
    let service = service_at(&seen.set, key);
    let gateways = seen.mesh.iter().flat_map(|it| &it.gateway_api.gateways);
    let own = gateways.filter_map(|it| {
        let key = Key { name: it.own_service.clone()?, ..key.clone() };
        Some((it.key.clone(), addresses(service_at(&seen.set, &key)?)))
    });
    Outside {
        addresses: service.map(addresses).unwrap_or_default(),
        ports: service.map(ports),
        own: own.collect(),
        told: told.collect(),
    }
}

fn service_at<'a>(set: &'a ObjectSet, key: &Key) -> Option<&'a Service> {
    match &set.get(key)?.object {
        Object::Service(service) => Some(service),
        _ => None,
    }
}

/// Where a Service is reached from outside: at its load balancer, at addresses that somebody routes to it, else at its own.
fn addresses(service: &Service) -> Vec<String> {
    let balancer = service.status.as_ref().and_then(|it| it.load_balancer.as_ref());
    let ingress = balancer.and_then(|it| it.ingress.as_deref()).unwrap_or_default();
    let given = ingress.iter().filter_map(|it| it.ip.clone().or_else(|| it.hostname.clone()));
    let mut found: Vec<String> = given.collect();
    let spec = service.spec.as_ref();
    if found.is_empty() {
        found.extend(spec.and_then(|it| it.external_ips.clone()).unwrap_or_default());
    }
    if found.is_empty() {
        found.extend(spec.and_then(|it| it.cluster_ip.clone()).filter(|it| it != "None" && !it.is_empty()));
    }
    found
}

fn ports(service: &Service) -> BTreeSet<u16> {
    let ports = service.spec.as_ref().and_then(|it| it.ports.as_deref()).unwrap_or_default();
    ports.iter().filter_map(|it| u16::try_from(it.port).ok()).collect()
}

#[cfg(test)]
mod tests;
