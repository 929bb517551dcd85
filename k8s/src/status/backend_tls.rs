//! BackendTLSPolicies: conditions for each Gateway whose routes lead to what the policy is for.

use serde_json::{Value, json};

use crate::api::gateway_api::{CONTROLLER, GROUP};
use crate::mesh::gateway_api::backend_tls::Policy;
use crate::mesh::gateway_api::{Place, Route};

use super::Writes;
use super::conditions::merged;

/// Ancestors that a policy's status holds (`maxItems` of its schema).
const ANCESTORS_MAX: usize = 16;

/// Writes the status of every policy.
pub(super) fn write(writes: &mut Writes<'_>) {
    let inputs = writes.inputs;
    for policy in &inputs.mesh.gateway_api.backend_tls.policies {
        let previous = writes.previous(&policy.key);
        let before = previous.get("ancestors").and_then(Value::as_array).cloned().unwrap_or_default();
        let is_ours = |it: &Value| it.get("controllerName").and_then(Value::as_str) == Some(CONTROLLER);
        let conditions = [policy.accepted.clone(), policy.resolved.clone()];
        let mut ancestors: Vec<Value> = Vec::new();
        for gateway in gateways(writes, policy) {
            let Some(found) = inputs.mesh.gateway_api.gateways.get(gateway) else { continue };
            let reference = json!({"group": GROUP, "kind": "Gateway", "namespace": found.key.namespace, "name": found.key.name});
            let same = before.iter().find(|it| is_ours(it) && it.get("ancestorRef") == Some(&reference));
            let before = same.and_then(|it| it.get("conditions"));
            let generation = policy.rule.meta.generation;
            let ours = ["Accepted", "ResolvedRefs"];
            ancestors.push(json!({
                "ancestorRef": reference,
                "controllerName": CONTROLLER,
                "conditions": merged(&conditions, &ours, before, generation, inputs.now),
            }));
        }
        ancestors.extend(before.iter().filter(|it| !is_ours(it)).cloned());
        ancestors.truncate(ANCESTORS_MAX);
        let mut status = previous.clone();
        status["ancestors"] = Value::Array(ancestors);
        if previous.get("ancestors").is_none() && status["ancestors"] == json!([]) {
            continue;
        }
        writes.put(&policy.key, &previous, status);
    }
}

/// The Gateways on which routes hang that lead to the policy's Services, in order.
fn gateways(writes: &Writes<'_>, policy: &Policy) -> Vec<usize> {
    let is_target = |route: &Route| {
        let namespace = &route.key.namespace;
        route.body.backends().iter().any(|(_, to)| {
            to.namespace.as_deref().unwrap_or(namespace) == policy.key.namespace
                && policy.rule.spec.target_refs.iter().any(|it| it.name == to.name)
        })
    };
    let mut all: Vec<usize> = Vec::new();
    for route in writes.inputs.mesh.gateway_api.routes.iter().filter(|it| is_target(it)) {
        all.extend(route.places().filter_map(|(_, place)| match place {
            Place::Listener { gateway, .. } => Some(*gateway),
            Place::Service { .. } => None,
        }));
    }
    all.sort_unstable();
    all.dedup();
    all
}
