//! Services of Gateways with an address of their own ([`crate::mesh::gateway_api::addresses`]): before the installed gateway's
//! pods like its own Service, but leading to ports that only this Gateway's listeners have.
//!
//! Unlike the rest of an installation they come and go with objects, so it is the controller that writes them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use crate::mesh::gateway_api::Gateway;

use super::Values;
use super::names::GATEWAY;

/// Label of such Services; its value is the namespace of the Gateway. Only Services that have it are ever changed or removed.
pub const LABEL: &str = "dromon.io/gateway-namespace";
/// The Gateway's name (GEP-1762); one too long for a label is left out.
const NAME_LABEL: &str = "gateway.networking.k8s.io/gateway-name";
/// Longest value of a label.
const LABEL_MAX: usize = 63;
/// The ports of pods that such Services lead to: above those that gateways use otherwise, below those that systems give away.
const TARGETS: std::ops::Range<u16> = 20_000..30_000;

/// What is to be done with the Services that there are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// To be applied, whole.
    pub apply: Vec<Value>,
    /// To be removed, by name.
    pub remove: Vec<String>,
}

/// What has to change among `there`, the Services of `namespace` that have [`LABEL`].
pub fn changes(gateways: &[Gateway], there: &[Service], namespace: &str, values: &Values) -> Changes {
    let by_name: BTreeMap<&str, &Service> =
        there.iter().filter_map(|it| Some((it.metadata.name.as_deref()?, it))).collect();
    let mut used: BTreeSet<u16> = there.iter().flat_map(ports).filter_map(target).collect();
    let mut changes = Changes::default();
    let mut wanted = BTreeSet::new();
    for gateway in gateways {
        let Some(name) = &gateway.own_service else { continue };
        wanted.insert(name.as_str());
        let before = by_name.get(name.as_str()).copied();
        let after = service(gateway, name, before, &mut used, namespace, values);
        if after["spec"]["ports"] != json!([]) && !before.is_some_and(|it| is_as(it, &after)) {
            changes.apply.push(after);
        }
    }
    changes.remove =
        by_name.keys().filter(|name| !wanted.contains(*name)).map(|name| (*name).to_owned()).collect();
    changes
}

fn ports(service: &Service) -> &[ServicePort] {
    service.spec.as_ref().and_then(|it| it.ports.as_deref()).unwrap_or_default()
}

fn target(port: &ServicePort) -> Option<u16> {
    match &port.target_port {
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        _ => None,
    }
}

fn service(
    gateway: &Gateway,
    name: &str,
    before: Option<&Service>,
    used: &mut BTreeSet<u16>,
    namespace: &str,
    values: &Values,
) -> Value {
    let kept: BTreeMap<i32, u16> =
        before.into_iter().flat_map(ports).filter_map(|it| Some((it.port, target(it)?))).collect();
    let mut all = Vec::new();
    for number in gateway.served_ports().into_keys() {
        let kept = kept.get(&i32::from(number)).copied();
        let Some(target) = kept.or_else(|| free(name, number, used)) else { continue };
        used.insert(target);
        let port_name = format!("port-{number}");
        all.push(json!({"name": port_name, "port": number, "targetPort": target, "protocol": "TCP"}));
    }
    let mut labels = json!({"app": GATEWAY, LABEL: gateway.key.namespace});
    if gateway.key.name.len() <= LABEL_MAX {
        labels[NAME_LABEL] = json!(gateway.key.name);
    }
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "type": values.get("gateway.service.type"),
            "selector": {"app": GATEWAY},
            "ports": all,
        },
    })
}

/// A port of pods that nobody has. Where the search begins follows from the name, so that a Service which somebody removed mostly
/// comes back with the ports that connections are going to.
fn free(name: &str, number: u16, used: &BTreeSet<u16>) -> Option<u16> {
    let hash = u64::from_str_radix(&super::fingerprint(&format!("{name}/{number}")), 16).unwrap_or_default();
    let count = u64::from(TARGETS.end - TARGETS.start);
    let first = TARGETS.start + u16::try_from(hash % count).unwrap_or_default();
    (first..TARGETS.end).chain(TARGETS.start..first).find(|it| !used.contains(it))
}

/// Whether a Service is as it should be, in what is ours to say.
fn is_as(service: &Service, wanted: &Value) -> bool {
    let Some(spec) = &service.spec else { return false };
    let ports: Vec<Value> = ports(service)
        .iter()
        .map(|it| json!({"name": it.name, "port": it.port, "targetPort": target(it), "protocol": "TCP"}))
        .collect();
    json!(ports) == wanted["spec"]["ports"]
        && json!(spec.type_) == wanted["spec"]["type"]
        && json!(spec.selector) == wanted["spec"]["selector"]
}

#[cfg(test)]
mod tests;
