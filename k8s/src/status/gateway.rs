//! Gateways of our class: `Accepted` and `Programmed`, addresses, and each listener's conditions.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::api::gateway_api::GROUP;
use crate::mesh::gateway_api::{Gateway, Listener};

use super::conditions::merged;
use super::{Condition, Outside, Writes};

/// How a Gateway is reached from outside.
struct Reached<'a> {
    addresses: &'a [String],
    /// The ports that its Service has; none: whatever it names.
    ports: Option<&'a BTreeSet<u16>>,
}

impl Reached<'_> {
    fn new<'a>(gateway: &Gateway, outside: &'a Outside) -> Reached<'a> {
        match &gateway.own_service {
            None => Reached { addresses: &outside.addresses, ports: outside.ports.as_ref() },
            // Its Service has the ports of its listeners, since it is made of them.
            Some(_) => {
                let found = outside.own.get(&gateway.key).map(Vec::as_slice);
                Reached { addresses: found.unwrap_or_default(), ports: None }
            }
        }
    }
}

/// Writes the status of every Gateway of ours.
pub(super) fn write(writes: &mut Writes<'_>) {
    let inputs = writes.inputs;
    for gateway in &inputs.mesh.gateway_api.gateways {
        let previous = writes.previous(&gateway.key);
        let reached = Reached::new(gateway, inputs.outside);
        let generation = gateway.rule.meta.generation;
        let listeners: Vec<(&Listener, Vec<Condition>)> =
            gateway.listeners.iter().map(|it| (it, of_listener(gateway, it, &reached))).collect();
        let conditions = of_gateway(gateway, &listeners, &reached);
        let mut status = previous.clone();
        let ours = ["Accepted", "Programmed", "ResolvedRefs"];
        let before = previous.get("conditions");
        status["conditions"] = merged(&conditions, &ours, before, generation, inputs.now);
        let before = previous.get("listeners").and_then(Value::as_array).cloned().unwrap_or_default();
        status["listeners"] = listeners
            .iter()
            .map(|(listener, conditions)| {
                let same = before.iter().find(|it| it.get("name") == Some(&json!(listener.name)));
                let ours = ["Accepted", "Conflicted", "Programmed", "ResolvedRefs"];
                let before = same.and_then(|it| it.get("conditions"));
                json!({
                    "name": listener.name,
                    "supportedKinds": supported(listener),
                    "attachedRoutes": listener.attached_routes,
                    "conditions": merged(conditions, &ours, before, generation, inputs.now),
                })
            })
            .collect();
        status["addresses"] = addresses(gateway, &reached);
        writes.put(&gateway.key, &previous, status);
    }
}

fn supported(listener: &Listener) -> Value {
    listener.kinds.iter().map(|kind| json!({"group": GROUP, "kind": kind.name()})).collect()
}

/// The addresses that the Gateway has: of those that there are, the ones that it asks for, or all.
fn addresses(gateway: &Gateway, reached: &Reached<'_>) -> Value {
    let wanted: Vec<&String> = gateway
        .rule
        .spec
        .addresses
        .iter()
        .filter_map(|it| it.value.as_ref())
        .filter(|it| !it.is_empty())
        .collect();
    let usable = reached.addresses.iter().filter(|it| wanted.is_empty() || wanted.contains(it));
    usable
        .map(|address| {
            let is_ip = address.parse::<std::net::IpAddr>().is_ok();
            let mut entry = Map::new();
            entry.insert("type".into(), json!(if is_ip { "IPAddress" } else { "Hostname" }));
            entry.insert("value".into(), json!(address));
            Value::Object(entry)
        })
        .collect()
}

fn of_gateway(
    gateway: &Gateway,
    listeners: &[(&Listener, Vec<Condition>)],
    reached: &Reached<'_>,
) -> Vec<Condition> {
    let holds =
        |conditions: &[Condition], kind: &str| conditions.iter().any(|it| it.kind == kind && it.holds);
    let bad: Vec<&str> = listeners
        .iter()
        .filter(|(_, it)| !holds(it, "Accepted"))
        .map(|(listener, _)| listener.name.as_str())
        .collect();
    let mut accepted = gateway.accepted.clone();
    if accepted.holds && !bad.is_empty() {
        let message = format!("listeners that are not valid: {}", bad.join(", "));
        accepted = match bad.len() == listeners.len() {
            true => Condition::fails("Accepted", "ListenersNotValid", message),
            false => Condition::holds("Accepted", "ListenersNotValid", message),
        };
    }
    let programmed = programmed(gateway, &accepted, listeners, reached);
    vec![accepted, programmed]
}

fn programmed(
    gateway: &Gateway,
    accepted: &Condition,
    listeners: &[(&Listener, Vec<Condition>)],
    reached: &Reached<'_>,
) -> Condition {
    const PROGRAMMED: &str = "Programmed";
    if !accepted.holds {
        return Condition::fails(PROGRAMMED, "Invalid", accepted.message.clone());
    }
    let wanted =
        gateway.rule.spec.addresses.iter().filter_map(|it| it.value.as_ref()).filter(|it| !it.is_empty());
    let lost: Vec<&str> = wanted.filter(|it| !reached.addresses.contains(it)).map(String::as_str).collect();
    if !lost.is_empty() {
        let message = format!("addresses that the gateway does not have: {}", lost.join(", "));
        return Condition::fails(PROGRAMMED, "AddressNotUsable", message);
    }
    if reached.addresses.is_empty() {
        let message = "the gateway's Service has no address yet";
        return Condition::fails(PROGRAMMED, "AddressNotAssigned", message);
    }
    let is_up = |(_, conditions): &(&Listener, Vec<Condition>)| {
        conditions.iter().any(|it| it.kind == PROGRAMMED && it.holds)
    };
    match listeners.iter().any(is_up) {
        true => Condition::holds(PROGRAMMED, PROGRAMMED, "the gateway serves it"),
        false => Condition::fails(PROGRAMMED, "Invalid", "no listener can be served"),
    }
}

fn of_listener(gateway: &Gateway, listener: &Listener, reached: &Reached<'_>) -> Vec<Condition> {
    const PROGRAMMED: &str = "Programmed";
    let mut accepted = listener.accepted.clone();
    if accepted.holds && reached.ports.is_some_and(|it| !it.contains(&listener.port)) {
        let message = format!("the gateway's Service has no port {}", listener.port);
        accepted = Condition::fails("Accepted", "PortUnavailable", message);
    }
    let programmed = if !gateway.accepted.holds {
        Condition::fails(PROGRAMMED, "Invalid", gateway.accepted.message.clone())
    } else if !accepted.holds {
        Condition::fails(PROGRAMMED, "Invalid", accepted.message.clone())
    } else if !listener.is_served() {
        Condition::fails(PROGRAMMED, "Invalid", listener.resolved.message.clone())
    } else {
        Condition::holds(PROGRAMMED, PROGRAMMED, "the gateway serves it")
    };
    vec![accepted, listener.conflicted.clone(), programmed, listener.resolved.clone()]
}
