//! Ingresses: the addresses at which they are served.

use serde_json::{Value, json};

use super::Writes;

/// Writes the addresses of every Ingress of ours.
pub(super) fn write(writes: &mut Writes<'_>) {
    let inputs = writes.inputs;
    let points: Value = inputs
        .outside
        .addresses
        .iter()
        .map(|address| match address.parse::<std::net::IpAddr>() {
            Ok(_) => json!({"ip": address}),
            Err(_) => json!({"hostname": address}),
        })
        .collect();
    for ingress in &inputs.mesh.ingresses {
        let previous = writes.previous(&ingress.key);
        let before = previous.pointer("/loadBalancer/ingress").cloned().unwrap_or_else(|| json!([]));
        if before == points {
            continue;
        }
        let mut status = previous.clone();
        status["loadBalancer"] = json!({"ingress": points});
        writes.put(&ingress.key, &previous, status);
    }
}
