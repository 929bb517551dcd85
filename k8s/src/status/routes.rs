//! Routes: `Accepted` and `ResolvedRefs` for each parent that concerns us. What other controllers say of theirs stays.

use serde_json::{Map, Value, json};

use crate::api::Kind;
use crate::api::gateway_api::CONTROLLER;
use crate::mesh::gateway_api::{Parent, Route};

use super::conditions::merged;
use super::{Condition, Writes};

const OURS: [&str; 3] = ["Accepted", "ResolvedRefs", "PartiallyInvalid"];

/// Writes the status of every route with a parent of ours, and clears that of routes that have none any more.
pub(super) fn write(writes: &mut Writes<'_>) {
    let inputs = writes.inputs;
    for route in &inputs.mesh.gateway_api.routes {
        let previous = writes.previous(&route.key);
        let before = parents_of(&previous);
        let mut parents: Vec<Value> =
            route.parents.iter().map(|parent| of_parent(writes, route, parent, &before)).collect();
        parents.extend(before.into_iter().filter(|it| !is_ours(it)));
        let mut status = previous.clone();
        status["parents"] = Value::Array(parents);
        writes.put(&route.key, &previous, status);
    }
    let kinds = [Kind::HttpRoute, Kind::GrpcRoute, Kind::TlsRoute, Kind::TcpRoute];
    let known: std::collections::BTreeSet<_> =
        inputs.mesh.gateway_api.routes.iter().map(|it| &it.key).collect();
    for sourced in kinds.iter().flat_map(|kind| inputs.set.of_kind(*kind)) {
        if known.contains(&sourced.key) {
            continue;
        }
        let previous = writes.previous(&sourced.key);
        let (ours, others): (Vec<Value>, Vec<Value>) = parents_of(&previous).into_iter().partition(is_ours);
        if !ours.is_empty() {
            let mut status = previous.clone();
            status["parents"] = Value::Array(others);
            writes.put(&sourced.key, &previous, status);
        }
    }
}

fn parents_of(status: &Value) -> Vec<Value> {
    status.get("parents").and_then(Value::as_array).cloned().unwrap_or_default()
}

fn is_ours(parent: &Value) -> bool {
    parent.get("controllerName").and_then(Value::as_str) == Some(CONTROLLER)
}

fn of_parent(writes: &Writes<'_>, route: &Route, parent: &Parent, before: &[Value]) -> Value {
    let reference = json!(parent.reference);
    let same = before.iter().find(|it| is_ours(it) && is_same(it.get("parentRef"), parent));
    let conditions = merged(
        &conditions(route, parent),
        &OURS,
        same.and_then(|it| it.get("conditions")),
        route.body.meta().generation,
        writes.inputs.now,
    );
    // The API server fills defaults in; what it made of the reference is kept.
    let reference = same.and_then(|it| it.get("parentRef")).cloned().unwrap_or(reference);
    let mut entry = Map::new();
    entry.insert("parentRef".into(), reference);
    entry.insert("controllerName".into(), json!(CONTROLLER));
    entry.insert("conditions".into(), conditions);
    Value::Object(entry)
}

/// Whether a reference in a status means a parent.
fn is_same(written: Option<&Value>, parent: &Parent) -> bool {
    let read =
        |it: &Value| serde_json::from_value::<crate::api::gateway_api::ParentReference>(it.clone()).ok();
    let Some(written) = written.and_then(read) else { return false };
    let wanted = &parent.reference;
    (written.group(), written.kind(), &written.namespace, &written.name)
        == (wanted.group(), wanted.kind(), &wanted.namespace, &wanted.name)
        && (&written.section_name, written.port) == (&wanted.section_name, wanted.port)
}

fn conditions(route: &Route, parent: &Parent) -> Vec<Condition> {
    let mut all = vec![parent.accepted.clone(), route.resolved.clone()];
    if parent.accepted.holds && !route.dropped.is_empty() {
        let message = format!("Dropped Rule: {}", route.dropped.join("; "));
        all.push(Condition::holds("PartiallyInvalid", "UnsupportedValue", message));
    }
    all
}
