//! The manifests of an installation: values in, ordered objects out.
//!
//! One source for `dromonctl install`, `dromonctl manifest`, the Helm chart ([`helm`]) and the tests' RBAC. The order is
//! that of application: what others need comes first. Nothing here asks a cluster; what only a running controller knows
//! (the CA, the webhooks' CA bundle) it adds itself.

use serde_json::{Value, json};

mod controller;
pub mod crds;
mod gateway;
pub mod gateway_services;
pub mod helm;
pub mod names;
pub mod rbac;
pub mod seccomp;
#[cfg(test)]
mod tests;
mod values;
mod webhooks;

pub use values::{Values, ValuesError};
pub use webhooks::NEVER_INJECTED;

use names::{
    CLASS, GATEWAY_CONTROLLER, INGRESS_CONTROLLER, INSTALL_LABEL, INSTALL_LABEL_VALUE, MESH_CONFIG, MESH_KEY,
    SYSTEM_NAMESPACE, VALUES_KEY,
};

/// An object, and the value that must be true for it to be there.
#[derive(Clone, Debug, PartialEq)]
struct Part {
    object: Value,
    when: Option<&'static str>,
}

impl Part {
    fn always(object: Value) -> Part {
        Part { object, when: None }
    }

    fn when(path: &'static str, object: Value) -> Part {
        Part { object, when: Some(path) }
    }
}

/// What is to be in the cluster, in the order of application, but for CRDs (see [`crds`]).
pub fn objects(values: &Values) -> Vec<Value> {
    let is_wanted = |part: &Part| part.when.is_none_or(|path| values.is_set(path));
    let config = config(values);
    parts(values, &config, &fingerprint(&config))
        .into_iter()
        .filter(is_wanted)
        .map(|part| part.object)
        .collect()
}

/// Every kind that some installation would bring, once in each namespace that it is brought to: what is asked for when
/// something is to be removed.
pub fn kinds() -> Vec<Value> {
    let mut kinds: Vec<Value> = Vec::new();
    for part in parts(&Values::new(), "", "") {
        let of = &part.object;
        let kind = json!({
            "apiVersion": of["apiVersion"], "kind": of["kind"],
            "metadata": {"namespace": of["metadata"]["namespace"]},
        });
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

/// The values as the running controller reads them.
fn config(values: &Values) -> String {
    values.tree().to_string()
}

/// Tells texts apart (FNV-1a of 64 bits): nothing depends on it but whether pods are made anew.
fn fingerprint(text: &str) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}

/// Every object that some values would bring. `config` is what the controller reads its values from, `hash` tells it apart.
fn parts(values: &Values, config: &str, hash: &str) -> Vec<Part> {
    let mut parts = vec![Part::always(namespace())];
    parts.extend(rbac::objects(SYSTEM_NAMESPACE).into_iter().map(Part::always));
    parts.push(Part::always(mesh_config(values, config)));
    parts.extend(controller::parts(values, hash));
    parts.extend(classes());
    parts.extend(gateway::parts(values));
    parts.extend(webhooks::parts());
    for part in &mut parts {
        part.object["metadata"]["labels"][INSTALL_LABEL] = json!(INSTALL_LABEL_VALUE);
        part.object["metadata"]["labels"]["app.kubernetes.io/part-of"] = json!("dromon");
    }
    parts
}

/// The system's own namespace. Its pods keep to the strictest Pod Security level.
fn namespace() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": SYSTEM_NAMESPACE,
            "labels": {
                "dromon.io/inject": "disabled",
                "pod-security.kubernetes.io/enforce": "restricted",
            },
        },
    })
}

fn mesh_config(values: &Values, config: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": MESH_CONFIG, "namespace": SYSTEM_NAMESPACE},
        "data": {MESH_KEY: embedded(values), VALUES_KEY: config},
    })
}

/// The mesh's settings as text.
fn embedded(values: &Values) -> Value {
    match values.get("mesh") {
        // A chart's reference: the chart writes it as text itself.
        Value::String(reference) => Value::String(helm::as_yaml_text(&reference)),
        mesh => Value::String(crate::emit::yaml(&mesh)),
    }
}

/// The classes by which Gateways and Ingresses ask for this mesh. A GatewayClass needs its CRD, which the installation brings.
fn classes() -> Vec<Part> {
    vec![
        Part::always(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": {"name": CLASS},
            "spec": {"controllerName": GATEWAY_CONTROLLER},
        })),
        Part::always(json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
            "metadata": {"name": CLASS},
            "spec": {"controller": INGRESS_CONTROLLER},
        })),
    ]
}

/// What every container of ours may do: nothing beyond running as itself.
fn security_context(uid: i64, seccomp: Value) -> Value {
    json!({
        "runAsUser": uid,
        "runAsGroup": uid,
        "runAsNonRoot": true,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": seccomp,
    })
}

fn image(values: &Values, name: &str) -> String {
    format!("{}/{name}:{}", values.text("image.registry"), values.text("image.tag"))
}

/// Replicas keep off each other's nodes where there is a choice.
fn anti_affinity(app: &str) -> Value {
    json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 100,
        "podAffinityTerm": {
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": {"app": app}},
        },
    }]}})
}

/// At least one replica stays when nodes are emptied: with one replica this holds nothing up, since at most one may be away.
fn disruption_budget(app: &str) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": app, "namespace": SYSTEM_NAMESPACE},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": app}}},
    })
}
