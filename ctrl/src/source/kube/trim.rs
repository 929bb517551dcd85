//! Objects without what nobody here reads: ten thousand pods as the API server sends them are 100 MB, trimmed 10.
//!
//! The resource version goes too, so that an object of which only its status or a foreign annotation has changed is
//! the same as before.

use kube::core::DynamicObject;
use serde_json::{Map, Value, json};

use super::resources::Resource;
use crate::ca::secrets::ACCOUNT_SECRET_PREFIX;

/// Prefixes of annotations that are read.
const ANNOTATIONS: [&str; 6] = [
    "dromon.io/",
    "networking.istio.io/",
    "sidecar.istio.io/",
    "traffic.sidecar.istio.io/",
    "kubernetes.io/ingress.class",
    "gateway.networking.k8s.io/",
];
/// Name of the container that is the sidecar; its ports are not the application's.
const SIDECAR: &str = "dromon-proxy";

/// What is left of an object.
#[derive(Debug)]
pub struct Trimmed {
    /// The object as the mesh reads it.
    pub value: Value,
    /// Its status, which only the writing of statuses reads; null where there is none.
    pub status: Value,
    /// The version in which it was read.
    pub version: &'static str,
    /// What a write of its status must name.
    pub resource_version: String,
    /// What an Event names.
    pub uid: String,
}

/// Drops what nobody reads before the object is anything but a tree.
pub fn early(object: &mut DynamicObject) {
    object.metadata.managed_fields = None;
    object.metadata.self_link = None;
    object.metadata.finalizers = None;
    if let Some(annotations) = &mut object.metadata.annotations {
        annotations.retain(|name, _| ANNOTATIONS.iter().any(|prefix| name.starts_with(prefix)));
    }
}

/// An object of a resource, trimmed.
pub fn trim(resource: &Resource, version: &'static str, mut object: DynamicObject) -> Trimmed {
    early(&mut object);
    let resource_version = object.metadata.resource_version.take().unwrap_or_default();
    let uid = object.metadata.uid.clone().unwrap_or_default();
    let mut data = match object.data {
        Value::Object(data) => data,
        _ => Map::new(),
    };
    let mut status = Value::Null;
    match (resource.group, resource.kind) {
        ("", "Namespace") => data.clear(),
        ("", "Node") => data.clear(),
        ("", "Pod") => pod(&mut data),
        ("", "Service") => service(&mut data),
        ("", "ConfigMap" | "Endpoints" | "Secret") | ("discovery.k8s.io", _) => {}
        _ => status = data.remove("status").unwrap_or_default(),
    }
    let mut value = Map::new();
    value.insert("apiVersion".into(), resource.api_version(version).into());
    value.insert("kind".into(), resource.kind.into());
    // Metadata is text and numbers, which JSON has.
    value.insert("metadata".into(), serde_json::to_value(&object.metadata).unwrap_or_default());
    value.extend(data);
    Trimmed { value: Value::Object(value), version, status, resource_version, uid }
}

/// Accounts, ports and node; phase, addresses and readiness.
fn pod(data: &mut Map<String, Value>) {
    let spec = data.remove("spec").unwrap_or_default();
    let containers: Vec<Value> = spec
        .get("containers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|it| it.get("name").and_then(Value::as_str) != Some(SIDECAR))
        .map(|it| kept(it, &["name", "ports"]))
        .collect();
    let mut left = kept(&spec, &["nodeName", "serviceAccountName", "hostNetwork"]);
    if let Value::Object(left) = &mut left {
        left.insert("containers".into(), containers.into());
    }
    let volumes = spec.get("volumes").and_then(Value::as_array).into_iter().flatten();
    let of_ours = |it: &&Value| {
        let secret = it.pointer("/secret/secretName").and_then(Value::as_str);
        secret.is_some_and(|name| name.starts_with(ACCOUNT_SECRET_PREFIX))
    };
    let volumes: Vec<Value> = volumes.filter(of_ours).map(|it| kept(it, &["name", "secret"])).collect();
    if let (false, Value::Object(left)) = (volumes.is_empty(), &mut left) {
        left.insert("volumes".into(), volumes.into());
    }
    let status = data.remove("status").unwrap_or_default();
    let mut now = kept(&status, &["phase", "podIP", "podIPs"]);
    let conditions = status.get("conditions").and_then(Value::as_array).into_iter().flatten();
    let ready = conditions.filter(|it| it.get("type").and_then(Value::as_str) == Some("Ready"));
    let ready: Vec<Value> = ready.map(|it| kept(it, &["type", "status"])).collect();
    if let Value::Object(now) = &mut now {
        now.insert("conditions".into(), ready.into());
    }
    data.clear();
    data.insert("spec".into(), left);
    data.insert("status".into(), now);
}

/// Of a Service's status, the addresses that it has outside.
fn service(data: &mut Map<String, Value>) {
    let status = data.remove("status").unwrap_or_default();
    data.insert(
        "status".into(),
        json!({ "loadBalancer": status.get("loadBalancer").cloned().unwrap_or_default() }),
    );
    if status.get("loadBalancer").is_none() {
        data.remove("status");
    }
}

fn kept(value: &Value, fields: &[&str]) -> Value {
    let field = |name: &&str| Some(((*name).to_owned(), value.get(*name)?.clone()));
    Value::Object(fields.iter().filter_map(field).collect())
}

#[cfg(test)]
mod tests;
