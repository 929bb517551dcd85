//! The table in force as JSON, for the admin endpoint `/config`.

use serde_json::{Value, json};

use crate::config::table::{Destination, Table};

/// Everything that the table holds: what the proxy is, its hosts and rules as configured, destinations with their endpoints
/// and what is known of their health. Of credentials only the names: no private key leaves the proxy.
pub fn dump(table: &Table) -> Value {
    let hosts: Vec<_> = table.hosts().iter().map(|entry| &entry.model).collect();
    let virtual_hosts: Vec<_> = table.virtual_hosts().map(|rules| &rules.model).collect();
    let destinations: Vec<_> = table.destinations().map(|it| destination(it)).collect();
    let inbound = table.listeners.iter().filter_map(|listener| listener.inbound.as_deref());
    json!({
        "version": table.version,
        "proxy": table.proxy,
        "hosts": hosts,
        "virtualHosts": virtual_hosts,
        "destinations": destinations,
        "inbound": inbound.map(destination).collect::<Vec<_>>(),
        "rateLimits": table.rate_limits(),
        "credentials": table.credentials().map(|it| json!({"name": it.name})).collect::<Vec<_>>(),
    })
}

fn destination(it: &Destination) -> Value {
    let endpoints = it.endpoints.iter().map(|endpoint| {
        json!({
            "address": endpoint.address,
            "name": endpoint.model.address,
            "weight": endpoint.model.weight,
            "workload": endpoint.model.workload,
            "locality": endpoint.model.locality,
            "mtls": endpoint.model.mtls,
            "identity": endpoint.model.identity,
            "active": endpoint.state.active(),
            "ejected": endpoint.state.ejected(),
        })
    });
    json!({
        "destination": it.model,
        "endpoints": endpoints.collect::<Vec<_>>(),
        "connections": it.state.connections(),
        "pending": it.state.pending(),
        "requests": it.state.requests(),
        "retries": it.state.retries(),
        "ejectionsTotal": it.state.ejections_total(),
        "overflowsTotal": it.state.overflows_total(),
    })
}
